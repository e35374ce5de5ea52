"""hone finetune --layer-decay: which block a parameter lies in, told by the ways that part and join and by names, the rates in the plan, and
that a step moves every parameter by its share.
"""
import os
import re
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from recipe import state
from script import HONE, TEMP, main, ok, run, temp

SIZE, WIDTH, CLASSES = 8, 4, 3
rng = np.random.default_rng(9)


class Net:
    """A chain of 1x1 convolutions, in residual branches or not, with a name each."""

    def __init__(self):
        self.nodes, self.weights, self.x = [], {}, "x"
        self.layer("stem.w", inside=3, kernel=4, strides=[4, 4])

    def weight(self, name, *shape):
        self.weights[name] = (rng.standard_normal(shape) * 0.5).astype("f4")
        return name

    def node(self, op, inputs, **attrs):
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=f"n{len(self.nodes)}", **attrs))
        return out

    def conv(self, x, name, inside=WIDTH, kernel=1, **attrs):
        return self.node("Conv", [x, self.weight(name, WIDTH, inside, kernel, kernel)], **attrs)

    def layer(self, name, **more):
        self.x = self.conv(self.x, name, **more)

    def branch(self, *names):
        y = self.x
        for name in names:
            y = self.node("Relu", [self.conv(y, name)])
        self.x = self.node("Add", [self.x, y])

    def attention(self, name):
        rows = self.node("Reshape", [self.conv(self.x, name), "rows"])
        scores = self.node("Softmax", [self.node("MatMul", [self.node("Transpose", [rows], perm=[0, 2, 1]), rows])])
        y = self.node("Reshape", [self.node("MatMul", [rows, scores]), "image"])
        self.x = self.node("Add", [self.x, y])

    def save(self, name):
        flat = self.node("Flatten", [self.node("GlobalAveragePool", [self.x])])
        self.nodes.append(helper.make_node("Gemm", [flat, self.weight("head.w", CLASSES, WIDTH), self.weight("head.b", CLASSES)], ["y"],
                                           name="head", transB=1))
        tensors = [numpy_helper.from_array(a, n) for n, a in self.weights.items()]
        tensors += [numpy_helper.from_array(np.array(a), n) for n, a in (("rows", [0, WIDTH, -1]), ("image", [0, WIDTH, 2, 2]))]
        graph = helper.make_graph(self.nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])], tensors)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), temp(f"{name}.onnx"))
        return f"{name}.onnx"


def rates(model, *flags):
    """Parameter to its factor, as the plan has it."""
    plan = ok(HONE, "finetune", model, "-o", "program", "--keep-head", "--freeze", "none", *flags)
    found = {}
    for line in plan.splitlines():
        row = re.match(r"\S+ +\S+ +(\S.*?) +[\d,]+  trains(?:, rate x (\S+))?$", line)
        for name in re.findall(r"([\w.]+) \[", row[1]) if row else []:
            found[name] = float(row[2] or 1)
    return found


def check(model, levels, blocks, *flags, decay=0.5):
    got = rates(model, "--layer-decay", decay, *flags)
    want = {name: decay ** (blocks + 1 - level) for name, level in levels.items()}
    assert set(got) >= set(want), (got, want)
    assert all(abs(got[n] - w) < 1e-2 * w for n, w in want.items()), {n: (got[n], w) for n, w in want.items()}


def transformer():
    n = Net()
    for i in range(3):
        n.branch(f"blocks.{i}.attn.qkv.w", f"blocks.{i}.attn.proj.w")
        n.branch(f"blocks.{i}.mlp.fc1.w", f"blocks.{i}.mlp.fc2.w")
    n.layer("norm.w")
    return n.save("transformer")


def test_a_block_of_two_branches():
    levels = {f"blocks.{i}.{part}.w": i + 1 for i in range(3) for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    check(transformer(), {**levels, "stem.w": 0, "norm.w": 4, "head.w": 4}, 3)


def test_stages_of_blocks():
    n = Net()
    for stage in (1, 2):
        if stage == 2:
            n.layer("layer2.down.w")
        for i in (0, 1):
            n.branch(f"layer{stage}.{i}.conv1.w", f"layer{stage}.{i}.conv2.w")
    check(n.save("stages"), {"stem.w": 0, "layer1.0.conv1.w": 1, "layer1.1.conv2.w": 2, "layer2.down.w": 3, "layer2.0.conv1.w": 3,
                             "layer2.1.conv1.w": 4, "head.w": 5}, 4)


def test_what_ends_a_block():
    n = Net()
    for i in (0, 1):
        n.branch(f"blocks.{i}.attn.w")
        n.layer(f"blocks.{i}.norm1.w")
        n.branch(f"blocks.{i}.mlp.w")
        n.layer(f"blocks.{i}.norm2.w")
    levels = {f"blocks.{i}.{part}.w": i + 1 for i in (0, 1) for part in ("attn", "norm1", "mlp", "norm2")}
    check(n.save("behind"), {"stem.w": 0, **levels, "head.w": 3}, 2)


def test_without_names():
    n = Net()
    for i in range(2):
        n.attention(f"a{i}")
        n.branch(f"m{i}", f"n{i}")
    n.branch("b0")
    n.branch("b1")
    check(n.save("nameless"), {"stem.w": 0, "a0": 1, "m0": 1, "n0": 1, "a1": 2, "n1": 2, "b0": 3, "b1": 4, "head.w": 5}, 4)


def test_with_a_factor_of_its_own():
    got = rates(transformer(), "--layer-decay", 0.5, "--lr-mult", "blocks.1.*=4", "--lr-mult", "head*=0.25")
    assert got["blocks.1.attn.qkv.w"] == 1 and got["blocks.2.mlp.fc2.w"] == 0.5 and got["head.w"] == 0.25, got


def step(*flags):
    """What one step of SGD moves."""
    model = transformer()
    for c in range(CLASSES):
        os.makedirs(temp(f"images/c{c}"), exist_ok=True)
        Image.fromarray(np.full((SIZE, SIZE, 3), 80 * c + 20, "u1")).save(temp(f"images/c{c}/a.png"))
    ok(HONE, "finetune", model, "-o", "program", "--classes", "images", "--keep-head", "--freeze", "none", *flags)
    ok("./program", "train", "images", "--val", "images", "--epochs", 1, "--batch", CLASSES, "--momentum", 0, "--weight-decay", 0, "--lr", 0.1,
       "--lr-schedule", "constant", "--no-checkpoint", "-o", "tuned.onnx")
    before, after = ({t.name: numpy_helper.to_array(t) for t in onnx.load(temp(f)).graph.initializer} for f in (model, "tuned.onnx"))
    return {n: after[n].astype("f8") - a for n, a in before.items() if a.dtype == np.float32 and a.ndim == 4}


def test_a_step_moves_its_share():
    global rng
    rng = np.random.default_rng(1)
    whole = step()
    rng = np.random.default_rng(1)
    parts = step("--layer-decay", 0.5)
    for name, share in (("stem.w", 0.0625), ("blocks.0.mlp.fc1.w", 0.125), ("blocks.2.attn.proj.w", 0.5), ("norm.w", 1)):
        assert np.abs(whole[name]).max() > 1e-4, name
        assert np.allclose(parts[name], share * whole[name], atol=1e-6), (name, parts[name], whole[name])


def test_it_resumes():
    step("--layer-decay", 0.5)

    def train(folder, *flags):
        ok("./program", "train", "images", "--val", "images", "--epochs", 2, "--batch", 1, "--lr", 0.05, "--opt", "adamw", "--checkpoint", folder,
           "-o", "tuned.onnx", *flags)

    train("whole")
    for k in (1, 4):
        train("cut", "--overwrite", "--max-steps", k)
        train("cut", "--resume")
        assert state("cut") == state("whole"), k


def test_what_is_refused():
    n = Net()
    n.layer("one.w")
    code, _, err = run(HONE, "finetune", n.save("plain"), "-o", "no", "--keep-head", "--freeze", "none", "--layer-decay", 0.5)
    assert code == 1 and "--layer-decay: the network has no blocks, ways that part and join again" in err and not os.path.exists(temp("no")), err
    for wrong in ("0", "1.5", "x"):
        assert run(HONE, "finetune", transformer(), "-o", "no", "--keep-head", "--layer-decay", wrong)[0] == 2


if __name__ == "__main__":
    main(sys.modules[__name__])
