"""Small networks of every family train as in PyTorch: golden/train_*.npz, made by make_train_golden.py. The full-size
ones: train_parity.py."""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import train_runs
from script import ROOT, main

GOLDEN = os.path.join(ROOT, "tests", "e2e", "golden")


def check(name):
    model = os.path.join(GOLDEN, f"train_{name}.onnx")
    before = train_runs.initializers(model)
    with np.load(os.path.join(GOLDEN, f"train_{name}.npz")) as golden:
        for run in train_runs.runs(str(golden["part"]), *golden["rate"]):
            loss, got = train_runs.train(model, run, golden["x"], golden["y"])
            error = train_runs.loss_error(loss, golden[run.name + "/loss"])
            assert error < train_runs.TOLERANCE, f"{run.name}: losses {loss}, not {golden[run.name + '/loss']}"
            assert set(got) == set(before)
            for key in before:
                frozen = not train_runs.moves(run, key)
                pick = (lambda a: a) if frozen else train_runs.sample
                want = before[key] if frozen else golden[f"{run.name}/{key}"]
                error = train_runs.parameter_error(run, key, pick(got[key]), want, pick(before[key]))
                assert error < train_runs.TOLERANCE, f"{run.name}: {key} is off by {error:.2g} of its largest value"


def check_recipe(bn):
    """Loss, norm of the gradient and rate of each step; parameters in the end."""
    model = os.path.join(GOLDEN, "train_resnet.onnx")
    before = train_runs.initializers(model)
    with np.load(os.path.join(GOLDEN, "train_resnet.npz")) as f:
        told, got = train_runs.train_recipe(model, bn, f["x"], f["y"])
    with np.load(os.path.join(GOLDEN, "train_recipe.npz")) as golden:
        for key, values in zip(("loss", "norm", "rate"), told):
            error = train_runs.loss_error(values, golden[f"{bn}/{key}"])
            assert error < train_runs.TOLERANCE, f"{bn}: {key} {values}, not {golden[f'{bn}/{key}']}"
        for name, value in before.items():
            if f"{bn}/param/{name}" not in golden:
                assert bn == "frozen" and "running_" in name and got[name].tobytes() == value.tobytes(), name
                continue
            want, start = golden[f"{bn}/param/{name}"], train_runs.sample(value)
            error, moved = np.abs(train_runs.sample(got[name]) - want).max(), np.abs(want - start).max()
            assert moved > 0 and error < 0.02 * moved + 1e-6, f"{bn}: {name} moved by {moved:.3g}, off by {error:.3g}"


def test_recipe_with_fixed_statistics():
    check_recipe("frozen")


def test_recipe_with_the_batch_s_statistics():
    check_recipe("train")


def test_resnet():
    check("resnet")


def test_googlenet():
    check("googlenet")


def test_inception_resnet():
    check("inception_resnet")


if __name__ == "__main__":
    main(sys.modules[__name__])
