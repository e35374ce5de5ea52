#!/usr/bin/python3
"""What --autotune gains over the cost model alone, on whole networks, both compiled here and run alternately.

  tests/bench/autotune_gain.py [MODEL...] [--threads 1 2] [--rounds 6] [--iters 8] [--flags=...] [--limit R]

Prints the time of the model's choice over the autotuned one's, minima over all rounds; 1.03: it gains 3 %.
With --limit, exit code 1 when a ratio is above it. Autotuning starts from an empty cache; a second compilation with
the full one is timed too and must give the same program. Needs ../shared/models; HONE names the compiler.
"""
import argparse
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

MODELS = ["resnet18", "resnet50", "inception_v3", "googlenet", "vgg16", "densenet121", "squeezenet1_1",
          "resnext50_32x4d", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0"]

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("models", nargs="*", default=MODELS)
ap.add_argument("--threads", type=int, nargs="*", default=[1, 2])
ap.add_argument("--rounds", type=int, default=6)
ap.add_argument("--iters", type=int, default=8)
ap.add_argument("--flags", default="", help="more flags for hone compile")
ap.add_argument("--limit", type=float)
a = ap.parse_args()


def compile_model(name, out, threads, *flags):
    """Returns seconds."""
    start = time.time()
    subprocess.run([peers.HONE, "compile", peers.model(name), "-o", out, "--threads", str(threads), *a.flags.split(),
                    *flags], check=True, stderr=subprocess.DEVNULL)
    return time.time() - start


def content(path):
    with open(path, "rb") as f:
        return f.read()


worst = 0
print(f"{'network':20} {'threads':>7} {'model ms':>9} {'autotuned ms':>9} {'ratio':>6} {'compile s':>10} {'autotune s':>7} "
      f"{'cached s':>8}")
for name in a.models:
    for threads in a.threads:
        plain, autotuned, again = (os.path.join(peers.WORK, f"gain_{kind}") for kind in ("plain", "autotuned", "again"))
        cache = os.path.join(peers.WORK, "gain_cache")
        if os.path.exists(cache):
            os.remove(cache)
        took = [compile_model(name, plain, threads),
                compile_model(name, autotuned, threads, "--autotune", "--autotune-cache", cache),
                compile_model(name, again, threads, "--autotune", "--autotune-cache", cache)]
        if content(autotuned) != content(again):
            sys.exit(f"{name}: a full cache gives another program")
        best = {plain: 1e9, autotuned: 1e9}
        for _ in range(a.rounds):
            for binary in best:
                r = peers.json_of([binary, "bench", "--json", "--threads", str(threads), "--iters", str(a.iters)])
                best[binary] = min(best[binary], r["min_ms"])
        ratio = best[plain] / best[autotuned]
        worst = max(worst, ratio)
        print(f"{name:20} {threads:7} {best[plain]:9.2f} {best[autotuned]:9.2f} {ratio:6.3f} {took[0]:10.1f} {took[1]:7.1f} "
              f"{took[2]:8.1f}", flush=True)
if a.limit and worst > a.limit:
    sys.exit(f"a ratio of {worst:.3f} is above the limit {a.limit}")
