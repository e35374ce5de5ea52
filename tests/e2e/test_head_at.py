"""--head-at: the classifier goes on an earlier layer. A small network whose last layers know two things of a picture, and
whose pooled features know eight: new classes that differ in what was lost below are learned on those alone."""
import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tuned
from script import HONE, main, ok, run, temp

SIZE, CLASSES = 8, ("amber", "blue", "coral", "dun")
COLOURS = {"amber": (200, 150, 60), "blue": (60, 80, 200), "coral": (230, 120, 100), "dun": (110, 110, 110)}
WIDE, NARROW = 8, 2
IMAGE = ["--mean", 0.5, "--std", 0.25, "--resize", SIZE]


def network(path, softmax=True, opset=13):
    """conv -> relu -> pool (8 numbers) -> fc1 (2) -> relu -> fc2 (3) [-> softmax], and a second output."""
    r = np.random.default_rng(4)
    init = {"w": r.normal(0, 0.5, (WIDE, 3, 3, 3)), "b": r.normal(0, 0.1, WIDE), "fc1.w": r.normal(0, 0.7, (NARROW, WIDE)),
            "fc1.b": np.full(NARROW, 0.1), "fc2.w": r.normal(0, 1, (3, NARROW)), "fc2.b": np.zeros(3)}
    node = helper.make_node
    nodes = [node("Conv", ["x", "w", "b"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             node("Relu", ["c"], ["a"], "act"), node("GlobalAveragePool", ["a"], ["g"], "pool"),
             node("Flatten", ["g"], ["f"], "flat"), node("Gemm", ["f", "fc1.w", "fc1.b"], ["h"], "fc1", transB=1),
             node("Relu", ["h"], ["hr"], "fc1.relu"), node("Gemm", ["hr", "fc2.w", "fc2.b"], ["z"], "fc2", transB=1)]
    if softmax:
        nodes.append(node("Softmax", ["z"], ["y"], "end"))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "net", [info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
                              [info("y" if softmax else "z", TensorProto.FLOAT, ["N", 3])],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in init.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def pictures():
    r = np.random.default_rng(5)
    for part, n in (("train", 30), ("val", 10)):
        for c in CLASSES:
            os.makedirs(temp(f"p/{part}/{c}"))
            for i in range(n):
                noise = r.normal(0, 25, (SIZE, SIZE, 3)) + r.normal(0, 12, 3)
                Image.fromarray(np.clip(COLOURS[c] + noise, 0, 255).astype(np.uint8)).save(temp(f"p/{part}/{c}/{i}.png"))


def teach(name, *flags, model="net.onnx"):
    """Compiles and trains; returns what the compiler said, top-1 of the validation images, the exported model."""
    said = ok(HONE, "finetune", temp(model), "-o", temp(name), "--classes", temp("p"), *IMAGE, *flags)
    ok(temp(name), "train", temp("p"), "-q", "--checkpoint", temp(name + ".ck"), "-o", temp(name + ".onnx"))
    result = json.loads(ok(temp(name), "eval", temp("p"), "--checkpoint", temp(name + ".ck"), "--json"))
    return said, result["top1"], tuned.check(temp(name + ".onnx"))


def ops(model):
    return [n.op_type for n in model.graph.node]


def test_auto_takes_what_knows_more():
    network(temp("net.onnx"))
    pictures()
    said, there, _ = teach("plain")
    assert "head: it reads 2 numbers of 'fc1.relu', and fully connected layers stand in front of it; --head-at auto" in said, said
    said, auto, model = teach("auto", "--head-at", "auto")
    lines = [line for line in said.splitlines() if line.startswith("head at ")]
    assert len(lines) == 2 and "'flat', 8 numbers" in lines[0] and lines[0].endswith("  *"), said
    assert "'fc1.relu', 2 numbers" in lines[1] and "the file's own place" in lines[1], said
    assert auto > 0.95 and auto > there + 0.1, (auto, there)
    assert ops(model) == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Flatten", "MatMul", "Add", "Softmax"], ops(model)
    kept = {i.name for i in model.graph.initializer}
    assert {"w", "b"} <= kept and not any(k.startswith("fc") for k in kept), kept
    before = {i.name: i for i in onnx.load(temp("net.onnx")).graph.initializer}
    for i in model.graph.initializer:
        assert i.name not in before or np.array_equal(numpy_helper.to_array(i), numpy_helper.to_array(before[i.name])), i.name
    some = [temp(f"p/val/{c}/{i}.png") for c in CLASSES for i in range(2)]
    tuned.check_agrees(temp("auto"), temp("auto.onnx"), some, checkpoint=("--checkpoint", temp("auto.ck")))


def test_a_node():
    """A row of numbers, a picture, which is averaged over, a tensor's name where nodes have none."""
    _, flat, model = teach("flat", "--head-at", "flat")
    assert flat > 0.95 and "Gemm" not in ops(model)
    _, picture, model = teach("picture", "--head-at", "act")
    assert picture == flat and ops(model)[:4] == ["Conv", "Relu", "GlobalAveragePool", "Flatten"], (picture, ops(model))
    network(temp("scores.onnx"), softmax=False)
    _, _, model = teach("scores", "--head-at", "fc1.relu", model="scores.onnx")
    assert ops(model)[-3:] == ["Flatten", "MatMul", "Add"], ops(model)
    assert numpy_helper.to_array(next(i for i in model.graph.initializer if i.name.startswith("hone.head.weight"))).shape == (2, 4)


def test_more_than_the_classifier_trains():
    """Stages go on from there; what lies in front of the new place trains like anything else."""
    ok(HONE, "finetune", temp("net.onnx"), "-o", temp("staged"), "--classes", temp("p"), *IMAGE, "--head-at", "flat", "--stages", "head,none:2:0.001")
    ok(temp("staged"), "train", temp("p"), "-q", "--no-checkpoint", "-o", temp("staged.onnx"))
    model = tuned.check(temp("staged.onnx"))
    w, before = (numpy_helper.to_array(next(i for i in m.graph.initializer if i.name == "w")) for m in (model, onnx.load(temp("net.onnx"))))
    assert not np.array_equal(w, before) and np.abs(w - before).max() < 0.1


def test_what_cannot_be_is_said():
    network(temp("old.onnx"), opset=6)
    for flags, words in ((["--head-at", "nowhere"], "--head-at 'nowhere': no node is called so"),
                         (["--head-at", "auto", "--classes", "4"], "--head-at 'auto': it takes images: --classes FOLDER"),
                         (["--head-at", "flat", "--keep-head", "--classes", "3"], "--keep-head keeps the classifier where it is"),
                         (["--head-at", "auto", "--multi-label"], "--head-at 'auto': NYI for --multi-label"),
                         (["--head-at", "flat", "old"], "NYI: a classifier in a file of an opset before 7")):
        model = temp("old.onnx") if flags[-1] == "old" else temp("net.onnx")
        flags = [f for f in flags if f != "old"]
        classes = [] if "--classes" in flags else ["--classes", temp("p")]
        code, out, err = run(HONE, "finetune", model, "-o", temp("bad"), *classes, *IMAGE, *flags)
        assert code == 1 and words in err and len(err.splitlines()) == 1 and not os.path.exists(temp("bad")), (flags, code, err)


def test_without_hidden_layers_it_stays():
    said, top1, model = teach("again", "--head-at", "auto", model="flat.onnx")
    assert "no fully connected layer stands in front of the classifier" in said, said
    assert top1 > 0.95 and ops(model).count("MatMul") == 1


if __name__ == "__main__":
    main(sys.modules[__name__])
