"""All layers from a solved classifier, by hone and by PyTorch with the same recipe, initial weights, images and rates:

  recipe_against.py HONE [--epochs 10] [--lr 0.0003] [--seeds 1,2] [--precision f32,bf16] [--per-class 50]

tools/sample/clothes5.onnx learns five other classes of Fashion-MNIST from --per-class images each: AdamW, one epoch of warm-up, cosine,
statistics of normalizations fixed, decay 0.0001 on weights alone; hone in each --precision, with the same seeds and orders. Twice: the file with its normalizations, and with each folded
into the convolution before it, as exporters write them, which changes what a step of AdamW is. Printed: the loss before
anything moved, the loss of each epoch, top-1 of 1,000 images at the end. Orders of images differ, and so do seeds.
Needs PyTorch, onnx, numpy and Debian's dataset-fashion-mnist."""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import fashion

CLASSES, BATCH, DECAY = [1, 2, 6, 7, 8], 16, 1e-4


class Net:
    """An ONNX file of the few operators that clothes5.onnx has, in PyTorch."""

    def __init__(self, path):
        self.graph = onnx.load(path).graph
        statistics = {name for n in self.graph.node if n.op_type == "BatchNormalization" for name in n.input[3:]}
        self.value = {i.name: torch.tensor(numpy_helper.to_array(i).copy()) for i in self.graph.initializer}
        for n in self.graph.node:
            if n.op_type == "Identity":  # a bias that two normalizations share in the file: each its own
                self.value[n.output[0]] = self.value[n.input[0]].clone()
        self.trained = {k: v.requires_grad_() for k, v in self.value.items() if k not in statistics and v.is_floating_point()}

    def __call__(self, x):
        v = dict(self.value, **{self.graph.input[0].name: x})
        for n in self.graph.node:
            i = [v[name] for name in n.input] if n.op_type != "Identity" else []
            a = {p.name: onnx.helper.get_attribute_value(p) for p in n.attribute}
            if n.op_type == "Conv":
                v[n.output[0]] = F.conv2d(i[0], i[1], i[2] if len(i) > 2 else None, a["strides"], a["pads"][:2], a["dilations"], a["group"])
            elif n.op_type == "BatchNormalization":
                v[n.output[0]] = F.batch_norm(i[0], i[3], i[4], i[1], i[2], False, 0, a["epsilon"])
            elif n.op_type == "Relu":
                v[n.output[0]] = i[0].relu()
            elif n.op_type == "Add":
                v[n.output[0]] = i[0] + i[1]
            elif n.op_type == "ReduceMean":
                v[n.output[0]] = i[0].mean((2, 3))
            elif n.op_type == "Gemm":
                v[n.output[0]] = F.linear(i[0], i[1], i[2])
            else:
                assert n.op_type == "Identity", n.op_type
        return v[self.graph.output[0].name]


def fold(path, to):
    """Each normalization into the convolution before it."""
    m = onnx.load(path)
    value = {i.name: numpy_helper.to_array(i) for i in m.graph.initializer}
    value.update({n.output[0]: value[n.input[0]] for n in m.graph.node if n.op_type == "Identity"})
    makers = {n.output[0]: n for n in m.graph.node}
    for n in [n for n in m.graph.node if n.op_type == "BatchNormalization"]:
        conv, (g, b, mean, var) = makers[n.input[0]], (value[k] for k in n.input[1:])
        s = g / np.sqrt(var + onnx.helper.get_attribute_value(next(a for a in n.attribute if a.name == "epsilon")))
        w = next(i for i in m.graph.initializer if i.name == conv.input[1])
        w.CopyFrom(numpy_helper.from_array((value[w.name] * s[:, None, None, None]).astype(np.float32), w.name))
        m.graph.initializer.append(numpy_helper.from_array((b - mean * s).astype(np.float32), w.name + ".bias"))
        conv.input.append(w.name + ".bias")
        conv.output[0] = n.output[0]
        m.graph.node.remove(n)
    for n in [n for n in m.graph.node if n.op_type == "Identity"]:
        m.graph.node.remove(n)
    read = {name for n in m.graph.node for name in n.input}
    kept = [i for i in m.graph.initializer if i.name in read]
    del m.graph.initializer[:]
    m.graph.initializer.extend(kept)
    onnx.save(m, to)


def by_torch(path, data, epochs, lr, seed):
    torch.manual_seed(seed)
    net, (x, y), (xv, yv) = Net(path), *[[torch.tensor(a) for a in part] for part in data]
    groups = [{"params": [p for p in net.trained.values() if p.dim() > 1], "weight_decay": DECAY},
              {"params": [p for p in net.trained.values() if p.dim() <= 1], "weight_decay": 0}]
    opt, steps = torch.optim.AdamW(groups, lr=lr), math.ceil(len(x) / BATCH)
    losses, k = [F.cross_entropy(net(x), y).item()], 0
    for _ in range(epochs):
        total = 0
        for at in torch.randperm(len(x)).split(BATCH):
            for g in opt.param_groups:
                g["lr"] = lr * ((k + 1) / steps if k < steps else 0.5 * (1 + math.cos(math.pi * (k - steps) / (steps * (epochs - 1)))))
            loss = F.cross_entropy(net(x[at]), y[at])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(at)
            k += 1
        losses.append(total / len(x))
    with torch.no_grad():
        return losses, (net(xv).argmax(1) == yv).float().mean().item()


def run(*argv):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout


def by_hone(hone, path, folder, epochs, lr, precision, seed):
    program, train, val = (os.path.join(folder, "program"), *(f"{folder}/{p}-x.npy,{folder}/{p}-y.npy" for p in ("train", "val")))
    run(hone, "finetune", path, "-o", program, "--keep-head", "--freeze", "none", "--precision", precision)
    before = json.loads(run(program, "eval", train, "--pretrained", "--json"))["loss"]
    log, tuned = os.path.join(folder, "log"), os.path.join(folder, "tuned.onnx")
    run(program, "train", train, "--val-fraction", 0, "--opt", "adamw", "--lr", lr, "--epochs", epochs, "--warmup-epochs", 1, "-b", BATCH,
        "--weight-decay", DECAY, "--seed", seed, "--checkpoint", folder + "/ck", "--overwrite", "--log", log, "-o", tuned, "-q")
    with open(log) as f:
        losses = [e["train_loss"] for e in map(json.loads, f) if e["event"] == "epoch"]
    return [before] + losses, json.loads(run(program, "eval", val, "--checkpoint", folder + "/ck", "--json"))["top1"]


def images(part, per_class):
    x, y = fashion.load(part)
    at = [i for k in CLASSES for i in np.flatnonzero(y == k)[:per_class]]
    return fashion.tensors(x[at]), np.array([CLASSES.index(y[i]) for i in at])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hone")
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--lr", type=float, default=3e-4)
    p.add_argument("--precision", type=lambda s: s.split(","), default=["f32"])
    p.add_argument("--per-class", type=int, default=50)
    p.add_argument("--seeds", type=lambda s: [int(x) for x in s.split(",")], default=[1, 2])
    a = p.parse_args()
    torch.set_num_threads(2)
    data = images("train", a.per_class), images("t10k", 200)
    with tempfile.TemporaryDirectory() as folder:
        for part, (x, y) in zip(("train", "val"), data):
            np.save(f"{folder}/{part}-x.npy", x)
            np.save(f"{folder}/{part}-y.npy", y.astype(np.int32))
        solved = os.path.join(folder, "solved.onnx")
        run(a.hone, "finetune", os.path.join(ROOT, "tools/sample/clothes5.onnx"), "-o", folder + "/head", "--classes", 5)
        run(folder + "/head", "train", f"{folder}/train-x.npy,{folder}/train-y.npy", "--no-checkpoint", "--val-fraction", 0, "-q", "-o", solved)
        fold(solved, folder + "/folded.onnx")
        for kind, path in (("normalizations kept", solved), ("folded", folder + "/folded.onnx")):
            for seed in a.seeds:
                runs = [(f"hone {p}", by_hone(a.hone, path, folder, a.epochs, a.lr, p, seed)) for p in a.precision]
                for who, (losses, top1) in runs + [("PyTorch", by_torch(path, data, a.epochs, a.lr, seed))]:
                    print(f"{kind}, seed {seed}, {who:9} top-1 {top1:.1%}  loss {' '.join(f'{x:.4f}' for x in losses)}", flush=True)


if __name__ == "__main__":
    main()
