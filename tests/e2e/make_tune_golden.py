#!/usr/bin/python3
"""Writes golden/tune_*.onnx, small networks, and golden/tune_*.npz, what ten training steps of PyTorch make of them
(in double precision): losses and samples of every parameter. test_tune_parity.py compares with it.

Made with Debian 12's python3-torch 1.13.1 and python3-torchvision 0.14.1.
"""
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tune_runs
import tune_torch

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")

for name, (constructor, size, batch, part) in tune_torch.SMALL.items():
    net, x, y = tune_torch.make(constructor, size, batch)
    tune_torch.export(net, x, os.path.join(GOLDEN, f"tune_{name}.onnx"))
    out = {"x": x.numpy(), "y": y.numpy(), "part": np.array(part), "rate": np.array(tune_torch.SMALL_RATE)}
    for run in tune_runs.runs(part, *tune_torch.SMALL_RATE):
        losses, params = tune_torch.train(net, run, x, y, torch.float64)
        out[run.name + "/loss"] = np.array(losses)
        for key, value in params.items():
            if tune_runs.moves(run, key):
                out[f"{run.name}/{key}"] = tune_runs.sample(value)
        print(f"{name} {run.name}: loss {losses[0]:.4f} to {losses[-1]:.4f}", flush=True)
    np.savez_compressed(os.path.join(GOLDEN, f"tune_{name}.npz"), **out)
