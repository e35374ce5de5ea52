"""New classifiers on frozen networks, hone's defaults beside scikit-learn:

  head_accuracy.py HONE MODEL.onnx [--sets fashion5,fashion10,digits,cifar10] [--cifar FOLDER] [--mean M --std S | --pictures [--head-at auto]]

For each set: top-1 of the validation images by `hone finetune` and `train` without options, and by scikit-learn's logistic
regression on the same features, standardized as hone does, at each C of a path; the best C is chosen by the validation images,
which hone never sees. Features are read from the program's cache. Images are tensors, or with --pictures files, which hone
enlarges and normalizes as it finds right, and may place the classifier by. cifar10, of FOLDER with its binary files:
the first 100 images of each class in data_batch_1.bin; validated by the next 100 and by 100 of test_batch.bin. Needs
numpy, Pillow, onnx, scikit-learn and Debian's dataset-fashion-mnist."""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import fashion

PATH = 10.0 ** np.arange(-4, 3)


def pick(images, labels, classes, per_class, first=0):
    at = [i for k in classes for i in np.flatnonzero(labels == k)[first:first + per_class]]
    return images[at], np.array([classes.index(labels[i]) for i in at], np.int32)


def fashion_set(classes, per_class, per_class_val):
    (x, y), (xv, yv) = fashion.load("train"), fashion.load("t10k")
    return pick(x, y, classes, per_class), pick(xv, yv, classes, per_class_val)


def digits(per_class=50):
    d = load_digits()
    x, y = (d.images * 15).astype(np.uint8), d.target
    return pick(x[:900], y[:900], list(range(10)), per_class), (x[900:], y[900:].astype(np.int32))


def cifar10(folder, per_class=100):
    def part(name, first=0):
        rows = np.fromfile(os.path.join(folder, name), np.uint8).reshape(-1, 1 + 3 * 32 * 32)  # label, then planes of red, green, blue
        return pick(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0], list(range(10)), per_class, first)
    val = [part("test_batch.bin"), part("data_batch_1.bin", per_class)]
    return part("data_batch_1.bin"), tuple(np.concatenate(a) for a in zip(*val))


SETS = {"fashion5": lambda a: fashion_set([1, 2, 6, 7, 8], 50, 200), "fashion10": lambda a: fashion_set(list(range(10)), 100, 100),
        "digits": lambda a: digits(), "cifar10": lambda a: cifar10(a.cifar)}


def tensors(images, channels, size, mean, std):
    """As a network takes them: grey images in all channels, coloured ones grey where it has one."""
    kind = "L" if channels == 1 else "RGB"
    x = np.stack([np.asarray(Image.fromarray(i).convert(kind).resize((size, size), Image.BILINEAR), np.float32) for i in images]) / 255
    x = x.reshape(len(x), size, size, channels).transpose(0, 3, 1, 2)
    return ((x - np.reshape(mean, (1, -1, 1, 1))) / np.reshape(std, (1, -1, 1, 1))).astype(np.float32)


def write_pictures(folder, part, x, y):
    for k in set(y):
        os.makedirs(os.path.join(folder, part, f"class{k}"))
    for i, (image, k) in enumerate(zip(x, y)):
        Image.fromarray(image).save(os.path.join(folder, part, f"class{k}", f"{i:05}.png"))


def read_cache(folder):
    """[rows, features] of the only file there: a header (magic, key, rows, features), sums, then the rows."""
    path, = glob.glob(os.path.join(folder, "features-*.bin"))
    rows, width = np.fromfile(path, np.int64, 2, offset=48)
    head = (64 + rows * 8 + 4095) // 4096 * 4096
    return np.fromfile(path, np.float32, rows * width, offset=head).reshape(rows, width).astype(float)


def best_of_path(x, y, v, w):
    mean, std = x.mean(0), x.std(0)
    scale = np.sqrt(std * np.sqrt((std ** 2).mean()))
    scale[scale == 0] = 1
    x, v = (x - mean) / scale, (v - mean) / scale
    return max((LogisticRegression(C=c, max_iter=3000, tol=1e-5).fit(x, y).score(v, w), -c) for c in PATH)


def run(*argv):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout


def compare(a, name, folder):
    shape = [d.dim_value for d in onnx.load(a.model, load_external_data=False).graph.input[0].type.tensor_type.shape.dim]
    data = SETS[name](a)
    if a.pictures:
        return compare_pictures(a, name, folder, data)
    for part, (x, y) in zip(("train", "val"), data):
        np.save(os.path.join(folder, part + "-x.npy"), tensors(x, shape[1], shape[2], a.mean, a.std))
        np.save(os.path.join(folder, part + "-y.npy"), y)
    program, cache = os.path.join(folder, "program"), os.path.join(folder, "cache")
    train, val = (f"{folder}/{p}-x.npy,{folder}/{p}-y.npy" for p in ("train", "val"))
    run(a.hone, "finetune", a.model, "-o", program, "--classes", len(set(data[0][1])))
    run(program, "train", train, "--val", val, "--feature-cache", cache, "--checkpoint", folder + "/ck", "-o", folder + "/t.onnx", "-q")
    report(name, program, val, folder, data[0][1], data[1][1])


def compare_pictures(a, name, folder, data):
    pictures, program = os.path.join(folder, "pictures"), os.path.join(folder, "program")
    for part, (x, y) in zip(("train", "val"), data):
        write_pictures(pictures, part, x, y)
    said = run(a.hone, "finetune", a.model, "-o", program, "--classes", pictures, *(["--head-at", a.head_at] if a.head_at else []))
    print("".join(line + "\n" for line in said.splitlines() if line.startswith("head at")), end="")
    run(program, "train", pictures, "--feature-cache", folder + "/cache", "--checkpoint", folder + "/ck", "-o", folder + "/t.onnx", "-q")
    # rows of the cache are in the order of classes and files
    report(name, program, pictures, folder, *(np.sort(y, kind="stable") for _, y in data))


def report(name, program, val, folder, y, w):
    ours = json.loads(run(program, "eval", val, "--checkpoint", folder + "/ck", "--json"))["top1"]
    f, n = read_cache(folder + "/cache"), len(y)
    top1, c = best_of_path(f[:n], y, f[n:], w)
    print(f"{name:10} {n:5} images, {f.shape[1]} features: hone {ours:.1%}, scikit-learn {top1:.1%} at its best C = {-c:g}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hone")
    p.add_argument("model")
    p.add_argument("--sets", default="fashion5,fashion10,digits")
    p.add_argument("--cifar")
    p.add_argument("--pictures", action="store_true")
    p.add_argument("--head-at")
    p.add_argument("--mean", type=lambda s: [float(x) for x in s.split(",")], default=[0.485, 0.456, 0.406])
    p.add_argument("--std", type=lambda s: [float(x) for x in s.split(",")], default=[0.229, 0.224, 0.225])
    a = p.parse_args()
    for name in a.sets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            compare(a, name, folder)


if __name__ == "__main__":
    main()
