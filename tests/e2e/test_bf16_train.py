"""Training with --precision bf16: losses beside those of f32, the same bits on any number of threads, wrong options."""
import json
import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import fashion
import train_runs
from script import HONE, ROOT, SAMPLE, main, ok, run, temp

CLOTHES = os.path.join(ROOT, "tools", "sample", "clothes5.onnx")
CLASSES = [1, 2, 6, 7, 8]  # that it does not know
IMAGES, BATCH, EPOCHS = 480, 48, 2
NOISE = 0.02  # of a loss


def data():
    clothes, labels = fashion.load("train")
    known = np.isin(labels, CLASSES)
    clothes, labels = clothes[known][:IMAGES], labels[known][:IMAGES]
    np.save(temp("x.npy"), fashion.tensors(clothes))
    np.save(temp("y.npy"), np.array([CLASSES.index(k) for k in labels], np.int64))


def train(precision, *options, seed=1, threads=2):
    """Losses of all steps, the last epoch's event, the parameters after it."""
    program = temp("program" + "".join(options).replace("/", "_") + precision)
    if not os.path.exists(program):
        ok(HONE, "finetune", CLOTHES, "-o", program, "--classes", "5", *options, "--precision", precision)
    for path in (temp("log"), temp("tuned.onnx")):
        if os.path.exists(path):
            os.unlink(path)
    ok(program, "train", "x.npy,y.npy", "-b", BATCH, "--epochs", EPOCHS, "--lr", 0.03, "--head-solver", "sgd", "--val-fraction", 0.2, "--log", temp("log"),
       "-o", temp("tuned.onnx"), "--no-checkpoint", "-q", "--seed", seed, "--threads", threads)
    with open(temp("log")) as f:
        events = [json.loads(line) for line in f]
    return [e["loss"] for e in events if e["event"] == "step"], events[-1], train_runs.initializers(temp("tuned.onnx"))


def test_losses_are_those_of_f32_within_noise():
    data()
    for options in (("--freeze", "none"), ("--freeze", "none", "--bn", "train"), ("--freeze", "until:/layer3/conv1/Conv")):
        for seed in (1, 2) if len(options) == 2 and options[1] == "none" else (1,):
            got, end, _ = train("bf16", *options, seed=seed)
            want, other, _ = train("f32", *options, seed=seed)
            assert want[-1] < 0.8 * want[0], want
            off = np.abs(np.array(got) - want) / np.array(want)
            assert 0 < off.max() < NOISE and abs(end["val_loss"] / other["val_loss"] - 1) < NOISE, (off, end, other)
            assert abs(end["val_top1"] - other["val_top1"]) <= 2.01 / (0.2 * IMAGES), (end, other)


def test_same_bits_on_any_number_of_threads():
    losses, _, params = train("bf16", "--freeze", "none", threads=1)
    for threads in (2, 3):
        again, _, other = train("bf16", "--freeze", "none", threads=threads)
        assert again == losses and params.keys() == other.keys()
        assert all(np.array_equal(params[k], other[k]) for k in params)
    assert all(p.dtype == np.float32 or p.dtype == np.int64 for p in params.values())


def write_background_net(path, channels=32, classes=5):
    """Two convolutions with normalizations, whose filters' sums are small beside their numbers."""
    rng = np.random.default_rng(1)
    nodes, inits, last, inside = [], [], "x", 3
    for i, side in enumerate((3, 1)):
        w = rng.standard_normal((channels, inside, side, side))
        w += rng.uniform(-0.1, 0.1, (channels, 1, 1, 1)) - w.mean((1, 2, 3), keepdims=True)
        parts = {"w": w / np.sqrt(w[0].size), "g": rng.uniform(0.5, 1.5, channels), "b": 0.3 * rng.standard_normal(channels),
                 "m": np.zeros(channels), "v": np.ones(channels)}
        inits += [numpy_helper.from_array(a.astype(np.float32), f"{name}{i}") for name, a in parts.items()]
        nodes += [helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[side // 2] * 4),
                  helper.make_node("BatchNormalization", [f"{name}{i}" for name in "cgbmv"], [f"n{i}"]), helper.make_node("Relu", [f"n{i}"], [f"r{i}"])]
        last, inside = f"r{i}", channels
    inits.append(numpy_helper.from_array(rng.standard_normal((classes, channels)).astype(np.float32), "fc"))
    nodes += [helper.make_node("GlobalAveragePool", [last], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
              helper.make_node("Gemm", ["f", "fc"], ["y"], transB=1)]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ["N", 3, 24, 24]), ("y", ["N", classes]))]
    save(helper.make_model(helper.make_graph(nodes, "g", tensors[:1], tensors[1:], inits), opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_statistics_are_of_the_products_that_evaluation_makes():
    """On a constant background a sum by weights that are rounded otherwise is off by as much as the images differ: what a step normalizes by its own
    statistics and evaluation by the running ones, which hardly move any more, is the same all the same."""
    write_background_net(temp("background.onnx"))
    x = -2.1179 + 0.05 * np.random.default_rng(2).standard_normal((64, 3, 24, 24))
    np.save(temp("bx.npy"), x.astype(np.float32))
    np.save(temp("by.npy"), np.arange(64) % 5)
    for precision, limit in (("f32", 0.002), ("bf16", 0.012)):
        program, log = temp("background" + precision), temp(precision + ".log")
        ok(HONE, "finetune", temp("background.onnx"), "-o", program, "--keep-head", "--freeze", "none", "--bn", "train", "--precision", precision)
        ok(program, "train", "bx.npy,by.npy", "-b", 64, "--epochs", 80, "--lr", "1e-7", "--val-fraction", 0, "--checkpoint", temp(precision + ".ck"),
           "--log", log, "-o", temp("same.onnx"), "--overwrite", "-q")
        with open(log) as f:
            last = [e["loss"] for e in map(json.loads, f) if e["event"] == "step"][-1]
        loss = json.loads(ok(program, "eval", "bx.npy,by.npy", "--checkpoint", temp(precision + ".ck"), "--json"))["loss"]
        assert abs(loss - last) < limit, (precision, loss, last)


def test_what_is_kept_belongs_to_a_precision():
    """Cached features, checkpoints: those of f32 are no others' to go on with."""
    for i, precision in enumerate(("f32", "bf16")):
        program = temp("head" + precision)
        ok(HONE, "finetune", CLOTHES, "-o", program, "--classes", "5", "--precision", precision)
        argv = (program, "train", "x.npy,y.npy", "-b", BATCH, "--epochs", 1, "--checkpoint", temp("kept"), "-q", "-o", temp("kept.onnx"),
                "--feature-cache", temp("cache"))
        if precision == "bf16":
            code, _, err = run(*argv, "--resume")
            assert code == 1 and "another program" in err, err
        ok(*argv, *["--overwrite"] * i)
        assert len([f for f in os.listdir(temp("cache")) if f.startswith("features-")]) == i + 1


def test_other_precisions_are_refused():
    code, _, err = run(HONE, "finetune", SAMPLE, "-o", temp("none"), "--keep-head", "--precision", "int8")
    assert code == 2 and "--precision takes f32 or bf16, not 'int8'" in err, err
    text = ok(HONE, "inspect", SAMPLE, "--finetune", "--keep-head", "--freeze", "none", "--precision", "bf16")
    assert "refused" not in text, text


if __name__ == "__main__":
    main(sys.modules[__name__])
