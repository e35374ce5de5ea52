"""Writes tests/e2e/golden/bounded.npz: what ONNX Runtime 1.32 makes of tests/e2e/bounded_models.py. Run by hand, where onnxruntime is."""
import os
import sys

import numpy as np
import onnxruntime

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bounded_models  # noqa: E402

golden = {}
for name, (model, _) in bounded_models.NETWORKS.items():
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for i, feed in enumerate(bounded_models.feeds(name)):
        try:
            made = session.run(None, feed)
        except Exception as e:  # an error of ours, too, then
            print(name, i, str(e)[:150])
            continue
        for o, y in zip(session.get_outputs(), made):
            golden[f"{name}/{i}/{o.name}"] = y
np.savez_compressed(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "bounded.npz"), **golden)
print(len(golden), "tensors")
