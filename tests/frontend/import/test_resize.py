"""Resize and Upsample, compiled, against ONNX Runtime's stored results (resize_cases.py), all nodes of an opset in one
program."""
import os
import sys

import numpy as np
import onnx

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from script import HONE, main, ok, temp  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import resize_cases as rc  # noqa: E402


def run_cases(opset, cases):
    model, feeds = rc.make_model(cases)
    path, program = temp(f"resize{opset}.onnx"), temp(f"resize{opset}")
    onnx.save(model, path)
    ok(HONE, "compile", path, "-o", program, "-O1")
    args = []
    for name, x in feeds.items():
        np.save(temp(f"{name}.npy"), x)
        args += ["-i", f"{name}={temp(name)}.npy"]
    for i in range(len(cases)):
        args += ["-o", f"y{i}={temp(f'y{i}')}.npy"]
    ok(program, "run", *args)
    return [np.load(temp(f"y{i}.npy")) for i in range(len(cases))]


def differs(c, got, want):
    """Integers that were interpolated may be a step off, where floats are cut off on both sides of one."""
    if got.shape != want.shape:
        return f"shape {got.shape}, ONNX Runtime's is {want.shape}"
    apart = np.abs(got.astype(np.float64) - want).max() if want.size else 0
    most = 2e-5 * max(np.abs(want).max(), 1) if c.dtype == "float32" else c.attrs["mode"] != "nearest"
    return None if apart <= most else f"off by {apart:.3g}"


def test_all_modes():
    golden, wrong = rc.load_golden(), []
    assert len(golden) == len(rc.CASES) > 1200, len(golden)
    for opset, numbers in rc.by_opset().items():
        numbers = [i for i in numbers if i in golden]
        for i, got in zip(numbers, run_cases(opset, [rc.CASES[i] for i in numbers])):
            why = differs(rc.CASES[i], got, golden[i])
            wrong += [f"{rc.CASES[i]}: {why}"] if why else []
    print(f"        {len(golden)} nodes")
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:20])


if __name__ == "__main__":
    main(sys.modules[__name__])
