#!/usr/bin/python3
"""What work beside a program costs it: two threads on two CPUs, quiet; with a neighbour that keeps one of them half busy; twice at once.

  tests/bench/neighbours.py [MODEL.onnx...] [--seconds 1.5] [--rounds 2] [--old HONE] [--env NAME=VALUE...] [--no-peer] [--check]

Default: resnet50 mobilenet_v2. Each program runs as often as it can for so long in a process of its own; a figure is the mean time of a
run, of the best round. Of hone and ONNX Runtime alternately:

  quiet       nobody else
  neighbour   a process bound to the second CPU needs 10 ms of its time in every 20; `worse` is by how much hone's ratio to ONNX Runtime
              grows
  twice       hone alone: two of it at once; `lost` is what their runs a second, added, lack of one's that is alone

  --old HONE      another compiler's programs beside
  --env A=B       for hone's programs alone
  --check         exit code 1 where `worse` is above 1.15 or `lost` above 0.15

The peer goes into a virtual environment below build-peers/ on first use. Needs ../shared for networks by name.
"""
import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import bench_int8
import peers

MOST_WORSE, MOST_LOST = 1.15, 0.15

NEIGHBOUR = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
due = time.monotonic()
while True:
    end = time.thread_time() + .010
    while time.thread_time() < end:
        pass
    due = max(due + .020, time.monotonic())
    time.sleep(max(0, due - time.monotonic()))
"""

PEER = """
import json, sys, time
import numpy as np
import onnxruntime
path, seconds = sys.argv[1], float(sys.argv[2])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 2, 3
session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
x = session.get_inputs()[0]
feed = {x.name: np.random.default_rng(0).standard_normal([d if isinstance(d, int) else 1 for d in x.shape]).astype('f4')}
for _ in range(3):
    session.run(None, feed)
start, runs = time.perf_counter(), 0
while time.perf_counter() < start + seconds:
    session.run(None, feed)
    runs += 1
print(json.dumps({'mean_ms': (time.perf_counter() - start) / runs * 1e3}))
"""


class Neighbour:
    def __init__(self, cpu):
        self.command, self.process = [sys.executable, "-c", NEIGHBOUR, str(cpu)], None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def hone_ms(programs, iters, env):
    """Mean milliseconds of runs of the programs, all at once."""
    command = ["bench", "--json", "--threads", "2", "--iters", str(iters)]
    running = [subprocess.Popen([p, *command], stdout=subprocess.PIPE, text=True, env={**os.environ, **env}) for p in programs]
    return [json.loads(r.communicate()[0])["mean_ms"] for r in running]


def peer_ms(model, seconds):
    return peers.json_of([bench_int8.python(), "-c", PEER, model, str(seconds)])["mean_ms"]


class Network:
    """The best means of one network's programs: rows by compiler, columns by what is beside."""

    def __init__(self, a, network):
        self.a, self.best = a, {}
        self.model = network if network.endswith(".onnx") else peers.model(network)
        self.name = os.path.basename(self.model)[:-5]
        self.programs = {"hone": self.compiled(peers.HONE, "")}
        if a.old:
            self.programs["old"] = self.compiled(a.old, "_old")
        self.iters = {row: max(5, int(a.seconds * 1e3 / hone_ms([p], 5, self.env(row))[0])) for row, p in self.programs.items()}

    def compiled(self, hone, suffix):
        binary = os.path.join(peers.WORK, f"bin_{self.name}{suffix}")
        subprocess.run([hone, "compile", self.model, "-o", binary], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return binary

    def env(self, row):
        return dict(e.split("=", 1) for e in self.a.env) if row == "hone" else {}

    def keep(self, row, column, ms):
        self.best[row, column] = min(ms, self.best.get((row, column), 1e9))

    def measure(self, column):
        for row, program in self.programs.items():
            self.keep(row, column, hone_ms([program], self.iters[row], self.env(row))[0])
        if not self.a.no_peer:
            self.keep("peer", column, peer_ms(self.model, self.a.seconds))

    def measure_twice(self):
        for row, program in self.programs.items():
            both = hone_ms([program, program], self.iters[row] // 2, self.env(row))
            self.keep(row, "twice", 1 / sum(1 / ms for ms in both))

    def report(self):
        """Prints a line for each compiler; returns what is above its limits."""
        over = []
        for row in self.programs:
            quiet, beside, twice = (self.best[row, c] for c in ("quiet", "neighbour", "twice"))
            lost = 1 - quiet / twice
            line = f"{self.name:28} {row:4} {quiet:8.2f} {beside:9.2f} {beside / quiet:6.2f}"
            worse = 0
            if not self.a.no_peer:
                of = self.best["peer", "quiet"], self.best["peer", "neighbour"]
                worse = beside / of[1] / (quiet / of[0])
                line += f" {of[0]:8.2f} {of[1]:9.2f} {of[1] / of[0]:6.2f} {quiet / of[0]:6.2f} {beside / of[1]:6.2f} {worse:6.2f}"
            print(line + f" {lost:6.2f}", flush=True)
            if row == "hone" and (worse > MOST_WORSE or lost > MOST_LOST):
                over.append(f"{self.name}: worse by {worse:.2f}, lost {lost:.2f}")
        return over


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*")
    ap.add_argument("--seconds", type=float, default=1.5)
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--old")
    ap.add_argument("--env", nargs="*", default=[])
    ap.add_argument("--no-peer", action="store_true")
    ap.add_argument("--check", action="store_true")
    return ap.parse_args()


def main():
    a = arguments()
    cpus = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cpus)
    networks = [Network(a, n) for n in a.networks or ("resnet50", "mobilenet_v2")]
    for _ in range(a.rounds):
        for n in networks:
            n.measure("quiet")
            n.measure_twice()
        with Neighbour(cpus[1]):
            for n in networks:
                n.measure("neighbour")
    peer = "" if a.no_peer else f" {'ORT ms':>8} {'neighbour':>9} {'of it':>6} {'ratio':>6} {'beside':>6} {'worse':>6}"
    print(f"{'network':28} {'':4} {'hone ms':>8} {'neighbour':>9} {'of it':>6}{peer} {'lost':>6}")
    over = [line for n in networks for line in n.report()]
    print(f"above their limits: {len(over)}" + "".join("\n  " + line for line in over))
    return bool(over) and a.check


if __name__ == "__main__":
    sys.exit(main())
