#!/usr/bin/python3
"""Writes golden_families.npz with ONNX Runtime. Needs ../shared, node, npm.

  families_golden.py [FAMILY...]     all families, or the named ones anew
"""
import glob
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..")]
import families
import peers


def infer(model, feeds, folder):
    """ONNX Runtime's outputs by name."""
    path = os.path.join(folder, "model.onnx")
    onnx.save(model, path)
    ins = []
    for i, x in enumerate(feeds.values()):
        ins.append(os.path.join(folder, f"in_{i}.npy"))
        np.save(ins[-1], x)
    for old in glob.glob(os.path.join(folder, "out_*.npy")):
        os.remove(old)
    done = subprocess.run(["node", peers.ort_js(), "run", path, ",".join(ins), os.path.join(folder, "out")],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError([l for l in done.stderr.splitlines() if "Error" in l][:1] or done.stderr[-500:])
    return {o.name: np.load(os.path.join(folder, f"out_{i}.npy")) for i, o in enumerate(model.graph.output)}


def compute(case, folder):
    net = case.net()
    model = case.reference(net.model()) if case.reference else net.model()
    feeds = net.data(families.BATCH)
    if case.fixed_batch != 1:
        return infer(model, feeds, folder)
    each = [infer(model, {k: v[i:i + 1] for k, v in feeds.items()}, folder) for i in range(families.BATCH)]
    return {k: np.concatenate([e[k] for e in each]) for k in each[0]}


def store(known, case, output, y):
    bits = (np.ascontiguousarray(y, np.float32).view(np.uint32) + np.uint32(32)) & np.uint32(0xffffffc0)
    y = bits.view(np.float32).reshape(y.shape)
    last = families.find(known, case, output)
    if last is None or last.shape != y.shape or np.abs(last - y).max(initial=0) > 1e-5 * np.abs(y).max(initial=0):
        known[f"{case.name}/{output}"] = y


def main(names):
    known = dict(np.load(families.GOLDEN)) if names and os.path.exists(families.GOLDEN) else {}
    known = {k: v for k, v in known.items() if k.split("/")[0].rsplit("_", 1)[0] not in names}
    with tempfile.TemporaryDirectory() as folder:
        for case in families.CASES:
            if names and case.family not in names:
                continue
            try:
                for output, y in compute(case, folder).items():
                    store(known, case, output, y)
            except Exception as e:
                print(f"{case.name}: {e}")
    np.savez_compressed(families.GOLDEN, **known)
    print(len(known), "arrays,", os.path.getsize(families.GOLDEN), "bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
