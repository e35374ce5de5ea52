#!/usr/bin/python3
"""Time of a training step: fine-tune executables and PyTorch, alternating in one run; minima are divided.

Needs ../shared (the peer's script and the model generator), python3-torch, python3-torchvision and python3-pil.

    tests/bench/bench_train.py [--rounds 3] [--batch 16] [--threads 2] [--check] [--markdown] [CASE...]

Cases: what trains in ResNet-50 (full, full with BatchNormalization's own statistics, layer4 + head, head), and the same
for resnet18, googlenet, inception_v3 by name. --check fails when a limit is passed. The peer's BatchNormalization is
in training mode where it trains; hone's default keeps its statistics frozen, so both are shown.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import peers

# name: model, flags of hone finetune, the peer's mode, largest ratio, largest memory in MB
CASES = {
    "full": ("resnet50", ["--freeze", "none"], "full", 0.9, 1500),
    "full-bn": ("resnet50", ["--freeze", "none", "--bn", "train"], "full", None, None),
    "layer4": ("resnet50", ["--freeze", "until:layer4"], "layer4", 0.5, None),
    "head": ("resnet50", ["--freeze", "head"], "head", 0.5, None),
    "resnet18": ("resnet18", ["--freeze", "none"], "full", None, None),
    "googlenet": ("googlenet", ["--freeze", "none"], "full", None, None),
    "inception_v3": ("inception_v3", ["--freeze", "none"], "full", None, None),
}


def torch_train():
    script = os.path.join(peers.SHARED, "peers", "torch_train.py")
    if not os.path.exists(script):
        sys.exit("no ../shared/peers beside the checkout: nothing to compare with")
    return script


def compile_case(folder, name):
    model, flags, *_ = CASES[name]
    out = os.path.join(folder, name)
    subprocess.run([peers.HONE, "finetune", peers.model(model + "_bn"), "-o", out, "--classes", "10", *flags], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def measure(program, name, o):
    """Minima of both over the rounds: (ours, the peer's), each a dict of min_ms and rss_mb."""
    best = [None, None]
    for _ in range(o.rounds):
        runs = (peers.json_of([program, "bench", "--batch", str(o.batch), "--threads", str(o.threads), "--iters", "2", "--json"]),
                peers.json_of(["/usr/bin/python3", torch_train(), CASES[name][0], str(o.batch), CASES[name][2],
                               str(o.threads), "2"]))
        for k, r in enumerate(runs):
            if best[k] is None or r["min_ms"] < best[k]["min_ms"]:
                best[k] = r
    return best


def cached_epochs(folder, o):
    """First epoch (which fills the cache) against a later one, head only, on images made up on the spot."""
    from PIL import Image
    import numpy
    data = os.path.join(folder, "images")
    rng = numpy.random.RandomState(0)
    for k in range(10):
        os.makedirs(os.path.join(data, str(k)))
        for i in range(16):
            pixels = rng.randint(0, 256, (256, 256, 3)).astype(numpy.uint8)
            Image.fromarray(pixels).save(os.path.join(data, str(k), f"{i}.jpg"))
    log = os.path.join(folder, "log.jsonl")
    subprocess.run([os.path.join(folder, "head"), "train", data, "--epochs", "4", "--threads", str(o.threads), "--log", log,
                    "--no-checkpoint", "--out", os.path.join(folder, "t.onnx"), "-q"], check=True)
    seconds = [e["seconds"] for e in map(json.loads, open(log)) if e["event"] == "epoch"]
    return seconds[0], min(seconds[1:])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("cases", nargs="*", default=["full", "full-bn", "layer4", "head"])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--check", action="store_true")
    p.add_argument("--markdown", action="store_true")
    o = p.parse_args()
    bad = []
    row = "| {} | {:.0f} | {:.0f} | **{:.2f}** | {:.0f} | {:.0f} |" if o.markdown else \
        "{:14} {:9.0f} ms {:9.0f} ms  ratio {:5.2f}   {:6.0f} MB {:6.0f} MB"
    with tempfile.TemporaryDirectory() as folder:
        for name in o.cases:
            ours, peer = measure(compile_case(folder, name), name, o)
            ratio = ours["min_ms"] / peer["min_ms"]
            print(row.format(name, ours["min_ms"], peer["min_ms"], ratio, ours["rss_mb"], peer["rss_mb"]), flush=True)
            limit, memory = CASES[name][3:]
            if limit and ratio > limit:
                bad.append(f"{name}: ratio {ratio:.2f}, limit {limit}")
            if memory and ours["rss_mb"] > memory:
                bad.append(f"{name}: {ours['rss_mb']:.0f} MB, limit {memory}")
            if name == "head":
                first, later = cached_epochs(folder, o)
                print(f"head, cached features: first epoch {first:.2f} s, a later one {later:.4f} s, {first / later:.0f} times")
                if first / later < 50:
                    bad.append(f"head: a cached epoch is only {first / later:.0f} times faster than the first")
    for line in bad:
        print("over its limit:", line)
    sys.exit(bool(bad) and o.check)


if __name__ == "__main__":
    main()
