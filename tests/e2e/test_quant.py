"""Quantized operators through the compiler, against numpy: integer products exact whatever the kernels' type, numbers
rounded to even and saturated as float32 has them, zero points and scales per tensor, per row, per channel, per block.
"""
import os
import sys

import numpy as np
from onnx import TensorProto

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import script  # noqa: E402
from op_model import BATCH, Model, Near, rng  # noqa: E402


def numbers(dtype, *shape):
    """Half of them at the ends of the range, so that sums grow as large as they can."""
    info = np.iinfo(dtype)
    ends = rng.choice([info.min, info.max], shape, p=[0.1, 0.9])
    return np.where(rng.random(shape) < 0.5, ends, rng.integers(info.min, info.max, shape, endpoint=True)).astype(dtype)


def wide(a):
    return np.asarray(a).astype(np.int64)


def conv(x, w, pad=0, stride=1, group=1):
    """[N,C,H,W] by [O,C/group,KH,KW], in int64."""
    x = np.pad(wide(x), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    kh, kw = w.shape[2:]
    oh, ow = (x.shape[2] - kh) // stride + 1, (x.shape[3] - kw) // stride + 1
    each, per = x.shape[1] // group, w.shape[0] // group
    y = np.zeros((x.shape[0], w.shape[0], oh, ow), np.int64)
    for o in range(w.shape[0]):
        part = x[:, o // per * each:(o // per + 1) * each]
        for i in range(oh):
            for j in range(ow):
                window = part[:, :, i * stride:i * stride + kh, j * stride:j * stride + kw]
                y[:, o, i, j] = (window * wide(w[o])).sum((1, 2, 3))
    return y


def saturate(x, dtype):
    return np.clip(x, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def quantize(x, scale, zero, dtype):
    return saturate(np.rint(x / np.float32(scale)) + np.float32(zero), dtype)


def test_integer_products():
    m = Model(10)
    a, b = numbers(np.uint8, BATCH, 1000), numbers(np.uint8, 1000, 7)
    m.node("MatMulInteger", [m.feed(a), m.const(b)], [(wide(a) @ wide(b)).astype(np.int32)])
    assert (wide(a) @ wide(b)).max() > 1 << 24  # beyond what float32 holds
    a, b = numbers(np.int8, 4, 600), numbers(np.int8, 600, 5)
    za, zb = np.array([-128, 127, 0, 3], np.int8), np.array([1, -128, 127, 0, -7], np.int8)
    y = (wide(a) - wide(za)[:, None]) @ (wide(b) - wide(zb))
    m.node("MatMulInteger", [m.feed(a, True), m.feed(b, True), m.const(za), m.const(zb)], [y.astype(np.int32)])
    a, b = numbers(np.uint8, BATCH, 4, 300), numbers(np.int8, BATCH, 300, 2)
    za = np.array(200, np.uint8)
    m.node("MatMulInteger", [m.feed(a), m.feed(b), m.feed(za, True)], [((wide(a) - 200) @ wide(b)).astype(np.int32)])
    a = numbers(np.uint8, BATCH, 70)
    v = numbers(np.uint8, 70)
    m.node("MatMulInteger", [m.feed(a), m.const(v)], [(wide(a) @ wide(v)).astype(np.int32)])
    m.check()


def test_integer_convolutions():
    m = Model(10)
    x, w = numbers(np.uint8, BATCH, 300, 5, 6), numbers(np.uint8, 17, 300, 3, 3)
    m.node("ConvInteger", [m.feed(x), m.const(w), m.const(np.uint8(3))], [conv(wide(x) - 3, w, 1).astype(np.int32)],
           pads=[1, 1, 1, 1])
    x, w, z = numbers(np.int8, BATCH, 80, 4, 5), numbers(np.int8, 6, 40, 3, 3), numbers(np.int8, 6)
    y = conv(x, wide(w) - wide(z)[:, None, None, None], 0, 1, 2)
    m.node("ConvInteger", [m.feed(x), m.const(w), "", m.const(z)], [y.astype(np.int32)], group=2)
    x, w = numbers(np.uint8, BATCH, 64, 8, 8), numbers(np.int8, 64, 64, 3, 3)  # Winograd's favourite
    m.node("ConvInteger", [m.feed(x), m.const(w)], [conv(x, w, 1).astype(np.int32)], pads=[1, 1, 1, 1])
    x, w = numbers(np.uint8, BATCH, 32, 7, 7), numbers(np.uint8, 32, 1, 3, 3)
    m.node("ConvInteger", [m.feed(x), m.const(w)], [conv(x, w, 1, 2, 32).astype(np.int32)], pads=[1, 1, 1, 1],
           strides=[2, 2], group=32)
    x, w = numbers(np.uint8, BATCH, 20, 9), numbers(np.uint8, 3, 20, 5)
    y = conv(x[:, :, None], w[:, :, None])[:, :, 0]
    m.node("ConvInteger", [m.feed(x), m.feed(w, True)], [y.astype(np.int32)])
    m.check()


def test_computed_zero_points():
    """By constant weights, of all their types: sums of bytes, and what a zero point known at run time takes off."""
    m = Model(10)
    for a_type, b_type in ((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.uint8), (np.int8, np.int8)):
        a, b = numbers(a_type, BATCH, 3, 70), numbers(b_type, 70, 21)
        za, zb = a_type(rng.integers(3, 100)), numbers(b_type, 21)
        m.node("MatMulInteger", [m.feed(a), m.const(b), m.feed(za, True), m.const(zb)],
               [((wide(a) - wide(za)) @ (wide(b) - wide(zb))).astype(np.int32)])
        rows = numbers(a_type, 4)
        m.node("MatMulInteger", [m.feed(a[0].repeat(2, 0)[:4], True), m.const(b), m.feed(rows, True)],
               [((wide(a[0].repeat(2, 0)[:4]) - wide(rows)[:, None]) @ wide(b)).astype(np.int32)])
        x, w, z = numbers(a_type, BATCH, 20, 6, 7), numbers(b_type, 18, 20, 3, 3), numbers(b_type, 18)
        y = conv(wide(x) - wide(za), wide(w) - wide(z)[:, None, None, None], 1, 2)
        m.node("ConvInteger", [m.feed(x), m.const(w), m.feed(za, True), m.const(z)], [y.astype(np.int32)],
               pads=[1, 1, 1, 1], strides=[2, 2])
        x, w, z = numbers(a_type, BATCH, 32, 6, 6), numbers(b_type, 32, 1, 3, 3), b_type(101)
        y = conv(wide(x) - wide(za), wide(w) - wide(z), 1, 1, 32)
        m.node("ConvInteger", [m.feed(x), m.const(w), m.feed(za, True), m.const(z)], [y.astype(np.int32)], group=32,
               auto_pad="SAME_UPPER")
        x, w = numbers(a_type, BATCH, 8, 9), numbers(b_type, 5, 8, 3)
        y = conv(np.pad(wide(x) - wide(za), ((0, 0), (0, 0), (2, 0)))[:, :, None], w[:, :, None])[:, :, 0]
        m.node("ConvInteger", [m.feed(x), m.const(w), m.feed(za, True)], [y.astype(np.int32)], pads=[2, 0])
    m.check()


def test_quantized_products():
    m = Model(10)
    f = np.float32
    a, b = numbers(np.uint8, BATCH, 500), numbers(np.int8, 500, 9)
    scale, zero = rng.uniform(0.001, 0.01, 9).astype(f), np.int8(0)
    by = f(0.02) * scale / f(1.5)
    y = saturate(np.rint(((wide(a) - 128) @ wide(b)).astype(f) * by) + f(100), np.uint8)
    assert len(np.unique(y)) > 10
    m.node("QLinearMatMul", [m.feed(a), m.const(f(0.02)), m.const(np.uint8(128)), m.const(b), m.const(scale),
                             m.const(np.zeros(9, np.int8)), m.const(f(1.5)), m.const(np.uint8(100))], [y])
    x, w = numbers(np.uint8, BATCH, 40, 9, 8), numbers(np.int8, 12, 40, 3, 3)
    scale, bias = rng.uniform(0.001, 0.01, 12).astype(f), rng.integers(-1 << 20, 1 << 20, 12).astype(np.int32)
    sums = conv(wide(x) - 77, w, 1, 2) + bias[:, None, None]
    by = (f(0.03) * scale / f(3))[:, None, None]
    y = saturate(np.rint(sums.astype(f) * by) + f(-5), np.int8)
    assert len(np.unique(y)) > 10
    m.node("QLinearConv", [m.feed(x), m.const(f(0.03)), m.const(np.uint8(77)), m.const(w), m.const(scale),
                           m.const(np.zeros(12, np.int8)), m.const(f(3)), m.const(np.int8(-5)), m.const(bias)], [y],
           pads=[1, 1, 1, 1], strides=[2, 2])
    m.check()


def test_quantize():
    m = Model(13)
    f = np.float32
    for scale in (f(0.1), f(3), f(0.25), f(1e-3)):  # halves, and what division in float32 makes of them
        x = ((np.arange(-600, 600).reshape(1, -1) / 2).astype(f) * scale).repeat(BATCH, 0)
        for dtype, zero in ((np.uint8, 128), (np.int8, -3)):
            m.node("QuantizeLinear", [m.feed(x), m.const(scale), m.const(dtype(zero))], [quantize(x, scale, zero, dtype)])
    x = rng.normal(0, 50, (BATCH, 5, 4)).astype(f)
    x[0, 0] = [np.inf, -np.inf, 1e30, -1e30]
    scale, zero = rng.uniform(0.1, 1, 5).astype(f), numbers(np.int8, 5)
    y = quantize(x, scale[:, None], zero[:, None], np.int8)
    m.node("QuantizeLinear", [m.feed(x), m.feed(scale, True), m.feed(zero, True)], [y], axis=1)
    m.node("QuantizeLinear", [m.feed(x), m.const(f(0.5))], [quantize(x, 0.5, 0, np.uint8)])
    q = numbers(np.int8, BATCH, 5, 4)
    y = (q.astype(f) - zero[:, None].astype(f)) * scale[:, None]
    m.node("DequantizeLinear", [m.feed(q), m.const(scale), m.const(zero)], [y], axis=-2)
    y = (q.astype(f) - f(3)) * f(0.5)  # one number or a vector of one: writers mix the two
    m.node("DequantizeLinear", [m.feed(q), m.const(np.array([0.5], f)), m.const(np.int8(3))], [y])
    m.node("DequantizeLinear", [m.const(q), m.const(f(0.5)), m.const(np.array([3], np.int8))], [y])
    big = np.array([[(1 << 24) + 1, (1 << 30) + 3]] * BATCH, np.int32)
    m.node("DequantizeLinear", [m.feed(big), m.const(f(0.5)), m.const(np.int32(1 << 24))], [(big - (1 << 24)).astype(f) / 2])
    for x in (rng.normal(0, 3, (BATCH, 4)), rng.uniform(2, 5, (BATCH, 4)), rng.uniform(-4, -1, (BATCH, 4)), np.zeros((BATCH, 2))):
        x = x.astype(f)
        least, most = min(x.min(), f(0)), max(x.max(), f(0))
        scale = (most - least) / f(255) if most > least else f(1)
        zero = quantize(-least, scale, 0, np.uint8)
        m.node("DynamicQuantizeLinear", [m.feed(x)], [quantize(x, scale, zero, np.uint8), np.array(scale), np.array(zero)])
    m.check()


def test_odd_scales():
    """0, as of activations and channels that are all 0, leaves 0 of what is quantized, as in ONNX Runtime, and no NaN; tiny, huge and
    negative ones are divided and multiplied by as they are."""
    m = Model(13)
    f = np.float32
    x = rng.normal(0, 3, (BATCH, 4, 6, 6)).astype(f)
    x[:, 0, :3] = 0
    w = rng.integers(-127, 128, (5, 4, 3, 3)).astype(np.int8)
    sums = conv(quantize(x, 0.03, 120, np.uint8).astype(int) - 120, w)
    for scale in (f(0), f(-0.0), f(1e-40), f(1e-45), f(1e-38), f(-0.05), f(1e30)):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for dtype, zero in ((np.uint8, 128), (np.int8, -5)):
                steps = m.consts(scale, dtype(zero))
                q = saturate(np.nan_to_num(np.rint(x / scale) + f(zero)), dtype)
                y = (q.astype(f) - f(zero)) * scale
                t = m.inner("DequantizeLinear", [m.inner("QuantizeLinear", [m.feed(x), *steps]), *steps])
                m.node("Identity", [t], [Near(y)])
                pooled = y.reshape(BATCH, 4, 3, 2, 3, 2).max((3, 5))
                pooled = saturate(np.nan_to_num(np.rint(np.maximum(pooled, 0) / scale) + f(zero)), dtype)
                t = m.inner("Relu", [m.inner("MaxPool", [t], kernel_shape=[2, 2], strides=[2, 2])])
                m.node("DequantizeLinear", [m.inner("QuantizeLinear", [t, *steps]), *steps], [Near((pooled.astype(f) - f(zero)) * scale)])
        if abs(scale) > 1:
            continue
        by = np.array([0.01, 0.02, scale, 0.03, 0.01], f)
        for bias in (np.array([1, -2, 0, 3, 0.5], f), None):
            t = m.inner("DequantizeLinear", [m.inner("QuantizeLinear", [m.feed(x), *m.consts(f(0.03), np.uint8(120))]), *m.consts(f(0.03), np.uint8(120))])
            t = m.inner("Conv", [t, m.inner("DequantizeLinear", m.consts(w, by, np.zeros(5, np.int8)), axis=0), *([] if bias is None else m.consts(bias))])
            want = sums * (by.astype(float) * 0.03)[:, None, None] + (0 if bias is None else bias[:, None, None])
            m.node("Relu", [t], [Near(np.maximum(want, 0), 1e-4)])
        for ys in (f(0.3), scale):  # sums of integers
            operands = m.consts(f(0.03), np.uint8(77), w, by, np.zeros(5, np.int8), ys, np.uint8(100), np.array([5, 0, 0, -7, 9], np.int32))
            q = numbers(np.uint8, BATCH, 4, 6, 6)
            t = m.inner("DequantizeLinear", [m.inner("QLinearConv", [m.feed(q), *operands]), *m.consts(ys, np.uint8(100))])
            real = (conv(wide(q) - 77, w) + np.array([5, 0, 0, -7, 9])[:, None, None]).astype(f) * (f(0.03) * by)[:, None, None]
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                want = (saturate(np.nan_to_num(np.rint(real / ys) + f(100)), np.uint8).astype(f) - f(100)) * ys
            m.node("Identity", [t], [Near(want, 1 / 100)])
        q = numbers(np.uint8, BATCH, 4)
        for op in ("QLinearAdd", "QLinearMul"):
            out = m.inner(op, [m.feed(q), *m.consts(f(0.1), np.uint8(3), q[:1], f(0.1), np.uint8(9), f(0), np.uint8(50))], domain="com.microsoft")
            m.node("DequantizeLinear", [out, *m.consts(f(0), np.uint8(50))], [Near(np.zeros((BATCH, 4)))])
    m.check()


def test_scales_that_are_no_numbers():
    f = np.float32
    for bad in (f(np.nan), f(np.inf), f(-np.inf)):
        three = np.array([0.1, bad, bad], f)
        for op, operands, attrs, said in (
                ("QuantizeLinear", [np.zeros((BATCH, 3), f), bad, np.uint8(3)], {}, "input 1, a scale, is not finite in 1 of 1 numbers"),
                ("QuantizeLinear", [np.zeros((BATCH, 3), f), three], {"axis": 1}, "input 1, a scale, is not finite in 2 of 3 numbers"),
                ("DequantizeLinear", [np.zeros((BATCH, 3), np.int8), three], {"axis": 1}, "input 1, a scale, is not finite in 2 of 3 numbers"),
                ("DequantizeLinear", [np.zeros((BATCH, 3), np.int32), bad], {}, "input 1, a scale, is not finite in 1 of 1 numbers"),
                ("DequantizeLinear", [np.zeros((2, 6), np.int8), np.array([[bad, 1], [1, 1]], f)], {"axis": 1, "block_size": 3}, "not finite in 1 of 4"),
                ("QLinearMatMul", [numbers(np.uint8, BATCH, 3), bad, np.uint8(3), numbers(np.uint8, 3, 3), f(1), np.uint8(0), f(1), np.uint8(0)], {}, "input 1, a"),
                ("QLinearMatMul", [numbers(np.uint8, BATCH, 3), f(1), np.uint8(3), numbers(np.uint8, 3, 3), three, np.zeros(3, np.uint8), f(1), np.uint8(0)], {},
                 "input 4, a scale, is not finite in 2 of 3"),
                ("QLinearMatMul", [numbers(np.uint8, BATCH, 3), f(1), np.uint8(3), numbers(np.uint8, 3, 3), f(1), np.uint8(0), bad, np.uint8(0)], {}, "input 6, a"),
                ("QLinearAdd", [numbers(np.uint8, BATCH, 3), f(1), np.uint8(3), numbers(np.uint8, 1, 3), bad, np.uint8(0), f(1), np.uint8(0)],
                 {"domain": "com.microsoft"}, "input 4, a"),
                ("QLinearSigmoid", [numbers(np.uint8, BATCH, 3), f(1), np.uint8(3), bad, np.uint8(0)], {"domain": "com.microsoft"}, "input 3, a"),
                ("MatMulNBits", [np.zeros((BATCH, 16), f), numbers(np.uint8, 2, 1, 8), np.array([1, bad], f)],
                 {"domain": "com.microsoft", "K": 16, "N": 2, "bits": 4, "block_size": 16}, "input 2, a scale, is not finite in 1 of 2")):
            m = Model(21)
            m.node(op, [m.feed(operands[0], True), *m.consts(*operands[1:])], [np.zeros((BATCH, 3), np.uint8)], **attrs)
            m.save(script.temp("bad.onnx"))
            code, _, err = script.run(script.HONE, "compile", script.temp("bad.onnx"), "-o", script.temp("bad"))
            assert code == 1 and err.count("\n") == 1 and f"bad.onnx: node '{op}0' ({op}" in err and said in err, (op, said, err)


def test_blocks():
    m = Model(21)
    f = np.float32
    scale, zero = rng.uniform(0.1, 1, (4, 3)).astype(f), numbers(np.uint8, 4, 3)
    s, z = scale.repeat(3, 1)[:, :8], zero.repeat(3, 1)[:, :8]  # blocks of 3 along 8 entries
    q = numbers(np.uint8, 4, 8)
    y = (q.astype(f) - z) * s
    for x in (m.feed(q, True), m.const(q)):
        m.node("DequantizeLinear", [x, m.const(scale), m.const(zero)], [y], axis=1, block_size=3)
    x = rng.normal(0, 40, (4, 8)).astype(f)
    m.node("QuantizeLinear", [m.feed(x, True), m.const(scale), m.const(zero)], [quantize(x, s, z, np.uint8)], axis=1,
           block_size=3)
    x = rng.normal(0, 3e4, (BATCH, 8)).astype(f)
    m.node("QuantizeLinear", [m.feed(x), m.const(f(1))], [quantize(x, 1, 0, np.int16)], output_dtype=TensorProto.INT16)
    m.node("QuantizeLinear", [m.feed(x), m.const(f(1)), m.const(np.uint16(9))], [quantize(x, 1, 9, np.uint16)])
    m.check()


if __name__ == "__main__":
    script.main(sys.modules[__name__])
