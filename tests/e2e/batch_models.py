"""Small models that hold a batch size in every spelling that exporters have for it.

A case is a function of a Net, which knows the batch B that the model is exported for (`net.b`), and of the input's name.
FIXED: x declares B, and --input-shape makes it N. OPEN: x declares N. Both say what must come of it."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FIXED, OPEN = {}, {}


class Net:
    """Nodes and constants of one graph; values are names. Numbers are small and repeatable."""

    def __init__(self, b, shape, opset=17):
        self.b, self.shape, self.opset = b, shape, opset
        self.nodes, self.inits, self.inputs, self.outputs, self.count = [], [], [], [], 0
        self.rng = np.random.default_rng(7)

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def const(self, array):
        """A Constant node: literals of shapes stand so in PyTorch's exports."""
        return self.op("Constant", value=numpy_helper.from_array(np.asarray(array)))

    def ints(self, *v):
        return self.const(np.array(v, np.int64))

    def int(self, v):
        return self.const(np.array(v, np.int64))

    def weight(self, *shape):
        name = f"w{len(self.inits)}"
        self.inits.append(numpy_helper.from_array((self.rng.standard_normal(shape) * 0.5).astype(np.float32), name))
        return name

    def op(self, op, *inputs, outputs=1, **attrs):
        out = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, out, name=f"{op}_{len(self.nodes)}", **attrs))
        return out[0] if outputs == 1 else out

    def reshape(self, x, *target):
        return self.op("Reshape", x, self.ints(*target))

    def transpose(self, x, *perm):
        return self.op("Transpose", x, perm=perm)

    def linear(self, x, i, o):
        return self.op("Add", self.op("MatMul", x, self.weight(i, o)), self.weight(o))

    def batch(self, x):
        """The size of x's first axis, rank 0."""
        return self.op("Gather", self.op("Shape", x), self.int(0), axis=0)

    def list(self, *entries):
        """A list of ints and of names of rank 0."""
        parts = [self.ints(e) if isinstance(e, int) else self.op("Unsqueeze", e, self.ints(0)) for e in entries]
        return self.op("Concat", *parts, axis=0)

    def branch(self, fill):
        """A graph for If; `fill` makes its result."""
        nodes, self.nodes = self.nodes, []
        out = fill()
        graph = helper.make_graph(self.nodes, "branch", [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)])
        self.nodes = nodes
        return graph

    def model(self, results, batch):
        """Outputs `results`; x declares `batch` images: a number or a name."""
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *self.shape])
        names = []
        for i, r in enumerate(results):
            self.nodes.append(helper.make_node("Identity", [r], [f"y{i}"], name=f"out_{i}"))
            names.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None))
        graph = helper.make_graph(self.nodes, "batch", [x, *self.inputs], names, self.inits)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def fixed(*shape, sizes=(1,), opset=17, stays=None):
    """stays: the reason why the program keeps its batch, a part of the warning."""
    def add(f):
        FIXED[f.__name__] = (f, shape, sizes, opset, stays)
        return f
    return add


def declared(*shape, opset=17, only_one=False, stays=None):
    """only_one: it was exported for one image, and declares any number."""
    def add(f):
        OPEN[f.__name__] = (f, shape, opset, only_one, stays)
        return f
    return add


def make(f, shape, opset, b, batch):
    net = Net(b, shape, opset)
    made = f(net, "x")
    return net.model(made if isinstance(made, list) else [made], batch)


# ---------------------------------------------------------------- windows and heads, exported for B images

def windows(net, x, form, shift=0):
    """A Swin block on [B,8,8,6] with windows of 4. form: where the exporter writes -1, or nowhere."""
    b, w, heads, c = net.b, 4, 3, 6
    n = b * 4  # windows

    def target(*dims, at=None):
        dims = list(dims)
        at = {"literal": None, "first": 0, "last": len(dims) - 1}[form] if at is None else at
        if at is not None:
            dims[at] = -1
        return dims

    short = net.op("LayerNormalization", x, net.weight(c), net.weight(c), axis=-1)
    y = short
    if shift:
        for axis in (1, 2):
            head = net.op("Slice", y, net.ints(shift), net.ints(2**63 - 1), net.ints(axis))
            y = net.op("Concat", head, net.op("Slice", y, net.ints(0), net.ints(shift), net.ints(axis)), axis=axis)
    y = net.transpose(net.reshape(y, *target(b, 2, w, 2, w, c)), 0, 1, 3, 2, 4, 5)
    y = net.reshape(y, *target(n, w * w, c))
    qkv = net.transpose(net.reshape(net.linear(y, c, 3 * c), *target(n, w * w, 3, heads, c // heads)), 2, 0, 3, 1, 4)
    q, k, v = (net.op("Gather", qkv, net.int(i), axis=0) for i in range(3))
    a = net.op("MatMul", net.op("Mul", q, net.const(np.float32(0.5))), net.transpose(k, 0, 1, 3, 2))
    a = net.op("Add", a, net.weight(1, heads, w * w, w * w))
    if shift:  # a mask of its own for each window of an image
        mask = np.where(np.random.default_rng(3).random((1, 4, 1, w * w, w * w)) < 0.2, -100, 0).astype(np.float32)
        a = net.op("Add", net.reshape(a, *target(b, 4, heads, w * w, w * w)), net.const(mask))
        a = net.reshape(a, *target(n, heads, w * w, w * w))
    y = net.transpose(net.op("MatMul", net.op("Softmax", a, axis=-1), v), 0, 2, 1, 3)
    y = net.linear(net.reshape(y, *target(n, w * w, c)), c, c)
    y = net.transpose(net.reshape(net.reshape(y, *target(n, w, w, c)), *target(b, 2, 2, w, w, c)), 0, 1, 3, 2, 4, 5)
    y = net.reshape(y, *target(b, 8, 8, c))
    if shift:
        for axis in (1, 2):
            head = net.op("Slice", y, net.ints(-shift), net.ints(2**63 - 1), net.ints(axis))
            y = net.op("Concat", head, net.op("Slice", y, net.ints(0), net.ints(-shift), net.ints(axis)), axis=axis)
    return net.op("Add", short, y)


def swin(net, x, form):
    y = windows(net, windows(net, net.transpose(x, 0, 2, 3, 1), form), form, shift=2)
    y = net.op("ReduceMean", net.reshape(y, -1, 64, 6), axes=[1], keepdims=0)
    return net.linear(y, 6, 3)


@fixed(6, 8, 8, sizes=(1, 2))
def swin_literal(net, x):
    return swin(net, x, "literal")


@fixed(6, 8, 8, sizes=(1, 2))
def swin_first(net, x):
    return swin(net, x, "first")


@fixed(6, 8, 8, sizes=(1, 2))
def swin_last(net, x):
    return swin(net, x, "last")


@fixed(5, 6, sizes=(1, 2))
def sequence_first_attention(net, x):
    """torch.nn.MultiheadAttention: [L,B,E], heads beside the batch."""
    b, l, e, heads = net.b, 5, 6, 3
    x = net.transpose(x, 1, 0, 2)
    q, k, v = (net.transpose(net.reshape(net.linear(x, e, e), l, b * heads, e // heads), 1, 0, 2) for _ in range(3))
    a = net.op("Softmax", net.op("MatMul", q, net.transpose(k, 0, 2, 1)), axis=-1)
    y = net.reshape(net.transpose(net.op("MatMul", a, v), 1, 0, 2), l * b, e)
    y = net.reshape(net.op("Gemm", y, net.weight(e, e), net.weight(e), transB=1), l, b, e)
    return net.transpose(net.op("Add", x, y), 1, 0, 2)


@fixed(5, 6)
def attention_without_batch(net, x):
    """An exporter that knows B = 1 drops it between."""
    y = net.reshape(x, 5, 6)
    q, k, v = (net.transpose(net.reshape(net.linear(y, 6, 6), 5, 3, 2), 1, 0, 2) for _ in range(3))
    a = net.op("Softmax", net.op("MatMul", q, net.transpose(k, 0, 2, 1)), axis=-1)
    return net.reshape(net.transpose(net.op("MatMul", a, v), 1, 0, 2), 1, 5, 6)


@fixed(4, 4, sizes=(1,))
def squeezed_mask(net, x):
    """A mask for each of 4 windows, added where the batch has gone."""
    return net.op("Add", net.reshape(x, 4, 4), net.weight(4, 4))


@fixed(3, 8, 8, sizes=(1, 3))
def class_token(net, x):
    b = net.b
    y = net.transpose(net.reshape(net.op("Conv", x, net.weight(6, 3, 4, 4), strides=[4, 4]), b, 6, 4), 0, 2, 1)
    cls = net.const(np.repeat(net.rng.standard_normal((1, 1, 6)).astype(np.float32), b, 0))
    y = net.op("Add", net.op("Concat", cls, y, axis=1), net.weight(1, 5, 6))
    return net.op("Gather", net.linear(y, 6, 6), net.int(0), axis=1)


@fixed(4, 6, sizes=(1, 2))
def expanded_tokens(net, x):
    """A class token by Expand, a register by Tile, one that is computed, zeros of ConstantOfShape."""
    b = net.b
    cls = net.op("Expand", net.weight(1, 1, 6), net.ints(b, 1, 6))
    reg = net.op("Tile", net.weight(1, 2, 6), net.ints(b, 1, 1))
    made = net.op("Relu", net.op("Add", net.op("Expand", net.weight(6), net.ints(b, 1, 6)), net.weight(1, 6)))
    zeros = net.op("ConstantOfShape", net.ints(b, 1, 6), value=helper.make_tensor("z", TensorProto.FLOAT, [1], [0.5]))
    return net.op("Concat", cls, reg, x, made, zeros, axis=1)


@fixed(4, 6, sizes=(2,), stays="may differ between the 2 images")
def constant_differs(net, x):
    return net.op("Concat", x, net.weight(2, 1, 6), axis=1)


@fixed(4, 6, sizes=(2,), stays="it takes the 2 images apart")
def mean_of_batch(net, x):
    return net.op("Sub", x, net.op("ReduceMean", x, axes=[0], keepdims=1))


# ---------------------------------------------------------------- axes of one image that are the batch

@fixed(3, 4)
def first_of_batch(net, x):
    y = net.op("Gather", x, net.int(0), axis=0)
    z = net.op("Squeeze", net.op("Slice", x, net.ints(0), net.ints(1), net.ints(0)), net.ints(0))
    return net.op("Unsqueeze", net.op("Mul", y, net.op("Softmax", z, axis=0)), net.ints(0))


@fixed(6, 4)
def reshaped_across(net, x):
    """Shapes with no dimension that whole images fit into, where the batch does not come first."""
    y = net.reshape(net.transpose(x, 1, 0, 2), 4, 6)
    z = net.reshape(net.transpose(x, 2, 1, 0), 3, 8)
    return [net.op("Softmax", y, axis=0), net.linear(z, 8, 2), net.op("Add", y, net.reshape(x, 4, 6))]


@fixed(3, 4)
def norm_of_all(net, x):
    """Reductions over every axis: a number for each image, on both sides."""
    mean, top = net.op("ReduceMean", x, keepdims=0), net.op("ReduceMax", x, keepdims=1)
    y = net.op("Div", net.op("Sub", x, mean), net.op("Add", net.op("Abs", top), net.const(np.float32(1))))
    return [y, mean, net.op("Mul", mean, net.weight(4)), net.op("Sqrt", net.op("Exp", mean))]


@fixed(12)
def rank_one(net, x):
    """view(-1): softmax, arg max, cumulative sum and top k of what has no batch axis."""
    y = net.reshape(x, -1)
    values, at = net.op("TopK", y, net.ints(3), axis=0, outputs=2)
    where = net.op("Cast", at, to=TensorProto.FLOAT)
    best = net.op("Cast", net.op("ArgMax", y, axis=0, keepdims=0), to=TensorProto.FLOAT)
    return [net.op("Softmax", y, axis=0), values, where, best, net.op("CumSum", y, net.int(0)),
            net.op("MatMul", y, net.weight(12, 2))]


@fixed(4, 6)
def stacked_outputs(net, x):
    """Two results in front of the batch."""
    y = net.op("Neg", x)
    return net.op("Concat", net.op("Unsqueeze", x, net.ints(0)), net.op("Unsqueeze", y, net.ints(0)), axis=0)


@fixed(3, 6, 6)
def stacked_views(net, x):
    """Test-time augmentation: the image and its mirror in one batch, averaged."""
    mirror = net.op("Slice", x, net.ints(-1), net.ints(-2**63 + 1), net.ints(3), net.ints(-1))
    y = net.op("Relu", net.op("Conv", net.op("Concat", x, mirror, axis=0), net.weight(4, 3, 3, 3)))
    return [net.op("ReduceMean", y, axes=[0], keepdims=1), net.op("ReduceMax", y, axes=[0, 2, 3], keepdims=0), y]


@fixed(4, 3, 6, 6)
def frames(net, x):
    """A video's frames as the batch, and back."""
    y = net.op("MaxPool", net.op("Conv", net.reshape(x, 4, 3, 6, 6), net.weight(5, 3, 3, 3)), kernel_shape=[2, 2])
    y = net.op("GlobalAveragePool", y)
    return net.op("ReduceMean", net.reshape(y, 1, 4, 5), axes=[1], keepdims=0)


@fixed(3, 5, 5)
def padded_batch(net, x):
    """Another image beside, by padding along the batch, and by a constant."""
    y = net.op("Pad", x, net.ints(0, 0, 0, 0, 1, 0, 0, 0), net.const(np.float32(0.25)))
    z = net.op("Concat", x, net.weight(2, 3, 5, 5), axis=0)
    return [net.op("Conv", y, net.weight(2, 3, 3, 3)), net.op("ReduceSum", z, net.ints(0), keepdims=1)]


@fixed(4, 6)
def gram(net, x):
    y = net.reshape(x, 4, 6)
    return net.op("Unsqueeze", net.op("MatMul", y, net.transpose(y, 1, 0)), net.ints(0))


@fixed(4, 6)
def batch_as_columns(net, x):
    """Products whose columns, rows or sums are the batch."""
    flat = net.reshape(x, 1, 24)
    turned = net.transpose(flat, 1, 0)
    y = net.op("MatMul", net.weight(3, 24), turned)
    g = net.op("Gemm", turned, net.weight(5, 1), transB=1)
    return [y, net.op("Gemm", flat, net.weight(24, 2), net.weight(1, 2)), g, net.op("MatMul", turned, flat)]


# ---------------------------------------------------------------- indices

@fixed(4, 6)
def chosen_by_index(net, x):
    """Rows chosen by what an image holds: gather, with the batch's index written out, and by elements."""
    best = net.op("ArgMax", net.op("ReduceSum", x, net.ints(2), keepdims=0), axis=1, keepdims=0)
    row = net.op("Gather", net.op("Squeeze", x, net.ints(0)), best, axis=0)
    tuples = net.op("Concat", net.const(np.zeros((1, 1), np.int64)), net.op("Unsqueeze", best, net.ints(1)), axis=1)
    order = net.op("Expand", net.op("Unsqueeze", net.op("TopK", net.op("ReduceSum", x, net.ints(2), keepdims=0),
                                                        net.ints(2), axis=1, outputs=2)[1], net.ints(2)), net.ints(1, 2, 6))
    table = net.op("Gather", net.weight(4, 5), best, axis=0)
    column = net.op("Gather", net.weight(5, 4), best, axis=1)
    return [row, net.op("GatherND", x, tuples), net.op("GatherElements", x, order, axis=1), table, column]


@fixed(4, 6)
def written_in_place(net, x):
    """Assignments to parts of an image, with the batch's 0 in the indices."""
    at = np.array([[[0, 1], [0, 3]]], np.int64)
    y = net.op("ScatterND", x, net.const(at), net.weight(1, 2, 6))
    rows = net.op("Gather", x, net.ints(2, 0), axis=1)
    z = net.op("ScatterND", net.const(np.zeros((1, 4, 6), np.float32)), net.const(at), rows)
    e = net.op("ScatterElements", x, net.const(np.array([[[1], [0]]], np.int64)), net.weight(1, 2, 1), axis=1)
    return [y, z, e]


# ---------------------------------------------------------------- other operators

@fixed(4, 6, 6, sizes=(1, 2))
def blocks_and_groups(net, x):
    b = net.b
    y = net.reshape(net.transpose(net.reshape(x, b, 1, 2, 2, 6, 6), 0, 1, 4, 2, 5, 3), b, 1, 12, 12)
    z = net.reshape(net.transpose(net.reshape(x, b, 2, 2, 6, 6), 0, 2, 1, 3, 4), b, -1, 6, 6)
    g = net.op("InstanceNormalization", net.reshape(x, b, 2, -1), net.const(np.ones(2, np.float32)), net.weight(2))
    return [y, z, net.reshape(g, b, 4, 6, 6), net.op("DepthToSpace", x, blocksize=2)]


@fixed(3, 6, 6, sizes=(1, 2))
def windows_of_images(net, x):
    b = net.b
    up = net.op("Resize", x, "", "", net.ints(b, 3, 9, 12), mode="linear")
    t = net.op("ConvTranspose", x, net.weight(3, 2, 2, 2), strides=[2, 2])
    grid = net.op("Tanh", net.const(np.repeat(net.rng.standard_normal((1, 4, 4, 2)).astype(np.float32), b, 0)))
    s = net.op("GridSample", x, grid)
    n = net.op("LRN", x, size=3)
    bn = net.op("BatchNormalization", x, net.const(np.ones(3, np.float32)), net.weight(3), net.weight(3),
                net.const(np.ones(3, np.float32)))
    line = net.op("Conv", net.reshape(x, b, 3, 36), net.weight(4, 3, 3))
    return [up, t, s, n, bn, line, net.op("AveragePool", x, kernel_shape=[3, 3]), net.reshape(up, b, -1)]


@fixed(3, 4, sizes=(1, 2))
def elementwise(net, x):
    y = net.op("Where", net.op("Greater", x, net.weight(net.b, 1, 4) if net.b == 1 else net.weight(1, 3, 4)), x,
               net.const(np.zeros((net.b, 3, 4), np.float32)))
    z = net.op("PRelu", net.op("Min", y, net.op("Max", x, net.weight(4))), net.weight(3, 1))
    return [z, net.op("Clip", z, net.const(np.float32(-1)), net.const(np.float32(1))), net.op("Einsum", x, x, equation="bij,bkj->bik")]


@fixed(3, 4, 4)
def quantized_as_it_runs(net, x):
    """DynamicQuantizeLinear takes its scale from all of the tensor: of each image, then."""
    y, scale, zero = net.op("DynamicQuantizeLinear", x, outputs=3)
    return net.op("DequantizeLinear", y, scale, zero)


@fixed(4, 6, 6)
def asked_by_shape(net, x):
    """The batch by Shape, in conditions and arithmetic: constants, where it is fixed."""
    b = net.batch(x)
    y = net.op("If", net.op("Equal", b, net.int(1)), then_branch=net.branch(lambda: net.op("Squeeze", x, net.ints(0))),
               else_branch=net.branch(lambda: net.op("Identity", x)))
    n = net.op("Cast", net.op("Div", net.op("Cast", b, to=1), net.const(np.float32(1))), to=7)
    return [net.op("Relu", y), net.op("Reshape", x, net.list(n, 4, 36)), net.op("Reshape", y, net.list(b, -1))]


@fixed(3, 5, 5, stays="NYI: operand 1, which is no weight, differs between images")
def filters_of_images(net, x):
    w = net.reshape(net.linear(net.reshape(net.op("GlobalAveragePool", x), 1, 3), 3, 54), 2, 3, 3, 3)
    return net.op("Conv", x, w)


# ---------------------------------------------------------------- a symbolic batch, in the model's own arithmetic

@declared(6, 8, 8)
def swin_by_float(net, x):
    """Windows over all, divided by the windows of an image: in floats, as old exporters do."""
    y = net.transpose(x, 0, 2, 3, 1)
    y = net.reshape(net.transpose(net.op("Reshape", y, net.list(net.batch(y), 2, 4, 2, 4, 6)), 0, 1, 3, 2, 4, 5), -1, 4, 4, 6)
    n = net.op("Cast", net.batch(y), to=TensorProto.FLOAT)
    b = net.op("Cast", net.op("Floor", net.op("Div", n, net.const(np.float32(8 * 8 / 4 / 4)))), to=TensorProto.INT64)
    y = net.transpose(net.op("Reshape", y, net.list(b, 2, 2, 4, 4, -1)), 0, 1, 3, 2, 4, 5)
    return net.op("Reshape", y, net.list(b, 8, 8, -1))


@declared(4, 6)
def batch_in_arithmetic(net, x):
    b = net.batch(x)
    f = net.op("Cast", b, to=TensorProto.FLOAT)
    quarter = net.op("Cast", net.op("Ceil", net.op("Mul", net.op("Mul", f, net.const(np.float32(4))), net.const(np.float32(0.25)))), to=7)
    rest = net.op("Add", net.op("Mod", net.op("Mul", b, net.int(24)), net.int(24)), net.int(4))
    half = net.op("Div", net.op("Sub", net.op("Mul", b, net.int(12)), net.int(0)), net.int(6))
    most = net.op("Max", b, net.int(1))
    least = net.op("Min", net.op("Mul", b, b), net.op("Mul", b, b))
    root = net.op("Cast", net.op("Sqrt", net.op("Cast", least, to=1)), to=7)
    return [net.op("Reshape", x, net.list(quarter, rest, 6)), net.op("Reshape", x, net.list(half, 12)),
            net.op("Reshape", x, net.list(most, -1)), net.op("Reshape", x, net.list(root, 24))]


@declared(4, 6)
def batch_in_lists(net, x):
    """The target by ConstantOfShape, ScatterND, ScatterElements, Where, Slice, ReduceProd, Expand and Pad."""
    b1 = net.op("Unsqueeze", net.batch(x), net.ints(0))
    ones = net.op("ConstantOfShape", net.ints(2), value=helper.make_tensor("o", TensorProto.INT64, [1], [24]))
    s = net.op("ScatterND", ones, net.const(np.array([[0]], np.int64)), b1)
    e = net.op("ScatterElements", ones, net.ints(0), b1, axis=0)
    w = net.op("Where", net.const(np.array([True, False])), net.op("Expand", b1, net.ints(2)), ones)
    p = net.op("Concat", b1, net.op("ReduceProd", net.op("Slice", net.op("Shape", x), net.ints(1), net.ints(3)), keepdims=1), axis=0)
    d = net.op("Pad", b1, net.ints(0, 1), net.int(24))
    m = net.op("Reshape", net.op("Transpose", net.op("Reshape", net.op("Tile", b1, net.ints(2)), net.ints(2, 1)), perm=[1, 0]), net.ints(2))
    m = net.op("Mul", m, net.op("Concat", net.ints(1), net.op("Div", net.ints(24), net.ints(24)), axis=0))
    two = net.op("Concat", net.op("Slice", m, net.ints(0), net.ints(1)), net.ints(-1), axis=0)
    return [net.op("Reshape", x, t) for t in (s, e, w, p, d, two)]


@declared(4, 6)
def tokens_by_batch(net, x):
    b = net.batch(x)
    tile = net.op("Tile", net.weight(1, 1, 6), net.list(b, 1, 1))
    shape = net.list(b, -1, -1)
    ones = net.op("ConstantOfShape", net.op("Shape", shape), value=helper.make_tensor("o", TensorProto.INT64, [1], [1]))
    shape = net.op("Where", net.op("Equal", shape, net.op("Mul", ones, net.int(-1))), ones, shape)
    expand = net.op("Expand", net.weight(1, 2, 6), shape)
    zeros = net.op("ConstantOfShape", net.list(b, 1, 6))
    return net.op("Concat", tile, x, expand, zeros, axis=1)


@declared(3, 6, 6)
def resized_by_shape(net, x):
    s = net.op("Shape", x)
    nc = net.op("Slice", s, net.ints(0), net.ints(2))
    sizes = net.op("Concat", nc, net.ints(9, 12), axis=0)
    ratio = net.op("Div", net.op("Cast", sizes, to=1), net.op("Cast", s, to=1))
    return [net.op("Resize", x, "", "", sizes, mode="nearest"), net.op("Resize", x, "", ratio, mode="linear")]


@declared(4, 6)
def ranges_of_batch(net, x):
    """Each image's index, to pick by: with the batch's range in the tuples."""
    i = net.op("Range", net.int(0), net.batch(x), net.int(1))
    best = net.op("ArgMax", net.op("ReduceSum", x, net.ints(2), keepdims=0), axis=1, keepdims=0)
    tuples = net.op("Concat", net.op("Unsqueeze", i, net.ints(1)), net.op("Unsqueeze", best, net.ints(1)), axis=1)
    return net.op("GatherND", x, tuples)


@declared(6, 1, 1)
def branch_on_batch(net, x):
    return net.op("If", net.op("Equal", net.batch(x), net.int(1)),
                  then_branch=net.branch(lambda: net.op("Squeeze", x, net.ints(2, 3))),
                  else_branch=net.branch(lambda: net.op("Reshape", x, net.ints(0, 6))))


@declared(6, 4)
def branch_without_the_batch(net, x):
    """An image alone loses its batch and gets it back; several stay as they are."""
    y = net.op("If", net.op("Equal", net.batch(x), net.int(1)),
               then_branch=net.branch(lambda: net.op("Unsqueeze", net.op("Squeeze", x, net.ints(0)), net.ints(0))),
               else_branch=net.branch(lambda: net.op("Identity", x)))
    return net.linear(y, 4, 3)


@declared(6, 4, stays="computed from the batch size")
def first_eight(net, x):
    return net.op("Slice", x, net.ints(0), net.op("Unsqueeze", net.op("Min", net.op("Mul", net.batch(x), net.int(1)), net.int(8)), net.ints(0)), net.ints(0))


@declared(6, stays="computed from the batch size")
def branches_that_differ(net, x):
    return net.op("If", net.op("Equal", net.batch(x), net.int(1)),
                  then_branch=net.branch(lambda: net.op("Add", x, net.const(np.float32(1)))),
                  else_branch=net.branch(lambda: net.op("Mul", x, net.const(np.float32(2)))))


@declared(6, stays="computed from the batch size")
def divided_by_batch(net, x):
    return net.op("Div", x, net.op("Cast", net.batch(x), to=TensorProto.FLOAT))


@declared(6, 4, 4, only_one=True)
def class_token_of_one(net, x):
    y = net.transpose(net.reshape(net.op("Relu", net.op("Conv", x, net.weight(6, 6, 1, 1))), 0, 6, 16), 0, 2, 1)
    return net.linear(net.op("ReduceMean", net.op("Concat", net.weight(1, 1, 6), y, axis=1), axes=[1], keepdims=0), 6, 3)


@declared(6, 8, 8, only_one=True)
def swin_of_one(net, x):
    return swin(net, x, "literal")


@declared(6, 8, 8, only_one=True)
def swin_of_one_leaks(net, x):
    """Every target fits any batch, by its -1, and would mix the images."""
    return swin(net, x, "last")


@declared(6, 4)
def channels_with_the_batch(net, x):
    """1 for the batch and -1 behind it, and back: images stay apart, at any size."""
    y = net.op("Relu", net.op("Add", net.reshape(x, 1, -1, 4), net.weight(4)))
    return net.reshape(y, -1, 6, 4)


@declared(3, 8, 8, only_one=True)
def flattened_of_one(net, x):
    return net.linear(net.reshape(net.op("MaxPool", x, kernel_shape=[4, 4], strides=[4, 4]), 1, -1), 12, 4)


# ---------------------------------------------------------------- sequences

@declared(6, 4)
def sequences(net, x):
    parts = net.op("SplitToSequence", x, net.ints(2, 4), axis=1)
    whole = net.op("SplitToSequence", x, net.int(4), axis=1)
    rows = net.op("SplitToSequence", x, axis=1, keepdims=0)
    a, b = net.op("SequenceAt", parts, net.int(0)), net.op("SequenceAt", whole, net.int(-1))
    pair = net.op("SequenceConstruct", a, b)
    more = net.op("SequenceInsert", net.op("SequenceErase", net.op("SequenceInsert", pair, a), net.int(1)), b, net.int(0))
    empty = net.op("SequenceInsert", net.op("SequenceEmpty"), net.op("SequenceAt", rows, net.int(3)))
    length = net.op("Cast", net.op("SequenceLength", more), to=TensorProto.FLOAT)
    joined = net.op("ConcatFromSequence", more, axis=1)
    stack = net.op("ConcatFromSequence", rows, axis=-1, new_axis=1)
    return [net.op("Mul", joined, length), stack, net.op("ConcatFromSequence", empty, axis=1)]


@declared(6, 4)
def sequences_of_sizes(net, x):
    b = net.batch(x)
    sizes = net.op("ConcatFromSequence", net.op("SequenceConstruct", b, net.int(24)), axis=0, new_axis=1)
    return net.op("Reshape", x, sizes)


@declared(4, 3)
def each_image_repeated(net, x):
    """repeat_interleave(2, dim=0) as PyTorch exports it: a loop over the images, one by one."""
    b, info = net.batch(x), helper.make_tensor_value_info
    sequence = helper.make_tensor_sequence_value_info
    ones = net.op("ConstantOfShape", net.list(b), value=numpy_helper.from_array(np.array([1], np.int64)))
    parts = net.op("SplitToSequence", x, ones, axis=0)
    one, twice, flat, yes = net.ints(1), net.ints(1, 2, 4, 3), net.ints(-1, 4, 3), net.const(np.array(True))
    node = helper.make_node
    body = helper.make_graph(
        [node("SequenceAt", [parts, "i"], ["image"]), node("Unsqueeze", ["image", one], ["row"]), node("Expand", ["row", twice], ["rows"]),
         node("Reshape", ["rows", flat], ["repeated"]), node("SequenceInsert", ["list", "repeated"], ["longer"]), node("Identity", ["c"], ["c2"])],
        "body", [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), sequence("list", TensorProto.FLOAT, None)],
        [info("c2", TensorProto.BOOL, []), sequence("longer", TensorProto.FLOAT, None)])
    joined = net.op("ConcatFromSequence", net.op("Loop", b, yes, net.op("SequenceEmpty"), body=body), axis=0)
    return net.op("Reshape", net.op("Relu", joined), net.list(b, 8, 3))
