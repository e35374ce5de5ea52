"""What hone finetune calls a parameter: small models with each way that a weight takes to the loss, and each constant
that is none. The plan names exactly what the builder says; the compiled gradients are those of differences; after a
step of training every parameter has moved, under its own name, and nothing else; the exported model answers as the
program does.
"""
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, main, ok, run, temp
from test_finetune import kit

SIZE = 8  # of the images
WIDTH = 6


class Graph:
    """Builds a model and says which of its tensors are parameters, and why others are none."""

    def __init__(self, seed):
        self.channels = 1  # of the images
        self.random = np.random.default_rng(seed)
        self.nodes, self.inits, self.functions, self.params, self.fixed = [], [], [], {}, {}

    def numbers(self, *shape, scale=0.5, shift=0.0):
        return (self.random.standard_normal(shape) * scale + shift).astype(np.float32)

    def op(self, kind, *inputs, outs=1, **attrs):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}{len(self.nodes)}", **attrs))
        return names[0] if outs == 1 else names

    def init(self, name, array):
        self.inits.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def learned(self, name, array):
        """A parameter of these numbers."""
        array = np.asarray(array, np.float32)
        self.params[name] = array.size
        return self.init(name, array)

    def param(self, name, *shape, **more):
        """A parameter of random numbers."""
        self.params[name] = int(np.prod(shape))
        return self.init(name, self.numbers(*shape, **more))

    def constant(self, name, *shape, **more):
        """The same as a Constant node."""
        self.params[name] = int(np.prod(shape))
        value = numpy_helper.from_array(self.numbers(*shape, **more), name + ".value")
        self.nodes.append(helper.make_node("Constant", [], [name], value=value))
        return name

    def none(self, name, array, why):
        """Floats that are no parameter."""
        self.fixed[name] = why
        return self.init(name, np.asarray(array, np.float32))

    def ints(self, *v):
        return self.init(f"i{len(self.inits)}", np.array(v, np.int64))

    def number(self, x):
        return self.none(f"n{len(self.inits)}", x, "single numbers")

    def conv(self, x, weight, bias="", **attrs):
        return self.op("Conv", x, weight, *[bias] * bool(bias), **attrs)

    def stem(self, x="x"):
        """[N,WIDTH,4,4]"""
        x = self.conv(x, self.param("stem.weight", WIDTH, self.channels, 2, 2), self.param("stem.bias", WIDTH), strides=[2, 2])
        return self.op("Tanh", x)

    def tokens(self, x="x"):
        """[N,16,WIDTH]"""
        return self.op("Transpose", self.op("Reshape", self.stem(x), self.ints(0, WIDTH, 16)), perm=[0, 2, 1])

    def attention(self, t, bias=None):
        q, k, v = (self.op("MatMul", t, self.param(f"{c}.weight", WIDTH, WIDTH)) for c in "qkv")
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 2, 1]))
        scores = self.op("Div", scores, self.number(np.sqrt(WIDTH)))
        for b in bias or []:
            scores = self.op("Add", scores, b)
        return self.op("MatMul", self.op("Softmax", scores, axis=-1), v)

    def head(self, x, width=WIDTH, constant=False):
        """A classifier of [N,width] with four classes, three of which stay."""
        make = self.constant if constant else self.param
        weight, bias = make("head.weight", 4, width), make("head.bias", 4)
        self.params.update({weight: 3 * width, bias: 3})
        self.nodes.append(helper.make_node("Gemm", [x, weight, bias], ["y"], name="head", transB=1))

    def pool(self, x):
        return self.op("Flatten", self.op("GlobalAveragePool", x))

    def model(self):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(self.nodes, "params", [info("x", TensorProto.FLOAT, ["N", self.channels, SIZE, SIZE])],
                                  [info("y", TensorProto.FLOAT, ["N", 4])], self.inits)
        model = helper.make_model(graph, functions=self.functions,
                                  opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


# ---------------------------------------------------------------- models

def constants(g):
    """Every weight in a Constant node, as Paddle writes them."""
    x = g.conv("x", g.constant("c1", WIDTH, 1, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    norm = [g.constant("bn.weight", WIDTH), g.constant("bn.bias", WIDTH)]
    for name, shift in (("mean", 0), ("var", 2)):
        norm.append(g.constant(f"bn.{name}", WIDTH, scale=0.1, shift=shift))
        g.fixed[norm[-1]] = "running statistics"
        del g.params[norm[-1]]
    x = g.op("Tanh", g.op("BatchNormalization", x, *norm))
    g.nodes.append(helper.make_node("Constant", [], ["c2.bias"], value_floats=[0.5, -0.25, 0.125, 1.5]))
    g.params["c2.bias"] = 4
    x = g.op("Tanh", g.conv(x, g.constant("c2", 4, WIDTH, 1, 1), "c2.bias"))
    x = g.op("ConvTranspose", x, g.constant("up", 4, WIDTH, 2, 2), g.constant("up.bias", WIDTH), strides=[2, 2])
    g.head(g.pool(g.op("Tanh", x)), constant=True)


def moved(g):
    """Weights of 1x1 convolutions behind what moves numbers."""
    def use(x, w):
        return g.op("Tanh", g.conv(x, w))
    x = use(g.stem(), g.op("Reshape", g.param("reshaped", WIDTH, WIDTH), g.ints(WIDTH, WIDTH, 1, 1)))
    x = use(x, g.op("Transpose", g.param("transposed", 1, WIDTH, 1, WIDTH), perm=[3, 1, 0, 2]))
    x = use(x, g.op("Expand", g.param("expanded", 1, WIDTH, 1, 1), g.ints(WIDTH, 1, 1, 1)))
    x = use(x, g.op("Gather", g.param("gathered", 9, WIDTH, 1, 1), g.ints(8, 0, 3, 3, 2, -1), axis=0))
    x = use(x, g.op("Concat", g.param("joined.0", 2, WIDTH, 1, 1), g.constant("joined.1", 4, WIDTH, 1, 1), axis=0))
    x = use(x, g.op("Slice", g.param("sliced", WIDTH, 9, 1, 1), g.ints(1), g.ints(7), g.ints(1)))
    a, b = g.op("Split", g.param("split", 2 * WIDTH, WIDTH, 1, 1), g.ints(WIDTH, WIDTH), outs=2, axis=0)
    x = use(use(x, a), g.op("Cast", b, to=TensorProto.FLOAT))
    x = use(x, g.op("Tile", g.param("tiled", 2, WIDTH, 1, 1), g.ints(3, 1, 1, 1)))
    x = use(x, g.op("Pad", g.param("padded", 5, WIDTH, 1, 1), g.ints(0, 0, 0, 0, 1, 0, 0, 0)))
    x = use(x, g.op("Identity", g.op("Unsqueeze", g.constant("unsqueezed", WIDTH, WIDTH), g.ints(2, 3))))
    g.head(g.pool(x))


def computed(g):
    """Weights that are computed from others."""
    def use(x, w):
        return g.op("Tanh", g.conv(x, w))
    w = g.param("wn.v", WIDTH, WIDTH, 1, 1)
    w = g.op("Div", w, g.op("ReduceL2", w, axes=[1, 2, 3], keepdims=1))
    x = use(g.stem(), g.op("Mul", w, g.param("wn.g", WIDTH, 1, 1, 1, shift=1)))
    w = g.param("ws.weight", WIDTH, WIDTH, 1, 1)
    w = g.op("Sub", w, g.op("ReduceMean", w, axes=[1, 2, 3], keepdims=1))
    var = g.op("ReduceMean", g.op("Mul", w, w), axes=[1, 2, 3], keepdims=1)
    w = g.op("Div", w, g.op("Sqrt", g.op("Add", var, g.number(1e-5))))
    x = use(x, g.op("Mul", w, g.op("Mul", g.param("ws.gain", WIDTH, 1, 1, 1, shift=1), g.number(0.5))))
    for name, copy in (("bn", False), ("bn2", True)):
        w = g.op("Reshape", g.param(f"{name}.weight", WIDTH, WIDTH, 1, 1), g.ints(1, WIDTH, WIDTH))
        of = g.none("bn2.copy", g.numbers(1, WIDTH, WIDTH), "norm of a weight") if copy else w
        mean = g.op("ReduceMean", of, axes=[0, 2], keepdims=0)
        d = g.op("Sub", of, g.op("Reshape", mean, g.ints(1, WIDTH, 1)))
        var = g.op("ReduceMean", g.op("Mul", d, d), axes=[0, 2], keepdims=0)
        gain = g.init(f"{name}.gain", np.ones(WIDTH, np.float32))
        g.params[gain] = WIDTH
        w = g.op("BatchNormalization", w, g.op("Mul", gain, g.number(0.7)),
                 g.none(f"{name}.zeros", np.zeros(WIDTH), "ones or zeros"), mean, var)
        x = use(x, g.op("Reshape", w, g.ints(WIDTH, WIDTH, 1, 1)))
    bias = g.op("Concat", g.param("q.bias", 2), g.none("k.bias", np.zeros(2), "ones or zeros"), g.param("v.bias", 2), axis=0)
    x = g.op("Tanh", g.conv(x, g.param("joined.weight", WIDTH, WIDTH, 1, 1), bias))
    w = g.param("sn.weight", WIDTH, WIDTH, 1, 1)
    v = g.none("sn.v", g.numbers(WIDTH), "norm of a weight")
    u = g.none("sn.u", g.numbers(WIDTH), "norm of a weight")
    sigma = g.op("MatMul", u, g.op("MatMul", g.op("Reshape", w, g.ints(WIDTH, WIDTH)), v))
    x = use(x, g.op("Div", w, sigma))
    low = g.op("MatMul", g.param("lora.B", WIDTH, 2), g.param("lora.A", 2, WIDTH))
    low = g.op("Reshape", g.op("Mul", low, g.number(0.5)), g.ints(WIDTH, WIDTH, 1, 1))
    x = use(x, g.op("Add", g.param("lora.weight", WIDTH, WIDTH, 1, 1), low))
    holes = g.random.integers(0, 2, (WIDTH, WIDTH, 1, 1))
    x = use(x, g.op("Mul", g.param("pruned", WIDTH, WIDTH, 1, 1), g.none("holes", holes, "masks")))
    square = g.op("Pow", g.param("squared", WIDTH, WIDTH, 1, 1), g.number(2))
    x = use(x, g.op("Sub", square, g.op("Sqrt", g.op("Abs", g.param("rooted", WIDTH, WIDTH, 1, 1, shift=3)))))
    g.head(g.pool(x))


def tokens(g):
    """Class and register tokens, tables of positions, relative positions, shifted windows, a transposed head."""
    n = g.op("Slice", g.op("Shape", "x"), g.ints(0), g.ints(1), g.ints(0))
    def spread(name, count):
        return g.op("Expand", g.param(name, 1, count, WIDTH), g.op("Concat", n, g.ints(count, WIDTH), axis=0))
    t = g.op("Concat", spread("cls_token", 1), spread("registers", 2), g.tokens(), axis=1)
    t = g.op("Add", t, g.param("pos_embed", 1, 19, WIDTH))
    y = g.op("LayerNormalization", t, g.param("norm.weight", WIDTH, shift=1), g.param("norm.bias", WIDTH))
    index = g.random.integers(0, 49, 19 * 19)
    bias = g.op("Gather", g.param("bias_table", 49, 1), g.init("bias_index", index), axis=0)
    bias = g.op("Transpose", g.op("Reshape", bias, g.ints(19, 19, 1)), perm=[2, 0, 1])
    heads = g.op("Gather", g.param("attention_biases", 3, 19, 19), g.init("one", np.array(1)), axis=0)
    mask = np.where(g.random.random((1, 19, 19)) < 0.2, -100.0, 0.0)
    far = np.where(g.random.random((19, 19)) < 0.1, -np.inf, 0.0)
    y = g.attention(y, [bias, heads, g.none("attn_mask", mask, "masks"), g.none("far_mask", far, "masks and")])
    t = g.op("Add", t, g.op("Mul", y, g.param("layer_scale", WIDTH)))
    y = g.op("Gather", t, g.init("zero", np.array(0)), axis=1)
    g.params.update({"head.weight": 3 * WIDTH, "head.bias": 3})
    weight = g.op("Transpose", g.init("head.weight", g.numbers(4, WIDTH)), perm=[1, 0])
    g.nodes.append(helper.make_node("MatMul", [y, weight], ["z"], name="head"))
    g.nodes.append(helper.make_node("Add", ["z", g.init("head.bias", g.numbers(4))], ["y"], name="head.add"))


def positions(g):
    """A bias that a small network computes from a table of coordinates, resized embeddings, a learned query."""
    x = g.stem()
    for name, side, mode in (("cubic", 3, "cubic"), ("linear", 2, "linear"), ("nearest", 2, "nearest")):
        small = g.param(f"pos.{name}", 1, WIDTH, side, side)
        x = g.op("Add", x, g.op("Resize", small, "", "", g.ints(1, WIDTH, 4, 4), mode=mode))
    t = g.op("Transpose", g.op("Reshape", g.op("Tanh", x), g.ints(0, WIDTH, 16)), perm=[0, 2, 1])
    at, rates = np.arange(16)[:, None], 0.5 ** np.arange(WIDTH // 2)
    t = g.op("Add", t, g.none("waves", np.sin(np.hstack([at * rates, at * rates + 1])), "sines"))
    t = g.op("Mul", t, g.none("waves2d", np.cos(np.hstack([at // 8 * rates, at % 8 * rates])), "sines"))
    far = np.arange(31)[:, None] - 15  # on a scale of its own, as Swin V2 does
    table = g.none("coords", np.sign(far) * np.log2(1 + abs(far)) / [3, 5], "a table")
    b = g.op("Add", g.op("MatMul", table, g.param("cpb.0.weight", 2, 8)), g.param("cpb.0.bias", 8))
    b = g.op("MatMul", g.op("Tanh", b), g.param("cpb.2.weight", 8, 1))
    b = g.op("GatherND", b, g.init("cpb.index", g.random.integers(0, 31, (256, 1))))
    b = g.op("Mul", g.op("Sigmoid", g.op("Reshape", b, g.ints(1, 16, 16))), g.number(16))
    t = g.attention(t, [b])
    q = g.op("MatMul", g.param("latent", 1, 2, WIDTH), g.param("pool.q", WIDTH, WIDTH))
    scores = g.op("Softmax", g.op("MatMul", q, g.op("Transpose", t, perm=[0, 2, 1])), axis=-1)
    t = g.op("ReduceMean", g.op("MatMul", scores, t), axes=[1], keepdims=0)
    g.head(t)


def others(g):
    """What is no parameter, and what looks like it and is one."""
    x = g.op("Sub", "x", g.none("mean_image", g.numbers(1, 1, SIZE, SIZE), "prepares the image"))
    x = g.op("Div", x, g.none("deviation", 1 + g.random.random((1, 1, SIZE, SIZE)), "prepares the image"))
    x = g.conv(x, g.param("stem.weight", WIDTH, 1, 2, 2), strides=[2, 2])
    x = g.op("Sub", x, g.none("mean", g.numbers(WIDTH, 1, 1), "running statistics"))
    var = g.none("var", 1 + g.random.random((WIDTH, 1, 1)), "running statistics")
    x = g.op("Mul", x, g.op("Pow", g.op("Add", var, g.number(1e-3)), g.number(-0.5)))
    x = g.op("Add", g.op("Mul", x, g.param("bn.weight", WIDTH, 1, 1)), g.param("bn.bias", WIDTH, 1, 1))
    kernel = np.outer([1, 2, 1], [3, 2, 1]) / 24
    x = g.conv(x, g.none("blur", np.tile(kernel, (WIDTH, 1, 1, 1)), "one filter"), group=WIDTH, pads=[1, 1, 1, 1])
    rows, columns = np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 4), indexing="ij")
    n = g.op("Slice", g.op("Shape", x), g.ints(0), g.ints(1), g.ints(0))
    grid = g.none("grid", np.stack([rows, columns])[None], "equally spaced")
    grid = g.op("Expand", grid, g.op("Concat", n, g.ints(2, 4, 4), axis=0))
    x = g.op("Concat", x, grid, axis=1)
    x = g.conv(x, g.param("mix.weight", WIDTH, WIDTH + 2, 1, 1), g.param("mix.bias", WIDTH))
    x = g.op("Mul", x, g.none("kept", g.random.integers(0, 2, (1, WIDTH, 4, 4)), "masks"))
    anchors = g.random.integers(-8, 9, (WIDTH, 4, 4))
    x = g.op("Add", x, g.op("Mul", g.none("anchors", anchors, "whole numbers"), g.number(0.03125)))
    shape = g.op("Shape", x)
    x = g.op("InstanceNormalization", g.op("Reshape", x, g.ints(0, 2, -1)),
             g.none("ones", np.ones(2), "ones or zeros"), g.none("zeros", np.zeros(2), "ones or zeros"))
    x = g.op("Mul", g.op("Reshape", x, shape), g.param("gn.weight", WIDTH, 1, 1, shift=1))
    x = g.op("PRelu", g.op("Add", x, g.param("gn.bias", WIDTH, 1, 1)), g.param("slope", 1))
    gate = g.conv(x, g.param("gate.weight", 1, WIDTH, 1, 1), g.param("gate.bias", 1))
    gate = g.op("MatMul", g.op("Reshape", gate, g.ints(0, 16)), g.param("gate2.weight", 16, 1))
    gate = g.op("Sigmoid", g.op("Add", gate, g.param("gate2.bias", 1)))
    x = g.op("Mul", g.pool(x), gate)
    w = g.init("int8", g.random.integers(-9, 9, (WIDTH, WIDTH)).astype(np.int8))
    w = g.op("DequantizeLinear", w, g.none("int8.scale", 0.1 + g.random.random(WIDTH) / 9, "scales of integers"),
             g.init("int8.zero", np.zeros(WIDTH, np.int8)), axis=1)
    g.head(g.op("MatMul", x, w))


def shared(g):
    """One weight with many readers, in several shapes; equal vectors that an exporter made one."""
    t = g.tokens()
    w = g.param("tied", WIDTH, WIDTH)
    t = g.op("Tanh", g.op("MatMul", t, w))
    t = g.op("Tanh", g.op("MatMul", t, g.op("Transpose", w, perm=[1, 0])))
    t = g.op("Tanh", g.op("MatMul", t, g.op("Mul", w, w)))
    t = g.op("Add", t, g.op("Gather", w, g.ints(*range(6), *range(6), 1, 2, 3, 4), axis=0))
    for i in range(3):
        names = []
        for j, name in enumerate((f"norm{i}.weight", f"norm{i}.bias")):
            if i == 0:
                names.append(g.init(name, np.full(WIDTH, 1 - j, np.float32)))
            else:
                g.nodes.append(helper.make_node("Identity", [f"norm0.{('weight', 'bias')[j]}"], [name]))
                names.append(name)
            g.params[name] = WIDTH
        t = g.op("LayerNormalization", t, *names)
        t = g.op("Tanh", g.op("MatMul", t, g.param(f"mlp{i}", WIDTH, WIDTH)))
    g.head(g.op("ReduceMean", t, axes=[1], keepdims=0))


def inside(g):
    """Weights in a function's Constant nodes and in a branch's initializers."""
    value = numpy_helper.from_array(g.numbers(WIDTH, WIDTH, 1, 1), "w")
    body = [helper.make_node("Constant", [], ["w"], value=value), helper.make_node("Conv", ["a", "w"], ["c"], name="c"),
            helper.make_node("Tanh", ["c"], ["b"])]
    g.functions = [helper.make_function("own", "Block", ["a"], ["b"], body, [helper.make_opsetid("", 17)])]
    x = g.stem()
    for name in ("one", "two"):
        g.nodes.append(helper.make_node("Block", [x], [f"{name}.out"], name=name, domain="own"))
        x = f"{name}.out"
        g.params[f"{name}/w"] = WIDTH * WIDTH
    info = helper.make_tensor_value_info
    branch = [helper.make_graph([helper.make_node("Mul", [x, "scale"], ["t"])], "then", [],
                                [info("t", TensorProto.FLOAT, None)],
                                [numpy_helper.from_array(g.numbers(WIDTH, 1, 1), "scale")]),
              helper.make_graph([helper.make_node("Identity", [x], ["e"])], "else", [],
                                [info("e", TensorProto.FLOAT, None)])]
    g.nodes.append(helper.make_node("If", [g.init("yes", np.array(True))], ["u"], name="if", then_branch=branch[0],
                                    else_branch=branch[1]))
    g.params["if/scale"] = WIDTH
    g.head(g.pool("u"))


MODELS = [constants, moved, computed, tokens, positions, others, shared, inside]


# ---------------------------------------------------------------- checks

def read_plan(text):
    """{name: count} of what trains, {name: reason} of what is no parameter, and the last count."""
    rows, rest = re.split(r"^none: .*$", text, maxsplit=1, flags=re.M)
    params = {name: int(np.prod([int(d) for d in dims.split(",") if d]))
              for name, dims in re.findall(r"(\S+) \[([\d,]*)\]", rows)}
    fixed, counted = {}, 0
    said = int(re.search(r"([\d,]+) of the file's [\d,]+ floats are no parameters", rest)[1].replace(",", ""))
    for count, reason, names in re.findall(r"^ +([\d,]+)  ([^:\n]+)(?:: (.*))?$", rest, re.M):
        counted += int(count.replace(",", ""))
        fixed.update({n: reason for n in re.findall(r"([\w.]+)(?: \[[\d,]+\])?(?:, |$)", names)})
    assert counted == said, text
    return params, fixed


def tensors(model):
    """{name: array} of initializers and Constant nodes."""
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for n in model.graph.node:
        for a in n.attribute if n.op_type == "Constant" else ():
            found[n.output[0]] = numpy_helper.to_array(a.t) if a.name == "value" else np.array(a.floats, np.float32)
    return found


def pictures(channels=1):
    """Three classes of noise with a bright band each, as .npy, and four files of them."""
    from PIL import Image
    random = np.random.default_rng(0)
    x = random.integers(0, 120, (18, SIZE, SIZE) + (channels,) * (channels > 1)).astype(np.uint8)
    for i in range(18):
        x[i, i % 3 * 2:i % 3 * 2 + 3] += 100
    np.save(temp("x.npy"), x)
    np.save(temp("y.npy"), np.arange(18) % 3)
    for i in range(4):
        Image.fromarray(x[i]).save(temp(f"{i}.png"))
    return [temp(f"{i}.png") for i in range(4)]


def train_once(name, *flags, decay=0):
    """One step over everything, from a random head: one that is solved leaves little to learn. Returns the exported tensors."""
    ok(temp(name), "train", f"{temp('x.npy')},{temp('y.npy')}", "--epochs", 1, "--batch", 18, "--val-fraction", 0,
       "--momentum", 0, "--weight-decay", decay, "--lr", 0.1, "--lr-schedule", "constant", "--head-solver", "sgd", "--checkpoint",
       temp(name + ".ckpt"), "-q", "-o", temp(name + "-tuned.onnx"), *flags)
    model = onnx.load(temp(name + "-tuned.onnx"))
    onnx.checker.check_model(model, full_check=True)
    return tensors(model)


def compare_predictions(name, images):
    """The exported model, compiled, and the program that made it."""
    ok(HONE, "compile", temp(name + "-tuned.onnx"), "-o", temp(name + "-net"))
    ours = [json.loads(line)["top"] for line in ok(temp(name + "-net"), "--json", *images).splitlines()]
    want = [r["top"] for r in json.loads(ok(temp(name), "predict", "--json", "--checkpoint", temp(name + ".ckpt"), *images))]
    for a, b in zip(ours, want, strict=True):
        a, b = ({t["class"]: t["probability"] for t in top} for top in (a, b))
        assert a.keys() == b.keys() and all(abs(a[k] - b[k]) < 1e-5 for k in a), (name, a, b)


def check_model(build, images):
    g, name = Graph(len(build.__name__)), build.__name__
    build(g)
    model = g.model()
    onnx.save(model, temp(name + ".onnx"))
    flags = ["--classes", 3, "--freeze", "none", "--mean", 0.5, "--std", 0.25, "--resize", SIZE]
    params, fixed = read_plan(ok(kit(), "finetune", temp(name + ".onnx"), "-o", temp(name + ".kit"), *flags))
    assert params == g.params, (name, set(params.items()) ^ set(g.params.items()))
    for tensor, why in g.fixed.items():
        assert why in fixed.get(tensor, ""), (name, tensor, fixed)
    code, text, err = run(temp(name + ".kit"), "check", 0, 4)
    assert code == 0, f"{name}: {text}{err}"
    ok(HONE, "finetune", temp(name + ".onnx"), "-o", temp(name), *flags)
    was, now = tensors(model), train_once(name)
    for tensor in g.params:
        assert tensor in now, (name, tensor)
        moved = tensor.startswith("head.") or tensor not in was or not np.array_equal(was[tensor], now[tensor])
        assert moved, (name, tensor)
    for tensor in g.fixed:
        assert np.array_equal(was[tensor], now[tensor]), (name, tensor)
    compare_predictions(name, images)


def test_parameters():
    images = pictures()
    kit()
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda build: check_model(build, images), MODELS):
            pass


def test_overrides():
    """--params makes a parameter of what is none, a single number too, and the other way round."""
    pictures()
    g = Graph(6)
    tokens(g)
    onnx.save(g.model(), temp("asked.onnx"))
    root = next(name for name, why in g.fixed.items() if why == "single numbers")
    flags = [temp("asked.onnx"), "-o", temp("asked"), "--classes", 3, "--freeze", "none", "--mean", 0.5, "--std", 0.25,
             "--resize", SIZE]
    params, fixed = read_plan(ok(HONE, "finetune", *flags, "--params", f"-pos*,+attn_mask,-*bias*,+{root}",
                                 "--params", "+attention_biases"))
    assert g.params.keys() - params.keys() == {"pos_embed", "stem.bias", "norm.bias", "bias_table",
                                                   "head.bias"}, params
    assert params.keys() - g.params.keys() == {"attn_mask", root}, params
    assert fixed["pos_embed"] == fixed["norm.bias"] == "--params", fixed
    was, now = tensors(onnx.load(temp("asked.onnx"))), train_once("asked")
    for name, moves in (("attn_mask", True), (root, True), ("attention_biases", True), ("pos_embed", False),
                        ("bias_table", False), ("far_mask", False)):
        assert np.array_equal(was[name], now[name]) != moves, name
    for spec, words in (("+nowhere*", ["nowhere*", "near"]), ("attn_mask", ["+GLOB", "'attn_mask'"]),
                        ("+pos*,-", ["+GLOB", "'-'"])):
        code, _, err = run(HONE, "finetune", *flags, "--params", spec)
        assert code == 1 and len(err.strip().splitlines()) == 1 and all(w in err for w in words), (spec, err)


def test_much_is_computed_from_constants():
    """A weight that is the sum of many: its row in the plan is cut, and far too many are an error, soon."""
    for count, code in ((500, 0), (7000, 1)):
        g = Graph(1)
        w = g.param("w0", WIDTH, 1, 1, 1)
        for i in range(1, count):
            w = g.op("Add", w, g.param(f"w{i}", WIDTH, 1, 1, 1))
        g.head(g.pool(g.conv("x", w)))
        onnx.save(g.model(), temp("sum.onnx"))
        got, out, err = run(HONE, "finetune", temp("sum.onnx"), "-o", temp("sum"), "--classes", 3, "--freeze", "none", "-O0")
        assert got == code, (got, out[-500:], err)
        if code:
            assert "too much is computed from constants" in err and len(err.strip().splitlines()) == 1, err
        else:
            assert re.search(rf"w0 \[6,1,1,1\], .*\.\.\. +{count * WIDTH:,} ", out), out[:1000]


if __name__ == "__main__":
    main(sys.modules[__name__])
