#!/usr/bin/python3
"""Makes the WebP files and those that stand on their side in ../golden/, and forms.txt with the CRC-32 of what Pillow
makes of them and of other filters than the bilinear one. Needs python3-pil and python3-numpy; the results are committed.

A line of forms.txt is  CRC ARGUMENTS-OF-RT_PROBE  with the image's name in golden/."""
import os
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden")
FILTERS = {"bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS, "box": Image.BOX, "hamming": Image.HAMMING}


def save_images():
    def save(image, name, **options):
        image.save(os.path.join(GOLDEN, name), **options)

    wide = Image.open(os.path.join(GOLDEN, "rgb.png")).convert("RGB")
    alpha = Image.open(os.path.join(GOLDEN, "rgba.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    save(wide, "lossy.webp", quality=80)
    save(wide, "lossless.webp", lossless=True)
    opaque = alpha.copy()
    opaque.putalpha(alpha.getchannel("A").point(lambda a: max(a, 1)))
    save(opaque, "rgba.webp", lossless=True, exact=True)
    save(wide, "exif.webp", quality=80, exif=exif)
    save(wide, "exif.png", exif=exif)


def expect():
    lines = []

    def line(data, *args):
        lines.append("%08x %s" % (zlib.crc32(np.ascontiguousarray(data).tobytes()), " ".join(map(str, args))))

    for name in sorted(n for n in os.listdir(GOLDEN) if n.endswith(".webp") or n.startswith("exif.")):
        image = Image.open(os.path.join(GOLDEN, name))
        turned = ImageOps.exif_transpose(image)
        for mode, channels in (("RGB", 3), ("L", 1)):
            line(np.asarray(turned.convert("RGB").convert(mode)), "decode", name, channels)
            line(np.asarray(image.convert("RGB").convert(mode)), "decode", name, channels, "stored")
    image = Image.open(os.path.join(GOLDEN, "rgb.png")).convert("RGB")
    for name, kind in FILTERS.items():
        for w, h in ((16, 16), (100, 31), (image.width, 20), (20, image.height), (1, 1), (150, 120)):
            line(np.asarray(image.resize((w, h), kind)), "resize", "rgb.png", w, h, name)
    with open(os.path.join(GOLDEN, "forms.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(save_images() or expect())
