#!/usr/bin/python3
"""Inference times of hone and ONNX Runtime, measured alternately in one run; prints the table of ratios.

  tests/bench/bench_inference.py [MODEL...] [--rounds 5] [--iters 5] [--batch 1] [--threads 1 2] [--flags=--winograd]
                                   [--limit R]

Each round runs hone's binary, then ONNX Runtime, each with --iters timed inferences after warming up;
the figures are the minima over all rounds. Ratio below 1: hone is faster. With --limit, exit code 1
when a ratio is above it. Default models: resnet50 inception_v3. Needs node, npm, and ../shared.
"""
import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("models", nargs="*", default=["resnet50", "inception_v3"])
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--iters", type=int, default=5)
ap.add_argument("--batch", type=int, nargs="*", default=[1])
ap.add_argument("--threads", type=int, nargs="*", default=[1, 2])
ap.add_argument("--flags", default="", help="more flags for hone compile, as in --flags=--winograd")
ap.add_argument("--limit", type=float)
a = ap.parse_args()

ort = peers.ort_js()
worst = 0
print(f"{'network':20} {'batch':>5} {'threads':>7} {'hone ms':>9} {'ORT ms':>9} {'ratio':>6}  hone GFLOP/s")
for name in a.models:
    path = peers.model(name)
    binary = os.path.join(peers.WORK, "bin_" + name)
    subprocess.run([peers.HONE, "compile", path, "-o", binary, *a.flags.split()], check=True, stderr=subprocess.DEVNULL)
    for batch in a.batch:
        for threads in a.threads:
            ours, theirs, gflops = [], [], 0
            for _ in range(a.rounds):
                r = peers.json_of([binary, "bench", "--json", "--batch", str(batch), "--threads", str(threads),
                                   "--iters", str(a.iters)])
                ours.append(r["min_ms"])
                gflops = max(gflops, r["gflops"])
                r = peers.json_of(["node", ort, "bench", path, "--batch", str(batch), "--threads", str(threads),
                                   "--iters", str(a.iters), "--size", str(peers.image_size(name))])
                theirs.append(r["min_ms"])
            ratio = min(ours) / min(theirs)
            worst = max(worst, ratio)
            print(f"{name:20} {batch:5} {threads:7} {min(ours):9.2f} {min(theirs):9.2f} {ratio:6.2f}  {gflops:.0f}",
                  flush=True)
if a.limit and worst > a.limit:
    sys.exit(f"a ratio of {worst:.2f} is above the limit {a.limit}")
