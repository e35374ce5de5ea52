"""hone finetune of networks that give several rows of numbers for each image (a class per token, per box): refused with what to do,
whatever turns them into the output; with a mean over the rows they train, and so they do where the rows are a map (test_masks.py).
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, main, ok, run, temp

SIZE, CHANNELS, CLASSES = 16, 8, 5
ROWS = "several rows of numbers for each image"


def model(name, *tail, batch="N"):
    """A convolution, then `tail`: (op, further inputs as arrays, attributes), the last of which makes y."""
    random = np.random.RandomState(1)
    nodes, inits = [], []

    def add(op, value, out, *more, **attrs):
        names = []
        for array in more:
            array = np.asarray(array) if not isinstance(array, tuple) else random.standard_normal(array).astype(np.float32)
            names.append(f"c{len(inits)}")
            inits.append(numpy_helper.from_array(array, names[-1]))
        nodes.append(helper.make_node(op, [value, *names], [out], name=f"{op}_{len(nodes)}", **attrs))

    add("Conv", "x", "t", (CHANNELS, 3, 3, 3), pads=[1] * 4, strides=[4, 4])
    for i, (op, more, attrs) in enumerate(tail):
        add(op, nodes[-1].output[0], "y" if i == len(tail) - 1 else f"t{i}", *more, **attrs)
    g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
                          [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], inits)
    path = temp(name + ".onnx")
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 14)]), path)
    return path


def ints(*v):
    return np.array(v, np.int64)


PIXELS = ("Conv", [(CLASSES, CHANNELS, 1, 1)], {})
TOKENS = [("Reshape", [ints(0, CHANNELS, 16)], {}), ("Transpose", [], {"perm": [0, 2, 1]})]
PRODUCT = ("MatMul", [(CHANNELS, CLASSES)], {})
SOFTMAX = ("Softmax", [], {"axis": 1})
MAPS = {
    "pixels": [PIXELS],
    "pixels_softmax": [PIXELS, SOFTMAX],
    "pixels_last": [PIXELS, ("Transpose", [], {"perm": [0, 2, 3, 1]})],
    "pixels_full_size": [PIXELS, ("Resize", [np.array([], np.float32), np.array([1, 1, 4, 4], np.float32)], {})],
}
SEVERAL = {
    "pixels_transposed": [PIXELS, ("ConvTranspose", [(CLASSES, CLASSES, 4, 4)], {"strides": [4, 4]})],
    "pixels_flat": [PIXELS, ("Flatten", [], {"axis": 1})],
    "tokens": [*TOKENS, PRODUCT],
    "tokens_softmax": [*TOKENS, PRODUCT, ("Softmax", [], {"axis": -1})],
    "tokens_flat": [*TOKENS, PRODUCT, ("Reshape", [ints(0, 16 * CLASSES)], {})],
    "tokens_turned": [*TOKENS, PRODUCT, ("Transpose", [], {"perm": [0, 2, 1]})],
    "boxes": [("Conv", [(3 * (CLASSES + 5), CHANNELS, 1, 1)], {}), ("Reshape", [ints(0, 3, CLASSES + 5, 4, 4)], {}),
              ("Transpose", [], {"perm": [0, 1, 3, 4, 2]}), ("Reshape", [ints(0, 48, CLASSES + 5)], {})],
}
MASK = [("Conv", [(1, CHANNELS, 1, 1)], {}), ("Sigmoid", [], {})]
MERGED = [*TOKENS, ("Reshape", [ints(-1, CHANNELS)], {}), ("MatMul", [(CHANNELS, CLASSES)], {})]
ONE = {
    "pixels_mean": [PIXELS, ("GlobalAveragePool", [], {}), ("Flatten", [], {})],
    "tokens_mean": [*TOKENS, PRODUCT, ("ReduceMean", [], {"axes": [1], "keepdims": 0})],
}


HEADS = ["--classes", 3], ["--keep-head"], ["--classes", 2, "--binary"], ["--classes", 3, "--multi-label"]


def refused(name, tail, heads=HEADS, why=ROWS):
    path = model(name, *tail)
    for kind in heads:
        code, out, err = run(HONE, "finetune", path, "-o", temp(name), *kind)
        assert code == 1 and err.count("\n") == 1 and why in err, f"{name} {kind}: exit code {code}: {out}{err}"
        assert not os.path.exists(temp(name)), name


def test_several_rows():
    for name, tail in SEVERAL.items():
        refused(name, tail)
    refused("mask", MASK, HEADS[:1], why="a map of one channel, which tells two classes apart: --classes wants two, not 3")
    refused("mask", MASK, HEADS[3:], why="NYI: --multi-label of a network that labels pixels")
    refused("merged", MERGED, why="not one row of")


def test_maps():
    """In whatever form, they are read as such."""
    for name, tail in MAPS.items():
        for batch in ("N", 1):
            path = model(name, *tail, batch=batch)
            for kind in (["--classes", 3], ["--keep-head"], ["--classes", 3, "--head", "Conv_1"]):
                ok(HONE, "inspect", path, "--finetune", *kind)
        code, out, err = run(HONE, "finetune", path, "-o", temp(name), "--classes", 3, "-O0")
        side = 16 if name == "pixels_full_size" else 4
        assert code == 0 and f"a class for each of {side} x {side} places" in out + err, (name, out, err)


def test_one_row():
    random = np.random.RandomState(2)
    np.save(temp("x.npy"), random.randint(0, 256, (12, SIZE, SIZE, 3)).astype(np.uint8))
    np.save(temp("y.npy"), np.arange(12) % 3)
    data = f"{temp('x.npy')},{temp('y.npy')}"
    for name, tail in ONE.items():
        ok(HONE, "finetune", model(name, *tail), "-o", temp(name), "--classes", 3, "--freeze", "none")
        tuned = temp(name + "_tuned.onnx")
        ok(temp(name), "train", data, "--epochs", 1, "--batch", 5, "--checkpoint", temp(name + "_state"), "-o", tuned)
        ok(temp(name), "eval", data, "--checkpoint", temp(name + "_state"))


if __name__ == "__main__":
    main(sys.modules[__name__])
