#!/usr/bin/python3
"""Random nodes of Conv, ConvTranspose, the pools, Resize, Upsample, Pad and their like over one to three axes, with the
results of ONNX Runtime, in the layout of ONNX's backend cases: run by the suite's two runners.

  tests/e2e/windows_ort.py FOLDER [--seed N] [--count N]
  build/tests/frontend_test_onnx_suite -v FOLDER test            evaluator
  build/tests/codegen_test_onnx_backend -v FOLDER test           compiled

Nodes that ONNX Runtime refuses are left out. Known differences: numbers below 1e-5 that are differences of larger ones. Needs node, npm, python3-onnx and ../shared.
"""
import argparse
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Maker:
    def __init__(self, folder, seed):
        self.root = os.path.join(folder, "node")
        self.rng = np.random.RandomState(seed)
        self.n = 0
        shutil.rmtree(self.root, ignore_errors=True)

    def pick(self, *choices):
        return choices[self.rng.randint(len(choices))]

    def each(self, rank, *choices):
        return [self.pick(*choices) for _ in range(rank)]

    def floats(self, *shape):
        return self.rng.randn(*shape).astype(np.float32)

    def case(self, op, x, attrs, inputs=(), outputs=1, opset=13):
        folder = os.path.join(self.root, f"test_{self.n:04}_{op.lower()}")
        self.n += 1
        data = os.path.join(folder, "test_data_set_0")
        os.makedirs(data)
        names = ["x"] + ["" if v is None else f"i{k}" for k, v in enumerate(inputs)]
        while names[-1] == "":
            names.pop()
        node = helper.make_node(op, names, [f"y{k}" for k in range(outputs)], **attrs)
        graph = helper.make_graph(
            [node], "g", [helper.make_tensor_value_info("x", TYPES[str(x.dtype)], x.shape)],
            [onnx.ValueInfoProto(name=o) for o in node.output],
            [numpy_helper.from_array(v, f"i{k}") for k, v in enumerate(inputs) if v is not None])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        onnx.save(model, os.path.join(folder, "model.onnx"))
        np.save(os.path.join(folder, "x.npy"), x)
        put(os.path.join(data, "input_0.pb"), x, "x")
        if not self.run_peer(folder, outputs):
            shutil.rmtree(folder)

    def run_peer(self, folder, outputs):
        at = os.path.join(folder, "y")
        done = subprocess.run(["node", peers.ort_js(), "run", os.path.join(folder, "model.onnx"),
                               os.path.join(folder, "x.npy"), at], capture_output=True)
        for k in range(outputs if done.returncode == 0 else 0):
            y = np.load(f"{at}_{k}.npy")
            put(os.path.join(folder, "test_data_set_0", f"output_{k}.pb"), y, f"y{k}")
        return done.returncode == 0


def put(path, array, name):
    with open(path, "wb") as f:
        f.write(numpy_helper.from_array(array, name).SerializeToString())


def conv(m):
    rank, group = m.pick(1, 2, 3, 3), m.pick(1, 1, 2, 3)
    inner, outer = m.pick(1, 2, 4), m.pick(1, 2, 3) * group
    attrs = {"strides": m.each(rank, 1, 1, 2, 3), "group": group}
    mode = m.pick("", "", "SAME_UPPER", "SAME_LOWER", "VALID")
    if mode:
        attrs["auto_pad"] = mode
    else:
        attrs["pads"] = m.each(2 * rank, 0, 1, 2)
        attrs["dilations"] = m.each(rank, 1, 1, 2)
    m.case("Conv", m.floats(m.pick(1, 2), inner * group, *m.each(rank, 5, 6, 7, 9)), attrs,
           [m.floats(outer, inner, *m.each(rank, 1, 2, 3)), m.pick(None, m.floats(outer))])


def conv_transpose(m):
    rank, group = m.pick(1, 2, 2, 3), m.pick(1, 1, 2, 3)
    inner, outer = m.pick(1, 2, 4) * group, m.pick(1, 2, 3)
    kernel, dilation = m.each(rank, 1, 2, 3, 4), m.each(rank, 1, 1, 2)
    stride, size = m.each(rank, 1, 2, 2, 3), m.each(rank, 1, 3, 5, 6)
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(size, stride, kernel, dilation)]
    attrs = {"strides": stride, "dilations": dilation, "group": group}
    how = m.pick("pads", "pads", "added", "shape", "same")
    if how in ("pads", "added"):
        attrs["pads"] = [m.pick(0, 1) if full[i % rank] > 3 else 0 for i in range(2 * rank)]
    if how == "added":
        attrs["output_padding"] = [m.pick(0, min(1, max(s, d) - 1)) for s, d in zip(stride, dilation)]
    if how == "shape":
        attrs["output_shape"] = [max(1, f - m.pick(0, 1, 2)) for f in full]
    if how in ("shape", "same"):
        attrs["auto_pad"] = m.pick("SAME_UPPER", "SAME_LOWER")
    m.case("ConvTranspose", m.floats(m.pick(1, 2), inner, *size), attrs,
           [m.floats(inner, outer, *kernel), m.pick(None, m.floats(outer * group))])


def pool(m):
    rank, op = m.pick(1, 2, 3), m.pick("MaxPool", "MaxPool", "AveragePool", "LpPool")
    kernel, outputs = m.each(rank, 1, 2, 3), 1
    attrs = {"kernel_shape": kernel, "strides": m.each(rank, 1, 2, 3)}
    mode = m.pick("", "", "", "SAME_UPPER", "SAME_LOWER", "VALID")
    if mode:
        attrs["auto_pad"] = mode
    else:
        attrs["pads"] = [m.rng.randint(kernel[i % rank]) for i in range(2 * rank)]
        attrs["dilations"] = m.each(rank, 1, 1, 2)
        attrs["ceil_mode"] = m.pick(0, 1)
    if op == "MaxPool":
        outputs = m.pick(1, 2)
        attrs["storage_order"] = m.pick(0, 1) if outputs == 2 and rank < 3 else 0
    elif op == "AveragePool":
        attrs["count_include_pad"] = m.pick(0, 1)
    else:
        attrs["p"] = m.pick(1, 2, 3)
    m.case(op, m.floats(m.pick(1, 2), m.pick(1, 3, 17), *m.each(rank, 5, 6, 7, 8)), attrs,
           outputs=outputs, opset=22)


def resize(m):
    mode, opset = m.pick("nearest", "linear", "cubic"), m.pick(11, 13, 18, 19)
    rank = m.pick(2, 4, 4) if mode == "cubic" else m.pick(1, 2, 3, 4, 4, 5)
    how = m.pick("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")
    shape = ([m.pick(1, 2), m.pick(1, 3, 17)] if rank > 3 else []) + m.each(rank - 2 if rank > 3 else rank, 3, 4, 5, 7)
    attrs = {"mode": mode, "coordinate_transformation_mode": how}
    roi = np.zeros(0, np.float32) if opset < 13 else None
    if mode == "nearest":
        attrs["nearest_mode"] = m.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        attrs["cubic_coeff_a"] = m.pick(-.75, -.5)
        attrs["exclude_outside"] = m.pick(0, 1) if how != "tf_crop_and_resize" else 0
    axes = range(rank - min(rank, 2), rank)
    if how == "tf_crop_and_resize":
        attrs["extrapolation_value"] = m.pick(0., 7.)
        roi = np.array([0.] * rank + [1.] * rank, np.float32)
        for i in axes:
            roi[i], roi[rank + i] = m.pick(0, .2, .4, -.3), m.pick(1, .8, .6, 1.4)
    scales, sizes = [1.] * rank, list(shape)
    for i in axes:
        scales[i] = m.pick(.5, 2., 1.5, 3., .6)
        sizes[i] = m.pick(1, 2, 3, 5, 6, 8, 9, 11)
    given = [np.array(scales, np.float32), None] if m.pick(0, 1) else [None, np.array(sizes, np.int64)]
    if opset < 13 and given[0] is None:
        given[0] = np.zeros(0, np.float32)
    m.case("Resize", m.floats(*shape), attrs, [roi] + given, opset=opset)


def upsample(m):
    scales = [1., 1., m.pick(1., 2., 3., 1.5), m.pick(2., 1., 4.)]
    x, mode = m.floats(m.pick(1, 2), m.pick(1, 3, 20), m.pick(3, 5), m.pick(4, 7)), m.pick("nearest", "linear")
    m.case("Upsample", x, {"mode": mode}, [np.array(scales, np.float32)], opset=9)
    m.case("Upsample", x, {"mode": mode, "scales": scales}, opset=7)


def pad(m):
    opset = m.pick(13, 18, 19, 21)
    mode = m.pick("constant", "edge", "reflect", *(["wrap"] if opset >= 19 else []))
    value = np.array(3, np.float32) if mode == "constant" and m.pick(0, 1) else None
    pads, axes = m.each(6, -1, 0, 1, 2), None
    if opset >= 18 and m.pick(0, 1):
        pads, axes = [1, 2, 2, 1], np.array([m.pick(-1, 2), 0], np.int64)
    m.case("Pad", m.floats(3, 4, 5), {"mode": mode}, [np.array(pads, np.int64), value, axes], opset=opset)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("folder")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=30, help="of each kind")
    a = p.parse_args()
    m = Maker(a.folder, a.seed)
    for make in (conv, conv_transpose, pool, resize, upsample, pad):
        for _ in range(a.count):
            make(m)
    print(len(os.listdir(m.root)), "cases in", a.folder)


if __name__ == "__main__":
    main()
