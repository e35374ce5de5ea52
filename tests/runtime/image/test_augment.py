"""Random transforms: pixels equal torchvision's for the same choices, to the last bit (golden/augment.txt, made by
make_augment_golden.py); the choices have its distribution; without augmentation the evaluation transform comes out."""
import math
import os
import struct
import sys
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import GOLDEN, Case, png, read_npy


class Pixels(Case):
    def test_golden(self):
        wrong, count = [], 0
        with open(os.path.join(GOLDEN, "augment.txt")) as f:
            for line in f:
                crc, *args = line.split()
                at = args.index("--model")
                self.good("data_probe", args[0], os.path.join(GOLDEN, args[1]), *args[2:at], "out.npy", *args[at:])
                if "%08x" % zlib.crc32(read_npy(self.path("out.npy"))[2]) != crc:
                    wrong.append(line)
                count += 1
        self.assertEqual((wrong, count), ([], 80))

    def test_none_is_the_evaluation_transform(self):
        for name in ("rgb.png", "baseline_420.jpg", "grey.jpg", "cmyk.jpg", "tiny.png"):
            os.makedirs(self.path("set/a"), exist_ok=True)
            os.symlink(os.path.join(GOLDEN, name), self.path("set/a/" + name))
            self.good("data_probe", "sample", "set", 0, "a.npy", "--classes", 1, "--fraction", 0, "--model", "3x28x24",
                      "--resize", 32)
            self.good("rt_probe", "preprocess", "set/a/" + name, 3, 32, 28, 24, "rgb", "nchw", "b.npy")
            a, b = (struct.unpack("<2016f", read_npy(self.path(n))[2]) for n in ("a.npy", "b.npy"))
            mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
            for i in range(2016):  # the same pixels under another mean and deviation
                c = i // 672
                self.assertEqual(round((a[i] * 0.5 + 0.25) * 255, 2), round((b[i] * std[c] + mean[c]) * 255, 2))
            os.remove(self.path("set/a/" + name))


class Choices(Case):
    def plans(self, kind, width, height, n, *more):
        out = self.good("data_probe", "plan", width, height, n, "--augment", kind, *more)
        return [[float(x) for x in line.split()] for line in out.splitlines()]

    def test_imagenet(self):
        n, orders, areas, ratios = 4000, {}, [], []
        for p in self.plans("imagenet", 400, 300, n, "--model", "3x224x224"):
            left, top, w, h = p[:4]
            self.assertTrue(0 <= left and left + w <= 400 and 0 <= top and top + h <= 300, p)
            self.assertEqual(p[4:8], [224, 224, 0, 0])
            areas.append(w * h / 120000)
            ratios.append(w / h)
            orders[tuple(p[9::2])] = orders.get(tuple(p[9::2]), 0) + 1
            for factor in p[10::2]:
                self.assertTrue(0.6 <= factor < 1.4)
        self.assertTrue(0.075 < min(areas) < 0.09 and 0.9 < max(areas) <= 1)
        self.assertTrue(0.73 < min(ratios) < 0.77 and 1.3 < max(ratios) < 1.37)
        # torchvision's own: mean area 0.434, mean log ratio 0.031 at this size (200,000 draws)
        self.assertAlmostEqual(sum(areas) / n, 0.434, delta=0.015)
        self.assertAlmostEqual(sum(map(math.log, ratios)) / n, 0.031, delta=0.01)
        self.assertEqual(len(orders), 6)
        for count in orders.values():
            self.assertAlmostEqual(count / n, 1 / 6, delta=0.03)

    def test_imagenet_falls_back_to_the_centre(self):
        for p in self.plans("imagenet", 1000, 10, 5, "--model", "3x224x224"):
            self.assertEqual(p[:4], [493, 0, 13, 10])
        for p in self.plans("imagenet", 10, 1000, 5, "--model", "3x224x224"):
            self.assertEqual(p[:4], [0, 493, 10, 13])
        for p in self.plans("imagenet", 1, 1, 5, "--model", "3x224x224"):
            self.assertEqual(p[:4], [0, 0, 1, 1])

    def test_light(self):
        plans = self.plans("light", 300, 256, 3000, "--model", "3x224x224", "--resize", 256)
        self.assertEqual({(p[6]) for p in plans}, set(range(77)))  # 300 - 224 + 1
        self.assertEqual({(p[7]) for p in plans}, set(range(33)))
        self.assertAlmostEqual(sum(p[8] for p in plans) / 3000, 0.5, delta=0.05)
        self.assertEqual({tuple(p[:6]) for p in plans}, {(0, 0, 300, 256, 300, 256)})
        small = self.plans("light", 28, 28, 1000, "--model", "1x28x28", "--resize", 28)
        self.assertEqual({p[6] for p in small}, set(range(-3, 4)))  # padded by 28 / 8

    def test_choices_are_a_function_of_seed_epoch_item(self):
        first = self.plans("imagenet", 400, 300, 20)
        self.assertEqual(first, self.plans("imagenet", 400, 300, 20))
        self.assertNotEqual(first, self.plans("imagenet", 400, 300, 20, "--seed", 1))
        self.assertNotEqual(first, self.plans("imagenet", 400, 300, 20, "--epoch", 1))
        self.assertEqual(len({tuple(p) for p in first}), 20)

    def test_light_moves_and_pads_with_black(self):
        os.makedirs(self.path("set/a"))
        self.write("set/a/x.png", png(16, 16, bytes(range(256)), color=0))
        for epoch in range(12):
            args = ("--classes", 1, "--fraction", 0, "--model", "1x16x16", "--epoch", epoch)
            self.good("data_probe", "sample", "set", 0, "a.npy", "--augment", "light", *args)
            plan = self.plans("light", 16, 16, 1, *args)[0]
            x = [round((v * 0.5 + 0.25) * 255) for v in struct.unpack("<256f", read_npy(self.path("a.npy"))[2])]
            left, top, flip = map(int, plan[6:9])
            for i in range(256):
                r, c = i // 16 + top, (15 - i % 16 if flip else i % 16) + left
                self.assertEqual(x[i], 16 * r + c if 0 <= r < 16 and 0 <= c < 16 else 0)


if __name__ == "__main__":
    unittest.main()
