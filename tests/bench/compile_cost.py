#!/usr/bin/python3
"""What compiling costs: seconds, peak memory of the compiler and its linker, size of the program.

  tests/bench/compile_cost.py [MODEL...] [--check] [--no-winograd]     default: resnet50 inception_v3 vgg16

--check: exit code 1 unless ResNet-50 and Inception v3 take at most 5 s, ResNet-50 2.5 times the model's size + 300 MB, and every program
is at most its weights + 3 MB and links libc, libm and OpenMP only.
"""
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

flags = [a for a in sys.argv[1:] if a == "--no-winograd"]
names = [a for a in sys.argv[1:] if not a.startswith("--")] or ["resnet50", "inception_v3", "vgg16"]
bad = []
print(f"{'network':16} {'seconds':>8} {'peak MB':>8} {'model MB':>9} {'program MB':>11} {'over weights MB':>16}")
for name in names:
    path, binary = peers.model(name), os.path.join(peers.WORK, "cost_" + name)
    start = time.time()
    done = subprocess.run(["/usr/bin/env", "python3", "-c",
                           "import resource,subprocess,sys;"
                           "c=subprocess.run(sys.argv[1:],stderr=subprocess.PIPE,text=True);"
                           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss);"
                           "print(c.stderr,file=sys.stderr);sys.exit(c.returncode)",
                           peers.HONE, "compile", path, "-o", binary, "-v", *flags], capture_output=True, text=True, check=True)
    seconds, peak = time.time() - start, int(done.stdout.split()[0]) / 1e3
    weights = float(re.search(r"weights ([\d.]+) MB", done.stderr).group(1))
    model, program = os.path.getsize(path) / 1e6, os.path.getsize(binary) / 1e6
    print(f"{name:16} {seconds:8.1f} {peak:8.0f} {model:9.1f} {program:11.1f} {program - weights:16.2f}", flush=True)
    libs = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    if any(not re.match(r"\s*(linux-vdso|libc\.|libm\.|libgomp\.|libomp\.|/lib.*ld-linux)", l) for l in libs.splitlines()):
        bad.append(f"{name} links more than libc, libm and OpenMP")
    if program > weights + 3:
        bad.append(f"{name} is more than 3 MB over its weights")
    if name == "resnet50" and peak > 2.5 * model + 300 or name in ("resnet50", "inception_v3") and seconds > 5:
        bad.append(f"{name} takes {seconds:.1f} s and {peak:.0f} MB")
if "--check" in sys.argv and bad:
    sys.exit("\n".join(bad))
