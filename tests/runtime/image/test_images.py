"""Decoding, resizing and preprocessing give what Pillow and torchvision give, to the last bit: against the checksums
in golden/, and against Pillow itself on random sizes where it is installed. Damaged files are errors."""
import os
import random
import shutil
import struct
import sys
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import GOLDEN, Case, plain_png, png, read_npy

try:
    import numpy as np
    from PIL import Image, ImageOps
except ImportError:
    Image = None


def golden(name):
    with open(os.path.join(GOLDEN, name), "rb") as f:
        return f.read()


class Golden(Case):
    def test_checksums(self):
        wrong = []
        words = {"decode": 1, "resize": 2, "preprocess": 6}  # before the name of the output
        for expected in ("expected.txt", "forms.txt"):
            with open(os.path.join(GOLDEN, expected)) as f:
                for line in f:
                    crc, command, name, *args = line.split()
                    if expected == "expected.txt" and name == "exif.jpg" and command != "decode":
                        continue  # of the picture as it is stored, which these commands turn
                    if expected == "expected.txt" and name == "exif.jpg":
                        args.append("stored")
                    args.insert(words[command], "out.npy")
                    self.good("rt_probe", command, os.path.join(GOLDEN, name), *args)
                    if "%08x" % zlib.crc32(read_npy(self.path("out.npy"))[2]) != crc:
                        wrong.append(line)
        self.assertEqual(wrong, [])


@unittest.skipUnless(Image, "no Pillow")
class Pillow(Case):
    def test_random_sizes(self):
        rng = random.Random(1)
        for _ in range(60):
            w, h = rng.randint(1, 90), rng.randint(1, 90)
            to = rng.randint(1, 120), rng.randint(1, 120)
            pixels = np.frombuffer(rng.randbytes(w * h * 3), np.uint8).reshape(h, w, 3)
            Image.fromarray(pixels).save(self.path("x.png"))
            want = np.asarray(Image.fromarray(pixels).resize(to, Image.BILINEAR))
            self.good("rt_probe", "resize", "x.png", *to, "out.npy")
            self.assertEqual(read_npy(self.path("out.npy"))[2], want.tobytes(), (w, h, to))

    def test_strong_reduction(self):
        pixels = np.frombuffer(random.Random(2).randbytes(1501 * 701 * 3), np.uint8).reshape(701, 1501, 3)
        Image.fromarray(pixels).save(self.path("x.png"), compress_level=0)
        for to in ((3, 2), (256, 119), (1501, 7)):
            self.good("rt_probe", "resize", "x.png", *to, "out.npy")
            want = np.asarray(Image.fromarray(pixels).resize(to, Image.BILINEAR))
            self.assertEqual(read_npy(self.path("out.npy"))[2], want.tobytes(), to)


    def test_random_sizes_by_every_filter(self):
        rng = random.Random(4)
        filters = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS, "box": Image.BOX,
                   "hamming": Image.HAMMING}
        for _ in range(60):
            w, h = rng.randint(1, 90), rng.randint(1, 90)
            to = rng.randint(1, 120), rng.randint(1, 120)
            name = rng.choice(sorted(filters))
            pixels = np.frombuffer(rng.randbytes(w * h * 3), np.uint8).reshape(h, w, 3)
            Image.fromarray(pixels).save(self.path("x.png"))
            want = np.asarray(Image.fromarray(pixels).resize(to, filters[name])).astype(int)
            self.good("rt_probe", "resize", "x.png", *to, "out.npy", name)
            got = np.frombuffer(read_npy(self.path("out.npy"))[2], np.uint8).reshape(want.shape)
            self.assertLessEqual(np.abs(got - want).max(), 1, (w, h, to, name))

    def test_every_orientation_of_every_format(self):
        pixels = np.frombuffer(random.Random(5).randbytes(5 * 7 * 3), np.uint8).reshape(5, 7, 3)
        for name, options in (("x.jpg", {"quality": 95}), ("x.png", {}), ("x.webp", {"lossless": True})):
            for orientation in range(1, 9):
                exif = Image.Exif()
                exif[0x0112] = orientation
                Image.fromarray(pixels).save(self.path(name), exif=exif, **options)
                want = np.asarray(ImageOps.exif_transpose(Image.open(self.path(name))).convert("RGB"))
                self.good("rt_probe", "decode", name, 3, "out.npy")
                got = read_npy(self.path("out.npy"))
                self.assertEqual((got[1], got[2]), (want.shape, want.tobytes()), (name, orientation))

    def test_exif_that_is_none_tells_nothing(self):
        """Blocks cut off at every byte, entries of other types, directories elsewhere: a picture, as it is stored."""
        pixels = np.frombuffer(random.Random(6).randbytes(5 * 7 * 3), np.uint8).reshape(5, 7, 3)
        exif = Image.Exif()
        exif[0x0112] = 6
        block = exif.tobytes()
        for at in range(6, len(block)):
            for broken in (block[:at], block[:at] + b"\xff" + block[at + 1:]):
                Image.fromarray(pixels).save(self.path("x.png"), exif=broken)
                self.good("rt_probe", "decode", "x.png", 3, "out.npy")
                self.assertIn(read_npy(self.path("out.npy"))[1], ((5, 7, 3), (7, 5, 3)))

    def test_a_solid_webp_of_few_bytes(self):
        for options in ({"lossless": True}, {"quality": 50}):
            Image.new("RGB", (3000, 2000), (9, 200, 30)).save(self.path("x.webp"), **options)
            self.good("rt_probe", "decode", "x.webp", 3, "out.npy")
            want = np.asarray(Image.open(self.path("x.webp")).convert("RGB"))
            self.assertEqual(read_npy(self.path("out.npy"))[2], want.tobytes())
        Image.new("RGB", (5000, 4000)).save(self.path("x.webp"), lossless=True)
        self.bad(1, "^x.webp: truncated: its bytes cannot hold 5000 x 4000 pixels$", "rt_probe", "decode", "x.webp", 3, "out.npy")

    def test_an_animation_is_no_picture(self):
        frames = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in (0, 255)]
        frames[0].save(self.path("x.webp"), save_all=True, append_images=frames[1:])
        self.bad(1, "^x.webp: an animated WebP is not read; save a frame of it$", "rt_probe", "decode", "x.webp", 3, "out.npy")


class Forms(Case):
    def decode(self, data, channels=3):
        self.write("x.png", data)
        self.good("rt_probe", "decode", "x.png", channels, "out.npy")
        return read_npy(self.path("out.npy"))

    def test_sixteen_bits_keep_the_upper_eight(self):
        self.assertEqual(self.decode(png(2, 1, bytes([1, 200, 2, 0, 3, 255] * 2), depth=16))[2], bytes([1, 2, 3] * 2))
        self.assertEqual(self.decode(png(2, 1, bytes([9, 200, 7, 1]), color=0, depth=16))[2], bytes([9] * 3 + [7] * 3))
        self.assertEqual(self.decode(png(1, 1, bytes([9, 1, 0, 0]), color=4, depth=16))[2], bytes([9] * 3))

    def test_small_depths(self):
        self.assertEqual(self.decode(png(4, 1, bytes([0b00011011]), color=0, depth=2), 1)[2], bytes([0, 85, 170, 255]))
        self.assertEqual(self.decode(png(2, 1, bytes([0x2f]), color=0, depth=4), 1)[2], bytes([34, 255]))

    def test_interlaced(self):
        rows = b"\0" + bytes([5, 6, 7])  # 1 x 1: one pass
        self.assertEqual(self.decode(png(1, 1, b"xxx", interlace=1, rows=rows))[2], bytes([5, 6, 7]))

    def test_large_aspect_crops_only_what_it_needs(self):
        self.write("x.png", png(1, 100000, b"\x40" * 100000, color=0))
        self.good("rt_probe", "preprocess", "x.png", 3, 256, 224, 224, "rgb", "nchw", "out.npy")
        self.write("x.png", png(100000, 1, b"\x40" * 100000, color=0))
        self.good("rt_probe", "preprocess", "x.png", 3, 256, 224, 224, "rgb", "nchw", "out.npy")


class Damaged(Case):
    def decode(self, name, data):
        self.write(name, data)
        return self.run_program("rt_probe", "decode", name, 3, "out.npy")

    def test_every_truncation_is_an_error(self):
        for name in ("baseline_420.jpg", "progressive.jpg", "cmyk.jpg", "rgba.png", "palette.png", "bilevel.png",
                     "lossy.webp", "lossless.webp", "rgba.webp"):
            data = golden(name)
            for n in range(0, len(data) - 1, max(1, len(data) // 60)):
                code, _, err = self.decode(name, data[:n])
                self.assertEqual((code, err.count("\n"), err.startswith(name + ": ")), (1, 1, True), (name, n, err))
        self.assertFalse(os.path.exists(self.path("out.npy")))

    def test_random_damage_never_crashes(self):
        rng = random.Random(3)
        for name in ("baseline_444.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "palette_transparent.png", "exif.jpg", "lossy.webp",
                     "lossless.webp", "rgba.webp", "exif.webp"):
            data = golden(name)
            for _ in range(40):
                broken = bytearray(data)
                for _ in range(rng.randint(1, 8)):
                    broken[rng.randrange(len(data))] = rng.randrange(256)
                code, _, err = self.decode(name, bytes(broken))
                self.assertIn(code, (0, 1), (name, err))
                self.assertLessEqual(err.count("\n"), 1)

    def test_damaged_png_data(self):
        data = bytearray(golden("rgb.png"))
        data[data.index(b"IDAT") + 30] ^= 0x55
        code, _, err = self.decode("x.png", bytes(data))
        self.assertEqual(code, 1)
        self.assertRegex(err, "^x.png: corrupt PNG: ")

    def test_claims_of_size(self):
        def header(w, h):
            body = b"IHDR" + struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
            return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + idat + end

        idat = struct.pack(">I", 50) + b"IDAT" + bytes(54)
        end = struct.pack(">I", 0) + b"IEND" + bytes(4)

        for w, h in ((20000, 20000), (0x7fffffff, 0x7fffffff), (0, 5), (0xffffffff, 1)):
            code, _, err = self.decode("x.png", header(w, h))
            self.assertEqual((code, err.count("\n")), (1, 1), err)
        self.assertRegex(self.decode("x.png", header(20000, 20000))[2], "20000 x 20000 pixels are more than 200 million")
        jpeg = bytearray(golden("baseline_444.jpg"))
        at = jpeg.index(b"\xff\xc0") + 5
        jpeg[at:at + 4] = struct.pack(">HH", 65500, 65500)
        self.assertRegex(self.decode("x.jpg", bytes(jpeg))[2], "65500 x 65500 pixels are more than")

    def test_progressive_scans_are_capped(self):
        data = golden("progressive.jpg")
        at = data.rindex(b"\xff\xda")
        scan = data[at:-2]
        code, _, err = self.decode("x.jpg", data[:-2] + scan * 1000 + data[-2:])
        self.assertEqual(code, 1)
        self.assertRegex(err, r"^x\.jpg: (too many scans in a progressive JPEG|corrupt JPEG: .*)$")

    def test_stray_bytes_are_harmless(self):
        data = golden("baseline_444.jpg")
        self.write("x.jpg", data[:-2] + b"\0\0\0" + data[-2:] + b"trailer")
        self.good("rt_probe", "decode", "x.jpg", 3, "a.npy")
        shutil.copy(os.path.join(GOLDEN, "baseline_444.jpg"), self.path("y.jpg"))
        self.good("rt_probe", "decode", "y.jpg", 3, "b.npy")
        self.assertEqual(read_npy(self.path("a.npy")), read_npy(self.path("b.npy")))

    def test_other_formats_are_named(self):
        for data, name in ((b"GIF89a...", "GIF"), (b"BM......", "BMP"), (b"II*\0....", "TIFF")):
            self.assertRegex(self.decode("x", data)[2], "^x: not a JPEG, PNG or WebP file but " + name)


if __name__ == "__main__":
    unittest.main()
