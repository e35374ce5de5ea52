#!/usr/bin/env python3
"""Models that mutations start from, besides ONNX's own: make_corpus.py FOLDER. FOLDER/nets gets a member of every family
of networks and spelling of tests/e2e/families.py, and what those lack: transformers with tokens and windows, quantized
networks, functions, branches, tensors without elements, shapes that are computed. FOLDER/nodes gets a node of every
operator of tests/frontend/onnx/opset_cases.py. All are well formed; most networks train.
"""
import os
import shutil
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "e2e"), os.path.join(TESTS, "frontend", "onnx")]
import families  # noqa: E402
import opset_cases  # noqa: E402
from families_net import Net  # noqa: E402

MOST_BYTES = 60000
MODELS = []


def model(build):
    """Registers a function of a Net."""
    MODELS.append(build)
    return build


def attention(net, x, tokens, width, heads=2, bias=None):
    """x [N,tokens,width]; the batch stays open through Reshape's 0."""
    def head(perm):
        y = net.op("MatMul", x, net.init(net.numbers(width, width, dev=.3)))
        return net.transpose(net.reshape(y, 0, tokens, heads, width // heads), *perm)
    scores = net.op("MatMul", head((0, 2, 1, 3)), head((0, 2, 3, 1)))
    scores = net.op("Mul", scores, net.scalar(.5))
    scores = net.op("Add", scores, bias) if bias else scores
    y = net.op("MatMul", net.softmax(scores, 3), head((0, 2, 1, 3)))
    y = net.reshape(net.transpose(y, 0, 2, 1, 3), 0, tokens, width)
    return net.op("Add", x, net.op("MatMul", y, net.init(net.numbers(width, width, dev=.3))))


def layer_norm(net, x, width):
    return net.op("LayerNormalization", x, net.init(net.numbers(width, mean=1, dev=.1)), net.init(net.numbers(width)), axis=-1)


def patches(net, x, width, size):
    return net.transpose(net.reshape(net.conv(x, width, 4, 4, 0), 0, width, size * size), 0, 2, 1)


def mean_classifier(net, y, width, axes=(1,)):
    net.output(net.dense(net.reduce_mean(y, *axes, keepdims=0), width, 4), "logits")


@model
def class_token(net):
    x = net.input(3, 8, 8)
    batch = net.op("Gather", net.op("Shape", x), net.scalar(0, np.int64), axis=0)
    shape = net.concat(net.unsqueeze(batch, 0), net.ints(1, 8), axis=0)
    token = net.op("Expand", net.init(net.numbers(1, 1, 8)), shape)
    y = net.op("Add", net.concat(token, patches(net, x, 8, 2), axis=1), net.init(net.numbers(1, 5, 8, dev=.1)))
    y = attention(net, layer_norm(net, y, 8), 5, 8)
    first = net.op("Gather", y, net.scalar(0, np.int64), axis=1)
    net.output(net.dense(layer_norm(net, first, 8), 8, 4), "logits")


@model
def windows(net):
    """Windows of attention with a bias from a table and a mask, the batch times the windows."""
    x = net.conv(net.input(3, 8, 8), 8, 3)
    y = net.reshape(net.transpose(x, 0, 2, 3, 1), -1, 2, 4, 2, 4, 8)
    y = net.reshape(net.transpose(y, 0, 1, 3, 2, 4, 5), -1, 16, 8)
    index = np.arange(256).reshape(16, 16) % 9
    bias = net.op("Gather", net.init(net.numbers(9, 2, dev=.2)), net.init(index), axis=0)
    bias = net.unsqueeze(net.transpose(bias, 2, 0, 1), 0)
    mask = net.init(np.where(np.tri(16) > 0, 0, -100).astype(np.float32).reshape(1, 1, 16, 16))
    y = attention(net, y, 16, 8, bias=net.op("Add", bias, mask))
    y = net.transpose(net.reshape(y, -1, 2, 2, 4, 4, 8), 0, 1, 3, 2, 4, 5)
    mean_classifier(net, net.reshape(y, -1, 8, 8, 8), 8, (1, 2))


def fake_quantized(net, x, scale, axis=None, dtype=np.uint8, zero=8):
    s = net.init(np.float32(scale))
    z = net.init(np.full(np.shape(scale), zero, dtype))
    attrs = {} if axis is None else {"axis": axis}
    return net.op("DequantizeLinear", net.op("QuantizeLinear", x, s, z, **attrs), s, z, c=net.c.get(x), **attrs)


@model
def quantize_dequantize(net):
    x = fake_quantized(net, net.input(3, 8, 8), .05)
    for out in (8, 8):
        w = net.init(net.numbers(out, net.c[x], 3, 3, dev=.2))
        w = fake_quantized(net, w, np.full(out, .01), 0, np.int8, 0)
        y = net.op("Conv", x, w, net.init(net.numbers(out)), c=out, pads=[1, 1, 1, 1])
        x = fake_quantized(net, net.relu(y), .03, zero=0)
    net.classifier(x, 4)


@model
def quantized_operators(net):
    x = net.input(3, 8, 8)
    s, z, ws, wz = net.scalar(.05), net.scalar(8, np.uint8), net.init(np.full(4, .02, np.float32)), net.init(np.zeros(4, np.int8))
    w = net.init(net.random.randint(-99, 99, (4, 3, 3, 3)).astype(np.int8))
    q = net.op("QuantizeLinear", x, s, z)
    q = net.op("QLinearConv", q, s, z, w, ws, wz, s, z, net.init(np.arange(4, dtype=np.int32)), pads=[1, 1, 1, 1])
    b = net.init(net.random.randint(-99, 99, (8, 5)).astype(np.int8))
    m = net.op("QLinearMatMul", q, s, z, b, net.scalar(.02), net.scalar(0, np.int8), s, z)
    i = net.op("MatMulInteger", m, net.init(net.random.randint(0, 99, (5, 3)).astype(np.uint8)), z)
    net.output(net.op("DequantizeLinear", m, s, z))
    net.output(net.op("Cast", i, to=TensorProto.FLOAT))


@model
def nothing(net):
    """Tensors without an element, and what does not change by them."""
    x = net.conv(net.input(3, 6, 6), 4, 3)
    empty = net.slice(x, [0], [0], [1])
    y = net.op("Add", net.concat(empty, x, axis=1, c=4), net.reduce_sum(empty, 1))
    none = net.op("Mul", net.init(np.zeros((0, 4), np.float32)), net.init(np.zeros((1, 4), np.float32)))
    net.output(net.op("Transpose", none))
    net.classifier(y, 4)


@model
def shape_arithmetic(net):
    x = net.conv(net.input(3, 8, 6), 4, 3)
    shape = net.op("Shape", x)
    h, w = (net.slice(shape, [i], [i + 1], [0]) for i in (2, 3))
    half = net.op("Cast", net.op("Floor", net.op("Div", net.op("Cast", h, to=TensorProto.FLOAT), net.scalar(2))), to=TensorProto.INT64)
    sizes = net.concat(net.slice(shape, [0], [2], [0]), half, net.op("Mul", w, net.ints(2)), axis=0)
    y = net.op("Resize", x, None, None, sizes, mode="linear", c=4)
    grid = net.op("Range", net.scalar(0, np.int64), net.squeeze(half, 0), net.scalar(1, np.int64))
    y = net.op("Add", y, net.unsqueeze(net.op("Cast", grid, to=TensorProto.FLOAT), 1))
    ones = net.op("ConstantOfShape", sizes, value=numpy_helper.from_array(np.ones(1, np.float32)))
    y = net.op("Where", net.op("Less", y, ones), y, net.op("Mul", y, net.scalar(.5)))
    flat = net.reshape(net.op("Mul", y, ones), 0, -1)
    net.output(net.dense(flat, 4 * 4 * 12, 4), "logits")


@model
def branches(net):
    """An If on a constant, one on a shape, and one inside the other."""
    x = net.conv(net.input(3, 6, 6), 4, 3)

    def graph(name, nodes, out):
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)])
    squash = graph("squash", [helper.make_node("Sigmoid", [x], ["t"])], "t")
    double = graph("double", [helper.make_node("Add", [x, x], ["e"])], "e")
    is_small = net.op("Less", net.op("Gather", net.op("Shape", x), net.scalar(2, np.int64)), net.scalar(9, np.int64))
    net.init(np.array(True), "always")
    inner = helper.make_node("If", ["always"], ["i"], then_branch=squash, else_branch=double)
    y = net.op("If", is_small, then_branch=graph("nested", [inner], "i"), else_branch=double, c=4)
    net.classifier(y, 4)


@model
def upsampled(net):
    x = net.relu(net.conv(net.input(3, 8, 8), 8, 3, 2))
    y = net.op("ConvTranspose", x, net.init(net.numbers(8, 4, 2, 2)), net.init(net.numbers(4)), strides=[2, 2], c=4)
    y = net.op("Resize", y, None, net.init(np.array([1, 1, .7, 1.3], np.float32)), mode="cubic", c=4)
    net.classifier(net.op("InstanceNormalization", y, net.init(np.ones(4, np.float32)), net.init(np.zeros(4, np.float32))), 4)


@model
def positions(net):
    x = net.relu(net.conv(net.input(3, 6, 6), 4, 3))
    values, where = net.op("TopK", net.reshape(x, 0, 4, 36), net.ints(5), outs=2)
    y = net.op("GatherElements", net.reshape(x, 0, 4, 36), where, axis=2)
    y = net.op("Add", y, net.op("CumSum", values, net.scalar(2, np.int64)))
    net.output(net.op("ArgMax", x, axis=1))
    net.output(net.dense(net.op("Flatten", y), 20, 4), "logits")


@model
def constants(net):
    """Weights as Constant nodes and behind other nodes."""
    x = net.input(3, 6, 6)
    v, g = net.constant(net.numbers(4, 3, 3, 3)), net.constant(np.abs(net.numbers(4, 1, 1, 1)) + np.float32(.5))
    norm = net.op("Sqrt", net.reduce_sum(net.op("Mul", v, v), 1, 2, 3))
    y = net.op("Conv", x, net.op("Div", net.op("Mul", v, g), norm), pads=[1, 1, 1, 1], c=4)
    y = net.op("Mul", y, net.reshape(net.constant(net.numbers(4)), 4, 1, 1))
    y = net.op("Flatten", net.gap(net.relu(y)))
    w = net.transpose(net.constant(net.numbers(5, 4)), 1, 0)
    net.output(net.op("Add", net.op("MatMul", y, w), net.constant(net.numbers(5))), "logits")


def with_function(m):
    """The graph's Relu nodes as calls of a function of two nodes."""
    f = helper.make_function("made.here", "Act", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["t"]),
                                                              helper.make_node("Sigmoid", ["t"], ["b"])], m.opset_import)
    for n in m.graph.node:
        if n.op_type == "Relu":
            n.op_type, n.domain = "Act", "made.here"
    m.functions.append(f)
    m.opset_import.append(helper.make_opsetid("made.here", 1))
    return m


def networks():
    seen = set()
    for c in families.CASES:
        if c.family not in seen:
            seen.add(c.family)
            yield c.name, c.net().model()
    for build in MODELS:
        net = Net(build.__name__, 17)
        build(net)
        yield build.__name__, net.model()
        if build is upsampled or build is positions:
            yield build.__name__ + "_function", with_function(net.model())


def nodes():
    for c in opset_cases.CASES:
        yield opset_cases.name_of(c), opset_cases.make_model(c)[0]


def main(folder):
    shutil.rmtree(folder, ignore_errors=True)
    for kind in (networks, nodes):
        into = os.path.join(folder, "nets" if kind is networks else "nodes")
        os.makedirs(into)
        for name, m in kind():
            data = m.SerializeToString()
            if len(data) <= MOST_BYTES:
                with open(os.path.join(into, name + ".onnx"), "wb") as f:
                    f.write(data)
        print(len(os.listdir(into)), "models in", into)


if __name__ == "__main__":
    main(sys.argv[1])
