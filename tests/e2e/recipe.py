"""A small convolutional network, pictures for it and runs of its fine-tune programs: what tests of training's options share."""
import glob
import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, TEMP, ok, run, temp

SIZE, CLASSES, WIDE = 12, 4, 16
IMAGE = ["--mean", 0.5, "--std", 0.25, "--resize", 0]


def network(path, hidden=0):
    """conv -> relu -> conv -> relu -> pool -> [fc -> relu ->] fc, random but for its shape."""
    r = np.random.default_rng(4)
    init = {"c1.w": r.normal(0, 0.5, (WIDE, 1, 3, 3)), "c1.b": r.normal(0, 0.1, WIDE),
            "c2.w": r.normal(0, 0.15, (WIDE, WIDE, 3, 3)), "c2.b": r.normal(0, 0.1, WIDE)}
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [node("Conv", ["x", "c1.w", "c1.b"], ["c1"], "c1", pads=[1, 1, 1, 1]), node("Relu", ["c1"], ["a1"], "a1"),
             node("Conv", ["a1", "c2.w", "c2.b"], ["c2"], "c2", strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["c2"], ["a2"], "a2"),
             node("GlobalAveragePool", ["a2"], ["p"], "p"), node("Flatten", ["p"], ["f"], "f"),
             node("Gemm", ["f", "fc.w", "fc.b"], ["y"], "fc", transB=1)]
    init.update({"fc.w": r.normal(0, 1, (3, WIDE)), "fc.b": np.zeros(3)})
    graph = helper.make_graph(nodes, "net", [info("x", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])], [info("y", TensorProto.FLOAT, ["N", 3])],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in init.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def pictures(name, per_class, seed):
    """Stripes of four directions in noise."""
    r = np.random.default_rng(seed)
    y = np.repeat(np.arange(CLASSES), per_class).astype(np.int32)
    i, j = np.mgrid[:SIZE, :SIZE]
    wave = np.stack([np.sin(w + 0.3) for w in (i * 1.3, j * 1.3, (i + j) * 0.9, (i - j) * 0.9)])
    x = 128 + 50 * wave[y] * r.choice([-1, 1], (len(y), 1, 1)) + r.normal(0, 60, (len(y), SIZE, SIZE))
    np.save(temp(name + "-x.npy"), np.clip(x, 0, 255).astype(np.uint8))
    np.save(temp(name + "-y.npy"), y)


DATA = ("train-x.npy,train-y.npy", "--val", "val-x.npy,val-y.npy")


def finetune(name, *flags):
    if not os.path.exists(temp(name)):
        ok(HONE, "finetune", temp("net.onnx"), "-o", temp(name), "--classes", CLASSES, *IMAGE, *flags)


def train(name, *flags, folder="ck", code=0):
    """What it said, and the epochs of its log."""
    got, _, err = run(temp(name), "train", *DATA, "--checkpoint", folder, "-o", "t.onnx", "--log", "log.jsonl", *flags, cwd=TEMP)
    assert got == code, (flags, got, err)
    with open(temp("log.jsonl")) as f:
        return err, [e for e in map(json.loads, f) if e["event"] == "epoch"]


def state(folder):
    """All tensors of the newest checkpoint but times."""
    with open(sorted(glob.glob(temp(folder + "/*.safetensors")))[-1], "rb") as f:
        data = f.read()
    size = int.from_bytes(data[:8], "little")
    return {k: data[8 + size + v["data_offsets"][0]:8 + size + v["data_offsets"][1]]
            for k, v in json.loads(data[8:8 + size]).items() if k not in ("__metadata__", "history")}


def resumes(name, steps, *flags):
    """Stopped after so many steps and gone on with, it is the run that was never stopped."""
    train(name, *flags, "--overwrite", folder="whole")
    for k in steps:
        train(name, *flags, "--overwrite", "--max-steps", k, folder="cut")
        train(name, *flags, "--resume", folder="cut")
        assert state("cut") == state("whole"), (flags, k)
