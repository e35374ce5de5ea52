#!/usr/bin/python3
"""Writes images of the five classes that clothes5.onnx does not know, from Debian's dataset-fashion-mnist:

  pick_classes.py FOLDER [PER_CLASS [TEST_PER_CLASS]]

FOLDER gets the MNIST family's four files, PER_CLASS (50) training and TEST_PER_CLASS (200) test images of every
class, and labels.txt. Python's own library is enough.
"""
import gzip
import os
import struct
import sys

DATA = "/usr/share/datasets/fashion-mnist"
CLASSES = {1: "trouser", 2: "pullover", 6: "shirt", 7: "sneaker", 8: "bag"}
PIXELS = 28 * 28


def read(name, offset):
    with gzip.open(os.path.join(DATA, name + "-ubyte.gz")) as f:
        return f.read()[offset:]


def write(path, dims, data):
    with open(path, "wb") as f:
        f.write(struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims) + data)


def pick(part, per_class, folder):
    images, labels = read(part + "-images-idx3", 16), read(part + "-labels-idx1", 8)
    chosen = []
    for number, k in enumerate(CLASSES):
        at = [i for i, label in enumerate(labels) if label == k][:per_class]
        chosen += [(images[i * PIXELS:(i + 1) * PIXELS], number) for i in at]
    write(os.path.join(folder, part + "-images-idx3-ubyte"), (len(chosen), 28, 28), b"".join(c[0] for c in chosen))
    write(os.path.join(folder, part + "-labels-idx1-ubyte"), (len(chosen),), bytes(c[1] for c in chosen))
    return len(chosen)


def main(folder, per_class=50, test_per_class=200):
    os.makedirs(folder, exist_ok=True)
    train, test = pick("train", int(per_class), folder), pick("t10k", int(test_per_class), folder)
    with open(os.path.join(folder, "labels.txt"), "w") as f:
        f.write("\n".join(CLASSES.values()) + "\n")
    print(f"{folder}: {train} training and {test} test images of {', '.join(CLASSES.values())}")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
