"""Operators of com.microsoft, which ONNX Runtime's quantizer and optimizers put into files, against their definitions in double:
all inputs and attributes, or refused by name.
"""
import math
import os
import sys

import numpy as np
from onnx import TensorProto, helper

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import script  # noqa: E402
from op_model import BATCH, MS, Model, Near, Rounded, rng  # noqa: E402
from script import HONE, run, temp  # noqa: E402

f32, erf = np.float32, np.vectorize(math.erf)


def wide(a):
    return np.asarray(a, np.float64)


def floats(*shape):
    return rng.standard_normal(shape).astype(f32)


def ints(dtype, *shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


class Q:
    """A tensor of integers that stand for numbers."""

    def __init__(self, dtype, scale, zero, *shape):
        self.q, self.scale, self.zero = ints(dtype, *shape), f32(scale), dtype(zero)
        self.real = (wide(self.q) - wide(self.zero)) * wide(self.scale)

    def operands(self, m, constant=False):
        return [m.const(self.q) if constant else m.feed(self.q), m.const(self.scale), m.const(self.zero)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def gelu(x):
    return x / 2 * (1 + erf(x / math.sqrt(2)))


def fast_gelu(x):
    return x / 2 * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x ** 3)))


def to_last(x):
    return np.moveaxis(x, 1, -1)


# ---------------------------------------------------------------- quantized

def put(m, op, operands, real, scale, zero, **attrs):
    m.node(op, operands, [Rounded(real / wide(f32(scale)) + wide(zero), type(zero))], domain=MS, **attrs)


def test_quantized_elementwise():
    m = Model(13)
    for t, z in ((np.uint8, 131), (np.int8, -7)):
        a, b, row = Q(t, 0.031, z, BATCH, 3, 5), Q(t, 0.02, z + 9, BATCH, 3, 5), Q(t, 0.05, z, 3, 1)
        to = m.consts(f32(0.06), t(z - 20))
        put(m, "QLinearAdd", a.operands(m) + b.operands(m) + to, a.real + b.real, 0.06, t(z - 20))
        put(m, "QLinearMul", a.operands(m) + row.operands(m, True) + to, a.real * row.real, 0.06, t(z - 20))
        put(m, "QLinearSigmoid", a.operands(m) + m.consts(f32(0.004), t(0)), sigmoid(a.real), 0.004, t(0))
        leaky = np.where(a.real < 0, wide(f32(0.3)) * a.real, a.real)
        put(m, "QLinearLeakyRelu", a.operands(m) + to, leaky, 0.06, t(z - 20), alpha=0.3)
        choice = rng.random((BATCH, 3, 5)) < 0.5
        put(m, "QLinearWhere", [m.feed(choice)] + a.operands(m) + b.operands(m) + to, np.where(choice, a.real, b.real), 0.06,
            t(z - 20))
        low = t(np.iinfo(t).min)
        put(m, "QLinearSoftmax", a.operands(m) + m.consts(f32(1 / 256), low), softmax(a.real, 1), 1 / 256, low, axis=1, opset=13)
        flat = softmax(a.real.reshape(BATCH, -1)).reshape(a.real.shape)
        put(m, "QLinearSoftmax", a.operands(m) + m.consts(f32(1 / 256), low), flat, 1 / 256, low, axis=1, opset=11)
        joined = np.concatenate([a.real, b.real, a.real], 1)
        put(m, "QLinearConcat", to + a.operands(m) + b.operands(m) + a.operands(m), joined, 0.06, t(z - 20), axis=-2)
    u = Q(np.uint8, 0.03, 0, BATCH, 4)  # without zero points
    m.node("QLinearAdd", [m.feed(u.q), m.const(f32(0.03)), "", m.feed(u.q), m.const(f32(0.03)), "", m.const(f32(0.1))],
           [Rounded(2 * u.real / wide(f32(0.1)), np.uint8)], domain=MS)
    m.check()


def test_quantized_pools():
    m = Model(13)
    for t, z in ((np.uint8, 100), (np.int8, 3)):
        x = Q(t, 0.04, z, BATCH, 6, 5, 4)
        to = m.consts(f32(0.03), t(z + 2))
        mean = x.real.mean((2, 3), keepdims=True)
        put(m, "QLinearGlobalAveragePool", x.operands(m) + m.consts(f32(0.002), t(0)), mean, 0.002, t(0))
        y = x.real[:, :, :4].reshape(BATCH, 6, 2, 2, 2, 2).mean((3, 5))
        put(m, "QLinearAveragePool", x.operands(m) + to, y, 0.03, t(z + 2), kernel_shape=[2, 2], strides=[2, 2])
        padded = np.pad(x.real, ((0, 0), (0, 0), (1, 0), (0, 0)))
        y = padded.reshape(BATCH, 6, 3, 2, 4).sum(3) / np.array([1, 2, 2])[:, None]
        put(m, "QLinearAveragePool", x.operands(m) + to, y, 0.03, t(z + 2), kernel_shape=[2, 1], strides=[2, 1], pads=[1, 0, 0, 0])
        y = padded.reshape(BATCH, 6, 3, 2, 4).mean(3)
        put(m, "QLinearAveragePool", x.operands(m) + to, y, 0.03, t(z + 2), kernel_shape=[2, 1], strides=[2, 1], pads=[1, 0, 0, 0],
            count_include_pad=1)
        mean = x.real.mean((1, 2))
        put(m, "QLinearReduceMean", x.operands(m) + m.consts(f32(0.01), t(z)), mean, 0.01, t(z), axes=[1, 2], keepdims=0)
        x.q, x.real = to_last(x.q).copy(), to_last(x.real)
        mean = x.real.mean((1, 2), keepdims=True)
        put(m, "QLinearGlobalAveragePool", x.operands(m) + m.consts(f32(0.002), t(0)), mean, 0.002, t(0), channels_last=1)
        y = x.real[:, :4].reshape(BATCH, 2, 2, 2, 2, 6).mean((2, 4))
        put(m, "QLinearAveragePool", x.operands(m) + to, y, 0.03, t(z + 2), kernel_shape=[2, 2], strides=[2, 2], channels_last=1)
        m.node("NhwcMaxPool", [m.feed(x.q)], [x.q[:, :4].reshape(BATCH, 2, 2, 2, 2, 6).max((2, 4))], domain=MS,
               kernel_shape=[2, 2], strides=[2, 2])
    m.check()


def test_quantized_products():
    m = Model(13)
    for t, z in ((np.uint8, 120), (np.int8, 5)):
        a, b = Q(t, 0.02, z, BATCH, 60), Q(np.int8, 0.01, 0, 60, 7)
        c = rng.integers(-9000, 9000, 7).astype(np.int32)
        scale = rng.uniform(0.005, 0.02, 7).astype(f32)
        real = (wide(a.q) - z) @ wide(b.q) * 0.5 * wide(f32(0.02)) * wide(scale) + c * 0.5 * wide(f32(0.02)) * wide(scale)
        two = [m.feed(a.q)] + m.consts(a.scale, a.zero, b.q, scale, np.zeros(7, np.int8), c)
        put(m, "QGemm", two + m.consts(f32(0.1), t(z)), real, 0.1, t(z), alpha=0.5)
        m.node("QGemm", two, [Near(real)], domain=MS, alpha=0.5)
        turned = [m.feed(a.q.T.copy(), True)] + m.consts(a.scale, a.zero, b.q.T.copy(), b.scale, b.zero, "", f32(0.2), t(z))
        put(m, "QGemm", turned, a.real @ b.real, 0.2, t(z), transA=1, transB=1)
        bias = floats(7)
        m.node("MatMulIntegerToFloat", [m.feed(a.q)] + m.consts(b.q, a.scale, scale, a.zero, np.int8(3), bias),
               [Near(a.real @ ((wide(b.q) - 3) * scale) + bias)], domain=MS)
        x = Q(t, 0.03, z, BATCH, 5, 6, 4)  # NHWC
        w, bias = ints(np.int8, 6, 2, 3, 1), rng.integers(-900, 900, 6).astype(np.int32)
        real = np.zeros((BATCH, 5, 6, 6))
        padded = np.pad(x.real, ((0, 0), (1, 1), (0, 0), (0, 0)))
        for o in range(6):
            part = padded[..., o // 3 * 2:o // 3 * 2 + 2]
            real[..., o] = sum((part[:, i:i + 5] * wide(w[o, :, i, 0])).sum(-1) for i in range(3))
        real = real * wide(f32(0.01)) + bias * wide(f32(0.03)) * wide(f32(0.01))
        put(m, "QLinearConv", x.operands(m) + m.consts(w, f32(0.01), np.int8(0), f32(0.3), t(z), bias), real, 0.3, t(z),
            channels_last=1, group=2, pads=[1, 0, 1, 0])
    x, b = floats(BATCH, 40), ints(np.int8, 40, 6)
    low, high = min(x.min(), 0), max(x.max(), 0)
    step = wide(f32(f32(high) - f32(low)) / f32(255))
    zero = np.rint(-low / step)
    q = np.clip(np.rint(x / step) + zero, 0, 255) - zero
    m.node("DynamicQuantizeMatMul", [m.feed(x)] + m.consts(b, f32(0.01), np.int8(2)),
           [Near(q @ (wide(b) - 2) * step * wide(f32(0.01)))], domain=MS)
    m.check()


def packed(elem, bits, values):
    """A tensor of integers of less than 8 bits, as files store them."""
    each = 8 // bits
    flat = np.resize(np.append(np.ravel(values), np.zeros(each, int)), -(-values.size // each) * each) & (1 << bits) - 1
    flat[values.size:] = 0
    data = (flat.reshape(-1, each) << np.arange(each) * bits).sum(1).astype(np.uint8)
    t = TensorProto(data_type=elem, dims=values.shape)
    if elem % 2:
        t.raw_data = data.tobytes()
    else:
        t.int32_data.extend(int(v) for v in data)
    return t


def test_16_bits():
    m = Model(13)
    x = (floats(BATCH, 4, 5) * 20).astype(f32)
    scale, zero = rng.uniform(0.001, 0.01, 4).astype(f32), ints(np.int16, 4)
    for t, z in ((np.uint16, 30000), (np.int16, -77), (np.uint8, 3), (np.int8, -5)):
        step = 0.002 if t in (np.uint16, np.int16) else 0.4
        put(m, "QuantizeLinear", [m.feed(x)] + m.consts(f32(step), t(z)), wide(x), step, t(z))
        q = ints(t, BATCH, 4, 5)
        m.node("DequantizeLinear", [m.feed(q)] + m.consts(f32(0.002), t(z)), [Near((wide(q) - z) * wide(f32(0.002)))], domain=MS)
    m.node("QuantizeLinear", [m.feed(x)] + m.consts(scale, zero),
           [Rounded(wide(x) / wide(scale)[:, None] + zero[:, None], np.int16)], domain=MS, axis=1)
    m.check()


def test_small_integers():
    m = Model(21)
    for elem, bits, low in ((21, 4, 0), (22, 4, -8)):
        kind = np.int8 if low else np.uint8
        w, z = rng.integers(low, low + 16, (3, 7)), rng.integers(low, low + 16, (3, 2))
        scale = rng.uniform(0.1, 1, (3, 2)).astype(f32)
        s, zero = scale.repeat(4, 1)[:, :7], z.repeat(4, 1)[:, :7]
        operands = [m.const(packed(elem, bits, w)), m.const(scale), m.const(packed(elem, bits, z))]
        name, = m.node("DequantizeLinear", operands, [Near((w - zero) * wide(s))], axis=1, block_size=4)
        x = floats(BATCH, 3)
        m.node("MatMul", [m.feed(x), name], [Near(wide(x) @ ((w - zero) * wide(s)))])
        x = (floats(BATCH, 3, 7) * 4).astype(f32)
        one = packed(elem, bits, np.array([low + 5]))
        m.node("QuantizeLinear", [m.feed(x), m.const(np.array([0.7], f32)), m.const(one)],
               [Rounded(wide(x) / wide(f32(0.7)) + low + 5, kind, low, low + 15)])
        m.node("QuantizeLinear", [m.feed(x), m.const(f32(0.7))], [Rounded(wide(x) / wide(f32(0.7)), kind, low, low + 15)],
               output_dtype=elem)
        wide_ints = rng.integers(-100, 100, (BATCH, 9)).astype(np.int32)
        cut = (wide_ints - low) % 16 + low  # the low bits
        m.node("Cast", [m.feed(wide_ints)], [cut.astype(kind)], to=elem)
    for elem, low in ((25, 0), (26, -2)):
        w = rng.integers(low, low + 4, (3, 5))
        m.node("DequantizeLinear", [m.const(packed(elem, 2, w)), m.const(f32(0.5))], [Near(w / 2)])
    codes = np.arange(256, dtype=np.uint8)  # every number of 8 bits: sign, exponent, mantissa
    for elem, mantissa, bias, nan in ((17, 3, 7, (127, 255)), (18, 3, 8, (128,)), (20, 2, 16, (128,))):
        e, part = (codes & 127) >> mantissa, (codes & (1 << mantissa) - 1) / (1 << mantissa)
        x = np.where(e > 0, (1 + part) * 2.0 ** (e - float(bias)), part * 2.0 ** (1 - bias)) * np.where(codes > 127, -1, 1)
        x[list(nan)] = np.nan
        t = TensorProto(data_type=elem, dims=[256], raw_data=codes.tobytes())
        m.node("DequantizeLinear", [m.const(t), m.const(f32(2))], [Near(x * 2)])
    x = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    t = TensorProto(data_type=23, dims=[16], raw_data=bytes(i | i + 1 << 4 for i in range(0, 16, 2)))
    m.node("DequantizeLinear", [m.const(t), m.const(f32(0.5))], [Near(x / 2)])
    m.check()


# ---------------------------------------------------------------- fused

def conv(x, w, pad=0, group=1):
    """[N,C,H,W] by [O,C/group,KH,KW], stride 1."""
    x, each, per = np.pad(wide(x), ((0, 0), (0, 0), (pad, pad), (pad, pad))), w.shape[1], len(w) // group
    oh, ow = x.shape[2] - w.shape[2] + 1, x.shape[3] - w.shape[3] + 1
    y = np.zeros((len(x), len(w), oh, ow))
    for o in range(len(w)):
        part = x[:, o // per * each:(o // per + 1) * each]
        for i in range(w.shape[2]):
            for j in range(w.shape[3]):
                y[:, o] += np.einsum("nchw,c->nhw", part[:, :, i:i + oh, j:j + ow], wide(w[o, :, i, j]))
    return y


ACTIVATIONS = (("Relu", (), lambda x: np.maximum(x, 0)), ("Sigmoid", (), sigmoid), ("Tanh", (), np.tanh),
               ("LeakyRelu", (0.2,), lambda x: np.where(x < 0, 0.2 * x, x)),
               ("HardSigmoid", (0.3, 0.4), lambda x: np.clip(0.3 * x + 0.4, 0, 1)),
               ("HardSwish", (), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)), ("Softplus", (), lambda x: np.log1p(np.exp(x))),
               ("Elu", (0.7,), lambda x: np.where(x < 0, 0.7 * np.expm1(x), x)), ("Softsign", (), lambda x: x / (1 + abs(x))),
               ("ThresholdedRelu", (0.4,), lambda x: np.where(x > 0.4, x, 0)),
               ("Selu", (1.2, 0.0, 0.9), lambda x: 0.9 * np.where(x < 0, 1.2 * np.expm1(x), x)))


def test_convolutions():
    m = Model(17)
    x, w, b, z = floats(BATCH, 4, 6, 5), floats(6, 2, 3, 3), floats(6), floats(BATCH, 6, 6, 5)
    y = conv(x, w, 1, 2) + wide(b)[:, None, None]
    for name, p, function in ACTIVATIONS[:6] + (("Clip", (-0.5, 1.5), lambda x: np.clip(x, -0.5, 1.5)),):
        more = {"activation_params": p} if p else {}
        m.node("FusedConv", [m.feed(x)] + m.consts(w, b), [Near(function(y))], domain=MS, activation=name, group=2,
               pads=[1] * 4, **more)
    m.node("FusedConv", [m.feed(x)] + m.consts(w, b) + [m.feed(z)], [Near(np.maximum(y + z, 0))], domain=MS, group=2,
           pads=[1] * 4, activation="Relu")
    last = m.feed(to_last(x).copy())
    m.node("NhwcFusedConv", [last] + m.consts(w, b) + [m.feed(to_last(z).copy())], [Near(to_last(np.maximum(y + z, 0)))], domain=MS,
           group=2, pads=[1] * 4, activation="Relu")
    m.node("NhwcConv", [last] + m.consts(to_last(w).copy(), b), [Near(to_last(y))], domain=MS, group=2, pads=[1] * 4)
    m.check()


def test_products():
    m = Model(17)
    a, b, c = floats(BATCH, 7), floats(9, 7), floats(9)
    y = 0.5 * wide(a) @ wide(b).T + 2 * wide(c)
    for name, p, function in ACTIVATIONS:
        more = {"activation_" + n: v for n, v in zip(("alpha", "beta", "gamma"), p)}
        m.node("FusedGemm", [m.feed(a)] + m.consts(b, c), [Near(function(y))], domain=MS, activation=name, transB=1, alpha=0.5,
               beta=2.0, **more)
    for turn, width in ((0, (5, 6)), (1, (6, 5))):
        a, b = floats(BATCH, 2, *width), floats(2, 6, 4)
        left = wide(a).swapaxes(2, 3) if turn else wide(a)
        m.node("FusedMatMul", [m.feed(a), m.const(b)], [Near(0.3 * left @ wide(b))], domain=MS, transA=turn, alpha=0.3)
    a, b = floats(4, 2, 6), floats(2, 6, 5)
    m.node("FusedMatMul", [m.feed(a, True), m.const(b)], [Near(np.moveaxis(wide(a), 0, 1) @ wide(b))], domain=MS, transBatchA=1)
    b = floats(5, 2, 6)
    right = np.moveaxis(wide(b), 0, 1).swapaxes(1, 2)
    x, turn = floats(2, 3, 6), floats(2, 5, 6)
    m.node("TransposeMatMul", [m.feed(x, True), m.const(turn)], [Near(wide(x) @ wide(turn).swapaxes(1, 2))], domain=MS, transB=1)
    m.node("FusedMatMulActivation", [m.feed(x, True), m.const(b)], [Near(np.maximum(wide(x) @ right, 0))], domain=MS, transB=1,
           transBatchB=1, activation="Relu")
    m.check()


def in_bits(q, bits):
    """Rows of numbers of so many bits in whole bytes, the lowest bits first."""
    bit = (q[..., None] >> np.arange(bits)) & 1
    bit = bit.reshape(*q.shape[:-1], -1)
    bit = np.concatenate([bit, np.zeros((*bit.shape[:-1], -bit.shape[-1] % 8), bit.dtype)], -1)
    return np.packbits(bit.astype(np.uint8), axis=-1, bitorder="little")


def test_products_of_few_bits():
    """MatMulNBits: K that fills its blocks and not, packed zero points, such as floats, none; with a bias."""
    m = Model(17)
    for bits, K, N, size, zeros in ((4, 32, 5, 16, None), (4, 40, 7, 16, "packed"), (8, 32, 3, 32, "packed"), (2, 64, 4, 16, "packed"),
                                    (4, 48, 6, 16, "floats")):
        blocks = -(-K // size)
        q = rng.integers(0, 1 << bits, (N, blocks, size))
        zero = rng.integers(0, 1 << bits, (N, blocks)) if zeros else np.full((N, blocks), 1 << bits - 1)
        scale, x, bias = (rng.random((N, blocks)) + 0.1).astype(f32), floats(BATCH, 3, K), floats(N)
        w = ((q - zero[..., None]) * wide(scale)[..., None]).reshape(N, -1)[:, :K]
        inputs = [m.feed(x), m.const(in_bits(q, bits)), m.const(scale.reshape(-1))]
        inputs += ["" if zeros is None else m.const(in_bits(zero, bits).reshape(-1) if zeros == "packed" else zero.astype(f32)), "", m.const(bias)]
        m.node("MatMulNBits", inputs, [Near(wide(x) @ w.T + bias)], domain=MS, K=K, N=N, bits=bits, block_size=size)
    m.check()


def test_activations():
    m = Model(17)
    x, b = (floats(BATCH, 4, 10) * 2).astype(f32), floats(10)
    fed, bias = m.feed(x), m.const(b)
    x = wide(x)
    m.node("Gelu", [fed], [Near(gelu(x))], domain=MS)
    m.node("BiasGelu", [fed, bias], [Near(gelu(x + b))], domain=MS)
    m.node("FastGelu", [fed], [Near(fast_gelu(x))], domain=MS)
    m.node("FastGelu", [fed, bias], [Near(fast_gelu(x + b))], domain=MS)
    m.node("QuickGelu", [fed], [Near(x * sigmoid(1.702 * x))], domain=MS)
    m.node("QuickGelu", [fed], [Near(x * sigmoid(0.7 * x))], domain=MS, alpha=0.7)
    m.node("BiasSplitGelu", [fed, bias], [Near((x + b)[..., :5] * gelu((x + b)[..., 5:]))], domain=MS)
    m.node("BiasAdd", [fed, bias, fed], [Near(2 * x + b)], domain=MS)
    m.node("BiasSoftmax", [fed, bias], [Near(softmax(x + b))], domain=MS, axis=2, is_inner_broadcast=0)
    flat = softmax((x + b).reshape(BATCH, -1)).reshape(x.shape)
    m.node("BiasSoftmax", [fed, bias], [Near(flat)], domain=MS, axis=1, is_inner_broadcast=0)
    m.check()


def moments(x, axes, eps):
    mean = x.mean(axes, keepdims=True)
    return mean, 1 / np.sqrt(x.var(axes, keepdims=True) + eps)


def test_normalizations():
    m = Model(13)
    x, skip, gamma, beta, bias = floats(BATCH, 5, 16), floats(BATCH, 5, 16), floats(16), floats(16), floats(16)
    fed, s = m.feed(x), wide(x) + skip
    mean, inverse = moments(wide(x), -1, 1e-3)
    m.node("LayerNormalization", [fed] + m.consts(gamma, beta), [Near((wide(x) - mean) * inverse * gamma + beta), Near(mean),
                                                                Near(inverse)], axis=-1, epsilon=1e-3)
    square = 1 / np.sqrt((wide(x) ** 2).mean(-1, keepdims=True) + 1e-3)
    for domain in ("", MS):
        m.node("SimplifiedLayerNormalization", [fed] + m.consts(gamma), [Near(wide(x) * square * gamma), Near(square)],
               domain=domain, epsilon=1e-3)
    for value, more in ((s, []), (s + bias, m.consts(bias))):
        mean, inverse = moments(value, -1, 1e-12)
        y = (value - mean) * inverse * gamma
        m.node("SkipLayerNormalization", [fed, m.feed(skip)] + m.consts(gamma, beta) + more,
               [Near(y + beta), Near(mean), Near(inverse), Near(value)], domain=MS)
        m.node("SkipLayerNormalization", [fed, m.feed(skip)] + m.consts(gamma, "") + more, [Near(y)], domain=MS)
        square = 1 / np.sqrt((value ** 2).mean(-1, keepdims=True) + 1e-2)
        m.node("SkipSimplifiedLayerNormalization", [fed, m.feed(skip)] + m.consts(gamma) + more,
               [Near(value * square * gamma), None, Near(square), Near(value)], domain=MS, epsilon=1e-2)
    row = floats(5, 16)
    mean, inverse = moments(wide(x) + row, -1, 1e-12)
    m.node("SkipLayerNormalization", [fed] + m.consts(row, gamma, beta), [Near((wide(x) + row - mean) * inverse * gamma + beta)],
           domain=MS)
    x, skip, gamma, beta, bias = floats(BATCH, 3, 4, 6), floats(BATCH, 6), floats(6), floats(6), floats(6)
    for value, more in ((wide(x), []), (wide(x) + wide(skip)[:, None, None] + bias, [m.feed(skip), m.const(bias)])):
        groups = value.reshape(BATCH, 12, 3, 2)
        mean, inverse = moments(groups, (1, 3), 1e-4)
        y = ((groups - mean) * inverse).reshape(x.shape) * gamma + beta
        m.node("SkipGroupNorm" if more else "GroupNorm", [m.feed(x)] + m.consts(gamma, beta) + more,
               [Near(y * sigmoid(y))] + ([Near(value)] if more else []), domain=MS, groups=3, activation=1, epsilon=1e-4)
    m.node("GroupNorm", [m.feed(np.moveaxis(x, 3, 1).copy())] + m.consts(gamma, beta),
           [Near(np.moveaxis(((wide(x).reshape(BATCH, 12, 3, 2) - moments(wide(x).reshape(BATCH, 12, 3, 2), (1, 3), 1e-5)[0])
                              * moments(wide(x).reshape(BATCH, 12, 3, 2), (1, 3), 1e-5)[1]).reshape(x.shape) * gamma + beta, 3, 1))],
           domain=MS, groups=3, activation=0, channels_last=0)
    m.check()


# ---------------------------------------------------------------- attention

S, T, H, D = 5, 7, 2, 4


def heads(x, h=H):
    return wide(x).reshape(len(x), -1, h, x.shape[-1] // h).swapaxes(1, 2)


def joined(x):
    return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)


def attend(q, k, v, bias=0.0, scale=None):
    scores = (q @ k.swapaxes(2, 3)) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale) + bias
    return joined(softmax(scores) @ v)


def test_attention():
    m = Model(17)
    x, w, b = floats(BATCH, S, 9), floats(9, 3 * H * D), floats(3 * H * D)
    fed, wb = m.feed(x), m.consts(w, b)
    q, k, v = (heads(p) for p in np.split(wide(x) @ w + b, 3, 2))
    seen = rng.integers(0, 2, (BATCH, S)) | np.eye(1, S, dtype=int)
    each = rng.integers(0, 2, (BATCH, S, S)) | np.eye(S, dtype=int)
    ends = np.array([3, 5, 2, 1, 2, 0])
    span = (np.arange(S) < ends[:3, None]) & (np.arange(S) >= ends[3:, None])
    causal = np.where(np.tri(S) > 0, 0, -np.inf)
    for mask, bias, more in (
            (None, 0.0, {}), (None, causal, {"unidirectional": 1}),
            (seen, np.where(seen, 0, -10000)[:, None, None], {}), (each, np.where(each, 0, -10000)[:, None], {}),
            (each, np.where(each, 0, -2)[:, None] + causal, {"unidirectional": 1, "mask_filter_value": -2.0}),
            (ends[:3], np.where(np.arange(S) < ends[:3, None], 0, -10000)[:, None, None], {}),
            (ends, np.where(span, 0, -10000)[:, None, None], {})):
        given = [""] if mask is None else [m.feed(mask.astype(np.int32), len(mask) != BATCH or mask.ndim == 1)]
        fixed = fed if mask is None or mask.ndim > 1 else m.feed(x, True)
        m.node("Attention", [fixed] + wb + given, [Near(attend(q, k, v, bias))], domain=MS, num_heads=H, **more)
    more = floats(1, H, S, S)
    m.node("Attention", [fed] + wb + ["", "", m.const(more)], [Near(attend(q, k, v, wide(more), 0.3))], domain=MS, num_heads=H,
           scale=0.3)
    past = floats(2, BATCH, H, 3, D)
    long = [np.concatenate([wide(past[i]), t], 2) for i, t in enumerate((k, v))]
    late = np.where(np.tri(S, S + 3, 3) > 0, 0, -np.inf)
    m.node("Attention", [m.feed(x, True)] + wb + ["", m.feed(past, True)], [Near(attend(q, *long, late)), Near(np.stack(long))],
           domain=MS, num_heads=H, unidirectional=1)
    w = floats(9, 2 * H * D + H * 3)
    q, k, v = (heads(p) for p in np.split(wide(x) @ w, [H * D, 2 * H * D], 2))
    m.node("Attention", [fed, m.const(w)], [Near(attend(q, k, v))], domain=MS, num_heads=H, qkv_hidden_sizes=[H * D, H * D, H * 3])
    m.check()


def test_multi_head_attention():
    m = Model(17)
    q, k, v, b = floats(BATCH, S, H * D), floats(BATCH, T, H * D), floats(BATCH, T, H * 3), floats(2 * H * D + H * 3)
    three = [m.feed(q), m.feed(k), m.feed(v)]
    parts = heads(q), heads(k), heads(v)
    m.node("MultiHeadAttention", three, [Near(attend(*parts)), Near(parts[1]), Near(parts[2])], domain=MS, num_heads=H)
    moved = [heads(t + p) for t, p in zip((q, k, v), np.split(wide(b), [H * D, 2 * H * D]))]
    m.node("MultiHeadAttention", three + m.consts(b), [Near(attend(*moved))], domain=MS, num_heads=H)
    seen, more = rng.integers(0, 2, (BATCH, T)).astype(np.int32), floats(1, 1, S, T)
    bias = np.where(seen, 0, -10000)[:, None, None] + wide(more)
    m.node("MultiHeadAttention", three + ["", m.feed(seen), m.const(more)], [Near(attend(*parts, bias, 0.2))], domain=MS,
           num_heads=H, scale=0.2)
    packed_q, packed_kv = floats(BATCH, S, H, 3, D), floats(BATCH, T, H, 2, D)
    m.node("MultiHeadAttention", [m.feed(packed_q)], [Near(attend(*np.moveaxis(wide(packed_q), 3, 0).swapaxes(2, 3)))], domain=MS,
           num_heads=H)
    m.node("MultiHeadAttention", [three[0], m.feed(packed_kv)],
           [Near(attend(parts[0], *np.moveaxis(wide(packed_kv), 3, 0).swapaxes(2, 3)))], domain=MS, num_heads=H)
    m.node("MultiHeadAttention", [three[0], m.feed(parts[1].astype(f32)), m.feed(parts[2].astype(f32))], [Near(attend(*parts))],
           domain=MS, num_heads=H)
    now, past = [floats(BATCH, S, H * D) for _ in range(2)], [floats(BATCH, H, 2, D) for _ in range(2)]
    long = [np.concatenate([wide(p), heads(t)], 2) for p, t in zip(past, now)]
    late = np.where(np.tri(S, S + 2, 2) > 0, 0, -np.inf)
    m.node("MultiHeadAttention", [three[0]] + [m.feed(t) for t in now] + ["", "", ""] + [m.feed(t) for t in past],
           [Near(attend(parts[0], *long, late)), Near(long[0]), Near(long[1])], domain=MS, num_heads=H, unidirectional=1)
    m.check()


def turned(x, cos, sin, interleaved):
    """x [N,H,S,R] by tables [N,S,R/2]."""
    c, s = cos[:, None], sin[:, None]
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else np.split(x, 2, -1)
    re, im = c * a - s * b, s * a + c * b
    return np.stack([re, im], -1).reshape(x.shape) if interleaved else np.concatenate([re, im], -1)


def test_rotary():
    m = Model(17)
    x, at, cos, sin = floats(BATCH, S, H * D), rng.integers(0, 20, (BATCH, S)), floats(20, D // 2), floats(20, D // 2)
    for inter in (0, 1):
        y = joined(turned(heads(x), wide(cos)[at], wide(sin)[at], inter))
        m.node("RotaryEmbedding", [m.feed(x), m.feed(at)] + m.consts(cos, sin), [Near(y)], domain=MS, interleaved=inter)
        rows = np.arange(4, 4 + S)[None]
        by_heads = floats(BATCH, H, S, D + 3)
        y = np.concatenate([turned(wide(by_heads[..., :D]), wide(cos)[rows], wide(sin)[rows], inter), by_heads[..., D:]], -1)
        m.node("RotaryEmbedding", [m.feed(by_heads)] + m.consts(np.array([4]), cos, sin), [Near(y)], domain=MS, interleaved=inter,
               rotary_embedding_dim=D, num_heads=H)
    m.check()


# ---------------------------------------------------------------- refused

def refusal(node, opset=17, version=1, *inputs):
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs or (("x", [2, 5, 8]),)]
    g = helper.make_graph([node], "g", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(node.domain, version)]
    with open(temp("bad.onnx"), "wb") as f:
        f.write(helper.make_model(g, opset_imports=imports).SerializeToString())
    code, _, err = run(HONE, "compile", temp("bad.onnx"), "-o", temp("bad"))
    assert code == 1 and err.count("\n") == 1 and not os.path.exists(temp("bad")), (code, err)
    return err


def test_refused():
    def node(op, domain=MS, inputs=("x",), **attrs):
        return helper.make_node(op, list(inputs), ["y"], name="n", domain=domain, **attrs)

    two = ("x", [2, 5, 8]), ("w", [8, 24])
    for want, model in (
            ("operators of the domain 'acme' are not supported (those of ai.onnx up to opset 28 and of com.microsoft, version 1, are)",
             (node("Gelu", "acme"),)),
            ("are laid out for one CPU: save the optimized model at the level 'extended' (ORT_ENABLE_EXTENDED)",
             (node("Conv", MS + ".nchwc"),)),
            ("this operator of the domain 'com.microsoft' is not supported", (node("BeamSearch"),)),
            ("version 2 of the domain 'com.microsoft' is not supported (1 is)", (node("Gelu"), 17, 2)),
            ("opset 29 is not supported (1 to 28 are)", (node("Gelu"), 29)),
            ("activation 'Softmax' is not supported", (node("FusedMatMul", inputs=("x", "w"), activation="Softmax"), 17, 1, *two)),
            ("num_heads is 0", (node("Attention", inputs=("x", "w")), 17, 1, *two)),
            ("NYI: do_rotary", (node("Attention", inputs=("x", "w"), num_heads=2, do_rotary=1), 17, 1, *two)),
            ("5 heads do not divide", (node("Attention", inputs=("x", "w"), num_heads=5), 17, 1, *two)),
            ("key or value is missing", (node("MultiHeadAttention", num_heads=2),)),
            ("NYI: numbers of 3 bits", (node("MatMulNBits", inputs=("x", "w", "w"), K=4, N=4, bits=3, block_size=16), 17, 1, *two)),
            ("block_size is 12", (node("MatMulNBits", inputs=("x", "w", "w"), K=4, N=4, block_size=12), 17, 1, *two)),
            ("scales and zero points must be constants", (node("MatMulNBits", inputs=("x", "w", "w"), K=4, N=4, block_size=16), 17, 1, *two)),
            ("its input cannot be halved", (node("BiasSplitGelu"), 17, 1, ("x", [2, 5])))):
        err = refusal(*model)
        assert want in err, err


if __name__ == "__main__":
    script.main(sys.modules[__name__])
