#!/usr/bin/env python3
"""A picture in the style of another one (Gatys, Ecker, Bethge 2016, "Image style transfer using convolutional neural networks").

  style.py VGG.onnx CONTENT STYLE -o OUT.png [--steps 200] [--sheet SHEET.png] [--input NAME --size 256]

The style of a picture is which channels of a layer are active together: the Gram matrix F F^T of its features F [channels, places]. The
pixels, whose colours count as a layer too, are moved until the Gram matrices are those of STYLE while the features of one deeper layer
stay near those of CONTENT. hone compiles the network as far as these layers reach, once as it is and once with --emit-gradient: what
comes in besides the image is the gradient of this loss by each layer's features, what comes out the gradient by the image. Any network
of convolutions will do, VGG does best.
The picture has the size of the network's input; where the file leaves height and width open, --input names it and --size says what it is.
"""
import argparse
import math
import re
import sys
import tempfile

import numpy as np
from PIL import Image, ImageOps

from network import Network, from_picture, inspect, open_picture, to_picture

ACTIVATIONS = ("relu", "clip", "leaky_relu", "elu", "hard_swish", "tanh", "sigmoid")


def choose_layers(model, shape):
    """(of style, of content): the first activation of each resolution; the last of the last resolution but one."""
    first, last = {}, {}
    for layer in inspect(model, *shape)["layers"]:
        size = re.fullmatch(r"f32\[[^,]+,\d+,(\d+),(\d+)\]", layer["result"])
        if size and min(map(int, size.groups())) > 1 and layer["layer"].split()[0] in ACTIVATIONS:
            first.setdefault(size.groups(), layer["name"])
            last[size.groups()] = layer["name"]
    if not first:
        sys.exit(f"{model}: no layer of features with an activation: name some by --style-layers and --content-layer")
    deep = list(last)
    return list(first.values()), last[deep[-2] if len(deep) > 1 else deep[-1]]


def features(y):
    """[channels, places] of [1, channels, height, width]."""
    return y.reshape(y.shape[1], -1).astype(np.float64)


def gram(f):
    return f @ f.T / f.size


def as_features(pixels):
    """Colours as a layer's output: [1, channels, height, width], grey 0."""
    return pixels.transpose(2, 0, 1)[None] - 0.5


def square(a):
    return max(float((a * a).sum()), 1e-12)


class Loss:
    """Sums of squares, each as a share of what they would be from nothing, so that weights mean the same for any network."""

    def __init__(self, names, style_layers, content_layer, style_weight, content, style):
        self.style = {n: gram(features(y)) for n, y in zip(names, style) if n in style_layers}
        self.content = {n: features(y) for n, y in zip(names, content) if n == content_layer}
        self.names, self.weight = names, style_weight / len(self.style)

    def __call__(self, outputs):
        """(style, content, the gradient by each output)"""
        sums, gradients = [0.0, 0.0], []
        for name, y in zip(self.names, outputs):
            f, d = features(y), 0
            if name in self.style:
                want = self.style[name]
                off = gram(f) - want
                sums[0] += square(off) / square(want) / len(self.style)
                d = d + self.weight * 4 / (f.size * square(want)) * (off @ f)
            if name in self.content:
                off = f - self.content[name]
                sums[1] += square(off) / square(self.content[name])
                d = d + 2 / square(self.content[name]) * off
            gradients.append(np.reshape(d, y.shape))
        return *sums, gradients


class Colours:
    """That of the pixels themselves, which a network may overlook."""

    def __init__(self, weight, style):
        self.want, self.weight = gram(features(as_features(style))), weight

    def __call__(self, pixels):
        f = features(as_features(pixels))
        d = self.weight * 4 / (f.size * square(self.want)) * ((gram(f) - self.want) @ f)
        return d.reshape(pixels.shape[2], *pixels.shape[:2]).transpose(1, 2, 0)


def roughness(p):
    """Of neighbours that differ, and its gradient."""
    d, down, right = np.zeros_like(p), np.diff(p, axis=0), np.diff(p, axis=1)
    d[1:] += down
    d[:-1] -= down
    d[:, 1:] += right
    d[:, :-1] -= right
    return 2 * d / p.size


class Waves:
    """Adam over a picture's Fourier coefficients, each moved as far as pictures have of it, the less the finer it is (Olah, Mordvintsev,
    Schubert 2017, "Feature Visualization"). Pixel by pixel the same losses are met by a grain that strided layers leave, and no eye likes."""

    def __init__(self, shape, steps, rate):
        self.shape, self.steps, self.rate, self.t = shape[:2], steps, rate, 0
        f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
        scale = 1 / np.maximum(f, 1 / max(shape[:2]))
        self.scale = (scale / np.sqrt((scale ** 2).sum()) * np.sqrt(shape[0] * shape[1] / 4))[:, :, None]
        self.m, self.v = np.zeros((2, *self.scale.shape[:2], shape[2])), np.zeros((2, *self.scale.shape[:2], shape[2]))

    def step(self, g):
        """By how much the pixels move, of the gradient by them."""
        self.t += 1
        waves = self.scale * np.fft.rfft2(g, axes=(0, 1), norm="ortho")
        g = np.stack([waves.real, waves.imag])
        self.m += 0.1 * (g - self.m)
        self.v += 0.001 * (g * g - self.v)
        rate = self.rate * (1 + math.cos(math.pi * (self.t - 1) / self.steps)) / 2
        d = rate * self.m / (1 - 0.9 ** self.t) / (np.sqrt(self.v / (1 - 0.999 ** self.t)) + 1e-12)
        return np.fft.irfft2(self.scale * (d[0] + 1j * d[1]), self.shape, axes=(0, 1), norm="ortho")


def transfer(o, plain, network, layers, content, style):
    """The picture's pixels, and the losses of style before and after."""
    loss = Loss(network.names, layers, o.content_layer, o.style_weight, plain.outputs(plain.input(content)),
                plain.outputs(plain.input(style)))
    pixels, waves = content.copy(), Waves(content.shape, o.steps, o.rate)
    colours = Colours(o.style_weight, style)
    before = loss(plain.outputs(plain.input(pixels)))[0]
    for step in range(o.steps):
        x = network.input(pixels)
        at_style, at_content, gradients = loss(plain.outputs(x))
        if step % max(1, o.steps // 10) == 0:
            print(f"step {step}: style {at_style:.4f}, content {at_content:.4f}", flush=True)
        g = network.by_pixels(network.vjp(x, gradients)[1]) + colours(pixels) + o.smooth * roughness(pixels)
        pixels = np.clip(pixels - waves.step(g), 0, 1)
    after = loss(plain.outputs(plain.input(pixels)))
    print(f"style {before:.4f} -> {after[0]:.4f}, content {after[1]:.4f}")
    return pixels


def make_sheet(pictures, gap=12):
    """Beside one another, as high as the last."""
    height = pictures[-1].height
    fit = [p.convert("RGB").resize((max(1, round(p.width * height / p.height)), height), Image.LANCZOS) for p in pictures]
    sheet = Image.new("RGB", (sum(p.width for p in fit) + gap * (len(fit) - 1), height), "white")
    x = 0
    for p in fit:
        sheet.paste(p, (x, 0))
        x += p.width + gap
    return sheet


def parse():
    """Our options; those of hone in `options`."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="Other options are those of hone compile, such as "
                                "--mean 0.5 --std 0.5. HONE says where hone is, else it is looked for on PATH.")
    p.add_argument("model")
    p.add_argument("content")
    p.add_argument("style")
    p.add_argument("-o", dest="out", required=True)
    p.add_argument("--sheet", help="a picture of all three")
    p.add_argument("--input", help="the network's, where its height and width are open")
    p.add_argument("--size", type=int, default=256, help="the longer side then, default 256")
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--rate", type=float, default=0.02, help="of a step, where white is 1")
    p.add_argument("--style-layers", help="with commas; default the first activation of each resolution")
    p.add_argument("--content-layer", help="default the last activation of the last resolution but one")
    p.add_argument("--style-weight", type=float, default=4.0, help="beside content's 1, default 4")
    p.add_argument("--smooth", type=float, default=20, help="the weight of smoothness, default 20")
    o, o.options = p.parse_known_args()
    return o


def find_size(o, content):
    """(the input's name, width, height)"""
    if o.input:
        return o.input, *(max(1, round(n * o.size / max(content.size))) for n in content.size)
    image = inspect(o.model)["inputs"][0]
    height, width = re.findall(r"\d+", image["type"])[-2:]
    return image["name"], int(width), int(height)


def main():
    o = parse()
    content, style = open_picture(o.content), open_picture(o.style)
    image, width, height = find_size(o, content)
    style_layers, content_layer = choose_layers(o.model, ["--input-shape", f"{image}=1x3x224x224"] if o.input else [])
    style_layers = o.style_layers.split(",") if o.style_layers else style_layers
    content_layer = o.content_layer or content_layer
    layers = list(dict.fromkeys([*style_layers, content_layer]))
    options = o.options + [w for n in layers for w in ("--output", n)] + \
        (["--input-shape", f"{image}=1x3x{height}x{width}"] if o.input else [])
    with tempfile.TemporaryDirectory() as folder:
        plain = Network(o.model, folder, "style_features", image, *options, gradient=False)
        network = Network(o.model, folder, "style_gradient", image, *options)
        outputs = dict(zip(layers, network.names))  # a layer's output has a name of its own
        o.content_layer = outputs[content_layer]
        pixels = [from_picture(ImageOps.fit(p.convert("RGB" if plain.how["channels"] == 3 else "L"), (width, height), Image.LANCZOS))
                  for p in (content, style)]
        picture = to_picture(transfer(o, plain, network, [outputs[n] for n in style_layers], *pixels))
    picture.save(o.out)
    if o.sheet:
        make_sheet([content, style, picture]).save(o.sheet)


if __name__ == "__main__":
    main()
