"""--precision bf16: networks of every kind of layer against the evaluator on f32, classes against f32's, what programs say of
themselves, wrong options.
"""
import json
import os
import re
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import fashion
from script import HONE, ROOT, SAMPLE, main, ok, run, temp

rng = np.random.default_rng(3)
CLEAR = 0.1  # least difference of the two largest probabilities


class Net:
    """Nodes one behind the other."""

    def __init__(self, name):
        self.name, self.nodes, self.weights = name, [], []

    def add(self, op, *inputs, outputs=1, **attrs):
        names = [f"{op}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attrs))
        return names[0] if outputs == 1 else names

    def weight(self, *shape, scale=None):
        fan = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        a = rng.standard_normal(shape) * (scale or np.sqrt(1.6 / max(fan, 1)))
        return self.const(a.astype(np.float32))

    def const(self, a):
        self.weights.append(numpy_helper.from_array(np.asarray(a), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, x, i, o, k=1, act="Relu", bias=True, **attrs):
        g = attrs.get("group", 1)
        pads = [k // 2] * 4
        x = self.add("Conv", x, self.weight(o, i // g, k, k), *([self.weight(o, scale=0.1)] if bias else []), pads=pads, **attrs)
        return self.add(act, x) if act else x

    def norm(self, x, c):
        return self.add("LayerNormalization", x, self.const(np.ones(c, np.float32) * 1.1), self.weight(c, scale=0.1))

    def save(self, shape, outputs):
        value = helper.make_tensor_value_info
        for i, name in enumerate(outputs):
            self.nodes.append(helper.make_node("Identity", [name], [f"y{i}"]))
        graph = helper.make_graph(self.nodes, self.name, [value("x", TensorProto.FLOAT, ["N", *shape])],
                                  [value(f"y{i}", TensorProto.FLOAT, None) for i in range(len(outputs))], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, temp(self.name + ".onnx"))
        return temp(self.name + ".onnx")


def images():
    """What convolutional networks are made of, with channels that are no pairs, no blocks, and few."""
    n = Net("images")
    x = n.conv("x", 3, 24, 7, strides=[2, 2])
    x = n.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = n.conv(n.conv(x, 24, 32, 3), 32, 24, 3, act=None)
    x = n.add("Relu", n.add("Add", y, x))
    x = n.conv(n.conv(x, 24, 48, 1), 48, 48, 3, group=48)  # depthwise, squeeze and excitation
    s = n.conv(n.add("GlobalAveragePool", x), 48, 8, 1)
    x = n.add("Mul", x, n.add("Sigmoid", n.conv(s, 8, 48, 1, act=None)))
    x = n.conv(x, 48, 32, 1, bias=False, act="HardSwish")
    y = n.conv(x, 32, 32, 3, group=8, strides=[2, 2])
    z = n.add("AveragePool", n.conv(x, 32, 7, 1), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = n.conv(n.add("Concat", y, z, axis=1), 39, 20, 1)  # odd channels
    x = n.add("LRN", n.conv(x, 20, 16, 5), size=3)
    x = n.add("Reshape", x, n.const(np.array([0, 2, 8, 3, 4], np.int64)))
    x = n.add("Reshape", n.add("Transpose", x, perm=[0, 2, 1, 3, 4]), n.const(np.array([0, 16, 3, 4], np.int64)))
    up = n.add("Resize", x, "", n.const(np.array([1, 1, 2, 2], np.float32)), mode="nearest",
               coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    up = n.add("Resize", n.conv(up, 16, 16, 3), "", n.const(np.array([1, 1, 1, 2], np.float32)), mode="linear")
    x = n.add("ConvTranspose", up, n.weight(16, 12, 2, 2), strides=[2, 2])
    x = n.conv(n.add("Pad", x, n.const(np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64))), 12, 10, 3)
    f = n.add("Flatten", n.add("GlobalAveragePool", x))
    return n.save([3, 20, 25], [n.add("Gemm", f, n.weight(10, 5), n.weight(5, scale=0.1)), n.add("Softmax", f)])


def tokens():
    """A vision transformer: patches, attention, LayerNorm, GELU."""
    n, c = Net("tokens"), 24
    x = n.conv("x", 3, c, 4, act=None, strides=[4, 4])
    x = n.add("Transpose", n.add("Reshape", x, n.const(np.array([0, c, -1], np.int64))), perm=[0, 2, 1])
    h = n.norm(x, c)
    qkv = [n.add("Transpose", n.add("Reshape", n.add("Add", n.add("MatMul", h, n.weight(c, c)), n.weight(c, scale=0.1)),
                                    n.const(np.array([0, -1, 3, 8], np.int64))), perm=p)
           for p in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])]
    a = n.add("Softmax", n.add("Mul", n.add("MatMul", qkv[0], qkv[1]), n.const(np.float32(0.35))), axis=-1)
    a = n.add("Reshape", n.add("Transpose", n.add("MatMul", a, qkv[2]), perm=[0, 2, 1, 3]), n.const(np.array([0, -1, c], np.int64)))
    x = n.add("Add", x, n.add("MatMul", a, n.weight(c, c)))
    m = n.add("MatMul", n.norm(x, c), n.weight(c, 50))
    g = n.add("Mul", m, n.add("Add", n.add("Erf", n.add("Mul", m, n.const(np.float32(0.7071)))), n.const(np.float32(1))))
    x = n.add("Add", x, n.add("MatMul", n.add("Mul", g, n.const(np.float32(0.5))), n.weight(50, c)))
    x = n.add("ReduceMean", n.norm(x, c), axes=[1], keepdims=0)
    return n.save([3, 16, 16], [n.add("MatMul", x, n.weight(c, 7))])


NETS = []


def nets():
    if not NETS:
        NETS.extend(((images(), (3, 20, 25)), (tokens(), (3, 16, 16))))
    return NETS


def compile_as(path, precision, *more):
    program = temp(os.path.basename(path)[:-5] + "_" + precision)
    ok(HONE, "compile", path, "-o", program, "--precision", precision, *more)
    return program


def run_on(program, x, *more, outputs=("y0",)):
    np.save(temp("x.npy"), x)
    name = json.loads(ok(program, "info", "--json"))["inputs"][0]["name"]
    ok(program, "run", "-i", f"{name}={temp('x.npy')}", *[a for o in outputs for a in ("-o", f"{o}={temp(o + '.npy')}")], *more)
    return [np.load(temp(o + ".npy")) for o in outputs]


def test_programs_agree_with_the_evaluator():
    for path, _ in nets():
        for options in ((), ("-O0",), ("--mcpu", "x86-64-v3"), ("--mcpu", "generic", "-O0")):
            text = ok(HONE, "verify", path, "--precision", "bf16", *options)
            lines = [l for l in text.splitlines() if l.startswith("evaluator")]
            assert lines and all("3e-02 allowed for bf16: ok" in l for l in lines), text
            error = max(float(l.split(" of the largest")[0].split(", ")[-1]) for l in lines)
            assert error > 1e-4, text  # f32 is nearer: it is bf16
    text = ok(HONE, "verify", nets()[0][0], "--nodes", "--precision", "bf16")
    compared, worst = re.search(r"(\d+) values compared, worst ([\d.e-]+)", text).groups()
    assert int(compared) > 20 and 1e-4 < float(worst) < 0.03, text


def test_types_at_the_edges_stay_and_weights_are_half():
    for path, shape in nets():
        x = rng.standard_normal((3, *shape)).astype(np.float32)
        program, plain = compile_as(path, "bf16"), compile_as(path, "f32")
        (y,), (want,) = run_on(program, x), run_on(plain, x)
        assert y.dtype == np.float32 and 0 < np.abs(y - want).max() < 0.03 * np.abs(want).max()
        for threads in (1, 2, 3):
            assert np.array_equal(run_on(program, x, "--threads", str(threads))[0], y)
        size = [json.loads(ok(p, "info", "--json"))["weights_bytes"] for p in (program, plain)]
        assert size[0] < (0.75 if "images" in path else 0.6) * size[1], size


def test_programs_say_what_they_use():
    path = nets()[1][0]
    told = ok(compile_as(path, "bf16", "--mcpu", "x86-64-v3"), "info")
    assert "10 of bf16 as f32" in told and "of f32" not in told, told
    program = compile_as(path, "bf16")
    told = json.loads(ok(program, "info", "--json"))["products"]
    assert "of bf16 " in told and "of f32" not in told, told
    nodes = json.loads(ok(program, "bench", "--profile", "--json", "--iters", "2"))["nodes"]
    kinds = {(n["op"], n["types"]) for n in nodes}
    assert ("conv", "bf16") in kinds and ("matmul", "bf16>f32") in kinds and any("bf16" in n["algo"] for n in nodes), kinds
    table = ok(HONE, "inspect", path, "--compiled", "--precision", "bf16")
    assert "bf16[N,25,50]" in table and "f32[N,3,16,16]" in table, table


def test_classes_are_those_of_f32():
    clothes, labels = fashion.load("t10k")
    x = fashion.tensors(clothes[:1000])
    for path in (SAMPLE, os.path.join(ROOT, "tools", "sample", "clothes5.onnx")):
        (y,), (want,) = (run_on(compile_as(path, p), x, outputs=("logits",)) for p in ("bf16", "f32"))
        e = np.exp(want - want.max(1, keepdims=True))
        two = np.sort(e / e.sum(1, keepdims=True))[:, -2:]
        clear = two[:, 1] - two[:, 0] > CLEAR
        assert clear.sum() > 900 and (y.argmax(1) == want.argmax(1))[clear].all()
        assert 0 < np.abs(y - want).max() < 0.02 * np.abs(want).max()


def half_file(name, kind):
    """A classifier with BatchNormalization, all of whose tensors are f16 or bf16."""
    n = Net(name)
    x = n.conv("x", 3, 64, 3, strides=[2, 2])
    for group, k, i, o in ((1, 3, 64, 192), (192, 3, 192, 192), (1, 1, 192, 192)):
        x = n.conv(x, i, o, k, act=None, group=group)
        x = n.add("BatchNormalization", x, *[n.const(rng.uniform(0.5, 1.5, o).astype(np.float32)) for _ in range(4)])
        x = n.add("Relu", x)
    x = n.add("Flatten", n.add("GlobalAveragePool", x))
    path = n.save([3, 16, 16], [n.add("Gemm", x, n.weight(192, 500), n.weight(500, scale=0.1))])
    model = onnx.load(path)
    for w in model.graph.initializer:
        a = numpy_helper.to_array(w)
        bits = a.astype(np.float16).view(np.uint16) if kind == TensorProto.FLOAT16 else ((a.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
        w.CopyFrom(helper.make_tensor(w.name, kind, a.shape, bits.tobytes(), raw=True))
    for v in (*model.graph.input, *model.graph.output):
        v.type.tensor_type.elem_type = kind
    onnx.save(model, path)
    return path


def test_files_of_16_bits_keep_their_size():
    for kind, dtype in ((TensorProto.FLOAT16, "f16"), (TensorProto.BFLOAT16, "bf16")):
        path = half_file("file_" + dtype, kind)
        for precision in ("f32", "bf16"):
            info = json.loads(ok(compile_as(path, precision), "info", "--json"))
            assert [v["dtype"] for v in info["inputs"] + info["outputs"]] == [dtype, dtype], info
            assert info["weights_bytes"] < 1.1 * os.path.getsize(path), info
            assert ("of bf16" in info["products"]) == (precision == "bf16"), info["products"]
            ok(HONE, "verify", path, "--precision", precision)
        ok(HONE, "verify", path, "--tolerance", "0.004" if dtype == "f16" else "0.008")  # f32 but for what comes out


def test_other_precisions_are_refused():
    for command in (("compile", "-o", temp("none")), ("verify",), ("inspect",), ("opt",)):
        code, out, err = run(HONE, command[0], SAMPLE, *command[1:], "--precision", "f16")
        assert code == 2 and "--precision takes f32" in err and "'f16'" in err and not out, (code, err)
    assert not os.path.exists(temp("none"))
    assert run(HONE, "verify", SAMPLE, "--precision", "int8")[0] == 2


if __name__ == "__main__":
    main(sys.modules[__name__])
