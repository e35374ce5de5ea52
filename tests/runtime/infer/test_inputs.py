"""Images as people have them: folders, patterns, a list on standard input that is answered line by line, arrays, pictures
that lie on their side; what is bad is named and counted."""
import csv
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, Case, launch, npy, plain_png, png, read_npy

COLORS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


def exif_png(width, height, pixels, orientation, order="<"):
    """The PNG with an eXIf chunk in front of its data."""
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    chunk = struct.pack(">I", len(tiff)) + b"eXIf" + tiff + struct.pack(">I", zlib.crc32(b"eXIf" + tiff))
    plain = png(width, height, pixels)
    return plain[:33] + chunk + plain[33:]


class Inputs(Case):
    def setUp(self):
        super().setUp()
        for path in ("a/red.png", "a/b/green.PNG", "a/c/blue.png", "a/.hidden/red.png", "a/notes.txt"):
            os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
            name = os.path.basename(path).split(".")[0]
            self.write(path, plain_png(*COLORS[name]) if name in COLORS else b"text")
        os.makedirs(self.path("empty"))

    def labels(self, *args, **more):
        rows = [json.loads(line) for line in self.good("fake", "--json", "--top", 1, *args, **more).splitlines()]
        return [(r["file"], r["top"][0]["label"]) for r in rows]

    def listed(self, text, *args):
        r = subprocess.run(launch([os.path.join(BUILD, "fake"), *args]), input=text, capture_output=True, cwd=self.folder.name, timeout=60)
        return r.returncode, r.stdout.decode(), r.stderr.decode()

    def test_folders_are_walked_in_the_order_of_names(self):
        want = [("a/b/green.PNG", "green"), ("a/c/blue.png", "blue"), ("a/red.png", "red")]
        self.assertEqual(self.labels("a"), want)
        self.assertEqual(self.labels("a/red.png", "a"), [want[2], *want])
        os.symlink("../c", self.path("a/b/link"))
        self.assertEqual(self.labels("a/b"), [want[0], ("a/b/link/blue.png", "blue")])
        self.bad(1, r"^empty: there are no \.jpg, \.jpeg, \.png or \.webp files$", "fake", "a/red.png", "empty")

    def test_links_that_multiply(self):
        for i in range(40):  # no loop, and 2^40 paths
            os.makedirs(self.path(f"m/{i}"))
            for name in "xy":
                os.symlink(f"../{i + 1}", self.path(f"m/{i}/{name}"))
        os.mkdir(self.path("m/40"))
        self.write("m/40/red.png", plain_png(*COLORS["red"]))
        self.bad(1, r"^m/0(/x)*(/y)*.*: links lead to this folder by more than 64 ways$", "fake", "m/0")
        self.assertEqual(len(self.labels("m/35")), 32)

    def test_what_cannot_be_read_is_bad(self):
        os.symlink("nowhere", self.path("a/gone.png"))
        os.symlink("/nowhere/at/all", self.path("a/lost"))  # a folder of images?
        os.symlink("round.png", self.path("a/round.png"))
        want = "a/gone.png: No such file or directory\na/lost: No such file or directory\n" \
               "a/round.png: Too many levels of symbolic links\n3 of 6 images are bad\n"
        for argv in (["--json", "a"], ["features", "a", "-o", "x.npy"]):
            code, out, err = self.run_program("fake", *argv)
            self.assertEqual((code, err), (1, want))
        self.assertEqual(self.listed(b"a\n", "--json", "-")[::2], (1, want))
        os.mkdir(self.path("b"))
        os.mkdir(self.path("c"))
        self.write("b/1.png", plain_png(*COLORS["red"]))
        os.mkdir(self.path("b/closed"), 0)
        if not os.access(self.path("b/closed"), os.R_OK):  # not the superuser
            self.assertEqual(self.run_program("fake", "b")[::2], (1, "b/closed: Permission denied\n1 of 2 images are bad\n"))
        self.write("c/two\nlines.png", plain_png(*COLORS["red"]))
        self.write("c/x.png", plain_png(*COLORS["red"]))
        code, out, err = self.run_program("fake", "features", "c", "-o", "c.npy")
        self.assertEqual((code, err), (1, "c/two\\x0alines.png: its name has a line break, and cannot be listed\n1 of 2 images are bad\n"))
        self.assertEqual(read_npy(self.path("c.npy"))[1][0], 1)

    def test_patterns_are_a_shells(self):
        self.assertEqual(self.labels("a/*.png"), [("a/red.png", "red")])
        self.assertEqual([n for n, _ in self.labels("a/[bc]")], ["a/b/green.PNG", "a/c/blue.png"])
        self.write("a/what?.png", plain_png(*COLORS["blue"]))
        self.write("a/whatx.png", plain_png(*COLORS["red"]))
        self.assertEqual(self.labels("a/what?.png"), [("a/what?.png", "blue")])  # a file's own name comes first
        self.bad(1, r"^x\*\.png: No such file or directory$", "fake", "x*.png")

    def test_a_list_on_standard_input(self):
        code, out, err = self.listed(b"a/red.png\r\n\na/b\na/c/blue.png", "--json", "-", "a/red.png")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual([json.loads(line)["file"] for line in out.splitlines()], ["a/red.png", "a/b/green.PNG", "a/c/blue.png", "a/red.png"])
        code, out, err = self.listed(b"none.png\nempty\n" + b"a/red.png\n" * 30, "--csv", "-")
        self.assertEqual((code, err), (1, "none.png: No such file or directory\nempty: is a directory\n2 of 32 images are bad\n"))
        rows = list(csv.DictReader(io.StringIO(out)))
        self.assertEqual((rows[0]["error"], rows[1]["error"]), ("none.png: No such file or directory", "empty: is a directory"))
        self.assertEqual([r["label"] for r in rows[2:] if r["rank"] == "1"], ["red"] * 30)
        self.assertEqual(self.listed(b"", "-"), (0, "", ""))
        for text, said in ((b"x" * 9000, "standard input: line 1 has more than 4095 bytes"),
                           (plain_png(1, 2, 3), "standard input is no list of names, which - reads, but an image"),
                           (b"a/red.png\0a/c/blue.png\0", "standard input: bytes 0 behind line 0; names stand one a line, in UTF-8 (find -print, not -print0)"),
                           ("a/red.png\n".encode("utf-16-le"), "standard input: bytes 0 behind line 0; names stand one a line, in UTF-8 (find -print, not -print0)"),
                           (b"\xff\xd8\xff\xe0", "standard input is no list of names, which - reads, but an image")):
            code, _, err = self.listed(text, "-")
            self.assertEqual((code, err), (1, said + "\n"))
        self.bad(1, "^-: standard input is given twice$", "fake", "-", "-")

    def test_each_line_is_answered_before_the_next(self):
        with subprocess.Popen(launch([os.path.join(BUILD, "fake"), "--json", "-"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              cwd=self.folder.name, bufsize=0) as p:
            for name in ("a/red.png", "a/c/blue.png", "a/red.png"):
                p.stdin.write(name.encode() + b"\n")
                self.assertTrue(select.select([p.stdout], [], [], 60)[0], "no answer")
                self.assertEqual(json.loads(p.stdout.readline())["file"], name)
            p.stdin.write(b"a/b/gre")  # half a line is no name yet
            self.assertFalse(select.select([p.stdout], [], [], 0.2)[0])
            p.stdin.write(b"en.PNG")
            p.stdin.close()
            self.assertEqual(json.loads(p.stdout.read())["file"], "a/b/green.PNG")
        self.assertEqual(p.returncode, 0)

    def test_csv(self):
        name = 'a/red, "so called".png'
        self.write(name, plain_png(*COLORS["red"]))
        self.write("a/bad.png", b"none")
        code, out, err = self.run_program("fake", "--csv", "--top", 2, name, "a/bad.png")
        self.assertEqual((code, err.count("\n")), (1, 2))
        rows = list(csv.reader(io.StringIO(out)))
        self.assertEqual(rows[0], ["file", "rank", "class", "label", "score", "error"])
        self.assertEqual([(r[0], r[1], r[3], r[5]) for r in rows[1:3]], [(name, "1", "red", ""), (name, "2", rows[2][3], "")])
        self.assertEqual(rows[3], ["a/bad.png", "", "", "", "", "a/bad.png: not a JPEG, PNG or WebP file"])
        self.assertEqual(len(rows), 4)
        self.bad(2, "--json and --csv exclude each other", "fake", "--csv", "--json", "a", lines=2)

    def test_pictures_stand_upright(self):
        red, blue = bytes((250, 5, 5)), bytes((5, 5, 250))
        stored = red * 8 + blue * 24  # 32 wide, 16 high: red on the left, where --resize 8 crops the middle: blue
        for order in "<>":
            self.write("x.png", exif_png(32, 16, stored * 16, 2, order))  # mirrored: the crop is blue again, turned all the same
            code, out, err = self.run_program("fake", "--json", "--top", 1, "x.png")
            self.assertEqual((code, json.loads(out)["orientation"]), (0, 2))
            self.assertEqual(err, "note: 1 of 1 images turned upright as their EXIF orientation says; --as-stored leaves them\n")
        # 8 x 32 on its side: rows of red above blue become columns; a crop of the left third tells which
        tall = red * 8 * 8 + blue * 8 * 24
        self.write("y.png", exif_png(8, 32, tall, 6))
        self.write("z.png", png(8, 32, tall))
        self.good("fake", "features", "--as-stored", "--resize", 0, "-o", "y.npy", "y.png")
        self.good("fake", "features", "--resize", 0, "-o", "z.npy", "z.png")
        self.assertEqual(read_npy(self.path("y.npy")), read_npy(self.path("z.npy")))
        self.assertEqual(self.run_program("fake", "features", "-o", "y.npy", "y.png")[::2],
                         (0, "note: 1 of 1 images turned upright as their EXIF orientation says; --as-stored leaves them\n"))

    def test_arrays(self):
        pixels = bytes(COLORS["blue"]) * 12
        self.write("u8.npy", npy("|u1", "(3, 4, 3)", pixels))
        self.write("grey.npy", npy("|u1", "(8, 8)", b"\xff" * 64))
        self.write("blue.png", png(4, 3, pixels))
        want = self.good("fake", "--json", "blue.png").split("top")[1]
        self.assertEqual(self.good("fake", "--json", "u8.npy").split("top")[1], want)
        self.good("fake", "grey.npy")
        values = struct.pack("<192f", *[i / 50 - 2 for i in range(192)])
        self.write("x.npy", npy("<f4", "(1, 3, 8, 8)", values))
        self.write("one.npy", npy("<f4", "(3, 8, 8)", values))
        self.good("fake", "run", "-i", "x.npy", "-o", "want.npy")
        self.good("fake", "features", "x.npy", "one.npy", "-o", "got.npy")
        row = read_npy(self.path("want.npy"))[2]
        self.assertEqual(read_npy(self.path("got.npy"))[2], row * 2)
        for shape, descr, data in (("(2, 3, 8, 8)", "<f4", values * 2), ("(3, 8, 9)", "<f4", bytes(864)), ("(3, 8, 8)", "<f8", bytes(1536)),
                                   ("(8, 8, 4)", "|u1", bytes(256))):
            self.write("bad.npy", npy(descr, shape, data))
            self.bad(1, r"^bad\.npy: .* is neither an image of the input, f32\[N,3,8,8\], nor pixels", "fake", "bad.npy")

    def test_features_take_a_list(self):
        names = [f"a/{i}.png" for i in range(20)]
        for i, name in enumerate(names):
            self.write(name, plain_png(i * 12, 99, 255 - i * 9))
        self.good("fake", "features", "-o", "want.npy", *names)
        code, out, err = self.listed("\n".join(names).encode(), "features", "-", "-o", "got.npy", "--batch", "3")
        self.assertEqual((code, out, err), (0, "", ""))
        self.assertEqual(read_npy(self.path("got.npy")), read_npy(self.path("want.npy")))
        with open(self.path("got.txt")) as f:
            self.assertEqual(f.read().splitlines(), names)

    def test_progress_is_for_terminals(self):
        master, slave = pty.openpty()
        for i in range(3):
            self.write(f"a/{i}.png", plain_png(i, 0, 0))
        slow = b"a/red.png\n" * 3
        with subprocess.Popen(launch([os.path.join(BUILD, "fake"), "features", "-", "-o", "y.npy"]), stdin=subprocess.PIPE, stderr=slave,
                              cwd=self.folder.name) as p:
            for _ in range(3):
                select.select([], [], [], 0.25)
                p.stdin.write(slow)
                p.stdin.flush()
            p.stdin.close()
        os.close(slave)
        seen = b""
        try:
            while chunk := os.read(master, 4096):
                seen += chunk
        except OSError:
            pass
        os.close(master)
        self.assertEqual(p.returncode, 0)
        self.assertRegex(seen, rb"\r  \d images, \d+ a second")
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen)


if __name__ == "__main__":
    unittest.main()
