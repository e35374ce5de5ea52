"""Ten training steps of a fine-tune executable beside PyTorch's: what test_train_parity.py (stored results) and
train_parity.py (PyTorch itself, full size) share. The whole data set is one batch, so that its order is nothing.
"""
import json
import os
from dataclasses import dataclass

import numpy as np
from onnx import numpy_helper

import tuned
from script import HONE, ok, temp

STEPS, MOMENTUM, DECAY = 10, 0.9, 1e-3
RECIPE = {"lr": 2e-3, "decay": 0.05, "smoothing": 0.1, "clip": 1.0, "warmup": 2}  # of train_recipe(), an epoch a step
TOLERANCE = 1e-3  # losses, relative; parameters, of the largest in the tensor


@dataclass(frozen=True)
class Run:
    name: str
    freeze: str  # as hone finetune takes it
    trains: tuple  # how the names of the parameters begin that train
    bn: str  # likewise
    lr: float
    near: float  # of the largest distance that a parameter of a tensor goes: how far off one may be


def runs(last_part, lr, near):
    """Everything, everything with the batch's own statistics, the classifier, the last part and the classifier."""
    kinds = [("full", "none", ("",), "frozen"), ("full_bn", "none", ("",), "train"),
             ("head", "head", ("fc.",), "frozen"), ("partial", "until:" + last_part, (last_part, "fc."), "frozen")]
    return [Run(*kind, lr, near) for kind in kinds]


def initializers(path):
    return {i.name: numpy_helper.to_array(i) for i in tuned.check(path).graph.initializer}


def train(model, run, x, y, *flags):
    """Returns the losses of the steps and the initializers of the exported model."""
    np.save(temp("x.npy"), x)
    np.save(temp("y.npy"), y)
    for path in (temp("log"), temp("tuned.onnx")):
        if os.path.exists(path):
            os.unlink(path)
    ok(HONE, "finetune", model, "-o", temp("tune"), "--keep-head", "--freeze", run.freeze, "--bn", run.bn, *flags)
    ok(temp("tune"), "train", "x.npy,y.npy", "-b", len(x), "--epochs", STEPS, "--lr", run.lr, "--momentum", MOMENTUM,
       "--weight-decay", DECAY, "--lr-schedule", "constant", "--val-fraction", 0, "--log", temp("log"), "-o",
       temp("tuned.onnx"), "--no-checkpoint", "-q")
    with open(temp("log")) as f:
        events = [json.loads(line) for line in f]
    return [e["loss"] for e in events if e["event"] == "step"], initializers(temp("tuned.onnx"))


def train_recipe(model, bn, x, y):
    """All layers by AdamW, decay of weights alone, smoothed labels, clipped gradients, warm-up and cosine. Returns losses, norms of the
    gradients before they are clipped, and rates of the steps, and the initializers of the exported model."""
    np.save(temp("x.npy"), x)
    np.save(temp("y.npy"), y)
    for path in (temp("log"), temp("tuned.onnx")):
        if os.path.exists(path):
            os.unlink(path)
    ok(HONE, "finetune", model, "-o", temp("tune"), "--keep-head", "--freeze", "none", "--bn", bn)
    ok(temp("tune"), "train", "x.npy,y.npy", "-b", len(x), "--epochs", STEPS, "--opt", "adamw", "--lr", RECIPE["lr"], "--weight-decay", RECIPE["decay"],
       "--label-smoothing", RECIPE["smoothing"], "--clip-grad", RECIPE["clip"], "--warmup-epochs", RECIPE["warmup"], "--lr-schedule", "cosine",
       "--val-fraction", 0, "--log", temp("log"), "-o", temp("tuned.onnx"), "--no-checkpoint", "-q")
    with open(temp("log")) as f:
        steps = [e for e in map(json.loads, f) if e["event"] == "step"]
    return [[e[k] for e in steps] for k in ("loss", "grad_norm", "lr")], initializers(temp("tuned.onnx"))


def loss_error(got, want):
    assert len(got) == len(want) == STEPS, (got, want)
    return max(abs(a - b) / abs(b) for a, b in zip(got, want))


def moves(run, name):
    """Whether a run may change an initializer: a parameter that trains, or a statistic of such a normalization."""
    return name.startswith(run.trains) and (run.bn == "train" or "running_" not in name)


def parameter_error(run, name, got, want, before, doubt=0.0):
    """Largest difference over the largest value; checks that what is frozen is the same bit for bit, and that the
    difference is small beside what training did, too, or beside the doubt about `want`. Arrays of one shape."""
    if not moves(run, name):
        assert got.tobytes() == before.tobytes(), f"{run.name}: {name} is frozen and has changed"
        return 0.0
    error, moved = np.abs(got - want).max(), np.abs(want - before).max()
    assert moved > 0, f"{run.name}: {name} did not move"
    slack = 4e-7 * np.abs(want).max()  # rounding of the sums, where next to nothing moved
    assert error <= run.near * moved + 3 * doubt + slack, f"{run.name}: {name} moved by {moved:.3g}, off by {error:.3g}"
    return error / np.abs(want).max()


def sample(array, n=24):
    """Some elements, spread over the whole, the first and last among them."""
    flat = array.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(n, flat.size)).round().astype(int)]
