"""Run by hand: writes opset_cases.npz, what the models of opset_cases.py give in ONNX Runtime.

    make_opset_cases.py PEERS        a folder with ort.js, node_modules in it (shared/peers after npm install)

Models of opsets before 7 run in a newer spelling (`like`), since ONNX Runtime has no kernels for them.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
from onnx import numpy_helper

import opset_cases as oc


BOOLEAN = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Not": np.logical_not, "Where": np.where}


def run_peer(peers, model, inputs, count):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.onnx")
        with open(path, "wb") as f:
            f.write(model.SerializeToString())
        files = []
        for i, a in enumerate(inputs):
            files.append(os.path.join(folder, f"in{i}.npy"))
            np.save(files[-1], a)
        done = subprocess.run(["node", os.path.join(peers, "ort.js"), "run", path, ",".join(files),
                               os.path.join(folder, "out")], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-600:])
        return [np.load(os.path.join(folder, f"out_{i}.npy")) for i in range(count)]


def by_hand(c):
    """What no input can change, and what reads booleans: the peer's runner wants numbers."""
    value = c.attrs.get("value")
    if c.op in BOOLEAN:
        version, attrs, inputs = c.like or (0, 0, None)
        return BOOLEAN[c.op](*(inputs or c.inputs))
    if c.op == "Constant":
        return np.float32(c.attrs["value_floats"]) if value is None else numpy_helper.to_array(value)
    return np.full(c.inputs[0], numpy_helper.to_array(value)[0])


def expect(peers, c):
    if c.op in ("Constant", "ConstantOfShape", *BOOLEAN):
        return [by_hand(c)]
    version, attrs, inputs = c.like or (c.version, None, None)
    model, fed = oc.make_model(c, version=version, attrs=attrs, inputs=inputs)
    model.ir_version = min(model.ir_version, 10)
    return run_peer(peers, model, fed, len(c.types))


def main():
    golden, failed = {}, 0
    names = [oc.name_of(c) for c in oc.CASES]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    for c in oc.CASES:
        try:
            for i, y in enumerate(expect(sys.argv[1], c)):
                golden[f"{oc.name_of(c)}.{i}"] = y
        except RuntimeError as e:
            failed += 1
            print(f"{oc.name_of(c)}: {e}")
    oc.save_golden(golden)
    print(f"{len(oc.CASES) - failed} of {len(oc.CASES)} cases, {os.path.getsize(oc.GOLDEN)} bytes")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
