"""`hone quantize`: where quantizers stand and with what numbers, by hand; what the quantized model says beside the float one, both
compiled; layers that go back to float; what is refused.

The numbers of whole networks beside those of another quantizer: by hand, quantize_ort.py.
"""
import json
import os
import re
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import fashion
from script import HONE, SAMPLE, main, ok, run, temp

rng = np.random.default_rng(11)
PLAIN = ("--mean", "0", "--std", "1", "--resize", "0", "-O0")  # inputs are pixels / 255
os.environ["OMP_NUM_THREADS"] = "1"
SIDE = 8


def images(folder, n=8, pixels=None):
    """A folder of n images of noise, or of the pixels given."""
    os.makedirs(temp(folder), exist_ok=True)
    for i in range(n):
        x = pixels[i] if pixels is not None else rng.integers(0, 256, (SIDE, SIDE, 3))
        Image.fromarray(np.asarray(x, np.uint8)).save(temp(f"{folder}/{i}.png"))
    return temp(folder)


class Net:
    """Nodes one behind the other, from images of SIDE x SIDE."""

    def __init__(self, opset=13, channels=3):
        self.opset, self.nodes, self.inits, self.channels, self.last = opset, [], [], channels, "x"

    def const(self, a):
        name = f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(np.asarray(a), name))
        return name

    def op(self, kind, *operands, name=None, n_out=1, **attrs):
        operands = [o if isinstance(o, str) else self.const(o) for o in operands]
        outs = [f"v{len(self.nodes)}" + (f".{k}" if k else "") for k in range(n_out)]
        self.nodes.append(helper.make_node(kind, operands, outs, name=name or f"{kind}{len(self.nodes)}", **attrs))
        self.last = outs[0]
        return outs[0]

    def conv(self, x, channels, kernel=3, name=None, **attrs):
        have = self.width(x)
        w = rng.normal(0, 1 / np.sqrt(have * kernel * kernel), (channels, have, kernel, kernel))
        y = self.op("Conv", x, w.astype(np.float32), rng.normal(0, 0.1, channels).astype(np.float32), name=name,
                    pads=[kernel // 2] * 4, **attrs)
        self.widths[y] = channels
        return y

    widths = {}

    def width(self, x):
        return self.channels if x == "x" else self.widths[x]

    def same(self, kind, x, *rest, **attrs):  # as many channels
        y = self.op(kind, x, *rest, **attrs)
        self.widths[y] = self.width(x)
        return y

    def save(self, name, output=None, batch="N"):
        info = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, self.channels, SIDE, SIDE])]
        out = [helper.make_tensor_value_info(output or self.last, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "net", info, out, self.inits)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        onnx.save(shape_inference.infer_shapes(model), temp(name + ".onnx"))  # the checker wants shapes of outputs
        return temp(name + ".onnx")


def quantize(model, *options, folder=None):
    """The quantized model, and the table of its layers."""
    out = model[:-5] + "_q.onnx"
    table = json.loads(ok(HONE, "quantize", model, "-o", out, "--calibrate", folder or images("noise"), "--json", *PLAIN, *options))
    q = onnx.load(out)
    onnx.checker.check_model(q)
    tensors = [t.name for t in q.graph.initializer] + [v.name for v in q.graph.input] + [o for n in q.graph.node for o in n.output if o]
    for names in ([n.name for n in q.graph.node if n.name], tensors):  # runtimes refuse a name that two have
        assert len(names) == len(set(names)), sorted(names)
    return q, table


def consts(q):
    return {t.name: numpy_helper.to_array(t) for t in q.graph.initializer}


def ops(q):
    return [n.op_type for n in q.graph.node]


def maker(q, name):
    return next((n for n in q.graph.node if name in n.output), None)


def quantizer(q, name):
    """(scale, zero point) of what DequantizeLinear makes; its input."""
    n = maker(q, name)
    assert n.op_type == "DequantizeLinear", n.op_type
    c = consts(q)
    return c[n.input[1]], c[n.input[2]], n.input[0]


def signal_to_noise(model, q_path, n=4):
    """Of the outputs of both, compiled."""
    x = np.stack([np.asarray(rng.integers(0, 256, (3, SIDE, SIDE)), np.float32) / 255 for _ in range(n)])
    np.save(temp("x.npy"), x)
    y = []
    for k, path in enumerate((model, q_path)):
        ok(HONE, "compile", path, "-o", temp(f"p{k}"), "-O0")
        ok(temp(f"p{k}"), "run", "-i", temp("x.npy"), "-o", temp(f"y{k}.npy"))
        y.append(np.load(temp(f"y{k}.npy")).astype(float))
    return 10 * np.log10((y[0] ** 2).sum() / ((y[1] - y[0]) ** 2).sum())


# ---------------------------------------------------------------- numbers

def test_numbers_by_hand():
    """A 1x1 convolution of known pixels: ranges, weights and biases are what they have to be."""
    pixels = np.zeros((8, SIDE, SIDE, 3))
    pixels[3, 2, 2] = (255, 51, 0)  # x: 0 to 1
    w = np.array([[2, 0, 1], [-1, -4, 0]], np.float32).reshape(2, 3, 1, 1)
    b = np.array([0.5, -0.25], np.float32)
    n = Net()
    n.op("Conv", n.op("Relu", n.op("Conv", "x", w, b)), np.ones((1, 2, 1, 1), np.float32))
    q, table = quantize(n.save("hand"), "--method", "minmax", "--no-bias-correction", folder=images("hand", 8, pixels))
    conv = next(k for k in q.graph.node if k.op_type == "Conv")
    scale, zero, source = quantizer(q, conv.input[0])
    assert np.isclose(scale, 1 / 255) and zero == 0 and zero.dtype == np.uint8
    assert maker(q, source).op_type == "QuantizeLinear" and maker(q, source).input[0] == "x"
    scale, zero, source = quantizer(q, conv.input[1])
    assert np.allclose(scale, [2 / 127, 4 / 127]) and not zero.any() and zero.dtype == np.int8
    assert consts(q)[source].reshape(2, 3).tolist() == [[127, 0, 64], [-32, -127, 0]]  # 63.5 and 31.75, to even
    assert maker(q, conv.input[1]).attribute[0].i == 0
    scale, zero, source = quantizer(q, conv.input[2])
    steps = np.array([2 / 127, 4 / 127]) / 255
    assert np.allclose(scale, steps) and consts(q)[source].dtype == np.int32
    assert consts(q)[source].tolist() == np.rint(b / steps).tolist()
    # Behind Relu: from 0 to 2 * 1 + 0.5; Relu is what the quantizer clips.
    assert "Relu" not in ops(q)
    second = [k for k in q.graph.node if k.op_type == "Conv"][1]
    scale, zero, source = quantizer(q, second.input[0])
    assert np.isclose(scale, 2.5 / 255) and zero == 0
    assert maker(q, source).input[0] == conv.output[0] == n.nodes[1].output[0]
    assert [r["type"] for r in table["layers"]] == ["int8", "int8"] and abs(table["layers"][0]["to"] - 2.5) < 1e-5


def test_bias_is_corrected():
    """The mean of an output of the quantized layer is that of the float one, whatever rounding does to its weights."""
    w = np.full((1, 3, 1, 1), 0.3, np.float32)
    w[0, 0] = 12.7  # steps of 0.1: 0.3 is exact; 0.34 is rounded to it
    w[0, 1] = 0.34
    n = Net()
    n.op("Conv", "x", w, np.zeros(1, np.float32))
    pixels = np.zeros((8, SIDE, SIDE, 3))
    pixels[..., 1] = 255  # the second channel is 1
    model, folder = n.save("mean"), images("ones", 8, pixels)
    for options, error in (((), 0), (("--no-bias-correction",), 0.34 - 0.3)):
        q, _ = quantize(model, "--method", "minmax", *options, folder=folder)
        conv = next(k for k in q.graph.node if k.op_type == "Conv")
        scale, _, source = quantizer(q, conv.input[1])
        bias = 0
        if len(conv.input) > 2:
            s, _, b = quantizer(q, conv.input[2])
            bias = float((s * consts(q)[b])[0])
        got = float((scale * consts(q)[source].reshape(1, 3)[:, 1])[0]) + bias
        assert abs(0.34 - got - error) < 1e-4, (options, got)


# ---------------------------------------------------------------- where quantizers stand

def test_moves_share_a_range():
    """Concat, MaxPool and a Reshape move bytes: one scale before and behind them."""
    n = Net()
    a = n.same("Relu", n.conv("x", 4))
    b = n.same("Clip", n.conv("x", 4), np.float32(0), np.float32(6))
    c = n.op("Concat", a, b, axis=1)
    p = n.op("MaxPool", c, kernel_shape=[2, 2], strides=[2, 2])
    n.op("Gemm", n.op("Flatten", p), rng.normal(0, 0.1, (10, 8 * 16)).astype(np.float32), np.zeros(10, np.float32), transB=1)
    model = n.save("moves")
    q, _ = quantize(model)
    assert "Relu" not in ops(q) and "Clip" not in ops(q)
    at = {k.op_type: k for k in q.graph.node}
    scales = [quantizer(q, x)[0] for x in (*at["Concat"].input, at["MaxPool"].input[0], at["Flatten"].input[0], at["Gemm"].input[0])]
    assert len(set(map(float, scales))) == 1
    assert q.graph.output[0].name == at["Gemm"].output[0], "what the last product says stays float"
    assert signal_to_noise(model, model[:-5] + "_q.onnx") > 28


def test_residuals_and_pools():
    n = Net()
    a = n.same("Relu", n.conv("x", 8))
    b = n.conv(n.same("Relu", n.conv(a, 8)), 8)
    s = n.same("Relu", n.same("Add", a, b))
    n.op("Gemm", n.op("Flatten", n.op("GlobalAveragePool", n.same("Relu", n.conv(s, 8)))),
         rng.normal(0, 1, (8, 10)).astype(np.float32))
    model = n.save("residual")
    q, table = quantize(model)
    add = next(k for k in q.graph.node if k.op_type == "Add")
    for x in add.input:
        assert maker(q, x).op_type == "DequantizeLinear"
    assert "Relu" not in ops(q) and len(table["layers"]) == 5
    assert all(r["snr"] > 25 for r in table["layers"]), table
    assert signal_to_noise(model, model[:-5] + "_q.onnx") > 25


def test_islands_stay_float():
    """What no runtime has in integers reads what was quantized anyway, and nothing more is quantized for it."""
    n = Net()
    a = n.conv("x", 8, name="first")
    s = n.same("Mul", n.same("Sigmoid", a), a)
    n.op("Softmax", n.op("Flatten", n.conv(s, 2)), axis=-1)
    q, _ = quantize(n.save("island"))
    sigmoid = next(k for k in q.graph.node if k.op_type == "Sigmoid")
    assert maker(q, sigmoid.input[0]).op_type == "DequantizeLinear"
    mul = next(k for k in q.graph.node if k.op_type == "Mul")
    assert {maker(q, x).op_type for x in mul.input} <= {"DequantizeLinear", "Sigmoid"}


def test_clip_that_no_quantizer_does():
    """From 0.25 on: 0 is in every range, so Clip stays."""
    n = Net()
    a = n.same("Clip", n.conv("x", 4), np.float32(0.25), np.float32(0.5))
    n.conv(a, 4)
    model = n.save("clip")
    q, _ = quantize(model)
    assert "Clip" in ops(q)
    assert signal_to_noise(model, model[:-5] + "_q.onnx") > 25


def test_normalizations_are_folded():
    n = Net()
    a = n.conv("x", 6)
    stats = [np.abs(rng.normal(1, 0.3, 6)).astype(np.float32) for _ in range(4)]
    a = n.same("Relu", n.same("BatchNormalization", a, *stats))
    shared = n.op("Identity", stats[0])
    b = n.op("Conv", a, rng.normal(0, 0.2, (6, 1, 3, 3)).astype(np.float32), group=6)
    n.op("BatchNormalization", b, shared, *stats[1:])
    model = n.save("bn")
    q, table = quantize(model)
    assert "BatchNormalization" not in ops(q) and "Identity" not in ops(q) and len(table["layers"]) == 2
    assert all(a.dtype != np.float32 or a.ndim < 2 for a in consts(q).values()), "float weights that nobody reads"
    assert signal_to_noise(model, model[:-5] + "_q.onnx") > 28


def test_old_opsets():
    """What opset 13 spells otherwise."""
    for opset in (7, 9, 10, 11, 12):
        n = Net(opset)
        a = n.conv("x", 4)
        a = n.same("Clip", a, min=0.0, max=6.0) if opset < 11 else n.same("Clip", a, np.float32(0), np.float32(6))
        if opset == 7:
            a = n.same("Upsample", a, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
        elif opset < 11:
            a = n.same("Upsample" if opset == 9 else "Resize", a, np.array([1, 1, 2, 2], np.float32), mode="nearest")
        if opset < 11:
            a = n.same("Pad", a, pads=[0, 0, 1, 1, 0, 0, 0, 0], mode="constant", value=0.0)
        a = n.same("Dropout", n.conv(a, 4), ratio=0.3) if opset < 12 else n.conv(a, 4)
        a = n.op("ReduceSum", a, axes=[3], keepdims=1)
        a = n.op("Squeeze", a, axes=[3])
        n.op("Softmax", a, axis=1)
        model = n.save(f"opset{opset}")
        q, _ = quantize(model)
        assert q.opset_import[0].version == 13
        assert signal_to_noise(model, model[:-5] + "_q.onnx") > 20, opset


def test_fixed_batch():
    n = Net()
    n.op("Flatten", n.conv(n.same("Relu", n.conv("x", 4)), 2))
    model = n.save("fixed", batch=2)
    _, table = quantize(model)
    assert all(r["snr"] > 25 for r in table["layers"])


# ---------------------------------------------------------------- whole networks

def fashion_folders():
    x, y = fashion.load("t10k")
    names = [p.value for p in onnx.load(SAMPLE).metadata_props if p.key == "hone.labels"][0].split("\n")
    for i in range(200):
        os.makedirs(temp(f"val/{names[y[i]]}"), exist_ok=True)
        Image.fromarray(x[i]).save(temp(f"val/{names[y[i]]}/{i}.png"))
    os.makedirs(temp("some"), exist_ok=True)
    for i in range(40):
        Image.fromarray(x[-i - 1]).save(temp(f"some/{i}.png"))


def test_sample():
    """Labels are read, methods agree; the file is the same each time."""
    fashion_folders()
    for method in ("percentile", "minmax", "entropy"):
        report = json.loads(ok(HONE, "quantize", SAMPLE, "-o", temp("s.onnx"), "--calibrate", temp("some"), "--eval", temp("val"),
                               "--method", method, "--json"))
        e = report["eval"]
        assert e["images"] == 200 and e["float_right"] > 170 and e["agree"] >= 196, e
        assert e["int8_right"] >= e["float_right"] - 4 and report["images"] == 40
        assert min(r["snr"] for r in report["layers"]) > 25, report
    with open(temp("s.onnx"), "rb") as f:
        first = f.read()
    ok(HONE, "quantize", SAMPLE, "-o", temp("s.onnx"), "--calibrate", temp("some"), "--method", "entropy")
    with open(temp("s.onnx"), "rb") as f:
        assert f.read() == first
    assert len(first) < 0.4 * os.path.getsize(SAMPLE)


def own_numbers():
    """What follows is the same whatever tests were before."""
    global rng
    rng = np.random.default_rng(1)


def coloured(n):
    """Images of n colours, so that the float model tells them apart."""
    return rng.integers(0, 216, (n, 1, 1, 3)) + rng.integers(0, 40, (n, SIDE, SIDE, 3))


def test_layers_go_back_to_float():
    """A tensor whose largest channel is read with weight 0 leaves nothing of the others in eight bits."""
    own_numbers()
    n = Net()
    w = rng.normal(0, 0.5, (6, 3, 3, 3)).astype(np.float32)
    w[5] *= 3000
    a = n.same("Relu", n.op("Conv", "x", w, name="wide", pads=[1] * 4)) if n.widths.update({f"v{0}": 6}) is None else None
    v = rng.normal(0, 0.5, (6, 6, 3, 3)).astype(np.float32)
    v[:, 5] = 0
    b = n.op("Conv", a, v, name="reads_wide", pads=[1] * 4)
    n.widths[b] = 6
    n.op("Gemm", n.op("Flatten", n.op("GlobalAveragePool", n.same("Relu", n.conv(b, 6, name="plain")))),
         rng.normal(0, 1, (6, 10)).astype(np.float32), name="head")
    model, folder = n.save("wide"), images("more", 40, coloured(40))
    _, bad = quantize(model, "--eval", folder, folder=folder)
    assert bad["eval"]["agree"] < 38, bad
    q, good = quantize(model, "--eval", folder, "--max-drop", "0.05", folder=folder)
    types = {r["node"]: r["type"] for r in good["layers"]}
    assert good["eval"]["agree"] >= 38 and [k for k, t in types.items() if t == "float"] == ["reads_wide"], good
    _, half = quantize(model, "--eval", folder, "--max-drop", "0.05", "--precision", "bf16", folder=folder)
    types = {r["node"]: r["type"] for r in half["layers"]}
    assert half["eval"]["agree"] >= 38 and set(types.values()) == {"bf16", "int8"} and types["plain"] == "int8", half
    stored = ok(HONE, "inspect", model[:-5] + "_q.onnx", "--compiled", "--precision", "bf16")
    assert "bf16[" in stored and "u8[" in stored, stored
    kept, given = quantize(model, "--keep-float", "*wide", "--keep-float", "last", folder=folder)
    assert [r["type"] for r in given["layers"]] == ["float", "float", "int8", "float"]


def test_layers_go_back_to_f32_where_bf16_is_not_enough():
    """Small differences of large numbers: neither eight bits nor bf16 leave anything of them. Few models tell how far to go."""
    own_numbers()
    n = Net()
    n.widths[n.op("Conv", "x", rng.normal(0, 0.5, (6, 3, 1, 1)).astype(np.float32), np.full(6, 1000, np.float32), name="offset")] = 6
    for k in range(6):  # of no channel the sum, so that the offset goes
        n.conv(n.last, 6, 1, name=f"product{k}")
        w = numpy_helper.to_array(n.inits[-2])
        n.inits[-2] = numpy_helper.from_array(w - w.mean(1, keepdims=True), n.inits[-2].name)
    n.op("Gemm", n.op("Flatten", n.op("GlobalAveragePool", n.last)), rng.normal(0, 1, (6, 10)).astype(np.float32), name="head")
    model, folder = n.save("offset"), images("colours", 40, coloured(40))
    code, out, err = run(HONE, "quantize", model, "-o", temp("o.onnx"), "--calibrate", folder, "--eval", folder, "--max-drop", "0.05",
                         "--precision", "bf16", "--json", *PLAIN)
    assert code == 0 and "layers go back to f32: compile the result without --precision bf16" in err, err
    types = {r["node"]: r["type"] for r in json.loads(out)["layers"]}
    assert set(types.values()) == {"float", "int8"} and types["product0"] == "float", types
    assert json.loads(out)["eval"]["agree"] >= 38, out
    assert int(re.search(r"layers back in float, after (\d+) quantized models", err)[1]) < 16, err


def length_bytes(path):
    """(bytes of the graph's length in the file, the length)"""
    with open(path, "rb") as f:
        data = f.read()
    at = 0
    while data[at] >> 3 != 7:  # a field before the graph
        kind, at = data[at] & 7, at + 1
        n, at = varint(data, at)
        at += n if kind == 2 else 0
    n, end = varint(data, at + 1)
    assert end + n == len(data)
    return end - at - 1, n


def varint(data, at):
    n = shift = 0
    while True:
        n |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return n, at


def test_length_at_a_boundary():
    """Numbers are aligned by where the graph begins, which its length decides on, which alignment changes: around 16384
    that has no end where the length has only as many bytes as it takes."""
    net = Net()
    net.op("Conv", "x", rng.normal(0, 1, (1, 3, 1, 1)).astype(np.float32))
    path, widths = net.save("long"), set()
    model, _ = onnx.load(path), quantize(path)
    short = length_bytes(temp("long_q.onnx"))[1]
    model.producer_name = "pp"
    for k in range(-10, -2):
        model.graph.doc_string = "." * (16384 - short + k)
        onnx.save(model, path)
        q, _ = quantize(path, folder=temp("noise"))
        assert len(q.graph.doc_string) == 16384 - short + k
        widths.add(length_bytes(temp("long_q.onnx"))[0])
    assert widths == {2, 3, 5}, widths


def test_shared_constants():
    """Weights that two layers read are dequantized once; a bias as often as it is read in other steps. Names that nodes and
    initializers have are not taken again, not even where two nodes have one."""
    net = Net()
    w = net.const(rng.normal(0, 0.2, (4, 4, 1, 1)).astype(np.float32))
    b = net.const(rng.normal(0, 0.1, 4).astype(np.float32))
    net.conv("x", 4, name=w + "_DequantizeLinear")
    for name in ("a", "b"):
        net.same("Conv", net.last, w, b, name=name)
        net.same("Relu", net.last)
    net.inits += [numpy_helper.from_array(np.ones((1, 4, 1, 1), np.float32), n)
                  for n in (w + "_quantized", w + "_dequantized", "x_scale", "x_dequantized")]
    for i, extra in enumerate(net.inits[-4:]):
        net.same("Mul", net.last, extra.name, name=("x_QuantizeLinear", "x_DequantizeLinear", b + "_DequantizeLinear", "a")[i])
    model = net.save("shared")
    q, table = quantize(model)
    layers = [n for n in q.graph.node if n.name in ("a", "b")]
    assert [n.op_type for n in layers] == ["Conv", "Conv"]
    assert [r["type"] for r in table["layers"]] == ["int8"] * 3
    assert layers[0].input[1] == layers[1].input[1] and layers[0].input[2] != layers[1].input[2]
    assert signal_to_noise(model, temp("shared_q.onnx")) > 20


def test_compile_int8():
    """The same program as in two steps, which needs to be told of images once."""
    net = Net()
    net.op("Flatten", net.conv(net.same("Relu", net.conv("x", 4)), 2))
    model, folder = net.save("two"), images("noise")
    q, _ = quantize(model, folder=folder)
    assert {p.key for p in q.metadata_props} >= {"hone.mean", "hone.std", "hone.resize"}
    ok(HONE, "compile", model, "-o", temp("one.ir"), "--emit", "ir", "--precision", "int8", "--calibrate", folder, *PLAIN)
    ok(HONE, "compile", temp("two_q.onnx"), "-o", temp("two.ir"), "--emit", "ir", "--name", "two", "-O0")
    with open(temp("one.ir")) as a, open(temp("two.ir")) as b:
        assert a.read() == b.read()
    ok(HONE, "compile", model, "-o", temp("two"), "--precision", "int8", "--calibrate", folder, *PLAIN)
    assert "class" in ok(temp("two"), os.path.join(folder, "0.png"))
    for argv in (("--precision", "int8"), ("--calibrate", folder), ("--precision", "f64")):
        assert run(HONE, "compile", model, "-o", temp("o"), *argv)[0] == 2


# ---------------------------------------------------------------- what is refused

def fails(*argv, code=1):
    got, _, err = run(HONE, "quantize", *argv)
    assert got == code, (got, err)
    return err


def test_bad_images():
    n = Net()
    n.conv("x", 4)
    model = n.save("small")
    folder = images("some_bad", 9)
    for name, text in (("empty.png", b""), ("cut.jpg", b"\xff\xd8\xff\xe0"), ("notes.txt", b"no image")):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(text)
    code, _, err = run(HONE, "quantize", model, "-o", temp("o.onnx"), "--calibrate", folder, *PLAIN)
    assert code == 0 and "empty.png: the file is empty" in err and "cut.jpg" in err, err
    assert "2 of 11 images cannot be read and are left out" in err and "notes.txt" not in err
    os.remove(temp("o.onnx"))
    os.remove(os.path.join(folder, "0.png"))
    os.remove(os.path.join(folder, "1.png"))
    err = fails(model, "-o", temp("o.onnx"), "--calibrate", folder, *PLAIN)
    assert "7 usable images, calibration takes at least 8" in err and not os.path.exists(temp("o.onnx"))
    os.makedirs(temp("nothing"), exist_ok=True)
    assert "there are no .jpg, .jpeg, .png or .webp files" in fails(model, "-o", temp("o.onnx"), "--calibrate", temp("nothing"))
    assert "No such file" in fails(model, "-o", temp("o.onnx"), "--calibrate", temp("none"))
    err = fails(model, "-o", os.path.join(folder, "2.png"), "--calibrate", folder)
    assert "2.png" in err and Image.open(os.path.join(folder, "2.png")).size == (SIDE, SIDE)


def test_floats_are_no_bytes():
    """Arrays for --eval that are f32 are inputs as they are: not those of a model that takes bytes."""
    n = Net()
    n.conv(n.same("Cast", "x", to=TensorProto.FLOAT), 4)
    n.same("GlobalAveragePool", n.last)
    n.same("Flatten", n.last)
    bytes_in = onnx.load(n.save("bytes"))
    bytes_in.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(bytes_in, temp("bytes.onnx"))
    pixels = rng.integers(0, 256, (9, 3, SIDE, SIDE))
    np.save(temp("labels.npy"), np.arange(9) % 4)
    argv = (temp("bytes.onnx"), "-o", temp("o.onnx"), "--calibrate", images("noise"), "-O0", "--eval")
    for kind in (np.uint8, np.float32):
        np.save(temp(f"{np.dtype(kind)}.npy"), pixels.astype(kind))
    err = fails(*argv, temp("float32.npy") + "," + temp("labels.npy"))
    assert "float32.npy" in err and "arrays of f32, but the model takes u8 pixels" in err, err
    code, out, err = run(HONE, "quantize", *argv, temp("uint8.npy") + "," + temp("labels.npy"))
    assert code == 0 and "top-1 of 9 images" in out, (out, err)
    os.remove(temp("o.onnx"))


def test_models_that_cannot_be():
    folder = images("noise")
    n = Net()
    n.conv("x", 4, name="only")
    model = n.save("small")
    assert "no Conv, Gemm or MatMul with constant weights has this name" in \
        fails(model, "-o", temp("o.onnx"), "--calibrate", folder, "--keep-float", "none")
    quantize(model)
    assert "it is quantized already" in fails(temp("small_q.onnx"), "-o", temp("o.onnx"), "--calibrate", folder)
    n = Net()
    n.same("Relu", "x")
    assert "nothing to quantize" in fails(n.save("relu"), "-o", temp("o.onnx"), "--calibrate", folder)
    n = Net()
    n.widths[n.op("Conv", "x", np.full((2, 3, 1, 1), 3e38, np.float32))] = 2
    n.conv(n.last, 2)
    assert "not finite" in fails(n.save("inf"), "-o", temp("o.onnx"), "--calibrate", folder, *PLAIN)
    n = Net()
    n.op("Conv", "x", np.array([1, np.nan, 0], np.float32).reshape(1, 3, 1, 1), name="odd")
    assert "node 'odd' (Conv): its weights hold numbers that are not finite" in \
        fails(n.save("nan"), "-o", temp("o.onnx"), "--calibrate", folder, *PLAIN)
    n = Net(channels=5)
    n.conv("x", 4)
    assert "one input, images" in fails(n.save("five"), "-o", temp("o.onnx"), "--calibrate", folder)
    n = Net(6)
    n.conv("x", 4)
    assert "NYI: quantizing a model of opset 6" in fails(n.save("six"), "-o", temp("o.onnx"), "--calibrate", folder)
    assert "--eval: output" in fails(model, "-o", temp("o.onnx"), "--calibrate", folder, "--eval", folder)
    assert not os.path.exists(temp("o.onnx"))


def test_usage():
    for argv, text in (((SAMPLE,), "give one model"), ((SAMPLE, "-o", "a", "--calibrate", "b", "--method", "c"), "--method takes"),
                       ((SAMPLE, "-o", "a", "--calibrate", "b", "--max-drop", "0.1"), "--max-drop needs --eval")):
        assert text in fails(*argv, code=2)


if __name__ == "__main__":
    main(sys.modules[__name__])
