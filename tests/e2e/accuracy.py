#!/usr/bin/python3
"""Compiled networks against ONNX Runtime: the largest difference as a fraction of the largest output.

  tests/e2e/accuracy.py [MODEL...] [--bn] [--quick] [--flags=--no-winograd] [--limit 5e-5]

Default: all 21 torchvision networks and the nine zoo graphs. --bn: also the exports that keep
BatchNormalization. Each is compiled at -O0 and -O2 for this machine, and at -O2 for x86-64-v3, and run at
batch 1 and 3 from the same binary on 1 and 2 threads (--quick: -O2, this machine only). A final softmax is cut off
first, for both. Needs node, npm, python3-torch, python3-torchvision, python3-onnx and ../shared.
"""
import argparse
import os
import subprocess
import sys

import numpy as np
import onnx

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

TMP = os.path.join(peers.WORK, "accuracy")


def without_softmax(path):
    """The model up to its final softmax; the same path when there is none."""
    model = onnx.load(path)
    last = [n for n in model.graph.node if model.graph.output[0].name in n.output]
    if not last or last[0].op_type != "Softmax":
        return path
    cut = os.path.join(TMP, os.path.basename(path))
    logits = last[0].input[0]
    model.graph.node.remove(last[0])
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
    onnx.save(model, cut)
    return cut


def signature(path):
    graph = onnx.load(path, load_external_data=False).graph
    weights = {i.name for i in graph.initializer}
    value = [i for i in graph.input if i.name not in weights][0]
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return value.name, graph.output[0].name, dims


def reference(path, x, fixed):
    """ONNX Runtime's output; image by image where the model's batch is fixed to 1."""
    outs = []
    for i, part in enumerate(np.split(x, len(x)) if fixed else [x]):
        np.save(os.path.join(TMP, "x.npy"), part)
        subprocess.run(["node", ORT, "run", path, os.path.join(TMP, "x.npy"), os.path.join(TMP, "ref")], check=True)
        outs.append(np.load(os.path.join(TMP, "ref_0.npy")))
    return np.concatenate(outs)


def check(name, configs):
    path = without_softmax(peers.model(name))
    inp, out, dims = signature(path)
    fixed = dims[0] == 1
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, *dims[1:]), dtype=np.float32)
    want = reference(path, x, fixed)
    scale, worst = np.abs(want).max(), 0
    for flags in configs:
        binary = os.path.join(TMP, name)
        pin = ["--input-shape", f"{inp}=N" + "".join(f"x{d}" for d in dims[1:])] if fixed else []
        done = subprocess.run([peers.HONE, "compile", path, "-o", binary, *flags, *pin], capture_output=True, text=True)
        if done.returncode:
            print(f"{name:24} {' '.join(flags):20} does not compile:\n{done.stderr}")
            return np.inf
        for batch in (1, 3):
            for threads in (1, 2):
                xin, y = os.path.join(TMP, "in.npy"), os.path.join(TMP, "out.npy")
                np.save(xin, x[:batch])
                subprocess.run([binary, "run", "-i", f"{inp}={xin}", "-o", f"{out}={y}", "--threads", str(threads)],
                               check=True)
                got = np.load(y).reshape(want[:batch].shape)
                worst = max(worst, np.abs(got - want[:batch]).max() / scale)
                if not np.isfinite(got).all():
                    worst = np.inf
        os.unlink(binary)
    print(f"{name:24} {worst:9.2e}   of {scale:.4g}", flush=True)
    return worst


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("models", nargs="*")
ap.add_argument("--bn", action="store_true")
ap.add_argument("--quick", action="store_true")
ap.add_argument("--flags", default="", help="more flags for hone compile")
ap.add_argument("--limit", type=float, default=5e-5)
a = ap.parse_args()
os.makedirs(TMP, exist_ok=True)
ORT = peers.ort_js()
names = a.models or peers.TORCHVISION + ([n + "_bn" for n in peers.TORCHVISION] if a.bn else []) + peers.ZOO
configs = [["-O2"]] if a.quick else [["-O0"], ["-O2"], ["-O2", "--mcpu", "x86-64-v3"]]
configs = [c + a.flags.split() for c in configs]
results = {n: check(n, configs) for n in names}
bad = [n for n, w in results.items() if not w <= a.limit]
print(f"{len(results) - len(bad)} passed, {len(bad)} failed (limit {a.limit:g}; worst {max(results.values()):.2e})")
for n in bad:
    print("  failed:", n)
sys.exit(bool(bad))
