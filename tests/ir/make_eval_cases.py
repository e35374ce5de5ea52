#!/usr/bin/python3
"""Prints eval_cases.def: the expected results of test_eval_ops.c, computed by PyTorch and numpy.

    python3 tests/ir/make_eval_cases.py > tests/ir/eval_cases.def

Needs torch and numpy; the tests themselves do not. Made with torch 1.13 and numpy 1.24.
"""
import numpy as np
import torch
import torch.nn.functional as F

TEXT = {"float32": "F32", "float64": "F64", "float16": "F16", "int8": "I8", "int16": "I16",
        "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16", "uint32": "U32",
        "uint64": "U64", "bool": "BOOL"}


def pattern(seed, *dims, dtype="float32"):
    """The operand P(dtype, DIMS(dims), seed): multiples of 1/4 in [-2, 2], exact in every float."""
    i = np.arange(int(np.prod(dims)), dtype=np.int64)
    return (((i * 37 + seed * 11) % 17 - 8) / 4).astype(dtype).reshape(dims)


def number(x):
    digits = "%.17g" if not isinstance(x, np.float32) else "%.9g"
    x = float(x)
    if np.isnan(x):
        return "NAN"
    if np.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    return digits % x


def dims(shape):
    return "DIMS(%s)" % ", ".join(str(d) for d in shape)


def literal(a):
    a = np.asarray(a)
    values = ", ".join(number(x) for x in a.reshape(-1))
    return "X(%s, %s%s)" % (TEXT[str(a.dtype)], dims(a.shape), ", " + values if values else "")


class P:
    """A patterned operand: printed as its seed, not as its values."""

    def __init__(self, seed, *shape, dtype="float32"):
        self.a = pattern(seed, *shape, dtype=dtype)
        self.text = "P(%s, %s, %d)" % (TEXT[dtype], dims(shape), seed)


def attr(key, value):
    key = key.upper()
    if key in ("SHAPE",):
        return "A_DIMS(%s, %s)" % (key, ", ".join(map(str, value)))
    if isinstance(value, (list, tuple)):
        return "A_INTS(%s, %s)" % (key, ", ".join(map(str, value)))
    if isinstance(value, str):
        return 'A_STR(%s, "%s")' % (key, value)
    if isinstance(value, float):
        return "A_FLOAT(%s, %s)" % (key, number(value))
    return "A_INT(%s, %d)" % (key, value)


def wrap(line):
    out, indent = [], "     "
    while len(line) > 100:
        cut = line.rfind(", ", 0, 100) + 1
        out.append(line[:cut])
        line = indent + line[cut + 1:]
    return "\n".join(out + [line])


def case(name, op, operands, result, **attrs):
    ins = [x.text if isinstance(x, P) else "NONE" if x is None else literal(x) for x in operands]
    print(wrap('{.name = "%s", .op = IR_OP_%s, .in = {%s}, .attr = {%s}, .out = %s},' % (
        name, op.upper(), ", ".join(ins), ", ".join(attr(k, v) for k, v in attrs.items()),
        literal(result))))


def t(x):
    return torch.from_numpy(np.ascontiguousarray(x.a if isinstance(x, P) else x)).double()


def f32(x):
    return x.numpy().astype(np.float32)


def conv(name, x, w, bias=None, stride=(1, 1), pad=(0, 0, 0, 0), dilation=(1, 1), group=1):
    padded = F.pad(t(x), (pad[1], pad[3], pad[0], pad[2]))
    y = F.conv2d(padded, t(w), None if bias is None else t(bias), stride, 0, dilation, group)
    case("conv " + name, "conv", [x, w] + ([] if bias is None else [bias]), f32(y), stride=stride,
         pad=pad, dilation=dilation, group=group)


def convs():
    conv("1x1", P(1, 1, 3, 2, 3), P(2, 2, 3, 1, 1))
    conv("3x3 pad 1 bias", P(1, 1, 2, 4, 4), P(2, 2, 2, 3, 3), P(3, 2), pad=(1, 1, 1, 1))
    conv("batch of 2", P(1, 2, 1, 3, 3), P(2, 2, 1, 2, 2))
    conv("stride 2 asymmetric pads", P(1, 1, 1, 5, 6), P(2, 2, 1, 3, 3), stride=(2, 2),
         pad=(0, 1, 2, 1))
    conv("dilation", P(1, 1, 2, 6, 7), P(2, 1, 2, 3, 2), P(3, 1), dilation=(2, 3), pad=(1, 2, 0, 1))
    conv("two groups", P(1, 1, 4, 3, 3), P(2, 4, 2, 2, 2), P(3, 4), group=2)
    conv("depthwise", P(1, 1, 3, 4, 4), P(2, 3, 1, 3, 3), pad=(1, 1, 1, 1), group=3)
    conv("depthwise multiplier 2", P(1, 1, 2, 3, 3), P(2, 4, 1, 3, 3), P(3, 4), pad=(1, 1, 1, 1),
         group=2, stride=(2, 1))
    conv("7x1 kernel", P(1, 1, 1, 7, 3), P(2, 2, 1, 7, 1), pad=(3, 0, 3, 0))
    conv("wider than a tile", P(1, 1, 15, 2, 18), P(2, 1, 15, 3, 3), P(3, 1), pad=(1, 1, 1, 1))


def pool(name, op, x, kernel, stride=(1, 1), pad=(0, 0, 0, 0), dilation=(1, 1), ceil=0,
         count_pad=0):
    """By definition: windows over positions -pad .. ; ceil adds positions that never count."""
    a = x.a.astype(np.float64)
    h, w = a.shape[2:]
    size = []
    for i, n in enumerate((h, w)):
        room = n + pad[i] + pad[i + 2] - dilation[i] * (kernel[i] - 1) - 1
        out = (-(-room // stride[i]) if ceil else room // stride[i]) + 1
        if ceil and (out - 1) * stride[i] >= n + pad[i]:
            out -= 1
        size.append(out)
    y = np.zeros(a.shape[:2] + tuple(size))
    for oh in range(size[0]):
        for ow in range(size[1]):
            rows = [oh * stride[0] - pad[0] + i * dilation[0] for i in range(kernel[0])]
            cols = [ow * stride[1] - pad[1] + i * dilation[1] for i in range(kernel[1])]
            r, c = [i for i in rows if 0 <= i < h], [i for i in cols if 0 <= i < w]
            window = a[:, :, r][:, :, :, c].reshape(a.shape[0], a.shape[1], -1)
            count = len(r) * len(c)
            if count_pad:
                count = sum(i < h + pad[2] for i in rows) * sum(i < w + pad[3] for i in cols)
            y[:, :, oh, ow] = window.max(-1) if op == "max_pool" else window.sum(-1) / count
    attrs = dict(kernel=kernel, stride=stride, pad=pad, dilation=dilation, ceil=ceil)
    if op == "avg_pool":
        attrs["count_pad"] = count_pad
    if pad[0] == pad[2] and pad[1] == pad[3]:  # PyTorch can do it too: they must agree
        args = dict(kernel_size=kernel, stride=stride, padding=pad[:2], ceil_mode=bool(ceil))
        if op == "max_pool":
            want = F.max_pool2d(t(x), dilation=dilation, **args)
        else:
            want = F.avg_pool2d(t(x), count_include_pad=bool(count_pad), **args)
        assert np.allclose(want.numpy(), y), name
    case("%s %s" % (op, name), op, [x], y.astype(x.a.dtype), **attrs)


def pools():
    for op in ("max_pool", "avg_pool"):
        pool("2x2 stride 2", op, P(1, 1, 2, 4, 4), (2, 2), (2, 2))
        pool("3x3 pad 1", op, P(1, 2, 1, 3, 4), (3, 3), (1, 1), (1, 1, 1, 1))
        pool("asymmetric pads", op, P(4, 1, 1, 4, 5), (3, 2), (2, 1), (0, 1, 2, 0))
        pool("ceil", op, P(2, 1, 1, 6, 6), (3, 3), (2, 2), ceil=1)
        pool("ceil drops a window of padding", op, P(2, 1, 1, 5, 5), (2, 2), (3, 3), (1, 1, 1, 1),
             ceil=1)
    pool("dilation", "max_pool", P(5, 1, 1, 5, 5), (2, 2), (1, 1), (0, 0, 0, 0), (3, 2))
    pool("f64", "max_pool", P(1, 1, 1, 3, 3, dtype="float64"), (2, 2))
    pool("count_pad", "avg_pool", P(1, 1, 1, 4, 4), (3, 3), (2, 2), (1, 1, 1, 1), count_pad=1)
    pool("count_pad and ceil", "avg_pool", P(3, 1, 1, 6, 6), (3, 3), (2, 2), (1, 1, 1, 1), ceil=1,
         count_pad=1)
    pool("count_pad, asymmetric, ceil", "avg_pool", P(3, 1, 1, 5, 6), (3, 3), (2, 2), (0, 1, 1, 0),
         ceil=1, count_pad=1)


def matmul(name, a, b, bias=None, trans_a=0, trans_b=0):
    x = np.swapaxes(a.a, -1, -2) if trans_a else a.a
    y = np.swapaxes(b.a, -1, -2) if trans_b else b.a
    r = np.matmul(x.astype(np.float64), y.astype(np.float64))
    if bias is not None:
        r = r + (bias.a if isinstance(bias, P) else bias)
    case("matmul " + name, "matmul", [a, b] + ([] if bias is None else [bias]),
         r.astype(a.a.dtype), trans_a=trans_a, trans_b=trans_b)


def matmuls():
    matmul("2x3 3x4", P(1, 2, 3), P(2, 3, 4))
    matmul("trans_a", P(1, 3, 2), P(2, 3, 4), trans_a=1)
    matmul("trans_b, bias of a row", P(1, 2, 3), P(2, 4, 3), P(3, 4), trans_b=1)
    matmul("both, bias of a column", P(1, 3, 2), P(2, 4, 3), P(3, 2, 1), trans_a=1, trans_b=1)
    matmul("scalar bias", P(1, 1, 5), P(2, 5, 2), np.float32(0.5))
    matmul("batches", P(1, 2, 2, 3), P(2, 2, 3, 2))
    matmul("batches broadcast", P(1, 2, 1, 2, 2), P(2, 3, 2, 2))
    matmul("longer than a tile", P(1, 1, 131), P(2, 131, 3))
    matmul("batch of trans_b and bias", P(1, 2, 2, 2), P(2, 2, 3, 2), P(3, 2, 1, 3), trans_b=1)
    matmul("no inner dimension", P(1, 2, 0), P(2, 0, 2))
    matmul("f64", P(1, 2, 2, dtype="float64"), P(2, 2, 2, dtype="float64"))
    a = np.array([[2 ** 31 - 1, 2], [3, -4]], np.int32)
    b = np.array([[2, 1], [-5, 7]], np.int32)
    case("matmul i32 wraps around", "matmul", [a, b], np.matmul(a, b))


def norms():
    x, s, b, m = P(1, 2, 3, 1, 2), P(2, 3), P(3, 3), P(4, 3)
    var = np.array([0.25, 1, 4], np.float32)
    y = F.batch_norm(t(x), t(m), t(var), t(s), t(b), False, 0, 1e-3)
    case("batch_norm", "batch_norm", [x, s, b, m, var], f32(y), eps=1e-3)
    x = P(1, 1, 5, 1, 2)
    for size in (3, 4):
        # The ONNX operator documentation's loop (LRN-13).
        a, square = x.a.astype(np.float64), np.zeros(x.a.shape)
        for c in range(5):
            first, last = max(0, c - (size - 1) // 2), min(4, c + -(-(size - 1) // 2))
            square[:, c] = (a[:, first:last + 1] ** 2).sum(1)
        y = a / (1.5 + 0.5 / size * square) ** 0.75
        case("lrn size %d" % size, "lrn", [x], y.astype(np.float32), size=size, alpha=0.5,
             beta=0.75, bias=1.5)
    for axis in (0, 1, 2):
        x = P(1, 2, 3, 2)
        case("softmax axis %d" % axis, "softmax", [x], f32(F.softmax(t(x), axis)), axis=axis)
        case("log_softmax axis %d" % axis, "log_softmax", [x], f32(F.log_softmax(t(x), axis)),
             axis=axis)
    big = np.array([[1000, 1001, -1e30]], np.float32)
    case("softmax of big numbers", "softmax", [big], f32(F.softmax(t(big), 1)), axis=1)
    case("log_softmax of big numbers", "log_softmax", [big], f32(F.log_softmax(t(big), 1)), axis=1)


def reduces():
    fns = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod}
    for op, fn in fns.items():
        for axes, keep in (((0,), 0), ((1, 2), 1), ((0, 2), 0), ((0, 1, 2), 0)):
            x = P(3, 2, 3, 2)
            y = fn(x.a.astype(np.float64), axis=axes, keepdims=bool(keep)).astype(np.float32)
            case("reduce_%s over %s" % (op, list(axes)), "reduce_" + op, [x], y, axes=axes,
                 keepdims=keep)
    x = np.array([[100, 100, 100], [-7, 2, -3]], np.int8)
    case("reduce_sum i8 wraps around", "reduce_sum", [x], x.sum(1, dtype=np.int8), axes=(1,),
         keepdims=0)
    case("reduce_mean i8 truncates", "reduce_mean", [x], np.array([100, -2], np.int8), axes=(1,),
         keepdims=0)
    case("reduce_max i8", "reduce_max", [x], x.max(0), axes=(0,), keepdims=0)
    x = np.array([2 ** 64 - 1, 1, 2 ** 63], np.uint64)
    case("reduce_min u64", "reduce_min", [x], x.min(), axes=(0,), keepdims=0)
    x = np.array([[1, np.nan], [2, 3]], np.float32)
    case("reduce_max of NaN", "reduce_max", [x], x.max(1), axes=(1,), keepdims=0)
    case("reduce_min of NaN", "reduce_min", [x], x.min(0), axes=(0,), keepdims=0)
    none = np.zeros((2, 0), np.float32)
    for op, y in (("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf), ("mean", np.nan)):
        case("reduce_%s of nothing" % op, "reduce_" + op, [none],
             np.full((2, 1), y, np.float32), axes=(1,), keepdims=1)
    case("reduce_max i16 of nothing", "reduce_max", [np.zeros((0,), np.int16)],
         np.array(-32768, np.int16), axes=(0,), keepdims=0)


def moves():
    x = P(1, 2, 3, 2)
    for perm in ((0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)):
        case("transpose %s" % list(perm), "transpose", [x], x.a.transpose(perm), perm=perm)
    for name, dtype in (("i8", "int8"), ("i64", "int64"), ("f16", "float16")):
        y = np.arange(6).reshape(2, 3).astype(dtype)
        case("transpose " + name, "transpose", [y], y.T, perm=(1, 0))
    x = P(2, 4, 5)
    case("slice", "slice", [x], x.a[1:3, 0:5:2], start=(1, 0), step=(1, 2), shape=(2, 3))
    case("slice backwards", "slice", [x], x.a[::-2, 3:0:-1], start=(3, 3), step=(-2, -1),
         shape=(2, 3))
    case("slice of nothing", "slice", [x], x.a[0:0], start=(0, 0), step=(1, 1), shape=(0, 5))
    x = P(2, 2, 3)
    case("pad constant", "pad", [x], np.pad(x.a, ((1, 0), (2, 1)), constant_values=0.5),
         pad=(1, 2, 0, 1), mode="constant", value=0.5)
    case("pad edge", "pad", [x], np.pad(x.a, ((1, 2), (0, 1)), mode="edge"), pad=(1, 0, 2, 1),
         mode="edge")
    case("pad reflect", "pad", [x], np.pad(x.a, ((1, 1), (2, 2)), mode="reflect"),
         pad=(1, 2, 1, 2), mode="reflect")
    case("pad crops and pads", "pad", [x], np.pad(x.a[:, 1:], ((0, 1), (0, 2))),
         pad=(0, -1, 1, 2), mode="constant", value=0.0)
    y = np.array([[1, 2], [3, 4]], np.int64)
    case("pad i64", "pad", [y], np.pad(y, ((0, 1), (1, 0)), constant_values=-3), pad=(0, 1, 1, 0),
         mode="constant", value=-3.0)
    x = P(3, 3, 1)
    case("expand", "expand", [x], np.broadcast_to(x.a, (2, 3, 4)), shape=(2, 3, 4))
    case("expand a scalar", "expand", [np.array(7, np.int32)], np.full((2, 2), 7, np.int32),
         shape=(2, 2))
    x = P(3, 2, 3, 2)
    i = np.array([[0, 2], [-1, -3]], np.int64)
    case("gather axis 1", "gather", [x, i], np.take(x.a, i, 1), axis=1)
    case("gather axis 0, i32", "gather", [x, i[0:1, 0].astype(np.int32)], np.take(x.a, [0], 0),
         axis=0)
    case("gather scalar index", "gather", [x, np.array(-1, np.int64)], np.take(x.a, -1, 2), axis=2)
    a, b, c = P(1, 2, 1, 2), P(2, 2, 3, 2), P(3, 2, 0, 2)
    case("concat", "concat", [a, b, c, a], np.concatenate([a.a, b.a, c.a, a.a], 1), axis=1)
    case("concat axis 0 u8", "concat", [np.array([1, 2], np.uint8), np.array([3], np.uint8)],
         np.array([1, 2, 3], np.uint8), axis=0)
    x = P(1, 2, 3)
    case("reshape", "reshape", [x], x.a.reshape(3, 1, 2), shape=(3, 1, 2))
    case("copy", "copy", [x], x.a)


def elementwise():
    x = np.array([-3, -0.5, 0, 0.25, 1, 40, np.inf, -np.inf, np.nan], np.float32)
    d = t(x)
    unary = {
        "relu": F.relu(d), "sigmoid": torch.sigmoid(d), "hard_swish": F.hardswish(d[:7]),
        "tanh": torch.tanh(d), "erf": torch.erf(d), "exp": torch.exp(d), "abs": abs(d), "neg": -d,
        "floor": torch.floor(d), "ceil": torch.ceil(d), "log": torch.log(d), "sqrt": torch.sqrt(d),
    }
    for op, y in unary.items():
        case(op, op, [x[:len(y)]], f32(y))
    case("leaky_relu", "leaky_relu", [x], f32(F.leaky_relu(d, 0.1)), alpha=0.1)
    case("elu", "elu", [x], f32(F.elu(d, 1.5)), alpha=1.5)
    case("clip", "clip", [x], f32(torch.clamp(d, -1, 6)), min=-1.0, max=6.0)
    case("clip without max", "clip", [x], f32(torch.clamp(d, -1)), min=-1.0)
    case("hard_sigmoid", "hard_sigmoid", [x], f32(torch.clamp(0.2 * d + 0.5, 0, 1)), alpha=0.2,
         beta=0.5)
    case("relu f64", "relu", [np.array([-1e300, 1e300])], np.array([0, 1e300]))
    case("exp f16 overflows", "exp", [np.array([1, 12, -20], np.float16)],
         np.exp(np.array([1, 12, -20])).astype(np.float16))
    a = np.array([[7, -7, 1, 0], [2.5, -0.5, 3, np.nan]], np.float32)
    b = np.array([2, -2, 0.5, 4], np.float32)
    with np.errstate(all="ignore"):
        binary = {"add": a + b, "sub": a - b, "mul": a * b, "div": a / b,
                  "pow": np.power(a.astype(np.float64), b).astype(np.float32),
                  "maximum": np.maximum(a, b), "minimum": np.minimum(a, b),
                  "prelu": np.where(a < 0, a * b, a), "equal": a == b, "less": a < b,
                  "greater": a > b}
        for op, y in binary.items():
            case(op + " of a row", op, [a, b], y)
        case("div by zero", "div", [np.array([1, -1, 0], np.float32), np.array(0, np.float32)],
             np.array([np.inf, -np.inf, np.nan], np.float32))
        case("maximum of NaN", "maximum", [np.array([np.nan, 1], np.float32),
                                           np.array([1, np.nan], np.float32)],
             np.array([np.nan, np.nan], np.float32))
    x, y = P(1, 2, 1, 3), P(2, 4, 1)
    case("add broadcasts both", "add", [x, y], x.a + y.a)
    x, y = P(1, 2, 3, 2, 2), P(2, 3, 1, 1)
    case("mul by channel", "mul", [x, y], x.a * y.a)
    case("sub from a scalar", "sub", [np.array(1, np.float32), P(3, 5)],
         1 - pattern(3, 5))
    n = np.array([[1, 2], [3, 4]], np.float32)
    case("add of no elements", "add", [np.zeros((0, 2), np.float32), n[0:1]],
         np.zeros((0, 2), np.float32))
    c = np.array([[True], [False]])
    case("where broadcasts", "where", [c, n[0], np.array(9, np.float32)],
         np.where(c, n[0], np.float32(9)))
    p, q = np.array([True, True, False, False]), np.array([True, False, True, False])
    case("and", "and", [p, q], p & q)
    case("or", "or", [p, q], p | q)
    case("not", "not", [p], ~p)
    case("equal bool", "equal", [p, q], p == q)
    integers()


def integers():
    a = np.array([127, -128, 7, -7, 5], np.int8)
    b = np.array([1, -1, 2, 2, 0], np.int8)
    case("add i8 wraps around", "add", [a, b], np.array([-128, 127, 9, -5, 5], np.int8))
    case("mul i8 wraps around", "mul", [a, b], np.array([127, -128, 14, -14, 0], np.int8))
    case("div i8 truncates, by zero is 0", "div", [a, b], np.array([127, -128, 3, -3, 0], np.int8))
    case("neg i8 wraps around", "neg", [a], np.array([-127, -128, -7, 7, -5], np.int8))
    case("abs i8 wraps around", "abs", [a], np.array([127, -128, 7, 7, 5], np.int8))
    case("relu i8", "relu", [a], np.array([127, 0, 7, 0, 5], np.int8))
    case("clip i8", "clip", [a], np.array([3, -2, 3, -2, 3], np.int8), min=-2.5, max=3.5)
    u = np.array([0, 1, 2 ** 64 - 1], np.uint64)
    v = np.array([1, 2 ** 63, 2], np.uint64)
    case("sub u64 wraps around", "sub", [u[:2], v[:2]],
         np.array([2 ** 64 - 1, 2 ** 63 + 1], np.uint64))
    case("less u64", "less", [u, v], np.array([True, True, False]))
    case("div u64", "div", [u, v], np.array([0, 0, 2 ** 63 - 1], np.uint64))
    case("pow i32", "pow", [np.array([3, -2, 2, 1, 7], np.int32),
                            np.array([4, 3, 33, -5, -1], np.int32)],
         np.array([81, -8, 0, 1, 0], np.int32))
    case("maximum i64", "maximum", [np.array([5, -9], np.int64), np.array([-6, -8], np.int64)],
         np.array([5, -8], np.int64))
    case("minimum u8", "minimum", [np.array([5, 200], np.uint8), np.array([6, 100], np.uint8)],
         np.array([5, 100], np.uint8))
    case("where i64", "where", [np.array([True, False]), np.array([1, 2], np.int64),
                                np.array([3, 4], np.int64)], np.array([1, 4], np.int64))


def casts():
    x = np.array([0, 0.5, -1.5, 127.9, 300, -300, np.nan, np.inf, -np.inf], np.float32)
    saturated = {
        "i8": np.array([0, 0, -1, 127, 127, -128, 0, 127, -128], np.int8),
        "u8": np.array([0, 0, 0, 127, 255, 0, 0, 255, 0], np.uint8),
        "i32": np.array([0, 0, -1, 127, 300, -300, 0, 2 ** 31 - 1, -2 ** 31], np.int32),
        "bool": np.array([0, 1, 1, 1, 1, 1, 1, 1, 1], np.bool_),
        "f64": x.astype(np.float64),
        "f16": x.astype(np.float16),
    }
    for to, y in saturated.items():
        case("cast f32 to " + to, "cast", [x], y, to=to)
    i = np.array([0, 1, -1, 300, 2 ** 40 + 5], np.int64)
    for to, dtype in (("i8", np.int8), ("u8", np.uint8), ("i16", np.int16), ("u16", np.uint16),
                      ("u32", np.uint32), ("bool", np.bool_), ("f32", np.float32)):
        case("cast i64 to " + to, "cast", [i], i.astype(dtype), to=to)
    h = np.array([65504, 65519, 65520, 2 ** -24, 2 ** -25, 1.5 * 2 ** -25, 1 + 2 ** -11,
                  1 + 3 * 2 ** -11, 2047.5 * 2 ** -25, -2e-8], np.float64)
    with np.errstate(over="ignore"):
        case("cast f64 to f16 rounds", "cast", [h], h.astype(np.float16), to="f16")
    b = np.array([True, False])
    case("cast bool to f32", "cast", [b], b.astype(np.float32), to="f32")
    case("cast bool to i64", "cast", [b], b.astype(np.int64), to="i64")


print("// Made by make_eval_cases.py with PyTorch and numpy; do not edit. A row is a Case of")
print("// test_eval_ops.c.")
for rows in (convs, pools, matmuls, norms, reduces, moves, elementwise, casts):
    print("// " + rows.__name__)
    rows()
