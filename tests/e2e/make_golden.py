#!/usr/bin/python3
"""Writes golden/: inputs and ONNX Runtime's logits for the sample network. Needs ../shared, node, npm."""
import os
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
os.makedirs(HERE, exist_ok=True)
x = np.random.default_rng(7).standard_normal((5, 1, 28, 28), dtype=np.float32)
np.save(os.path.join(HERE, "sample_x.npy"), x)
subprocess.run(["node", peers.ort_js(), "run", os.path.join(peers.ROOT, "tools/sample/sample.onnx"),
                os.path.join(HERE, "sample_x.npy"), os.path.join(HERE, "out")], check=True)
os.rename(os.path.join(HERE, "out_0.npy"), os.path.join(HERE, "sample_logits.npy"))
