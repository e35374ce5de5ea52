"""TrivialAugment's and RandAugment's changes against Pillow's, which torchvision and timm call for them; what is drawn, against what
their sources say; random erasing."""
import os
import sys
import unittest

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case, read_npy

(IDENTITY, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y, ROTATE, BRIGHTNESS, COLOR, CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE,
 AUTO_CONTRAST, EQUALIZE, INVERT, SOLARIZE_ADD) = range(16)
SIZE = 40


def affine(im, *m):
    return im.transform(im.size, Image.Transform.AFFINE, m, Image.Resampling.NEAREST)


CHANGES = {IDENTITY: lambda im, v: im, SHEAR_X: lambda im, v: affine(im, 1, v, 0, 0, 1, 0), SHEAR_Y: lambda im, v: affine(im, 1, 0, 0, v, 1, 0),
           TRANSLATE_X: lambda im, v: affine(im, 1, 0, -int(v), 0, 1, 0), TRANSLATE_Y: lambda im, v: affine(im, 1, 0, 0, 0, 1, -int(v)),
           ROTATE: lambda im, v: im.rotate(v, Image.Resampling.NEAREST), BRIGHTNESS: lambda im, v: ImageEnhance.Brightness(im).enhance(1 + v),
           COLOR: lambda im, v: ImageEnhance.Color(im).enhance(1 + v), CONTRAST: lambda im, v: ImageEnhance.Contrast(im).enhance(1 + v),
           SHARPNESS: lambda im, v: ImageEnhance.Sharpness(im).enhance(1 + v), POSTERIZE: lambda im, v: ImageOps.posterize(im, int(v)),
           SOLARIZE: lambda im, v: ImageOps.solarize(im, v), AUTO_CONTRAST: lambda im, v: ImageOps.autocontrast(im),
           EQUALIZE: lambda im, v: ImageOps.equalize(im), INVERT: lambda im, v: ImageOps.invert(im),
           SOLARIZE_ADD: lambda im, v: im.point([min(255, i + int(v)) if i < 128 else i for i in range(256)] * len(im.getbands()))}
FAR = {SHEAR_X: (0.4, -0.99), SHEAR_Y: (0.33, -0.7), TRANSLATE_X: (7.4, -20), TRANSLATE_Y: (3, -31.9), ROTATE: (31.5, -90, 135), BRIGHTNESS: (0.5, -0.9),
       COLOR: (0.7, -0.99), CONTRAST: (0.6, -0.5), SHARPNESS: (0.9, -0.9), POSTERIZE: (8, 4, 2, 0), SOLARIZE: (200, 51, 0, 256), SOLARIZE_ADD: (0, 33, 110)}


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

    def test_smooth_maps(self):
        """As timm has them: bilinear, and the mean around; to a level, but where a pixel lies on the picture's edge."""
        r = np.random.default_rng(2)
        x = np.clip(np.cumsum(r.integers(-9, 10, (SIZE, SIZE, 3)), axis=1) + 120, 30, 220).astype(np.uint8)
        Image.fromarray(x).save(self.path("rgb.png"))
        im, fill = Image.fromarray(x), (124, 116, 104)
        for op, m in ((SHEAR_X, lambda v: (1, v, 0, 0, 1, 0)), (SHEAR_Y, lambda v: (1, 0, 0, v, 1, 0)), (TRANSLATE_X, lambda v: (1, 0, -v, 0, 1, 0)),
                      (TRANSLATE_Y, lambda v: (1, 0, 0, 0, 1, -v)), (ROTATE, None)):
            for v in (0.27, -0.1) if op in (SHEAR_X, SHEAR_Y) else (7.4, -20.25):
                got = self.pixels("policy", "--model", f"3x{SIZE}x{SIZE}", "--smooth", 1, "--", "rgb.png", op, "out.npy", repr(v))
                bilinear = Image.Resampling.BILINEAR
                want = im.rotate(v, bilinear, fillcolor=fill) if op == ROTATE else im.transform(im.size, Image.Transform.AFFINE, m(v), bilinear, fillcolor=fill)
                off = np.abs(got.astype(int) - np.asarray(want).ravel())
                self.assertLess((off > 1).mean(), 0.003, (op, v))

    def draws(self, policy, n=3000):
        text, *lines = self.good("data_probe", "policies", n, "--aa", policy, "--model", "3x200x400").splitlines()
        return text, [[(int(op), float(far)) for op, far in (c.split(":") for c in line.split())] for line in lines]

    def check_draws(self, policy, strengths, n, share=1.0):
        """strengths: {op: (the least, the largest), or more values that are all there are}."""
        _, drawn = self.draws(policy, 12000)
        seen, total = {}, 0
        for line in drawn:
            self.assertLessEqual(len(line), n)
            total += len(line)
            for op, far in line:
                seen.setdefault(op, []).append(far)
        self.assertEqual(seen.keys(), strengths.keys())
        self.assertAlmostEqual(total / len(drawn) / n, share, delta=0.03)
        for op, far in seen.items():
            self.assertAlmostEqual(len(far) / total, 1 / len(strengths), delta=0.02)
            want = strengths[op]
            self.assertTrue(all(min(abs(v - w) for w in want) < 1e-6 * max(1, abs(v)) for v in far), (policy, op, set(far), want))
            self.assertEqual(len({round(v, 6) for v in far}), len(want), (policy, op))

    def test_what_trivial_augment_draws(self):
        def both(top):
            return [s * top * k / 30 for k in range(31) for s in ((1, -1) if k else (1,))]

        colours = both(0.99)
        self.check_draws("ta_wide", {IDENTITY: [0], SHEAR_X: colours, SHEAR_Y: colours, TRANSLATE_X: both(32), TRANSLATE_Y: both(32), ROTATE: both(135),
                                     BRIGHTNESS: colours, COLOR: colours, CONTRAST: colours, SHARPNESS: colours, AUTO_CONTRAST: [0], EQUALIZE: [0],
                                     POSTERIZE: range(2, 9), SOLARIZE: [255 - 255 * k / 30 for k in range(31)]}, 1)

    def test_what_rand_augment_draws(self):
        """torchvision's, of images of 400 x 200; and timm's, by the functions of its levels."""
        def torchvision(m):
            def both(v):
                return [v * m / 30, -v * m / 30]
            return {IDENTITY: [0], SHEAR_X: both(0.3), SHEAR_Y: both(0.3), TRANSLATE_X: both(150 / 331 * 400), TRANSLATE_Y: both(150 / 331 * 200),
                    ROTATE: both(30), BRIGHTNESS: both(0.9), COLOR: both(0.9), CONTRAST: both(0.9), SHARPNESS: both(0.9),
                    POSTERIZE: [8 - round(m / 7.5)], SOLARIZE: [255 - 255 * m / 30], AUTO_CONTRAST: [0], EQUALIZE: [0]}

        def timm(m, increasing, top=10):
            share = min(m, top) / 10
            out = {AUTO_CONTRAST: [0], EQUALIZE: [0], INVERT: [0], ROTATE: [30 * share, -30 * share], SHEAR_X: [0.3 * share, -0.3 * share],
                   SHEAR_Y: [0.3 * share, -0.3 * share], TRANSLATE_X: [0.45 * share * 400, -0.45 * share * 400],
                   TRANSLATE_Y: [0.45 * share * 200, -0.45 * share * 200], SOLARIZE_ADD: [min(128, int(share * 110))]}
            for op in (COLOR, CONTRAST, BRIGHTNESS, SHARPNESS):
                out[op] = [0.9 * share, max(0.1, 1 - 0.9 * share) - 1] if increasing else [share * 1.8 + 0.1 - 1]
            bits, level = int(share * 4), min(256, int(share * 256))
            out[POSTERIZE], out[SOLARIZE] = ([max(0, 4 - bits)], [256 - level]) if increasing else ([min(8, bits)], [level])
            return out

        self.check_draws("ra", torchvision(9), 2)
        self.check_draws("ra-m21-n3", torchvision(21), 3)
        self.check_draws("rand-m9", timm(9, False), 2, 0.5)
        self.check_draws("rand-m7-n3-p0.8-inc1", timm(7, True), 3, 0.8)
        self.check_draws("rand-m14", timm(10, False), 2, 0.5)  # levels end at 10
        self.check_draws("rand-m14-mmax20", timm(14, False, 20), 2, 0.5)
        self.check_draws("rand-m25-mmax20-inc1-p1", timm(20, True, 20), 2)
        self.check_draws("rand-m9-mmax5", timm(5, False), 2, 0.5)

    def test_weights(self):
        """timm's, of changes none of which is drawn twice: how often the first two are, and that all fifteen are there where all are asked for."""
        weights = {ROTATE: 3, SHEAR_X: 2, SHEAR_Y: 2, TRANSLATE_X: 1, TRANSLATE_Y: 1, COLOR: 0.25, SHARPNESS: 0.25, AUTO_CONTRAST: 0.25, SOLARIZE: 0.05,
                   SOLARIZE_ADD: 0.05, CONTRAST: 0.05, BRIGHTNESS: 0.05, EQUALIZE: 0.05, POSTERIZE: 0.05, INVERT: 0.05}
        total = sum(weights.values())
        _, drawn = self.draws("rand-m9-p1-tweights", 12000)
        pairs = [tuple(op for op, _ in line) for line in drawn]
        self.assertTrue(all(a != b for a, b in pairs))
        for op, w in weights.items():
            first, second = (sum(p[i] == op for p in pairs) / len(pairs) for i in (0, 1))
            self.assertAlmostEqual(first, w / total, delta=0.02)
            self.assertAlmostEqual(second, sum(v / total * w / (total - v) for o, v in weights.items() if o != op), delta=0.02)
        self.assertEqual({far for line in drawn for op, far in line if op == POSTERIZE}, {1.0})  # those that increase
        _, drawn = self.draws("rand-n15-p1-tweights", 50)
        self.assertTrue(all({op for op, _ in line} == weights.keys() for line in drawn))

    def test_magnitudes_that_vary(self):
        for policy, mean, deviation, top in (("rand-m5-mstd1", 5, 1, 10), ("ra-m15-mstd2.5", 15, 2.5, 30), ("rand-m9-mstd3", None, None, 10)):
            _, drawn = self.draws(policy + "-n4", 4000)
            level = [abs(far) * top / {ROTATE: 30, SHEAR_X: 0.3}[op] for line in drawn for op, far in line if op in (ROTATE, SHEAR_X)]
            self.assertTrue(max(level) <= top * (1 + 1e-6))
            if mean is None:  # cut off where levels end
                self.assertGreater(sum(v > top * 0.999 for v in level) / len(level), 0.25)
                continue
            self.assertAlmostEqual(np.mean(level), mean, delta=0.15 * deviation)
            self.assertAlmostEqual(np.std(level), deviation, delta=0.15 * deviation)
        _, drawn = self.draws("rand-m8-mstd101", 4000)
        level = [abs(far) / 3 for line in drawn for op, far in line if op == ROTATE]
        self.assertTrue(max(level) < 8 and abs(np.mean(level) - 4) < 0.4 and min(level) < 0.8)

    def test_its_text(self):
        for policy, want in (("none", "none"), ("ta_wide", "ta_wide"), ("ra", "ra-m9-n2-mstd0"), ("ra-m12-n3", "ra-m12-n3-mstd0"),
                             ("rand-m9-mstd0.5-inc1", "rand-m9-n2-mstd0.5-p0.5-inc1"), ("rand", "rand-m10-n2-mstd0-p0.5-inc0"),
                             ("rand-m15-mmax20-tweights", "rand-m15-n2-mstd0-p0.5-inc0-mmax20-tweights"), ("rand-m15", "rand-m15-n2-mstd0-p0.5-inc0")):
            self.assertEqual(self.draws(policy, 1)[0], want)
        for policy in ("ra-m31", "ra-m-1", "ra-p0.5", "ra-inc1", "ra-n0", "ra-n17", "ra-n2.5", "ra-mmax5", "ra-tweights", "rand-w0", "rand-m9-inc2", "rand-p1.5", "rand-x3",
                       "rand-mmax", "rand-mmax1.5", "none-m3", "ta_wide-tweights", "ta_wide-n2", "augmix", "ra-m", "ra-m3x", "rand-m9-m5", "ra-n2-m9-n2", "rand-m9-tweights-tweights", "ra-mstdx5", "rand-m0x9", "rand-m1e1", "rand-m1.2.3", "m9", "ra" + "-m9" * 40):
            code, _, err = self.run_program("data_probe", "policies", 1, "--aa", policy)
            self.assertEqual(code, 2, policy)
            self.assertIn("wants none, ta_wide, ra or rand with parts", err)
        for policy, said in (("rand-m9-t3a", "NYI: 't3a' of 'rand-m9-t3a': colours taken away, blur"), ("rand-tbest", "'tbest' of 'rand-tbest' is no set of changes"),
                             ("rand-n16-tweights", "'rand-n16-tweights': -tweights draws no change twice, there are 15")):
            code, _, err = self.run_program("data_probe", "policies", 1, "--aa", policy)
            self.assertEqual((code, said in err), (2, True), err)

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
