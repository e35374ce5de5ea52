#!/usr/bin/env python3
"""Seeds of the fuzzers: make_seeds.py FOLDER. A folder per target, files of a few hundred bytes."""
import glob
import io
import json
import os
import shutil
import struct
import sys

import numpy as np
from PIL import Image

out = sys.argv[1]


def put(target, name, data):
    os.makedirs(f"{out}/{target}", exist_ok=True)
    with open(f"{out}/{target}/{name}", "wb") as f:
        f.write(data)


models = sorted(glob.glob("/usr/share/libonnx-testdata/data/*/*/model.onnx"))
for path in models[::5]:
    if os.path.getsize(path) < 4000:
        os.makedirs(f"{out}/onnx", exist_ok=True)
        shutil.copy(path, f"{out}/onnx/{path.split('/')[-2]}.onnx")
for path in glob.glob("tests/passes/*/*.ir"):
    with open(path, "rb") as f:
        put("ir", os.path.basename(path), f.read()[:6000])
picture = Image.fromarray((np.arange(8 * 6 * 3) * 7 % 256).astype(np.uint8).reshape(6, 8, 3))
for name, kind, options in [("a.jpg", "JPEG", {}), ("b.jpg", "JPEG", {"progressive": True}),
                            ("c.png", "PNG", {})]:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    put("image", name, data.getvalue())
for mode in ["L", "P", "LA", "1"]:
    data = io.BytesIO()
    picture.convert(mode).save(data, "PNG")
    put("image", mode + ".png", data.getvalue())
for i, array in enumerate([np.float32([[1, 2], [3, 4]]), np.int64(7), np.zeros((2, 0), np.uint8),
                           np.asfortranarray(np.float64([[1, 2], [3, 4]]))]):
    data = io.BytesIO()
    np.save(data, array)
    put("image", f"{i}.npy", data.getvalue())
header = {"__metadata__": {"hone.xxh3": "0" * 16, "step": "12"},
          "weights": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
          "n": {"dtype": "I64", "shape": [1], "data_offsets": [24, 32]}}
text = json.dumps(header, separators=(",", ":"))
text += " " * (-len(text) % 8)
put("checkpoint", "a", struct.pack("<Q", len(text)) + text.encode() + bytes(32))
