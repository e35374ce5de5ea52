"""Constants that look like parameters, and parameters that look like constants: what formulas make, what prepares the
image, single numbers, and what no slope reaches. Each model is checked as those of test_params.py are: by the plan, by
differences, by a step of training and by the exported model.
"""
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, main, ok, run, temp
from test_finetune import kit
from test_params import SIZE, WIDTH, Graph, check_model, pictures, read_plan, tensors, train_once


def dft(n):
    return 2 * np.pi / n * np.outer(np.arange(n), np.arange(n))


def dct(n):
    return np.cos(np.pi / n * np.outer(np.arange(n), np.arange(n) + 0.5)) * np.sqrt(2 / n)


def hadamard(n):
    return np.array([[1]]) if n == 1 else np.kron([[1, 1], [1, -1]], hadamard(n // 2))


def bilinear(rows, columns):
    at = (np.arange(rows) + 0.5) * columns / rows - 0.5
    return np.clip(1 - abs(at[:, None] - np.arange(columns)), 0, 1) / \
        np.clip(1 - abs(at[:, None] - np.arange(columns)), 0, 1).sum(1, keepdims=True)


def slopes(heads):
    """ALiBi's: of a number of heads that is no power of two, too."""
    power = 2 ** int(np.log2(heads))
    first = 2.0 ** (-8 / power * np.arange(1, power + 1))
    more = 2.0 ** (-4 / power * np.arange(1, 2 * power + 1))[::2]
    return np.concatenate([first, more])[:heads]


# ---------------------------------------------------------------- what formulas make

def filters(g):
    """Of formulas, and learned ones that begin with the identity."""
    def use(x, w, **attrs):
        return g.op("Tanh", g.conv(x, w, **attrs))
    x = g.stem()
    blur = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    x = use(x, g.none("binomial", np.tile(blur, (WIDTH, 1, 1, 1)), "weights of a formula"), group=WIDTH, pads=[2] * 4)
    haar = np.array([[[1, 1], [1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]])[:, None] / 2
    x = use(x, g.none("haar", np.tile(haar, (WIDTH, 1, 1, 1)), "a formula"), group=WIDTH, pads=[0, 0, 1, 1])
    x = use(x, g.param("mix", WIDTH, 4 * WIDTH, 1, 1))
    sobel = np.zeros((2 * WIDTH, WIDTH, 3, 3))
    for i in range(WIDTH):
        sobel[i, i] = np.outer([1, 2, 1], [-1, 0, 1])
        sobel[WIDTH + i, i] = np.outer([-1, 0, 1], [1, 2, 1])
    x = use(x, g.none("sobel", sobel, "a formula"), pads=[1] * 4)
    x = use(x, g.param("edges", WIDTH, 2 * WIDTH, 1, 1))
    first = np.zeros((WIDTH, 1, 3, 3))
    first[:, :, 1, 1] = 1
    x = use(x, g.learned("dirac.depthwise", first), group=WIDTH, pads=[1] * 4)
    first = np.zeros((WIDTH, WIDTH, 3, 3))
    first[range(WIDTH), range(WIDTH), 1, 1] = 1
    x = use(x, g.learned("dirac", first), pads=[1] * 4)
    shift = np.zeros((WIDTH, 1, 3, 3))
    shift[range(WIDTH), 0, [0, 0, 1, 1, 2, 2], [0, 1, 2, 0, 1, 2]] = 1
    x = use(x, g.none("shift", shift, "masks"), group=WIDTH, pads=[1] * 4)
    g.head(g.pool(x))


def transforms(g):
    """Matrices of formulas in products, on either side, and a learned one that begins with the identity."""
    t = g.tokens()
    t = g.op("Tanh", g.op("MatMul", t, g.learned("eye", np.eye(WIDTH))))
    t = g.op("Sub", g.op("MatMul", g.none("dft.re", np.cos(dft(16)), "a formula"), t),
             g.op("MatMul", g.op("MatMul", g.none("dft.im", np.sin(dft(16)), "a formula"), t), g.param("w", WIDTH, WIDTH)))
    t = g.op("MatMul", g.op("Transpose", g.op("Tanh", t), perm=[0, 2, 1]), g.none("dct", dct(16).T, "a formula"))
    t = g.op("MatMul", g.op("Tanh", t), g.none("hadamard", hadamard(16) / 4, "a formula"))
    t = g.op("MatMul", g.op("Tanh", t), g.none("bilinear", bilinear(4, 16).T, "a formula"))
    t = g.op("MatMul", g.op("Tanh", t), g.none("dct4", dct(4).T, "a formula"))
    g.head(g.op("ReduceMean", g.op("Mul", t, g.param("scale", WIDTH, 4)), axes=[2], keepdims=0))


def distances(g):
    """What is added to the scores of attention by positions: ALiBi in several spellings; learned tables beside it."""
    t = g.tokens()
    far = abs(np.subtract.outer(np.arange(16), np.arange(16)))
    plane = np.hypot(np.subtract.outer(np.arange(16) // 4, np.arange(16) // 4),
                     np.subtract.outer(np.arange(16) % 4, np.arange(16) % 4))
    q, k, v = (g.op("Unsqueeze", g.op("MatMul", t, g.param(f"{c}.weight", WIDTH, WIDTH)), g.ints(1)) for c in "qkv")
    scores = g.op("MatMul", g.op("Mul", q, g.param("heads", 6, 1, WIDTH)), g.op("Transpose", k, perm=[0, 1, 3, 2]))
    slope = g.none("slopes", -slopes(6)[:, None, None], "geometric")
    scores = g.op("Add", scores, g.op("Mul", g.init("far", far[None].astype(np.float32)), slope))
    g.fixed["far"] = "whole numbers"
    for name, heads, d in (("alibi", 6, far), ("plane", 6, plane), ("pair", 2, plane)):
        table = -slopes(heads)[:, None, None] * d
        table = np.tile(table, (6 // heads, 1, 1)) if heads == 2 else table
        scores = g.op("Add", scores, g.none(name, table[None], "distances times slopes"))
    scores = g.op("Add", scores, g.none("one", -0.3 * far, "distances times slopes"))
    scores = g.op("Where", g.init("upper", far < 9), scores, g.none("fill", np.full((16, 16), -1e9), "masks"))
    # LeViT's, as exporters store it: by the distances of rows and columns, symmetric, but no outer product
    learned = g.numbers(6, 4, 4)
    rows, columns = (abs(np.subtract.outer(i, i)) for i in (np.arange(16) // 4, np.arange(16) % 4))
    scores = g.op("Add", scores, g.learned("levit", learned[:, rows, columns]))
    scores = g.op("Div", g.op("Sub", scores, g.none("centre", g.numbers(16), "statistics")),
                  g.none("spread", 1 + g.random.random(16), "statistics"))
    y = g.op("ReduceSum", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), g.ints(1), keepdims=0)
    rates = 100.0 ** (-np.arange(3) / 3)
    angles = np.outer(np.arange(16), rates)
    waves = np.vstack([np.zeros(6), np.hstack([np.sin(angles), np.cos(angles)])])
    y = g.op("Concat", g.op("ReduceMean", y, axes=[1], keepdims=1), y, axis=1)
    y = g.op("Add", y, g.none("waves", waves, "sines"))  # zeros for a token in front
    # prompts that a layer makes of a learned table
    n = g.op("Slice", g.op("Shape", "x"), g.ints(0), g.ints(1), g.ints(0))
    prompts = g.op("MatMul", g.param("prompts", 1, 5, 4), g.param("prompts.weight", 4, WIDTH))
    y = g.op("Concat", g.op("Expand", prompts, g.op("Concat", n, g.ints(5, WIDTH), axis=0)), y, axis=1)
    g.head(g.op("ReduceMean", g.op("Tanh", y), axes=[1], keepdims=0))


# ---------------------------------------------------------------- what prepares the image

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def depthwise(g):
    """Mean and deviation as a convolution for each channel; then those of arithmetic."""
    g.channels = 3
    x = g.conv("x", g.none("std", (1 / STD)[:, None, None, None], "prepares"), g.none("mean", -MEAN / STD, "prepares"),
               group=3)
    x = g.op("Mul", x, g.none("again", STD[:, None, None], "prepares"))
    g.head(g.pool(g.stem(x)))


def swapped(g):
    """Channels in another order, scaled, by a dense convolution; luma and chroma; then a standardization."""
    g.channels = 3
    x = g.conv("x", g.none("bgr", np.fliplr(np.diag(1 / STD))[:, :, None, None], "prepares"))
    yuv = np.array([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.43599], [0.61498, -0.51499, -0.09999]])
    x = g.op("Transpose", x, perm=[0, 2, 3, 1])
    x = g.op("Add", g.op("MatMul", x, g.none("yuv", yuv.T, "prepares")), g.none("shift", MEAN, "prepares"))
    x = g.op("Transpose", x, perm=[0, 3, 1, 2])
    x = g.op("BatchNormalization", x, g.none("ones", np.ones(3), "prepares"), g.none("zeros", np.zeros(3), "prepares"),
             g.none("bn.mean", MEAN, "statistics"), g.none("bn.var", STD ** 2, "statistics"))
    g.head(g.pool(g.stem(x)))


def luma(g):
    """Luma and chroma by a matrix on the left of pixels; a learned one beside it."""
    g.channels = 3
    ycc = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    flat = g.op("Reshape", "x", g.ints(0, 3, SIZE * SIZE))
    x = g.op("MatMul", g.none("ycc", ycc, "prepares"), flat)
    x = g.op("MatMul", g.none("std", np.diag(1 / STD)[None], "prepares"), x)
    x = g.op("Add", x, g.op("MatMul", g.param("colours", 3, 3), flat))
    g.head(g.pool(g.stem(g.op("Reshape", x, g.ints(0, 3, SIZE, SIZE)))))


def coloured(g):
    """Layers on the image that are learned: a mix of colours, one that begins with the identity, a normalization."""
    g.channels = 3
    x = g.conv("x", g.param("colours", 3, 3, 1, 1), g.param("colours.bias", 3))
    y = g.op("BatchNormalization", "x", g.param("bn.weight", 3, shift=1), g.param("bn.bias", 3),
             g.none("bn.mean", MEAN, "statistics"), g.none("bn.var", STD ** 2, "statistics"))
    z = g.conv("x", g.learned("first", np.eye(3)[:, :, None, None]))
    x = g.op("Add", g.op("Add", x, y), z)
    g.head(g.pool(g.stem(x)))


def patches(g):
    """Positions and tokens on raw patches, behind a mean and deviation per channel; what stands beside the image."""
    g.channels = 3
    x = g.op("Div", g.op("Sub", "x", g.none("mean", MEAN[:, None, None], "prepares")),
             g.none("std", STD[:, None, None], "prepares"))
    x = g.op("Add", x, g.param("pos.pixels", 1, 3, SIZE, SIZE))
    n = g.op("Slice", g.op("Shape", "x"), g.ints(0), g.ints(1), g.ints(0))
    beside = g.op("Expand", g.param("beside", 1, 1, SIZE, SIZE), g.op("Concat", n, g.ints(1, SIZE, SIZE), axis=0))
    x = g.op("Concat", x, beside, axis=1)
    x = g.op("Reshape", x, g.ints(0, 4, 2, 4, 2, 4))
    t = g.op("Reshape", g.op("Transpose", x, perm=[0, 2, 4, 3, 5, 1]), g.ints(0, 16, 16))
    t = g.op("Add", t, g.param("pos.patches", 1, 16, 16))
    hidden = g.init("hidden", np.arange(16)[None, :, None] % 3 == 0)
    t = g.op("Where", hidden, g.param("mask_token", 1, 1, 16), t)
    t = g.op("Tanh", g.op("MatMul", t, g.param("embed", 16, WIDTH)))
    g.head(g.op("ReduceMean", t, axes=[1], keepdims=0))


# ---------------------------------------------------------------- single numbers

def numbers(g):
    """Learned ones: by what they are, by their names, by their use. Written ones stay."""
    x = g.stem()
    # layers that each go their own way, with a gain, all added
    ways = [g.op("Mul", g.op("Tanh", x), g.learned("gain", 0.3127189)),
            g.op("Mul", g.op("Sin", x), g.learned("zero", 0)),
            g.op("Mul", g.op("Sin", x), g.learned("block.scale", [1e-5])),
            g.op("Mul", g.op("Tanh", x), g.learned("skip_gain", 1)),
            g.op("Mul", g.op("Cos", x), g.learned("model/ReadVariableOp:0", 0.5)),
            g.op("Erf", g.op("Div", x, g.number(np.sqrt(2)))),
            g.op("Exp", g.op("Neg", g.op("Abs", g.op("Div", g.op("Sub", x, g.param("centres", WIDTH, 4, 4)),
                                                     g.param("widths", WIDTH, 1, 1, shift=2))))),
            g.op("Mul", g.op("Relu", x), g.number(1.7139588594436646)),
            g.op("Mul", x, g.none("Constant_7", 0.7324518, "single numbers")),
            g.op("Mul", g.op("Cos", x), g.op("Exp", g.learned("logit_scale", np.log(1 / 0.07)))),
            g.op("Div", x, g.op("Sqrt", g.op("Add", g.op("Mul", x, x), g.none("norm.eps", 1e-6, "single"))))]
    for way in ways:
        x = g.op("Add", x, way)
    # generalized mean: the power with its inverse, that of a number that is learned, and GELU's third power
    x = g.op("Exp", g.op("Sin", x))
    a = g.op("Pow", g.op("GlobalAveragePool", g.op("Pow", x, g.learned("p", [3]))), g.op("Reciprocal", "p"))
    b = g.op("GlobalAveragePool", g.op("Pow", x, g.learned("q", 2.8194265)))
    c = g.op("GlobalAveragePool", g.op("Mul", g.op("Pow", x, g.number(3)), g.number(0.044715)))
    g.head(g.op("Flatten", g.op("Add", g.op("Add", a, b), c)))


# ---------------------------------------------------------------- epsilons, bounds, statistics written out

def epsilon(g, x, shape=()):
    return g.none(f"e{len(g.inits)}", np.full(shape, x), "epsilons" if shape else "single")


def mean(g, x, axes):
    return g.op("ReduceMean", x, axes=axes, keepdims=1)


def roots(g):
    """Epsilons under roots: none trains, whatever its digits; the gains beside them do."""
    x = g.stem()
    d = g.op("Sub", x, mean(g, x, [1]))
    root = g.op("Sqrt", g.op("Add", mean(g, g.op("Mul", d, d), [1]), epsilon(g, 1.001e-5)))
    ways = [g.op("Mul", g.op("Div", d, root), g.learned("ln.gain", np.ones((WIDTH, 1, 1))))]
    d = g.op("Sub", x, mean(g, x, [2, 3]))
    root = g.op("Reciprocal", g.op("Sqrt", g.op("Add", epsilon(g, 1.234e-6), mean(g, g.op("Mul", d, d), [2, 3]))))
    ways += [g.op("Mul", d, g.op("Mul", root, g.learned("in.gain", np.ones((WIDTH, 1, 1)))))]
    square = mean(g, g.op("Mul", x, x), [1])
    ways += [g.op("Mul", x, g.op("Pow", g.op("Add", square, epsilon(g, 0.0123457)), g.number(-0.5)))]
    ways += [g.op("Mul", x, g.op("Sqrt", g.op("Reciprocal", g.op("Max", square, epsilon(g, 7.813e-4)))))]
    ways += [g.op("Sqrt", g.op("Add", mean(g, g.op("Mul", x, x), [2, 3]), epsilon(g, 1.001e-5, (WIDTH, 1, 1))))]
    for way in ways:
        x = g.op("Tanh", g.op("Add", x, way))
    w = g.param("wn.weight", WIDTH, WIDTH, 1, 1)
    norm = g.op("Sqrt", g.op("Add", g.op("ReduceSum", g.op("Mul", w, w), g.ints(1, 2, 3), keepdims=1),
                             epsilon(g, 1.234e-6)))
    g.head(g.pool(g.conv(x, g.op("Div", w, norm))))


def denominators(g):
    """Epsilons beside what is divided by; a number that is learned there, and no epsilon, trains."""
    x = g.stem()
    ways = [g.op("Div", x, g.op("Add", g.op("Sqrt", mean(g, g.op("Mul", x, x), [1])), epsilon(g, 3.4567e-7))),
            g.op("Div", x, g.op("Max", g.op("ReduceL2", x, axes=[1], keepdims=1), epsilon(g, 1.17e-7)))]
    norm = g.op("ReduceL2", x, axes=[2, 3], keepdims=1)
    grn = g.op("Mul", x, g.op("Div", norm, g.op("Add", mean(g, norm, [1]), epsilon(g, 1.357e-6))))
    ways += [g.op("Mul", grn, g.param("grn.gamma", 1, WIDTH, 1, 1))]
    e = g.op("Exp", x)
    ways += [g.op("Div", e, g.op("Add", g.op("ReduceSum", e, g.ints(1), keepdims=1), epsilon(g, 0.31234))),
             g.op("Log", g.op("Add", g.op("Abs", x), epsilon(g, 0.0023457))),
             g.op("Div", x, g.op("Add", g.op("Abs", x), g.learned("knee", 1.2718281)))]
    for way in ways:
        x = g.op("Add", x, way)
    g.head(g.pool(x))


def bounds(g):
    """Bounds of what is learned or computed; a temperature that one is put to, thresholds per channel train."""
    x = g.op("Max", g.stem(), g.none("lowest", -0.73125, "single"))
    x = g.op("Max", x, g.learned("tau", -0.5 + 0.01 * np.arange(WIDTH)[:, None, None] ** 2))
    x = g.op("Min", g.none("highest", [0.912345], "single"), x)
    first = g.op("Exp", g.op("Min", g.learned("ls", [[np.log(10)]]), g.none("most", 4.6051702, "single")))
    scales = g.learned("scales", 2.3 + 0.1 * g.numbers(WIDTH, 1, 1))
    scales = g.op("Min", scales, g.none("most.each", 4.61234, "single"))
    gate = g.op("Sigmoid", g.op("Max", g.none("least", -5.1234, "single"), g.learned("gate", [1])))
    x = g.op("Mul", g.op("Tanh", g.op("Mul", x, first)), g.op("Mul", g.op("Exp", scales), gate))
    g.head(g.pool(x))


def batch_norm(g, name, gain=True, eps=1.001e-5):
    """Variance with epsilon, mean, shift and gain."""
    shape = (WIDTH, 1, 1)
    v = g.none(f"{name}.v", 0.5 + g.random.random(shape), "statistics")
    return (g.op("Add", v, g.none(f"{name}.e", eps, "single")), g.none(f"{name}.mu", g.numbers(*shape), "statistics"),
            g.param(f"{name}.be", *shape), g.param(f"{name}.ga", *shape, shift=1) if gain else None)


def shift(g, x, m, mu, be):
    return g.op("Add", g.op("Mul", x, m), g.op("Sub", be, g.op("Mul", mu, m)))


def folded(g):
    """Batch normalization as x * m + (beta - mean * m)."""
    x = g.stem()
    v, mu, be, _ = batch_norm(g, "a", gain=False)
    x = shift(g, x, g.op("Reciprocal", g.op("Sqrt", v)), mu, be)
    v, mu, be, ga = batch_norm(g, "b", eps=1e-3)
    x = shift(g, x, g.op("Mul", g.op("Reciprocal", g.op("Sqrt", v)), ga), mu, be)
    v, mu, be, ga = batch_norm(g, "c")
    x = shift(g, x, g.op("Mul", ga, g.op("Pow", v, g.number(-0.5))), mu, be)
    # a learned vector over the root of a number is no mean
    scaled = g.op("Div", g.param("vector", WIDTH, 1, 1), g.op("Sqrt", g.number(WIDTH)))
    g.head(g.pool(g.op("Tanh", g.op("Add", x, scaled))))


def folded_weights(g):
    """The same by a quotient, within the weight and bias of a convolution, and before the gain."""
    x = g.stem()
    v, mu, be, ga = batch_norm(g, "d")
    x = g.op("Tanh", shift(g, x, g.op("Div", ga, g.op("Sqrt", v)), mu, be))
    v, mu, be, ga = batch_norm(g, "e")
    m = g.op("Div", ga, g.op("Sqrt", v))
    bias = g.op("Sub", be, g.op("Mul", mu, m))
    w = g.op("Mul", g.param("w", WIDTH, WIDTH, 1, 1), g.op("Reshape", m, g.ints(WIDTH, 1, 1, 1)))
    x = g.conv(x, w, g.op("Reshape", bias, g.ints(WIDTH)))
    v, mu, be, ga = batch_norm(g, "f")
    x = g.op("Mul", g.op("Sub", x, mu), g.op("Mul", ga, g.op("Reciprocal", g.op("Sqrt", v))))
    g.head(g.pool(g.op("Tanh", g.op("Add", x, be))))


# ---------------------------------------------------------------- what no slope reaches

def dead(g):
    """Branches that constant masks exclude, a token that is cut off before anything reads it, steps."""
    flat = "no way with a slope"
    x = g.stem()
    for name, value in (("never", False), ("always", True)):
        mask = g.init(f"{name}.mask", np.full((1, 1, 4, 4), value))
        other = g.none(name, g.numbers(1, WIDTH, 4, 4), flat)
        x = g.op("Where", mask, *([x, other] if value else [other, x]))
    g.none("ones", np.ones((1, 1, 4, 4)), flat)
    x = g.op("Where", g.op("Equal", "ones", "ones"), x, g.none("filled", g.numbers(1, WIDTH, 1, 1), flat))
    some = g.init("some.mask", g.random.random((1, 1, 4, 4)) < 0.5)
    x = g.op("Where", some, g.param("some", 1, WIDTH, 4, 4), x)
    t = g.op("Transpose", g.op("Reshape", x, g.ints(0, WIDTH, 16)), perm=[0, 2, 1])
    n = g.op("Slice", g.op("Shape", "x"), g.ints(0), g.ints(1), g.ints(0))
    token = g.op("Expand", g.none("token", g.numbers(1, 1, WIDTH), flat), g.op("Concat", n, g.ints(1, WIDTH), axis=0))
    t = g.op("Concat", token, t, axis=1)
    t = g.op("Slice", t, g.ints(1), g.ints(17), g.ints(1))
    t = g.op("Add", t, g.op("Floor", g.op("Mul", t, g.none("step", 3 + g.random.random(WIDTH), flat))))
    g.head(g.op("ReduceMean", g.op("Tanh", t), axes=[1], keepdims=0))


GREY = [filters, transforms, distances, numbers, roots, denominators, bounds, folded, folded_weights, dead]
COLOURS = [depthwise, swapped, luma, coloured, patches]


def test_grey():
    images = pictures()
    kit()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda build: check_model(build, images), GREY))


def test_colours():
    images = pictures(3)
    kit()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda build: check_model(build, images), COLOURS))


def test_no_slope():
    """What cannot train is named as such, known to a node or not; weight decay leaves it alone."""
    pictures()
    g = Graph(1)
    dead(g)
    model = g.model()
    onnx.save(model, temp("asked.onnx"))
    flags = [temp("asked.onnx"), "-o", temp("asked"), "--classes", 3, "--freeze", "none", "--mean", 0.5, "--std", 0.25,
             "--resize", SIZE]
    for name in ("never", "tok*", "ones"):
        code, _, err = run(HONE, "finetune", *flags, "--params", f"+{name}")
        line = err.strip().splitlines()
        assert code == 1 and len(line) == 1 and f"'+{name}': no way with a slope" in line[0], err
    code, _, err = run(HONE, "finetune", *flags, "--params", "+nevr")
    assert code == 1 and "name of no parameter" in err and "'never'" in err, err
    params, fixed = read_plan(ok(HONE, "finetune", *flags, "--params", "-never,+some,+*"))
    assert "never" not in params and "some" in params, params
    was, now = tensors(model), train_once("asked", decay=0.1)
    for name in ("never", "always", "filled", "token", "step"):
        assert np.array_equal(was[name], now[name]), name


def round_to_half(model):
    for t in model.graph.initializer:
        if t.data_type == TensorProto.FLOAT:
            half = np.clip(numpy_helper.to_array(t), -6e4, 6e4).astype(np.float16)
            t.CopyFrom(numpy_helper.from_array(half.astype(np.float32), t.name))


def test_half():
    """Numbers that were float16 once are told apart as well, but for single ones without a name."""
    for build in (filters, transforms, distances, depthwise, swapped, coloured, patches):
        g = Graph(len(build.__name__))
        build(g)
        model = g.model()
        round_to_half(model)
        onnx.save(model, temp("half.onnx"))
        params, _ = read_plan(ok(HONE, "finetune", temp("half.onnx"), "-o", temp("half"), "--classes", 3, "--freeze", "none",
                                 "-O0"))
        assert params == g.params, (build.__name__, params.keys() ^ g.params.keys())


def test_settings():
    """A bound that the importer reads is no parameter, and says so."""
    g = Graph(2)
    x = g.op("Clip", g.stem(), g.init("lowest", np.float32(-0.5)), g.init("highest", np.float32(0.5)))
    g.head(g.pool(x))
    onnx.save(g.model(), temp("bound.onnx"))
    code, _, err = run(HONE, "finetune", temp("bound.onnx"), "-o", temp("bound"), "--classes", 3, "--params", "+lowest")
    assert code == 1 and "'+lowest': no way with a slope" in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
