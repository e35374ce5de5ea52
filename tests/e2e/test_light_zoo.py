"""Nine graphs of the model zoo with constant weights (../shared/onnx-light, where it is there), compiled, against the
outputs stored with them: input arange(n) / n, rtol 1e-3, atol 1e-7. Their weights are made by folding, hence --limit."""
import glob
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, main, ok, temp

MODELS = sorted(glob.glob(os.path.join(ROOT, "..", "shared", "onnx-light", "*.onnx")))


def check(path):
    name = os.path.basename(path)[:-5]
    graph = onnx.load(path).graph
    weights = {i.name for i in graph.initializer}
    shape = next([d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.input if i.name not in weights)
    n = np.prod(shape)
    np.save(temp("x.npy"), (np.arange(n) / n).astype(np.float32).reshape(shape))
    ok(HONE, "compile", path, "-o", temp("net"), "--limit", "constants=4G")
    ok(temp("net"), "run", "-i", temp("x.npy"), "-o", temp("y.npy"))
    os.unlink(temp("net"))
    with open(path[:-5] + "_output_0.pb", "rb") as f:
        want = numpy_helper.to_array(onnx.TensorProto.FromString(f.read()))
    got = np.load(temp("y.npy"))
    assert got.shape == want.shape and got.dtype == want.dtype, (name, got.shape, want.shape)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-7, err_msg=name)


def test_light_zoo():
    if not MODELS:
        print("        skipped: no ../shared/onnx-light")
        return
    assert len(MODELS) == 9, MODELS
    for path in MODELS:
        check(path)
    print(f"        light zoo: {len(MODELS)} of 9")


if __name__ == "__main__":
    main(sys.modules[__name__])
