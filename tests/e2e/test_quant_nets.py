"""Quantized networks (QDQ) through the compiler: their products run on the integers, and the results are the reference
evaluator's within one quantum. The forms that quantizers write: activations u8 or s8, zero points of any value, weights
per tensor or channel, with a bias in int32, in float, or none; residuals, concat, pools, clips, gates, Gemm at the end.
"""
import os
import re
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import script  # noqa: E402
from script import HONE, ok, temp  # noqa: E402

f = np.float32


class Net:
    """Nodes of a QDQ graph; each method returns the name of a dequantized tensor."""

    def __init__(self, act=np.uint8, weight=np.int8, per_channel=True, bias="int32", seed=1):
        self.act, self.weight, self.per_channel, self.bias = act, weight, per_channel, bias
        self.rng, self.nodes, self.inits, self.scale, self.n = np.random.default_rng(seed), [], [], {}, 0

    def const(self, a):
        self.n += 1
        self.inits.append(numpy_helper.from_array(np.asarray(a), f"c{self.n}"))
        return f"c{self.n}"

    def node(self, op, *operands, **attrs):
        self.n += 1
        self.nodes.append(helper.make_node(op, list(operands), [f"t{self.n}"], name=f"{op}_{self.n}", **attrs))
        return f"t{self.n}"

    def quantize(self, x, scale, zero):
        zero = zero if self.act == np.uint8 else zero - 128
        s, z = self.const(f(scale)), self.const(self.act(zero))
        y = self.node("DequantizeLinear", self.node("QuantizeLinear", x, s, z), s, z)
        self.scale[y] = f(scale)
        return y

    def weights(self, *shape, axis=0):
        """Of a product whose output channels are this axis: the dequantized weights and the scale of each channel."""
        info = np.iinfo(self.weight)
        zero = 0 if self.weight == np.int8 else 128
        low = info.min + 1 if self.weight == np.int8 else 1
        w = self.rng.integers(low, info.max, shape, endpoint=True).astype(self.weight)
        n = shape[axis] if self.per_channel else 1
        scale = (self.rng.uniform(0.5, 1.5, n) / (70 * np.sqrt(np.prod(shape[1:])))).astype(f)
        s, z = (scale, np.full(n, zero, self.weight)) if self.per_channel else (scale[0], self.weight(zero))
        along = {"axis": axis} if self.per_channel else {}
        return self.node("DequantizeLinear", self.const(w), self.const(s), self.const(z), **along), scale

    def biased(self, x, channels, scale):
        if self.bias == "int32":
            unit = (self.scale[x] * scale).astype(f)
            b = self.rng.integers(-3000, 3000, channels).astype(np.int32)
            per = len(unit) > 1
            s, z = (unit, np.zeros(channels, np.int32)) if per else (unit, np.int32(0))  # [1] and []: as writers have it
            return [self.node("DequantizeLinear", self.const(b), self.const(s), self.const(z), **({"axis": 0} if per else {}))]
        return [self.const(self.rng.normal(0, 0.3, channels).astype(f))] if self.bias == "float" else []

    def conv(self, x, cin, cout, k=1, group=1, **attrs):
        w, scale = self.weights(cout, cin // group, k, k)
        attrs.setdefault("pads", [k // 2] * 4)
        return self.node("Conv", x, w, *self.biased(x, cout, scale), group=group, **attrs)

    def gemm(self, x, cin, cout):
        w, scale = self.weights(cout, cin)
        return self.node("Gemm", x, w, *self.biased(x, cout, scale), transB=1)

    def save(self, name, y, shape=(3, 12, 12)):
        self.nodes[-1].output[0] = "y"
        value = helper.make_tensor_value_info
        graph = helper.make_graph(self.nodes, name, [value("x", TensorProto.FLOAT, ["N", *shape])],
                                  [value("y", TensorProto.FLOAT, None)], self.inits)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.save(model, temp(name + ".onnx"))
        return temp(name + ".onnx")


def check(path):
    """Within one quantum, all products on integers, and what is stored between them is bytes."""
    text = ok(HONE, "verify", path, "--random", "2", "--batch", "2")
    quanta = [float(q) for q in re.findall(r"([0-9.e+-]+) of a quantum of", text)]
    assert quanta and max(quanta) <= 1.001, text
    ok(HONE, "compile", path, "--emit", "ir", "-o", temp("net.ir"))
    with open(temp("net.ir")) as file:
        lines = [line for line in file if re.search(r" = (conv|matmul) ", line)]
    assert lines
    types = dict(re.findall(r"(%\S+): (\w+)\[", open(temp("net.ir")).read()))
    plain = [line for line in lines if types[re.search(r" = \w+ (%[^,]+),", line).group(1)] == "f32"]
    assert not plain, plain
    lines = re.findall(r"^  (%\S+: f32\[N,\d+,(?!1,1\]).*)$", open(temp("net.ir")).read(), re.M)
    assert not lines, lines


def residual_net(**form):
    """The blocks of a ResNet: a stem and its pool, a residual, a projected one, the mean, the classifier."""
    n = Net(**form)
    x = n.quantize("x", 0.03, 121)
    x = n.quantize(n.node("Relu", n.conv(x, 3, 24, 3, strides=[2, 2])), 0.02, 0)
    x = n.quantize(n.node("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]), 0.02, 0)
    y = n.quantize(n.conv(x, 24, 24, 3), 0.03, 131)  # the Relu is fused away: its zero point is not 0
    y = n.quantize(n.conv(y, 24, 24, 1), 0.04, 100)
    x = n.quantize(n.node("Relu", n.node("Add", y, x)), 0.03, 0)
    y = n.quantize(n.conv(x, 24, 40, 3, strides=[2, 2]), 0.05, 128)
    p = n.quantize(n.conv(x, 24, 40, 1, strides=[2, 2]), 0.04, 77)
    x = n.quantize(n.node("Relu", n.node("Add", y, p)), 0.05, 3)
    x = n.quantize(n.node("GlobalAveragePool", x), 0.02, 0)
    x = n.quantize(n.node("Flatten", x), 0.02, 0)
    return n, n.quantize(n.gemm(x, 40, 10), 0.02, 128)


def mobile_net(**form):
    """Depthwise convolutions, clips, gates, a branch and its concat."""
    n = Net(**form)
    x = n.quantize("x", 0.03, 128)
    x = n.quantize(n.node("Clip", n.conv(x, 3, 16, 3), n.const(f(0)), n.const(f(6))), 0.02, 0)
    x = n.quantize(n.conv(x, 16, 16, 3, group=16), 0.03, 120)
    a = n.node("HardSwish", x)
    x = n.quantize(a, 0.02, 20)
    g = n.quantize(n.node("GlobalAveragePool", x), 0.02, 20)
    g = n.quantize(n.node("Relu", n.conv(g, 16, 8)), 0.01, 0)
    g = n.quantize(n.node("Sigmoid", n.quantize(n.conv(g, 8, 16), 0.02, 128)), 1 / 256, 0)
    x = n.quantize(n.node("Mul", x, g), 0.015, 30)
    a = n.quantize(n.conv(x, 16, 8, 1), 0.03, 128)
    b = n.quantize(n.conv(x, 16, 24, 3, group=4, strides=[1, 1]), 0.03, 128)
    x = n.quantize(n.node("Concat", a, b, axis=1), 0.03, 128)
    x = n.quantize(n.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 0.03, 128)
    x = n.quantize(n.node("LeakyRelu", n.conv(x, 32, 33, 3)), 0.05, 40)
    x = n.quantize(n.node("ReduceMean", x, axes=[2, 3], keepdims=0), 0.05, 40)
    return n, n.quantize(n.gemm(x, 33, 7), 0.03, 128)


def dense_net(**form):
    """Tensors that several others read, each with its own scale: joined, added, split, gated by themselves."""
    n = Net(**form)
    x = n.quantize("x", 0.03, 128)
    a = n.quantize(n.conv(x, 3, 16, 3), 0.03, 128)
    b = n.quantize(n.conv(a, 16, 16, 1), 0.04, 110)  # linear, read by a convolution and by an addition
    c = n.quantize(n.node("Concat", a, b, axis=1), 0.045, 120)
    d = n.quantize(n.node("MaxPool", n.quantize(n.conv(c, 32, 16, 3), 0.05, 128), kernel_shape=[3, 3], pads=[1] * 4), 0.05, 128)
    r = n.quantize(n.node("Relu", n.node("Add", b, d)), 0.03, 0)
    e = n.quantize(n.node("Concat", a, b, r, axis=1), 0.05, 99)
    h = n.quantize(n.node("HardSigmoid", d, alpha=1 / 6), 1 / 256, 0)
    h = n.quantize(n.node("Mul", d, h), 0.02, 10)
    s = n.quantize(n.node("Add", b, h), 0.06, 70)
    n.nodes.append(helper.make_node("Split", [s], ["left", "right"], name="Split", axis=1))
    n.scale["left"] = n.scale["right"] = n.scale[s]
    left, right = n.quantize("left", 0.06, 70), n.quantize("right", 0.06, 70)
    left = n.quantize(n.conv(left, 8, 8, 3, group=8), 0.05, 128)
    x = n.quantize(n.node("Concat", n.quantize(n.node("Sigmoid", right), 1 / 256, 0), left, axis=1), 0.05, 128)
    x = n.quantize(n.node("Add", n.quantize(n.conv(x, 16, 48, 1), 0.05, 128), e), 0.06, 128)
    x = n.quantize(n.node("GlobalAveragePool", x), 0.03, 100)
    x = n.quantize(n.node("Flatten", x), 0.03, 100)
    return n, n.quantize(n.gemm(x, 48, 10), 0.02, 128)


def segment_net(**form):
    """Maps that grow: by rows and columns of weights, to the scale of what comes and to another one, and by transposed convolutions."""
    n = Net(**form)
    x = n.quantize("x", 0.03, 128)
    a = n.quantize(n.node("Relu", n.conv(x, 3, 16, 3, strides=[2, 2])), 0.02, 0)
    b = n.quantize(n.conv(a, 16, 16, 3, strides=[2, 2]), 0.03, 120)
    for mode, scales, scale, zero in (("linear", (2, 2), 0.03, 120), ("cubic", (1.5, 1.2), 0.033, 131), ("linear", (0.5, 0.7), 0.02, 100),
                                      ("linear", (2, 1), 0.04, 128), ("linear", (1, 2), 0.03, 120)):
        up = n.node("Resize", b, n.const(np.array([], f)), n.const(np.array([1, 1, *scales], f)), mode=mode)
        b = n.quantize(n.conv(n.quantize(up, scale, zero), 16, 16, 3), 0.03, 120)
    for group, k, stride, bias in ((1, 2, 2, True), (1, 3, 2, True), (16, 4, 2, False), (1, 3, 1, True)):
        operands = [b, n.weights(16, 16 // group, k, k, axis=1)[0]] + ([n.const(n.rng.normal(0, 0.3, 16).astype(f))] if bias else [])
        y = n.node("ConvTranspose", *operands, strides=[stride] * 2, group=group, pads=[(k - 1) // 2] * 4)
        b = n.quantize(n.node("Relu", y) if bias else y, 0.05, 0 if bias else 128)
    x = n.quantize(n.node("GlobalAveragePool", b), 0.03, 20)
    x = n.quantize(n.node("Flatten", x), 0.03, 20)
    return n, n.quantize(n.gemm(x, 16, 5), 0.02, 128)


def test_activations_and_weights():
    for act, weight in ((np.uint8, np.int8), (np.int8, np.int8), (np.uint8, np.uint8)):
        for make in (residual_net, mobile_net, dense_net, segment_net):
            n, y = make(act=act, weight=weight)
            check(n.save(f"{make.__name__}_{act.__name__}_{weight.__name__}", y))


def test_scales_per_tensor_and_biases():
    for per_channel, bias in ((False, "int32"), (True, "float"), (False, "none")):
        n, y = residual_net(per_channel=per_channel, bias=bias)
        check(n.save(f"bias_{bias}", y))


def test_unsigned_weights():
    """Whose zero points leave numbers outside of i8: a convolution, one with groups, and a product."""
    n = Net()
    y = n.quantize("x", 0.03, 128)
    zeros = n.rng.integers(0, 255, 8).astype(np.uint8)
    for group, shape, zero in ((1, (8, 3, 3, 3), np.uint8(100)), (8, (8, 1, 3, 3), zeros)):
        w = n.const(n.rng.integers(0, 255, shape, endpoint=True).astype(np.uint8))
        scale = n.const(np.full(zero.shape, 0.001, f))
        y = n.node("Conv", y, n.node("DequantizeLinear", w, scale, n.const(zero), axis=0), group=group)
        y = n.quantize(y, 0.01, 128)
    y = n.node("Reshape", y, n.const(np.array([-1, 512], np.int64)))
    w = n.const(n.rng.integers(0, 255, (512, 5), endpoint=True).astype(np.uint8))
    y = n.quantize(n.node("MatMul", y, n.node("DequantizeLinear", w, n.const(f(0.001)), n.const(np.uint8(3)))), 0.01, 128)
    check(n.save("wide", y))


def test_channels_of_next_to_nothing():
    """Weights of a scale so small that the bias in its units is as large as int32 is: other channels stay integers."""
    n = Net()
    x = n.quantize("x", 0.03, 128)
    w, scale = n.weights(8, 3, 3, 3)
    unit = (f(0.03) * scale).astype(f)
    unit[[2, 5]] = 1e-9
    scale[[2, 5]] = unit[[2, 5]] / f(0.03)
    n.inits[-2].CopyFrom(numpy_helper.from_array(scale, n.inits[-2].name))
    b = n.rng.integers(-3000, 3000, 8).astype(np.int32)
    b[[2, 5]] = 2**31 - 1, -(2**31)
    b = n.node("DequantizeLinear", n.const(b), n.const(unit), n.const(np.zeros(8, np.int32)), axis=0)
    y = n.quantize(n.node("Conv", x, w, b, pads=[1] * 4), 0.03, 120)
    y = n.quantize(n.node("GlobalAveragePool", y), 0.02, 120)
    check(n.save("nothing", n.quantize(n.node("Flatten", y), 0.02, 120)))


if __name__ == "__main__":
    script.main(sys.modules[__name__])
