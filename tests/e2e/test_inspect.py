"""hone inspect: lists what compile and finetune refuse, word for word; JSON and nothing else; multiply-accumulates counted once."""
import json
import os
import re
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, SAMPLE, main, ok, run, temp

F = TensorProto.FLOAT


def save(name, nodes, x, weights=(), outputs=("y",), opset=13, meta=None):
    rng = np.random.default_rng(1)
    inits = [numpy_helper.from_array(w if isinstance(w, np.ndarray) else rng.normal(0, 1, w).astype(np.float32), n) for n, w in weights]
    g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", F, x)], [helper.make_tensor_value_info(y, F, None) for y in outputs], inits)
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", opset)])
    m.ir_version = 8
    helper.set_model_props(m, meta or {})
    onnx.save(m, temp(name))
    return name


def node(op, ins, outs, **attrs):
    return helper.make_node(op, ins.split(), outs.split(), name=f"{op}_{outs.split()[0]}", **attrs)


def classifier(name, *middle, x=("N", 3, 16, 16), weights=(), channels=4, **more):
    """A convolution, what is given from c to d, a mean and a product."""
    nodes = [node("Conv", "x w", "c"), *middle, node("GlobalAveragePool", "d", "p"), node("Flatten", "p", "f"), node("Gemm", "f fc", "y", transB=1)]
    return save(name, nodes, x, [("w", (channels, 3, 3, 3)), ("fc", (5, channels)), *weights], **more)


def lines_of(err):
    """(node, operator, reason) of each line, as compile and finetune print them."""
    found = []
    for line in err.splitlines():
        line = line.split(": ", 1)[1]
        at = re.match(r"node '(.*?)'(?: \((.*?)\))?: (.*)", line)
        found.append(at.groups() if at else (None, None, line))
    return found


def refused(name, *flags):
    """What inspect lists, as a table says it and as JSON does."""
    code, out, err = run(HONE, "inspect", name, "--json", *flags)
    got = json.loads(out)
    code2, table, _ = run(HONE, "inspect", name, *flags)
    assert code == code2 == (1 if got["refused"] else 0), (code, code2, got["refused"])
    for r in got["refused"]:
        assert r["reason"] in table and ("cannot be fine-tuned" if "--finetune" in flags else "cannot be compiled") in table, table
    return [(r["node"], r["op"], r["reason"]) for r in got["refused"]]


def same(command, name, *flags, words=()):
    """inspect lists exactly what the command refuses; returns how much that is."""
    code, _, err = run(HONE, command, name, "-o", "out", *flags)
    listed = refused(name, *(("--finetune",) if command == "finetune" else ()), *flags)
    wanted = lines_of("\n".join(l for l in err.splitlines() if "warning: " not in l)) if code else []
    assert listed == wanted, f"\n  listed {listed}\n  refused {wanted}"
    assert all(w in str(listed) for w in words), listed
    return len(listed)


def test_what_compile_refuses():
    odd = classifier("odd.onnx", node("StringNormalizer", "c", "s"), node("TfIdfVectorizer", "c", "z"), node("Relu", "c", "d"), outputs=("y", "s", "z"))
    assert same("compile", odd, words=("StringNormalizer", "TfIdfVectorizer")) == 2
    window = save("window.onnx", [node("Conv", "x w", "y", strides=[1, 160])], (1, 1, 1, 2000), [("w", (8, 1, 1, 512))])
    assert same("compile", window, words=("a window this large",)) == 1
    fine = classifier("fine.onnx", node("Relu", "c", "d"))
    assert same("compile", fine) == 0
    assert same("compile", fine, "--limit", "arena=1K", words=("working memory", "--limit arena")) == 1
    assert same("compile", fine, "--mean", "1,2", words=("--mean takes 3 numbers",)) == 1
    with open(temp("two.txt"), "w") as f:
        f.write("a\nb\n")
    assert same("compile", fine, "--labels", "two.txt", words=("two.txt has 2 labels",)) == 1
    assert same("compile", classifier("std.onnx", node("Relu", "c", "d"), meta={"hone.std": "0"}), words=("hone.std",)) == 1
    assert same("compile", save("map.onnx", [node("Relu", "x", "y")], ("N", 3, 8, 8)), "--emit-input-grad") == 1
    # a file that is no model, and options out of range, are no findings: they are errors
    open(temp("text.onnx"), "w").write("hello world")
    for flags, code in (((), 1), (("--std", "0"), 2), (("--finetune", "--jobs", "0"), 2), (("--finetune", "more.onnx"), 2), (("--fast",), 2)):
        got, out, err = run(HONE, "inspect", "text.onnx", "--json", *flags)
        assert got == code and out == "" and len(err.splitlines()) == 1, (flags, got, out, err)


def test_what_finetune_refuses():
    gather = classifier("gather.onnx", node("GatherND", "c i", "d", batch_dims=1), weights=[("i", np.array([[[0], [1], [2], [3]]] * 2, np.int64))],
                        x=(2, 3, 16, 16))
    fine = classifier("fine.onnx", node("Relu", "c", "d"))
    assert same("finetune", fine, "--classes", "3", "--freeze", "none") == 0
    assert same("compile", gather) == 0
    same("finetune", gather, "--classes", "3", "--freeze", "none")
    for flags, words in ((("--classes", "1"), "classes"), ((), "--classes"), (("--classes", "3", "--freeze", "until:nowhere"), "nowhere"),
                         (("--classes", "3", "--head", "nobody"), "nobody"), (("--classes", "3", "--binary"), "--binary"),
                         (("--classes", "3", "--mean", "1,2"), "--mean takes 3 numbers")):
        assert same("finetune", fine, *flags, words=(words,)) >= 1, flags
    headless = save("headless.onnx", [node("Relu", "x", "y")], ("N", 3, 8, 8))
    assert same("finetune", headless, "--classes", "3", words=("classifier",)) == 1
    # options before --finetune hold for it, too
    assert "--mean takes" in str(refused(fine, "--mean", "1,2", "--finetune", "--classes", "3"))


def test_json_alone():
    for flags in ((), ("--compiled",), ("--print-after", "all"), ("--time-passes",), ("--compiled", "--dot", "g.dot"), ("--finetune", "--classes", "3")):
        got = json.loads(ok(HONE, "inspect", SAMPLE, "--json", *flags))
        assert got["refused"] == [] and len(got["layers"]) > 5
        assert [t["name"] for t in got["inputs"]] == ["image"] and len(got["outputs"]) == 1
    bad = classifier("bad.onnx", node("Nope\x1b[31m", "c", "z"), node("Relu", "c", "d"), outputs=("y", "z"))
    code, out, _ = run(HONE, "inspect", bad, "--json")
    got = json.loads(out)
    assert code == 1 and got["refused"][0]["op"].startswith("Nope\x1b[31m") and "\x1b" not in out and got["layers"], out


def macs(name, *flags):
    layers = json.loads(ok(HONE, "inspect", name, "--json", *flags))["layers"]
    return sum(l["macs"] for l in layers)


def test_multiply_accumulates_are_counted_once():
    w = lambda *dims: dims
    cases = {  # nodes, input, weights, multiply-accumulates of an image by hand
        "plain": ([node("Conv", "x w", "y", pads=[1] * 4)], ("N", 32, 28, 28), [("w", w(64, 32, 3, 3))], 64 * 28 * 28 * 32 * 9),
        "strided": ([node("Conv", "x w", "y", strides=[2, 2])], ("N", 3, 33, 33), [("w", w(64, 3, 7, 7))], 64 * 14 * 14 * 3 * 49),
        "grouped": ([node("Conv", "x w", "y", group=4, pads=[1] * 4)], ("N", 64, 14, 14), [("w", w(64, 16, 3, 3))], 64 * 196 * 16 * 9),
        "depthwise": ([node("Conv", "x w", "y", group=32, pads=[1] * 4)], ("N", 32, 14, 14), [("w", w(32, 1, 3, 3))], 32 * 196 * 9),
        "pointwise": ([node("Conv", "x w", "y")], ("N", 256, 14, 14), [("w", w(256, 256, 1, 1))], 256 * 196 * 256),
        "siblings": ([node("Conv", "x w", "a"), node("Conv", "x v", "b"), node("Concat", "a b", "y", axis=1)], ("N", 16, 8, 8),
                     [("w", w(32, 16, 1, 1)), ("v", w(16, 16, 1, 1))], 48 * 64 * 16),
        "fused": ([node("Conv", "x w", "c", pads=[1] * 4), node("BatchNormalization", "c s s s q", "n"), node("Relu", "n", "r"),
                   node("Conv", "r v", "d", pads=[1] * 4), node("Add", "d x", "e"), node("Relu", "e", "y")], ("N", 64, 28, 28),
                  [("w", w(64, 64, 3, 3)), ("v", w(64, 64, 3, 3)), ("s", w(64)), ("q", np.ones(64, np.float32))], 2 * 64 * 784 * 64 * 9),
        "pooled": ([node("Conv", "x w", "c", strides=[2, 2], pads=[3] * 4), node("Relu", "c", "r"),
                    node("MaxPool", "r", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)], ("N", 3, 64, 64), [("w", w(64, 3, 7, 7))],
                   64 * 32 * 32 * 3 * 49),
        "transposed": ([node("ConvTranspose", "x w", "y", strides=[2, 2])], ("N", 8, 5, 5), [("w", w(8, 6, 2, 2))], 6 * 100 * 8),
        "line": ([node("Conv", "x w", "y")], ("N", 8, 50), [("w", w(16, 8, 5))], 16 * 46 * 8 * 5),
        "gemm": ([node("Gemm", "x w", "y", transB=1)], ("N", 128), [("w", w(10, 128))], 1280),
        "matmul": ([node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t", "y")], ("N", 16, 24), [], 16 * 16 * 24),
        "classifier": ([node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), node("Gemm", "f w", "y", transB=1)], ("N", 64, 7, 7),
                       [("w", w(10, 64))], 640),
        "fixed": ([node("Conv", "x w", "y")], (4, 8, 10, 10), [("w", w(8, 8, 3, 3))], 8 * 64 * 8 * 9),
    }
    for name, (nodes, x, weights, want) in cases.items():
        save(name + ".onnx", nodes, x, weights)
        for flags in ((), ("--compiled",), ("--compiled", "-O3"), ("--compiled", "-O0"), ("--compiled", "--no-winograd"), ("--compiled", "--mcpu", "x86-64-v3")):
            got = macs(name + ".onnx", *flags)
            assert got == want, (name, flags, got, want)
    total = ok(HONE, "inspect", "fused.onnx", "--compiled")
    assert "57.80 M MACs per image" in total, total


if __name__ == "__main__":
    main(sys.modules[__name__])
