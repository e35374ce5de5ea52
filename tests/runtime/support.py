"""What the runtime's test scripts share: the standard library only.

Each script is called with the folder of the built programs."""
import os
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from foreign import MCPU, launch

BUILD = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else ".")
BUILD = os.path.join(BUILD, "aarch64") if MCPU else BUILD
GOLDEN = os.path.join(HERE, "golden")


class Case(unittest.TestCase):
    """A test in a folder of its own."""

    maxDiff = None

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def run_program(self, name, *args, env=None):
        full = {**os.environ, "OMP_NUM_THREADS": "2", **(env or {})}
        r = subprocess.run(launch([os.path.join(BUILD, name), *args]), capture_output=True, cwd=self.folder.name,
                           env=full, timeout=120)
        return r.returncode, r.stdout.decode(errors="surrogateescape"), r.stderr.decode(errors="surrogateescape")

    def good(self, name, *args, **more):
        code, out, err = self.run_program(name, *args, **more)
        self.assertEqual((code, err), (0, ""), (name, args, out))
        return out

    def bad(self, code, pattern, name, *args, lines=1, **more):
        """Fails with this code and exactly one line that matches."""
        got, out, err = self.run_program(name, *args, **more)
        self.assertEqual(got, code, (args, out, err))
        self.assertRegex(err, pattern)
        self.assertEqual(err.count("\n"), lines, err)
        return out

    def left_over(self):
        return sorted(n for n in os.listdir(self.folder.name) if ".tmp-" in n)


def npy(descr, shape, data=b"", fortran=False, version=(1, 0), text=None):
    if text is None:
        text = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)
    text = text.encode()
    form = "<H" if version[0] == 1 else "<I"
    start = 8 + struct.calcsize(form)
    text += b" " * (-(start + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(text)) + text + data


def read_npy(path):
    """(descr, shape, bytes)"""
    with open(path, "rb") as f:
        raw = f.read()
    assert raw[:8] == b"\x93NUMPY\x01\x00", raw[:8]
    n = struct.unpack("<H", raw[8:10])[0]
    head = eval(raw[10:10 + n].decode(), {})
    assert not head["fortran_order"] and (10 + n) % 64 == 0
    return head["descr"], head["shape"], raw[10 + n:]


def png(width, height, pixels, color=2, depth=8, palette=None, interlace=0, rows=None):
    """A PNG of raw rows (bytes without filter bytes)."""
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    n = len(pixels) // height
    raw = rows if rows is not None else b"".join(b"\0" + pixels[y * n:(y + 1) * n] for y in range(height))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))
    if palette:
        out += chunk(b"PLTE", palette)
    return out + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def plain_png(r, g, b, width=20, height=20):
    return png(width, height, bytes([r, g, b]) * (width * height))
