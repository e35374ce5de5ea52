"""hone verify on stored test data: inputs that decide on shapes, and numbers of low precision."""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, main, ok, run, temp

F32, F16, U8, I64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64


def save_model(name, nodes, inputs, outputs, inits=(), opset=17):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, name, [value(*v) for v in inputs], [value(*v) for v in outputs],
                              [numpy_helper.from_array(a, n) for n, a in inits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    path = temp(name + ".onnx")
    onnx.save(model, path)
    return path


def save_set(name, index, inputs, outputs):
    folder = temp(f"{name}/test_data_set_{index}")
    os.makedirs(folder, exist_ok=True)
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for i, a in enumerate(arrays):
            with open(os.path.join(folder, f"{kind}_{i}.pb"), "wb") as f:
                f.write(numpy_helper.from_array(a).SerializeToString())
    return temp(name)


def test_shapes_are_bound_to_what_is_stored():
    path = save_model("bound", [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Reshape", ["r", "shape"], ["y"])],
                      [("shape", I64, [2]), ("x", F32, [3, 8])], [("y", F32, None)])
    x = np.arange(-12, 12, dtype=np.float32).reshape(3, 8)
    for i, shape in enumerate(((4, 6), (2, -1))):
        folder = save_set("bound", i, [np.array(shape, np.int64), x], [np.maximum(x, 0).reshape(shape)])
    text = ok(HONE, "verify", path, folder)
    assert text.count("input 'shape' is a constant here") == 2 and text.count("stored    y") == 2, text
    code, out, err = run(HONE, "verify", path)  # no data, no shape
    assert code == 1 and "Reshape" in err, out + err
    save_set("bound", 1, [np.array((2, 12), np.int64), x], [np.maximum(x, 1).reshape(2, 12)])
    code, out, _ = run(HONE, "verify", path, folder)
    assert code == 1 and out.count("FAILED") == 1, out


def test_inputs_that_stay_inputs_are_not_bound():
    path = save_model("free", [helper.make_node("Gather", ["x", "i"], ["y"])], [("x", F32, [5, 2]), ("i", I64, [3])],
                      [("y", F32, None)])
    x, i = np.arange(10, dtype=np.float32).reshape(5, 2), np.array([4, 0, 2], np.int64)
    text = ok(HONE, "verify", path, save_set("free", 0, [x, i], [x[i]]))
    assert "constant" not in text and "stored    y" in text, text


def test_missing_data_is_named():
    path = save_model("two", [helper.make_node("Add", ["a", "b"], ["y"])], [("a", F32, [2]), ("b", F32, [2])],
                      [("y", F32, [2])])
    code, _, err = run(HONE, "verify", path, save_set("two", 0, [np.ones(2, np.float32)], [np.ones(2, np.float32)]))
    assert code == 1 and "there is no input_1.pb, for 'b'" in err, err


def half_model(weight_type, output_type):
    rng = np.random.RandomState(1)
    w = rng.randn(40, 6).astype(weight_type)
    to = F32 if output_type == F32 else F16
    nodes = [helper.make_node("Cast", ["w"], ["wf"], to=F32), helper.make_node("MatMul", ["x", "wf"], ["m"]),
             helper.make_node("Cast", ["m"], ["y"], to=to)]
    path = save_model("half", nodes, [("x", F32, [3, 40])], [("y", output_type, None)], [("w", w)])
    x = rng.randn(3, 40).astype(np.float32)
    return path, x, (x @ w.astype(np.float32)).astype(np.float32 if output_type == F32 else np.float16)


def test_tolerance_of_half_precision():
    for weight_type, output_type in ((np.float16, F32), (np.float32, F16)):
        path, x, y = half_model(weight_type, output_type)
        near = (y.astype(np.float64) * 1.002).astype(y.dtype)
        text = ok(HONE, "verify", path, save_set("half", 0, [x], [near]))
        line = [l for l in text.splitlines() if l.startswith("stored")][0]
        assert line.endswith("4e-03 allowed for f16: ok"), text
        assert run(HONE, "verify", path, save_set("half", 0, [x], [(y * 1.02).astype(y.dtype)]))[0] == 1
        assert run(HONE, "verify", path, save_set("half", 0, [x], [near]), "--tolerance", "1e-4")[0] == 1
    path, x, y = half_model(np.float32, F32)
    assert run(HONE, "verify", path, save_set("half", 0, [x], [y * np.float32(1.002)]))[0] == 1


def test_tolerance_of_quantized_numbers():
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])]
    path = save_model("quantized", nodes, [("x", F32, [20])], [("y", U8, None)],
                      [("scale", np.float32(0.25)), ("zero", np.uint8(10))])
    x = np.arange(20, dtype=np.float32) / 4  # 10 to 29: one step is more than 2e-2 of it
    y = np.clip(np.round(x * 4) + 10, 0, 255).astype(np.uint8)
    text = ok(HONE, "verify", path, save_set("quantized", 0, [x], [y + np.uint8(1)]))
    assert "2e-02 allowed for int8: ok" in text, text
    assert run(HONE, "verify", path, save_set("quantized", 0, [x], [y + np.uint8(2)]))[0] == 1


def test_tolerance_of_16_bits():
    """What rounds to another integer in between may be more than one from the evaluator's at the end."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"])]
    path = save_model("wide", nodes, [("x", F32, [20])], [("y", F32, None)],
                      [("scale", np.float32(1e-3)), ("zero", np.uint16(1000))], opset=21)
    text = ok(HONE, "verify", path)
    assert "of a quantum of 0.001, 1e-03 allowed for int16: ok" in text, text


def halves_model(ends):
    """Integers doubled in height by (3a + b) / 4, quantized to the scale they came with: every fourth is a half between two. The
    model, x of whole quanta, and the outcome: halves go to the even integer. ends: with a QuantizeLinear, else a Relu behind it."""
    scale, zero = np.float32(0.03), np.uint8(100)
    node = helper.make_node
    q = [node("QuantizeLinear", ["x", "scale", "zero"], ["q"]), node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
         node("Resize", ["d", "", "sizes"], ["r"], mode="linear"), node("QuantizeLinear", ["r", "scale", "zero"], ["q2"])]
    q += [node("Identity", ["q2"], ["y"])] if ends else [node("DequantizeLinear", ["q2", "scale", "zero"], ["d2"]), node("Relu", ["d2"], ["y"])]
    path = save_model("halves", q, [("x", F32, [1, 1, 64, 40])], [("y", U8 if ends else F32, None)],
                      [("scale", scale), ("zero", zero), ("sizes", np.array([1, 1, 2, 1], np.float32))])
    k = np.random.RandomState(3).randint(-90, 90, (64, 40))
    above, below = np.vstack([k[:1], k[:-1]]), np.vstack([k[1:], k[-1:]])
    exact = np.stack([3 * k + above, 3 * k + below], 1).reshape(1, 1, 128, 40) / 4
    assert np.mean(exact % 1 == 0.5) > 0.2
    up = np.rint(exact)
    y = (up + zero).astype(np.uint8) if ends else np.maximum(np.float32(up) * scale, 0)
    return path, (k * scale).astype(np.float32).reshape(1, 1, 64, 40), y


def test_halves_between_quanta():
    """The evaluator decides them as integers do, to the last bit; one quantum beside is a fault wherever it is."""
    for ends in (True, False):
        path, x, y = halves_model(ends)
        text = ok(HONE, "verify", path, save_set("halves", 0, [x], [y]), "--tolerance", "1e-6")
        assert text.count(": ok") == 2, text
        ok(HONE, "verify", path, "--random", "3", "--tolerance", "1e-6")
        for at in ((0, 0, 3, 3), (0, 0, 90, 7)):
            wrong = y.copy()
            wrong[at] += 1 if ends else np.float32(0.03)
            code, out, _ = run(HONE, "verify", path, save_set("halves", 0, [x], [wrong]), "--tolerance", "1e-6")
            assert code == 1 and out.count("FAILED") == 1, out


def test_jumps_behind_a_dequantize():
    """50 * 0.01 is 0.5 in f32, as the operator has it, and less in f64: what decides by that is evaluated in f32."""
    node, scale = helper.make_node, np.float32(0.01)
    for name, nodes in (("floor", [node("Mul", ["d", "two"], ["t"]), node("Floor", ["t"], ["r"])]),
                        ("less", [node("GreaterOrEqual", ["d", "half"], ["b"]), node("Cast", ["b"], ["r"], to=1)]),
                        ("cast", [node("Mul", ["d", "two"], ["t"]), node("Cast", ["t"], ["i"], to=6), node("Cast", ["i"], ["r"], to=1)])):
        nodes = [node("QuantizeLinear", ["x", "scale", "zero"], ["q"]), node("DequantizeLinear", ["q", "scale", "zero"], ["d"]), *nodes,
                 node("QuantizeLinear", ["r", "scale", "zero"], ["q2"]), node("DequantizeLinear", ["q2", "scale", "zero"], ["y"])]
        path = save_model("jump_" + name, nodes, [("x", F32, [1, 1, 1, 8])], [("y", F32, None)],
                          [("scale", scale), ("zero", np.uint8(100)), ("two", np.float32(2)), ("half", np.float32(0.5))])
        x = np.float32([0.49, 0.5, 0.51, 1, -0.5, -1, 0, 0.25]).reshape(1, 1, 1, 8)
        want = {"floor": np.floor(2 * x), "less": np.float32(x >= 0.5), "cast": np.trunc(2 * x)}[name]
        ok(HONE, "verify", path, save_set("jump_" + name, 0, [x], [np.float32(np.clip(want, -1, 1.55))]), "--tolerance", "1e-6")


def test_jumps_leave_other_parts_exact():
    """A floor beside a resize by halves: what either decides by is evaluated as it is computed."""
    node = helper.make_node
    nodes = [node("QuantizeLinear", ["x", "one", "zero"], ["q"]), node("DequantizeLinear", ["q", "one", "zero"], ["d"]),
             node("Resize", ["d", "", "", "sizes"], ["u"], mode="linear"), node("QuantizeLinear", ["u", "one", "zero"], ["q1"]),
             node("DequantizeLinear", ["q1", "one", "zero"], ["y"]),
             node("DequantizeLinear", ["q", "scale", "zero"], ["e"]), node("Mul", ["e", "two"], ["t"]), node("Floor", ["t"], ["z"])]
    s = np.float32(0.01)
    for one in (np.float32(1), np.float32(0.03)):
        path = save_model("parts", nodes, [("x", F32, [1, 3, 64, 64])], [("y", F32, None), ("z", F32, None)],
                          [("one", one), ("scale", s), ("zero", np.uint8(0)), ("two", np.float32(2)), ("sizes", np.int64([1, 3, 128, 128]))])
        x = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
        z = np.floor(x * s * np.float32(2))
        text = ok(HONE, "verify", path, "--random", "3", "--tolerance", "1e-6")
        assert text.count(": ok") >= 6, text
        wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        half = np.stack([0.25 * wide[:, :, :-2] + 0.75 * wide[:, :, 1:-1], 0.75 * wide[:, :, 1:-1] + 0.25 * wide[:, :, 2:]], 3).reshape(1, 3, 128, 66)
        full = np.stack([0.25 * half[..., :-2] + 0.75 * half[..., 1:-1], 0.75 * half[..., 1:-1] + 0.25 * half[..., 2:]], 4).reshape(1, 3, 128, 128)
        text = ok(HONE, "verify", path, save_set("parts", 0, [x * one], [np.rint(full).astype(np.float32) * one, z]), "--tolerance", "1e-6")
        assert text.count("stored    ") == 2, text


def test_integers_of_pictures_take_their_whole_range():
    """Not those that become indices, which are outside of the axis then, nor wider ones."""
    node, table = helper.make_node, np.arange(300, dtype=np.float32)
    mean = [node("Cast", ["x"], ["f"], to=1), node("Abs", ["f"], ["a"]), node("ReduceMean", ["a"], ["m"], axes=[1, 2, 3])]
    for name, dtype, nodes, least, most in (
            ("bytes", U8, [node("Cast", ["x"], ["y"], to=1)], 255, 255),
            ("mean", U8, [*mean[:2], node("ReduceMean", ["a"], ["y"], axes=[1, 2, 3])], 100, 150),
            ("signed", TensorProto.INT8, [node("Cast", ["x"], ["y"], to=1)], 127, 128),
            ("words", TensorProto.INT16, [*mean[:2], node("ReduceMean", ["a"], ["y"], axes=[1, 2, 3])], 14000, 18000),
            ("quantized", U8, [node("DequantizeLinear", ["x", "s", "z"], ["y"])], 246, 246),
            ("index", U8, [node("Cast", ["x"], ["i"], to=7), node("Gather", ["table", "i"], ["y"])], 1, 5),
            ("moved", U8, [node("Flatten", ["x"], ["t"]), node("Cast", ["t"], ["i"], to=6), node("Add", ["i", "one"], ["k"]),
                           node("Gather", ["table", "k"], ["y"])], 1, 6),
            ("data", U8, [node("Gather", ["x", "i0"], ["g"], axis=1), node("Cast", ["g"], ["y"], to=1)], 255, 255),
            ("wide", TensorProto.INT32, [node("Cast", ["x"], ["y"], to=1)], 1, 5)):
        path = save_model("range_" + name, nodes, [("x", dtype, [1, 2, 64, 64])], [("y", F32, None)],
                          [("table", table), ("one", np.int32(1)), ("i0", np.int64([0])), ("s", np.float32(1)), ("z", np.uint8(9))])
        out = ok(HONE, "verify", path)
        found = float(out.split("largest magnitude ")[1].split(",")[0])
        assert least <= found <= most, (name, out)


if __name__ == "__main__":
    main(sys.modules[__name__])
