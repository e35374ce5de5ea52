"""Probabilities are shown once: what a program prints beside a class is what the network itself says, whatever follows
the softmax or sigmoid that made it, and however that is spelled; logits become probabilities.

Each network is the sample with another end; the numbers come from `run`, the shown ones from `--json`, `info` tells
what the program takes them for.
"""
import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, SAMPLE, SNEAKER, main, ok, run, temp


class End:
    """Nodes behind the sample's logits."""

    def __init__(self):
        self.nodes, self.inits = [], []

    def op(self, kind, *inputs, **attrs):
        names = []
        for x in inputs:
            if not isinstance(x, str):
                self.inits.append(numpy_helper.from_array(np.asarray(x), f"c{len(self.inits)}"))
                x = self.inits[-1].name
            names.append(x)
        self.nodes.append(helper.make_node(kind, names, [f"v{len(self.nodes)}"], **attrs))
        return self.nodes[-1].output[0]

    def quantized(self, x, scale, zero):
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, np.float32(scale), zero), np.float32(scale), zero)

    def exp_over_sum(self, x, shift=True):
        if shift:
            x = self.op("Sub", x, self.op("ReduceMax", x, axes=[1]))
        e = self.op("Exp", x)
        return e, self.op("ReduceSum", e, np.array([1], np.int64))


def model_with(end, opset=13):
    model = onnx.load(SAMPLE)
    e = End()
    y = end(e, model.graph.output[0].name)
    model.graph.node.extend(e.nodes)
    model.graph.initializer.extend(e.inits)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, None))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    return model


def preprocessed(info):
    """Makes a picture of the input's size, and what the program makes of it."""
    from PIL import Image
    p = info["preprocess"]
    image = Image.open(SNEAKER).convert("L").resize((p["width"], p["height"]))
    image.save(temp("small.png"))
    x = np.asarray(image, np.float32) * np.float32(p["scale"])
    return ((x - np.float32(p["mean"][0])) / np.float32(p["std"][0]))[None, None]


def look_at(end, name, opset=13):
    """(what info says, the network's numbers, the rows of --json)"""
    onnx.save(model_with(end, opset), temp(name + ".onnx"))
    ok(HONE, "compile", temp(name + ".onnx"), "-o", temp(name), "-O0")
    info = json.loads(ok(temp(name), "info", "--json"))
    np.save(temp("x.npy"), preprocessed(info))
    ok(temp(name), "run", "-i", temp("x.npy"), "-o", temp("y.npy"))
    top = json.loads(ok(temp(name), "--json", "--top", "10", "--resize", "0", temp("small.png")))["top"]
    assert info["scores"] + ":" in ok(temp(name), "info")
    return info["scores"], np.load(temp("y.npy")).reshape(-1).astype(np.float64), top


def softmax(y):
    e = np.exp(y - y.max())
    return e / e.sum()


def one(e, x):  # a single number: how likely it is the second of two classes
    return e.op("Gather", x, np.array([7], np.int64), axis=1)


U8, I8 = np.uint8(0), np.int8(-128)
SHAPES = np.array([0, 10, 1, 1], np.int64)
KINDS = {
    "probabilities": {
        "plain": lambda e, x: e.op("Softmax", x, axis=1),
        "qdq_u8": lambda e, x: e.quantized(e.op("Softmax", x, axis=-1), 1 / 255, U8),
        "qdq_i8": lambda e, x: e.quantized(e.quantized(e.op("Softmax", x, axis=1), 1 / 256, I8), 1 / 250, U8),
        "clip": lambda e, x: e.op("Clip", e.op("Softmax", x, axis=1), np.float32(1e-7), np.float32(1 - 1e-7)),
        "min_max": lambda e, x: e.op("Max", e.op("Min", e.op("Softmax", x, axis=1), np.float32(1)), np.float32(1e-9)),
        "identity": lambda e, x: e.op("Identity", e.op("Dropout", e.op("Identity", e.op("Softmax", x, axis=1)))),
        "casts": lambda e, x: e.op("Cast", e.op("Cast", e.op("Softmax", x, axis=1), to=TensorProto.FLOAT16), to=1),
        "doubles": lambda e, x: e.op("Cast", e.op("Cast", e.op("Softmax", x, axis=1), to=TensorProto.DOUBLE), to=1),
        "reshape": lambda e, x: e.op("Reshape", e.op("Softmax", x, axis=1), SHAPES),
        "flatten": lambda e, x: e.op("Flatten", e.op("Reshape", e.op("Softmax", x, axis=1), SHAPES)),
        "squeeze": lambda e, x: e.op("Squeeze", e.op("Softmax", e.op("Reshape", x, SHAPES), axis=1), np.array([2, 3])),
        "unsqueeze": lambda e, x: e.op("Unsqueeze", e.op("Softmax", x, axis=1), np.array([2])),
        "transpose": lambda e, x: e.op("Squeeze", e.op("Transpose", e.op("Unsqueeze", e.op("Softmax", x, axis=1),
                                       np.array([1])), perm=[0, 2, 1]), np.array([2])),
        "mul_one": lambda e, x: e.op("Div", e.op("Mul", e.op("Softmax", x, axis=1), np.float32(1)), np.float32(1)),
        "add_zero": lambda e, x: e.op("Sub", e.op("Add", np.zeros(10, np.float32), e.op("Softmax", x, axis=1)), np.float32(0)),
        "relu": lambda e, x: e.op("Abs", e.op("Relu", e.op("Softmax", x, axis=1))),
        "temperature": lambda e, x: e.op("Softmax", e.op("Div", x, np.float32(2.5)), axis=1),
        "slice": lambda e, x: e.op("Slice", e.op("Softmax", x, axis=1), np.array([0]), np.array([10]), np.array([1])),
        "split": lambda e, x: e.op("Concat", e.op("Slice", e.op("Softmax", x, axis=1), np.array([5]), np.array([10]),
                                   np.array([1])), e.op("Slice", "v0", np.array([0]), np.array([5]), np.array([1])), axis=1),
        "spatial": lambda e, x: e.op("GlobalAveragePool", e.op("Softmax", e.op("Expand", e.op("Reshape", x, SHAPES),
                                     np.array([1, 10, 2, 3])), axis=1)),
        "two_heads": lambda e, x: e.op("Mul", e.op("Add", e.op("Softmax", x, axis=1), e.op("Softmax", e.op(
            "Mul", x, np.float32(2)), axis=1)), np.float32(0.5)),
        "mean": lambda e, x: e.op("Mean", e.op("Softmax", x, axis=1), e.op("Softmax", e.op("Mul", x, np.float32(2)), axis=1)),
        "spelled": lambda e, x: e.op("Div", *e.exp_over_sum(x)),
        "spelled_plainly": lambda e, x: e.op("Div", *e.exp_over_sum(e.op("Mul", x, np.float32(0.1)), shift=False)),
        "reciprocal": lambda e, x: (lambda t: e.op("Mul", t[0], e.op("Reciprocal", t[1])))(e.exp_over_sum(x)),
        "epsilon": lambda e, x: (lambda t: e.op("Div", t[0], e.op("Add", t[1], np.float32(1e-9))))(e.exp_over_sum(x)),
        "exp_of_log": lambda e, x: e.op("Exp", e.op("LogSoftmax", x, axis=1)),
        "shares": lambda e, x: (lambda r: e.op("Div", r, e.op("ReduceSum", r, np.array([1]))))(e.op("Softplus", x)),
        "sigmoid_by_exp": lambda e, x: e.op("Div", np.float32(1), e.op("Add", np.float32(1), e.op("Exp", e.op("Neg", x)))),
        "sigmoid_by_tanh": lambda e, x: e.op("Add", e.op("Mul", e.op("Tanh", e.op("Mul", x, np.float32(0.5))),
                                             np.float32(0.5)), np.float32(0.5)),
    },
    "sigmoid": {
        "sigmoid": lambda e, x: e.op("Sigmoid", x),
        "sigmoid_qdq": lambda e, x: e.quantized(e.op("Sigmoid", x), 1 / 256, U8),
        "sigmoid_clip": lambda e, x: e.op("Reshape", e.op("Clip", e.op("Sigmoid", x), np.float32(0), np.float32(1)), SHAPES),
        "hard": lambda e, x: e.op("HardSigmoid", x),
    },
    "log-probabilities": {
        "log_softmax": lambda e, x: e.op("LogSoftmax", x, axis=1),
        "log_clip": lambda e, x: e.op("Clip", e.op("LogSoftmax", x, axis=1), np.float32(-100), np.float32(0)),
        "log_of": lambda e, x: e.op("Flatten", e.op("Log", e.op("Softmax", x, axis=1))),
    },
    "logits": {
        "logits": lambda e, x: e.op("Identity", x),
        "scaled": lambda e, x: e.op("Mul", x, np.float32(0.25)),
        "relu6": lambda e, x: e.op("Clip", x, np.float32(0), np.float32(6)),
        "gated": lambda e, x: e.op("Mul", x, e.op("Sigmoid", x)),  # swish
        "qdq_logits": lambda e, x: e.quantized(x, 0.25, I8),
    },
    "other": {
        "percent": lambda e, x: e.op("Mul", e.op("Softmax", x, axis=1), np.float32(100)),
        "centred": lambda e, x: e.op("Sub", e.op("Mul", e.op("Sigmoid", x), np.float32(2)), np.float32(1)),
    },
}


def shown_by(kind, y):
    return softmax(y) if kind in ("logits", "log-probabilities") else y


def test_what_is_shown_is_what_the_network_says():
    wrong = []
    for kind, ends in KINDS.items():
        for name, end in ends.items():
            got, y, top = look_at(end, name)
            want = shown_by(kind, y)
            key = "score" if kind == "other" else "probability"
            shown = [t.get(key, np.nan) for t in top]
            order = [t["class"] for t in top]
            if got != kind or not np.allclose(shown, want[order], rtol=1e-5, atol=1e-7) or shown != sorted(shown)[::-1]:
                wrong.append(f"{name}: {got}, not {kind}: {shown[:3]} {want[order][:3]}")
    assert not wrong, "\n".join(wrong)


def test_one_number_for_two_classes():
    for kind, end, yes in (("logits", one, lambda y: 1 / (1 + np.exp(-y))),
                           ("sigmoid", lambda e, x: e.op("Sigmoid", one(e, x)), lambda y: y),
                           ("sigmoid", lambda e, x: e.quantized(e.op("Sigmoid", one(e, x)), 1 / 255, U8), lambda y: y),
                           ("log-probabilities", lambda e, x: one(e, e.op("LogSoftmax", x, axis=1)), np.exp)):
        got, y, top = look_at(end, "one")
        p = {t["class"]: t["probability"] for t in top}
        assert got == kind and len(y) == 1 and abs(p[1] - yes(y[0])) < 1e-5 and abs(p[0] + p[1] - 1) < 1e-5, (got, y, p)


def test_softmax_over_what_has_one_element():
    got, y, top = look_at(lambda e, x: e.op("Reshape", e.op("Softmax", e.op("Reshape", x, SHAPES), axis=3),
                                            np.array([0, 10], np.int64)), "ones")
    assert got == "probabilities" and (y == 1).all() and all(t["probability"] == 1 for t in top), top


def test_percent_is_printed_for_probabilities_only():
    look_at(KINDS["other"]["percent"], "percent")
    out = ok(temp("percent"), SNEAKER)
    assert "%" not in out and len(out.splitlines()) == 6, out
    look_at(KINDS["probabilities"]["plain"], "plain")
    assert ok(temp("plain"), SNEAKER).count("%") == 5


def numbers_become(e, x, factor):
    """Logits times a number of the file's: NaN, infinity, or one that overflows."""
    return e.op("Mul", x, np.full(10, factor, np.float32))


def test_what_is_not_finite_is_said():
    for name, factor, tail in (("nan", np.nan, None), ("inf", np.inf, None), ("nan_softmax", np.nan, "Softmax"),
                               ("inf_softmax", np.inf, "Softmax"), ("nan_sigmoid", np.nan, "Sigmoid"),
                               ("nan_log", np.nan, "LogSoftmax")):
        def end(e, x):
            y = numbers_become(e, x, factor)
            return e.op(tail, y) if tail else y
        onnx.save(model_with(end), temp(name + ".onnx"))
        ok(HONE, "compile", temp(name + ".onnx"), "-o", temp(name), "-O0")
        code, out, err = run(temp(name), SNEAKER, SNEAKER)
        assert code == 1 and out == "" and err == (
            2 * f"{SNEAKER}: the model's output is not finite\n" + "2 of 2 images are bad\n"), (name, out, err)
        code, out, err = run(temp(name), "--json", SNEAKER)
        assert code == 1 and "not finite" in json.loads(out, parse_constant=None)["error"], out
        for args in (["bench", "--json", "--iters", "1"], ["info", "--json"]):
            json.loads(ok(temp(name), *args), parse_constant=lambda c: 1 / 0)


def test_verify_counts_what_is_not_finite():
    onnx.save(model_with(lambda e, x: e.op("Add", x, np.where(np.arange(10) < 4, np.nan, 0).astype(np.float32))), temp("some.onnx"))
    out = ok(HONE, "verify", temp("some.onnx"))
    assert ", 4 of 10 numbers are not finite: ok" in out, out


def test_a_masked_class_is_no_error():
    mask = np.where(np.arange(10) == 3, -np.inf, 0).astype(np.float32)
    for tail in (None, "Softmax", "LogSoftmax"):
        def end(e, x):
            y = e.op("Add", x, mask)
            return e.op(tail, y, axis=1) if tail else y
        _, y, top = look_at(end, "masked")
        p = {t["class"]: t["probability"] for t in top}
        assert p[3] == 0 and abs(sum(p.values()) - 1) < 1e-5, (tail, p)


if __name__ == "__main__":
    main(sys.modules[__name__])
