"""Batches from files of every size and kind; what cannot be read; thumbnails. Threads, order and resuming are
test_loader.c's."""
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import GOLDEN, Case, npy, plain_png, png, read_npy

try:
    from PIL import Image
except ImportError:
    Image = None


class LoadCase(Case):
    def put(self, name, data):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        self.write(name, data)

    def golden(self, name, source):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        os.symlink(os.path.join(GOLDEN, source), self.path(name))

    def load(self, spec, *args):
        """[(epoch.index, n, items:labels)], other lines"""
        out = self.good("data_probe", "load", spec, "--fraction", 0, *args)
        batches, rest = [], []
        for line in out.splitlines():
            words = line.split()
            if words[0][0].isdigit():
                at = words.index("items")
                batches.append((words[0] + ("!" if words[1] == "last" else ""), int(words[at - 1][2:]),
                                " ".join(words[at + 1:words.index("x")])))
            else:
                rest.append(line)
        return batches, rest


class Batches(LoadCase):
    def test_batch_sizes(self):
        for i in range(5):
            self.put("d/%s/%d.png" % ("ab"[i % 2], i), plain_png(i, i, i, 8, 8))  # a: 0 2 4, b: 1 3
        self.assertEqual(self.load("d", "--batch", 2), ([("0.0", 2, "0:0 1:0"), ("0.1", 2, "2:0 3:1"), ("0.2!", 1, "4:1")],
                                                       ["images 5 bad 0"]))
        self.assertEqual(self.load("d", "--batch", 100, "--epochs", 2)[0],
                         [("0.0!", 5, "0:0 1:0 2:0 3:1 4:1"), ("1.0!", 5, "0:0 1:0 2:0 3:1 4:1")])
        self.assertEqual(self.load("d", "--batch", 2, "--epochs", 3, "--from-epoch", 2, "--from-batch", 1)[0],
                         [("2.1", 2, "2:0 3:1"), ("2.2!", 1, "4:1")])
        seen = self.load("d", "--batch", 5, "--epochs", 50, "--shuffle", 1)[0]
        self.assertGreater(len({items for _, _, items in seen}), 30)
        for _, _, items in seen:
            self.assertEqual(sorted(items.split()), ["0:0", "1:0", "2:0", "3:1", "4:1"])

    def test_one_image(self):
        self.put("d/a/1.png", plain_png(1, 2, 3, 8, 8))
        for augment in ("none", "light", "imagenet"):
            self.assertEqual(self.load("d", "--classes", 1, "--shuffle", 1, "--augment", augment, "--epochs", 2)[0],
                             [("0.0!", 1, "0:0"), ("1.0!", 1, "0:0")])

    def test_sizes_and_kinds(self):
        self.golden("d/a/cmyk.jpg", "cmyk.jpg")
        self.golden("d/a/grey.jpg", "grey.jpg")
        self.put("d/a/one.png", plain_png(9, 9, 9, 1, 1))
        self.put("d/a/thin.png", png(1, 5000, bytes(5000), color=0))
        for augment in ("none", "light", "imagenet"):
            for model in ("3x32x32", "1x32x40"):
                batches, rest = self.load("d", "--classes", 1, "--augment", augment, "--model", model, "--batch", 9,
                                          "--resize", 36, "--threads", 2)
                self.assertEqual((batches, rest), ([("0.0!", 4, "0:0 1:0 2:0 3:0")], ["images 4 bad 0"]))

    def test_a_large_image(self):
        self.put("d/a/large.png", png(8000, 6000, bytes(8000 * 6000), color=0))
        for augment in ("none", "imagenet"):
            self.assertEqual(self.load("d", "--classes", 1, "--augment", augment, "--model", "3x32x32", "--resize", 36)[0],
                             [("0.0!", 1, "0:0")])

    def test_too_many_pixels(self):
        big = bytearray(plain_png(1, 2, 3, 8, 8))
        self.put("d/a/ok.png", bytes(big))
        self.put("d/a/huge.png", png(20000, 20000, b"", color=0, rows=b"xx"))
        rest = self.load("d", "--classes", 1)[1]
        self.assertEqual(rest[0], "bad 0 d/a/huge.png: 20000 x 20000 pixels are more than 200 million")

    def test_bad_images_are_left_out_and_named_once(self):
        for i in range(6):
            self.put("d/a/%d.png" % i, plain_png(i, i, i, 8, 8) if i != 2 and i != 3 else b"not an image")
        batches, rest = self.load("d", "--classes", 1, "--batch", 2, "--epochs", 3, "--threads", 3)
        self.assertEqual(batches[:3], [("0.0", 2, "0:0 1:0"), ("0.1", 0, ""), ("0.2!", 2, "4:0 5:0")])
        self.assertEqual(rest, ["bad 2 d/a/2.png: not a JPEG, PNG or WebP file", "bad 3 d/a/3.png: not a JPEG, PNG or WebP file",
                                "images 12 bad 2"])

    def test_nothing_readable(self):
        for i in range(5):
            self.put("d/a/%d.png" % i, b"")
        code, out, err = self.run_program("data_probe", "load", "d", "--classes", 1, "--fraction", 0, "--batch", 2,
                                          "--epochs", 0)
        self.assertEqual((code, err), (1, "none of the 5 training images could be read\n"))

    def test_targets_and_tensors(self):
        self.put("d/x.npy", npy("<f4", "(3, 1, 2, 2)", struct.pack("<12f", *range(12))))
        self.put("d/y.npy", npy("<f4", "(3, 2)", struct.pack("<6f", 0, 1, 1, 0, 1, 1)))
        out = self.good("data_probe", "load", "d/x.npy,d/y.npy", "--fraction", 0, "--model", "1x2x2", "--target", "multi", "--batch", 2)
        self.assertRegex(out, r"^0\.0 n=2 items 0:1 1:0 x [0-9a-f]{16} t [0-9a-f]{16}\n0\.1 last n=1 items 2:0 x ")

    def test_validation_part(self):
        for i in range(10):
            self.put("d/a/%d.png" % i, plain_png(i, i, i, 8, 8))
        out = self.good("data_probe", "load", "d", "--classes", 1, "--fraction", 0.3, "--part", "val")
        self.assertRegex(out, "^0.0 last n=3 items 7:0 8:0 9:0 x")

    def test_loading_ahead(self):
        for i in range(12):
            self.put("d/a/%02d.png" % i, plain_png(i, i, i, 200, 200))
        _, _, err = self.run_program("data_probe", "load", "d", "--classes", 1, "--fraction", 0, "--batch", 2, "--delay", 60)
        waited = float(err.split()[1])  # only for the first batch, if threads work while the consumer does
        self.assertLess(waited, 5 * 60)


@unittest.skipUnless(Image, "no Pillow")
class SmallDecoding(LoadCase):
    """Large JPEGs of training at a part of their size: as Pillow's draft mode decodes them, the same library's."""

    def test_as_pillow_drafts(self):
        wide, high = 97, 61
        picture = Image.new("RGB", (7, 5))
        picture.putdata([(37 * i % 256, 91 * i % 256, 150) for i in range(35)])
        os.makedirs(self.path("j/a"))
        picture.resize((wide, high), Image.BICUBIC).save(self.path("j/a/x.jpg"), quality=90)
        exact = None
        for least, part in ((0, 1), (40, 1), (31, 1), (30, 2), (16, 2), (15, 4), (8, 4), (7, 8), (1, 8)):
            with Image.open(self.path("j/a/x.jpg")) as image:
                image.draft("RGB", (wide // part, high // part))
                self.assertEqual(image.size, (-(-wide // part), -(-high // part)))
                os.makedirs(self.path("p/a"), exist_ok=True)
                image.save(self.path("p/a/x.png"))
            args = ("--classes", 1, "--fraction", 0, "--model", "3x5x6", "--resize", 6)
            self.good("data_probe", "sample", "j", 0, "j.npy", "--least", least, *args)
            self.good("data_probe", "sample", "p", 0, "p.npy", *args)
            got, want = self.array("j.npy"), self.array("p.npy")
            self.assertEqual(got, want, least)
            exact = exact or got
            off = sum(abs(a - b) for a, b in zip(got, exact)) / len(got) * 0.5 * 255
            self.assertLess(off, 1e-9 if part == 1 else 10, least)
        self.good("data_probe", "sample", "j", 0, "j.npy", "--least", 1, "--eval", 1, *args)  # of validation: as it is
        self.assertEqual(self.array("j.npy"), exact)

    def array(self, name):
        data = read_npy(self.path(name))[2]
        return struct.unpack("<%df" % (len(data) // 4), data)


class Thumbnails(LoadCase):
    def thumb(self, *args):
        self.good("data_probe", "thumb", *args, "--fraction", 0)
        with open(self.path("t.jpg"), "rb") as f:
            data = f.read()
        self.assertEqual(data[:3] + data[-2:], b"\xff\xd8\xff\xff\xd9")
        return data

    def size(self, data):
        at = data.index(b"\xff\xc0") + 5
        return struct.unpack(">HH", data[at:at + 4])[::-1]

    def test_sizes(self):
        self.put("d/a/1.png", plain_png(200, 100, 50, 300, 150))
        self.put("d/a/2.png", plain_png(200, 100, 50, 20, 10))
        self.put("d/a/3.png", png(1, 5000, bytes(5000), color=0))
        for item, want in enumerate(((96, 48), (20, 10), (1, 96))):
            self.assertEqual(self.size(self.thumb("d", item, 96, "t.jpg", "--classes", 1)), want)
        self.assertLess(len(self.thumb("d", 0, 96, "t.jpg", "--classes", 1)), 2000)

    @unittest.skipUnless(Image, "no Pillow")
    def test_colours(self):
        self.put("d/a/1.png", plain_png(200, 100, 50, 300, 150))
        self.thumb("d", 0, 96, "t.jpg", "--classes", 1)
        values = [(v / 255 - 0.25) / 0.5 for c in (200, 100, 50) for v in [c] * 64]
        self.put("x/x.npy", npy("<f4", "(1, 3, 8, 8)", struct.pack("<192f", *values)))
        self.put("x/y.npy", npy("|u1", "(1,)", b"\0"))
        for args in (("d", 0), ("x/x.npy,x/y.npy", 0)):
            self.thumb(*args, 96, "t.jpg", "--classes", 1)
            with Image.open(self.path("t.jpg")) as image:
                for got, want in zip(image.getpixel((3, 3)), (200, 100, 50)):
                    self.assertAlmostEqual(got, want, delta=3)

    def test_unreadable(self):
        self.put("d/a/1.png", b"")
        self.bad(1, "^d/a/1.png: the file is empty", "data_probe", "thumb", "d", 0, 96, "t.jpg", "--classes", 1, "--fraction", 0)


if __name__ == "__main__":
    unittest.main()
