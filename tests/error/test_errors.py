"""Bad input: exit code 1, the exact line, nothing half-written; wrong usage: exit code 2."""
import os
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, SAMPLE, SNEAKER, TEMP, main, ok, run, temp

F = TensorProto.FLOAT


def write(name, data):
    open(temp(name), "wb").write(data)
    return name


def model(name, nodes, inputs, outputs, weights=(), opset=16):
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(w, n) for n, w in weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return write(name, made.SerializeToString())


def value(name, *dims):
    return helper.make_tensor_value_info(name, F, dims)


def refuses(line, *argv, code=1):
    """The command fails with just this line on stderr, and leaves no file behind."""
    before = sorted(os.listdir(TEMP))
    got, _, err = run(*argv)
    assert got == code, f"exit code {got}, not {code}: {err}"
    assert err.strip() == line, f"\n  got    {err.strip()}\n  wanted {line}"
    assert sorted(os.listdir(TEMP)) == before, set(os.listdir(TEMP)) - set(before)


def compile_refuses(line, name, *flags):
    refuses(line, HONE, "compile", name, "-o", "out", *flags)


def test_not_a_model():
    write("text.onnx", b"hello")
    write("empty.onnx", b"")
    write("short.onnx", open(SAMPLE, "rb").read()[:3000])
    compile_refuses("text.onnx: not an ONNX model: it is a text file", "text.onnx")
    compile_refuses("empty.onnx: not an ONNX model: the file is empty", "empty.onnx")
    compile_refuses("none.onnx: cannot open: No such file or directory", "none.onnx")
    compile_refuses(f"{TEMP}: cannot read: it is a directory", TEMP)
    refuses("none.onnx: cannot open: No such file or directory", HONE, "finetune", "none.onnx", "-o", "out", "--classes", "3")
    code, _, err = run(HONE, "compile", "short.onnx", "-o", "out")
    assert code == 1 and err.startswith("short.onnx: not an ONNX model: at byte ") and len(err.splitlines()) == 1, err
    assert "truncated" in err, err


def pour(path):
    """A thread that writes the sample into a named pipe, once."""
    def write_all():
        with open(path, "wb") as f:
            f.write(open(SAMPLE, "rb").read())
    thread = threading.Thread(target=write_all, daemon=True)
    thread.start()
    return thread


def test_a_model_through_a_pipe():
    os.mkfifo(temp("pipe.onnx"))
    writer = pour(temp("pipe.onnx"))
    ok(HONE, "compile", "pipe.onnx", "-o", "piped", timeout=60)
    writer.join()
    os.unlink(temp("piped"))
    refuses("pipe.onnx: cannot read: it is a pipe, and fine-tuning reads a model more than once", HONE, "finetune", "pipe.onnx",
            "-o", "out", "--classes", "3")
    os.unlink(temp("pipe.onnx"))


def test_every_truncation_of_a_small_model():
    data = open(temp(model("whole.onnx", [helper.make_node("Relu", ["x"], ["y"], name="r")], [value("x", 1, 4)],
                           [value("y", 1, 4)])), "rb").read()
    for n in range(len(data)):
        write("cut.onnx", data[:n])
        code, _, err = run(HONE, "compile", "cut.onnx", "-o", "out", "--emit", "ir")
        assert code in (0, 1) and (code == 0 or len(err.splitlines()) >= 1), (n, code, err)
        if code == 0:
            os.unlink(temp("out"))
    os.unlink(temp("cut.onnx"))


def test_unsupported_nodes_all_at_once():
    nodes = [helper.make_node("StringNormalizer", ["x"], ["a"], name="first"), helper.make_node("Relu", ["x"], ["b"]),
             helper.make_node("SequenceMap", ["x"], ["c"], name="second")]
    name = model("ops.onnx", nodes, [value("x", 2, 2)], [value("b", 2, 2)])
    code, _, err = run(HONE, "compile", name, "-o", "out")
    assert code == 1, err
    lines = err.strip().splitlines()
    assert len(lines) == 2 and "'first' (StringNormalizer" in lines[0] and "'second' (SequenceMap" in lines[1], err
    assert all("opset 16" in l for l in lines), err
    code, out, _ = run(HONE, "inspect", name)
    assert code == 1 and "first" in out and "second" in out


def test_bad_graphs():
    x, y = [value("x", 1, 4, 8, 8)], [value("y", 1, 4, 8, 8)]
    cases = [
        ([helper.make_node("Conv", ["x", "w"], ["y"], name="c")], [("w", np.zeros((4, 3, 3, 3), np.float32))]),
        ([helper.make_node("Conv", ["x", "w"], ["y"], name="c", strides=[0, 1])],
         [("w", np.zeros((4, 4, 3, 3), np.float32))]),
        ([helper.make_node("MaxPool", ["x"], ["y"], name="c", kernel_shape=[9, 9])], []),
        ([helper.make_node("Add", ["x", "w"], ["y"], name="c")], [("w", np.zeros((3, 8, 8), np.float32))]),
        ([helper.make_node("Relu", ["nowhere"], ["y"], name="c")], []),
        ([helper.make_node("Relu", ["z"], ["y"], name="c"), helper.make_node("Relu", ["y"], ["z"], name="d")], []),
        ([helper.make_node("Reshape", ["x", "w"], ["y"], name="c")], [("w", np.array([3, 7]))]),
    ]
    for nodes, weights in cases:
        code, _, err = run(HONE, "compile", model("bad.onnx", nodes, x, y, weights), "-o", "out")
        assert code == 1 and err.startswith("bad.onnx: ") and "'c'" in err, err
        assert not os.path.exists(temp("out"))


def test_external_data():
    m = onnx.load(SAMPLE)
    onnx.save_model(m, temp("ext.onnx"), save_as_external_data=True, location="ext.bin", size_threshold=0)
    ok(HONE, "compile", "ext.onnx", "-o", "fine")
    os.unlink(temp("fine"))
    os.unlink(temp("ext.bin"))
    code, _, err = run(HONE, "compile", "ext.onnx", "-o", "out")
    assert code == 1 and "ext.bin" in err and err.startswith("ext.onnx: "), err
    for location in ("../../etc/passwd", "/etc/passwd"):
        for w in m.graph.initializer:
            for e in w.external_data:
                if e.key == "location":
                    e.value = location
        m2 = onnx.load(temp("ext.onnx"), load_external_data=False)
        for w in m2.graph.initializer:
            for e in w.external_data:
                if e.key == "location":
                    e.value = location
        write("evil.onnx", m2.SerializeToString())
        code, _, err = run(HONE, "compile", "evil.onnx", "-o", "out")
        assert code == 1 and location in err, err


def test_outputs_that_cannot_be_written():
    refuses("/nonexistent/out: cannot be written: No such file or directory", HONE, "compile", SAMPLE, "-o",
            "/nonexistent/out")
    os.mkdir(temp("folder"))
    refuses("folder: cannot be written: Is a directory", HONE, "compile", SAMPLE, "-o", "folder")


def test_a_signal_leaves_nothing():
    big = model("big.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")], [value("x", 1, 6000)],
                [value("y", 1, 6000)], [("w", np.zeros((6000, 6000), np.float32))])
    os.makedirs(temp("tmp"), exist_ok=True)
    before = sorted(os.listdir(TEMP))
    killed = 0
    for i in range(16):
        process = subprocess.Popen([HONE, "compile", big, "-o", "out"], cwd=TEMP, env=dict(os.environ, TMPDIR=temp("tmp")),
                                   stderr=subprocess.DEVNULL)
        time.sleep(0.02 + 0.04 * i)
        process.terminate()
        code = process.wait()
        assert code in (0, -15), code
        killed += code == -15
        if os.path.exists(temp("out")):  # the signal came after its name did: it is whole
            ok(temp("out"), "info")
            os.unlink(temp("out"))
        else:
            assert code == -15
        assert sorted(os.listdir(TEMP)) == before, os.listdir(TEMP)
        assert not os.listdir(temp("tmp")), os.listdir(temp("tmp"))
    assert killed
    os.unlink(temp(big))


def test_flags():
    compile_refuses("hone: unknown CPU 'fast'; give --mcpu native, generic, x86-64-v3, x86-64-v4 or a name such as "
                    "znver4, haswell, skylake-avx512, neoverse-n1", SAMPLE, "--mcpu", "fast")
    compile_refuses(f"{SAMPLE}: --input-shape: the model has no input 'foo'", SAMPLE, "--input-shape", "foo=1x2")
    compile_refuses(f"{SAMPLE}: dimension 2 of input 'image' is 28, --input-shape gives it 10", SAMPLE,
                    "--input-shape", "image=Nx1x10x10")
    compile_refuses(f"{SAMPLE}: --mean takes 1 number separated by commas, not 3", SAMPLE, "--mean", "1,2,3")
    refuses("hone compile: unknown option '--fast'; see hone compile --help", HONE, "compile", "--fast", code=2)
    refuses("hone: unknown command 'build'; see hone --help", HONE, "build", code=2)
    refuses("hone compile: give one model and -o OUT; see hone compile --help", HONE, "compile", SAMPLE, code=2)


def binary():
    if not os.path.exists(temp("net")):
        ok(HONE, "compile", SAMPLE, "-o", "net")
    return temp("net")


def test_images():
    data = open(SNEAKER, "rb").read()
    write("cut.png", data[: len(data) // 2])
    write("junk.jpg", b"\xff\xd8\xff\xe0" + b"junk" * 100)
    write("text.png", b"hello")
    net = binary()
    for name in ("cut.png", "junk.jpg", "text.png", "missing.jpg"):
        code, _, err = run(net, name)
        assert code == 1 and err.startswith(name + ": ") and len(err.splitlines()) == 1, err
    code, out, err = run(net, "cut.png", SNEAKER)  # the good one is still classified
    assert code == 1 and "sneaker" in out and err.startswith("cut.png: "), (out, err)


def test_npy():
    net = binary()
    np.save(temp("double.npy"), np.zeros((1, 1, 28, 28)))
    np.save(temp("shape.npy"), np.zeros((1, 3, 28, 28), np.float32))
    np.save(temp("good.npy"), np.zeros((1, 1, 28, 28), np.float32))
    write("cut.npy", open(temp("good.npy"), "rb").read()[:500])
    write("text.npy", b"hello")
    for name in ("double.npy", "shape.npy", "cut.npy", "text.npy", "missing.npy"):
        before = sorted(os.listdir(TEMP))
        code, _, err = run(net, "run", "-i", "image=" + name, "-o", "logits=y.npy")
        assert code == 1 and err.startswith(name + ": ") and len(err.splitlines()) == 1, err
        assert sorted(os.listdir(TEMP)) == before
    code, _, err = run(net, "run", "-i", "image=good.npy", "-o", "logits=/nonexistent/y.npy")
    assert code == 1 and err.startswith("/nonexistent/y.npy: "), err
    code, _, err = run(net, "run", "-i", "nope=good.npy", "-o", "logits=y.npy")
    assert code in (1, 2) and "nope" in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
