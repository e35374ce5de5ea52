"""run -i FILE.npz: inputs by their names, stored and deflated, as NumPy writes them; -o FILE.npz: all outputs by theirs; every cut and a thousand changes of such a file end
with an answer or one line."""
import io
import os
import random
import struct
import sys
import unittest
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case, npy, plain_png, read_npy


def archive(kind=zipfile.ZIP_STORED, arrays=None, big=True):
    """As numpy.savez does: members with sizes in 64 bits in their own headers."""
    arrays = arrays or {"a=b": npy("<f4", "(2, 2)", struct.pack("<4f", 1, 2, 3, 4)), "plus": npy("<i8", "(2,)", struct.pack("<2q", 10, 20))}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", kind) as z:
        for name, array in arrays.items():
            with z.open(name + ".npy", "w", force_zip64=big) as f:
                f.write(array)
    return data.getvalue()


class Npz(Case):
    ARGS = ("fake_multi", "run", "-i", "x.npz", "-o", "sum/0=s.npy")

    def test_inputs_by_their_names(self):
        for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            for big in (True, False):
                self.write("x.npz", archive(kind, big=big))
                self.good(*self.ARGS)
                self.assertEqual(read_npy(self.path("s.npy"))[1:], ((2, 2), struct.pack("<4f", 11, 12, 23, 24)))

    def test_what_does_not_fit(self):
        one = npy("<f4", "(1, 2)", bytes(8))
        for data, said in ((archive(arrays={"a=b": one}), "^input 'plus' is missing"), (archive(arrays={"c": one}), "^x.npz: the model has no input 'c'"),
                           (archive(zipfile.ZIP_LZMA), "^x.npz: a=b.npy: NYI: compression of kind 14"),
                           (archive(arrays={"a=b": b"text"}), r"^x.npz: a=b.npy: not an .npy file"), (b"", "x.npz: .*"), (b"PK", "not a whole .npz file")):
            self.write("x.npz", data)
            self.bad(1, said, *self.ARGS)
        self.write("x.npz", archive())
        self.write("p.npy", npy("<i8", "(2,)", bytes(16)))
        self.bad(1, r"input 'plus' is given twice", *self.ARGS, "-i", "plus=p.npy")

    def test_outputs_by_their_names(self):
        self.write("x.npz", archive())
        run = ("fake_multi", "run", "-i", "x.npz")
        for i in range(2):  # the same bytes
            self.good(*run, "-o", f"y{i}.npz", "-o", "sum/0=s.npy", "-o", "twice=t.npy")
        with zipfile.ZipFile(self.path("y0.npz")) as z:
            self.assertIsNone(z.testzip())
            self.assertEqual(z.namelist(), ["sum/0.npy", "twice.npy"])
            for member, file in zip(z.namelist(), ("s.npy", "t.npy")):
                with open(self.path(file), "rb") as f:
                    self.assertEqual(z.read(member), f.read())
        with open(self.path("y0.npz"), "rb") as a, open(self.path("y1.npz"), "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.bad(1, r"^twice=y.npz: an .npz file holds all outputs: write -o y.npz$", *run, "-o", "twice=y.npz")
        self.bad(1, r"^other=y.npz: an .npz file holds all outputs: write -o FILE.npz$", *run, "-o", "other=y.npz")
        self.bad(1, r"^other=y.npz: an .npz file holds all outputs: write -o FILE.npz$", "fake", "features", "0.png", "-o", "other=y.npz")
        self.assertFalse(os.path.exists(self.path("other=y.npz")))
        os.makedirs(self.path("lr=0.1"))
        self.good(*run, "-o", "lr=0.1/y.npz")
        self.bad(1, r"^all outputs go to one .npz file, not y.npz and z.npz$", *run, "-o", "y.npz", "-o", "z.npz")
        self.bad(1, r"^x.npz: .*input", *run, "-o", "x.npz")
        self.write("none.npz", archive(arrays={"a=b": npy("<f4", "(0, 2)", b""), "plus": npy("<i8", "(0,)", b"")}))
        self.good("fake_multi", "run", "-i", "none.npz", "-o", "y.npz")
        with zipfile.ZipFile(self.path("y.npz")) as z:
            self.assertIsNone(z.testzip())

    def test_features_by_their_names(self):
        for i in range(3):
            self.write(f"{i}.png", plain_png(80 * i, 0, 0))
        self.good("fake", "features", "0.png", "1.png", "2.png", "-o", "f.npz", "-o", "f.npy")
        with zipfile.ZipFile(self.path("f.npz")) as z, open(self.path("f.npy"), "rb") as f:
            self.assertEqual((z.testzip(), z.namelist()), (None, ["scores.npy"]))
            self.assertEqual(z.read("scores.npy"), f.read())
        with open(self.path("f.txt")) as f:
            self.assertEqual(f.read(), "0.png\n1.png\n2.png\n")
        self.assertEqual(read_npy(self.path("f.npy"))[1], (3, 5))

    def test_damage(self):
        rng = random.Random(1)
        for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            whole = archive(kind)
            cut = [whole[:n] for n in range(0, len(whole), 13)]
            changed = []
            for _ in range(50):
                data = bytearray(whole)
                for _ in range(rng.randint(1, 3)):
                    data[rng.randrange(len(data))] = rng.choice((0, 255, rng.randrange(256)))
                changed.append(bytes(data))
            for data in cut + changed:
                self.write("x.npz", data)
                code, out, err = self.run_program(*self.ARGS)
                self.assertIn(code, (0, 1), (data, err))
                self.assertEqual((out, err.count("\n")), ("", code), (data, err))
            for data in cut:
                self.write("x.npz", data)
                self.assertEqual(self.run_program(*self.ARGS)[0], 1)

    def test_claims_of_size(self):
        data = bytearray(archive(zipfile.ZIP_DEFLATED))
        at = data.index(b"PK\x01\x02")
        data[at + 24:at + 28] = struct.pack("<I", 0xfffffff0)
        self.write("x.npz", data)
        self.bad(1, r"^x.npz: not a whole .npz file \(a size\)$", *self.ARGS)


if __name__ == "__main__":
    unittest.main()
