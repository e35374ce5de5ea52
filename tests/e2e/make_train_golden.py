#!/usr/bin/python3
"""Writes golden/train_*.onnx, small networks, and golden/train_*.npz, what ten training steps of PyTorch make of them
(in double precision): losses and samples of every parameter; golden/train_recipe.npz, what a whole recipe (AdamW, warm-up, cosine,
clipping, smoothing) makes of the first of them. test_train_parity.py compares with it.

  make_train_golden.py [recipe | resnet]      recipe: that alone, of the files that are there; resnet (or another network): steps of the
                                              network that is there, on new images, then the recipe

Made with Debian 12's python3-torch 1.13.1 and python3-torchvision 0.14.1; resnet's steps and the recipe with torch 2.15.
"""
import os
import sys

import numpy as np
import onnx
import torch
from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import train_runs
import train_torch

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")


def stored(name):
    """The network of golden/train_NAME.onnx, and its images and labels."""
    net = train_torch.SMALL[name][0]()
    state = {i.name: torch.tensor(numpy_helper.to_array(i).copy()) for i in onnx.load(os.path.join(GOLDEN, f"train_{name}.onnx")).graph.initializer}
    missing = net.load_state_dict(state, strict=False).missing_keys
    assert all("num_batches" in k for k in missing), missing
    with np.load(os.path.join(GOLDEN, f"train_{name}.npz")) as f:
        return net.eval(), torch.tensor(f["x"]), torch.tensor(f["y"])


def write_recipe():
    net, x, y = stored("resnet")
    out = {}
    for bn in ("frozen", "train"):
        told, params = train_torch.train_recipe(net, bn, x, y, torch.float64)
        out.update({f"{bn}/{key}": np.array(values) for key, values in zip(("loss", "norm", "rate"), told)})
        out.update({f"{bn}/param/{key}": train_runs.sample(value) for key, value in params.items() if bn == "train" or "running_" not in key})
        print(f"recipe, statistics {bn}: loss {told[0][0]:.4f} to {told[0][-1]:.4f}, norms {told[1][0]:.3f} to {told[1][-1]:.3f}", flush=True)
    np.savez_compressed(os.path.join(GOLDEN, "train_recipe.npz"), **out)


def all_losses(net, part, x, y):
    """Of every run and recipe that the images are for, one after another."""
    runs = [train_torch.train(net, run, x, y, torch.float64)[0] for run in train_runs.runs(part, *train_torch.SMALL_RATE)]
    recipes = [train_torch.train_recipe(net, bn, x, y, torch.float64)[0][0] for bn in ("frozen", "train")]
    return np.concatenate(runs + recipes)


def settle(net, part, x, y):
    """Images near x of which rounding turns nothing: where a ReLU's input is next to 0, single precision decides what trains, and each
    machine's is another. Noise as large as some roundings must leave the losses of double precision where they are."""
    for seed in range(100):
        draw = torch.Generator().manual_seed(seed)
        near = x + 0.05 * torch.randn(x.shape, generator=draw)
        want = all_losses(net, part, near, y)
        noisy = [near * (1 + 2e-6 * torch.randn(x.shape, generator=draw)) for _ in range(4)]
        worst = max(np.abs(all_losses(net, part, n, y) / want - 1).max() for n in noisy)
        print(f"images {seed}: losses move by {worst:.1e}", flush=True)
        if worst < train_runs.TOLERANCE / 10:
            return near
    raise SystemExit("no images were found")


def write_steps(name, net, part, x, y):
    out = {"x": x.numpy(), "y": y.numpy(), "part": np.array(part), "rate": np.array(train_torch.SMALL_RATE)}
    for run in train_runs.runs(part, *train_torch.SMALL_RATE):
        losses, params = train_torch.train(net, run, x, y, torch.float64)
        out[run.name + "/loss"] = np.array(losses)
        for key, value in params.items():
            if train_runs.moves(run, key):
                out[f"{run.name}/{key}"] = train_runs.sample(value)
        print(f"{name} {run.name}: loss {losses[0]:.4f} to {losses[-1]:.4f}", flush=True)
    np.savez_compressed(os.path.join(GOLDEN, f"train_{name}.npz"), **out)


for name, (constructor, size, batch, part) in train_torch.SMALL.items():
    if sys.argv[1:] == [name]:
        net, x, y = stored(name)
        write_steps(name, net, part, settle(net, part, x, y), y)
    elif not sys.argv[1:]:
        net, x, y = train_torch.make(constructor, size, batch)
        train_torch.export(net, x, os.path.join(GOLDEN, f"train_{name}.onnx"))
        write_steps(name, net, part, settle(net, part, x, y), y)
write_recipe()
