#!/usr/bin/python3
"""Programs of several units: how large they are and how soon they give a result, beside programs of one.

  tests/bench/units.py [NETWORK] [--sizes-of NETWORK] [--rounds 10] [--check]

Default: resnet50 for all CPUs, resnet18 for several sizes; what stands beside them is prepared at the start, too (--prepared 1). The start is the wall time of `./PROGRAM --top 1 PICTURE` as a whole, exec to
exit, the minimum over the rounds, all programs alternately; files are in the page cache. A level is the fat program under HONE_CPU: what
it prints must be what the program for that CPU alone prints; where there is qemu-x86_64, CPUs that lack what this one has are tried, too.

  --check    exit code 1 where the fat program is above 1.15 of one unit's, or takes more than 120 ms

Needs ../shared, and onnx in a virtual environment below build-peers/, to leave a network's sizes open.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import bench_int8
import peers

MAX_OF_ONE, MAX_MS = 1.15, 120
LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
EMULATED = {"Nehalem": "x86-64-v2", "Haswell": "x86-64-v3"}  # CPU of qemu: the level that runs there
TABLE = [(h, w) for h in range(160, 257, 32) for w in range(160, 257, 32)]


OPEN = """
import sys, onnx
m = onnx.load(sys.argv[1])
for k, name in enumerate("hw"):
    m.graph.input[0].type.tensor_type.shape.dim[2 + k].dim_param = name
onnx.save(m, sys.argv[2])
"""


def compiled(model, name, *options):
    binary = os.path.join(peers.WORK, "units_" + name)
    subprocess.run([peers.HONE, "compile", model, "-o", binary, *options], check=True, stderr=subprocess.DEVNULL)
    return binary


def result(program, image, cap="", prefix=()):
    """(milliseconds, what it prints); behind a prefix without beginning again, which would be on the CPU that is there."""
    told = {"HONE_CPU": cap, **({"GOMP_SPINCOUNT": "1000"} if prefix else {})}
    start = time.perf_counter()
    r = subprocess.run([*prefix, program, "--top", "1", image], capture_output=True, text=True, check=True, env={**os.environ, **told})
    return (time.perf_counter() - start) * 1e3, r.stdout


def fat(a, image):
    model = peers.model(a.network)
    one, every = compiled(model, "one", "--prepared", "1"), compiled(model, "all", "--mcpu", "all")
    of_one = os.path.getsize(every) / os.path.getsize(one)
    alone = {level: compiled(model, level, "--mcpu", level) for level in LEVELS}
    programs = {"one unit": (one, ""), "fat": (every, ""), **{f"fat, {level}": (every, level) for level in LEVELS}}
    best = {}
    for _ in range(a.rounds):
        for name, (program, cap) in programs.items():
            ms, said = result(program, image, cap)
            best[name] = min(ms, best.get(name, 1e9))
    for level in LEVELS:
        if result(every, image, level)[1] != result(alone[level], image)[1]:
            sys.exit(f"{level}: the fat program and the one for it alone differ")
    print(f"{a.network}: one unit {os.path.getsize(one) / 1e6:.1f} MB, for all CPUs {os.path.getsize(every) / 1e6:.1f} MB ({of_one:.3f})")
    for name, ms in best.items():
        print(f"  {name:16} {ms:7.1f} ms to the first result")
    qemu = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    for cpu, level in EMULATED.items() if qemu else ():
        said = result(every, image, prefix=(qemu, "-cpu", cpu))[1]
        if said != result(alone[level], image)[1]:
            sys.exit(f"{cpu} by qemu: not what the program for {level} says")
        print(f"  on {cpu} by qemu as for {level}")
    return [f"{of_one:.2f} of one unit's size"] * (of_one > MAX_OF_ONE) + [f"{best['fat']:.0f} ms"] * (best["fat"] > MAX_MS)


def sizes(a, image):
    shapes = {"one size": [], "2 sizes": [(192, 192)], f"{len(TABLE)} sizes": [s for s in TABLE if s != (224, 224)]}
    programs, model = {}, os.path.join(peers.WORK, "units_open.onnx")
    subprocess.run([bench_int8.python(), "-c", OPEN, peers.model(a.sizes_of), model], check=True)
    for name, more in shapes.items():
        options = [f"--input-shape=Nx3x{h}x{w}" for h, w in [(224, 224), *more]]
        programs[name] = compiled(model, name.replace(" ", "_"), "--prepared", "1", *options)
    best = {}
    for _ in range(a.rounds):
        for name, program in programs.items():
            best[name] = min(result(program, image)[0], best.get(name, 1e9))
    print(f"{a.sizes_of}: " + ", ".join(f"{name} {os.path.getsize(p) / 1e6:.1f} MB, {best[name]:.1f} ms" for name, p in programs.items()))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("network", nargs="?", default="resnet50")
    ap.add_argument("--sizes-of", default="resnet18")
    ap.add_argument("--rounds", type=int, default=10)
    ap.add_argument("--check", action="store_true")
    a = ap.parse_args()
    image = os.path.join(peers.WORK, "startup.png")
    peers.write_image(image)
    over = fat(a, image)
    sizes(a, image)
    print(f"above their limits: {len(over)}" + "".join("\n  " + line for line in over))
    return bool(over) and a.check


if __name__ == "__main__":
    sys.exit(main())
