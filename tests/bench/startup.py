#!/usr/bin/python3
"""Time from the start of a process to its first classified image, and peak memory: hone and ONNX Runtime, alternately.

  tests/bench/startup.py [MODEL...] [--rounds 10] [--threads 1 2] [--flags=--no-winograd] [--max-ms M] [--max-mb M]

Default: resnet50.

hone: the wall time of `./MODEL IMAGE` as a whole, exec to exit, decoding included, and the kernel's peak of its
resident memory; beside it what its own `bench --json` says (load_ms, first_ms, rss_mb). ONNX Runtime: creating the
session plus the first run, without the start of node and without an image, and the resident memory that node reports.
Minima over the rounds; files are in the page cache. With --max-ms, --max-mb: exit code 1 when hone needs more
with every number of threads. Needs node, npm, and ../shared.
"""
import argparse
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("models", nargs="*", default=["resnet50"])
ap.add_argument("--rounds", type=int, default=10)
ap.add_argument("--threads", type=int, nargs="*", default=[1, 2])
ap.add_argument("--flags", default="", help="more flags for hone compile")
ap.add_argument("--max-ms", type=float)
ap.add_argument("--max-mb", type=float)
a = ap.parse_args()


def start(command):
    """(wall ms, peak resident MB) of a whole process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode} from {' '.join(command)}")
    return (time.perf_counter() - begin) * 1e3, usage.ru_maxrss * 1024e-6


ort = peers.ort_js()
os.makedirs(peers.WORK, exist_ok=True)
image = os.path.join(peers.WORK, "startup.png")
peers.write_image(image)
bad = []
print(f"{'':14} {'':>7} | {'hone: image':>11} {'peak':>6} {'load':>6} {'first':>7} {'rss_mb':>6} |"
      f" {'ORT: session':>12} {'first':>7} {'sum':>7} {'rss':>6} | ratio")
print(f"{'network':14} {'threads':>7} | {'ms':>11} {'MB':>6} {'ms':>6} {'ms':>7} {'MB':>6} |"
      f" {'ms':>12} {'ms':>7} {'ms':>7} {'MB':>6} |")
for name in a.models:
    path, binary = peers.model(name), os.path.join(peers.WORK, "startup_" + name)
    subprocess.run([peers.HONE, "compile", path, "-o", binary, *a.flags.split()], check=True, stderr=subprocess.DEVNULL)
    least_ms = least_mb = float("inf")
    for threads in a.threads:
        ours, own, theirs = [], [], []
        for _ in range(a.rounds):
            ours.append(start([binary, "--threads", str(threads), image]))
            r = peers.json_of([binary, "bench", "--json", "--iters", "1", "--warmup", "0", "--threads", str(threads)])
            own.append((r["load_ms"], r["first_ms"], r["rss_mb"]))
            r = peers.json_of(["node", ort, "bench", path, "--iters", "1", "--threads", str(threads),
                               "--size", str(peers.image_size(name))])
            theirs.append((r["session_ms"], r["first_ms"], r["session_ms"] + r["first_ms"], r["rss_mb"]))
        ms, mb = map(min, zip(*ours))
        load, first, rss = map(min, zip(*own))
        session, run, both, resident = map(min, zip(*theirs))
        print(f"{name:14} {threads:7} | {ms:11.1f} {mb:6.0f} {load:6.2f} {first:7.1f} {rss:6.0f} |"
              f" {session:12.1f} {run:7.1f} {both:7.1f} {resident:6.0f} | {ms / both:5.2f}", flush=True)
        least_ms, least_mb = min(least_ms, ms), min(least_mb, mb)
    bad += [f"{name}: {least_ms:.0f} ms to the first image"] * bool(a.max_ms and least_ms > a.max_ms)
    bad += [f"{name}: {least_mb:.0f} MB at peak"] * bool(a.max_mb and least_mb > a.max_mb)
if bad:
    sys.exit("\n".join(bad))
