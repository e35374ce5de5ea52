"""Every kind of data set: what is found, in which order, how it is split, and what each mistake is told as."""
import gzip
import os
import random
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case, npy, plain_png, read_npy


def idx(shape, data):
    return struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(">%dI" % len(shape), *shape) + data


class DataCase(Case):
    def put(self, *names, data=None):
        for i, name in enumerate(names):
            os.makedirs(os.path.dirname(self.path(name)) or ".", exist_ok=True)
            self.write(name, plain_png(10 * i % 256, 3, 5, 4, 4) if data is None else data)

    def open(self, spec, *args):
        out = self.good("data_probe", "open", spec, *args)
        lines = out.splitlines()
        notes = [x[6:] for x in lines if x.startswith("note: ")]
        rest = [x for x in lines if not x.startswith("note: ")]
        head = dict(x.split(" ", 1) for x in rest[:3])
        return {"classes": head["classes"], "counts": head["named"], "fingerprint": head["fingerprint"],
                "items": rest[3:], "notes": notes}

    def errors(self, spec, *args):
        code, out, err = self.run_program("data_probe", "open", spec, *args)
        self.assertEqual(code, 1, (out, err))
        return err.splitlines()


    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()


class Folders(DataCase):
    def test_train_and_val(self):
        self.put("d/train/rose/2.png", "d/train/rose/10.JPG", "d/train/daisy/deep/er/x.jpeg", "d/train/daisy/a.PnG",
                 "d/val/rose/v.png", "d/train/daisy/.hidden.png", "d/train/.git/x.png")
        got = self.open("d")
        self.assertEqual(got["classes"], "daisy:2 rose:2")
        self.assertEqual(got["counts"], "1 tensors 0 train 4 val 1")
        self.assertEqual(got["items"], ["train 0 d/train/daisy/a.PnG", "train 0 d/train/daisy/deep/er/x.jpeg",
                                        "train 1 d/train/rose/10.JPG", "train 1 d/train/rose/2.png", "val 1 d/val/rose/v.png"])
        self.assertEqual(got["notes"], ["d: no validation images of class daisy"])
        self.assertEqual(self.open("d", "--labels", "rose,daisy")["items"][2], "train 0 d/train/rose/10.JPG")
        self.assertEqual(self.open("d", "--eval", 1, "--labels", "daisy,rose")["items"], ["val 1 d/val/rose/v.png"])

    def test_other_names_of_the_validation_folder(self):
        for name in ("valid", "validation", "test"):
            self.put(name + "set/train/a/1.png", name + "set/train/b/1.png", name + "set/" + name + "/a/1.png")
            self.assertEqual(self.open(name + "set")["counts"], "1 tensors 0 train 2 val 1")
        self.put("no/val/a/1.png", "no/val/b/1.png")
        self.assertEqual(self.errors("no"), ["no: there is a folder val, but no folder train"])
        self.assertEqual(self.open("no", "--eval", 1)["counts"], "1 tensors 0 train 0 val 2")

    def test_split(self):
        names = ["d/%s/%03d.png" % (c, i) for c, n in (("a", 50), ("b", 25), ("c", 5)) for i in range(n)]
        self.put(*names)
        got = self.open("d", "--classes", 3)
        self.assertEqual(got["classes"], "a:40 b:20 c:4")
        items = got["items"]
        self.assertEqual(sorted(x.split()[2] for x in items), sorted(names))
        for part in ("train", "val"):
            kept = [x for x in items if x.startswith(part)]
            self.assertEqual(kept, sorted(kept, key=lambda x: x.split()[2]))
        self.assertEqual(self.open("d", "--classes", 3), got)
        other = self.open("d", "--classes", 3, "--seed", 1)
        self.assertNotEqual(other["items"], items)
        self.assertNotEqual(other["fingerprint"], got["fingerprint"])
        self.assertEqual(self.open("d", "--classes", 3, "--fraction", 0)["counts"], "1 tensors 0 train 80 val 0")
        self.assertEqual(self.open("d", "--classes", 3, "--fraction", 0.5)["classes"], "a:25 b:12 c:3")
        self.assertEqual(self.open("d", "--classes", 3, "--fraction", 0.98)["classes"], "a:1 b:1 c:1")
        self.assertEqual(self.open("d", "--classes", 3, "--eval", 1)["counts"], "1 tensors 0 train 0 val 80")

    def test_too_few_to_split(self):
        self.put("d/a/1.png", "d/b/1.png")
        self.assertEqual(self.errors("d"), ["d: no class has more than one image, none can be held out for validation; "
                                            "give --val DATA, or --val-fraction 0 for no validation"])
        self.assertEqual(self.open("d", "--fraction", 0)["counts"], "1 tensors 0 train 2 val 0")
        self.assertRegex("\n".join(self.errors("d/a/..", "--classes", 2, "--fraction", 0.9)), "no class has more than one image")
        self.put("e/a/1.png", "e/a/2.png")
        self.assertRegex("\n".join(self.errors("e", "--classes", 1)), r"^e: 2 images are too few to split off 20% for validation; give --val")

    def test_separate_validation(self):
        self.put("d/a/1.png", "d/b/1.png", "e/b/2.png", "f/train/b/1.png", "f/val/a/1.png", "d2/train/a/1.png",
                 "d2/train/b/1.png", "d2/val/b/1.png")
        self.assertEqual(self.open("d", "--val", "e")["items"], ["train 0 d/a/1.png", "train 1 d/b/1.png", "val 1 e/b/2.png"])
        self.assertEqual(self.open("d", "--val", "f")["items"][2:], ["val 0 f/val/a/1.png"])
        self.assertEqual(self.open("d2", "--val", "e")["items"][2:], ["val 1 e/b/2.png"])
        self.assertEqual(self.errors("d", "--val", "g"), ["g: No such file or directory"])

    def test_fingerprint(self):
        self.put("d/train/a/1.png", "d/train/b/2.png", "d/val/a/3.png")
        first = self.open("d")["fingerprint"]
        self.assertRegex(first, "^[0-9a-f]{32}$")
        os.rename(self.path("d"), self.path("moved"))
        self.assertEqual(self.open("moved")["fingerprint"], first)
        seen = {first}
        os.rename(self.path("moved/train/a/1.png"), self.path("moved/train/a/0.png"))
        seen.add(self.open("moved")["fingerprint"])
        self.put("moved/train/a/0.png", data=b"x")
        seen.add(self.open("moved")["fingerprint"])
        seen.add(self.open("moved", "--labels", "b,a")["fingerprint"])
        os.rename(self.path("moved/val/a"), self.path("moved/val/b"))
        seen.add(self.open("moved")["fingerprint"])
        self.assertEqual(len(seen), 5)

    def test_all_mistakes_at_once(self):
        self.put("d/train/rose/1.png", "d/train/dasy/1.png", "d/train/tulip/readme.txt", "d/val/lilly/1.png")
        self.assertEqual(self.errors("d", "--labels", "daisy,rose,tulip"), [
            "d/train/dasy: 'dasy' is not one of the 3 classes: daisy, rose, tulip",
            "d/train: there is no folder for class 'daisy'",
            "d/val: none of the class folders (lilly) is one of the 3 classes: daisy, rose, tulip"])
        self.put("e/rose/1.png", "e/daisy/1.gif", "e/tulip/.png")
        self.assertEqual(self.errors("e", "--labels", "daisy,rose,tulip"), [
            "e/daisy: there are no .jpg, .jpeg, .png or .webp files", "e/tulip: there are no .jpg, .jpeg, .png or .webp files"])
        self.assertEqual(self.errors("e", "--classes", 4), [
            "e: 3 class folders (daisy, rose, tulip), but this program was made for 4 classes"])
        self.put("f/1.png", "g/.x")
        self.assertEqual(self.errors("f"), ["f: there are no class folders; images must lie in a folder named like their class"])
        self.assertEqual(self.errors("g"), ["g: there are no class folders"])
        self.assertEqual(self.errors("h"), ["h: No such file or directory"])

    def test_many_mistakes_are_cut(self):
        self.put(*["d/%02d/x.txt" % i for i in range(50)])
        lines = self.errors("d", "--classes", 50)
        self.assertEqual((len(lines), lines[-1]), (21, "d: 30 more problems"))

    def test_other_files_are_noted(self):
        self.put("d/a/1.png", "d/b/1.png", "d/b/2.gif", "d/note.txt", "d/a/z.gif")
        os.symlink("nowhere", self.path("d/b/3.png"))
        self.assertEqual(self.open("d", "--fraction", 0)["notes"], [
            "d: 3 files left out that are no .jpg, .jpeg, .png or .webp (note.txt, ...)", "d: 1 broken link (b/3.png)"])

    def test_broken_links_are_bad_images(self):
        self.put("d/a/1.png", "d/b/1.png")
        for at in ("d/a/2.png", "d/a/3.png", "d/a/more", "d/c"):
            os.symlink("../../annex/none", self.path(at))
        got = self.open("d", "--fraction", 0)
        self.assertEqual(got["notes"], ["d: 4 broken links (c, ...)"])
        self.assertEqual(got["items"], ["train 0 d/a/1.png", "train 0 d/a/2.png", "train 0 d/a/3.png", "train 1 d/b/1.png"])
        os.unlink(self.path("d/b/1.png"))
        os.symlink("none", self.path("d/b/1.png"))
        self.assertEqual(self.errors("d")[0], "d/b: there are no .jpg, .jpeg, .png or .webp files")
        self.assertEqual(self.open("d", "--eval", 1)["counts"], "1 tensors 0 train 0 val 4")

    def test_links_do_not_lead_up(self):
        self.put("x/d/train/a/1.png", "x/d/train/b/1.png", "x/d/val/a/2.png", "x/other/3.png", "x/other/c/4.png")
        want = ["train 0 x/d/train/a/1.png", "train 1 x/d/train/b/1.png", "val 0 x/d/val/a/2.png"]
        for to in ("..", "../..", "../../..", self.path("x/d/train")):
            os.symlink(to, self.path("x/d/train/b/up"))
            self.assertEqual(self.open("x/d")["items"], want, to)
            os.unlink(self.path("x/d/train/b/up"))
        os.symlink(".", self.path("x/d/train/c"))  # a class that would hold all of them
        self.assertEqual(self.errors("x/d", "--classes", 3), ["x/d/train/c: there are no .jpg, .jpeg, .png or .webp files"])

    def test_links(self):
        self.put("store/x/1.png", "d/a/1.png", "d/b/1.png")
        os.symlink(self.path("store/x"), self.path("d/b/more"))
        os.symlink("..", self.path("d/a/loop"))
        os.symlink(self.path("d/a"), self.path("d/a/self"))
        got = self.open("d", "--fraction", 0)
        self.assertEqual(got["items"][-1], "train 1 d/b/more/1.png")
        self.assertNotIn("self", "".join(got["items"]))


class Lists(DataCase):
    def setUp(self):
        super().setUp()
        self.put("d/img/1.png", "d/img/2.png", "d/img/a, \"b\".png")

    def list(self, text, *args):
        self.put("d/list.csv", data=text.encode())
        return self.open("d/list.csv", "--fraction", 0, *args)

    def wrong(self, text, *args):
        self.put("d/list.csv", data=text.encode())
        return self.errors("d/list.csv", "--fraction", 0, *args)

    def test_forms(self):
        want = ["train 1 d/img/1.png", "train 0 d/img/2.png"]
        for text in ("img/1.png,rose\nimg/2.png,daisy\n", "path,label\r\nimg/1.png,rose\r\n\r\nimg/2.png,daisy",
                     "\ufeffLabel,x,FILENAME\nrose,9,img/1.png\ndaisy,,img/2.png\n", ' img/1.png ,"rose"\n"img/2.png", daisy \n'):
            got = self.list(text)
            self.assertEqual((got["items"], got["classes"]), (want, "daisy:1 rose:1"), text)
        got = self.list('"img/a, ""b"".png",0\n%s,1\n' % self.path("d/img/1.png"))
        self.assertEqual(got["items"], ['train 0 d/img/a, "b".png', "train 1 " + self.path("d/img/1.png")])
        self.assertEqual(got["counts"], "0 tensors 0 train 2 val 0")

    def test_names_and_numbers(self):
        labels = ("--labels", "rose,daisy,tulip")
        self.assertEqual(self.list("img/1.png,daisy\nimg/2.png,2\n", *labels)["items"],
                         ["train 1 d/img/1.png", "train 2 d/img/2.png"])
        self.assertEqual(self.list("img/1.png,daisy\nimg/2.png,2\n", *labels)["notes"],
                         ["d/list.csv: no training images of class rose"])
        self.assertEqual(self.list("img/1.png,7\nimg/2.png,0\n", "--classes", 8)["items"][0], "train 7 d/img/1.png")
        self.assertEqual(self.list("img/1.png,007\nimg/2.png,xy\n")["classes"], "007:1 xy:1")

    def test_several_labels(self):
        got = self.list("img/1.png,cat;dog\nimg/2.png,\nimg/2.png, dog ; \n", "--target", "multi")
        self.assertEqual(got["items"], ["train 0 1,1 d/img/1.png", "train -1 0,0 d/img/2.png", "train 1 0,1 d/img/2.png"])
        self.assertEqual(got["classes"], "cat:1 dog:2")
        self.assertEqual(self.list("img/1.png,0\nimg/2.png,1\n", "--target", "binary")["items"],
                         ["train 0 0 d/img/1.png", "train 1 1 d/img/2.png"])

    def test_other_separators_of_labels(self):
        wrong = self.wrong("img/1.png,a b\nimg/2.png,ab\n", "--labels", "a,b", "--target", "multi")
        self.assertEqual(wrong, ["d/list.csv:1: 'a b' is not one of the 2 classes: a, b; several labels for one image have ';' between them",
                                 "d/list.csv:2: 'ab' is not one of the 2 classes: a, b"])

    def test_mistakes(self):
        self.assertEqual(self.wrong("img/1.png,0\nimg/9.png,1\nimg/2.png,7\nimg,0\n"), [
            "d/list.csv: 3 labels (0, 1, 7), but this program was made for 2 classes"])
        self.assertEqual(self.wrong("img/1.png,a\nimg/9.png,b\nimg/2.png,x\nimg,a\n", "--labels", "a,b"), [
            "d/list.csv:2: img/9.png: No such file or directory",
            "d/list.csv:3: 'x' is not one of the 2 classes: a, b",
            "d/list.csv:4: img: not a regular file"])
        self.assertEqual(self.wrong("img/1.png\nimg/2.png,a,b\n,a\n"), [
            "d/list.csv:1: 1 field, expected path,label", "d/list.csv:2: 3 fields, expected path,label",
            "d/list.csv:3: 2 fields, expected path,label"])
        self.assertEqual(self.wrong('"img/1.png,a\n'), ["d/list.csv:1: a quoted field does not end"])
        self.assertRegex(self.wrong("img/1.png,a;b\n", "--labels", "a,b")[0], "several labels for one image are for programs made")
        self.assertEqual(self.wrong("img/1.png,\nimg/2.png,a\n", "--labels", "a,b"), ["d/list.csv:1: the label is empty"])
        for text in ("", "path,label\n", "\n\n"):
            self.assertEqual(self.wrong(text), ["d/list.csv: there are no lines path,label"])
        self.assertRegex(self.errors("d/img/1.png")[0], "neither a folder nor a text file")


class Arrays(DataCase):
    def family(self, folder, n=20, gz=True, train=True, test=True):
        for name, count, use in (("train", n, train), ("t10k", n // 2, test)):
            if use:
                pixels = bytes(i * 7 % 256 for i in range(count * 16))
                for kind, data in (("images-idx3", idx((count, 4, 4), pixels)),
                                   ("labels-idx1", idx((count,), bytes(i % 2 for i in range(count))))):
                    path = "%s/%s-%s-ubyte" % (folder, name, kind)
                    self.put(path + ".gz" if gz else path, data=gzip.compress(data) if gz else data)

    def test_idx(self):
        for gz in (True, False):
            folder = "gz%d" % gz
            self.family(folder, gz=gz)
            got = self.open(folder)
            self.assertEqual(got["counts"], "0 tensors 0 train 20 val 10")
            self.assertEqual(got["classes"], "0:10 1:10")
            self.assertEqual(got["items"][1][:8], "train 1 ")
            self.assertTrue(got["items"][1].endswith("train-images-idx3-ubyte%s[1]" % (".gz" if gz else "")))
        self.assertEqual(self.open("gz1")["fingerprint"], self.open("gz0")["fingerprint"])
        self.family("gz1", gz=False)  # packed and unpacked: fine
        self.assertEqual(self.open("gz1", "--eval", 1)["counts"], "0 tensors 0 train 0 val 10")
        pair = "gz1/train-images-idx3-ubyte.gz,gz0/train-labels-idx1-ubyte"
        self.assertEqual(self.open(pair)["counts"], "0 tensors 0 train 16 val 4")
        self.family("alone", test=False)
        self.assertEqual(self.open("alone")["counts"], "0 tensors 0 train 16 val 4")
        said, = self.errors("gz0", "--folds", 4)
        self.assertEqual(said, "gz0: has images for validation, a k-fold makes its own: name what it has for training, "
                               "as gz0/train-images-idx3-ubyte,gz0/train-labels-idx1-ubyte")
        self.assertEqual(self.open(said.split(", as ")[1], "--folds", 4)["counts"], "0 tensors 0 train 15 val 5")

    def test_idx_pixels(self):
        self.family("d")
        self.good("data_probe", "sample", "d", 3, "x.npy", "--model", "1x4x4")
        want = [(i * 7 % 256 / 255 - 0.25) / 0.5 for i in range(48, 64)]
        got = struct.unpack("<16f", read_npy(self.path("x.npy"))[2])
        for a, b in zip(got, want):
            self.assertAlmostEqual(a, b, places=5)
        self.good("data_probe", "sample", "d", 3, "y.npy", "--model", "3x4x4")
        self.assertEqual(struct.unpack("<48f", read_npy(self.path("y.npy"))[2]), got * 3)

    def test_idx_mistakes(self):
        self.family("d")
        os.remove(self.path("d/t10k-labels-idx1-ubyte.gz"))
        self.assertEqual(self.errors("d"), ["d: of the IDX files, the test labels are missing"])
        self.family("e", gz=False)
        raw = self.read("e/train-images-idx3-ubyte")
        packed = gzip.compress(raw)
        for data, text in ((raw[:-1], "truncated IDX file"), (raw + b"x", "longer than its header"), (raw[:9], "truncated IDX file"),
                           (b"", "truncated IDX file"), (b"hello, world", "not an IDX file"),
                           (b"\0\0\x0d" + raw[3:], "type 0x0d are not supported"), (packed[:-9], "train-images"),
                           (packed[:-4] + b"abcd", "train-images"), (idx((1 << 31, 1 << 31, 1 << 31), b""), "too large"),
                           (idx((1 << 20, 28, 28), b"xx"), "truncated IDX file"),
                           (gzip.compress(idx((1 << 20, 1 << 10, 28), b"xx")), "truncated IDX file")):
            self.put("e/train-images-idx3-ubyte", data=data)
            lines = self.errors("e")
            self.assertRegex(lines[0], "^e/train-images-idx3-ubyte: ")
            self.assertRegex(lines[0], text)
        self.put("e/train-images-idx3-ubyte", data=idx((20, 0, 4), b""))
        self.assertRegex(self.errors("e")[0], "images of 4 x 0 pixels")
        self.put("e/train-images-idx3-ubyte", data=raw)
        self.put("e/train-labels-idx1-ubyte", data=idx((20,), bytes([0, 1, 2] + [0] * 17)))
        self.assertEqual(self.errors("e"), ["e/train-labels-idx1-ubyte[2]: label 2 is not a class from 0 to 1"])
        self.put("e/train-labels-idx1-ubyte", data=idx((19,), bytes(19)))
        self.assertEqual(self.errors("e"), ["e/train-labels-idx1-ubyte: u8[19] for 20 images in e/train-images-idx3-ubyte"])

    def pair(self, x, y):
        self.put("x.npy", data=x)
        self.put("y.npy", data=y)

    def labels(self, n=6):
        return npy("<i8", "(%d,)" % n, struct.pack("<%dq" % n, *(i % 2 for i in range(n))))

    def test_npy_layouts(self):
        rgb = [bytes([k, k + 100, k + 200]) for k in range(4)]  # 2 x 2 pixels
        planes = b"".join(bytes(p[c] for p in rgb) for c in range(3))
        want = None
        for shape, data in (("(6, 2, 2, 3)", b"".join(rgb) * 6), ("(6, 3, 2, 2)", planes * 6)):
            self.pair(npy("|u1", shape, data), self.labels())
            self.assertEqual(self.open("x.npy,y.npy", "--fraction", 0)["counts"], "0 tensors 0 train 6 val 0")
            self.good("data_probe", "sample", "x.npy,y.npy", 5, "out.npy", "--model", "3x2x2", "--fraction", 0)
            got = read_npy(self.path("out.npy"))
            want = want or got
            self.assertEqual(got, want)
        got = [round((v * 0.5 + 0.25) * 255) for v in struct.unpack("<12f", got[2])]
        self.assertEqual(bytes(got), planes)
        self.good("data_probe", "sample", "x.npy,y.npy", 5, "out.npy", "--model", "1x2x2", "--fraction", 0)
        grey = [round((v * 0.5 + 0.25) * 255) for v in struct.unpack("<4f", read_npy(self.path("out.npy"))[2])]
        self.assertEqual(grey, [(19595 * k + 38470 * (k + 100) + 7471 * (k + 200) + 0x8000) >> 16 for k in range(4)])

    def test_npy_tensors(self):
        data = struct.pack("<72f", *(i / 7 for i in range(72)))
        self.pair(npy("<f4", "(6, 3, 2, 2)", data), self.labels())
        args = ("--model", "3x2x2", "--fraction", 0)
        self.assertEqual(self.open("x.npy,y.npy", *args)["counts"], "0 tensors 1 train 6 val 0")
        self.good("data_probe", "sample", "x.npy,y.npy", 2, "out.npy", *args)
        self.assertEqual(read_npy(self.path("out.npy"))[2], data[96:144])
        self.assertRegex(self.errors("x.npy,y.npy", "--model", "3x4x4")[0], r"f32\[6,3,2,2\], but the model takes f32\[6,3,4,4\]")
        self.bad(1, "augmentation is for images", "data_probe", "load", "x.npy,y.npy", *args, "--augment", "light")
        self.pair(npy("<f4", "(6, 3, 2, 2)", struct.pack("<f", float("nan")) + data[4:]), self.labels())
        self.assertRegex(self.good("data_probe", "load", "x.npy,y.npy", *args), r"bad 0 x.npy\[0\]: holds a number that is not finite")
        self.put("d/a/1.png", "d/b/1.png")
        self.assertRegex(self.errors("x.npy,y.npy", *args, "--val", "d")[0], "cannot be mixed|not one of|none of")

    def test_npy_tensors_that_are_no_pictures(self):
        data = struct.pack("<120f", *(i / 7 for i in range(120)))
        for shape in ("(6, 5, 2, 2)", "(6, 5, 2, 2, 1)"):
            self.pair(npy("<f4", shape, data), self.labels())
            self.good("data_probe", "sample", "x.npy,y.npy", 2, "out.npy", "--model", "5x2x2", "--fraction", 0)
            self.assertEqual(read_npy(self.path("out.npy"))[2], data[160:240])
        self.assertEqual(self.good("data_probe", "thumb", "x.npy,y.npy", 1, 64, "out.jpg", "--model", "5x2x2", "--fraction", 0), "")
        self.assertRegex(self.errors("x.npy,y.npy", "--model", "5x4x1")[0], r"f32\[6,5,2,2,1\], but the model takes f32\[6,5,4\]")
        self.pair(npy("|u1", "(6, 5, 2, 2)", bytes(120)), self.labels())
        self.assertRegex(self.errors("x.npy,y.npy", "--model", "5x2x2")[0], r"u8\[6,5,2,2\], but the model takes f32\[6,5,2,2\]")
        self.put("d/a/1.png", "d/b/1.png")
        self.assertRegex(self.errors("d", "--model", "5x2x2", "--fraction", 0)[0], r"d: the network takes arrays, f32\[2,5,2,2\] in .npy")

    def test_npy_several_labels(self):
        rows = [0, 1, 1, 1, 0, 0, 0.25, 0.75]
        x = npy("|u1", "(4, 2, 2)", bytes(16))
        self.pair(x, npy("<f4", "(4, 2)", struct.pack("<8f", *rows)))
        got = self.open("x.npy,y.npy", "--target", "multi", "--fraction", 0)
        self.assertEqual(got["items"], ["train 1 0,1 x.npy[0]", "train 0 1,1 x.npy[1]", "train -1 0,0 x.npy[2]", "train 1 0.25,0.75 x.npy[3]"])
        self.assertEqual(got["classes"], "0:1 1:3")
        self.assertRegex(self.errors("x.npy,y.npy")[0], "several labels for each image, which are for programs made with --multi-label")
        self.pair(x, npy("<f4", "(4, 2)", struct.pack("<8f", *(rows[:7] + [1.5]))))
        self.assertEqual(self.errors("x.npy,y.npy", "--target", "multi"), ["y.npy[3,1]: 1.5 is not from 0 to 1"])
        self.pair(x, self.labels(4))
        self.assertEqual(self.open("x.npy,y.npy", "--target", "multi", "--fraction", 0)["items"][1], "train 1 0,1 x.npy[1]")

    def test_npy_mistakes(self):
        self.pair(npy("<f8", "(6, 2, 2)", bytes(192)), self.labels())
        self.assertEqual(self.errors("x.npy,y.npy"), ["x.npy: images are u8 or f32, not f64"])
        self.pair(npy("|u1", "(6, 2, 2, 2)", bytes(48)), self.labels())
        self.assertRegex(self.errors("x.npy,y.npy")[0], r"u8\[6,2,2,2\] is not \[N,H,W\]")
        self.pair(npy("|u1", "(6, 2)", bytes(12)), self.labels())
        self.assertRegex(self.errors("x.npy,y.npy")[0], r"u8\[6,2\] is not \[N,H,W\]")
        self.pair(npy("|u1", "(6, 2, 2)", bytes(24)), npy("<f4", "(6,)", struct.pack("<6f", 0, 1, 0.5, 0, 0, 0)))
        self.assertEqual(self.errors("x.npy,y.npy"), ["y.npy[2]: label 0.5 is not a class from 0 to 1"])
        self.pair(npy("|u1", "(0, 2, 2)"), self.labels(0))
        self.assertEqual(self.errors("x.npy,y.npy"), ["x.npy,y.npy: there are no images"])
        self.assertEqual(self.errors("nope.npy,z.npy"), ["nope.npy: No such file or directory", "z.npy: No such file or directory"])
        self.assertRegex(self.errors("x.npy")[0], "labels are needed, too")

    def test_random_damage_never_crashes(self):
        rng = random.Random(1)
        self.family("d", n=6, gz=True)
        good = {n: self.read("d/" + n) for n in os.listdir(self.path("d"))}
        for _ in range(60):
            name = rng.choice(sorted(good))
            data = bytearray(good[name])
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            self.put("d/" + name, data=bytes(data))
            self.assertIn(self.run_program("data_probe", "open", "d")[0], (0, 1))
            self.put("d/" + name, data=good[name])


if __name__ == "__main__":
    unittest.main()
