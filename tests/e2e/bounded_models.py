"""Small networks whose sizes data decides: what tests/e2e/test_bounded.py compiles and tests/e2e/make_bounded_golden.py had ONNX
Runtime run. A network is a name, its nodes, its inputs by shape and its outputs; feeds(name) are several inputs for it, among them such
that find nothing.
"""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

KINDS = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}
DTYPES = {"f": np.float32, "i": np.int64, "b": np.bool_}
NETWORKS = {}


def node(op, ins, outs, **attrs):
    return helper.make_node(op, ins.split(" "), outs.split(), **attrs)  # two spaces: an input that is left out


def const(name, value, dtype=None):
    value = np.asarray(value, dtype if dtype else np.int64 if np.asarray(value).dtype.kind == "i" else np.float32)
    return numpy_helper.from_array(value, name)


def network(name, nodes, ins, outs, consts=(), opset=17):
    """ins: {"x": "f3,4"}, outs: "y:f z:i"; outputs leave their shapes open."""
    shapes = {k: (v[0], [int(d) for d in v[1:].split(",") if d]) for k, v in ins.items()}
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info(k, KINDS[t], s) for k, (t, s) in shapes.items()],
        [helper.make_tensor_value_info(o.split(":")[0], KINDS[o.split(":")[1]], None) for o in outs.split()], list(consts))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    NETWORKS[name] = (model, shapes)


def body(name, nodes, outs, ins=(), consts=()):
    def info(o):  # i and c, a Loop's own, are scalars
        return helper.make_tensor_value_info(o.split(":")[0], KINDS[o.split(":")[1]], [] if o in ("i:i", "c:b", "c2:b") else None)

    return helper.make_graph(nodes, name, [info(i) for i in ins], [info(o) for o in outs], list(consts))


def feeds(name):
    rng = np.random.default_rng(sum(map(ord, name)))
    for level in (0, 0.3, 1):  # how much is found
        feed = {}
        for k, (t, s) in NETWORKS[name][1].items():
            x = np.round(rng.standard_normal(s) * 4) / 4 + (level - 0.5) * (0 if k.startswith("r") else 3)
            feed[k] = np.asarray(x, DTYPES[t]) if t == "f" else np.asarray(rng.random(s) < level, DTYPES[t]) * 1 if t == "b" else \
                np.asarray(np.floor(rng.random(s) * 4 * level), DTYPES[t])
            feed[k] = feed[k].astype(DTYPES[t])
        yield feed


# What a detector of torchvision does with one class: pick, sort, cut, as many as there are.
network("pick_top", [
    node("Greater", "x half", "g"), node("NonZero", "g", "at"), node("Transpose", "at", "rows", perm=[1, 0]), node("GatherND", "x rows", "s"),
    node("GatherND", "b rows", "sb"), node("Shape", "s", "n1"), node("Concat", "five n1", "both", axis=0),
    node("ReduceMin", "both", "k", keepdims=0), node("Reshape", "k one", "k1"), node("TopK", "s k1", "top where", axis=0),
    node("Gather", "sb where", "boxes"), node("Shape", "top", "n2"), node("ConstantOfShape", "n2", "label", value=const("v", [7])),
    node("Sub", "boxes half", "moved")],
    {"x": "f11", "b": "f11,4"}, "top:f moved:f label:i n2:i", [const("half", 0.5), const("five", [5]), const("one", [1])])
network("two_classes", [
    node("Greater", "x half", "g"), node("Gather", "g c0", "g0", axis=0), node("Gather", "g c1", "g1", axis=0),
    node("Gather", "x c0", "x0", axis=0), node("Gather", "x c1", "x1", axis=0),
    node("Compress", "x0 g0", "s0", axis=0), node("Compress", "x1 g1", "s1", axis=0),
    node("Shape", "s0", "n0"), node("Shape", "s1", "n1"), node("Expand", "ten n0", "l0"), node("Expand", "twenty n1", "l1"),
    node("Concat", "s0 tail s1", "s", axis=0), node("Concat", "l0 ten l1", "l", axis=0), node("ReduceSum", "s", "sum", keepdims=0),
    node("ReduceMax", "s", "max", keepdims=1), node("Softmax", "s", "soft"), node("Mul", "s soft", "y"), node("ArgMax", "s", "best", keepdims=0)],
    {"x": "f2,9"}, "s:f l:i sum:f max:f y:f best:i",
    [const("half", 0.5), const("c0", 0), const("c1", 1), const("ten", [10]), const("twenty", [20]), const("tail", [2.5])])
network("slices", [
    node("Greater", "x half", "g"), node("NonZero", "g", "at"), node("Split", "at halves", "r c", axis=0), node("Squeeze", "c first", "col"),
    node("Slice", "col one end first two", "odd"), node("Slice", "col minus3 end first", "last"), node("Slice", "col minus1 far first minus1", "back"),
    node("Slice", "col first four first", "begin"), node("Size", "col", "n"), node("Div", "n two0", "h"), node("Unsqueeze", "h first", "h1"),
    node("Slice", "col h1 end first", "half2"), node("Slice", "flat h1 end first", "part"), node("Range", "zero n three", "range"),
    node("Reshape", "col column", "tall"), node("Concat", "tall tall", "wide", axis=1), node("Reshape", "wide line", "line2"),
    node("Flatten", "wide", "flat2"), node("CumSum", "col zero", "sums")],
    {"x": "f3,7"}, "odd:i last:i back:i begin:i half2:i part:f range:i wide:i line2:i flat2:i sums:i",
    [const("half", 0.5), const("halves", [1, 1]), const("first", [0]), const("one", [1]), const("end", [2 ** 62]), const("two", [2]),
     const("minus3", [-3]), const("minus1", [-1]), const("far", [-(2 ** 62)]), const("four", [4]), const("two0", 2), const("zero", 0),
     const("three", 3), const("column", [-1, 1]), const("line", [-1]), const("flat", np.arange(30.0))])
network("scatter", [
    node("Greater", "x half", "g"), node("NonZero", "g", "at"), node("Transpose", "at", "rows", perm=[1, 0]), node("GatherND", "x rows", "s"),
    node("Neg", "s", "neg"), node("ScatterND", "x rows neg", "y"), node("Squeeze", "at first", "flat"), node("ScatterElements", "x flat neg", "z"),
    node("Gather", "w flat", "feature"), node("MatMul", "feature m", "product"), node("Relu", "product", "act"), node("Shape", "act", "n"),
    node("Reshape", "act n", "same"), node("TopK", "s few", "least least_at", axis=0, largest=0)],
    {"x": "f9"}, "y:f z:f same:f",
    [const("half", 0.5), const("first", [0]), const("w", np.arange(27.0).reshape(9, 3) % 5), const("m", np.arange(6.0).reshape(3, 2) - 2),
     const("few", [0])])
network("regions", [
    node("Greater", "x half", "g"), node("NonZero", "g", "at"), node("Squeeze", "at first", "flat"), node("Gather", "boxes flat", "r"),
    node("Gather", "images flat", "i"), node("RoiAlign", "rmap r i", "crops", output_height=2, output_width=2, sampling_ratio=2),
    node("Conv", "crops w", "c", pads=[1, 1, 1, 1]), node("GlobalAveragePool", "c", "p"), node("Flatten", "p", "f"), node("Gemm", "f gw gb", "y")],
    {"x": "f6", "rmap": "f1,2,8,8"}, "y:f",
    [const("half", 0.5), const("first", [0]), const("boxes", (np.arange(24.0).reshape(6, 4) % 5) + [0, 0, 3, 3]), const("images", np.zeros(6, np.int64)),
     const("w", np.arange(54.0).reshape(3, 2, 3, 3) % 7 - 3), const("gw", np.arange(12.0).reshape(3, 4) - 5), const("gb", np.arange(4.0))])
network("branches", [
    node("ReduceSum", "x", "sum", keepdims=0), node("Greater", "sum zero", "c"), node("Greater", "x zero", "g"),
    node("If", "c", "picked scalar", then_branch=body(
        "t", [node("NonZero", "g", "a"), node("Squeeze", "a first", "p"), node("ReduceMax", "x", "m", keepdims=0)], ["p:i", "m:f"]),
        else_branch=body("e", [node("Identity", "none", "q"), node("Neg", "zero", "k")], ["q:i", "k:f"])),
    node("Gather", "x picked", "y"), node("Add", "scalar zero", "z")],
    {"x": "f8"}, "y:f z:f picked:i", [const("zero", 0.0), const("first", [0]), const("none", np.zeros(0, np.int64))])
NMS = [const("most", [3]), const("iou", [0.4]), const("least", [0.1]), const("many", [2 ** 62])]
network("suppress", [node("NonMaxSuppression", "boxes x most iou least", "y"), node("NonMaxSuppression", "boxes x many iou", "z"),
                     node("Gather", "z two", "at", axis=1), node("Shape", "y", "n")],
        {"x": "f2,3,12", "boxes": "f2,12,4"}, "y:i z:i at:i n:i", NMS + [const("two", 2)])
network("suppress_centers", [node("NonMaxSuppression", "boxes x most iou least", "y", center_point_box=1)],
        {"x": "f1,2,20", "boxes": "f1,20,4"}, "y:i", NMS)
network("suppress_picked", [
    node("Greater", "x half", "g"), node("NonZero", "g", "at"), node("Squeeze", "at first", "flat"), node("Gather", "boxes flat", "b"),
    node("Gather", "x flat", "s"), node("Unsqueeze", "b first", "b3"), node("Unsqueeze", "s both", "s3"), node("NonMaxSuppression", "b3 s3 many iou", "z"),
    node("Slice", "z first five first", "cut"), node("Gather", "cut two", "kept", axis=1), node("Gather", "b kept", "y"), node("Gather", "s kept", "scores")],
    {"x": "f20", "boxes": "f20,4"}, "y:f scores:f",
    NMS + [const("half", 0.5), const("first", [0]), const("both", [0, 1]), const("two", 2), const("five", [5])])
# Rows as many as are found, then zeros up to a number that is known, by pads in the order that PyTorch writes; and as many numbers again behind them.
network("padded_up", [
    node("Greater", "x low", "g"), node("NonZero", "g", "at"), node("Squeeze", "at first", "flat"), node("Gather", "b flat", "rows"),
    node("Shape", "rows", "s"), node("Gather", "s zero", "n"), node("Gather", "s one", "wide"), node("Sub", "nine n", "left"),
    node("Mul", "left wide", "less"), node("Unsqueeze", "less first", "l1"), node("Concat", "first l1", "pair", axis=0),
    node("Reshape", "pair two", "lines"), node("Slice", "lines last far first last", "turned"), node("Transpose", "turned", "columns", perm=[1, 0]),
    node("Reshape", "columns line", "pads"), node("Reshape", "rows line", "all"), node("Pad", "all pads ", "y0"), node("Reshape", "y0 shape", "y"),
    node("Unsqueeze", "n first", "n1"), node("Concat", "first first n1 first", "ends", axis=0), node("Pad", "rows ends five", "z"),
    node("Concat", "last1 n1", "both", axis=0), node("Gather", "x flat", "scores"), node("Pad", "scores both five", "w")],
    {"x": "f8", "b": "f8,4"}, "y:f z:f w:f",
    [const("low", -0.5), const("first", [0]), const("zero", 0), const("one", 1), const("nine", 9), const("two", [-1, 2]), const("last", [-1]),
     const("last1", [1]), const("far", [-(2 ** 62)]), const("line", [-1]), const("shape", [9, 4]), const("five", 5.0)])
# Loops: as often as is known; until data says that it is enough; as often as data says, at most five times.
network("loop_known", [
    node("Loop", "four yes x", "y steps", body=body(
        "b", [node("Cast", "i", "f", to=1), node("Add", "v f", "v2"), node("Slice", "v2 first one", "head"), node("Identity", "c", "c2")],
        ["c2:b", "v2:f", "head:f"], ["i:i", "c:b", "v:f"]))],
        {"x": "f3"}, "y:f steps:f", [const("four", 4), const("yes", True, np.bool_), const("first", [0]), const("one", [1])])
network("loop_until", [
    node("Loop", "ten yes x", "y steps", body=body(
        "b", [node("Mul", "v half", "v2"), node("ReduceSum", "v2", "s", keepdims=0), node("Abs", "s", "a"), node("Greater", "a least", "c2")],
        ["c2:b", "v2:f", "a:f"], ["i:i", "c:b", "v:f"])), node("Shape", "steps", "n")],
        {"x": "f3"}, "y:f steps:f n:i", [const("ten", 10), const("yes", True, np.bool_), const("half", 0.5), const("least", 0.2)])
network("loop_counted", [
    node("Greater", "x half", "g"), node("Cast", "g", "gi", to=7), node("ReduceSum", "gi", "found", keepdims=0),
    node("Loop", "found  x none", "y list steps", body=body(
        "b", [node("Neg", "v", "v2"), node("Unsqueeze", "i first", "i1"), node("Concat", "l i1", "l2", axis=0), node("Identity", "c", "c2"),
              node("Identity", "i", "twice")],
        ["c2:b", "v2:f", "l2:i", "twice:i"], ["i:i", "c:b", "v:f", "l:i"]))],
        {"x": "f5"}, "y:f list:i steps:i", [const("half", 0.5), const("first", [0]), const("none", np.zeros(0, np.int64))])
# Scans: of two inputs along an axis each, one backwards, with two states and two results; without a state, of a slice of numbers.
network("scan", [
    node("Scan", "zeros one x w", "sum product y z", num_scan_inputs=2, scan_input_axes=[0, -1], scan_input_directions=[0, 1],
         scan_output_axes=[-1, 0], scan_output_directions=[0, 1], body=body(
             "b", [node("Add", "s xi", "s2"), node("Mul", "p wi", "p2"), node("Mul", "s2 wi", "yi"), node("Sub", "xi k", "zi")],
             ["s2:f", "p2:f", "yi:f", "zi:f"], ["s:f", "p:f", "xi:f", "wi:f"])),
    node("Neg", "x", "k0"), node("ReduceMax", "k0", "k", keepdims=0), node("Scan", "w", "v", num_scan_inputs=1, body=body(
        "c", [node("ReduceSum", "r", "t", keepdims=0)], ["t:f"], ["r:f"]))],
    {"x": "f4,3", "w": "f3,4"}, "sum:f product:f y:f z:f v:f", [const("zeros", np.zeros(3)), const("one", np.ones(3))])
# Parts of constants, of which a shape is made that data decides.
network("parts_of_constants", [
    node("SplitToSequence", "two_three one", "parts", axis=0), node("SequenceAt", "parts last", "three"), node("SequenceAt", "parts zero", "two"),
    node("Greater", "x half", "g"), node("NonZero", "g", "at"), node("Squeeze", "at first", "flat"), node("Shape", "flat", "n"),
    node("Concat", "n three", "to", axis=0), node("Expand", "seven to", "y"), node("Expand", "x2 two_x", "z"), node("Concat", "two n1", "two_x", axis=0)],
    {"x": "f5"}, "y:f z:f", [const("two_three", [2, 3]), const("one", 1), const("last", -1), const("zero", 0), const("half", 0.5),
                             const("first", [0]), const("seven", [7.0]), const("x2", [[1.0], [2.0]]), const("n1", [4])])
network("unique", [
    node("Unique", "x", "y first inverse times"), node("Unique", "x", "y2 first2 inverse2 times2", sorted=0), node("Greater", "x half", "g"),
    node("NonZero", "g", "at"), node("GatherND", "x rows", "s"), node("Transpose", "at", "rows", perm=[1, 0]), node("Unique", "s", "z z1 z2 z3")],
        {"x": "f3,4"}, "y:f first:i inverse:i times:i y2:f first2:i inverse2:i times2:i z:f z2:i z3:i", [const("half", 0.5)])
# k may be negative, which fails.
network("negative_k", [
    node("Greater", "x half", "g"), node("Compress", "x g", "s"), node("Shape", "s", "n"), node("Sub", "n two", "k"), node("TopK", "s k", "y at", axis=0)],
        {"x": "f6"}, "y:f at:i", [const("half", 0.5), const("two", [2])])
network("padded", [
    node("Greater", "x half", "g"), node("NonZero", "g", "at"), node("Squeeze", "at first", "flat"), node("Gather", "w flat", "rows"),
    node("Pad", "rows pads", "y"), node("Pad", "rows edge", "z", mode="edge")],
        {"x": "f5"}, "y:f z:f", [const("half", 0.5), const("first", [0]), const("w", np.arange(15.0).reshape(5, 3)), const("pads", [0, 1, 0, 2]),
                                 const("edge", [0, 2, 0, -1])])
