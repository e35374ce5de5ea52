"""Weights that the compiler prepares: the same bits as those that a program prepares at its start, within the size that is
allowed, and in memory that processes share."""
import ctypes
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import onnx
from onnx import helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from foreign import MCPU
from script import HONE, here_only, main, ok, run, temp

# (channels in, out, kernel, stride, padding, groups): every way in which kernels want other weights than the file's
FORMS = [(32, 64, (3, 3), 1, 1, 1), (64, 48, (3, 3), 2, 1, 1), (48, 50, (5, 5), 1, 2, 1), (50, 64, (1, 7), 1, (0, 3), 1),
         (64, 128, (7, 1), 1, (3, 0), 1), (128, 128, (3, 3), 1, 1, 2), (128, 256, (1, 1), 1, 0, 1), (256, 256, (1, 1), 1, 0, 1)]
# Machines, the best first: what a CPU needs for them, what kernels these convolutions take there besides Winograd's
MACHINES = {"x86-64-v4": ("avx512vl", {"strassen"}), "x86-64-v3": ("avx2", set()), "x86-64-v2": ("sse4_2", set()),
            "neoverse-n1": ("asimd", set())}  # a flag of /proc/cpuinfo, kernels beside Winograd's
SIZE, CLASSES = 56, 1000


def pair(x):
    return list(x) if isinstance(x, tuple) else [x, x]


def write_model(path, size=SIZE, exact_in=np.float32):
    """The forms one behind another, and a classifier; weights that the type `exact_in` has."""
    rng = np.random.default_rng(0)
    weights, nodes = [], []

    def weight(name, *shape):
        w = rng.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(w.astype(exact_in).astype(np.float32), name))
        return name

    for i, (c, o, kernel, stride, pad, group) in enumerate(FORMS):
        nodes.append(helper.make_node("Conv", [f"x{i}", weight(f"w{i}", o, c // group, *kernel)], [f"x{i + 1}"], group=group,
                                      strides=pair(stride), pads=pair(pad) * 2))
    last = len(FORMS)
    nodes.append(helper.make_node("GlobalAveragePool", [f"x{last}"], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["row"]))
    nodes.append(helper.make_node("Gemm", ["row", weight("fc", CLASSES, FORMS[-1][1])], ["y"], transB=1))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x0", 1, ["N", FORMS[0][0], size, size])],
                              [helper.make_tensor_value_info("y", 1, ["N", CLASSES])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def compiled(model, name, *options):
    """(the program, what its info says)"""
    ok(HONE, "compile", model, "-o", name, *options)
    return temp(name), json.loads(ok(temp(name), "info", "--json"))


def numbers(size=SIZE):
    return np.random.default_rng(1).standard_normal((3, FORMS[0][0], size, size)).astype(np.float32)


def result(program):
    np.save(temp("x.npy"), numbers())
    ok(program, "run", "-i", "x.npy", "-o", "y.npy")
    return np.load(temp("y.npy")).tobytes()


def machines_here():
    if MCPU:
        return [MCPU]
    with open("/proc/cpuinfo") as f:
        flags = f.read()
    return [m for m, (flag, _) in MACHINES.items() if flag in flags]


def check_same(model, *options):
    """All prepared by the compiler, some, none: the same results; what info says of them."""
    every, all_of = compiled(model, "every", "--prepared", "100", *options)
    none, none_of = compiled(model, "none", "--prepared", "1", *options)
    some, some_of = compiled(model, "some", "--prepared", "1.2", *options)
    assert all_of["prepared_bytes"] == 0 and none_of["stored_bytes"] == 0, (all_of, none_of)
    assert some_of["prepared_bytes"] > 0 and some_of["stored_bytes"] > 0, some_of
    assert some_of["weights_bytes"] < 1.2 * none_of["weights_bytes"] < all_of["weights_bytes"]
    for info in all_of, some_of:  # within what aligns the pieces
        assert abs(info["stored_bytes"] + info["prepared_bytes"] - none_of["prepared_bytes"]) < 64 * 2 * len(FORMS), (info, none_of)
    want = result(none)
    assert result(every) == want and result(some) == want, options
    return set(re.findall(r"\w+", ok(none, "bench", "--iters", "1", "--profile")))


def test_the_same_bits_with_and_without_fused_multiply_add():
    here = machines_here()
    for machine in {here[0], here[-1]}:
        names = check_same(write_model(temp("m.onnx")), "--mcpu", machine)
        _, more = MACHINES.get(machine, (None, set()))
        assert {"winograd2", "winograd4"} | more <= names, (machine, names)


def test_the_same_bits_of_weights_stored_in_16():
    check_same(write_model(temp("m.onnx"), exact_in=np.float16))


def test_the_same_bits_in_bf16():
    model = write_model(temp("m.onnx"))
    none, every = (compiled(model, name, "--precision", "bf16", "--prepared", r) for name, r in (("none", "1"), ("every", "100")))
    assert result(none[0]) == result(every[0])
    assert every[1]["stored_bytes"] >= none[1]["prepared_bytes"] and every[1]["prepared_bytes"] == 0


def test_text_form_prints_what_is_prepared():
    program, info = compiled(write_model(temp("m.onnx")), "m")
    assert f", {info['stored_bytes'] / 1e6:.1f} of them prepared" in ok(program, "info")
    program, info = compiled(temp("m.onnx"), "m", "--prepared", "1")
    assert f", {info['prepared_bytes'] / 1e6:.1f} MB prepared at the start" in ok(program, "info")


def test_sizes():
    plain = compiled(write_model(temp("m.onnx")), "m", "--prepared", "1")[1]["weights_bytes"]
    assert plain < 1.1 * os.path.getsize(temp("m.onnx"))
    default = compiled(temp("m.onnx"), "m")[1]
    assert default["stored_bytes"] > plain and default["weights_bytes"] < 2.5 * plain
    for options in (), ("--precision", "bf16"):  # who stores them in 16 bits does it for the size
        model = write_model(temp("m.onnx"), exact_in=np.float32 if options else np.float16)
        info = compiled(model, "m", *options)[1]
        assert info["weights_bytes"] < 1.05 * plain / 2, (options, info, plain)
    assert compiled(write_model(temp("m.onnx")), "m", "--mcpu", "x86-64-v2,x86-64-v3")[1]["stored_bytes"] == 0
    assert compiled(temp("m.onnx"), "m")[1] == default


def test_what_the_option_takes():
    for r in "0.5", "0", "nan", "x", "101":
        code, _, err = run(HONE, "compile", write_model(temp("m.onnx")), "-o", "bad", "--prepared", r)
        assert code == 2 and "--prepared takes" in err and not os.path.exists(temp("bad")), (code, err)


def test_where_it_has_no_effect():
    model = write_model(temp("m.onnx"))
    code, _, err = run(HONE, "compile", model, "-o", "bad", "--prepared", "2", "--emit", "ir")
    assert code == 2 and "--prepared is of what is generated, not of --emit ir" in err and not os.path.exists(temp("bad")), (code, err)
    for cpus, told in ("x86-64-v3", 0), ("x86-64-v3,x86-64-v2", 1):
        code, _, err = run(HONE, "compile", model, "-o", temp("some"), "--prepared", "2", "--mcpu", cpus)
        assert code == 0 and err.count("--prepared has no effect") == told, (code, err)


@here_only("Python loads the library")
def test_libraries():
    ok(HONE, "compile", write_model(temp("m.onnx")), "--emit", "shared", "--name", "m", "-o", "m.so")
    lib = ctypes.CDLL(temp("m.so"))
    lib.hone_m_create.restype = ctypes.c_void_p
    model = ctypes.c_void_p(lib.hone_m_create(None, None, 0))
    x, y = numbers(), np.zeros((3, CLASSES), np.float32)
    inputs, outputs = ((ctypes.c_void_p * 1)(v.ctypes.data) for v in (x, y))
    assert lib.hone_m_run(model, ctypes.c_int64(3), inputs, outputs) == 0
    assert y.tobytes() == result(compiled(temp("m.onnx"), "m", "--prepared", "1")[0])


def anonymous(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Anonymous: *(\d+)", f.read(), re.M)[1]) * 1024


def ran(pid):
    """It has used a second of CPU: the start is over."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12]) >= os.sysconf("SC_CLK_TCK")


@here_only("the memory is an emulator's")
def test_processes_have_little_of_their_own():
    rows = {}
    for r in "1", "100":
        program, info = compiled(write_model(temp("m.onnx")), "m", "--prepared", r)
        with subprocess.Popen([program, "bench", "--iters", "1000000", "--threads", "1"], stdout=subprocess.DEVNULL) as p:
            try:
                while not ran(p.pid):
                    time.sleep(0.05)
                rows[r] = anonymous(p.pid)
            finally:
                p.kill()
    assert rows["1"] - rows["100"] > 0.9 * info["stored_bytes"], (rows, info)


if __name__ == "__main__":
    main(sys.modules[__name__])
