"""The list of a set's images as a file (--index): the same set out of it, read anew when something changed, and nothing believed."""
import os
import random
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case, plain_png
from test_shards import samples, tar


class Index(Case):
    def put(self, name, data=None):
        os.makedirs(os.path.dirname(self.path(name)) or ".", exist_ok=True)
        self.write(name, plain_png(10, 3, 5, 4, 4) if data is None else data)

    def age(self):
        """Folders and files are not of just now: what changes at once may keep its time."""
        for at, folders, files in os.walk(self.path(".")):
            for name in [".", *folders, *files]:
                os.utime(os.path.join(at, name), (1e9, 1e9 + random.Random(at + name).randrange(10 ** 6)))

    def open(self, spec, *args, index="i"):
        out = self.good("data_probe", "open", spec, *(("--index", index) if index else ()), *args).splitlines()
        return [x for x in out if not x.startswith("note: ")], [x[6:] for x in out if x.startswith("note: ")]

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def test_it_lies_outside_of_the_data(self):
        self.put("d/a/1.png")
        self.put("d/b/1.png")
        os.symlink("d/a", self.path("l"))
        for index in ("d/i", "d/a/i", "l/i", self.path("d/i")):
            code, _, err = self.run_program("data_probe", "open", "d", "--index", index, "--fraction", 0)
            self.assertEqual((code, err), (1, index + ": an index lies outside of the data\n"))
        self.open("d", "--fraction", 0, index="di")

    def make(self):
        for c in "ab":
            for i in range(6):
                self.put("d/%s/sub%d/%d.png" % (c, i % 2, i))
        self.put("s/0.tar", tar(samples(0, ["a", "b", "a;b"])))
        self.put("s/1.tar", tar(samples(9, ["b", "a"])))
        self.put("list.csv", b"d/a/sub0/0.png,a\nd/b/sub1/1.png,b\nd/a/sub0/2.png,a\nd/b/sub1/3.png,b\nd/b/sub1/5.png,b\n")
        self.age()

    def test_the_same_set(self):
        self.make()
        for spec, args in (("d", ("--val", "list.csv")), ("d", ("--fraction", 0.3)), ("s", ("--target", "multi", "--fraction", 0)),
                           ("list.csv", ("--labels", "b,a")), ("s/1.tar", ("--eval", 1)), ("list.csv", ("--target", "binary"))):
            want, notes = self.open(spec, *args, index=None)
            self.assertEqual(self.open(spec, *args), (want, notes))  # written
            inode = os.stat(self.path("i")).st_ino
            self.assertEqual(self.open(spec, *args), (want, notes))  # read
            self.assertEqual(os.stat(self.path("i")).st_ino, inode)
            os.unlink(self.path("i"))

    def test_pixels_out_of_it(self):
        self.make()
        for name in ("x.npy", "y.npy"):
            self.good("data_probe", "sample", "s/1.tar", 1, name, "--model", "3x4x4", "--index", "i", "--fraction", 0)
        self.assertEqual(self.read("x.npy"), self.read("y.npy"))

    def test_changes_are_noticed(self):
        self.make()
        changes = ((lambda: self.put("d/b/sub1/7.png"), "d", "d/b/sub1"), (lambda: os.unlink(self.path("d/a/sub0/4.png")), "d", "d/a/sub0"),
                   (lambda: os.mkdir(self.path("d/c")), "d", "d"), (lambda: self.put("s/2.tar", tar(samples(30, ["b"]))), "s", "s"),
                   (lambda: self.put("s/1.tar", tar(samples(9, ["b"]))), "s", "s/1.tar"),
                   (lambda: self.put("list.csv", self.read("list.csv") + b"d/a/sub1/3.png,a\n"), "list.csv", "list.csv"))
        for change, spec, where in changes:
            args = ("--target", "multi", "--classes", 2, "--fraction", 0)
            self.open(spec, *args)
            change()
            if os.path.isdir(self.path("d/c")):
                os.rmdir(self.path("d/c"))
            got, notes = self.open(spec, *args)
            self.assertEqual(notes, ["i: is of before a change in %s; the data are read anew" % where])
            self.assertEqual(got, self.open(spec, *args, index=None)[0])
            self.age()
            os.unlink(self.path("i"))

    def test_what_changed_just_now_is_read_again(self):
        self.make()
        self.open("d")
        os.unlink(self.path("i"))
        os.utime(self.path("d/a"))
        self.open("d")
        self.assertRegex(self.open("d")[1][0], "before a change in d/a;")

    def test_other_options(self):
        self.make()
        self.open("d")
        for args in (("--seed", 7), ("--fraction", 0.4), ("--labels", "b,a"), ("--val", "list.csv"), ("--eval", 1)):
            got, notes = self.open("d", *args)
            self.assertEqual(notes, ["i: is of other data or options; the data are read anew"])
            self.assertEqual(got, self.open("d", *args, index=None)[0])

    def test_another_file_stays(self):
        self.make()
        self.put("i", b"dear diary, " * 40)
        self.bad(1, "^i: is no index of a data set, and stays as it is$", "data_probe", "open", "d", "--index", "i")
        self.assertEqual(self.read("i"), b"dear diary, " * 40)
        self.put("x.npy", b"")

    def test_damage(self):
        """Whatever its numbers say: under a wrong checksum nothing is taken from it, under a right one nothing that leads out of it."""
        self.make()
        rng, args = random.Random(1), ("--target", "multi", "--classes", 2, "--fraction", 0)
        want, _ = self.open("s", *args)
        good = self.read("i")
        for i in range(120):
            data = bytearray(good)
            for _ in range(rng.randint(1, 3)):
                data[rng.randrange(16, len(data))] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
            if i % 3 == 0:
                data = data[:rng.randrange(16, len(data))]
            self.write("i", bytes(data))
            if i % 2:
                self.good("data_probe", "seal", "i")
                self.assertIn(self.run_program("data_probe", "open", "s", "--index", "i", *args)[0], (0, 1))
                self.write("i", good)
                continue
            got, notes = self.open("s", *args)
            self.assertEqual(got, want)
            self.assertEqual(notes, [] if bytes(data) == good else ["i: is damaged; the data are read anew"])
            self.assertEqual(self.read("i"), good)


if __name__ == "__main__":
    unittest.main()
