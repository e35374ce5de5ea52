#!/usr/bin/python3
"""Top-1 classes of compiled networks against ONNX Runtime's, on inputs with the statistics of photographs.

  tests/e2e/top1_agreement.py [NETWORK...] [--images 1000] [--batch 50] [--threads 2] [--seed 1] [--flags=...]

An input is made as follows; `photographs()` is the recipe. Three planes of white noise are shaped in the
Fourier domain to an amplitude of 1/f^a, as photographs have it (a from 0.8 to 1.4 by image: D. J. Field, 1987),
and mixed so that colours correlate by 0.9. An image's contrast is log-normal and its brightness normal, such
that over many images each channel has mean 0 and deviation 1, as after the usual normalisation; then values are
cut off where ImageNet's normalisation puts black and white.

Passes when each image's class is ONNX Runtime's, except where its outputs for the two classes are nearer than
twice the image's own largest difference, a tie; and when no difference is above 5e-4 of the largest output.
Weights are random, but normalizations are fitted to such images: as they come from ../shared/models some networks
(MobileNet v2, EfficientNet-B0, GoogLeNet) give every image the same outputs but for rounding, and their classes would
say nothing. One class may still win always: classes are compared a second time after the mean of all outputs was taken
off, as another bias of the classifier would; then there are more, and near. Fewer than five classes is a failure: then
the images do not tell. 1000 images take 1 minute (SqueezeNet) to 6 (VGG-16) a network on two idle cores;
--images N for fewer. Default: seven networks. Needs node, npm, python3-torch, python3-torchvision and ../shared.
"""
import argparse
import os
import subprocess
import sys
import time

import numpy as np
import torch
import torchvision

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers
import train_torch

NETWORKS = "resnet18 resnet50 inception_v3 googlenet mobilenet_v2 squeezenet1_1 densenet121".split()
LIMIT, LEAST_CLASSES = 5e-4, 5
TMP = os.path.join(peers.WORK, "top1")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def photographs(rng, n, size):
    """[n, 3, size, size] float32."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    f = np.maximum(np.hypot(fy, fx), 1 / size)
    f[0, 0] = np.inf  # brightness is drawn by itself
    mix = np.linalg.cholesky(np.full((3, 3), 0.9) + 0.1 * np.eye(3))
    images = np.empty((n, 3, size, size), np.float32)
    for image in images:
        noise = np.fft.rfft2(rng.standard_normal((3, size, size)))
        planes = np.fft.irfft2(noise / f ** rng.uniform(0.8, 1.4), s=(size, size))
        planes = np.tensordot(mix, planes / planes.std(axis=(1, 2), keepdims=True), 1)
        contrast = np.exp(rng.normal(0, 0.4) - 0.16)  # E[contrast^2] is 1
        brightness = 0.5 * (mix @ rng.standard_normal(3))[:, None, None]
        image[:] = contrast * np.sqrt(0.75) * planes + brightness
    low, high = (0 - MEAN) / STD, (1 - MEAN) / STD
    return np.clip(images, low[:, None, None], high[:, None, None], dtype=np.float32, casting="same_kind")


def make(name, path):
    """A torchvision network whose normalizations know photographs, exported with BatchNormalization as nodes."""
    torch.manual_seed(0)
    extra = dict(aux_logits=False, init_weights=True) if name in ("googlenet", "inception_v3") else {}
    net = getattr(torchvision.models, name)(weights=None, **extra).eval()
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.weight.data.uniform_(0.5, 1.2)
        norm.bias.data.normal_(0, 0.1)
        norm.momentum = None  # the mean of all that is seen
        norm.reset_running_stats()
        norm.train()
    x = torch.from_numpy(photographs(np.random.default_rng(0), 32, peers.image_size(name)))
    with torch.no_grad():
        for batch in x.split(16):
            net(batch)
    train_torch.export(net, x[:1], path)


def run_hone(binary, x, threads):
    np.save(os.path.join(TMP, "x.npy"), x)
    subprocess.run([binary, "run", "-i", os.path.join(TMP, "x.npy"), "-o", os.path.join(TMP, "y.npy"), "--threads",
                    str(threads)], check=True)
    return np.load(os.path.join(TMP, "y.npy"))


def run_peer(path, threads):
    """ONNX Runtime on the same x.npy."""
    subprocess.run(["node", peers.ort_js(), "run", path, os.path.join(TMP, "x.npy"), os.path.join(TMP, "ref"),
                    "--threads", str(threads)], check=True)
    return np.load(os.path.join(TMP, "ref_0.npy"))


def compare_classes(got, want, difference):
    """Agreements, ties, disagreements, and how many classes occur."""
    ours, theirs, row = got.argmax(axis=1), want.argmax(axis=1), np.arange(len(want))
    near = want[row, theirs] - want[row, ours] <= 2 * difference
    agree = ours == theirs
    return agree.sum(), (~agree & near).sum(), (~agree & ~near).sum(), len(set(theirs.tolist()))


def check(name, a):
    path, binary, start = os.path.join(TMP, name + ".onnx"), os.path.join(TMP, name), time.time()
    make(name, path)
    subprocess.run([peers.HONE, "compile", path, "-o", binary, *a.flags.split()], check=True, stderr=subprocess.DEVNULL)
    rng = np.random.default_rng(a.seed)
    got, want = [], []
    for first in range(0, a.images, a.batch):
        x = photographs(rng, min(a.batch, a.images - first), peers.image_size(name))
        got.append(run_hone(binary, x, a.threads))
        want.append(run_peer(path, a.threads))
    os.unlink(binary)
    os.unlink(path)
    got, want = np.concatenate(got), np.concatenate(want)
    difference = np.abs(got - want).max(axis=1)
    worst, centre, wrong = difference.max() / np.abs(want).max(), want.mean(axis=0), 0
    for what, offset in (("as it is", 0), ("centred", centre)):
        agree, ties, bad, classes = compare_classes(got - offset, want - offset, difference)
        wrong += bad
        print(f"{name:18} {what:8}: {agree} of {a.images} agree, {ties} ties, {bad} wrong, {classes} classes")
    ok = wrong == 0 and worst <= LIMIT and classes >= LEAST_CLASSES
    print(f"{name:18} largest difference {worst:.2e} of the largest output; {time.time() - start:.0f} s"
          f"{'' if ok else '  FAILED'}", flush=True)
    return ok


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("networks", nargs="*")
ap.add_argument("--images", type=int, default=1000)
ap.add_argument("--batch", type=int, default=50)
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--flags", default="", help="more flags for hone compile")
args = ap.parse_args()
os.makedirs(TMP, exist_ok=True)
failed = [n for n in args.networks or NETWORKS if not check(n, args)]
print(f"{len(failed)} failed" + "".join("\n  " + n for n in failed))
sys.exit(bool(failed))
