"""hone finetune --memory-limit: the same gradients and models, bit for bit, in less memory; what is planned is what is taken."""
import os
import re
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import families
from script import HONE, SAMPLE, main, ok, run, temp
from test_finetune import finetune, kit

FAMILIES = ["densenet", "mobilenet_v3", "resnet_v2"]
UNITS = {"bytes": 1, "KB": 1 << 10, "MB": 1 << 20}


def size(text):
    number, unit = text.split()
    return float(number) * UNITS[unit]


def least(compiler, model, *flags):
    """The figure of a refusal, in kilobytes: given back, it is enough."""
    code, _, err = run(compiler, "finetune", model, "-o", temp("refused"), "--memory-limit", "1K", *flags)
    assert code == 1 and not os.path.exists(temp("refused")), err
    found = re.search(r"--memory-limit 1 KB: stage \d \(.*\) takes (\d+)K at least, of batches of \d+ images", err)
    assert found and err.count("\n") == 1, err
    return int(found[1])


def conv_net(path, layers=10, channels=32, side=96, hidden=0):
    """Convolutions with normalizations and residual connections; `hidden`: a fully connected layer of so many."""
    rng = np.random.default_rng(0)
    weights, nodes, x = [], [], "x"

    def weight(name, *shape, scale=1.0):
        weights.append(numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name))
        return name

    for i in range(layers):
        ins = 3 if i == 0 else channels
        nodes.append(helper.make_node("Conv", [x, weight(f"w{i}", channels, ins, 3, 3, scale=(2 / 9 / ins) ** .5)],
                                      [f"c{i}"], name=f"conv{i}", pads=[1, 1, 1, 1]))
        ones = [numpy_helper.from_array(np.full(channels, v, np.float32), f"{n}{i}")
                for n, v in (("g", 1), ("b", .1), ("m", 0), ("v", 1))]
        weights.extend(ones)
        nodes.append(helper.make_node("BatchNormalization", [f"c{i}"] + [o.name for o in ones], [f"n{i}"], name=f"bn{i}"))
        nodes.append(helper.make_node("Relu", [f"n{i}"], [f"r{i}"], name=f"relu{i}"))
        x = f"r{i}"
        if i % 2 == 0 and i:
            nodes.append(helper.make_node("Add", [x, f"r{i - 2}"], [f"a{i}"], name=f"add{i}"))
            x = f"a{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"], name="flat"))
    x, width = "flat", channels
    if hidden:
        nodes.append(helper.make_node("Gemm", [x, weight("wh", hidden, width, scale=.02), weight("bh", hidden)], ["h"],
                                      name="hidden", transB=1))
        x, width = "h", hidden
    nodes.append(helper.make_node("Gemm", [x, weight("wf", 4, width), weight("bf", 4)], ["y"], name="fc", transB=1))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 3, side, side])],
                              [helper.make_tensor_value_info("y", 1, ["N", 4])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def dump(program, n, shape):
    """What a training step makes of images that are the same each time: file -> bytes."""
    rng = np.random.default_rng(1)
    rng.standard_normal((n, *shape)).astype(np.float32).tofile(temp("x"))
    (np.arange(n) % 4).astype(np.int32).tofile(temp("t"))
    folder = temp(program + ".dump")
    os.makedirs(folder)
    ok(temp(program), "dump", 0, n, temp("x"), temp("t"), folder)
    return {name: open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder))}


def check_bits(name, model, shape, *flags, between=()):
    """The least memory, and shares of what is between that and all: gradients are the same bits. The multiply-adds made again."""
    flags = ("--classes", 4, "--freeze", "none", *flags)
    said = finetune(model, name, *flags)
    everything = size(re.search(r"^memory: (\S+ \w+) for", said, re.M)[1])
    low = least(kit(), model, *flags)
    first, again = dump(name, 3, shape), []
    for limit in low, *(int((low * share + everything / 1024 * (1 - share))) for share in between):
        other = f"{name}_{limit}"
        said = finetune(model, other, "--memory-limit", f"{limit}K", *flags)
        taken = size(re.search(r"^memory: (\S+ \w+) for", said, re.M)[1])
        assert taken <= limit * 1024 * 1.05, said  # as rounded for print
        found = re.search(r"rather than .*: (\S+) % of a step's multiply-adds are made again", said)
        again.append(float(found[1]) if found else -1)
        second = dump(other, 3, shape)
        assert first.keys() == second.keys() and len(first) > 3
        for file in first:
            assert first[file] == second[file], f"{name}, limit {limit}K: {file} differs"
    return again


def test_families_same_gradients():
    cases = {}
    for case in families.CASES:
        cases.setdefault(case.family, case)
    again = []
    for f in FAMILIES:
        model = cases[f].net().model()
        onnx.save(model, temp(f + ".onnx"))
        dims = model.graph.input[0].type.tensor_type.shape.dim
        shape = [d.dim_value for d in dims[1:]]
        for bn in ("frozen", "train") if f == "densenet" else ("frozen",):
            again += check_bits(f"{f}_{bn}", temp(f + ".onnx"), shape, "--bn", bn, *cases[f].flags)
    assert sum(a > 0 for a in again) >= 3, again


def test_deep_net_and_several_machines():
    """Recomputing pays in a deep one: the least is far below all, more limit is less work."""
    conv_net(temp("deep.onnx"), layers=16, channels=16, side=48)
    low, middle = check_bits("deep", temp("deep.onnx"), (3, 48, 48), "--mcpu", "x86-64-v3,x86-64-v2", between=[.5])
    assert low > middle > 0, (low, middle)
    said = ok(HONE, "finetune", temp("deep.onnx"), "-o", temp("none"), "--classes", 4, "--freeze", "none")
    everything = size(re.search(r"^memory: (\S+ \w+) for", said, re.M)[1])
    assert least(HONE, temp("deep.onnx"), "--classes", 4, "--freeze", "none") * 1024 < 0.6 * everything


def test_measured():
    """What bench takes in less memory; the plan covers it, but for code and what threads need."""
    conv_net(temp("m.onnx"))
    flags = ("--classes", 4, "--freeze", "none", "--batch", 12)
    ok(HONE, "finetune", temp("m.onnx"), "-o", temp("all"), *flags)
    ok(HONE, "finetune", temp("m.onnx"), "-o", temp("less"), "--memory-limit", "110M", *flags)
    rss = {}
    for name in "all", "less":
        info = ok(temp(name), "info")
        planned = float(re.search(r"memory of stage 1: (\S+) MB for batches of 12", info)[1]) * 1.048576
        out = ok(temp(name), "bench", "--threads", 2, "--iters", 1, "--json")
        assert '"batch": 12' in out, out
        rss[name] = float(re.search(r'"rss_mb": (\S+?)[,}]', out)[1])
        assert rss[name] < planned + 24, f"{name}: {planned} MB planned, {rss[name]} taken"
    assert rss["less"] < 110 * 1.048576 + 24 < 0.8 * rss["all"], rss


def test_training_is_the_same():
    """Two stages, the first without its frozen part: the exported models are the same bytes."""
    labels = np.arange(40) % 3
    pixels = np.random.default_rng(3).integers(0, 85, (40, 28, 28)) + 60 * labels[:, None, None]
    np.save(temp("images.npy"), pixels.astype(np.uint8))
    np.save(temp("labels.npy"), labels.astype(np.int64))
    data = temp("images.npy") + "," + temp("labels.npy")
    flags = ("--classes", 3, "--stages", "head:1,none:2", "--batch", 8)
    models = []
    for name, limit in ("plain", ()), ("limited", ("--memory-limit", f"{least(HONE, SAMPLE, *flags)}K")):
        ok(HONE, "finetune", SAMPLE, "-o", temp(name), "--name", "net", *flags, *limit)
        ok(temp(name), "train", data, "--out", temp(name + ".onnx"), "--no-checkpoint", "--threads", 2)
        models.append(open(temp(name + ".onnx"), "rb").read())
    assert models[0] == models[1]
    _, _, err = run(temp("limited"), "train", data, "--out", temp("o.onnx"), "--no-checkpoint", "--batch", 9)
    assert "note: the program was compiled to keep its memory for batches of 8" in err, err


def test_sgd_has_one_moment():
    conv_net(temp("fc.onnx"), layers=1, channels=4, side=8, hidden=1 << 21)
    ok(HONE, "finetune", temp("fc.onnx"), "-o", temp("fc"), "--classes", 4, "--freeze", "none")
    rss = []
    for opt in "sgd", "adamw":
        out = ok(temp("fc"), "bench", "--opt", opt, "--threads", 1, "--iters", 1, "--json")
        rss.append(float(re.search(r'"rss_mb": (\S+?)[,}]', out)[1]))
    moment = (1 << 21) * (4 + 1 + 4) * 4e-6
    assert rss[1] - rss[0] > 0.8 * moment, (rss, moment)


def test_a_frozen_trunk_is_folded():
    """Its normalizations are in constant weights; where a part trains in another stage, in arithmetic on weights."""
    text = ok(HONE, "finetune", SAMPLE, "-o", temp("trunk"), "--classes", 3, "--print-after", "memory_plan")
    trunk = re.search(r"^graph features\.0.*?^}", text, re.M | re.S)[0]
    assert trunk.count(" = conv ") == 9, trunk
    assert not any(f" = {op} " in trunk for op in ("batch_norm", "mul", "div", "map", "pack_filter")), trunk
    text = ok(HONE, "finetune", SAMPLE, "-o", temp("trunk"), "--classes", 3, "--stages", "head,until:layer3,none",
              "--print-after", "memory_plan")
    assert "batch_norm" not in text and text.count("graph train") == 3


def test_words():
    for words, text in ((("--memory-limit", "lots"), "--memory-limit"), (("--batch", "0"), "--batch")):
        code, _, err = run(HONE, "finetune", SAMPLE, "-o", temp("x"), "--classes", 3, *words)
        assert code == 2 and text in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
