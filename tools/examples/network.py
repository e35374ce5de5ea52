"""What the examples share: a network that hone compiles into a Python package, with its gradient by the image, and pictures as that
network takes them.

Pixels are arrays [height, width, channels] of 0 to 1. Needs numpy and Pillow, and hone, which is `hone` on PATH, or what HONE says.
"""
import importlib
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
from PIL import Image

HONE = os.environ.get("HONE", "hone")


def hone(*argv):
    """What hone prints; its errors end this program."""
    done = subprocess.run([HONE, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"{HONE}: exit code {done.returncode}")
    return done.stdout


def inspect(model, *options):
    """Inputs, outputs and layers of a model: hone inspect --json."""
    return json.loads(hone("inspect", model, "--json", *options))


class Network:
    """A model compiled: outputs(x) and, where `gradient`, vjp(x, gradients of the outputs). x: as input() makes it."""

    def __init__(self, model, folder, name, image, *options, gradient=True):
        self.image = image  # the input's name
        wheel = os.path.join(folder, f"{name}-1-py3-none-linux_x86_64.whl")
        hone("compile", model, "-o", wheel, "--emit", "python", "--name", name,
             *(["--emit-gradient", self.image] if gradient else []), *options)
        with zipfile.ZipFile(wheel) as z:
            z.extractall(folder)
        os.remove(wheel)
        sys.path.insert(0, folder)
        self.package = importlib.import_module(name)
        sys.path.remove(folder)
        with open(os.path.join(folder, name, "model.json"), encoding="utf-8") as f:
            self.about = json.load(f)
        self.how = self.about["preprocess"]
        if not self.how:
            sys.exit(f"{model}: its input is no picture")
        self.session = self.package.Session()
        self.names = [o.name for o in self.session.get_outputs() if not o.name.startswith("grad:")]

    def outputs(self, x):
        return self.session.run(None, {self.image: x})

    def vjp(self, x, cotangents):
        """(the outputs, d/dx of the sum of all <output, cotangent>)"""
        feed = {self.image: x, **{"grad:" + n: c.astype(np.float32) for n, c in zip(self.names, cotangents)}}
        *y, dx = self.session.run([*self.names, "grad:" + self.image], feed)
        return y, dx

    # ---- pixels and the network's input: (255 * scale * pixels - mean) / std, in its order of axes and channels

    def input(self, pixels):
        x = (pixels * (255 * self.how["scale"]) - np.array(self.how["mean"])) / np.array(self.how["std"])
        return np.ascontiguousarray(self._turned(x, True)[None], np.float32)

    def pixels(self, x):
        return (self._turned(x[0], False) * np.array(self.how["std"]) + np.array(self.how["mean"])) / (255 * self.how["scale"])

    def by_pixels(self, dx):
        """The gradient by pixels, of one by the input."""
        return self._turned(dx[0], False) * (255 * self.how["scale"]) / np.array(self.how["std"])

    def _turned(self, a, to_input):
        a = a if to_input or self.how["nhwc"] else a.transpose(1, 2, 0)
        a = a[:, :, ::-1] if self.how["bgr"] else a
        return a if not to_input or self.how["nhwc"] else a.transpose(2, 0, 1)

    def open(self, path):
        return open_picture(path).convert("RGB" if self.how["channels"] == 3 else "L")


def open_picture(path):
    try:
        picture = Image.open(path)
        picture.load()
        return picture
    except (OSError, ValueError, Image.DecompressionBombError) as e:
        sys.exit(f"{path}: no picture that can be read: {e}")


def from_picture(picture):
    a = np.asarray(picture, np.float64) / 255
    return a if a.ndim == 3 else a[:, :, None]


def to_picture(pixels):
    a = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(a if a.shape[2] == 3 else a[:, :, 0])
