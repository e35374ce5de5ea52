"""Programs of several units over one set of constants: for several CPUs (--mcpu with a list), picked at start, and for several
sizes of the input (--input-shape again, or with ranges), picked by shape.

What each unit gives is what the program compiled for that CPU and that size alone gives, bit for bit.
"""
import json
import os
import shutil
import sys

import numpy as np
from PIL import Image
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, main, ok, run, temp

LEVELS = ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
ALL = "x86-64-v4, x86-64-v3, x86-64-v2"  # the best first
rng = np.random.default_rng(7)


def network(path, height=24, width=24, last=None):
    """Convolutions for which Winograd's algorithm pays, then a global mean and a classifier, or what `last` makes of them."""
    widths = [3, 64, 192, 192]
    weights, nodes, x = [], [], "x"
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        w = rng.normal(0, (2 / (9 * a)) ** 0.5, (b, a, 3, 3)).astype(np.float32)
        weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(np.full(b, 0.01, np.float32), f"b{i}")]
        nodes += [helper.make_node("Conv", [x, f"w{i}", f"b{i}"], [f"c{i}"], name=f"conv{i}", pads=[1, 1, 1, 1],
                                   strides=[1 + (i == 1)] * 2),
                  helper.make_node("Relu", [f"c{i}"], [f"r{i}"], name=f"relu{i}")]
        x = f"r{i}"
    head = rng.normal(0, 0.1, (192, 10)).astype(np.float32)
    nodes += last or [helper.make_node("GlobalAveragePool", [x], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
                      helper.make_node("Gemm", ["f", "head"], ["y"], name="classifier")]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, height, width])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              weights + [numpy_helper.from_array(head, "head")])
    with open(path, "wb") as f:
        f.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def compile(out, *options):
    code, text, err = run(HONE, "compile", "net.onnx", "-o", out, *options)
    assert code == 0, err
    return err


def info(program, cap=""):
    return json.loads(ok(f"./{program}", "info", "--json", env={"HONE_CPU": cap}))


def outputs(program, x, cap="", threads=2):
    np.save(temp("x.npy"), x)
    ok(f"./{program}", "run", "-i", "x=x.npy", "-o", "y=y.npy", "--threads", threads, env={"HONE_CPU": cap})
    return np.load(temp("y.npy"))


def runnable():
    """The levels that this CPU has."""
    return [u["cpu"] for u in reversed(info("fat")["units"]) if not u["obstacle"]]


def test_a_program_for_several_cpus():
    network(temp("net.onnx"))
    told = compile("fat", "--mcpu", "x86-64-v3,x86-64-v2,x86-64-v4")
    assert f"for {ALL}, " in told, told
    assert [u["cpu"] for u in info("fat")["units"]] == ALL.split(", ")


def test_each_unit_is_the_program_for_its_cpu():
    x = rng.normal(0, 1, (3, 3, 24, 24)).astype(np.float32)
    seen = []
    for cap in runnable():
        compile("alone", "--mcpu", cap)
        want, got = outputs("alone", x), outputs("fat", x, cap)
        assert got.shape == (3, 10) and np.array_equal(want, got), cap
        assert np.array_equal(got, outputs("fat", x, cap, threads=1))
        picked = [u["cpu"] for u in info("fat", cap)["units"] if u["picked"]]
        assert picked == [cap] and info("fat", cap)["cpu"] == cap, picked
        seen.append(got)
    assert seen and np.array_equal(outputs("fat", x), seen[-1])  # without a cap the best
    assert all(np.abs(y - seen[0]).max() <= 1e-4 * np.abs(seen[0]).max() for y in seen)


def test_constants_stand_once():
    compile("alone", "--mcpu", "x86-64-v4", "--prepared", "1")
    size = [os.path.getsize(temp(p)) for p in ("fat", "alone")]
    assert size[0] <= 1.15 * size[1], size
    assert info("fat")["weights_bytes"] == info("alone")["weights_bytes"]


def test_what_caps_say():
    hidden = len(runnable()) - 1  # levels above x86-64-v2 that this CPU has
    told = run("./fat", "info", env={"HONE_CPU": "x86-64-v2"})[1]
    assert (told.count("which HONE_CPU hides"), told.count("which this CPU lacks")) == (hidden, 2 - hidden), told
    code, _, err = run("./fat", "bench", "-n", 1, env={"HONE_CPU": "x86-64"})
    assert code == 1 and "needs SSE3, which HONE_CPU=x86-64 hides" in err, err
    code, _, err = run("./fat", "bench", "-n", 1, env={"HONE_CPU": "fast"})
    assert code == 1 and "HONE_CPU=fast: unknown; give x86-64, x86-64-v2" in err, err
    assert run("./fat", "bench", "-n", 1, env={"HONE_CPU": "haswell"})[0] == (0 if "x86-64-v3" in runnable() else 1)


def test_cpus_that_qemu_emulates():
    if not shutil.which("qemu-x86_64"):
        return
    told = {"GOMP_SPINCOUNT": "1000"}  # a program that begins again to say so would do it on the CPU that is there
    x = rng.normal(0, 1, (1, 3, 24, 24)).astype(np.float32)
    for cpu, level in (("Nehalem", "x86-64-v2"), ("max", "x86-64-v3")):
        want = outputs("fat", x, level) if level in runnable() else None
        np.save(temp("x.npy"), x)
        ok("qemu-x86_64", "-cpu", cpu, "./fat", "run", "-i", "x=x.npy", "-o", "y.npy", "--threads", 1, env=told)
        assert f"for {level}\n" in ok("qemu-x86_64", "-cpu", cpu, "./fat", "info", env=told)
        assert want is None or np.array_equal(np.load(temp("y.npy")), want), cpu
    code, _, err = run("qemu-x86_64", "-cpu", "qemu64", "./fat", "bench", "-n", 1, env=told)
    assert code == 1 and "needs SSSE3, which this CPU lacks" in err, err


def test_all_leaves_out_what_adds_nothing():
    told = compile("all", "--mcpu", "all")
    assert f"for {ALL}, " in told, told
    for cpu in ("icelake-server", "znver4", "sapphirerapids"):
        assert f"{cpu}: nothing that x86-64-v4 has not is of use here: left out" in told, told
    assert os.path.getsize(temp("all")) == os.path.getsize(temp("fat"))


def test_lists_that_are_none():
    for value, why in (("x86-64-v3,x86-64-v3", "--mcpu: x86-64-v3 is given twice"), ("x86-64-v3,", "unknown CPU ''"),
                       ("x86-64-v3,fast", "unknown CPU 'fast'"), ("x86-64-v3,neoverse-n1", "x86-64-v3 and neoverse-n1 are of two instruction sets"),
                       (",".join(["x86-64"] * 65), "--mcpu: more than 64 CPUs")):
        code, _, err = run(HONE, "compile", "net.onnx", "-o", "none", "--mcpu", value)
        assert code == 1 and why in err and not os.path.exists(temp("none")), err
    code, _, err = run(HONE, "compile", "net.onnx", "-o", "none.ir", "--emit", "ir", "--mcpu", "all")
    assert code == 1 and "--emit ir is of one unit" in err, err
    code, _, err = run(HONE, "compile", "net.onnx", "-o", "none", "--autotune", "--mcpu", "all")
    assert code == 1 and "--autotune times kernels on this machine" in err, err


HOST = r"""
#include <stdio.h>
#include "net.h"
int main(void)
{
    static float x[3 * 24 * 24], y[10];
    char err[512] = "";
    for (int i = 0; i < 3 * 24 * 24; i++) x[i] = (float)(i % 97) / 50 - 1;
    HoneModel *m = hone_net_create(NULL, err, sizeof err);
    const void *in[] = {x};
    void *out[] = {y};
    if (!m || hone_net_run(m, 1, in, out) != 0) { puts(err); return 1; }
    for (int i = 0; i < 10; i++) printf("%a\n", y[i]);
    hone_net_destroy(m);
    return 0;
}
"""


def test_libraries():
    with open(temp("host.c"), "w") as f:
        f.write(HOST)
    said = set()
    for kind, name in (("shared", "libnet.so"), ("static", "libnet.a"), ("object", "net.o")):
        compile(name, "--emit", kind, "--mcpu", ",".join(LEVELS), "--name", "net")
        os.rename(temp(name.rsplit(".", 1)[0] + ".h"), temp("net.h"))
        ok("cc", "-o", "host", "host.c", name, "-lgomp", "-lm", "-Wl,-rpath,$ORIGIN")
        said.add(tuple(ok("./host", env={"HONE_CPU": cap}) for cap in runnable()))
        assert "needs SSE3" in run("./host", env={"HONE_CPU": "x86-64"})[1]
    assert len(said) == 1
    x = (np.arange(3 * 24 * 24) % 97).astype(np.float32).reshape(1, 3, 24, 24) / np.float32(50) - np.float32(1)
    for cap, text in zip(runnable(), said.pop()):
        assert [float.fromhex(v) for v in text.split()] == list(outputs("fat", x, cap)[0].astype(float)), cap


SIZES = [(16, 24), (16, 32), (24, 24), (24, 32)]  # of this table, height and width
TABLE = "x=Nx3x16:24:8x24:32:8"


def test_several_sizes():
    network(temp("net.onnx"), "h", "w")
    told = compile("sizes", "--input-shape", TABLE)
    assert "4 sizes, from x=Nx3x16x24 to x=Nx3x24x32" in told, told
    assert [u["inputs"][0]["shape"] for u in info("sizes")["units"]] == [["N", 3, h, w] for h, w in SIZES]
    for n, (h, w) in enumerate(SIZES):
        x = rng.normal(0, 1, (n, 3, h, w)).astype(np.float32)
        compile("alone", "--input-shape", f"x=Nx3x{h}x{w}", "--prepared", "1")
        assert np.array_equal(outputs("sizes", x), outputs("alone", x)), (h, w)
    size = [os.path.getsize(temp(p)) for p in ("sizes", "alone")]
    assert size[0] <= 1.15 * size[1], size
    assert info("sizes")["weights_bytes"] == info("alone")["weights_bytes"]


def test_sizes_that_are_not_there():
    np.save(temp("x.npy"), np.zeros((1, 3, 20, 24), np.float32))
    code, _, err = run("./sizes", "run", "-i", "x=x.npy", "-o", "none.npy")
    assert code == 1 and "the file has f32[1,3,20,24]; the sizes are x f32[N,3,16,24]; x f32[N,3,16,32]; " in err, err
    assert not os.path.exists(temp("none.npy"))
    code, _, err = run("./sizes", "bench", "--size", "20x24")
    assert code == 1 and "--size 20x24: there is x f32[N,3,16,24]; " in err, err
    assert json.loads(ok("./sizes", "bench", "--size", "x=Nx3x24x32", "-n", 1, "--json"))["iters"] == 1


SIZES_HOST = r"""
#include <stdio.h>
#include "net.h"
int main(void)
{
    static float x[3 * 24 * 32], y[10];
    char err[512] = "";
    for (int i = 0; i < 3 * 24 * 32; i++) x[i] = (float)(i % 97) / 50 - 1;
    HoneModel *m = hone_net_create(NULL, err, sizeof err);
    const void *in[] = {x};
    void *out[] = {y};
    if (!m) { puts(err); return 1; }
    HoneTensorInfo want = {.name = "x", .rank = 4, .dim = {-1, 3, 24, 32}};
    printf("%d %d %d\n", hone_net_n_sizes(m), hone_net_size(m), hone_net_find_size(m, 1, &want));
    for (int k = hone_net_n_sizes(m) - 1; k >= 0; k--) {
        if (hone_net_use_size(m, k) != 0 || hone_net_run(m, 1, in, out) != 0) { puts(hone_net_error(m)); return 1; }
        printf("%d %d", (int)hone_net_input_info(m, 0).dim[2], (int)hone_net_input_info(m, 0).dim[3]);
        for (int i = 0; i < 10; i++) printf(" %a", y[i]);
        puts("");
    }
    want.dim[2] = 17;
    if (hone_net_use_size(m, hone_net_find_size(m, 1, &want)) != -1) return 1;
    puts(hone_net_error(m));
    hone_net_destroy(m);
    return 0;
}
"""


def test_sizes_that_are_padded():
    """With zeros, to the smallest size that holds them; what is in no size stays refused."""
    for h, w, to in ((20, 24, (24, 24)), (10, 25, (16, 32)), (16, 24, (16, 24)), (1, 1, (16, 24))):
        x = np.random.default_rng(h * w).standard_normal((2, 3, h, w)).astype(np.float32)
        wide = np.zeros((2, 3, *to), np.float32)
        wide[:, :, :h, :w] = x
        np.save(temp("small.npy"), x)
        np.save(temp("wide.npy"), wide)
        ok("./sizes", "run", "--other-sizes", "pad", "-i", "x=small.npy", "-o", "padded.npy")
        ok("./sizes", "run", "-i", "x=wide.npy", "-o", "whole.npy")
        assert np.array_equal(np.load(temp("padded.npy")), np.load(temp("whole.npy"))), (h, w)
    for shape in ((1, 3, 25, 24), (1, 4, 16, 24), (3, 16, 24)):
        np.save(temp("small.npy"), np.zeros(shape, np.float32))
        code, _, err = run("./sizes", "run", "--other-sizes", "pad", "-i", "x=small.npy", "-o", "none.npy")
        assert code == 1 and "the file has f32[" in err and not os.path.exists(temp("none.npy")), err


def test_a_library_of_several_sizes():
    with open(temp("host.c"), "w") as f:
        f.write(SIZES_HOST)
    compile("libnet.so", "--emit", "shared", "--input-shape", TABLE, "--name", "net")
    os.rename(temp("libnet.h"), temp("net.h"))
    header = open(temp("net.h")).read()
    assert "// size 3\n//   input  0  x  f32[N,3,24,32]\n" in header and "// size 4" not in header, header[:600]
    ok("cc", "-o", "host", "host.c", "libnet.so", "-lgomp", "-lm", "-Wl,-rpath,$ORIGIN")
    first, *rows, last = ok("./host").splitlines()
    assert first == "4 0 3" and "other shapes: x f32[N,3,16,24]; " in last, (first, last)
    for (h, w), row in zip(reversed(SIZES), rows):
        x = (np.arange(3 * h * w) % 97).astype(np.float32).reshape(1, 3, h, w) / np.float32(50) - np.float32(1)
        assert row.split()[:2] == [str(h), str(w)]
        assert [float.fromhex(v) for v in row.split()[2:]] == list(outputs("sizes", x)[0].astype(float)), (h, w)


def test_sizes_given_one_by_one():
    compile("two", "--input-shape", "x=Nx3x24x32", "--input-shape", "x=2x3x16x24", "--mcpu", "x86-64-v2,x86-64-v3")
    shapes = [(u["cpu"], u["inputs"][0]["shape"]) for u in info("two")["units"]]
    assert shapes == [(cpu, s) for s in (["N", 3, 24, 32], [2, 3, 16, 24]) for cpu in ("x86-64-v3", "x86-64-v2")], shapes
    x = rng.normal(0, 1, (2, 3, 16, 24)).astype(np.float32)
    for cap in [c for c in runnable() if c != "x86-64-v4"]:
        compile("alone", "--mcpu", cap, "--input-shape", "x=2x3x16x24")
        assert np.array_equal(outputs("two", x, cap), outputs("alone", x)), cap


def test_shapes_that_are_no_sizes():
    for texts, why in ((["x=Nx3x16:30:8x24"], "'x=Nx3x16:30:8x24': 30 is not reached from 16 by steps of 8"),
                       (["x=Nx3x24:16:8x24"], "16 is not reached from 24"), (["x=Nx3x16:24x24"], "is not of the form"),
                       (["x=Nx3x8:800:8x8:800:8"], "'x=Nx3x8:800:8x8:800:8' is more than 64 shapes"),
                       (["x=Nx3x16x24", "x=Nx3x16:24:8x24"], "--input-shape: x=Nx3x16x24 is given twice"),
                       (["x=Nx3x8:512:8x8", "x=Nx3x9x9"], "more than 64 shapes of one input"),
                       (["x=Nx3x16x24", "x=Nx3x24x24", "z=1:3:1"], "2 shapes of one input and 3 of another"),
                       (["x=Nx3x16x24", "x=Nx3x24x24", "z=1"], "the model has no input 'z'")):
        shapes = [v for t in texts for v in ("--input-shape", t)]
        code, _, err = run(HONE, "compile", "net.onnx", "-o", "none", *shapes)
        assert code == 1 and why in err and not os.path.exists(temp("none")), err
    code, _, err = run(HONE, "compile", "net.onnx", "-o", "none", "--input-shape", "x=Nx3x8:128:8x8", "--mcpu", "all")
    assert code == 1 and "16 sizes for 6 CPUs are 96 units, and a program holds 64" in err, err


def test_verify_and_inspect_go_through_the_units():
    units = ["--input-shape", "x=Nx3x16:24:8x24", "--mcpu", "x86-64-v2,x86-64-v4"]
    text = ok(HONE, "verify", "net.onnx", *units)
    heads = [f"x=Nx3x{h}x24, for {cpu}" for h in (16, 24) for cpu in ("x86-64-v4", "x86-64-v2")]
    lines = [l for l in text.splitlines() if l.startswith("x=")]
    assert [l.split(":")[0] for l in lines] == heads, text
    ran = [l for l in lines if ": not run, this CPU lacks " not in l]
    assert text.count("batch 3 against each image alone: ") == len(ran) >= 2 and "FAILED" not in text, text
    assert ran == lines or "x86-64-v4" not in runnable()
    code, out, err = run(HONE, "verify", "net.onnx", "--input-shape", "x=Nx3x16x24", "--mcpu", "neoverse-v1,neoverse-n1")
    assert code == 1 and out.count("not run, this CPU lacks NEON") == 2 and "nothing was compared" in err, err
    text = ok(HONE, "inspect", "net.onnx", "--compiled", *units)
    assert [l for l in text.splitlines() if l in heads] == heads and text.count("conv2 +1") == 4, text
    rows = [json.loads(l) for l in ok(HONE, "inspect", "net.onnx", "--json", *units).splitlines()]
    assert [f"{r['input_shape']}, for {r['cpu']}" for r in rows] == heads
    assert [r["layers"][0]["result"] for r in rows] == [f"f32[N,64,{h},24]" for h in (16, 16, 24, 24)], rows
    code, _, err = run(HONE, "inspect", "net.onnx", "--dot", "none.dot", *units)
    assert code == 1 and "--dot is of one unit" in err, err
    code, _, err = run(HONE, "quantize", "net.onnx", "-o", "none", "--calibrate", ".", "--mcpu", "all")
    assert code == 1 and "NYI: --mcpu is one here" in err, err
    for command in (("quantize", "--calibrate", "."), ("finetune", "--classes", 3)):
        code, _, err = run(HONE, command[0], "net.onnx", "-o", "none", *command[1:], *units[:2])
        assert code == 1 and "NYI: --input-shape of an input is one here" in err, err


def test_a_network_that_is_of_one_size():
    flat = [helper.make_node("Flatten", ["r2"], ["f"]), helper.make_node("Gemm", ["f", "head"], ["y"], name="classifier")]
    network(temp("net.onnx"), "h", "w", flat)  # 192 numbers an image: of 2 x 2 pixels, halved by strides
    code, _, err = run(HONE, "compile", "net.onnx", "-o", "none", "--input-shape", "x=Nx3x2:4:2x2")
    assert code == 1 and "node 'classifier' (Gemm, opset 17)" in err, err
    assert "it is refused at --input-shape x=Nx3x4x2" in err and not os.path.exists(temp("none")), err


def test_maps_have_the_size_of_the_input():
    network(temp("net.onnx"), "h", "w", [helper.make_node("Relu", ["r2"], ["y"])])
    compile("maps", "--input-shape", TABLE)
    for h, w in SIZES:
        x = rng.normal(0, 1, (2, 3, h, w)).astype(np.float32)
        compile("alone", "--input-shape", f"x=Nx3x{h}x{w}")
        y = outputs("maps", x)
        assert y.shape == (2, 192, h // 2, w // 2) and np.array_equal(y, outputs("alone", x)), y.shape


def picture(name, width, height):
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(temp(name))


def test_pictures_take_the_nearest_shape():
    network(temp("net.onnx"), "h", "w")
    compile("sizes", "--input-shape", TABLE)
    names = [f"p{i}.png" for i in range(7)]
    for name, size in zip(names, ((100, 50), (48, 48), (24, 16), (90, 60), (64, 48), (30, 100), (32, 16))):
        picture(name, *size)
    nearest = ((16, 32), (24, 24), (16, 24), (16, 24), (24, 32), (24, 24), (16, 32))
    got = [json.loads(line) for line in ok("./sizes", *names, "--json", "--batch", 3).splitlines()]
    for name, (h, w), said in zip(names, nearest, got):
        compile("alone", "--input-shape", f"x=Nx3x{h}x{w}")
        assert said == json.loads(ok("./alone", name, "--json")), (name, h, w)
        assert said == json.loads(ok("./sizes", name, "--json", "--size", f"{w}x{h}")), name
    assert json.loads(ok("./sizes", "p0.png", "--json", "--crop", 24)) == json.loads(ok("./sizes", "p0.png", "--json", "--size", "24x24"))
    compile("alone", "--input-shape", "x=Nx3x24x32", "--resize", 30)  # pixels are those of the first size, here 16 x 24
    compile("resized", "--input-shape", TABLE, "--resize", 20)
    want = json.loads(ok("./alone", "p4.png", "--json"))
    assert want == json.loads(ok("./resized", "p4.png", "--json")) == json.loads(ok("./sizes", "p4.png", "--json", "--resize", 20))
    assert want != json.loads(ok("./sizes", "p4.png", "--json"))
    code, _, err = run("./sizes", "p0.png", "--size", "20x20")
    assert code == 1 and "--size 20x20: there is " in err, err


def test_segments_are_of_the_first_size():
    twice = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32))
    network(temp("net.onnx"), "h", "w", [helper.make_node("Transpose", ["r2"], ["t"], perm=[0, 2, 3, 1]),
                                         helper.make_node("MatMul", ["t", "head"], ["m"]),
                                         helper.make_node("Transpose", ["m"], ["s"], perm=[0, 3, 1, 2]),
                                         helper.make_node("Constant", [], ["twice"], value=twice),
                                         helper.make_node("Resize", ["s", "", "twice"], ["y"], mode="nearest")])
    compile("segments", "--input-shape", "x=Nx3x16:24:8x24")
    compile("alone", "--input-shape", "x=Nx3x16x24")
    names = [f"s{i}.png" for i in range(2)]
    for name, size in zip(names, ((24, 24), (48, 32))):
        picture(name, *size)
    assert ok("./segments", "segment", *names, "--json") == ok("./alone", "segment", *names, "--json")


def test_int8_of_several_sizes_and_cpus():
    """Integers are the same on every CPU; the ranges are those of the first size."""
    network(temp("net.onnx"), "h", "w")
    os.makedirs(temp("calibrate"), exist_ok=True)
    for i in range(8):
        picture(f"calibrate/{i}.png", 40, 40)
    shapes = ("--input-shape", "x=Nx3x16:24:8x24")
    compile("float", *shapes)
    told = compile("int8", "--precision", "int8", "--calibrate", "calibrate", "--mcpu", "all", *shapes)
    assert f" icelake-server, {ALL}, " in told, told
    assert os.path.getsize(temp("int8")) < os.path.getsize(temp("float"))
    for h in (16, 24):
        x = rng.normal(0, 1, (2, 3, h, 24)).astype(np.float32)
        want, best = outputs("float", x), outputs("int8", x)
        assert 0 < np.abs(best - want).max() < 0.2 * np.abs(want).max()
        for cap in runnable():
            assert np.array_equal(outputs("int8", x, cap), best), (h, cap)


def test_a_fine_tune_program_for_several_cpus():
    network(temp("net.onnx"))
    for i in range(12):
        os.makedirs(temp(f"photos/{i % 3}"), exist_ok=True)
        picture(f"photos/{i % 3}/{i}.png", 24, 24)
    made = ("net.onnx", "--classes", "photos", "--stages", "head:1,none:1")
    trains = ("train", "photos", "--val-fraction", 0.25, "--batch", 4, "--no-checkpoint", "--threads", 2)
    code, _, err = run(HONE, "finetune", *made, "-o", "teach", "--mcpu", "x86-64-v2,x86-64-v4,x86-64-v3")
    assert code == 0 and f"for {ALL}, " in err, err
    tuned = set()
    for cap in runnable():
        ok(HONE, "finetune", *made, "-o", "alone", "--mcpu", cap)
        sizes = [os.path.getsize(temp(p)) for p in ("teach", "alone")]
        assert sizes[0] <= 1.5 * sizes[1], sizes  # these graphs have more code than weights
        model = []
        for program, level in (("teach", cap), ("alone", "")):
            ok(f"./{program}", *trains, "-o", "tuned.onnx", env={"HONE_CPU": level})
            with open(temp("tuned.onnx"), "rb") as f:
                model.append(f.read())
        assert model[0] == model[1], cap
        tuned.add(model[0])
        told = json.loads(ok("./teach", "info", "--json", env={"HONE_CPU": cap}))
        assert told["cpu"] == cap and ", ".join(told["cpus"]) == ALL, told
    code, _, err = run("./teach", *trains, "-o", "tuned.onnx", env={"HONE_CPU": "x86-64"})
    assert code == 1 and "needs SSE3, which HONE_CPU=x86-64 hides" in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
