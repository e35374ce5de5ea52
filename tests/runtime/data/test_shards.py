"""Tar shards in WebDataset's layout: what is found in them, in which order, how it is read, what each mistake is told as."""
import io
import os
import random
import struct
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case, plain_png, read_npy

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def picture(i):
    return plain_png(10 * i % 256, 3, 5, 4, 4)


def tar(members, format=tarfile.USTAR_FORMAT):
    """members: (name, bytes), or (name, None): a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as t:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.type = tarfile.REGTYPE if data is not None else tarfile.DIRTYPE
            info.size = len(data or b"")
            t.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def samples(first, labels, ext="png"):
    return [m for i, label in enumerate(labels) for m in (("%04d.%s" % (first + i, ext), picture(first + i)),
                                                           ("%04d.cls" % (first + i), label.encode()))]


class Shards(Case):
    def put(self, name, data):
        os.makedirs(os.path.dirname(self.path(name)) or ".", exist_ok=True)
        return self.write(name, data)

    def open(self, spec, *args):
        lines = self.good("data_probe", "open", spec, "--fraction", 0, *args).splitlines()
        return [x for x in lines if not x.startswith("note: ")], [x[6:] for x in lines if x.startswith("note: ")]

    def errors(self, spec, *args):
        code, out, err = self.run_program("data_probe", "open", spec, "--fraction", 0, *args)
        self.assertEqual(code, 1, (out, err))
        return err.splitlines()

    def test_folder(self):
        self.put("d/b.tar", tar(samples(2, ["1", "0"])))
        self.put("d/a.tar", tar(samples(0, ["0\n", "1"])))
        got, notes = self.open("d")
        self.assertEqual(got[0], "classes 0:2 1:2")
        self.assertEqual(got[3:], ["train 0 d/a.tar/0000.png", "train 1 d/a.tar/0001.png", "train 1 d/b.tar/0002.png",
                                   "train 0 d/b.tar/0003.png"])
        self.assertEqual(notes, [])

    def test_parts(self):
        self.put("d/train/0.tar", tar(samples(0, ["cat", "dog", "cat"])))
        self.put("d/val/0.tar", tar(samples(7, ["dog"], "JPG")))
        got, _ = self.open("d")
        self.assertEqual(got[0], "classes cat:2 dog:1")
        self.assertEqual(got[3:], ["train 0 d/train/0.tar/0000.png", "train 1 d/train/0.tar/0001.png",
                                   "train 0 d/train/0.tar/0002.png", "val 1 d/val/0.tar/0007.JPG"])
        got, _ = self.open("d", "--eval", 1, "--labels", "dog,cat")
        self.assertEqual(got[3:], ["val 0 d/val/0.tar/0007.JPG"])
        got, _ = self.open("d/train/0.tar", "--labels", "dog,cat")
        self.assertEqual(got[3], "train 1 d/train/0.tar/0000.png")
        os.rename(self.path("d/val/0.tar"), self.path("d/val/0.txt"))
        self.assertEqual(self.errors("d"), ["d/val: there are no .tar files, but in d/train"])

    def test_a_sample_is_what_its_file_is(self):
        for name, form in FORMATS.items():
            self.put(name + ".tar", tar([("x" * 90 + "/" + "y" * (8 if name == "ustar" else 120) + "/%d.%s" % (i, e), data)
                                         for i in range(5) for e, data in (("png", picture(i)), ("cls", b"%d" % (i % 2)))], form))
            for i in range(5):
                self.put("f/%d/%d.png" % (i % 2, i), picture(i))
            files = [0, 3, 1, 4, 2]  # by class
            for i in range(5):
                self.good("data_probe", "sample", name + ".tar", i, "t.npy", "--model", "3x4x4", "--fraction", 0)
                self.good("data_probe", "sample", "f", files[i], "f.npy", "--model", "3x4x4", "--fraction", 0)
                self.assertEqual(read_npy(self.path("t.npy")), read_npy(self.path("f.npy")))

    def test_several_labels(self):
        self.put("a.tar", tar(samples(0, ["cat;dog", "dog", ";"])))
        got, _ = self.open("a.tar", "--target", "multi")
        self.assertEqual(got[0], "classes cat:1 dog:2")
        self.assertEqual(got[3:], ["train 0 1,1 a.tar/0000.png", "train 1 0,1 a.tar/0001.png", "train -1 0,0 a.tar/0002.png"])

    def test_other_members_are_counted(self):
        self.put("a.tar", tar([("./", None)] + samples(0, ["0", "1"]) + [("0001.json", b"{}"), ("0001.seg.png", picture(0)),
                                                                        ("README", b"x")]))
        got, notes = self.open("a.tar")
        self.assertEqual(len(got), 5)
        self.assertEqual(notes, ["a.tar: 3 members left out, neither a sample's image nor its label"])

    def test_fingerprint(self):
        seen = set()
        for members in (samples(0, ["0", "1"]), samples(0, ["1", "0"]), samples(1, ["0", "1"]),
                        [("0/", None)] + samples(0, ["0", "1"])):
            self.put("a.tar", tar(members))
            seen.add(self.open("a.tar")[0][2])
        self.assertEqual(len(seen), 4)
        self.put("b.tar", tar(members))
        self.assertIn(self.open("b.tar")[0][2], seen)

    def test_mistakes(self):
        good = tar(samples(0, ["0", "1"]))
        wrong = lambda data, *args: (self.put("a.tar", data), self.errors("a.tar", *args))[1]
        self.assertEqual(wrong(good[:1024 + 100]), ["a.tar: truncated"])
        self.assertEqual(wrong(b"x" * 2048), ["a.tar: not a tar file (compressed ones are not read)"])
        self.assertEqual(wrong(b""), ["a.tar: truncated"])
        for name in ("a.tar.gz", "a.tgz", "a.tar.zst"):
            self.put(name, good)
            self.assertEqual(self.errors(name), [name + ": compressed shards are not read; unpack it to a .tar"])
        self.assertEqual(wrong(good[:good.index(b"\0" * 1024, 1536 + 512) // 512 * 512]), ["a.tar: truncated"])  # no end mark
        self.assertEqual(wrong(bytes(1024)), ["a.tar: there are no samples: an image beside a label name.cls"])
        self.assertEqual(wrong(good[:1024] + b"x" * 512 + good[1536:]), ["a.tar: damaged"])
        self.assertEqual(wrong(tar([("a.png", picture(0)), ("b.cls", b"0")])), [
            "a.tar: sample 'a' has no label: a member .cls beside its image", "a.tar: sample 'b' has no image, but a label"])
        self.assertEqual(wrong(tar([("a.png", picture(0)), ("a.cls", b"\n")])), ["a.tar: sample 'a': the label is empty"])
        self.assertEqual(wrong(tar([("a.png", picture(0)), ("a.cls", b"0" * 5000)])), ["a.tar: sample 'a': a label of 5000 bytes"])
        self.assertEqual(wrong(tar(samples(0, ["emu", "dog"])), "--labels", "cat,dog"), [
            "a.tar/0000.png: 'emu' is not one of the 2 classes: cat, dog"])
        self.assertRegex(wrong(tar(samples(0, ["a", "b", "c"])))[0], "3 labels .* made for 2 classes")
        huge = bytearray(good)  # a member that would end past 2^63
        huge[124:136] = b"\x80\0\0\0" + struct.pack(">q", 2 ** 63 - 600)
        huge[148:156] = b" " * 8
        huge[148:156] = b"%06o\0 " % sum(huge[:512])
        self.assertEqual(wrong(bytes(huge)), ["a.tar: truncated"])
        self.put("d/0.tar", good)
        self.put("d/1.tar", good[:700])
        self.put("d/2.tar", b"y" * 700)
        self.assertEqual(self.errors("d"), ["d/1.tar: truncated", "d/2.tar: not a tar file (compressed ones are not read)"])

    def test_cut_off_after_it_was_opened(self):
        self.put("a.tar", tar([("a.png", picture(0)), ("a.cls", b"0"), ("b.png", b"no picture"), ("b.cls", b"1")]))
        self.bad(1, "^a.tar/b.png: not a JPEG", "data_probe", "sample", "a.tar", 1, "x.npy", "--fraction", 0)

    def test_random_damage_never_crashes(self):
        rng = random.Random(3)
        good = {name: tar(samples(0, ["0", "1", "0"]), form) for name, form in FORMATS.items()}
        good["long"] = tar([("n" * 200 + e, d) for e, d in ((".png", picture(1)), (".cls", b"1"))], tarfile.PAX_FORMAT)
        for _ in range(60):
            data = bytearray(rng.choice(sorted(good.values())))
            for _ in range(rng.randint(1, 6)):
                at = rng.randrange(len(data) // 512) * 512 + rng.choice((0, 124, 130, 148, 156, 257, 345))
                data[at] = rng.randrange(256)
                if rng.random() < 0.5:  # with a checksum that is right
                    head = at // 512 * 512
                    data[head + 148:head + 156] = b" " * 8
                    data[head + 148:head + 156] = b"%06o\0 " % sum(data[head:head + 512])
            self.put("a.tar", bytes(data))
            self.assertIn(self.run_program("data_probe", "open", "a.tar", "--fraction", 0)[0], (0, 1))


if __name__ == "__main__":
    unittest.main()
