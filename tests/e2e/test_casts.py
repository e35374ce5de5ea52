"""A Cast that the file asks for rounds: float16 and bfloat16 (as numpy does, overflow, subnormals and all), integers, doubles,
quantizers; through shapes and names, in constants, between other operators and at the graph's edges; at every level, for
machines with and without the instructions.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from foreign import OTHERS
from script import HONE, main, ok, run, temp

F16, BF16, F32, F64 = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE
FLAGS = (["-O0", "--mcpu", OTHERS[0]], ["-O2"], ["-O2", "--mcpu", OTHERS[1]])


def bf16(x):
    """The nearest bfloat16, halves to even, as float32; of its bits, since numpy has no such type."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    near = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return np.where(np.isnan(x), np.float32(np.nan), (near & 0xFFFFFFFF).astype(np.uint32).view(np.float32))


def f16(x):
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float32).astype(np.float16).astype(np.float32)


def numbers():
    """f32[5,48]: usual numbers, halves between neighbours, subnormals, what overflows, and what is no number."""
    r = np.random.RandomState(1)
    with np.errstate(over="ignore"):
        x = (r.standard_normal(160) * 2.0 ** r.randint(-20, 20, 160)).astype(np.float32)
    odd = [0.0, -0.0, 65504, 65519.99, 65520, -65520, 1e30, -1e30, 3.3e38, np.inf, -np.inf, np.nan, 2 ** -24, 2 ** -25,
           2 ** -25 * 1.0001, 3 * 2 ** -25, 6e-8, 1e-8, -1e-7, 6.1e-5, 1e-39, -1e-44, 1 + 2 ** -11, 1 + 3 * 2 ** -11,
           1 + 2 ** -8, 1 + 3 * 2 ** -8, 2049, 2051, 257, 259]
    halves = np.repeat(np.float32(2) ** np.arange(-12, 13), 2) * np.tile([1 + 2 ** -11, 1 + 3 * 2 ** -8], 25)
    return np.resize(np.concatenate([np.array(odd, np.float32), halves.astype(np.float32), x]), 240).reshape(5, 48)


X = numbers()
SMALL = np.clip(np.nan_to_num(X), -1000, 1000)


class Graph:
    def __init__(self, inside=F32, outside=F32, opset=17):
        self.nodes, self.inits, self.inside, self.outside, self.opset = [], [], inside, outside, opset

    def op(self, kind, *inputs, **attrs):
        names = [x if isinstance(x, str) else self.init(x) for x in inputs]
        self.nodes.append(helper.make_node(kind, names, [f"v{len(self.nodes)}"], **attrs))
        return self.nodes[-1].output[0]

    def init(self, x):
        t = x if isinstance(x, TensorProto) else numpy_helper.from_array(np.asarray(x), "")
        t.name = f"c{len(self.inits)}"
        self.inits.append(t)
        return t.name

    def cast(self, x, *types):
        for t in types:
            x = self.op("Cast", x, to=t)
        return x

    def save(self, y, path):
        self.op("Identity", y)
        self.nodes[-1].output[0] = "y"
        g = helper.make_graph(self.nodes, "casts", [helper.make_tensor_value_info("x", self.inside, ["N", 48])],
                              [helper.make_tensor_value_info("y", self.outside, None)], self.inits)
        onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8), path)


def check(name, build, want, x=X, exact=True, **kinds):
    g = Graph(**kinds)
    g.save(build(g), temp(name + ".onnx"))
    np.save(temp("x.npy"), x)
    for flags in FLAGS:
        ok(HONE, "compile", temp(name + ".onnx"), "-o", temp(name), *flags)
        ok(temp(name), "run", "-i", temp("x.npy"), "-o", temp("y.npy"))
        y = np.load(temp("y.npy"))
        same = y.dtype == want.dtype and y.shape == want.shape and (
            np.array_equal(y, want, equal_nan=y.dtype.kind == "f") if exact else np.allclose(y, want, 1e-6, 1e-6))
        if not same:
            bad = np.flatnonzero(~((y == want) | (np.isnan(y.astype(np.float64)) & np.isnan(want.astype(np.float64)))))[:4]
            raise AssertionError(f"{name} {flags}: {y.dtype}{y.shape} {y.reshape(-1)[bad]} is not {want.reshape(-1)[bad]}")


def test_round_trips():
    for name, kind, rounded in (("f16", F16, f16), ("bf16", BF16, bf16)):
        check(name, lambda g: g.cast("x", kind, F32), rounded(X))
        check(name + "_named", lambda g: g.cast(g.op("Identity", g.op("Identity", g.cast("x", kind))), F32), rounded(X))
        check(name + "_shaped", lambda g: g.op("Reshape", g.cast(g.op("Transpose", g.op(
            "Reshape", g.cast("x", kind), np.array([0, 6, 8])), perm=[0, 2, 1]), F32), np.array([0, 48])),
            rounded(X).reshape(-1, 6, 8).transpose(0, 2, 1).reshape(-1, 48))
        check(name + "_twice", lambda g: g.cast("x", kind, F32, kind, F32), rounded(X))
        check(name + "_to_double", lambda g: g.cast("x", kind, F64, F32), rounded(X))
        check(name + "_sliced", lambda g: g.op("Concat", g.op("Slice", g.cast("x", kind, F32), np.array([24]), np.array([48]),
                                               np.array([1])), "x", axis=1), np.concatenate([rounded(X)[:, 24:], X], 1))
    check("one_then_the_other", lambda g: g.cast("x", F16, BF16, F32), bf16(f16(X)))
    check("the_other_way", lambda g: g.cast("x", BF16, F16, F32), f16(bf16(X)))


def test_between_operators():
    c = np.linspace(-3, 3, 48).astype(np.float32)
    for name, kind, rounded in (("f16", F16, f16), ("bf16", BF16, bf16)):
        check(name + "_sum", lambda g: g.op("Relu", g.cast(g.op("Add", g.cast("x", kind, F32), c), kind, F32)),
              np.maximum(rounded(rounded(SMALL) + c), 0), SMALL)
        check(name + "_reader", lambda g: g.op("Sub", "x", g.cast("x", kind, F32)), SMALL - rounded(SMALL), SMALL)
        check(name + "_constant", lambda g: g.op("Mul", "x", g.cast(c, kind, F32)), SMALL * rounded(c), SMALL)
        check(name + "_big_constant", lambda g: g.op("Add", "x", g.cast(X[:1], kind, F32)), SMALL + rounded(X[:1]), SMALL)
    w = np.random.RandomState(2).standard_normal((4, 3, 3, 3)).astype(np.float32)
    image = np.random.RandomState(3).randint(-8, 9, (5, 48)).astype(np.float32)

    def conv(g):  # sums of small integers times rounded weights, rounded again
        y = g.op("Conv", g.op("Reshape", "x", np.array([0, 3, 4, 4])), g.cast(w, BF16, F32), pads=[1, 1, 1, 1])
        return g.op("Reshape", g.cast(g.op("Relu", y), BF16, F32), np.array([0, 64]))

    padded = np.pad(image.reshape(5, 3, 4, 4), ((0, 0), (0, 0), (1, 1), (1, 1)))
    sums = sum(np.einsum("nchw,oc->nohw", padded[:, :, i:i + 4, j:j + 4].astype(np.float64), bf16(w)[:, :, i, j])
               for i in range(3) for j in range(3))
    check("conv", conv, bf16(np.maximum(sums, 0).astype(np.float32)).reshape(5, 64), image)


def test_cast_like():
    half = np.array([1.5], np.float16)
    check("like_init", lambda g: g.cast(g.op("CastLike", "x", half), F32), f16(X))
    check("like_cast", lambda g: g.cast(g.op("CastLike", "x", g.cast("x", BF16)), F32), bf16(X))
    check("like_computed", lambda g: g.cast(g.op("CastLike", "x", g.op("Neg", g.cast("x", F16))), F32), f16(X))
    check("like_widened", lambda g: g.op("CastLike", "x", g.cast(half, F32)), X)
    check("like_widened_again", lambda g: g.op("CastLike", "x", g.op("Relu", g.cast("x", F16, F32))), X)
    check("like_constant", lambda g: g.cast(g.op("CastLike", "x", g.op("Constant", value=numpy_helper.from_array(half))), F32),
          f16(X))


def test_integers():
    check("i32", lambda g: g.cast("x", TensorProto.INT32, F32), np.trunc(SMALL), SMALL)
    check("i64", lambda g: g.cast("x", TensorProto.INT64, F32), np.trunc(SMALL), SMALL)
    check("i8", lambda g: g.cast("x", TensorProto.INT8, F32), np.trunc(SMALL / 8), SMALL / 8)
    check("u8", lambda g: g.cast("x", TensorProto.UINT8, F32), np.trunc(np.abs(SMALL) / 4), np.abs(SMALL) / 4)
    check("bool", lambda g: g.cast("x", TensorProto.BOOL, F32), (X != 0).astype(np.float32))
    big = np.resize(np.array([2 ** 24 + 1, -2 ** 24 - 1, 65519, 65520, 2049, 2051, 2 ** 31, 2 ** 40 + 1, 257, 259]), (5, 48))
    check("i64_f32", lambda g: g.cast("x", F32), big.astype(np.float32), big, inside=TensorProto.INT64)
    check("i64_f16", lambda g: g.cast("x", F16, F32), f16(big), big, inside=TensorProto.INT64)
    check("i64_bf16", lambda g: g.cast("x", BF16, F32), bf16(big), big, inside=TensorProto.INT64)
    check("i32_wraps", lambda g: g.cast("x", TensorProto.INT32, TensorProto.INT64), big.astype(np.int32).astype(np.int64), big,
          inside=TensorProto.INT64, outside=TensorProto.INT64)


def test_doubles():
    d = np.resize(np.array([1 / 3, 16777217, -123456789.25, 1e300, 1e-300, 2.0 ** 53 - 1]), (5, 48))
    with np.errstate(over="ignore", under="ignore"):
        once = d.astype(np.float32)
    check("f64_f32", lambda g: g.cast("x", F32, F64), once.astype(np.float64), d, inside=F64, outside=F64)
    check("f64_out", lambda g: g.cast("x", F32), once, d, inside=F64)
    check("f32_f64", lambda g: g.cast("x", F64, F32), X)
    whole = np.where(np.abs(d) < 1e17, d, 7)
    check("f64_i64", lambda g: g.cast("x", TensorProto.INT64), np.trunc(whole).astype(np.int64), whole, inside=F64,
          outside=TensorProto.INT64)
    check("f64_stays", lambda g: g.op("Add", "x", np.array(1 / 3)), d + 1 / 3, d, inside=F64, outside=F64)


def test_quantizers():
    for zero, low, high in ((np.uint8(3), 0, 255), (np.int8(-5), -128, 127)):
        scale = np.float32(0.37)
        q = np.clip(np.rint(SMALL / scale) + float(zero), low, high).astype(np.float32)
        check("qdq", lambda g: g.op("DequantizeLinear", g.op("QuantizeLinear", "x", scale, zero), scale, zero),
              (q - np.float32(zero)) * scale, SMALL)


def test_edges():
    half = SMALL.astype(np.float16)
    check("f16_in", lambda g: g.cast("x", F32), half.astype(np.float32), half, inside=F16)
    check("f16_out", lambda g: g.cast("x", F16), f16(X).astype(np.float16), outside=F16)
    check("f16_both", lambda g: g.op("Neg", "x"), -half, half, inside=F16, outside=F16)
    check("f16_computed", lambda g: g.cast(g.op("Mul", g.cast("x", F32), np.float32(3)), F16),
          (half.astype(np.float32) * 3).astype(np.float16), half, inside=F16, outside=F16)
    np.save(temp("x.npy"), SMALL)  # of another type than declared
    code, _, err = run(temp("f16_in"), "run", "-i", temp("x.npy"), "-o", temp("y.npy"))
    assert code == 1 and "input 'x' takes f16[N,48], the file has f32[5,48]" in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
