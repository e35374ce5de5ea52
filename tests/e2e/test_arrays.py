"""hone finetune of networks that take no pictures: inputs of other channels than 1 and 3, of fewer axes. They are trained, evaluated and
asked on f32 arrays as they are; pictures are refused."""
import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tuned
from script import HONE, SNEAKER, main, ok, run, temp

CLASSES, SIZE, BANDS = 3, 6, 8


def network(path, shape):
    """[conv -> relu -> mean ->] fc -> relu -> fc, random."""
    r = np.random.default_rng(1)
    init = {"fc1.w": r.normal(0, 0.4, (16, shape[1])), "fc1.b": np.full(16, 0.1), "fc2.w": r.normal(0, 0.3, (3, 16)), "fc2.b": np.zeros(3)}
    nodes, last = [], "x"
    if len(shape) > 2:
        init["conv.w"] = r.normal(0, 0.2, (shape[1], shape[1], *[3] * (len(shape) - 2)))
        nodes = [helper.make_node("Conv", ["x", "conv.w"], ["c"], "conv", pads=[1, 1] * (len(shape) - 2)),
                 helper.make_node("Relu", ["c"], ["a"], "act"), helper.make_node("GlobalAveragePool", ["a"], ["p"], "pool"),
                 helper.make_node("Flatten", ["p"], ["f"], "flat")]
        last = "f"
    nodes += [helper.make_node("Gemm", [last, "fc1.w", "fc1.b"], ["h"], "fc1", transB=1), helper.make_node("Relu", ["h"], ["hr"], "act1"),
              helper.make_node("Gemm", ["hr", "fc2.w", "fc2.b"], ["y"], "fc2", transB=1)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "net", [info("x", TensorProto.FLOAT, shape)], [info("y", TensorProto.FLOAT, ["N", 3])],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in init.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def samples(name, shape, n, seed):
    """Class k is brighter in channel k, by more than the noise of a pixel."""
    r = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    x = r.normal(0, 0.7, (n, *shape[1:]))
    x[np.arange(n), y] += 3
    np.save(temp(name + "-x.npy"), x.astype(np.float32))
    np.save(temp(name + "-y.npy"), y)


def learns(name, shape):
    network(temp(name + ".onnx"), shape)
    samples(name + "-train", shape, 96, 2)
    samples(name + "-val", shape, 32, 3)
    ok(HONE, "finetune", temp(name + ".onnx"), "-o", temp(name), "--classes", CLASSES, "--stages", "none:12:0.05")
    ok(temp(name), "train", f"{name}-train-x.npy,{name}-train-y.npy", "--val", f"{name}-val-x.npy,{name}-val-y.npy", "-q", "--checkpoint",
       name + ".ck", "--report", name + ".html", "-o", name + "-tuned.onnx")
    score = json.loads(ok(temp(name), "eval", f"{name}-val-x.npy,{name}-val-y.npy", "--checkpoint", name + ".ck", "--json"))
    assert score["top1"] > 0.9, score
    said = ok(temp(name), "info")
    assert "arrays: f32[1," + ",".join(map(str, shape[1:])) + "] each" in said, said
    ok(temp(name), "bench", "-n", 2)


def test_pictures_of_eight_channels():
    learns("bands", ["N", BANDS, SIZE, SIZE])


def test_signals_and_rows():
    learns("signal", ["N", 3, 20])
    learns("row", ["N", 11])


def asked(name, array):
    """The classes that predict says of one array, and its code and errors."""
    np.save(temp("one.npy"), array)
    code, out, err = run(temp(name), "predict", "one.npy", "--checkpoint", name + ".ck", "--json", "--top", 1)
    return code, json.loads(out)[0], err


def test_predict_takes_one_of_them():
    for name in ("bands", "row"):
        x, y = np.load(temp(name + "-val-x.npy")), np.load(temp(name + "-val-y.npy"))
        right = 0
        for i in range(8):
            code, said, err = asked(name, x[i:i + 1] if i % 2 else x[i])
            assert code == 0, err
            right += said["top"][0]["label"] == str(y[i]) or said["top"][0].get("class") == int(y[i])
        assert right >= 7, (name, right)


def test_tuned_model_says_the_same():
    model = tuned.check(temp("bands-tuned.onnx"))
    assert not [m.key for m in model.metadata_props if m.key.startswith("hone.mean")], model.metadata_props
    ok(HONE, "compile", temp("bands-tuned.onnx"), "-o", temp("bands-infer"))
    ok(temp("bands-infer"), "run", "-i", "x=bands-val-x.npy", "-o", model.graph.output[0].name + "=out.npy")
    assert (np.load(temp("out.npy")).argmax(1) == np.load(temp("bands-val-y.npy"))).mean() > 0.9


def test_what_is_refused():
    os.makedirs(temp("photos/a"), exist_ok=True)
    os.makedirs(temp("photos/b"), exist_ok=True)
    for c in "ab":
        with open(SNEAKER, "rb") as f, open(temp(f"photos/{c}/1.png"), "wb") as g:
            g.write(f.read())
    x = np.load(temp("bands-val-x.npy"))
    np.save(temp("wide.npy"), x[:, :, :, :5])
    np.save(temp("bytes.npy"), x.astype(np.uint8))
    ok(HONE, "finetune", temp("bands.onnx"), "-o", temp("two"), "--classes", 2)
    for data, why in (("photos", f"the network takes arrays, f32[2,{BANDS},{SIZE},{SIZE}] in .npy files"),
                      ("wide.npy,bands-val-y.npy", f"f32[32,8,6,5], but the model takes f32[32,{BANDS},{SIZE},{SIZE}]"),
                      ("bytes.npy,bands-val-y.npy", "u8[32,8,6,6], but the model takes f32")):
        code, _, err = run(temp("two" if data == "photos" else "bands"), "train", data, "--no-checkpoint", "--val-fraction", 0)
        assert code == 1 and why in err, err
    code, said, _ = asked("bands", x[0, :, :5])
    assert code == 1 and "f32[8,5,6], but the network takes f32[1,8,6,6]" in said["error"], said
    code, _, err = run(temp("bands"), "predict", SNEAKER, "--checkpoint", "bands.ck")
    assert code == 1 and "the network takes arrays, not pictures" in err, err
    network(temp("deep.onnx"), ["N", 2, 3, 4, 5])
    code, _, err = run(HONE, "finetune", temp("deep.onnx"), "-o", temp("deep"), "--classes", 2)
    assert code == 1 and "fine-tuning takes inputs [N,C,H,W], [N,C,L] and [N,C]" in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
