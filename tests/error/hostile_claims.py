"""Models that claim much and hold little: dimensions, channels and windows without bytes behind them.

cases() are refused. operators() makes models that may be compiled or refused, if only that costs no time and no memory: an
operator each, on a tensor of any shape.
"""
from hostile_pb import BOOL, FLOAT, INT64, floats, graph, ints, model, net, node, scalar, tensor, value

REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
              "ReduceSumSquare")
PLAIN = ("Relu", "Softmax", "LogSoftmax", "Sigmoid", "Erf", "Identity", "Sign", "Shape", "Size", "Transpose", "Flatten",
         "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "ReduceSum", "NonZero", "Unique", "Trilu", "EyeLike", "Hardmax")


def operators(d):
    """(name, node, initializers) of operators that make r of c, a tensor of dimensions d."""
    rank, last, letters = len(d), len(d) - 1, "abcd"[:len(d)]
    known = [1 if isinstance(x, str) else x for x in d]

    def n(op, ins="c", **attrs):
        return node(op, ins, "r", op, **attrs)
    for op in PLAIN:
        yield op, n(op), []
    for op in REDUCTIONS:
        for axis in range(rank):
            yield f"{op}_{axis}", n(op, axes=[axis]), []
    for op in ("ArgMax", "ArgMin", "Softmax", "LogSoftmax", "Hardmax", "Unique"):
        yield f"{op}_0", n(op, axis=0), []
    for axis in (0, last):
        yield f"CumSum_{axis}", n("CumSum", "c k"), [scalar("k", axis)]
        yield f"Concat_{axis}", n("Concat", "c c", axis=axis), []
        yield f"Gather_{axis}", n("Gather", "c k", axis=axis), [scalar("k", 0)]
        yield f"Gather_none_{axis}", n("Gather", "c k", axis=axis), [tensor("k", [0], INT64)]
        yield f"TopK_{axis}", node("TopK", "c k", "r i", "TopK", axis=axis), [ints("k", 1)]
        yield f"Compress_{axis}", n("Compress", "c k", axis=axis), [tensor("k", [1], BOOL)]
        yield f"Split_{axis}", node("Split", "c", "r s", "Split", axis=axis), []
    yield "Reshape", n("Reshape", "c k"), [ints("k", -1)]
    yield "Expand", n("Expand", "c k"), [ints("k", 2, *[1] * rank)]
    yield "Tile", n("Tile", "c k"), [ints("k", *[2] * rank)]
    yield "Pad", n("Pad", "c k"), [ints("k", *[1] * (2 * rank))]
    yield "Slice_back", n("Slice", "c s e a t"), [ints("s", -1), ints("e", -(1 << 62)), ints("a", last), ints("t", -1)]
    yield "Slice_step", n("Slice", "c s e a t"), [ints("s", 0), ints("e", 1 << 62), ints("a", last), ints("t", 3)]
    yield "Einsum_sum", n("Einsum", equation=letters + "->"), []
    yield "Einsum_turn", n("Einsum", equation=f"{letters}->{letters[::-1]}"), []
    yield "Einsum_two", n("Einsum", "c c", equation=f"{letters},{letters}->"), []
    yield "MatMul", n("MatMul", "c c"), []
    yield "Gemm", n("Gemm", "c c", transB=1), []
    yield "Where", n("Where", "k c c"), [scalar("k", True, BOOL)]
    yield "Mul_scalar", n("Mul", "c k"), [floats("k", [1] * rank, 2.0)]
    yield "PRelu", n("PRelu", "c k"), [floats("k", [1], 2.0)]
    yield "Clip", n("Clip", "c k k"), [floats("k", [], 2.0)]
    yield "Mean", n("Mean", "c c c"), []
    yield "Cast", n("Cast", to=INT64), []
    yield "SpaceToDepth", n("SpaceToDepth", blocksize=2), []
    yield "DepthToSpace", n("DepthToSpace", blocksize=2), []
    yield "QuantizeLinear", n("QuantizeLinear", "c k"), [floats("k", [], 1.0)]
    yield "LRN", n("LRN", size=1 << 20), []
    yield "GatherND", n("GatherND", "c k"), [ints("k", 0)]
    rows = 0 if 0 not in known[1:] else 1
    if rows or max(known[1:], default=1) < 9:
        yield "ScatterND", n("ScatterND", "c k u"), [tensor("k", [rows, 1], INT64), tensor("u", [rows, *known[1:]], raw=b"")]
    yield "ScatterElements_none", n("ScatterElements", "c k u"), [tensor("k", [0] * rank, INT64), tensor("u", [0] * rank)]
    yield "Resize", n("Resize", "c - s"), [floats("s", [rank], *[2.0] * rank)]
    yield "Resize_linear", n("Resize", "c - s", mode="linear"), [floats("s", [rank], *[1.0] * (rank - 1), 0.5)]
    if rank == 4:
        yield "Conv_1x1", n("Conv", "c k"), [tensor("k", [1, 1, 1, 1])]
        yield "Conv_own", n("Conv", "c c"), []
        yield "ConvTranspose", n("ConvTranspose", "c k", strides=[7, 7]), [tensor("k", [1, 1, 3, 3])]
        yield "ConvTranspose_own", n("ConvTranspose", "c c"), []
        yield "MaxPool", n("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), []
        yield "AveragePool", n("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]), []
        yield "MaxPool_wide", n("MaxPool", kernel_shape=[1 << 20, 1 << 20], pads=[1 << 19] * 4), []
        yield "LpPool", n("LpPool", kernel_shape=[1, 1]), []
        yield "InstanceNormalization", n("InstanceNormalization", "c g g"), [tensor("g", [1])]


def on_constant(d, made):
    """The operator stands on a constant of dimensions d without bytes; the output is as long as the input x."""
    name, n, inits = made
    last = [node("Size", "r", "s", "Size"), node("Cast", "s", "t", "Cast", to=FLOAT), node("Add", "x t", "y", "Add")]
    return model(graph([n, *last], [value("x", ["N", 2])], [value("y", None)], [tensor("c", d, raw=b""), *inits]), 17)


def on_input(d, made):
    """The operator stands on the input c of dimensions d."""
    name, n, inits = made
    return model(graph([n], [value("c", d)], [value("r", None)], inits), 17)


def chain(dims, k, *ops):
    """Arithmetic on x by one constant of dimensions k, filled and not stored."""
    names = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    fill = node("ConstantOfShape", "s", "k", "fill")
    return model(graph([fill, *(node(op, [names[i], "k"], [names[i + 1]], f"n{i}") for i, op in enumerate(ops))],
                       [value("x", dims)], [value("y", None)], [ints("s", *k)]), 17)


def cases():
    long = 1 << 40
    counted = [node("Size", "t", "s", "s"), node("Cast", "s", "z", "z", to=FLOAT), node("Add", "x z")]
    yield "empty_constant", net(node("Transpose", "c", "t", "t"), *counted, inits=[tensor("c", [long, 0], raw=b"")])
    yield "empty_constant_around", net(node("CumSum", "c k", "t", "t"), *counted,
                                       inits=[tensor("c", [1 << 20, 0, 1 << 20], INT64, raw=b""), scalar("k", 0)])
    yield "empty_input", net(node("Relu"), x=(1, 1 << 31, 0, 2))
    yield "empty_input_per_image", net(node("ReduceMean", axes=[1, 2]), x=("N", 0, 1 << 25))
    yield "empty_expanded", net(node("Expand", "c k", "t", "t"), *counted,
                                inits=[tensor("c", [1, 0], raw=b""), ints("k", long, 0)])
    yield "empty_reshaped", net(node("Reshape", "x k", allowzero=1), x=(0, 2), opset=14, inits=[ints("k", long, 0)])
    yield "empty_filled", net(node("ConstantOfShape", "k", "t", "fill"), *counted, inits=[ints("k", 0, 1 << 30)])
    yield "empty_product", net(node("MatMul", "c x"), x=(0, 1 << 30), inits=[tensor("c", [1 << 30, 0], raw=b"")])
    yield "budget_of_a_chain", chain(["N", 10000000, 1, 1], [10000000, 1, 1], "Sub", "Div", "Mul", "Add")
    yield "channels_of_a_chain", chain(["N", 400000000, 1, 1], [400000000, 1, 1], "Sub", "Div", "Mul", "Add")
