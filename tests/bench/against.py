#!/usr/bin/python3
"""This checkout's compiler against an older one: the same outputs, not slower, not larger, not longer to compile.

  tests/bench/against.py COMMIT|HONE [NETWORK...] [--outputs] [--speed] [--start] [--cost] [--step]
                         [--threads 1 2] [--rounds 15] [--iters 5] [--flags=...] [--check]

COMMIT is built in build-peers/COMMIT (once); HONE is a compiler that stands there already. Without a choice all five:

  --outputs   both programs on one random batch of 2: bit-equal, else the largest difference over the largest output
  --speed     both programs' bench, alternating, the order changing from round to round; the ratio of minima
  --start     both programs from exec to a classified image (the sample's), alternating, and peak memory
  --cost      compile time (minimum of five, alternating) and program size
  --step      a training step of ResNet-50 (batch 16, everything trains), alternating

--check: exit code 1 when an output differs by 1e-6 or more, a time is over 1.02 of the old one's, or compile time or
size over 1.05. Networks default to the fourteen of the speed table for outputs, to four of them for the rest.
Needs ../shared (the model generator) and what it asks for.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

FOURTEEN = ("resnet18 resnet34 resnet50 resnet101 resnet152 inception_v3 googlenet vgg16 densenet121 squeezenet1_1 "
            "resnext50_32x4d mobilenet_v2 efficientnet_b0 shufflenet_v2_x1_0").split()
FOUR = "resnet50 resnet18 inception_v3 mobilenet_v2".split()
SAME, SPEED, COST = 1e-6, 1.02, 1.05  # limits


def old_compiler(what):
    if os.path.isfile(what):
        return os.path.abspath(what)
    tree = os.path.join(peers.WORK, what)
    hone = os.path.join(tree, "build", "hone")
    if not os.path.exists(hone):
        os.makedirs(tree, exist_ok=True)
        source = subprocess.run(["git", "archive", what], cwd=peers.ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", tree], input=source, check=True)
        for step in (["cmake", "-S", ".", "-B", "build", "-G", "Ninja"], ["cmake", "--build", "build", "--target", "hone"]):
            subprocess.run(step, cwd=tree, check=True, stdout=subprocess.DEVNULL)
    return hone


def quiet(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")


class Pair:
    """The old compiler's program and the new one's, of one network."""

    def __init__(self, a, folder, name):
        self.a, self.folder, self.name = a, folder, name
        self.program = [os.path.join(folder, f"{name}-{side}") for side in ("old", "new")]
        for side in (0, 1):
            self.compile(side)

    def compile(self, side):
        start = time.time()
        quiet(self.a.hone[side], "compile", peers.model(self.name), "-o", self.program[side], *self.a.flags)
        return time.time() - start

    def alternate(self, rounds, measure):
        """Minima of measure(side) over the rounds."""
        best = [float("inf")] * 2
        for k in range(rounds):
            for side in ((0, 1) if k % 2 == 0 else (1, 0)):
                best[side] = min(best[side], measure(side))
        return best


def over(a, what, value, limit):
    if value > limit:
        a.bad.append(f"{what}: {value:.4g}, limit {limit}")
    return "*" if value > limit else " "


def outputs(a, pair):
    info = peers.json_of([pair.program[1], "info", "--json"])
    size = peers.image_size(pair.name)
    x = np.random.default_rng(0).standard_normal((2, 3, size, size), dtype=np.float32)
    np.save(os.path.join(pair.folder, "x.npy"), x)
    y = []
    for side in (0, 1):
        to = os.path.join(pair.folder, f"y{side}.npy")
        quiet(pair.program[side], "run", "-i", f"{info['inputs'][0]['name']}={pair.folder}/x.npy", "-o",
              f"{info['outputs'][0]['name']}={to}", "--threads", "2")
        y.append(np.load(to))
    same = y[0].shape == y[1].shape and y[0].tobytes() == y[1].tobytes()
    error = 0.0 if same else float(np.abs(y[0] - y[1]).max() / np.abs(y[0]).max())
    star = over(a, f"{pair.name} output", error, SAME)
    print(f"{pair.name:20} outputs {'the same bits' if same else f'differ by {error:.1e}'}{star}", flush=True)


def speed(a, pair):
    for threads in a.threads:
        old, new = pair.alternate(a.rounds, lambda side: peers.json_of(
            [pair.program[side], "bench", "--json", "--iters", str(a.iters), "--threads", threads])["min_ms"])
        star = over(a, f"{pair.name} on {threads} threads", new / old, SPEED)
        print(f"{pair.name:20} {threads} threads {old:9.3f} ms {new:9.3f} ms  ratio {new / old:.3f}{star}", flush=True)


def start(a, pair):
    image, memory = os.path.join(peers.ROOT, "tools", "sample", "sneaker.png"), [0, 0]

    def run(side):
        begin = time.perf_counter()
        process = subprocess.Popen([pair.program[side], "--threads", threads, image], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"exit code {process.returncode} from {pair.program[side]}")
        memory[side] = usage.ru_maxrss * 1024e-6
        return (time.perf_counter() - begin) * 1e3

    for threads in a.threads:
        old, new = pair.alternate(a.rounds, run)
        print(f"{pair.name:20} {threads} threads, first image after {old:.1f} ms {new:.1f} ms  ratio {new / old:.3f}  "
              f"{memory[0]:.0f} MB {memory[1]:.0f} MB", flush=True)


def cost(a, pair):
    old, new = pair.alternate(5, pair.compile)
    size = [os.path.getsize(p) for p in pair.program]
    star = over(a, f"{pair.name} compile time", new / old, COST)
    star2 = over(a, f"{pair.name} size", size[1] / size[0], COST)
    print(f"{pair.name:20} compiles in {old:.2f} s {new:.2f} s  ratio {new / old:.3f}{star}  "
          f"size {size[0] / 1e6:.2f} MB {size[1] / 1e6:.2f} MB  ratio {size[1] / size[0]:.3f}{star2}", flush=True)


def step(a, folder):
    program = [os.path.join(folder, f"step-{side}") for side in ("old", "new")]
    for side in (0, 1):
        quiet(a.hone[side], "finetune", peers.model("resnet50_bn"), "-o", program[side], "--classes", "10", "--freeze", "none")
    for threads in a.threads:
        best = [float("inf")] * 2
        for k in range(a.step_rounds):
            for side in ((0, 1) if k % 2 == 0 else (1, 0)):
                run = peers.json_of([program[side], "bench", "--batch", "16", "--threads", threads, "--iters", "2", "--json"])
                best[side] = min(best[side], run["min_ms"])
        star = over(a, f"training step on {threads} threads", best[1] / best[0], SPEED)
        print(f"training step        {threads} threads {best[0]:9.1f} ms {best[1]:9.1f} ms  ratio {best[1] / best[0]:.3f}{star}",
              flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("old")
    p.add_argument("networks", nargs="*")
    for choice in ("outputs", "speed", "start", "cost", "step", "check"):
        p.add_argument("--" + choice, action="store_true")
    p.add_argument("--threads", nargs="*", default=["1", "2"])
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--step-rounds", type=int, default=4)
    p.add_argument("--iters", type=int, default=5)
    p.add_argument("--flags", default="", help="for hone compile, both")
    a = p.parse_args()
    a.flags, a.bad, a.hone = a.flags.split(), [], [old_compiler(a.old), peers.HONE]
    every = not (a.outputs or a.speed or a.start or a.cost or a.step)
    for name in a.networks or (FOURTEEN if a.outputs or every else FOUR):
        with tempfile.TemporaryDirectory() as folder:
            if not (every or a.outputs or a.speed or a.start or a.cost):
                break
            pair = Pair(a, folder, name)
            measured = a.networks or name in FOUR
            for wanted, run in ((a.outputs, outputs), (a.speed and measured, speed),
                                (a.start and measured, start), (a.cost and measured, cost)):
                if wanted or (every and (measured or run is outputs)):
                    run(a, pair)
    if a.step or every:
        with tempfile.TemporaryDirectory() as folder:
            step(a, folder)
    for line in a.bad:
        print("over its limit:", line)
    sys.exit(bool(a.bad) and a.check)


if __name__ == "__main__":
    main()
