"""The .npy reader on every type, version and order it takes, and on files that lie; the JSON writer."""
import json
import os
import random
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import Case, npy, read_npy

TYPES = {"f4": 4, "f8": 8, "f2": 2, "i1": 1, "i2": 2, "i4": 4, "i8": 8, "u1": 1, "u2": 2, "u4": 4, "u8": 8, "b1": 1}


class Read(Case):
    def copy(self, data):
        self.write("x.npy", data)
        out = self.good("rt_probe", "npy", "x.npy", "y.npy")
        return out.strip(), read_npy(self.path("y.npy"))

    def rejects(self, pattern, data):
        self.write("x.npy", data)
        self.bad(1, r"^x\.npy: " + pattern, "rt_probe", "npy", "x.npy", "y.npy")

    def test_types(self):
        for code, size in TYPES.items():
            order = "|" if size == 1 else "<"
            data = bytes(range(6 * size)) if code != "b1" else bytes([0, 1, 1, 0, 0, 1])
            text, (descr, shape, got) = self.copy(npy(order + code, "(2, 3)", data))
            name = "bool" if code == "b1" else "%s%d" % (code[0], 8 * size)
            self.assertEqual((text, descr, shape, got), (name + "[2,3]", order + code, (2, 3), data))

    def test_versions(self):
        for version in ((1, 0), (2, 0), (3, 0)):
            self.assertEqual(self.copy(npy("<i2", "(2,)", b"abcd", version=version))[1][2], b"abcd")
        self.rejects(".npy version 9 is not supported", npy("<i2", "(2,)", b"abcd", version=(9, 0)))

    def test_shapes(self):
        self.assertEqual(self.copy(npy("<f4", "()", b"abcd"))[1][1:], ((), b"abcd"))
        self.assertEqual(self.copy(npy("<f4", "(0, 5)"))[1][1:], ((0, 5), b""))
        self.assertEqual(self.copy(npy("<f4", "(1,1,1,1,1,1,1,1)", b"abcd"))[1][1], (1,) * 8)
        self.assertEqual(self.copy(npy("<f4", "(1L,)", b"abcd"))[1][1], (1,))
        self.rejects("more than 8 dimensions", npy("<f4", "(1,1,1,1,1,1,1,1,1)", b"abcd"))
        self.rejects("damaged .npy header", npy("<f4", "(1)", b"abcd"))
        self.rejects("damaged .npy header", npy("<f4", "(-1,)", b"abcd"))
        self.rejects("damaged .npy header", npy("<f4", "(1,", b"abcd"))
        self.rejects("damaged .npy header", npy("<f4", "1", b"abcd"))

    def test_fortran_order(self):
        want = list(range(24))
        shape = (2, 3, 4)
        columns = [want[i * 12 + j * 4 + k] for k in range(4) for j in range(3) for i in range(2)]
        got = self.copy(npy("|u1", str(shape), bytes(columns), fortran=True))[1]
        self.assertEqual(got, ("|u1", shape, bytes(want)))
        got = self.copy(npy("<i8", "(24,)", struct.pack("<24q", *want), fortran=True))[1]
        self.assertEqual(got[2], struct.pack("<24q", *want))
        self.assertEqual(self.copy(npy("<i8", "(0, 3)", fortran=True))[1][1], (0, 3))

    def test_bool_bytes_are_normalised(self):
        self.assertEqual(self.copy(npy("|b1", "(3,)", b"\0\x01\xff"))[1][2], b"\0\1\1")

    def test_sizes_must_match(self):
        self.rejects(r"truncated: f32\[3\] needs 12 bytes of data, the file has 11", npy("<f4", "(3,)", bytes(11)))
        self.rejects(r"too long: f32\[3\] needs 12 bytes of data, the file has 13", npy("<f4", "(3,)", bytes(13)))
        self.rejects("the shape is too large", npy("<f4", "(4611686018427387904, 4)", bytes(12)))
        self.rejects("the shape is too large", npy("<f8", "(2305843009213693952,)", bytes(12)))
        self.rejects("a dimension is too large", npy("<f4", "(99999999999999999999,)", bytes(12)))
        self.rejects("truncated: ", npy("<f4", "(1000000000000,)", bytes(12)))

    def test_types_that_are_refused(self):
        self.rejects("big-endian", npy(">f4", "(3,)", bytes(12)))
        for descr in ("<c8", "|O", "<U3", "|S4", "<f3", "", "f4"):
            self.rejects("element type '", npy(descr, "(3,)", bytes(12)))
        self.rejects("structured arrays", npy("", "", text="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }"))

    def test_headers_that_lie(self):
        good = npy("<f4", "(3,)", bytes(12))
        self.rejects("not an .npy file", b"\x93NUMPX" + good[6:])
        for n in range(0, len(good) - 12):
            self.write("x.npy", good[:n])
            self.bad(1, r"^x\.npy: (not an \.npy file \(too short\)|truncated \.npy header)$", "rt_probe", "npy", "x.npy",
                     "y.npy")
        self.rejects("the .npy header is too long", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100))
        for text in ("", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'shape': (3,)}", "[]", "{'x': 1}",
                     "{'descr': '<f4' 'fortran_order': False, 'shape': (3,)}",
                     "{'descr': '<f4', 'fortran_order': None, 'shape': (3,)}",
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)", "{'descr: '<f4'}"):
            self.rejects("", npy("", "", bytes(12), text=text))

    def test_random_damage(self):
        rng = random.Random(5)
        good = npy("<f4", "(3, 2)", bytes(24))
        for _ in range(150):
            data = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(10, 80)] = rng.choice(b"(){}[]',:0123456789 \\L<f\0\xff")
            self.write("x.npy", bytes(data))
            code, _, err = self.run_program("rt_probe", "npy", "x.npy", "y.npy")
            self.assertIn(code, (0, 1), (data, err))

    def test_not_a_file(self):
        self.bad(1, r"^\.: is a directory$", "rt_probe", "npy", ".", "y.npy")
        self.bad(1, r"^/dev/null: not a regular file$", "rt_probe", "npy", "/dev/null", "y.npy")
        self.bad(1, r"^gone: No such file or directory$", "rt_probe", "npy", "gone", "y.npy")


class Json(Case):
    def test_strings(self):
        for text in ("plain", 'quote " and \\', "tab\tnew\nline\x01\x7f", "\u00e9\u20ac\U0001f600", "", "</script>"):
            self.assertEqual(json.loads(self.good("rt_probe", "json", text)),
                             {text: text, "list": [0.1, None, True, None, -2 ** 63]})

    def test_bytes_that_are_not_utf8(self):
        for raw, want in ((b"a\xffb", "a\ufffdb"), (b"\xc0\x80", "\ufffd\ufffd"), (b"\xed\xa0\x80", "\ufffd" * 3),
                          (b"\xe2\x82", "\ufffd\ufffd"), (b"\xf4\x90\x80\x80", "\ufffd" * 4)):
            out = self.good("rt_probe", "json", raw.decode("utf-8", "surrogateescape"))
            self.assertEqual(list(json.loads(out))[0], want)


if __name__ == "__main__":
    unittest.main()
