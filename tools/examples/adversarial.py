#!/usr/bin/env python3
"""A picture that a network takes for something else, though it looks the same (Goodfellow et al. 2015; Madry et al. 2018).

  adversarial.py NET.onnx PICTURE -o OUT.png [--target CLASS] [--most 4] [--sheet SHEET.png]

The pixels move along the sign of the gradient of the class's logarithm, none by more than --most of its 255 steps; what is written is in
whole steps, and judged so. The sheet shows the picture, what was added to it (enlarged, grey is nothing) and what came of it, with what
the network says of both. hone compiles the network with --emit-gradient: the gradient by its scores goes in, that by the image comes out.
"""
import argparse
import sys
import tempfile

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from network import Network, from_picture, inspect, to_picture


class Classifier:
    def __init__(self, model, folder, options):
        self.network = Network(model, folder, "adversarial", inspect(model)["inputs"][0]["name"], *options)
        about = self.network.about
        self.output, self.scores, self.labels = about["classifier"], about["scores"], about["labels"]
        if self.output < 0:
            sys.exit(f"{model}: it says of no class")

    def name(self, k):
        return self.labels[k] if self.labels and k < len(self.labels) and self.labels[k] else f"class {k}"

    def find(self, text):
        """The class of that number or name."""
        classes = int(np.prod(self.network.session.get_outputs()[self.output].shape[1:]))
        found = [k for k in range(classes) if self.name(k).lower() == text.lower()] or \
                [k for k in range(classes) if text.lower() in self.name(k).lower()]
        k = int(text) if text.isdigit() else found[0] if found else -1
        return k if 0 <= k < classes else sys.exit(f"--target: there is no class '{text}'")

    def log_odds(self, pixels, k):
        """(probabilities, the gradient of class k's log probability by the pixels)"""
        x = self.network.input(pixels)
        zeros = [np.zeros([1, *o.shape[1:]], np.float32) for o in self.network.session.get_outputs()[:len(self.network.names)]]
        y = self.network.vjp(x, zeros)[0][self.output].ravel().astype(np.float64)
        p = y if self.scores == "probabilities" else np.exp(y - y.max()) / np.exp(y - y.max()).sum()
        one = np.eye(len(p))[k]
        by_scores = {"probabilities": one / max(p[k], 1e-30), "log-probabilities": one}.get(self.scores, one - p)
        zeros[self.output] = by_scores.reshape(zeros[self.output].shape)
        return p, self.network.by_pixels(self.network.vjp(x, zeros)[1])

    def says(self, pixels):
        return self.log_odds(pixels, 0)[0]


def attack(c, start, k, towards, most, steps):
    """Pixels within `most` of the start, in whole 255ths, towards class k or away from it."""
    p, way = start.copy(), 1 if towards else -1
    for _ in range(steps):
        p = p + way * 2.5 * most / steps * np.sign(c.log_odds(p, k)[1])
        p = np.clip(np.clip(p, start - most, start + most), 0, 1)
    return np.clip(np.clip(np.rint(p * 255), np.ceil((start - most) * 255 - 1e-6), np.floor((start + most) * 255 + 1e-6)), 0, 255) / 255


def make_sheet(panels, side=280, gap=16, under=44):
    """Panels of a picture and two lines below it."""
    sheet = Image.new("RGB", (len(panels) * (side + gap) + gap, side + gap + under), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for i, (picture, *lines) in enumerate(panels):
        scale = side / max(picture.size)
        size = [max(1, round(n * scale)) for n in picture.size]
        x = gap + i * (side + gap)
        sheet.paste(picture.convert("RGB").resize(size, Image.NEAREST if scale > 2 else Image.LANCZOS), (x, gap))
        for k, line in enumerate(lines):
            while line and draw.textlength(line, font) > side:
                line = line[:-4] + "..."
            draw.text((x, gap + size[1] + 6 + 16 * k), line, "black", font)
    return sheet


def parse():
    """Our options; those of hone in `options`."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="Other options are those of hone compile, such as "
                                "--mean 0.5 --std 0.5. HONE says where hone is, else it is looked for on PATH.")
    p.add_argument("model")
    p.add_argument("picture")
    p.add_argument("-o", dest="out", required=True)
    p.add_argument("--sheet", help="a picture of all three")
    p.add_argument("--target", help="the class to be taken for, by name or number; default any other")
    p.add_argument("--most", type=float, default=4, help="steps of 255 that a pixel may move, default 4")
    p.add_argument("--steps", type=int, default=10)
    o, o.options = p.parse_known_args()
    return o


def main():
    o = parse()
    with tempfile.TemporaryDirectory() as folder:
        c = Classifier(o.model, folder, o.options)
        # as the network sees it: resized and cropped
        seen = c.network.package.preprocess(c.network.open(o.picture))[None].astype(np.float32)
        start = from_picture(to_picture(c.network.pixels(seen)))
        before = c.says(start)
        true = int(before.argmax())
        k = c.find(o.target) if o.target else true
        end = attack(c, start, k, o.target is not None, o.most / 255, o.steps)
        after = c.says(end)
    now = int(after.argmax())
    say = lambda p, k: f"{c.name(k)} {p[k]:.1%}"
    print(f"before: {say(before, true)}\nafter:  {say(after, now)}, {say(after, true)}")
    print(f"largest change {np.abs(end - start).max() * 255:.0f} of 255")
    to_picture(end).save(o.out)
    if o.sheet:
        grown = 0.5 + (end - start) / (2 * o.most / 255)
        make_sheet([(to_picture(start), say(before, true), ""), (to_picture(grown), "what was added", f"at most {o.most:g} of 255"),
                    (to_picture(end), say(after, now), say(after, true) if now != true else "")]).save(o.sheet)


if __name__ == "__main__":
    main()
