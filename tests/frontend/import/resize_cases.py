"""Resize and Upsample in all modes, as small nodes with ONNX Runtime's results in resize_cases.npz: every coordinate
transformation, rounding, cubic coefficient, exclude_outside, antialias, policy, axes, region, at scales and sizes that do
not divide. Used by make_resize_cases.py, which writes the results, and by test_resize.py.
"""
import os
from collections import defaultdict, namedtuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "resize_cases.npz")
TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}

Case = namedtuple("Case", "op opset dims dtype attrs roi scales sizes")
CASES = []

IMAGE = (1, 1, 5, 7)
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
               "tf_crop_and_resize", "half_pixel_symmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SCALES = ((1.5, .6), (.7, 2.3), (1.1, .9), (1.1, 1.05), (1.25, 1), (.34, 1.75))
SIZES = ((7, 4), (3, 10), (8, 1), (5, 6))
MODES = [dict(mode="nearest", nearest_mode=r) for r in ROUNDINGS] + [dict(mode="linear")] + \
    [dict(mode="linear", antialias=1, exclude_outside=e) for e in (0, 1)] + \
    [dict(mode="cubic", cubic_coeff_a=a, exclude_outside=e) for a in (-.75, -.5) for e in (0, 1)] + \
    [dict(mode="cubic", cubic_coeff_a=a, exclude_outside=e, antialias=1) for a, e in ((-.75, 0), (-.5, 1))]
PLAIN = [dict(mode=m) for m in ("nearest", "linear", "cubic")]


def case(op, opset, dims, attrs, scales=None, sizes=None, roi=None, dtype="float32"):
    crops = attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    CASES.append(Case(op, opset, dims, dtype, dict(attrs, **({"extrapolation_value": 7.} if crops else {})),
                      roi if crops else None, scales, sizes))


def each_target(lead=()):
    return [dict(scales=(*[1.] * len(lead), *s)) for s in SCALES] + [dict(sizes=(*lead, *s)) for s in SIZES]


for how in COORDINATES:
    region = (0, 0, .1, .2, 1, 1, .8, 1.3)
    at = dict(coordinate_transformation_mode=how)
    for target in each_target(IMAGE[:2]):
        for mode in MODES:
            case("Resize", 19, IMAGE, dict(mode, **at), roi=region, **target)
    for policy in ("not_larger", "not_smaller"):
        for mode in PLAIN:
            for size in ((6, 6), (12, 9), (2, 11)):
                case("Resize", 19, IMAGE, dict(mode, axes=[2, 3], keep_aspect_ratio_policy=policy, **at), sizes=size,
                     roi=(.1, .2, .8, 1.3))
    for mode in PLAIN:
        for axes in ([3, 2], [-1], [-2, -1]):
            part = region[2:3 + (len(axes) > 1)] + region[6:7 + (len(axes) > 1)]
            case("Resize", 18, IMAGE, dict(mode, axes=axes, **at), scales=(1.4, .6)[:len(axes)], roi=part)
        for opset in (11, 13) if how != "half_pixel_symmetric" else ():
            case("Resize", opset, IMAGE, dict(mode, **at), scales=(1, 1, 1.3, .8), roi=region)
    for dims, scales in (((6,), (1.7,)), ((5, 7), (1.5, .6)), ((2, 5, 4), (1, 1.5, .6)), ((1, 2, 3, 5, 4), (1, 1, 1.5, .6, 1.3)),
                         ((1, 5, 7, 2), (1, 1.5, 1.6, 1))):
        for mode in PLAIN if len(dims) in (2, 4) else PLAIN[:2] if len(dims) > 1 else PLAIN[:1]:
            case("Resize", 19, dims, dict(mode, **at), scales=scales, roi=(.1,) * len(dims) + (.8,) * len(dims))
for target in each_target(IMAGE[:2]):
    for dtype in ("uint8", "int32"):
        for mode in (dict(mode="nearest"), dict(mode="linear"), dict(mode="linear", antialias=1)):
            case("Resize", 19, IMAGE, mode, dtype=dtype, **target)
for scales in ((1., 1., 1.5, 2.3), (1., 1., 1.1, 1.05), (1., 1., 2., 1.)):
    for mode in PLAIN[:2]:
        case("Upsample", 7, IMAGE, dict(mode, scales=list(scales)))
        case("Upsample", 9, IMAGE, mode, scales=scales)
        case("Resize", 10, IMAGE, mode, scales=tuple(.5 * s if s > 1 else s for s in scales))


def numbers(dims, dtype):
    n = int(np.prod(dims))
    if dtype == "float32":
        return ((np.arange(n) * 7 % 13 - 6) / 4 + np.sin(np.arange(n)) / 8).astype(dtype).reshape(dims)
    return (np.arange(n) * 37 % 251).astype(dtype).reshape(dims)


def input_name(c):
    return "_".join(["x", c.dtype, *map(str, c.dims)])


def make_model(cases):
    """One graph with a node for each of the cases, which share an opset: y0, y1 ..., and {input: array}."""
    nodes, inits, feeds, outputs = [], [], {}, []

    def constant(values, dtype):
        if values is None:
            return ""
        inits.append(numpy_helper.from_array(np.array(values, dtype), f"c{len(inits)}"))
        return inits[-1].name

    for i, c in enumerate(cases):
        feeds[input_name(c)] = numbers(c.dims, c.dtype)
        inputs = [input_name(c)]
        if c.opset > 10:
            empty = () if c.opset < 13 else None
            inputs += [constant(c.roi or empty, np.float32), constant(c.scales or empty, np.float32),
                       constant(c.sizes, np.int64)]
        elif c.scales:
            inputs.append(constant(c.scales, np.float32))
        while not inputs[-1]:
            inputs.pop()
        nodes.append(helper.make_node(c.op, inputs, [f"y{i}"], name=f"node{i}", **c.attrs))
        outputs.append(helper.make_tensor_value_info(f"y{i}", TYPES[c.dtype], None))
    graph = helper.make_graph(nodes, "resize", [helper.make_tensor_value_info(k, TYPES[str(v.dtype)], v.shape)
                                                for k, v in feeds.items()], outputs, inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", cases[0].opset)], producer_name="hone")
    model.ir_version = 8
    return model, feeds


def by_opset():
    """{opset: [number of the case]}"""
    groups = defaultdict(list)
    for i, c in enumerate(CASES):
        groups[c.opset].append(i)
    return groups


def save_golden(results):
    """{number of the case: array}; mantissas of 17 bits, to keep it small."""
    flat = np.concatenate([y.astype(np.float32).ravel() for y in results.values()])
    bits = (flat.view(np.uint32) + 0x20) & ~np.uint32(0x3f)
    dims = [(i, y.ndim, *y.shape) for i, y in results.items()]
    np.savez_compressed(GOLDEN, data=bits, dims=np.array([d for case_dims in dims for d in case_dims], np.int16))


def load_golden():
    stored, results, at = np.load(GOLDEN), {}, 0
    data, dims = stored["data"].view(np.float32), list(stored["dims"])
    while dims:
        i, rank = int(dims.pop(0)), int(dims.pop(0))
        shape = [int(dims.pop(0)) for _ in range(rank)]
        results[i] = data[at:at + int(np.prod(shape))].reshape(shape)
        at += results[i].size
    return results
