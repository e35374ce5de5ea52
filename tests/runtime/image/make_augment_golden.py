#!/usr/bin/python3
"""Makes golden/augment.txt: CRC-32 of what torchvision's transforms over Pillow images make of the images in golden/
for given crop boxes, flips and jitter factors. Needs python3-pil, python3-numpy, python3-torchvision; the result is
committed. A line is  CRC ARGUMENTS-OF-DATA_PROBE."""
import os
import random
import zlib

import numpy as np
import torchvision.transforms.functional as F
from PIL import Image

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
CHANGES = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation]


def transform(image, box, size, flip, jitter):
    """box: left, top, width, height; size: height, width; jitter: pairs of number in CHANGES and factor"""
    left, top, width, height = box
    image = F.resized_crop(image, top, left, height, width, list(size), F.InterpolationMode.BILINEAR)
    if flip:
        image = F.hflip(image)
    for change, factor in jitter:
        image = CHANGES[change](image, factor)
    return np.asarray(image)


def main():
    rng = random.Random(5)
    lines = []
    for name in ("rgb.png", "baseline_444.jpg", "cmyk.jpg", "grey.png", "tiny.png"):
        for channels in (3, 1):
            image = Image.open(os.path.join(GOLDEN, name)).convert("RGB" if channels == 3 else "L")
            for i in range(8):
                w, h = rng.randint(1, image.width), rng.randint(1, image.height)
                box = (0, 0, image.width, image.height) if i == 0 else (
                    rng.randint(0, image.width - w), rng.randint(0, image.height - h), w, h)
                size = rng.choice([(16, 16), (40, 33), (5, 8)])
                order = [] if i == 0 else [i - 1] if i < 4 else rng.sample(range(3), 3)
                # as floats: what the C side reads back
                jitter = [(k, float(np.float32(round(rng.uniform(0.6, 1.4), 4)))) for k in order]
                flip = int(rng.random() < 0.5)
                pixels = transform(image, box, size, flip, jitter)
                words = ["apply", name, *box, flip]
                for k, factor in jitter:
                    words += [k, "%.9g" % factor]
                words += ["--model", "%dx%dx%d" % (channels, *size)]
                lines.append("%08x %s" % (zlib.crc32(pixels.tobytes()), " ".join(map(str, words))))
    with open(os.path.join(GOLDEN, "augment.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
