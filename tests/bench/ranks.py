"""ranks.py BUILD PROGRAM [BATCH]: what training on several processes costs, and what it would on up to 1,024 of them.

PROGRAM is `hone finetune resnet50.onnx -o PROGRAM --classes 10 --freeze none`. Measured here: a step of it, two batches of BATCH (4) images of 224 x 224, on one process and on two (one thread each),
and what two processes take to add up gradients (build/tests/ranks_bench). Modelled from those: R processes of one batch each. Adding n
floats along the tree takes 2 log2 R messages and moves 2 n (R - 1) / R floats through each process; what one message costs and how many
bytes a second pass is measured between two processes of this machine, and, for networks between machines, assumed as the table says. Two
columns bound the truth: nothing hidden behind the backward pass, and all but the last piece hidden. Needs numpy and openmpi-bin."""
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

ENV = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
MPIRUN = ["mpirun", "--bind-to", "core", "-n"]
PIECE = 1 << 18  # floats, as runtime/train/gradient.c has it
BACKWARD = 2 / 3  # of a step: two of its three products each layer
NETWORKS = (("10 Gbit Ethernet", 25e-6, 1.1e9), ("100 Gbit InfiniBand", 2e-6, 11e9))  # seconds a message, bytes a second: assumed


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def train(batch, steps):
    """Arguments that train so many steps of two batches; the rate is given, or a range test would come before, and small: x is noise."""
    return ["train", "x.npy,y.npy", "-b", str(batch), "--accumulate", "2", "--max-steps", str(steps), "--val-fraction", "0", "--lr", "1e-6",
            "--head-solver", "sgd", "--no-checkpoint", "-q", "--threads", "1", "-o", "t.onnx"]


def step_seconds(program, folder, batch, ranks):
    """(elapsed, CPU time of all processes) of a step, by the difference of a longer and a shorter run."""
    took, cpu = {}, {}
    for steps in (2, 8):
        command = [program, *train(batch, steps)]
        since, used = time.time(), cpu_seconds()
        subprocess.run((MPIRUN + [str(ranks)] if ranks > 1 else ["taskset", "-c", "0"]) + command, cwd=folder, env=ENV, check=True)
        took[steps], cpu[steps] = time.time() - since, cpu_seconds() - used
    return (took[8] - took[2]) / 6, (cpu[8] - cpu[2]) / 6


def overlapped(program, folder, batch):
    """Of a step's gradient the share that is handed to the other of two processes while the backward pass runs, as the log tells: the graph decides."""
    subprocess.run(MPIRUN + ["2", program, *train(batch, 2), "--log", "log"], cwd=folder, env=ENV, check=True)
    with open(os.path.join(folder, "log")) as f:
        return min(e["overlapped"] for e in map(json.loads, f) if e["event"] == "step")


def exchange(build):
    """(seconds a message, bytes a second) of two processes, from sums of several sizes: each is two messages of half the numbers."""
    out = subprocess.run(MPIRUN + ["2", os.path.join(build, "tests", "ranks_bench")], env=ENV, check=True, capture_output=True, text=True).stdout
    sums = [(int(n), float(us) * 1e-6) for n, us in re.findall(r"^sum (\d+) ([\d.]+)$", out, re.M)]
    print("two processes here:", ", ".join(f"{n} floats {s * 1e6:.0f} us" for n, s in sums))
    alpha = min(s for _, s in sums) / 2
    n, s = next(x for x in sums if x[0] >= PIECE)
    return alpha, n * 4 / (s - 2 * alpha)


def total(n, ranks, alpha, rate):
    """Seconds to add n floats of all ranks up, piece by piece."""
    pieces = math.ceil(n / PIECE)
    return pieces * 2 * math.log2(ranks) * alpha + 2 * n * 4 * (ranks - 1) / ranks / rate


def main():
    build, program = map(os.path.abspath, sys.argv[1:3])
    batch = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(1)
        np.save(os.path.join(folder, "x.npy"), rng.standard_normal((16 * batch, 3, 224, 224), np.float32))
        np.save(os.path.join(folder, "y.npy"), np.arange(16 * batch) % 10)
        floats = int(re.search(r"(\d+) parameters train", subprocess.run([program, "info"], check=True, capture_output=True, text=True).stdout)[1])
        share = overlapped(program, folder, batch)
        runs = [(step_seconds(program, folder, batch, 1), step_seconds(program, folder, batch, 2)) for _ in range(2)]
    (one, one_cpu), (two, two_cpu) = ([min(r[k][i] for r in runs) for i in (0, 1)] for k in (0, 1))
    print(f"{os.path.basename(program)}, {floats} parameters: a step of 2 x {batch} images {one * 1e3:.0f} ms on one process, "
          f"{two * 1e3:.0f} on two: {one / two:.2f} times as fast; CPU time {one_cpu * 1e3:.0f} and {two_cpu * 1e3:.0f} ms")
    print(f"{share:.1%} of the gradient's numbers are handed to the other process while the backward pass runs")
    alpha, rate = exchange(build)
    print(f"so a message costs {alpha * 1e6:.1f} us, {rate / 1e9:.2f} GB pass a second")
    batch_s = one / 2
    for name, a, b in (("this machine's memory", alpha, rate), *NETWORKS):
        print(f"{name} ({a * 1e6:.0f} us, {b / 1e9:.1f} GB/s): images a second beside one process's, nothing hidden / all hidden")
        for ranks in (2, 8, 64, 256, 1024):
            t = total(floats, ranks, a, b)
            last = total(PIECE, ranks, a, b)
            hidden = max(t - BACKWARD * batch_s, 0) + last
            print(f"  {ranks:5}: {ranks * batch_s / (batch_s + t):7.1f} / {ranks * batch_s / (batch_s + hidden):7.1f}"
                  f"   sums {t * 1e3:.1f} ms of a batch's {batch_s * 1e3:.0f}")


if __name__ == "__main__":
    main()
