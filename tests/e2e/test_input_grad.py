"""hone compile --emit-input-grad: the gradient by the image against differences, and what it is good for: FGSM
(Goodfellow et al. 2015), a small step along its sign, changes what the network sees; noise of that size does not.
"""
import os
import sys

import numpy as np
import onnx
import onnx.helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import families
from script import HONE, ROOT, SAMPLE, main, ok, run, temp

X = np.load(os.path.join(ROOT, "tests", "e2e", "golden", "sample_x.npy"))
LOGITS = np.load(os.path.join(ROOT, "tests", "e2e", "golden", "sample_logits.npy"))


def compile_grad(model, name, *flags):
    ok(HONE, "compile", model, "-o", temp(name), "--emit-input-grad", *flags)
    return temp(name)


def run_on(binary, image, output, x, label):
    """(output, gradient)"""
    np.save(temp("x.npy"), x.astype(np.float32))
    np.save(temp("label.npy"), label.astype(np.int32))
    ok(binary, "run", "-i", f"{image}={temp('x.npy')}", "-i", f"label={temp('label.npy')}", "-o",
       f"{output}={temp('y.npy')}", "-o", f"input_grad={temp('g.npy')}")
    return np.load(temp("y.npy")), np.load(temp("g.npy"))


def losses(logits, label):
    z = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(z).sum(1)) - z[np.arange(len(label)), label]


def check_differences(binary, image, output, x, label, to_logits):
    y, g = run_on(binary, image, output, x, label)
    axes = tuple(range(1, x.ndim))
    d = g / np.sqrt((g * g).sum(axes, keepdims=True))
    best = np.full(len(x), np.inf)
    for h in (0.02, 0.005, 0.001):  # activations have kinks
        a, b = (losses(to_logits(run_on(binary, image, output, x + s * h * d, label)[0]), label) for s in (1, -1))
        best = np.minimum(best, np.abs((a - b) / (2 * h) / (g * d).sum(axes) - 1))
    assert best.max() < 0.02, best
    return y


def test_gradient():
    label = np.array([3, 0, 9, 5, 1])
    for level in ("-O0", "-O2"):
        y = check_differences(compile_grad(SAMPLE, "net", level), "image", "logits", X, label, lambda y: y)
        assert np.abs(y - LOGITS).max() < 5e-5 * np.abs(LOGITS).max()


def test_softmax_at_the_end():
    model = onnx.load(SAMPLE)
    model.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["prob"], axis=1))
    model.graph.output[0].name = "prob"
    onnx.save(model, temp("softmax.onnx"))
    binary = compile_grad(temp("softmax.onnx"), "softmax")
    check_differences(binary, "image", "prob", X, LOGITS.argmax(1) - 1, np.log)


def test_fgsm():
    binary, label = temp("net"), LOGITS.argmax(1)
    accuracy = lambda x: (run_on(binary, "image", "logits", x, label)[0].argmax(1) == label).mean()
    sign = np.sign(run_on(binary, "image", "logits", X, label)[1])
    noise = np.sign(np.random.RandomState(0).randn(*X.shape))
    assert accuracy(X) == 1 and accuracy(X + 0.1 * noise) >= 0.8
    assert accuracy(X + 0.1 * sign) <= 0.2


def test_errors():
    case = next(c for c in families.CASES if c.family == "concats")
    model = case.net().model()
    del model.graph.output[1:]
    onnx.save(model, temp("none.onnx"))
    code, _, err = run(HONE, "compile", temp("none.onnx"), "-o", temp("no"), "--emit-input-grad")
    assert code == 1 and "--emit-input-grad" in err and len(err.strip().splitlines()) == 1, err


if __name__ == "__main__":
    main(sys.modules[__name__])
