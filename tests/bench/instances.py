"""instances.py HONE MODEL.onnx [N]: what N instances of one model (8) take in a process, beside one. Prints resident memory
beyond what the process had: of the weights, created and not run yet, and with each one's workspace after a run. Then two processes
with an instance each beside one: what is the file's they share, what is prepared at their start they do not (their Pss)."""
import ctypes
import os
import re
import subprocess
import sys
import tempfile


class TensorInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_char_p), ("rank", ctypes.c_int), ("dim", ctypes.c_int64 * 8)]


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def measure(path, n):
    before = resident()
    lib = ctypes.CDLL(path)
    with open(path[:-3] + ".h") as f:  # names it after the model
        symbol = re.search(r"int (hone_\w+)_run\(HoneModel", f.read())[1]
    f = {w: getattr(lib, f"{symbol}_{w}") for w in ("create", "run", "input_bytes", "output_bytes")}
    f["create"].restype = ctypes.c_void_p
    f["input_bytes"].restype = f["output_bytes"].restype = ctypes.c_int64
    models = [ctypes.c_void_p(f["create"](None, None, 0)) for _ in range(n)]
    assert all(m.value for m in models)
    x = ctypes.create_string_buffer(f["input_bytes"](models[0], 0, ctypes.c_int64(1)))
    y = ctypes.create_string_buffer(f["output_bytes"](models[0], 0, ctypes.c_int64(1)))
    # One run reads what kernels read of the file's weights: resident from here on.
    for k, m in enumerate(models):
        assert f["run"](m, ctypes.c_int64(1), (ctypes.c_void_p * 1)(ctypes.addressof(x)),
                        (ctypes.c_void_p * 1)(ctypes.addressof(y))) == 0
        if k == 0:
            created = resident()
    return created - before, resident() - before


def proportional(path, n):
    """Megabytes of n processes with an instance each, what they share counted once."""
    processes = [subprocess.Popen([sys.executable, __file__, "--measure", path, "1", "--hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                 for _ in range(n)]
    for p in processes:
        p.stdout.readline()
    pss = 0
    for p in processes:
        with open(f"/proc/{p.pid}/smaps_rollup") as f:
            pss += next(int(line.split()[1]) for line in f if line.startswith("Pss:")) * 1024e-6
    for p in processes:
        p.communicate(b"\n")
    return pss


def main():
    hone, model, n = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 8
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.so")
        subprocess.run([hone, "compile", model, "-o", path, "--emit", "shared"], check=True, stderr=subprocess.DEVNULL)
        rows = {}
        for k in (1, n):  # each in a process of its own
            out = subprocess.run([sys.executable, __file__, "--measure", path, str(k)], stdout=subprocess.PIPE, text=True, check=True)
            rows[k] = [float(v) for v in out.stdout.split()]
        for k, (created, run) in rows.items():
            print(f"{k} instances: {created:.1f} MB before the others ran, {run:.1f} MB after, file {os.path.getsize(path) / 1e6:.1f} MB")
        one, two = proportional(path, 1), proportional(path, 2)
        print(f"2 processes: {two:.1f} MB of them, one {one:.1f} MB: {two / one:.2f}")
        print(f"ratio {rows[n][0] / rows[1][0]:.2f} before the others ran, {rows[n][1] / rows[1][1]:.2f} after")


if sys.argv[1] == "--measure":
    print(*measure(sys.argv[2], int(sys.argv[3])), flush=True)
    if sys.argv[4:] == ["--hold"]:
        sys.stdin.readline()
else:
    main()
