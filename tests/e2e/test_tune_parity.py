"""Small networks of every family train as in PyTorch: golden/tune_*.npz, made by make_tune_golden.py. The full-size
ones: tune_parity.py."""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tune_runs
from script import ROOT, main

GOLDEN = os.path.join(ROOT, "tests", "e2e", "golden")


def check(name):
    model = os.path.join(GOLDEN, f"tune_{name}.onnx")
    before = tune_runs.initializers(model)
    with np.load(os.path.join(GOLDEN, f"tune_{name}.npz")) as golden:
        for run in tune_runs.runs(str(golden["part"]), *golden["rate"]):
            loss, got = tune_runs.train(model, run, golden["x"], golden["y"])
            error = tune_runs.loss_error(loss, golden[run.name + "/loss"])
            assert error < tune_runs.TOLERANCE, f"{run.name}: losses {loss}, not {golden[run.name + '/loss']}"
            assert set(got) == set(before)
            for key in before:
                frozen = not tune_runs.moves(run, key)
                pick = (lambda a: a) if frozen else tune_runs.sample
                want = before[key] if frozen else golden[f"{run.name}/{key}"]
                error = tune_runs.parameter_error(run, key, pick(got[key]), want, pick(before[key]))
                assert error < tune_runs.TOLERANCE, f"{run.name}: {key} is off by {error:.2g} of its largest value"


def test_resnet():
    check("resnet")


def test_googlenet():
    check("googlenet")


def test_inception_resnet():
    check("inception_resnet")


if __name__ == "__main__":
    main(sys.modules[__name__])
