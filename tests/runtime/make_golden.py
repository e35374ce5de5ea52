#!/usr/bin/python3
"""Makes golden/: small images in every form that the decoders know, and expected.txt with the CRC-32 of what Pillow and
torchvision make of them. Needs python3-pil, python3-numpy, python3-torchvision; the results are committed.

A line of expected.txt is  CRC ARGUMENTS-OF-RT_PROBE  with the image's name in golden/."""
import os
import zlib

import numpy as np
import torchvision.transforms as T
from PIL import Image

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def photo(width, height, seed):
    """Smooth colour with edges and a little noise: what resizing and JPEG get wrong shows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([128 + 100 * np.sin(x / 9 + k) * np.cos(y / (7 + k)) for k in range(3)], axis=2)
    rgb[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2] = (250, 30, 60)
    rgb += rng.normal(0, 6, rgb.shape)
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def save_images():
    def save(image, name, **options):
        image.save(os.path.join(GOLDEN, name), **options)

    wide, tall = photo(61, 40, 1), photo(37, 53, 2)
    save(wide, "baseline_420.jpg", quality=85)
    save(tall, "baseline_444.jpg", quality=90, subsampling=0)
    save(wide, "progressive.jpg", quality=80, progressive=True)
    save(tall.convert("L"), "grey.jpg", quality=85)
    save(wide.convert("CMYK"), "cmyk.jpg", quality=85)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate: to be ignored
    save(tall, "exif.jpg", quality=85, exif=exif)
    save(wide, "rgb.png")
    save(tall.convert("L"), "grey.png")
    save(tall.convert("1"), "bilevel.png")
    alpha = wide.copy()
    alpha.putalpha(Image.fromarray((np.arange(61 * 40) % 256).astype(np.uint8).reshape(40, 61)))
    save(alpha, "rgba.png")
    save(alpha.convert("LA"), "grey_alpha.png")
    save(wide.quantize(200), "palette.png")
    save(tall.quantize(13), "palette_4bit.png")
    save(tall.quantize(13), "palette_transparent.png", transparency=2)
    save(photo(9, 7, 3), "tiny.png")


def expect():
    lines = []

    def line(data, *args):
        lines.append("%08x %s" % (zlib.crc32(np.ascontiguousarray(data).tobytes()), " ".join(map(str, args))))

    for name in sorted(os.listdir(GOLDEN)):
        if not name.endswith((".jpg", ".png")):
            continue
        image = Image.open(os.path.join(GOLDEN, name))
        rgb, grey = image.convert("RGB"), image.convert("L")
        line(np.asarray(rgb), "decode", name, 3)
        line(np.asarray(grey), "decode", name, 1)
        for w, h in ((16, 16), (100, 31), (rgb.width, 20), (20, rgb.height), (1, 1)):
            line(np.asarray(rgb.resize((w, h), Image.BILINEAR)), "resize", name, w, h)
        for resize, h, w in ((32, 28, 28), (45, 33, 40), (0, 24, 31), (8, 17, 10)):
            steps = [T.Resize(resize) if resize else T.Resize((h, w)), T.CenterCrop((h, w)), T.ToTensor()]
            x = T.Compose(steps + [T.Normalize(MEAN, STD)])(rgb).numpy()
            line(x, "preprocess", name, 3, resize, h, w, "rgb", "nchw")
        line(T.Compose(steps + [T.Normalize(MEAN[:1], STD[:1])])(grey).numpy(), "preprocess", name, 1, resize, h, w,
             "rgb", "nchw")
        bgr = T.Compose(steps)(rgb).numpy()[::-1]
        bgr = (bgr - np.float32(MEAN)[:, None, None]) / np.float32(STD)[:, None, None]
        line(bgr.transpose(1, 2, 0), "preprocess", name, 3, resize, h, w, "bgr", "nhwc")
    with open(os.path.join(GOLDEN, "expected.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    os.makedirs(GOLDEN, exist_ok=True)
    save_images()
    expect()
