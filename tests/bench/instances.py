"""instances.py HONE MODEL.onnx... [--rounds 6] [--copies 3]: what several instances of a model take, beside one.

Of each model, with weights that the compiler prepared and (--prepared 1) with those that a process prepares at its start:
  - the program's size, and from the start of the process to its answer for a picture (minimum over the rounds, alternating,
    files in the page cache), on one thread; then its bench on one and two threads, which reads those weights. Of each program
    there are several copies, a round measures one: where their pages lie in memory is worth 1 to 2 % of a run, more than what differs;
  - memory of 1, 2 and 8 processes that have answered: the sum of their Pss, in which what they share counts once;
  - resident memory of 1 and 8 instances in one process, through the library, beyond what it had: created, and with each
    one's workspace after a run.
"""
import argparse
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

MANY = 8


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


class Answered:
    """A process of the program that has told the class of a picture, and waits for the next."""

    def __init__(self, program, image):
        start = time.perf_counter()
        self.process = subprocess.Popen([program, "--threads", "1", "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write((image + "\n").encode())
        self.process.stdin.flush()
        if b'"top"' not in self.process.stdout.readline():
            sys.exit(f"{program} tells no class of {image}")
        self.ms = (time.perf_counter() - start) * 1e3

    def pss(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as f:
            return int(re.search(r"^Pss: *(\d+)", f.read(), re.M)[1]) * 1024e-6

    def end(self):
        self.process.communicate()


def proportional(program, image, n):
    """Megabytes of n processes, what they share counted once."""
    processes = [Answered(program, image) for _ in range(n)]
    total = sum(p.pss() for p in processes)
    for p in processes:
        p.end()
    return total


def first_answer(program, image):
    p = Answered(program, image)
    p.end()
    return p.ms


def bench(program, threads):
    out = subprocess.run([program, "bench", "--iters", "30", "--threads", str(threads), "--json"], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)["min_ms"]


def in_one_process(library, n):
    out = subprocess.run([sys.executable, __file__, "--measure", library, str(n)], stdout=subprocess.PIPE, text=True, check=True)
    return [float(v) for v in out.stdout.split()]


def report(a, folder, model, image):
    made = {}
    for name, options in (("prepared by the compiler", []), ("prepared at the start", ["--prepared", "1"])):
        made[name] = [os.path.join(folder, f"m{len(made)}{end}") for end in (".so", *(f"_{k}" for k in range(a.copies)))]
        for path in made[name]:
            more = ["--emit", "shared"] if path.endswith(".so") else []
            subprocess.run([a.hone, "compile", model, "-o", path, *more, *options], check=True, stderr=subprocess.DEVNULL)
    best = {name: [float("inf")] * 3 for name in made}
    for k in range(a.rounds):
        for name in sorted(made, reverse=k % 2):
            program = made[name][1 + k % a.copies]
            times = first_answer(program, image), bench(program, 1), bench(program, 2)
            best[name] = [min(t) for t in zip(best[name], times)]
    print(f"{os.path.basename(model)}, {os.path.getsize(model) / 1e6:.1f} MB")
    for name, (library, program, *_) in made.items():
        one, two, many = (proportional(program, image, n) for n in (1, 2, MANY))
        rows = [in_one_process(library, n) for n in (1, MANY)]
        print(f"  {name}: {os.path.getsize(program) / 1e6:.1f} MB, {best[name][0]:.1f} ms to the first answer, "
              f"{best[name][1]:.2f} and {best[name][2]:.2f} ms a run on 1 and 2 threads")
        print(f"    processes: one {one:.1f} MB, 2 {two:.1f} ({two / one:.2f}), {MANY} {many:.1f} ({many / one:.2f})")
        print(f"    {MANY} instances in one: {rows[1][0] / rows[0][0]:.2f} of one's {rows[0][0]:.1f} MB, "
              f"{rows[1][1] / rows[0][1]:.2f} of {rows[0][1]:.1f} with their workspaces", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("hone")
    ap.add_argument("models", nargs="+")
    ap.add_argument("--rounds", type=int, default=6)
    ap.add_argument("--copies", type=int, default=3)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "picture.png")
        peers.write_image(image)
        for model in a.models:
            report(a, folder, model, image)


if sys.argv[1:2] == ["--measure"]:
    print(*measure(sys.argv[2], int(sys.argv[3])), flush=True)
else:
    main()
