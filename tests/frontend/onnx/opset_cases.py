"""Small models, one for each (operator, since-version) of core_operators.txt that ONNX's backend cases leave out, and
for what opsets 18 to 22 changed. Used by make_opset_cases.py, which computes what they give, and by test_opsets.py.
"""
import os
from collections import namedtuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "opset_cases.npz")
CORE = os.path.join(HERE, "core_operators.txt")

# The opset is the version. `inputs` are arrays, None for one left out; those in `consts` (by index) are initializers.
# `types`: element types of the outputs. `like` is (opset, changed attributes or None, changed inputs or None), a newer
# spelling of the same that ONNX Runtime accepts.
Case = namedtuple("Case", "op version tag inputs consts attrs types like")
CASES = []
INT = TensorProto.INT64
FLOAT = TensorProto.FLOAT


def x(*dims, step=7, mod=13):
    """Quarters from -1.5 to 1.5 in no simple order."""
    n = int(np.prod(dims))
    return ((np.arange(n) * step % mod - mod // 2) / 4).astype(np.float32).reshape(dims)


def pos(*dims):
    return np.abs(x(*dims)) + np.float32(0.5)


def ints(*v):
    return np.array(v, np.int64)


def f32(v):
    return np.array(v, np.float32)


def case(op, versions, *inputs, tag="", consts=(), types=(FLOAT,), like=None, **attrs):
    for version in versions if isinstance(versions, (tuple, list)) else (versions,):
        CASES.append(Case(op, version, tag, inputs, consts, attrs, types, like))


def save_golden(results):
    """{name: array} as one list of numbers and one of lines "name type dims"; a zip entry for each would be larger."""
    lines = [" ".join([name, a.dtype.name, *map(str, a.shape)]) for name, a in results.items()]
    data = np.concatenate([a.astype(np.float64).ravel() for a in results.values()])
    np.savez_compressed(GOLDEN, lines=np.array("\n".join(lines).encode()), data=data)


def load_golden():
    stored, results, at = np.load(GOLDEN), {}, 0
    for line in stored["lines"].item().decode().splitlines():
        name, dtype, *dims = line.split()
        count = int(np.prod([int(d) for d in dims]))
        results[name] = stored["data"][at:at + count].astype(dtype).reshape([int(d) for d in dims])
        at += count
    return results


def name_of(c):
    return f"test_{c.op.lower()}_v{c.version}{'_' + c.tag if c.tag else ''}"


def make_tensor(name, a):
    return numpy_helper.from_array(np.asarray(a), name)


def make_model(c, op=None, version=None, attrs=None, inputs=None):
    """The model of a case, or of the newer spelling of it."""
    inputs = c.inputs if inputs is None else inputs
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(inputs)]
    outs = [f"y{i}" for i in range(len(c.types))]
    node = helper.make_node(op or c.op, names, outs, name="node", **(c.attrs if attrs is None else attrs))
    fed = [(n, a) for i, (n, a) in enumerate(zip(names, inputs)) if a is not None and i not in c.consts]
    held = [make_tensor(names[i], inputs[i]) for i in c.consts if i < len(inputs) and inputs[i] is not None]
    types = {np.float32: FLOAT, np.int64: INT, np.int32: TensorProto.INT32, np.bool_: TensorProto.BOOL,
             np.uint8: TensorProto.UINT8, np.float64: TensorProto.DOUBLE}
    g = helper.make_graph([node], name_of(c),
                          [helper.make_tensor_value_info(n, types[a.dtype.type], a.shape) for n, a in fed],
                          [helper.make_tensor_value_info(o, t, None) for o, t in zip(outs, c.types)], held)
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", version or c.version)], producer_name="hone")
    m.ir_version = 8
    return m, [a for _, a in fed]


# ---------------------------------------------------------------- windows

case("MaxPool", 8, x(1, 2, 5, 6), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
case("MaxPool", 10, x(1, 2, 6, 5), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
case("MaxPool", 10, x(1, 2, 7, 7), tag="dilated", kernel_shape=[2, 3], dilations=[3, 2], like=(12, None, None))
case("MaxPool", 11, x(2, 1, 5, 7), kernel_shape=[3, 3], auto_pad="SAME_LOWER", strides=[2, 2])
case("MaxPool", 22, x(1, 3, 6, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
case("AveragePool", 7, x(1, 2, 5, 5), tag="with_pad", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
case("AveragePool", 7, x(1, 2, 5, 5), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
case("AveragePool", 10, x(1, 2, 6, 6), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
case("AveragePool", 19, x(1, 2, 7, 7), kernel_shape=[2, 2], dilations=[2, 3], strides=[1, 2])
case("AveragePool", 22, x(1, 1, 6, 8), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
case("Conv", 22, x(1, 2, 5, 5), x(4, 2, 3, 3, step=5), f32([0.5, -1, 0.25, 2]), consts=(1, 2), pads=[1, 1, 1, 1],
     strides=[2, 1])
case("GlobalAveragePool", 22, x(2, 3, 4, 5))
case("GlobalMaxPool", 22, x(2, 3, 4, 5))
case("Resize", 10, x(1, 2, 3, 4), f32([1, 1, 2, 3]), consts=(1,), mode="nearest")
case("Resize", 10, x(1, 2, 3, 4), f32([1, 1, 2, 2]), consts=(1,), tag="linear", mode="linear")
case("Resize", 18, x(1, 2, 4, 4), None, None, ints(7, 6), consts=(3,), mode="linear", axes=[2, 3])
case("Resize", 18, x(1, 1, 8, 8), None, f32([0.5, 0.75]), consts=(2,), tag="antialias", mode="linear", antialias=1,
     axes=[2, 3])
case("Resize", 18, x(1, 1, 4, 6), None, None, ints(8, 8), consts=(3,), tag="not_larger", mode="nearest",
     keep_aspect_ratio_policy="not_larger", axes=[2, 3])
case("Resize", 19, x(1, 1, 4, 4), None, f32([0.8, 1.3]), consts=(2,), mode="linear", axes=[2, 3],
     coordinate_transformation_mode="half_pixel_symmetric")
case("Upsample", 1, x(1, 2, 2, 3), mode="nearest", height_scale=2.0, width_scale=3.0,
     like=(9, dict(mode="nearest"), (x(1, 2, 2, 3), f32([1, 1, 2, 3]))))
case("Resize", 11, x(1, 2, 3, 4), f32([]), f32([1, 1, 2, 2]), consts=(1, 2), mode="linear",
     coordinate_transformation_mode="align_corners")
case("Resize", 13, x(1, 2, 4, 4), None, None, ints(1, 2, 3, 6), consts=(3,), mode="cubic")
case("Upsample", 9, x(1, 2, 2, 3), f32([1, 1, 3, 2]), consts=(1,), mode="nearest")
case("Upsample", 7, x(1, 2, 2, 3), mode="nearest", scales=[1.0, 1.0, 2.0, 3.0])
case("Upsample", 7, x(1, 2, 3, 3), tag="linear", mode="linear", scales=[1.0, 1.0, 2.0, 2.0])

# ---------------------------------------------------------------- normalization

BN = (x(2, 3, 2, 2), f32([1.5, -0.5, 2]), f32([0.25, 1, -1]), f32([0.1, -0.2, 0.3]), f32([0.5, 2, 1.25]))
case("BatchNormalization", 1, *BN, consts=(1, 2, 3, 4), is_test=1, consumed_inputs=[0, 0, 0, 1, 1],
     like=(9, {}, None))
case("BatchNormalization", 7, *BN, consts=(1, 2, 3, 4), epsilon=0.125)
case("BatchNormalization", 9, *BN, consts=(1, 2, 3, 4), epsilon=0.125)
case("BatchNormalization", 14, *BN, consts=(1, 2, 3, 4), epsilon=0.125)
case("BatchNormalization", 14, *BN, tag="training", types=(FLOAT,) * 3, training_mode=1, momentum=0.75)
case("InstanceNormalization", 1, x(2, 3, 2, 4), f32([1, 2, 3]), f32([0, 0.5, -1]), consts=(1, 2), epsilon=0.01,
     consumed_inputs=[0], like=(6, dict(epsilon=0.01), None))
case("InstanceNormalization", 22, x(2, 3, 2, 4), f32([1, 2, 3]), f32([0, 0.5, -1]), consts=(1, 2), epsilon=0.01)
case("LRN", 1, x(1, 5, 2, 3), size=3, alpha=0.25, beta=0.5, bias=2.0, like=(13, None, None))
case("Dropout", 1, x(2, 3), is_test=1, ratio=0.25, consumed_inputs=[1], like=(7, {}, None))
case("Dropout", 6, x(2, 3), is_test=1, like=(7, {}, None))
case("Dropout", 7, x(2, 3), ratio=0.25)
case("Dropout", 12, x(2, 3), f32(0.75), np.array(False), consts=(1, 2))
case("Dropout", 22, x(2, 3), f32(0.75), np.array(False), consts=(1, 2))
case("Softmax", 11, x(2, 3, 4))
case("Softmax", 11, x(2, 3, 4), tag="axis0", axis=0)
case("Softmax", 11, x(2, 3, 4), tag="negative", axis=-1)

# ---------------------------------------------------------------- activations

V = x(3, 4)
case("Relu", 1, V, consumed_inputs=[0], like=(13, {}, None))
case("Relu", 13, V)
case("LeakyRelu", 1, V, alpha=0.25, consumed_inputs=[0], like=(6, dict(alpha=0.25), None))
case("PRelu", 1, x(2, 3, 2), f32([0.5, -1, 2]), consumed_inputs=[0, 0], like=(7, {}, (x(2, 3, 2), f32([[0.5], [-1], [2]]))))
case("PRelu", 1, x(2, 3, 2), f32([0.5]), tag="one", like=(7, {}, None))
case("PRelu", 7, x(2, 3, 2), f32([0.5, -1]))
case("PRelu", 9, x(2, 3, 2), f32([[0.5], [-1], [2]]))
case("Elu", 1, V, alpha=2.0, consumed_inputs=[0], like=(6, dict(alpha=2.0), None))
case("Elu", 22, V, alpha=2.0)
case("Selu", 1, V, like=(6, dict(alpha=1.6732, gamma=1.0507), None))
case("Selu", 22, V)
case("Softplus", 22, V)
case("Sigmoid", 1, V, like=(6, None, None))
case("Tanh", 1, V, like=(6, None, None))
case("HardSigmoid", 1, V, alpha=0.5, like=(6, None, None))
case("HardSigmoid", 22, V, alpha=0.5, beta=0.25)
case("HardSwish", 22, V * 4)
case("Clip", 1, V, min=-0.5, max=1.0, consumed_inputs=[0], like=(6, dict(min=-0.5, max=1.0), None))
case("Clip", 11, V, None, f32(0.75), consts=(2,))
case("Clip", 12, V, f32(-0.5), f32(0.75), consts=(1, 2))
case("Clip", 12, np.array([-3, 5, 9], np.int64), ints(0)[0], None, tag="int64", consts=(1,), types=(INT,))

# ---------------------------------------------------------------- arithmetic

A, B = x(2, 3, 4), pos(3)
for op in ("Add", "Sub", "Mul", "Div"):
    case(op, 1, A, B, broadcast=1, axis=1, consumed_inputs=[0, 0], like=(7, {}, (A, B.reshape(3, 1))))
    case(op, 1, A, pos(2, 3, 4), tag="same", like=(7, {}, None))
    case(op, 6, A, pos(4), tag="suffix", broadcast=1, like=(7, {}, None))
    case(op, 6, A, pos(3, 4), tag="negative", broadcast=1, axis=-2, like=(7, {}, None))
    case(op, (7, 13), A, pos(2, 1, 4))
case("Pow", 1, pos(2, 3), pos(2), tag="axis", broadcast=1, axis=0, like=(7, {}, (pos(2, 3), pos(2, 1))))
case("Pow", 7, pos(2, 3), pos(3))
case("Sqrt", 1, pos(2, 3), like=(6, None, None))
case("Exp", 1, V, like=(6, None, None))
case("Sum", 1, V, x(3, 4, step=5), x(3, 4, step=3), consumed_inputs=[0, 0, 0], like=(8, {}, None))
case("Sum", 8, x(3, 1), x(4), x(3, 4))

# ---------------------------------------------------------------- products and reductions

GEMM = (x(3, 2), x(2, 4, step=5), x(4))
case("Gemm", 1, *GEMM, broadcast=1, alpha=0.5, beta=2.0, like=(7, dict(alpha=0.5, beta=2.0), None))
case("Gemm", 1, x(2, 3), x(4, 2), x(3, 4), tag="transposed", transA=1, transB=1, like=(7, None, None))
case("Gemm", 7, *GEMM, consts=(1, 2), alpha=0.5)
case("Gemm", 9, x(3, 2), x(2, 4), x(3, 1))
case("Gemm", 11, x(3, 2), x(4, 2), consts=(1,), transB=1)
case("MatMul", 9, x(2, 3, 4), x(4, 5, step=5))
for op, versions in (("ReduceMean", (11,)), ("ReduceSum", (11,))):
    case(op, versions, x(2, 3, 4), axes=[-1, 0], keepdims=0)
    case(op, versions, x(2, 3, 4), tag="all")
case("ReduceMean", 18, x(2, 3, 4), ints(1), consts=(1,), keepdims=0)
case("ReduceMean", 18, x(2, 3, 4), tag="noop", noop_with_empty_axes=1)

# ---------------------------------------------------------------- movement

case("Concat", 1, x(2, 1, 2), x(2, 3, 2), like=(4, dict(axis=1), None))
case("Concat", 11, x(2, 2), x(2, 3), axis=-1)
case("Split", 1, x(2, 6), axis=1, split=[1, 2, 3], types=(FLOAT,) * 3, like=(2, None, None))
case("Split", 1, x(2, 6), f32([4, 2]), tag="input", consts=(1,), axis=1, types=(FLOAT,) * 2,
     like=(2, dict(axis=1, split=[4, 2]), (x(2, 6),)))
case("Split", 11, x(2, 6), axis=-1, types=(FLOAT,) * 3)
case("Split", 18, x(2, 7), axis=1, num_outputs=3, types=(FLOAT,) * 3)
case("Slice", 10, x(3, 5, 4), ints(0, -1), ints(9, -6), ints(0, 1), ints(2, -2), consts=(1, 2, 3, 4))
case("Slice", 11, x(3, 5, 4), ints(1), ints(100), ints(-1), consts=(1, 2, 3))
case("Pad", 1, x(2, 3), paddings=[0, 1, 2, 0], value=0.5, like=(2, dict(pads=[0, 1, 2, 0], value=0.5), None))
case("Pad", 11, x(1, 1, 3, 4), ints(0, 0, 1, 2, 0, 0, 2, 1), consts=(1,), mode="reflect")
case("Pad", 11, x(2, 3), ints(1, 0, 0, 2), f32(0.75), tag="constant", consts=(1, 2))
case("Pad", 18, x(2, 3, 4), ints(1, 2, 0, 1), None, ints(0, -1), tag="axes", consts=(1, 3))
case("Pad", 19, x(2, 3, 4), ints(0, 2, 3, 1, 0, 1), consts=(1,), mode="wrap")
case("Pad", 21, x(2, 4), ints(1, -1, 0, 2), consts=(1,), mode="edge")
case("Transpose", 21, x(2, 3, 4), perm=[2, 0, 1])
case("Gather", 11, x(3, 4), ints(-1, 0, 2), consts=(1,), axis=-1)
case("Identity", (1, 13, 14, 19, 21), x(2, 3))
case("Reshape", 1, x(2, 3, 4), shape=[0, -1, 2], consumed_inputs=[0],
     like=(5, {}, (x(2, 3, 4), ints(0, -1, 2))))
case("Reshape", (13, 19, 21), x(2, 3, 4), ints(4, 0, -1), consts=(1,))
case("Reshape", 19, x(3, 0, 4), ints(2, 0), tag="allowzero", consts=(1,), allowzero=1)
case("Flatten", 9, x(2, 3, 4), axis=2)
case("Flatten", (11, 21), x(2, 3, 4), axis=-1)
case("Squeeze", 11, x(1, 3, 1, 2), axes=[-2])
case("Squeeze", 11, x(1, 3, 1, 2), tag="all")
case("Squeeze", 21, x(1, 3, 1, 2), ints(0, 2), consts=(1,))
case("Unsqueeze", 21, x(3, 2), ints(0, -1), consts=(1,))

# ---------------------------------------------------------------- types, constants and shapes

case("Cast", 1, V * 3, to="INT64", types=(INT,), like=(6, dict(to=INT), None))
case("Cast", 6, V * 3, to=TensorProto.INT32, types=(TensorProto.INT32,))
case("Cast", 9, ints(0, 3, -1), to=TensorProto.BOOL, types=(TensorProto.BOOL,))
case("Cast", (19, 21), V * 3, to=INT, saturate=1, types=(INT,))
case("Constant", 9, value=make_tensor("v", x(2, 2)))
case("Constant", 11, value=make_tensor("v", x(3)))
case("Constant", (19, 21), value_floats=[0.5, -2.0])
case("ConstantOfShape", (20, 21), ints(2, 3), consts=(0,), value=make_tensor("v", f32([1.5])))
case("Shape", 13, x(2, 3, 4), types=(INT,))
case("Shape", 1, x(2, 3, 4), types=(INT,))
case("Shape", (19, 21), x(2, 3, 4), start=1, end=-1, types=(INT,))

# ---------------------------------------------------------------- operators beyond the core

BOOL = TensorProto.BOOL
P, Q = x(2, 3) > 0, x(3, step=5) > 0
for op in ("And", "Or", "Xor"):
    case(op, 1, P, Q, types=(BOOL,), broadcast=1, like=(7, {}, None))
    case(op, 7, P, Q, types=(BOOL,))
C, D = (x(2, 3) * 4).astype(np.int64), ints(-2, 1, 4)
case("Equal", 1, C, D, types=(BOOL,), broadcast=1, axis=1, like=(7, {}, None))
case("Equal", 7, C, D, types=(BOOL,))
case("Equal", (11, 13, 19), x(2, 3), x(3, step=5), types=(BOOL,))
for op in ("Less", "Greater"):
    case(op, 1, x(2, 3), x(2, step=5), types=(BOOL,), broadcast=1, axis=0, like=(7, {}, (x(2, 3), x(2, 1, step=5))))
    case(op, (7, 9, 13), x(2, 3), x(3, step=5), types=(BOOL,))
    case(op + "OrEqual", (12, 16), x(2, 3), x(3, step=5), types=(BOOL,))
for op in ("Max", "Min", "Mean"):
    case(op, 1, V, x(3, 4, step=5), consumed_inputs=[0, 0], like=(8, {}, None))
    case(op, 6, V, x(3, 4, step=5), x(3, 4, step=3), like=(8, {}, None))
    case(op, (8, 13), V, x(4, step=5), x(3, 1, step=3))
for op in ("Max", "Min"):
    case(op, 12, C, D, types=(INT,))
for op in ("Abs", "Neg", "Floor", "Ceil"):
    case(op, 1, V, like=(6, None, None))
    case(op, 13, V)
for op in ("Log", "Reciprocal", "Sqrt"):
    case(op, 1, pos(3, 4), tag="positive", like=(6, None, None))
    case(op, (6, 13), pos(3, 4), tag="positive")
case("Erf", (9, 13), V)
case("Not", 1, P, types=(BOOL,))
case("Softsign", 1, V)
case("ThresholdedRelu", 10, V, alpha=0.5)
case("Tile", 1, x(2, 3), f32(2), f32(1), consts=(1, 2), like=(6, {}, (x(2, 3), ints(1, 2))))
case("Tile", (6, 13), x(2, 3), ints(2, 2), consts=(1,))
case("LogSoftmax", (1, 11), x(2, 3, 4), axis=1)
case("LogSoftmax", 13, x(2, 3, 4), axis=1)
case("DepthToSpace", 1, x(1, 8, 2, 3), blocksize=2)
case("DepthToSpace", 11, x(1, 8, 2, 3), blocksize=2, mode="CRD")
case("SpaceToDepth", (1, 13), x(1, 2, 4, 6), blocksize=2)
case("Size", (1, 13), x(2, 3), types=(INT,))
case("Expand", (8, 13), x(3, 1), ints(2, 1, 4), consts=(1,))
case("Where", (9, 16), P, x(2, 3), x(1, step=5))
for op in ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
    case(op, (1, 11, 13), x(2, 3, 4), axes=[1], keepdims=0)
    case(op, 18, x(2, 3, 4), ints(-1, 0), consts=(1,))
    case(op, 18, x(2, 3, 4), tag="all", keepdims=0)
case("ReduceLogSum", (1, 11, 13), pos(2, 3, 4), axes=[1])
case("ReduceLogSum", 18, pos(2, 3, 4), ints(1), consts=(1,))
case("ReduceSum", 13, x(2, 3, 4), ints(), consts=(1,), tag="noop", noop_with_empty_axes=1)
for op in ("ReduceMax", "ReduceMin"):
    case(op, 12, C, axes=[0], types=(INT,))
    case(op, 20, x(2, 3, 4), ints(1), consts=(1,))
case("LayerNormalization", 17, x(2, 3, 4), x(4), pos(4), consts=(1, 2), axis=-1)
case("GroupNormalization", 21, x(2, 4, 3, 3), pos(4), x(4), consts=(1, 2), num_groups=2)
case("HardSwish", 14, V * 4)
case("Gelu", 20, V)
case("Gelu", 20, V, tag="tanh", approximate="tanh")
case("Mish", (18, 22), V)
case("CastLike", (15, 19, 21), V * 3, ints(1), types=(INT,))
