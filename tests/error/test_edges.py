"""Values at their edges: what options may not say, weights that are no numbers, folders that are somebody else's. Each is
told in one line, with an advice that works."""
import glob
import os
import re
import shutil
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, main, ok, run, temp


def says(code, words, *argv):
    got, out, err = run(*argv)
    assert got == code and words in err and err.count("\n") == 1, (argv, got, out[-300:], err)


def network(name, change=None, end=()):
    """Two products of random weights, which change(weights) may spoil; [N,3,8,8] to 4 classes."""
    r = np.random.RandomState(3)
    w = {"w1": r.standard_normal((4, 3, 3, 3)), "b1": np.zeros(4), "w2": r.standard_normal((4, 4)), "mask": np.zeros((1, 4))}
    w = {k: v.astype(np.float32) for k, v in w.items()}
    if change:
        change(w)
    nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="first"), helper.make_node("GlobalAveragePool", ["a"], ["p"], name="pool"),
             helper.make_node("Flatten", ["p"], ["f"], name="flat"), helper.make_node("Add", ["f", "mask"], ["m"], name="masked"),
             helper.make_node("MatMul", ["m", "w2"], ["y"], name="last"), *end]
    g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
                          [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
                          [numpy_helper.from_array(v, k) for k, v in w.items()])
    onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), temp(name))
    return temp(name)


# ---------------------------------------------------------------- weights that are no numbers

def spoil(tensor, value, at=0):
    def change(w):
        w[tensor].reshape(-1)[at] = value
    return change


def test_weights_that_are_no_numbers():
    for tensor, node, value, told in (("w1", "'first' (Conv)", np.nan, "1 of 108 are NaN"), ("b1", "'first' (Conv)", np.nan, "1 of 4 are NaN"),
                                      ("w1", "'first' (Conv)", np.inf, "1 of 108 are infinite"), ("w2", "'last' (MatMul)", -np.inf, "1 of 16 are infinite"),
                                      ("mask", "'masked' (Add)", np.nan, "1 of 4 are NaN")):
        path = network("bad.onnx", spoil(tensor, value, 2))
        line = f"node {node}: its weight '{tensor}' holds what is no number: {told}"
        code, out, err = run(HONE, "inspect", path)
        assert code == 0 and line in err and "warning" in err and err.count("\n") == 1, err
        code, _, err = run(HONE, "compile", path, "-o", temp("bad.ir"), "--emit", "ir")
        assert code == 0 and line in err and "warning" in err, err
        says(1, line, HONE, "finetune", path, "-o", temp("no"), "--classes", "3")
        code, out, _ = run(HONE, "inspect", path, "--finetune", "--classes", "3")
        assert code == 1 and line.split(": ", 1)[1] in out, out
        assert not os.path.exists(temp("no"))
    fine = network("masked.onnx", spoil("mask", -np.inf))  # which masks are made of
    assert run(HONE, "inspect", fine)[2] == ""
    ok(HONE, "finetune", fine, "-o", temp("masked"), "--classes", "3")


def test_variances_below_zero():
    """Whose square root would make all that a normalization gives NaN; epsilon lifts what rounding left below 0."""
    def normalized(variance, epsilon=1e-5):
        names = ("scale", "shift", "mean", "variance")
        nodes = [helper.make_node("Reshape", ["y", "four"], ["r"]), helper.make_node("BatchNormalization", ["r", *names], ["n"], "norm", epsilon=epsilon),
                 helper.make_node("GlobalAveragePool", ["n"], ["g"]), helper.make_node("Flatten", ["g"], ["f2"]),
                 helper.make_node("MatMul", ["f2", "w2"], ["z"], name="end")]

        def change(w):
            w.update(zip(names, np.float32([[1] * 4, [0] * 4, [0] * 4, variance])), four=np.int64([0, 4, 1, 1]))
        return network("variance.onnx", change, nodes)

    for variance, epsilon, told in (([1, 1, -0.5, -0.25], 1e-5, "with epsilon 1e-05, 2 of 4 are not above 0, the least is -0.5"),
                                    ([1, 0, 1, 1], 0.0, "with epsilon 0, 1 of 4 are not above 0, the least is 0"),
                                    ([1, 2, 1, 1], np.nan, "with epsilon nan, 4 of 4 are not above 0, the least is 1")):
        path = normalized(variance, epsilon)
        line = f"{path}: warning: node 'norm' (BatchNormalization): its variance 'variance' has no square root: {told}\n"
        code, _, err = run(HONE, "compile", path, "-o", temp("bad.ir"), "--emit", "ir")
        assert code == 0 and err.count("\n") == 2 and err.startswith(line), err
        says(1, line[len(path) + 11:-1], HONE, "finetune", path, "-o", temp("no"), "--classes", "3")
    assert "variance" not in run(HONE, "inspect", normalized([1, 1, -1e-6, 0]))[2]


def test_nothing_to_compare():
    code, out, err = run(HONE, "verify", network("nan.onnx", spoil("b1", np.nan, slice(None))))
    assert code == 1 and "4 of 4 numbers are not finite: NOTHING TO COMPARE" in out and "its weight 'b1'" in err, (out, err)
    assert out.count("NOTHING TO COMPARE") == 2 and ": ok" not in out, out  # nor of the images of a batch
    code, out, _ = run(HONE, "verify", network("some.onnx", spoil("mask", -np.inf), [helper.make_node("Add", ["y", "mask"], ["z"])]))
    assert "not finite" in out, out
    assert "NOTHING" not in ok(HONE, "verify", network("fine.onnx"))


# ---------------------------------------------------------------- options

def test_options_of_hone():
    model = network("m.onnx")
    command = (HONE, "compile", model, "-o", temp("m"))
    for flag in ("--threads", "--jobs"):
        for value in ("-1", "0", "1025", "100000", "1e9", "1.5", "x", "nan", "inf", "0x10", "+4", "++4", " 4", "4 ", "4x", "1e999", "--4"):
            says(2, f"{flag} takes a whole number from 1 to 1024, not '{value}'", *command, flag, value)
    for value in ("0.5,0x1", "+1", "nan", "1,inf", "1,,2", "1,2,", ",1", "1;2", " 1", "1 ,2", "-", ".", "1e", "0X1p3", "1e-", "-+1", "--1"):
        says(2, f"--mean takes numbers, one for all or one a channel, from -1e+09 to 1000000000, not '{value}'", *command, f"--mean={value}")
    for value in ("0", "-1", "1e9", "1.5G", "M", "4Q", "99999999999999T", "1 G", "0x10", "+4G", " 4G", "4Gx", "infM"):
        says(2, f"--max-memory takes a size such as 512M or 4G, not '{value}'", *command, "--max-memory", value)
    for value, allowed in (("1", "1 bytes"), ("1K", "1 KB"), ("1M", "1.0 MB")):
        code, _, err = run(*command, "--max-memory", value)
        assert code == 1 and f"more than the {allowed} allowed (--max-memory SIZE raises it)" in err and " 0 MB" not in err, err
    says(2, "--autotune-cache is for --autotune", *command, "--autotune-cache", temp("cache"))
    for value in ("x", "N", "=Nx3x8x8", "x=", "x=3x", "x=Nx3,8,8", "x=-1x3x8x8", "x=0x3x8x8", "x:1x3x8x8", "x=[1,3,8,8]", "x=1X3X8X8"):
        says(1, f"'{value}' is not of the form NAME=Nx3x224x224", *command, "--input-shape", value)
    says(1, "input 'x' has 4 dimensions, --input-shape gives it 2; its form is x=Nx3x8x8", *command, "--input-shape", "x=Nx3")
    ok(*command, "--input-shape", "x=Nx3x8x8")
    says(1, "--classes takes a number, a file of labels or a folder, not '0x3'", HONE, "finetune", model, "-o", temp("m"), "--classes", "0x3")
    finetune = (HONE, "finetune", model, "-o", temp("m"))
    for value in (" 3", "+3", "3 ", "++3"):
        says(1, f"--classes takes a number, a file of labels or a folder, not '{value}'", *finetune, "--classes", value)
    for value in ("-3", "99999999999999999999"):
        says(1, f"--classes: '{value}' is not from 2 to 1048576 classes", *finetune, "--classes", value)
    for value in ("0x1", "+0.5", " 0.5", "nan", "-0.5", "1", ".", ""):
        if value:
            says(1, f"--head-dropout takes a share from 0 to below 1, not '{value}'", *finetune, "--classes", "3", "--head-dropout", value)
    for value in ("0x1", "+1", " 1", "nan", "inf", "1 ", "-1", "1e6"):
        says(1, f"--lr-mult takes GLOB=FACTOR, not 'c*={value}'", *finetune, "--classes", "3", "--lr-mult", "c*=" + value)
    for value in ("0x5:0.1", "5:0x1", "+5:0.1", "5: 0.1", "5:nan"):
        code, _, err = run(*finetune, "--classes", "3", "--stages", "none:" + value)
        assert code == 1 and "--stages: 'none:" in err and err.count("\n") == 1, (value, err)


def test_options_of_programs():
    ok(HONE, "compile", SAMPLE, "-o", temp("net"))
    ok(HONE, "finetune", SAMPLE, "-o", temp("teach"), "--classes", "3")
    bench, train = (temp("net"), "bench", "-n", "1"), (temp("teach"), "train", "nowhere")
    for command in (bench, train, (temp("net"), SNEAKER), (temp("teach"), "bench", "-n", "1"), (temp("teach"), "predict", SNEAKER)):
        for value in ("-1", "0", "1025", "100000", "1e9", "1.5", "x", "0x2", "+2", "++2", " 2", "2 ", "2x", "nan", "inf", "1e999"):
            code, _, err = run(*command, "--threads", value)
            assert code == 2 and "--threads" in err and value in err, (command, value, err)
    for command in (bench, (temp("net"), SNEAKER)):
        for value in ("1", "64"):
            ok(*command, "--threads", value)
    for command, flag in (((temp("net"), SNEAKER), "--mean"), ((temp("net"), SNEAKER), "--std"), ((temp("net"), SNEAKER), "--scale"), (train, "--momentum"),
                          (train, "--lr"), (train, "--clip-grad"), (train, "--feature-memory"), (train, "--scale"), ((temp("net"), "serve"), "--timeout")):
        for value in ("0x1p-3", "+0.5", " 0.5", "nan", "inf", "0.5x", "--0.5", "1e"):
            code, _, err = run(*command, f"{flag}={value}")
            assert code == 2 and flag in err and err.count("\n") <= 2, (command, flag, value, err)
    for flags, words in ((("--cache-variants", "2"), "--cache-variants wants --augment light or imagenet"),
                         (("--nesterov", "--opt", "adamw"), "--nesterov is for --opt sgd"),
                         (("--overwrite", "--no-checkpoint"), "--overwrite and --no-checkpoint exclude each other"),
                         (("--lr-find", "l.svg", "-o", "t.onnx"), "--lr-find and --out exclude each other"),
                         (("--balanced", "--class-weights", "none"), "--balanced and --class-weights none exclude each other"),
                         (("--lr-find", "l.svg", "--csv", "c.csv"), "--lr-find and --csv exclude each other"),
                         (("--lr-find", "l.svg", "--report", "r.html"), "--lr-find and --report exclude each other"),
                         (("--lr-find", "l.svg", "--log-tensorboard", "b"), "--lr-find and --log-tensorboard exclude each other"),
                         (("--resume", "--overwrite"), "--resume and --overwrite exclude each other")):
        says(2, words, *train, *flags)


def test_what_cannot_be_read_is_no_program():
    says(1, "cannot read: Is a directory", HONE, "opt", temp(""))
    code, _, err = run(HONE, "opt", "-", preexec_fn=lambda: os.close(0))
    assert code == 1 and "cannot read: Bad file descriptor" in err and err.count("\n") == 1, err


def test_no_advice_that_fails():
    """Where no node would pass as the classifier, none is asked for."""
    beside = [helper.make_node("Sqrt", ["y"], ["r"]), helper.make_node("Concat", ["y", "r"], ["z"], name="beside", axis=1)]
    alone = [helper.make_node("Relu", ["mask"], ["z"], name="alone")]
    most = [helper.make_node("ReduceMax", ["y"], ["z"], name="most", axes=[1])]
    for name, end in (("beside.onnx", beside), ("alone.onnx", alone), ("most.onnx", most)):
        code, _, err = run(HONE, "finetune", network(name, end=end), "-o", temp("no"), "--classes", "3")
        assert code == 1 and "--head" not in err and err.count("\n") == 1, err


def maps(name):
    """A network that tells the class of each pixel."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ("N", c, 8, 8)) for n, c in (("x", 3), ("y", 21)))
    w = numpy_helper.from_array(np.ones((21, 3, 1, 1), np.float32), "w")
    onnx.save(helper.make_model(helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "maps", [x], [y], [w]),
                                opset_imports=[helper.make_opsetid("", 17)], ir_version=8), temp(name))
    return temp(name)


def options(*program):
    out = "".join(run(*program, *c, "--help")[1] for c in ((), *((c,) for c in re.findall(r"^  (?:hone )?([a-z]+) ", ok(*program, "--help"), re.M))))
    return set(re.findall(r"--[a-z][a-z0-9-]+", out))


def test_advice_names_options_that_are_there():
    """Every option in a text of the sources is one of the program that says it, or of hone."""
    ok(HONE, "compile", SAMPLE, "-o", temp("net"))
    ok(HONE, "finetune", SAMPLE, "-o", temp("teach"), "--classes", "3")
    ok(HONE, "compile", maps("maps.onnx"), "-o", temp("maps"))
    hone = options(HONE)
    known = {"tools": hone, "ir": hone, "passes": hone, "frontend": hone, "codegen": hone, "runtime/infer": hone | options(temp("net")) | options(temp("maps")),
             **{f"runtime/{room}": hone | options(temp("teach")) for room in ("finetune", "train", "data")}}
    assert len(hone) > 40 and all(len(v) > 40 for v in known.values()), {k: len(v) for k, v in known.items()}
    strange, seen = [], 0
    for folder, have in known.items():
        for path in glob.glob(os.path.join(ROOT, folder, "**", "*.[ch]"), recursive=True):
            with open(path) as f:
                texts = re.findall(r'"((?:[^"\\\n]|\\.)*)"', f.read())
            texts = [t for t in texts if not re.search(r"var\(|-Wl|,--|^--[a-z-]+(=[^ ]*)?$|tf2onnx", t)]  # styles, linkers, tables, another tool
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", " ".join(texts)):
                seen += 1
                if option not in have | {"--nesterov"}:  # an old spelling, which works
                    strange.append(f"{path}: {option}")
    assert seen > 100 and not strange, (seen, strange)


# ---------------------------------------------------------------- folders

def test_checkpoints_among_the_data():
    """A folder there would be a class of the next run."""
    ok(HONE, "finetune", SAMPLE, "-o", temp("three"), "--classes", "3")
    for c in "abc":
        os.makedirs(temp(f"photos/{c}"))
        for i in range(5):
            shutil.copy(SNEAKER, temp(f"photos/{c}/{i}.png"))
    train = (temp("three"), "train", temp("photos"), "--epochs", "1", "-q", "-o", temp("t.onnx"))
    for folder in ("photos", "photos/a", "photos/new", "photos/a/new"):
        says(1, "checkpoints there would lie among the data", *train, "--checkpoint", temp(folder))
        says(1, "cached features there would lie among the data", *train, "--no-checkpoint", "--feature-cache", temp(folder))
    os.symlink(temp("photos"), temp("link"))
    says(1, "checkpoints there would lie among the data", *train, "--checkpoint", temp("link/new"))
    got = run(temp("three"), "train", ".", "-q", "-o", temp("t.onnx"), cwd=temp("photos"))
    assert got[0] == 1 and "among the data" in got[2], got
    assert sorted(os.listdir(temp("photos"))) == ["a", "b", "c"] and len(os.listdir(temp("photos/a"))) == 5
    ok(*train, "--checkpoint", temp("photos/.hidden"))
    ok(*train, "--checkpoint", temp("beside"))
    os.makedirs(temp("split"))
    os.rename(temp("photos"), temp("split/train"))
    ok(temp("three"), "train", temp("split"), "--epochs", "1", "-q", "-o", temp("t.onnx"), "--checkpoint", temp("split/new"))
    says(1, "among the data", temp("three"), "train", temp("split"), "-q", "-o", temp("t.onnx"), "--checkpoint", temp("split/train/new"))


if __name__ == "__main__":
    main(sys.modules[__name__])
