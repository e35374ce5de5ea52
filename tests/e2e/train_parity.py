#!/usr/bin/python3
"""Fine-tune executables beside PyTorch in double precision: ten steps of resnet18, googlenet and a small
Inception-ResNet, everything trainable (with fixed and with the batch's statistics), the classifier alone, the last
part. Losses within 1e-3, final parameters within 1e-3 of the largest in their tensor; where PyTorch in single
precision is further away than a third of that, within three times its distance.

  tests/e2e/train_parity.py HONE TEMP_FOLDER [NETWORK...]

Needs python3-torch, python3-torchvision, python3-onnx.
"""
import os
import shutil
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import train_runs
import train_torch
from script import TEMP, temp


def compare(run, got, peer, want, before):
    """Each a pair of losses and parameters."""
    loss, peer_loss = (train_runs.loss_error(a[0], want[0]) for a in (got, peer))
    rows = []
    for name, w in want[1].items():
        doubt = np.abs(peer[1][name] - w).max()
        error = train_runs.parameter_error(run, name, got[1][name], w, before[name], doubt)
        rows.append((error, doubt / max(np.abs(w).max(), 1e-30), name))
    good = all(a < max(train_runs.TOLERANCE, 3 * b) for a, b in [(loss, peer_loss), *(r[:2] for r in rows)])
    error, doubt, name = max(rows)
    return good, f"loss {want[0][0]:.4f} to {want[0][-1]:.4f} within {loss:.1e} (PyTorch, single: {peer_loss:.1e}), " \
                 f"parameters {error:.1e} ({doubt:.1e}, {name})"


shutil.rmtree(TEMP, ignore_errors=True)
os.makedirs(TEMP)
failed = 0
for name in sys.argv[3:] or train_torch.LARGE:
    constructor, size, batch, part = train_torch.LARGE[name]
    net, x, y = train_torch.make(constructor, size, batch)
    train_torch.export(net, x, temp("net.onnx"))
    before = train_torch.parameters(net)
    for run in train_runs.runs(part, *train_torch.LARGE_RATE[name]):
        want_loss, want = train_torch.train(net, run, x, y, torch.float64)
        peer_loss, peer = train_torch.train(net, run, x, y)
        try:
            got_loss, got = train_runs.train(temp("net.onnx"), run, x.numpy(), y.numpy())
            good, text = compare(run, (got_loss, got), (peer_loss, peer), (want_loss, want), before)
        except AssertionError as e:
            good, text = False, str(e)
        failed += not good
        print(f"{name:16} {run.name:8} {text}: {'ok' if good else 'FAILED'}", flush=True)
print(f"{failed} failed")
sys.exit(bool(failed))
