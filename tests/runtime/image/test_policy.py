"""TrivialAugment's changes against Pillow's, which torchvision calls for them; what is drawn; random erasing."""
import os
import sys
import unittest

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case, read_npy

(IDENTITY, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, ROTATE, BRIGHTNESS, COLOR, CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE,
 AUTO_CONTRAST, EQUALIZE) = range(14)
SIZE = 40


def affine(im, *m):
    return im.transform(im.size, Image.Transform.AFFINE, m, Image.Resampling.NEAREST)


CHANGES = {IDENTITY: lambda im, v: im, SHEAR_X: lambda im, v: affine(im, 1, v, 0, 0, 1, 0), SHEAR_Y: lambda im, v: affine(im, 1, 0, 0, v, 1, 0),
           TRANSLATE_X: lambda im, v: affine(im, 1, 0, -int(v), 0, 1, 0), TRANSLATE_Y: lambda im, v: affine(im, 1, 0, 0, 0, 1, -int(v)),
           ROTATE: lambda im, v: im.rotate(v, Image.Resampling.NEAREST), BRIGHTNESS: lambda im, v: ImageEnhance.Brightness(im).enhance(1 + v),
           COLOR: lambda im, v: ImageEnhance.Color(im).enhance(1 + v), CONTRAST: lambda im, v: ImageEnhance.Contrast(im).enhance(1 + v),
           SHARPNESS: lambda im, v: ImageEnhance.Sharpness(im).enhance(1 + v), POSTERIZE: lambda im, v: ImageOps.posterize(im, int(v)),
           SOLARIZE: lambda im, v: ImageOps.solarize(im, v), AUTO_CONTRAST: lambda im, v: ImageOps.autocontrast(im),
           EQUALIZE: lambda im, v: ImageOps.equalize(im)}
FAR = {SHEAR_X: (0.4, -0.99), SHEAR_Y: (0.33, -0.7), TRANSLATE_X: (7.4, -20), TRANSLATE_Y: (3, -31.9), ROTATE: (31.5, -90, 135), BRIGHTNESS: (0.5, -0.9),
       COLOR: (0.7, -0.99), CONTRAST: (0.6, -0.5), SHARPNESS: (0.9, -0.9), POSTERIZE: (8, 4, 2), SOLARIZE: (200, 51, 0)}


class Policy(Case):
    def pixels(self, *args):
        self.good("data_probe", *args)
        return np.frombuffer(read_npy(self.path("out.npy"))[2], np.uint8)

    def test_each_is_pillows(self):
        """To a level; affine maps to a pixel in a hundred, which lie on an edge between two."""
        r = np.random.default_rng(1)
        x = np.clip(np.cumsum(r.integers(-9, 10, (SIZE, SIZE, 3)), axis=1) + 120, 30, 220).astype(np.uint8)
        for name, im in (("rgb.png", Image.fromarray(x)), ("grey.png", Image.fromarray(x[..., 0]))):
            im.save(self.path(name))
            for op, change in CHANGES.items():
                if op == COLOR and name == "grey.png":
                    continue
                for v in FAR.get(op, (0,)):
                    got = self.pixels("policy", "--model", f"{3 if name == 'rgb.png' else 1}x{SIZE}x{SIZE}", "--", name, op, "out.npy", repr(float(v)))
                    want = np.asarray(change(im, v)).ravel()
                    off = np.abs(got.astype(int) - want)
                    if op in (SHEAR_X, SHEAR_Y, ROTATE):
                        self.assertLess((off > 0).mean(), 0.01, (op, v))
                    else:
                        self.assertLessEqual(off.max(), 1, (op, v))
                    if op == EQUALIZE:
                        self.assertGreater(np.abs(got.astype(int) - np.asarray(im).ravel()).max(), 10)

    def test_what_is_drawn(self):
        seen = {}
        for line in self.good("data_probe", "policies", 6000).splitlines():
            op, far = line.split()
            seen.setdefault(int(op), []).append(float(far))
        self.assertEqual(sorted(seen), list(range(14)))
        for op, far in seen.items():
            self.assertAlmostEqual(len(far) / 6000, 1 / 14, delta=0.015)
            limit = {SHEAR_X: 0.99, SHEAR_Y: 0.99, TRANSLATE_X: 32, TRANSLATE_Y: 32, ROTATE: 135, SOLARIZE: 255, POSTERIZE: 8}.get(op, 0.99)
            if op in (IDENTITY, AUTO_CONTRAST, EQUALIZE):
                self.assertEqual(set(far), {0})
            elif op in (POSTERIZE, SOLARIZE):
                self.assertEqual((min(far), max(far)), (2 if op == POSTERIZE else 0, limit))
            else:
                self.assertEqual((round(min(far), 6), round(max(far), 6)), (-limit, limit))
                self.assertEqual(len({abs(round(v, 6)) for v in far}), 31)

    def test_erasing(self):
        """How often, how large, and what stands there then."""
        Image.fromarray(np.full((SIZE, SIZE, 3), 90, np.uint8)).save(self.path("flat.png"))
        os.makedirs(self.path("set/a"))
        os.rename(self.path("flat.png"), self.path("set/a/flat.png"))
        for how in ("pixel", "rand", "const"):
            shares = []
            for epoch in range(80):
                self.good("data_probe", "sample", "set", 0, "out.npy", "--classes", 1, "--fraction", 0, "--model", f"3x{SIZE}x{SIZE}", "--epoch", epoch,
                          "--erase", 0.6, "--how", how)
                x = np.frombuffer(read_npy(self.path("out.npy"))[2], np.float32).reshape(3, SIZE, SIZE)
                gone = np.any(x != np.float32((np.float32(90) / np.float32(255) - np.float32(0.25)) / np.float32(0.5)), axis=0)
                if not gone.any():
                    continue
                ys, xs = np.nonzero(gone)
                self.assertTrue(gone[ys.min():ys.max() + 1, xs.min():xs.max() + 1].all())
                shares.append(gone.mean())
                self.assertEqual([len(set(c[gone].tolist())) > 1 for c in x], [how == "pixel"] * 3)
                if how == "const":
                    self.assertEqual(set(x[:, gone].ravel().tolist()), {0})
            self.assertAlmostEqual(len(shares) / 80, 0.6, delta=0.2)
            self.assertTrue(0.01 < min(shares) and max(shares) < 0.38, shares)


if __name__ == "__main__":
    unittest.main()
