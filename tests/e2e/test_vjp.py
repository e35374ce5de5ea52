"""hone compile --emit-gradient: vector-Jacobian products against formulas, differences and the evaluator; from a program, from C and
from Python; what has none, by name."""
import functools
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, SAMPLE, TEMP, here_only, main, ok, run, temp
from test_python import install, python

rng = np.random.default_rng(11)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def save(name, nodes, inputs, outputs, constants=()):
    """nodes: (op, inputs, outputs, attributes); inputs: (name, shape) or (name, shape, type); outputs: names, or (name, type)."""
    made = [helper.make_node(op, i.split(), o.split(), name="n_" + o.split()[0], **a) for op, i, o, a in nodes]
    ins = [helper.make_tensor_value_info(x[0], x[2] if len(x) > 2 else FLOAT, x[1]) for x in inputs]
    outs = [helper.make_tensor_value_info(*((y, FLOAT) if isinstance(y, str) else y), None) for y in outputs]
    held = [numpy_helper.from_array(a, n) for n, a in dict(constants).items()]
    onnx.save(helper.make_model(helper.make_graph(made, name, ins, outs, held), opset_imports=[helper.make_opsetid("", 17)],
                                ir_version=8), temp(name + ".onnx"))
    return temp(name + ".onnx")


def arrays(*shapes):
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


@functools.cache
def compiled(model, name, *options):
    ok(HONE, "compile", model, "-o", temp(name), *options)
    return temp(name)


def call(program, feed, *outputs):
    """What a program makes of arrays."""
    flags = []
    for k, (name, a) in enumerate(feed.items()):
        np.save(temp(f"in{k}.npy"), a)
        flags += ["-i", f"{name}={temp(f'in{k}.npy')}"]
    for k, name in enumerate(outputs):
        flags += ["-o", f"{name}={temp(f'out{k}.npy')}"]
    ok(program, "run", *flags)
    return [np.load(temp(f"out{k}.npy")) for k in range(len(outputs))]


def near(got, want, share=2e-6):
    assert got.shape == want.shape and np.abs(got - want).max() <= share * np.abs(want).max(), np.abs(got - want).max()


# Two outputs of floats, one of integers, one that no gradient reaches, two inputs: all by formulas.
W, = arrays((5, 4))
FORMULA = functools.cache(lambda: save("formula", [
    ("MatMul", "x w", "y", {}), ("Mul", "y y", "y2", {}), ("Add", "y2 b", "z", {}), ("ArgMax", "z", "best", {"axis": 1}),
    ("Relu", "c", "other", {}), ("Exp", "b", "unread", {})],
    [("x", ("N", 5)), ("b", ("N", 4)), ("c", ("N", 2))], ["y", "z", ("best", INT64), "other"], {"w": W}))


def formula_feed(n=3):
    x, b, c, gy, gz, go = arrays((n, 5), (n, 4), (n, 2), (n, 4), (n, 4), (n, 2))
    feed = {"x": x, "b": b, "c": c, "grad:y": gy, "grad:z": gz, "grad:other": go}
    y = x.astype(float) @ W
    return feed, y, (gy + 2 * y * gz) @ W.T, gz


def test_products_by_formulas():
    for level in ("-O0", "-O2"):
        program = compiled(FORMULA(), "formula" + level, "--emit-gradient", "x", "--emit-gradient", "b", level)
        feed, y, dx, db = formula_feed()
        got = call(program, feed, "y", "z", "best", "grad:x", "grad:b")
        near(got[0], y), near(got[1], y * y + feed["b"]), near(got[3], dx), near(got[4], db)
        assert np.array_equal(got[2].ravel(), (y * y + feed["b"]).argmax(1))


def test_what_comes_in_and_out():
    lines = ok(compiled(FORMULA(), "formula-O2", "--emit-gradient", "x", "--emit-gradient", "b", "-O2"), "info").splitlines()
    listed = [line.split()[:2] for line in lines if line.startswith(("input ", "output "))]
    assert listed == [["input", n] for n in ("x", "b", "c", "grad:y", "grad:z", "grad:other")] + \
        [["output", n] for n in ("y", "z", "best", "other", "grad:x", "grad:b")], listed


def test_an_output_that_is_an_input():
    model = save("same", [("Identity", "x", "y", {})], [("x", ("N", 3))], ["y"])
    x, c = arrays((2, 3), (2, 3))
    y, g = call(compiled(model, "same", "--emit-gradient", "x"), {"x": x, "grad:y": c}, "y", "grad:x")
    assert np.array_equal(y, x) and np.array_equal(g, c)


def test_differences():
    x, c = arrays((5, 1, 28, 28), (5, 10))
    program = compiled(SAMPLE, "sample", "--emit-gradient", "image")
    at = lambda x: call(program, {"image": x, "grad:logits": c}, "logits", "grad:image")
    g = at(x)[1].astype(float)
    d = g / np.sqrt((g * g).sum((1, 2, 3), keepdims=True))
    best = np.full(5, np.inf)
    for h in (0.02, 0.005, 0.001):  # activations have kinks
        up, down = (at((x + s * h * d).astype(np.float32))[0].astype(float) for s in (1, -1))
        best = np.minimum(best, np.abs(((up - down) * c).sum(1) / (2 * h) / (g * d).sum((1, 2, 3)) - 1))
    assert best.max() < 0.01, best
    again = call(program, {"image": x, "grad:logits": 2 * c}, "grad:image")[0]
    near(again, 2 * g)
    one = call(program, {"image": x[2:3], "grad:logits": c[2:3]}, "grad:image")[0]
    assert np.array_equal(one[0], g[2].astype(np.float32)), "an image's gradient is that which it has alone"


@functools.cache
def conv_net(height=17, width=20):
    k1, k2, k3 = arrays((8, 3, 3, 3), (8, 1, 3, 3), (16, 8, 1, 1))
    s, t, m = arrays(8, 8, 8)
    v = np.abs(arrays(8)[0]) + 0.5
    return save(f"convs_{height}", [
        ("Conv", "x k1", "a", {"pads": [1, 1, 1, 1], "strides": [2, 2]}), ("BatchNormalization", "a s t m v", "bn", {}),
        ("HardSwish", "bn", "h", {}), ("Conv", "h k2", "d", {"group": 8, "pads": [1, 1, 1, 1]}), ("Add", "d h", "r", {}),
        ("MaxPool", "r", "p", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Conv", "p k3", "e", {}), ("Sigmoid", "e", "g", {}), ("GlobalAveragePool", "g", "q", {}), ("Flatten", "q", "y", {})],
        [("x", ("N", 3, height, width))], ["y"], {"k1": k1, "k2": k2, "k3": k3, "s": s, "t": t, "m": m, "v": v})


@functools.cache
def attention_net():
    w, g, b = arrays((6, 18), 6, 6)
    return save("attention", [
        ("LayerNormalization", "x g b", "n", {"axis": -1}), ("MatMul", "n w", "qkv", {}), ("Split", "qkv", "q k v", {"axis": 2}),
        ("Transpose", "k", "kt", {"perm": [0, 2, 1]}), ("MatMul", "q kt", "s", {}), ("Softmax", "s", "p", {"axis": -1}),
        ("MatMul", "p v", "o", {}), ("Add", "o x", "z", {}), ("Erf", "z", "y", {}), ("ReduceMean", "z", "u", {"axes": [1]})],
        [("x", ("N", 7, 6))], ["y", "u"], {"w": w, "g": g, "b": b})


@functools.cache
def sampling_net():
    return save("sampling", [
        ("GridSample", "x grid", "s", {"align_corners": 1}), ("Concat", "s x", "c", {"axis": 1}), ("Tanh", "c", "y", {})],
        [("x", ("N", 2, 6, 6)), ("grid", ("N", 6, 6, 2))], ["y"])


def test_beside_the_evaluator():
    for model, inputs in ((FORMULA(), "x b"), (conv_net(), "x"), (attention_net(), "x"), (sampling_net(), "x grid"), (SAMPLE, "image")):
        out = ok(HONE, "verify", model, "--batch", "2", *(w for i in inputs.split() for w in ("--emit-gradient", i)))
        for i in inputs.split():
            assert any(f"grad:{i}," in line and line.endswith(": ok") for line in out.splitlines()), out


def test_sizes_and_cut_networks():
    program = compiled(conv_net("H", "W"), "sizes", "--emit-gradient", "x", "--output", "r", "--input-shape", "x=Nx3x17x20", "--input-shape",
                       "x=Nx3x9x8")
    whole = compiled(conv_net("H", "W"), "whole", "--emit-gradient", "x", "--output", "r", "--output", "y", "--input-shape",
                     "x=Nx3x17x20")
    x, gr = arrays((2, 3, 17, 20), (2, 8, 9, 10))
    part = call(program, {"x": x, "grad:r": gr}, "grad:x")[0]
    near(part, call(whole, {"x": x, "grad:r": gr, "grad:y": np.zeros((2, 16), np.float32)}, "grad:x")[0], 1e-5)
    x, gr = arrays((1, 3, 9, 8), (1, 8, 5, 4))
    assert call(program, {"x": x, "grad:r": gr}, "grad:x")[0].shape == x.shape


def test_in_bf16():
    x, c = arrays((5, 1, 28, 28), (5, 10))
    g, h = (call(compiled(SAMPLE, name, "--emit-gradient", "image", "--precision", p), {"image": x, "grad:logits": c}, "grad:image")[0]
            for name, p in (("as_f32", "f32"), ("as_bf16", "bf16")))
    assert 0 < np.abs(g - h).mean() < 0.1 * np.abs(g).mean(), (np.abs(g - h).mean(), np.abs(g).mean())


HOST = r"""
#include <stdio.h>
#include "lib.h"
int main(void) {
    float x[2 * 5], b[2 * 4], c[2 * 2] = {0}, gy[2 * 4], gz[2 * 4] = {0}, go[2 * 2] = {0};
    float y[2 * 4], z[2 * 4], other[2 * 2], dx[2 * 5], db[2 * 4];
    int64_t best[2];
    for (int i = 0; i < 10; i++) x[i] = (float)i / 4;
    for (int i = 0; i < 8; i++) b[i] = 0, gy[i] = (float)(i + 1);
    char err[256];
    HoneModel *m = hone_lib_create(NULL, err, sizeof err);
    const void *in[] = {x, b, c, gy, gz, go};
    void *out[] = {y, z, best, other, dx, db};
    if (!m || hone_lib_n_inputs(m) != 6 || hone_lib_n_outputs(m) != 6 || hone_lib_run(m, 2, in, out) != 0)
        return 1;
    printf("%s", hone_lib_output_info(m, 4).name);
    for (int i = 0; i < 10; i++) printf(" %.9g", dx[i]);
    hone_lib_destroy(m);
    return 0;
}
"""


def test_from_c():
    for kind, name in (("static", "lib.a"), ("shared", "lib.so")):
        library = compiled(FORMULA(), name, "--emit", kind, "--name", "lib", "--emit-gradient", "x", "--emit-gradient", "b")
        header = open(temp("lib.h")).read()
        assert "//   input  3  grad:y  f32[N,4]\n" in header and "//   output 4  grad:x  f32[N,5]\n" in header, header
        open(temp("host.c"), "w").write(HOST)
        ok("cc", "-Wall", "-Werror", "-I", TEMP, "-o", temp("host"), temp("host.c"), library, "-lgomp", "-lm")
        said, *numbers = ok(temp("host"), env={"LD_LIBRARY_PATH": TEMP}).split()
        assert said == "grad:x"
        near(np.array(numbers, float).reshape(2, 5), (np.arange(8).reshape(2, 4) + 1) @ W.T.astype(float))


@here_only("Python loads the library")
def test_from_python():
    feed, y, dx, db = formula_feed()
    np.savez(temp("feed.npz"), **{k.replace(":", "_"): v for k, v in feed.items()})
    python(install(FORMULA(), "formula", "--emit-gradient", "x", "--emit-gradient", "b"), """
        import sys
        import formula, numpy
        feed = {k.replace("_", ":"): v for k, v in numpy.load(sys.argv[1]).items()}
        numpy.savez(sys.argv[2], **dict(zip(("dx", "db"), formula.Session().run(["grad:x", "grad:b"], feed))))
        """, temp("feed.npz"), temp("got.npz"))
    got = np.load(temp("got.npz"))
    near(got["dx"], dx), near(got["db"], db)


def test_errors():
    det = save("det", [("Relu", "x", "r", {}), ("Det", "r", "y", {})], [("x", ("N", 7, 7))], ["y"])
    steps = save("steps", [("QuantizeLinear", "x s z", "q", {}), ("DequantizeLinear", "q s z", "d", {}), ("Relu", "d", "y", {})],
                 [("x", ("N", 3))], ["y"], {"s": np.float32(0.1), "z": np.uint8(3)})
    most = save("most", [("ArgMax", "x", "i", {"axis": 1}), ("Cast", "i", "y", {"to": FLOAT}), ("Relu", "a", "b", {})],
                [("x", ("N", 3)), ("a", ("N", 3))], ["y", "b"])
    whole = save("whole_numbers", [("Cast", "x", "y", {"to": FLOAT})], [("x", ("N", 3), INT64)], ["y"])
    taken = save("taken", [("Relu", "x", "y", {}), ("Add", "y grad:y", "z", {})], [("x", ("N", 3)), ("grad:y", ("N", 3))], ["y", "z"])
    for model, inputs, line in (
            (det, ["x"], "node 'n_y' (Det): NYI: gradient of det of more than 6 rows"),
            (steps, ["x"], "node 'n_q' (QuantizeLinear): NYI: --emit-gradient: gradient of quantize, whose steps have none but zero"),
            (most, ["x"], "--emit-gradient: no output of floats depends smoothly on input 'x'"),
            (whole, ["x"], "--emit-gradient: input 'x' is of i64, and gradients are by floats"),
            (taken, ["x"], "--emit-gradient: a gradient would be called 'grad:y', as something in the network is"),
            (FORMULA(), ["y"], "--emit-gradient: the network has no input 'y'; it has 'x', 'b', 'c'"),
            (FORMULA(), ["x", "x"], "--emit-gradient: 'x' is given twice")):
        for command in (["compile", model, "-o", temp("no")], ["verify", model]):
            code, _, err = run(HONE, *command, *(w for i in inputs for w in ("--emit-gradient", i)))
            assert code == 1 and err == f"{model}: {line}\n" and not os.path.exists(temp("no")), (command, err)
    code, _, err = run(HONE, "compile", steps, "-o", temp("no"), "--emit-input-grad")
    assert code == 1 and "NYI: --emit-input-grad: gradient of quantize" in err, err
    for command in ("compile", "inspect"):
        code, _, err = run(HONE, command, SAMPLE, *(["-o", temp("no")] if command == "compile" else []), "--emit-gradient", "image",
                           "--emit-input-grad")
        assert code == 2 and err == f"hone {command}: --emit-gradient and --emit-input-grad are one or the other\n", err
    code, _, err = run(HONE, "verify", SAMPLE, TEMP, "--emit-gradient", "image")
    assert code == 2 and err == "hone verify: --emit-gradient is compared in f32 and on random inputs alone\n", err


if __name__ == "__main__":
    main(sys.modules[__name__])
