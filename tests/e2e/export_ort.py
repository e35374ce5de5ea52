#!/usr/bin/python3
"""What a fine-tune program exports, in ONNX Runtime: the same probabilities as the program's own predict. By hand: needs
../shared, node and npm.

    tests/e2e/export_ort.py [NETWORK...]        default: the sample network, resnet18, squeezenet1_1, mobilenet_v2
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import peers

SAMPLE = os.path.join(peers.ROOT, "tools", "sample", "sample.onnx")
LIMIT = 1e-5


def images(folder, size, channels, n=24):
    """Three classes of noise with a bright band each; returns the files."""
    rng, files = np.random.default_rng(0), []
    for i in range(n):
        pixels = rng.integers(0, 120, (size, size, channels))
        pixels[i % 3 * size // 3:(i % 3 + 1) * size // 3] += 100
        path = os.path.join(folder, "abc"[i % 3], f"{i}.png")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8).squeeze()).save(path)
        files.append(path)
    return files


def check(name, folder):
    model = SAMPLE if name == "sample" else peers.model(name + "_bn")
    size, channels = (28, 1) if name == "sample" else (224, 3)
    mean, std = ([0.286], [0.353]) if name == "sample" else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    files = images(os.path.join(folder, "data"), size, channels)
    program, tuned = os.path.join(folder, "net"), os.path.join(folder, "tuned.onnx")
    run = lambda *a: subprocess.run(a, check=True, capture_output=True, cwd=folder).stdout
    run(peers.HONE, "finetune", model, "-o", program, "--classes", "3", "--stages", "head:2,none:1", "--resize", str(size))
    run(program, "train", "data", "--batch", "8", "-q", "-o", tuned)
    ours = [{t["class"]: t["probability"] for t in r["top"]} for r in json.loads(run(program, "predict", "--json", *files[:4]))]
    x = np.stack([np.asarray(Image.open(f), np.float32).reshape(size, size, channels) for f in files[:4]])
    x = ((x / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    np.save(os.path.join(folder, "x.npy"), x)
    run("node", peers.ort_js(), "run", tuned, os.path.join(folder, "x.npy"), os.path.join(folder, "y"))
    y = np.load(next(os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.startswith("y") and f.endswith(".npy")))
    p = np.exp(y - y.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    worst = max(abs(p[i, k] - ours[i][k]) for i in range(4) for k in range(3))
    print(f"{name:16} largest difference of a probability {worst:.2e}", flush=True)
    return worst <= LIMIT


def main():
    good = True
    for name in sys.argv[1:] or ["sample", "resnet18", "squeezenet1_1", "mobilenet_v2"]:
        with tempfile.TemporaryDirectory() as folder:
            good &= check(name, folder)
    sys.exit(not good)


if __name__ == "__main__":
    main()
