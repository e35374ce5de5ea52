#!/usr/bin/python3
"""Runs compiled models as shared libraries between guard pages, with workspace and outputs full of NaN.

  families_guard.py HONE FOLDER CASE FLAG...     exit code 0 when nothing is touched outside of the buffers

Buffers end where unmapped memory starts, then start where it ends. What is read before it was written
shows as NaN in an output. A process of its own, because a wrong access kills it.
"""
import ctypes
import mmap
import os
import subprocess
import sys
from ctypes import POINTER, c_char, c_char_p, c_int, c_int64, c_size_t, c_void_p

import numpy as np
import onnx

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import families

LIMIT = 1e-4  # this is about memory; test_families.py compares closely


class Guarded:
    """`size` bytes that touch a guard page, at their end or at their begin."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = c_void_p
    libc.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_int64]
    libc.mprotect.argtypes = [c_void_p, c_size_t, c_int]

    def __init__(self, size, at_end):
        page, room = mmap.PAGESIZE, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        base = self.libc.mmap(None, room + 2 * page, mmap.PROT_READ | mmap.PROT_WRITE,
                              mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        for guard in (base, base + page + room):
            assert self.libc.mprotect(guard, page, 0) == 0
        self.size, self.address = size, base + page + (room - size if at_end else 0)
        ctypes.memset(self.address, 0xff, size)

    def array(self, dtype):
        return np.frombuffer((c_char * self.size).from_address(self.address), dtype)


class Library:
    """The C interface of a model that was compiled with --name net."""

    def __init__(self, path):
        self.dll = ctypes.CDLL(path)
        threads, err = (c_int * 16)(1), ctypes.create_string_buffer(256)
        self.model = self.call("create", c_void_p, (c_void_p, threads), (c_void_p, err), (c_size_t, 256))
        assert self.model, err.value

    def call(self, name, result, *args):
        f = getattr(self.dll, "hone_net_" + name)
        f.restype, f.argtypes = result, [t for t, _ in args]
        return f(*[v for _, v in args])

    def size(self, name, *args):
        return self.call(name, c_size_t, (c_void_p, self.model), *args)

    def run(self, batch, inputs, n_outputs, at_end):
        """Outputs as Guarded; inputs are arrays."""
        n = (c_int64, batch)
        ins = [Guarded(x.nbytes, at_end) for x in inputs]
        for i, (to, x) in enumerate(zip(ins, inputs)):
            assert to.size == self.size("input_bytes", (c_int, i), n)
            to.array(np.uint8)[:] = np.frombuffer(x.tobytes(), np.uint8)
        outs = [Guarded(self.size("output_bytes", (c_int, i), n), at_end) for i in range(n_outputs)]
        work = Guarded(-(-self.size("workspace_bytes", n) // 64) * 64, at_end)
        model = (c_void_p, self.model)
        assert self.call("set_workspace", c_int, model, (c_void_p, work.address), (c_size_t, work.size)) == 0
        pointers = [(c_void_p * (len(b) + 1))(*[x.address for x in b]) for b in (ins, outs)]
        code = self.call("run", c_int, model, n, *[(POINTER(c_void_p), p) for p in pointers])
        assert code == 0, self.call("error", c_char_p, model)
        return outs


def compile_case(hone, case, folder, flags):
    path, library = (os.path.join(folder, case.name + suffix) for suffix in (".onnx", ".so"))
    net = case.net()
    (case.save or onnx.save)(net.model(), path)
    subprocess.run([hone, "compile", path, "-o", library, "--emit", "shared", "--name", "net", *flags, *case.flags],
                   check=True, stderr=subprocess.DEVNULL)
    return net, Library(library)


def check_case(hone, folder, name, flags):
    case = {c.name: c for c in families.CASES}[name]
    want, batch = families.golden(), families.BATCH
    net, library = compile_case(hone, case, folder, flags)
    inputs = [case.feed(x) if case.feed else x for x in net.data(batch).values()]
    for at_end in (True, False):
        outs = library.run(batch, inputs, len(net.outputs), at_end)
        for o, memory in zip(net.outputs, outs):
            y = want(case, o.name).ravel()
            got = memory.array(f"<f{memory.size // max(y.size, 1) or 4}").astype(np.float64)
            worst = np.abs(got - y).max(initial=0) / max(np.abs(y).max(initial=0), 1e-30)
            limit = 2e-3 if memory.size == 2 * y.size else LIMIT
            assert worst <= limit, f"output {o.name}: {np.isnan(got).sum()} NaN, difference {worst}"


if __name__ == "__main__":
    check_case(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
