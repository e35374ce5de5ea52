"""Embeddings: hone compile --output of nodes and tensors, alone, several and unknown; what nothing needs is left out, a second input and what
cannot be compiled among it; the subcommand features: rows of images and folders beside their names, against numpy.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, TEMP, main, ok, run, temp

SIZE, WIDTH, CLASSES = 8, 5, 3
rng = np.random.default_rng(3)
WEIGHT = {"w": (WIDTH, 3, 1, 1), "b": (WIDTH,), "fc.w": (CLASSES, WIDTH), "fc.b": (CLASSES,)}
WEIGHT = {name: rng.standard_normal(shape).astype("f4") for name, shape in WEIGHT.items()}
PLAIN = ["--resize", SIZE, "--mean", 0, "--std", 1]


def model(name, batch="N", last=()):
    """Image to embedding to classes, which the nodes `last` and the input `text` make the output of."""
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["maps"], name="/body/Conv"),
             helper.make_node("GlobalAveragePool", ["maps"], ["pooled"], name="/pool/GlobalAveragePool"),
             helper.make_node("Flatten", ["pooled"], ["row"], name="/body/Flatten"),
             helper.make_node("Gemm", ["row", "fc.w", "fc.b"], ["scores"], name="/fc/Gemm", transB=1),
             helper.make_node("Shape", ["x"], ["shape"], name="/shape")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])]
    if last:
        inputs.append(helper.make_tensor_value_info("text", TensorProto.FLOAT, [batch, CLASSES]))
    graph = helper.make_graph(nodes + list(last), name, inputs,
                              [helper.make_tensor_value_info("y" if last else "scores", TensorProto.FLOAT, [batch, CLASSES])],
                              [numpy_helper.from_array(a, n) for n, a in WEIGHT.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), temp(f"{name}.onnx"))
    return f"{name}.onnx"


def pictures(folder, names):
    for name in names:
        os.makedirs(os.path.dirname(temp(f"{folder}/{name}")), exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3)).astype("u1")).save(temp(f"{folder}/{name}"), "PNG")


def embedding(path):
    x = np.asarray(Image.open(temp(path)), np.float64) / 255
    return x.mean((0, 1)) @ WEIGHT["w"][:, :, 0, 0].T.astype(np.float64) + WEIGHT["b"]


def close(got, want):
    assert got.shape == want.shape and got.dtype == np.float32, (got.shape, got.dtype)
    assert np.abs(got - want).max() < 1e-5, (got, want)


def lines(name):
    with open(temp(name)) as f:
        return f.read().splitlines()


def test_nodes_and_tensors():
    m = model("plain")
    pictures("photos", ["b.png", "a.png", "below/c.PNG"])
    files = ["photos/a.png", "photos/b.png", "photos/below/c.PNG"]
    want = np.stack([embedding(f) for f in files])
    for i, (name, shape) in enumerate((("/body/Flatten", (3, WIDTH)), ("body/Flatten", (3, WIDTH)), ("row", (3, WIDTH)),
                                       ("/pool/GlobalAveragePool", (3, WIDTH, 1, 1)))):
        said = run(HONE, "compile", m, "-o", "p", "--output", name, *PLAIN)
        assert said[0] == 0 and "what comes out: " in said[2] and "classes" not in said[2], said
        ok("./p", "features", "photos", "-o", f"f{i}.npy", "--batch", 2)
        close(np.load(temp(f"f{i}.npy")), want.reshape(shape))
        assert lines(f"f{i}.txt") == files
    code, _, err = run("./p", "photos/a.png")
    assert code == 1 and "not scores of classes; use the subcommand features or run" in err, err


def test_several_beside_the_classes():
    m = model("plain")
    pictures("two", ["a.png", "b.png"])
    said = run(HONE, "compile", m, "-o", "p", "--output", "row", "--output", "scores", "--output", "/body/Conv", *PLAIN)
    assert said[0] == 0 and "classes: by output 'scores'" in said[2], said
    ok("./p", "features", "two/b.png", "two/a.png", "-o", "scores=s.npy", "-o", "row=r.npy")
    rows = np.stack([embedding("two/b.png"), embedding("two/a.png")])
    close(np.load(temp("r.npy")), rows)
    close(np.load(temp("s.npy")), rows @ WEIGHT["fc.w"].T + WEIGHT["fc.b"])
    assert lines("r.txt") == ["two/b.png", "two/a.png"] and not os.path.exists(temp("s.txt"))
    best = np.argmax(rows[0] @ WEIGHT["fc.w"].T + WEIGHT["fc.b"])
    assert ok("./p", "--top", 1, "two/b.png").split()[-1] == str(best)
    assert "which of the model's 3 outputs" in run("./p", "features", "two", "-o", "f.npy")[2]
    assert not os.path.exists(temp("f.npy"))


def test_an_output_of_the_model_leaves_all():
    m = model("plain")
    ok(HONE, "compile", m, "-o", "all", "--emit", "ir", *PLAIN)
    ok(HONE, "compile", m, "-o", "one", "--emit", "ir", "--output", "scores", *PLAIN)
    assert open(temp("all")).read() == open(temp("one")).read()


def test_what_nothing_needs_is_left_out():
    last = [helper.make_node("NoSuchOperator", ["scores"], ["odd"], name="/odd"),
            helper.make_node("Mul", ["odd", "text"], ["y"], name="/last")]
    m = model("behind", last=last)
    pictures("single", ["a.png"])
    code, _, err = run(HONE, "compile", m, "-o", "q", *PLAIN)
    assert code == 1 and "NoSuchOperator" in err and not os.path.exists(temp("q")), err
    ok(HONE, "compile", m, "-o", "q", "--output", "/body/Flatten", *PLAIN)
    ok("./q", "features", "single", "-o", "e.npy")
    close(np.load(temp("e.npy")), embedding("single/a.png")[None])
    table = ok(HONE, "inspect", m, "--output", "/body/Flatten")
    assert "/fc/Gemm" not in table and "/body/Conv" in table and "text" not in table, table


def test_unknown_names():
    m = model("plain")
    for command in (["compile", m, "-o", "u"], ["inspect", m]):
        code, out, err = run(HONE, *command, "--output", "/body/Flaten", "--output", "nothing")
        assert code == 1 and not out and not os.path.exists(temp("u")), (code, out, err)
        assert err.splitlines()[0].startswith(
            "plain.onnx: --output: no output, node or tensor is called '/body/Flaten'; near: '/body/Flatten', "), err
        assert "'nothing'; near: " in err.splitlines()[1], err
    code, _, err = run(HONE, "compile", m, "-o", "u", "--output", "row", "--labels", m)
    assert code == 1 and "--labels: nothing that --output chooses classifies" in err, err


def test_images_that_are_none():
    m = model("plain")
    ok(HONE, "compile", m, "-o", "p", "--output", "row", *PLAIN)
    pictures("mixed", ["a.png", "c.png", ".hidden/d.png"])
    for name in ("b.jpg", "notes.md"):
        with open(temp(f"mixed/{name}"), "w") as f:
            f.write("no image")
    code, _, err = run("./p", "features", "mixed", "-o", "m.npy")
    assert code == 1 and err == "mixed/b.jpg: not a JPEG, PNG or WebP file\n1 of 3 images are bad\n", (code, err)
    close(np.load(temp("m.npy")), np.stack([embedding("mixed/a.png"), embedding("mixed/c.png")]))
    assert lines("m.txt") == ["mixed/a.png", "mixed/c.png"]
    os.makedirs(temp("empty"), exist_ok=True)
    for argv, said in ((["empty", "-o", "x.npy"], "empty: there are no .jpg, .jpeg, .png or .webp files"),
                       (["mixed/a.png", "-o", "mixed/a.png"], "it is an input"),
                       (["mixed/a.png", "-o", "no/x.npy"], "no/x.npy"), (["mixed/a.png", "-o", "y=x.npy"], "no output 'y'"),
                       (["absent.png", "-o", "x.npy"], "absent.png: No such file")):
        code, _, err = run("./p", "features", *argv)
        assert code == 1 and said in err, (argv, err)
    assert run("./p", "features", "-o", "x.npy")[0] == 2 and run("./p", "features", "mixed")[0] == 2
    assert not os.path.exists(temp("x.npy")) and not os.path.exists(temp("x.txt"))


def test_a_fixed_batch_and_what_is_no_row():
    m = model("fixed", batch=2)
    pictures("three", ["a.png", "b.png", "c.png"])
    ok(HONE, "compile", m, "-o", "p", "--output", "row", "--output", "shape", *PLAIN)
    ok("./p", "features", "three", "-o", "row=t.npy")
    close(np.load(temp("t.npy")), np.stack([embedding(f"three/{n}.png") for n in "abc"]))
    code, _, err = run("./p", "features", "three", "-o", "shape=n.npy")
    assert code == 1 and "output 'shape' is i64[4], not a row for each image; use the subcommand run" in err, err
    assert not os.path.exists(temp("n.npy"))


def test_rows_of_no_known_length():
    """What a NonMaxSuppression keeps of an image."""
    nodes = [helper.make_node("Reshape", ["x", "boxes_of"], ["boxes"]), helper.make_node("ReduceMean", ["boxes"], ["means"], axes=[2], keepdims=0),
             helper.make_node("Reshape", ["means", "scores_of"], ["scores"]),
             helper.make_node("NonMaxSuppression", ["boxes", "scores", "most"], ["kept"]),
             helper.make_node("Unsqueeze", ["kept", "zero"], ["y"])]
    ints = {"boxes_of": [1, 48, 4], "scores_of": [1, 1, 48], "most": [9], "zero": [0]}
    graph = helper.make_graph(nodes, "boxes", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
                              [helper.make_tensor_value_info("y", TensorProto.INT64, [1, None, 3])],
                              [numpy_helper.from_array(np.array(v), n) for n, v in ints.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), temp("boxes.onnx"))
    pictures("boxed", ["a.png"])
    ok(HONE, "compile", "boxes.onnx", "-o", "p", *PLAIN)
    code, _, err = run("./p", "features", "boxed", "-o", "k.npy")
    assert code == 1 and "output 'y' is as long as what is in the image says" in err and not os.path.exists(temp("k.npy")), err


if __name__ == "__main__":
    main(sys.modules[__name__])
