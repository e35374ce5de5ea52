#!/usr/bin/python3
"""Writes golden/train_*.onnx, small networks, and golden/train_*.npz, what ten training steps of PyTorch make of them
(in double precision): losses and samples of every parameter. test_train_parity.py compares with it.

Made with Debian 12's python3-torch 1.13.1 and python3-torchvision 0.14.1.
"""
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import train_runs
import train_torch

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")

for name, (constructor, size, batch, part) in train_torch.SMALL.items():
    net, x, y = train_torch.make(constructor, size, batch)
    train_torch.export(net, x, os.path.join(GOLDEN, f"train_{name}.onnx"))
    out = {"x": x.numpy(), "y": y.numpy(), "part": np.array(part), "rate": np.array(train_torch.SMALL_RATE)}
    for run in train_runs.runs(part, *train_torch.SMALL_RATE):
        losses, params = train_torch.train(net, run, x, y, torch.float64)
        out[run.name + "/loss"] = np.array(losses)
        for key, value in params.items():
            if train_runs.moves(run, key):
                out[f"{run.name}/{key}"] = train_runs.sample(value)
        print(f"{name} {run.name}: loss {losses[0]:.4f} to {losses[-1]:.4f}", flush=True)
    np.savez_compressed(os.path.join(GOLDEN, f"train_{name}.npz"), **out)
