"""Images, arrays and checkpoints that claim more than they hold, and bombs, at the programs' door: an error in a line, under a
second and 256 MiB.
"""
import gzip
import io
import os
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, main, ok, temp

SECONDS, MIB = 1.0, 256
LIMITS = ["prlimit", f"--as={2 << 30}", "--cpu=20", "--core=0", "--"]


def measure(what, command, code=1):
    for _ in range(4):  # a busy machine is no fault of the program's
        start = time.monotonic()
        p = subprocess.Popen([*LIMITS, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        err = p.stderr.read().decode(errors="backslashreplace")
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        p.stderr.close()
        seconds, mib = time.monotonic() - start, used.ru_maxrss / 1024
        if seconds < SECONDS:
            break
    assert p.returncode == code, f"{what}: exit code {p.returncode}: {err[-300:]}"
    assert code == 0 or err.count("\n") == 1, f"{what}: {err[-300:]}"
    assert seconds < SECONDS and mib < MIB, f"{what}: {seconds:.2f} s, {mib:.0f} MiB"
    return err


def write(name, content):
    with open(temp(name), "wb") as f:
        f.write(content)
    return temp(name)


# ---------------------------------------------------------------- images

def chunk(kind, data, length=None):
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks, depth=8, color=2, interlaced=0, idat=b"\0" * 100):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(idat)) + chunk(b"IEND", b"")


def bomb(megabytes):
    return zlib.compress(b"\0" * (megabytes << 20), 9)


def pngs():
    """name, bytes, exit code"""
    pixels = b"".join(b"\0" + bytes(8 * 3) for _ in range(8))
    start = png(8, 8)[:33]
    for kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"sPLT", b"PLTE", b"tRNS", b"IDAT", b"abCd", b"hIST", b"pCAL"):
        yield f"claim_{kind.decode()}", start + chunk(kind, b"", 0x7fffffff)[:8], 1
        yield f"claim_{kind.decode()}_more", start + chunk(kind, bytes(1000), 0x7ffffff0), 1
    for width, height in ((14000, 14000), (200000000, 1), (1, 200000000), (0x7fffffff, 0x7fffffff), (20000, 20000)):
        yield f"claim_{width}x{height}", png(width, height), 1
        yield f"claim_{width}x{height}_interlaced", png(width, height, interlaced=1), 1
        yield f"claim_{width}x{height}_bits", png(width, height, depth=1, color=0), 1
        yield f"claim_{width}x{height}_wide", png(width, height, depth=16, color=6), 1
    # what is compressed and means nothing here is not unpacked
    yield "bombs_of_text", png(8, 8, *[chunk(b"zTXt", b"k\0\0" + bomb(4)) for _ in range(100)], idat=pixels), 0
    yield "bombs_of_itext", png(8, 8, *[chunk(b"iTXt", b"k\0\1\0\0\0" + bomb(4)) for _ in range(100)], idat=pixels), 0
    yield "bomb_of_a_profile", png(8, 8, chunk(b"iCCP", b"p\0\0" + bomb(200)), idat=pixels), 0
    yield "many_chunks", png(8, 8, *[chunk(b"tEXt", b"k\0v")] * 50000, idat=pixels), 0
    yield "fine", png(8, 8, idat=pixels), 0


def jpeg_of(size=(8, 8), **more):
    out = io.BytesIO()
    Image.new("RGB", size).save(out, "JPEG", **more)
    return bytearray(out.getvalue())


def with_size(data, width, height):
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[at + 5:at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpegs():
    for width, height in ((14000, 14000), (65500, 3000), (65535, 65535), (3000, 65500)):
        for kind in ({}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}):
            name = f"claim_{width}x{height}" + "".join(f"_{k}" for k in kind)
            yield name, with_size(jpeg_of(**kind), width, height)
            yield name + "_cut", with_size(jpeg_of(**kind), width, height)[:-20]
    yield "only_a_header", with_size(jpeg_of(progressive=True), 14000, 14000)[:300]


def test_images():
    ok(HONE, "compile", SAMPLE, "-o", temp("classify"))
    n = 0
    for name, content, code in pngs():
        measure(f"png {name}", [temp("classify"), write(f"{name}.png", content)], code)
        n += 1
    for name, content in jpegs():
        measure(f"jpeg {name}", [temp("classify"), write(f"{name}.jpg", content)])
        n += 1
    print(f"  {n} images")
    assert "truncated PNG" in measure("41 bytes", [temp("classify"), write("a.png", png(8, 8)[:33] + b"\x7f\xff\xff\xfftEXt")])


def test_tight_images_are_read():
    """The bound is the format's: what is packed as tightly as an encoder can pack is no claim."""
    Image.new("RGB", (6000, 4000)).save(temp("black.png"), optimize=True)
    Image.new("1", (12000, 8000)).save(temp("bits.png"), optimize=True)
    Image.new("L", (6000, 4000), 128).save(temp("grey.jpg"), optimize=True, quality=1)
    Image.new("RGB", (6000, 4000), 128).save(temp("grey2.jpg"), progressive=True, quality=1, subsampling=2)
    ok(temp("classify"), temp("black.png"), temp("bits.png"), temp("grey.jpg"), temp("grey2.jpg"))


# ---------------------------------------------------------------- arrays

def npy(header, data=b"", version=1):
    head = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(head)) + head + data


def npys():
    shape = "{{'descr': '{}', 'fortran_order': {}, 'shape': ({})}}"
    for dims in ("1000000000, 1, 28, 28", "1, 1, 28, 4611686018427387904", "4611686018427387904, 4, 1, 1", "0, 4611686018427387904,",
                 "1099511627776, 0, 28, 28", "1, 1, 28, 28"):
        for order in ("False", "True"):
            yield f"{dims} {order}", npy(shape.format("<f4", order, dims), bytes(64))
    yield "zero rows, many", npy(shape.format("<f4", "False", "1099511627776, 1, 0, 28"))
    yield "header of 4 GB", b"\x93NUMPY\2\0\xff\xff\xff\xff" + b"{" * 1000
    yield "header of 64 KB", b"\x93NUMPY\1\0\xff\xff" + b"{" * 1000
    yield "deep header", npy("(" * 60000)


def test_npy():
    for name, content in npys():
        measure(f"npy {name}", [temp("classify"), "run", "-i", "input=" + write("in.npy", content), "-o", temp("out.npy")])
        assert not os.path.exists(temp("out.npy")), name


def idx(kind, *dims, data=b""):
    return struct.pack(">BBBB", 0, 0, kind, len(dims)) + b"".join(struct.pack(">I", d) for d in dims) + data


def idxs():
    most = (1 << 32) - 1
    yield "claim", idx(8, most, most, most)
    yield "claim_zero", idx(8, most, 0, most)
    yield "claim_4gb", idx(8, most, 1, 1)
    yield "claim_gz", gzip.compress(idx(8, most, 1, 1))
    yield "claim_gz_held", gzip.compress(idx(8, 30000, 28, 28, data=bytes(1000)))
    yield "rank_4", idx(8, most, most, most, most)
    yield "cut", gzip.compress(idx(8, 600, 28, 28, data=bytes(600 * 784)))[:-400]


def test_data_sets():
    program = temp("teach")
    ok(HONE, "finetune", os.path.join(ROOT, "tools", "sample", "clothes5.onnx"), "-o", program, "--classes", 3)
    labels = write("labels-idx1-ubyte", idx(8, 30, data=bytes(30)))
    np.save(temp("labels.npy"), np.zeros(30, np.int64))
    train = [program, "train", "--no-checkpoint", "--epochs", "1"]
    for name, content in idxs():
        measure(f"idx {name}", [*train, write("images-idx3-ubyte", content) + "," + labels])
    for name, content in npys():
        err = measure_lines(f"npy {name}", [*train, write("x.npy", content) + "," + temp("labels.npy")])
        assert "x.npy" in err, err
    for name, content in npys():
        measure_lines(f"labels {name}", [*train, temp("labels.npy") + "," + write("y.npy", content)])


def measure_lines(what, command):
    """As measure(), of a data set, whose problems are reported all at once."""
    p = subprocess.run([*LIMITS, *command], capture_output=True, text=True, errors="backslashreplace", timeout=60)
    assert p.returncode == 1 and p.stderr, f"{what}: exit code {p.returncode}: {p.stderr[-300:]}"
    return p.stderr


# ---------------------------------------------------------------- checkpoints

def safetensors(header, data=b"", length=None):
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def checkpoints():
    yield "length", safetensors(b"{}", length=1 << 62)
    yield "length_of_the_file", safetensors(b"{}" + b" " * 100, length=110)
    yield "deep", safetensors(b"[" * 100000)
    yield "wide", safetensors(b"[" + b"0," * 1000000 + b"0]")
    yield "claims", safetensors(b'{"p": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 8]}}', bytes(8))
    yield "empty", b""


def test_checkpoints():
    np.save(temp("x.npy"), np.zeros((30, 28, 28), np.uint8))
    np.save(temp("y.npy"), np.arange(30) % 3)
    state = temp("state")
    ok(temp("teach"), "train", f"{temp('x.npy')},{temp('y.npy')}", "--epochs", 1, "--checkpoint", state)
    files = [f for f in os.listdir(state) if f.endswith(".safetensors")]
    assert files, os.listdir(state)
    for name, content in checkpoints():
        for f in files:
            with open(os.path.join(state, f), "wb") as out:
                out.write(content)
        p = subprocess.run([*LIMITS, temp("teach"), "predict", "--checkpoint", state, SNEAKER], capture_output=True, text=True,
                           timeout=60)
        assert p.returncode == 1 and p.stderr, f"{name}: exit code {p.returncode}: {p.stderr[-300:]}"


if __name__ == "__main__":
    main(sys.modules[__name__])
