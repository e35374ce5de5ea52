#!/usr/bin/python3
"""Inference times of hone and ONNX Runtime, measured alternately in one run; prints the table of ratios.

  tests/bench/bench_inference.py [NETWORK...] [--rounds 15] [--rounds8 15] [--iters 3] [--settings 1x1 1x2 8x2]
                                 [--no-winograd] [--flags=...] [--check] [--markdown]

Each round runs hone's binary, then ONNX Runtime's session, each with --iters timed inferences after warming up
(one at a batch above 1); a figure is the minimum over all rounds, a ratio below 1 means that hone is faster. A
setting is BATCHxTHREADS; the limit beside a ratio is what the network must reach there. All networks in all
three settings take a quarter of an hour; give names for fewer. --rounds8 is for batches above 1.

  --no-winograd   direct convolutions only, with limits of their own; default: the two networks that have one
  --check         exit code 1 when a ratio is above its limit
  --markdown      the table as README shows it, after the lines of progress

Needs node, npm, and ../shared.
"""
import argparse
import datetime
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

SETTINGS = ("1x1", "1x2", "8x2")
WINOGRAD = {}
for networks, limits in (
        ("resnet18 resnet34", (0.55, 0.60, 0.55)),
        ("resnet50", (0.75, 0.78, 0.75)),
        ("resnet101 resnet152", (0.75, 0.80, 0.75)),
        ("inception_v3", (0.72, 0.78, 0.70)),
        ("googlenet", (0.65, 0.70, 0.65)),
        ("vgg16", (0.50, 0.55, 0.50)),
        ("densenet121 squeezenet1_1 resnext50_32x4d", (0.85, 0.90, 0.85)),
        ("mobilenet_v2 efficientnet_b0 shufflenet_v2_x1_0", (0.95, 0.95, 0.95))):
    WINOGRAD.update({n: dict(zip(SETTINGS, limits)) for n in networks.split()})
DIRECT = {n: dict.fromkeys(SETTINGS, 0.97) for n in ("resnet50", "inception_v3")}


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*")
    ap.add_argument("--rounds", type=int, default=15)
    ap.add_argument("--rounds8", type=int, default=15)
    ap.add_argument("--iters", type=int, default=3)
    ap.add_argument("--settings", nargs="*", default=SETTINGS)
    ap.add_argument("--no-winograd", action="store_true")
    ap.add_argument("--flags", default="", help="more flags for hone compile")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--markdown", action="store_true")
    return ap.parse_args()


def cpu():
    with open("/proc/cpuinfo") as f:
        names = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    return names[0] if names else "unknown CPU"


def measure(a, name, binary, setting):
    """Minimum milliseconds of hone and ONNX Runtime, and hone's GFLOP/s."""
    batch, threads = setting.split("x")
    rounds, iters = (a.rounds, a.iters) if batch == "1" else (a.rounds8, 1)
    common = ["--batch", batch, "--threads", threads, "--iters", str(iters)]
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(peers.json_of([binary, "bench", "--json", *common]))
        theirs.append(peers.json_of(["node", peers.ort_js(), "bench", peers.model(name), *common,
                                     "--size", str(peers.image_size(name))]))
    return (min(r["min_ms"] for r in ours), min(r["min_ms"] for r in theirs), max(r["gflops"] for r in ours))


def markdown(a, rows, limits):
    print(f"\n{datetime.date.today()}, {os.cpu_count()} cores of {cpu()}"
          f"{', --no-winograd' if a.no_winograd else ''}:\n")
    heads = [f"batch {s.split('x')[0]}, {s.split('x')[1]} thread{'s' * (s[-1] != '1')}" for s in a.settings]
    print("| network | " + " | ".join(f"{h}: ms | ratio | at most" for h in heads) + " |")
    print("|---" + "|---" * 3 * len(heads) + "|")
    for name, cells in rows.items():
        line = [name]
        for s in a.settings:
            ours, theirs = cells[s]
            limit = limits.get(name, {}).get(s)
            line += [f"{ours:.2f}", f"**{ours / theirs:.2f}**", f"{limit:.2f}" if limit else ""]
        print("| " + " | ".join(line) + " |")


def main():
    a = arguments()
    limits = DIRECT if a.no_winograd else WINOGRAD
    flags = a.flags.split() + ["--no-winograd"] * a.no_winograd
    rows, above = {}, []
    print(f"{'network':20} {'batch':>5} {'threads':>7} {'hone ms':>9} {'ORT ms':>9} {'ratio':>6} {'limit':>6}  "
          "hone GFLOP/s")
    for name in a.networks or limits:
        binary = os.path.join(peers.WORK, "bin_" + name)
        subprocess.run([peers.HONE, "compile", peers.model(name), "-o", binary, *flags], check=True,
                       stderr=subprocess.DEVNULL)
        rows[name] = {}
        for s in a.settings:
            ours, theirs, gflops = measure(a, name, binary, s)
            rows[name][s] = ours, theirs
            limit = limits.get(name, {}).get(s)
            over = limit is not None and ours / theirs > limit
            above += [f"{name} {s}: {ours / theirs:.3f} > {limit}"] * over
            batch, threads = s.split("x")
            print(f"{name:20} {batch:>5} {threads:>7} {ours:9.2f} {theirs:9.2f} {ours / theirs:6.2f} "
                  f"{f'{limit:.2f}' if limit else '':>6}{'*' if over else ' '} {gflops:.0f}", flush=True)
    if a.markdown:
        markdown(a, rows, limits)
    print(f"ratios above their limit: {len(above)}" + "".join("\n  " + line for line in above))
    return bool(above) and a.check


if __name__ == "__main__":
    sys.exit(main())
