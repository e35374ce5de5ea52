"""Fashion-MNIST as Debian's dataset-fashion-mnist installs it, for the tests that need real images."""
import gzip
import os

import numpy as np

DATA = "/usr/share/datasets/fashion-mnist"
MEAN, STD = 0.2860, 0.3530  # as the networks in tools/sample take them


def read(name, offset):
    with gzip.open(os.path.join(DATA, name + "-ubyte.gz"), "rb") as f:
        return np.frombuffer(f.read(), np.uint8, offset=offset)


def load(part):
    """part: train or t10k. Returns images [N,28,28] and labels [N], u8."""
    return read(part + "-images-idx3", 16).reshape(-1, 28, 28), read(part + "-labels-idx1", 8)


def tensors(images):
    """What the networks take: f32 [N,1,28,28]."""
    return ((images.astype(np.float32) / 255 - MEAN) / STD)[:, None]
