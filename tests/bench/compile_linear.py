#!/usr/bin/python3
"""Compile time against the number of calls: graphs of 2,000 and of 20,000, which must cost ten times as much at most.

  tests/bench/compile_linear.py [HONE]       CPU seconds of compiler and linker, minima of five; exit code 1 over the limit

"ratio" is time per node of the large graph over that of the small one; "beyond the fixed" the same without what an empty
graph costs (linking, mostly). tests/e2e/test_compile_linear.py keeps the first under 1.2.
"""
import os
import resource
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL, LARGE, LIMIT = 2000, 20000, 1.2


def chain(n):
    """Every sum needs the two before it: nothing fuses, a barrier before each call."""
    names = ["x", "y"] + [f"v{i}" for i in range(n)]
    return [helper.make_node("Add", names[i:i + 2], [names[i + 2]], name=f"add{i}") for i in range(n)], [names[-1]], []


def wide(n):
    """Sums that need nothing of each other, each with a constant of its own: no barriers, many weights and outputs."""
    consts = [numpy_helper.from_array(np.full((1, 16), i, np.float32), f"c{i}") for i in range(n)]
    return [helper.make_node("Add", ["x", f"c{i}"], [f"v{i}"]) for i in range(n)], [f"v{i}" for i in range(n)], consts


def concat(n):
    """One node that becomes n calls."""
    return [helper.make_node("Concat", ["x", "y"] * (n // 2), ["v"], axis=1)], ["v"], []


GRAPHS = {"chain": chain, "wide": wide, "concat": concat}


def write(path, kind, n):
    nodes, outputs, consts = GRAPHS[kind](n)
    tensor = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
    graph = helper.make_graph(nodes, kind, [tensor("x", 16), tensor("y", 16)],
                              [tensor(o, 16 * n if kind == "concat" else 16) for o in outputs], consts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


def cpu_seconds(hone, path, out):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([hone, "compile", path, "-o", out], check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(hone, folder, kind, sizes, rounds):
    """Seconds for each of the sizes: minima."""
    best = {}
    for n in sizes:
        write(os.path.join(folder, f"{kind}{n}.onnx"), kind, n)
    for _ in range(rounds):
        for n in sizes:
            t = cpu_seconds(hone, os.path.join(folder, f"{kind}{n}.onnx"), os.path.join(folder, "out"))
            best[n] = min(t, best.get(n, t))
    return [best[n] for n in sizes]


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    hone = sys.argv[1] if len(sys.argv) > 1 else os.path.join(root, "build", "hone")
    worst = 0
    print(f"{'graph':8} {'2 nodes':>8} {SMALL:>8} {LARGE:>8} {'ratio':>6}  beyond the fixed")
    with tempfile.TemporaryDirectory() as folder:
        for kind in GRAPHS:
            fixed, small, large = measure(hone, folder, kind, (2, SMALL, LARGE), 5)
            ratio = large / small * SMALL / LARGE
            worst = max(worst, ratio)
            beyond = (large - fixed) / (small - fixed) * SMALL / LARGE
            print(f"{kind:8} {fixed:8.3f} {small:8.3f} {large:8.3f} {ratio:6.2f}  {beyond:.2f}", flush=True)
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
