#!/usr/bin/env python3
"""Fine-tune programs of this compiler beside those of an older one: the same plan, the same log but for speeds, the
same exported file, byte for byte.

  tests/bench/train_against.py OLD_HONE [HONE] [--mcpu native x86-64-v3]

clothes5.onnx learns five other classes (tools/sample/pick_classes.py) in three ways. Exit code 1: something differs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "tools", "sample", "clothes5.onnx")
SPEEDS = {"images_per_s", "data_wait_s", "seconds"}
RUNS = {
    "stages": (["--stages", "head:3:0.2,none:2:0.03", "--bn", "train"], ["--seed", "3"]),
    "until": (["--freeze", "until:layer2", "--head-dropout", "0.2"],
              ["--opt", "adamw", "--head-solver", "adamw", "--seed", "5", "--epochs", "2", "--augment", "light"]),
    "head": (["--freeze", "head"], ["--opt", "nesterov", "--epochs", "2"]),
}


def read(path):
    with open(path, "rb") as f:
        return f.read()


def train(hone, data, mcpu, folder, compile_flags, train_flags):
    """Returns plan, log without speeds, exported file."""
    program, log, out = (os.path.join(folder, name) for name in ("net", "log", "net.onnx"))
    for path in (log, out):
        if os.path.exists(path):
            os.remove(path)
    plan = subprocess.run([hone, "finetune", MODEL, "-o", program, "--classes", os.path.join(data, "labels.txt"), "--threads",
                           "2", "--mcpu", mcpu, *compile_flags], check=True, capture_output=True, text=True).stdout
    subprocess.run([program, "train", data, "--no-checkpoint", "-q", "--threads", "2", "--log", log, "-o", out, *train_flags],
                   check=True, capture_output=True)
    events = [json.loads(line) for line in read(log).splitlines()]
    return plan, [{k: v for k, v in e.items() if k not in SPEEDS} for e in events], read(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default=os.path.join(ROOT, "build", "hone"))
    parser.add_argument("--mcpu", nargs="+", default=["native", "x86-64-v3"])
    args = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        subprocess.run([os.path.join(ROOT, "tools", "sample", "pick_classes.py"), data], check=True, capture_output=True)
        for mcpu in args.mcpu:
            for name, flags in RUNS.items():
                old, new = (train(hone, data, mcpu, folder, *flags) for hone in (args.old, args.new))
                differs = [what for what, a, b in zip(("plan", "log", "exported file"), old, new) if a != b]
                bad += len(differs)
                print(f"{mcpu:12} {name:8} {len(old[1]):4} events  {', '.join(differs) or 'same'}", flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
