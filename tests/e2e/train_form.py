#!/usr/bin/python3
"""Training-form exports: compiled for inference they equal ONNX Runtime on the same file with training_mode
taken away, with one warning; literal ones (`hone verify`) agree with the evaluator.

  tests/e2e/train_form.py [MODEL...]      default: resnet18 googlenet mobilenet_v2

Needs node, npm, python3-torch, python3-torchvision, python3-onnx and ../shared.
"""
import os
import subprocess
import sys

import numpy as np
import onnx

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

TMP = os.path.join(peers.WORK, "train_form")
os.makedirs(TMP, exist_ok=True)


def inference_form(path):
    """The same weights and running statistics with BatchNormalization and Dropout in inference form."""
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            for a in [a for a in node.attribute if a.name == "training_mode"]:
                node.attribute.remove(a)
            del node.output[1:]
        if node.op_type == "Dropout":
            del node.input[1:]
            del node.output[1:]
    del model.graph.output[1:]
    out = os.path.join(TMP, "inference.onnx")
    onnx.save(model, out)
    return out


def reference(path, x):
    np.save(os.path.join(TMP, "x.npy"), x)
    subprocess.run(["node", peers.ort_js(), "run", path, os.path.join(TMP, "x.npy"), os.path.join(TMP, "ref")],
                   check=True)
    return np.load(os.path.join(TMP, "ref_0.npy"))


def output(path, x):
    binary, xin, y = (os.path.join(TMP, f) for f in ("net", "x.npy", "y.npy"))
    done = subprocess.run([peers.HONE, "compile", path, "-o", binary], capture_output=True, text=True, check=True)
    np.save(xin, x)
    subprocess.run([binary, "run", "-i", "input=" + xin, "-o", "output=" + y], check=True)
    return np.load(y), [l for l in done.stderr.splitlines() if "warning" in l]


failed = 0
for name in sys.argv[1:] or ["resnet18", "googlenet", "mobilenet_v2"]:
    x = np.random.default_rng(3).standard_normal((2, 3, 224, 224), dtype=np.float32)
    want = reference(inference_form(peers.model(name + "_train")), x)
    got, warnings = output(peers.model(name + "_train"), x)
    error = np.abs(got - want).max() / np.abs(want).max()
    literal = subprocess.run([peers.HONE, "verify", peers.model(name + "_train"), "--batch", "2"]).returncode
    ok = error < 5e-5 and len(warnings) == 1 and literal == 0
    failed += not ok
    print(f"{name:16} inference {error:.2e}, {len(warnings)} warning, literal {'ok' if literal == 0 else 'FAILED'}: "
          f"{'ok' if ok else 'FAILED'}", flush=True)
sys.exit(bool(failed))
