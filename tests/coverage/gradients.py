#!/usr/bin/python3
"""Gradients of whole networks beside PyTorch's autograd in double precision: what one step of SGD moves is the gradient. By hand.

  tests/coverage/gradients.py [NAME...] [--work FOLDER] [--exporter dynamo|legacy]

NAME is as in coverage.py, default ten families. Each is exported as there, of four classes (and kept), becomes a fine-tune program with --freeze none --keep-head,
takes one step on four images, and what the tuned file's parameters moved by is compared, tensor by tensor, with autograd's gradient of the
same loss: the largest difference over the largest gradient of the tensor, or a thousandth of the network's where that is larger (the bias of
keys has none). Beside it stands what autograd in single precision is off by: networks of random weights may amplify that beyond all use. The rate is a power of ten that moves nothing by more than 0.02; what a moved parameter is rounded by is no
difference. Exit
code 1 where one is above 1e-3 and twice what single precision gives.
"""
import argparse
import json
import os
import subprocess
import sys

FAMILIES = ("timm:resnet18 timm:efficientnet_lite0 timm:mobilenetv3_large_100 timm:regnety_008 timm:vit_tiny_patch16_224 timm:convnextv2_atto "
            "timm:mobilevit_xxs timm:pvt_v2_b0 timm:coat_lite_tiny timm:edgenext_xx_small").split()
MOST, IMAGES = 1e-3, 4


# ---------------------------------------------------------------- in the peers' environment

def images_of(size):
    """Without two equal pixels side by side, where a maximum has no gradient; and the class of each."""
    import numpy as np
    return np.random.default_rng(11).integers(0, 256, (IMAGES, size, size, 3)).astype(np.uint8), np.arange(IMAGES)


def gradients_of(name, images, labels, double):
    """Parameter to its numbers and its gradient."""
    import torch
    import checks
    import networks
    torch.manual_seed(1)
    torch.set_num_threads(1)
    module, size = networks.make(name)
    module = networks.draw(module, size, name)
    for m in module.modules():
        if hasattr(m, "attention_bias_cache"):
            m.attention_bias_cache = {}
    before = {n: p.detach().numpy().copy() for n, p in module.named_parameters()}
    module = module.double() if double else module
    x = torch.from_numpy(((images / checks.np.float32(255) - checks.MEAN) / checks.STD).transpose(0, 3, 1, 2))
    torch.nn.functional.cross_entropy(module(x.double() if double else x), torch.from_numpy(labels)).backward()
    return {n: (before[n], p.grad.numpy().astype("f8")) for n, p in module.named_parameters() if p.grad is not None}


def aligned(stored, number, gradient):
    """The gradient in the order in which the file stores the parameter; None: it is not the parameter. Filters may each be times a number,
    which a BatchNormalization was folded into."""
    import numpy as np
    for move in (lambda a: a, lambda a: a.T):
        if move(number).size == stored.size and np.array_equal(move(number).reshape(stored.shape), stored):
            return move(gradient).reshape(stored.shape)
    if number.ndim < 3 or number.shape != stored.shape:
        return None
    axes = tuple(range(1, number.ndim))
    times = (stored * number.astype("f8")).sum(axes, keepdims=True) / (number.astype("f8") ** 2).sum(axes, keepdims=True)
    return gradient / times if np.allclose(stored, number * times, rtol=1e-4, atol=1e-6 * np.abs(stored).max()) else None


def step(folder, exporter, hone, images, labels, rate):
    """Floats of the file before and after a step."""
    import numpy as np
    import checks
    np.save(f"{folder}/images.npy", images)
    np.save(f"{folder}/labels.npy", labels.astype(np.int64))
    data = "images.npy,labels.npy"
    checks.call([hone, "finetune", f"{exporter}.onnx", "-o", "ft", "--classes", str(IMAGES), "--keep-head", "--freeze", "none",
                 "--resize", str(images.shape[1])], folder)
    checks.call(["./ft", "train", data, "--val", data, "--epochs", "1", "--batch", str(IMAGES), "--opt", "sgd", "--momentum", "0",
                 "--weight-decay", "0", "--lr", repr(rate), "--lr-schedule", "constant", "-o", "tuned.onnx", "--no-checkpoint"], folder)
    return checks.floats_of(f"{folder}/{exporter}.onnx"), checks.floats_of(f"{folder}/tuned.onnx")


def compare(name, folder, exporter, hone):
    import numpy as np
    import checks
    truth = json.load(open(f"{folder}/truth.json"))
    images, labels = images_of(truth["size"])
    right, single = gradients_of(name, images, labels, True), gradients_of(name, images, labels, False)
    top = max(np.abs(g).max() for _, g in right.values())
    rate = float(10.0 ** np.floor(np.log10(0.02 / top)))
    before, after = step(folder, exporter, hone, images, labels, rate)
    largest = {p: max(np.abs(g).max(), 1e-3 * top) for p, (_, g) in right.items()}
    of_single = max(float(np.abs(single[p][1] - g).max() / largest[p]) for p, (_, g) in right.items())
    worst, where, n = 0.0, "", 0
    for tensor, parameter in checks.stored(before, truth["parameters"]).items():
        gradient = aligned(before[tensor], *right[parameter])
        if gradient is None or tensor not in after:
            continue
        moved = (before[tensor].astype(np.float64) - after[tensor]) / rate
        rounding = np.spacing(np.maximum(np.abs(before[tensor]), np.abs(after[tensor]))).astype(np.float64) / rate
        error = np.maximum(np.abs(moved - gradient) - rounding, 0).max() / largest[parameter]
        n += gradient.size
        if error > worst:
            worst, where = float(error), parameter
    for file in ("ft", "tuned.onnx", "images.npy", "labels.npy"):
        os.remove(f"{folder}/{file}")
    return {"worst": worst, "where": where, "single": of_single, "compared": n, "rate": rate, "count": truth["count"]}


# ---------------------------------------------------------------- outside of it

def main():
    import coverage
    import peers
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*")
    ap.add_argument("--work", default=os.path.join(peers.WORK, "coverage"))
    ap.add_argument("--exporter", default="dynamo")
    a = ap.parse_args()
    over = 0
    print("| network | largest difference | of | autograd in single precision | parameters compared, of all | rate |\n|---|---|---|---|---|---|")
    for name in a.networks or FAMILIES:
        name += f"@{IMAGES}"  # one of each class
        network = coverage.Network(name, os.path.abspath(a.work))
        if not network.exported():
            sys.exit(f"{name}: {network.results['not made']}")
        network.keep()
        p = subprocess.run([coverage.python(), os.path.abspath(__file__), "--compare", name, network.folder, a.exporter, peers.HONE],
                           capture_output=True, text=True)
        if p.returncode:
            sys.exit(f"{name}: {p.stderr.strip().splitlines()[-1]}")
        found = json.loads(p.stdout.splitlines()[-1])
        over += found["worst"] > max(MOST, 2 * found["single"])
        print(f"| {name} | {found['worst']:.1e} | {found['where']} | {found['single']:.1e} | {found['compared']:,} of {found['count']:,} | {found['rate']:g} |", flush=True)
    return over > 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--compare"]:
        print(json.dumps(compare(*sys.argv[2:])))
    else:
        sys.exit(main())
