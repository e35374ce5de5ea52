"""What fine-tune programs export, over all that surrounds a classifier (tuned_models.py): valid by ONNX's checker, the
same predictions as the program's own, other outputs as they were or gone with a line that says so; class names.

MODEL names given after the two usual arguments select models.
"""
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tuned
import tuned_models
from foreign import launch
from script import HONE, TEMP, main, ok, run, temp

NAMES = sys.argv[3:] or list(tuned_models.MODELS)
CLASSES = 3


def pictures():
    """Three classes of noise with a bright band; the folder."""
    folder, rng = temp("data"), np.random.default_rng(0)
    if not os.path.exists(folder):
        for i in range(12):
            pixels = rng.integers(0, 120, (tuned_models.SIZE, tuned_models.SIZE, 3))
            pixels[i % 3 * 5:i % 3 * 5 + 5] += 100
            os.makedirs(os.path.join(folder, "abc"[i % 3]), exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(os.path.join(folder, "abc"[i % 3], f"{i}.png"))
    return folder


def some():
    return [os.path.join(pictures(), p) for p in ("a/0.png", "b/1.png", "c/2.png")]


def finetune(name, model, *flags):
    """Trains two epochs; returns (program, tuned file, what the compiler said)."""
    path, program, out = temp(name + ".onnx"), temp(name), temp(name + "-tuned.onnx")
    if isinstance(model, str):
        path = model
    else:
        onnx.save(model, path)
    code, said, err = run(HONE, "finetune", path, "-o", program, "--resize", tuned_models.SIZE, *flags)
    assert code == 0, f"{name}: {said}{err}"
    ok(program, "train", pictures(), "--epochs", 2, "--batch", 4, "--lr", 0.05, "-q", "-o", out, cwd=TEMP)
    return program, out, said + err


def outputs_of(path, x, folder):
    """What a compiled model gives for x, by the output's name."""
    net = os.path.join(folder, "net")
    ok(HONE, "compile", path, "-o", net)
    names = [o.name for o in onnx.load(path).graph.output]
    np.save(os.path.join(folder, "x.npy"), x)
    files = [a for i, n in enumerate(names) for a in ("-o", f"{n}={folder}/y{i}.npy")]
    ok(net, "run", "-i", f"x={folder}/x.npy", *files)
    return {n: np.load(f"{folder}/y{i}.npy") for i, n in enumerate(names)}


def check_outputs(name, expect, out, said):
    """Other outputs: those that have nothing to do with the classes are as they were."""
    folder = temp(name + ".outputs")
    os.makedirs(folder)
    model = onnx.load(out)
    assert [o.name for o in model.graph.output] == expect["outputs"], (name, [o.name for o in model.graph.output])
    for gone in expect.get("gone", ()):
        assert f"is without the output '{gone}'" in said, (name, gone, said)
    x = np.random.default_rng(1).random((2, 3, tuned_models.SIZE, tuned_models.SIZE), np.float32)
    before, after = outputs_of(temp(name + ".onnx"), x, folder), outputs_of(out, x, folder)
    for old in expect["old"]:
        assert np.array_equal(before[old], after[old]), (name, old)
    y = after["y"]
    assert y.shape == (2, CLASSES), (name, y.shape)
    if "logits" in after:
        e = np.exp(after["logits"] - after["logits"].max(1, keepdims=True))
        assert np.abs(e / e.sum(1, keepdims=True) - y).max() < 1e-6, name
    if "class" in after:
        assert np.array_equal(after["class"], y.argmax(1)), name


def check_model(name):
    model, expect = tuned_models.MODELS[name]()
    program, out, said = finetune(name, model, "--classes", CLASSES)
    exported = tuned.check(out)
    assert not exported.functions, name
    if expect.get("names_class"):
        return check_class(name, program, out)
    if "edges" in expect:
        check_numbers(name, program, out, expect["edges"], expect["limit"])
    elif "batch" not in expect:
        tuned.check_agrees(program, out, some(), expect.get("limit", tuned.LIMIT), TEMP)
    if "outputs" in expect:
        check_outputs(name, expect, out, said)
    if "head" in expect:
        kinds = {t.data_type for t in exported.graph.initializer if t.name.startswith("fc.")}
        assert kinds == {expect["head"]}, (name, kinds)
    if "dims" in expect:
        dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
                for v in (exported.graph.input[0], exported.graph.output[0])]
        assert dims == expect["dims"], (name, dims)
    if "meta" in expect:
        assert [p.key for p in exported.metadata_props if not p.key.startswith("hone.")] == expect["meta"], name
    if "info" in expect:
        assert [v.name for v in exported.graph.value_info] == expect["info"], name
    shape = [d.dim_value for d in exported.graph.output[0].type.tensor_type.shape.dim]
    assert shape[:2] == [expect.get("batch", 0), CLASSES], (name, shape)


def tensors_of(paths):
    """The pictures as programs see them by default."""
    x = np.stack([np.asarray(Image.open(p), np.float32) for p in paths]) / 255
    x = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2).astype(np.float32))


def check_numbers(name, program, out, dtype, limit):
    """The compiled file's numbers for tensors of that type, where images cannot feed it."""
    ok(HONE, "compile", out, "-o", temp(name + "-net"))
    np.save(temp(name + "-x.npy"), tensors_of(some()).astype(dtype))
    y = onnx.load(out).graph.output[0].name
    ok(temp(name + "-net"), "run", "-i", "x=" + temp(name + "-x.npy"), "-o", f"{y}=" + temp(name + "-y.npy"))
    got = np.load(temp(name + "-y.npy"))
    want = tuned.predictions(json.loads(ok(program, "predict", "--json", *some(), cwd=temp(""))))
    assert got.dtype == dtype, got.dtype
    worst = np.abs(got - np.array([[p for _, p in row] for row in want])).max()
    assert worst <= limit, (name, worst)


def check_class(name, program, out):
    """The output is the class itself."""
    ok(HONE, "compile", out, "-o", temp(name + "-net"))
    want = [max(r["top"], key=lambda t: t["probability"])["class"]
            for r in json.loads(ok(program, "predict", "--json", *some(), cwd=temp("")))]
    np.save(temp("class.npy"), tensors_of(some()))
    ok(temp(name + "-net"), "run", "-i", "x=" + temp("class.npy"), "-o", "y=" + temp("class_y.npy"))
    assert list(np.load(temp("class_y.npy")).ravel()) == want, name


def failure(name):
    try:
        check_model(name)
    except Exception as why:  # all of them, to see the kind
        return f"{name}: {type(why).__name__}: {why}"


def test_models():
    pictures()
    with ThreadPoolExecutor(2) as pool:
        failed = [why for why in pool.map(failure, NAMES) if why]
    assert not failed, "\n".join(failed)


def test_readings():
    """Every end of a network with every loss: predict and the exported model agree, and the text says how they read."""
    for name in ("gemm", "log_softmax", "sigmoid", "softmax_spelled_out", "clip_behind_softmax", "fused_gemm"):
        model, _ = tuned_models.MODELS[name]()
        for kind, flags, words in (("classes", ["--classes", "3"], "classes that exclude each other (softmax)"),
                                   ("binary", ["--binary"], "one number for two classes (sigmoid)"),
                                   ("multi", ["--multi-label", "--classes", "3"], "each class by itself (sigmoid)")):
            onnx.save(model, temp(f"{name}.onnx"))
            program, out = temp(f"{name}-{kind}"), temp(f"{name}-{kind}.onnx")
            said = ok(HONE, "finetune", temp(f"{name}.onnx"), "-o", program, *flags)
            assert f"reading: {words}" in said, said
            becomes = {("sigmoid", "classes"): "becomes a softmax", ("fused_gemm", "classes"): "becomes a softmax",
                       ("log_softmax", "binary"): "becomes a sigmoid"}
            assert becomes.get((name, kind), "reading") in said, said
            assert f"reading: {words}" in ok(program, "info"), name
            rng = np.random.default_rng(0)
            np.save(temp("x.npy"), rng.integers(0, 256, (12, 16, 16, 3)).astype(np.uint8))
            np.save(temp("y.npy"), (rng.random((12, 3)) < 0.5).astype(np.float32) if kind == "multi"
                    else np.arange(12) % (2 if kind == "binary" else 3))
            ok(program, "train", "x.npy,y.npy", "--epochs", 2, "-q", "-o", out, "--no-checkpoint", cwd=TEMP)
            ok(program, "train", "x.npy,y.npy", "--epochs", 2, "-q", "-o", out, "--checkpoint", f"{name}-{kind}.ck", cwd=TEMP)
            p = tuned.check_agrees(program, out, some(), cwd=TEMP, checkpoint=("--checkpoint", f"{name}-{kind}.ck"))
            assert kind == "multi" or np.abs(p.sum(1) - 1).max() < 1e-6, (name, kind, p)


def test_external_data():
    """Weights in other files come in: of initializers and of Constant nodes, of float32 and of float16."""
    for name in ("gemm", "float16", "constant_nodes"):
        model, expect = tuned_models.MODELS[name]()
        os.makedirs(temp("outside/" + name))
        path = temp(f"outside/{name}/m.onnx")
        onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location="data.bin",
                        size_threshold=0, convert_attribute=True)
        assert any(t.data_location == onnx.TensorProto.EXTERNAL for t in tuned.tensors(onnx.load(path, load_external_data=False)))
        program, out, _ = finetune(f"{name}-outside", path, "--classes", CLASSES)
        tuned.check_agrees(program, out, some(), expect.get("limit", tuned.LIMIT), TEMP)


def test_edges_without_shapes():
    """Outputs whose shape the file does not say get one, and the number of classes in it."""
    model, _ = tuned_models.MODELS["other_outputs"]()
    for o in model.graph.output:
        o.type.tensor_type.ClearField("shape")
    model.graph.output[1].ClearField("type")
    program, out, _ = finetune("shapeless", model, "--classes", CLASSES)
    tuned.check_agrees(program, out, some(), cwd=TEMP)
    shapes = [[d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in onnx.load(out).graph.output]
    assert shapes == [["N", 3], ["N", 3], ["N"], ["N", 5], ["N", 8]], shapes


def test_training_mode():
    """A training-form export is written for inference, unless its literal meaning was asked for."""
    n = tuned_models.Net()
    names = [n.init(k, np.ones(3) * v) for k, v in (("g", 1), ("b", 0), ("m", 0.2), ("v", 2))]
    n.nodes.append(onnx.helper.make_node("BatchNormalization", ["x", *names], ["h", "m2", "v2"], "bn", training_mode=1))
    n.nodes += tuned_models.Net().nodes
    x = n.node("Conv", ["h", n.weight("c", 8, 3, 3, 3)], kernel_shape=[3, 3])
    n.out(n.gemm(n.node("Flatten", [n.node("GlobalAveragePool", [x])]), output="y"))
    for flags, left in ((["--keep-training-mode"], 1), ([], 0)):
        program, out, _ = finetune(f"training{left}", n.model(), "--classes", CLASSES, *flags)
        kept = [a for k in tuned.check(out).graph.node for a in k.attribute if a.name == "training_mode"]
        assert len(kept) == left, (flags, kept)
        if not left:
            tuned.check_agrees(program, out, some(), cwd=TEMP)


def test_tuned_again():
    """A tuned file is a model like any other, three times over."""
    model, _ = tuned_models.MODELS["softmax_reshaped"]()
    path = model
    for i, classes in enumerate((3, 3, 3)):
        program, path, _ = finetune(f"again{i}", path, "--classes", classes)
        tuned.check_agrees(program, path, some(), cwd=temp(""))


def test_frozen_numbers_stay():
    """float16 and bfloat16 files: what does not train keeps its bits; what trains differs by training alone."""
    for name in ("float16", "double"):
        model, _ = tuned_models.MODELS[name]()
        _, out, _ = finetune(name + "-frozen", model, "--classes", CLASSES)
        before = {t.name: t for t in model.graph.initializer}
        for t in onnx.load(out).graph.initializer:
            if t.name.startswith("conv."):
                assert numpy_helper.to_array(t).tobytes() == numpy_helper.to_array(before[t.name]).tobytes(), (name, t.name)


def test_errors():
    model, _ = tuned_models.MODELS["arg_max"]()
    onnx.save(model, temp("e.onnx"))
    code, _, err = run(HONE, "finetune", temp("e.onnx"), "-o", temp("no"), "--binary")
    assert code == 1 and "--binary" in err and err.count("\n") == 1, err


# ---- class names

def labels(text, *flags):
    with open(temp("labels.txt"), "wb") as f:
        f.write(text)
    onnx.save(tuned_models.MODELS["gemm"]()[0], temp("l.onnx"))
    return run(HONE, "finetune", temp("l.onnx"), "-o", temp("l"), "--classes", temp("labels.txt"), *flags)


def test_label_files():
    """A byte order mark and carriage returns go; the names come back from the exported model as they were."""
    names = ["a", "b b", "c\u00e9\u2603"]
    for text in ("\n".join(names), "\n".join(names) + "\n", "\r\n".join(names) + "\r\n", "\n".join(names) + "\n\n\n", "\r\n".join(names) + "\r\n\r\n"):
        for mark in (b"", b"\xef\xbb\xbf"):
            code, _, err = labels(mark + text.encode())
            assert code == 0, err
    folder = temp("named")
    for i, name in enumerate(names):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        for k in range(3):
            Image.fromarray(np.full((16, 16, 3), 80 * i + k, np.uint8)).save(os.path.join(folder, name, f"{k}.png"))
    ok(temp("l"), "train", folder, "--epochs", 1, "-q", "-o", temp("l-tuned.onnx"), "--no-checkpoint")
    meta = {p.key: p.value for p in onnx.load(temp("l-tuned.onnx")).metadata_props}
    assert meta["hone.labels"].split("\n") == names + [""], meta
    ok(HONE, "compile", temp("l-tuned.onnx"), "-o", temp("l-net"))
    line = json.loads(ok(temp("l-net"), "--json", some()[0]))
    assert sorted(t["label"] for t in line["top"]) == sorted(names), line
    with open(temp("labels2.txt"), "wb") as f:
        f.write(b"\xef\xbb\xbf" + "\r\n".join("xyz").encode())
    for flags in (["compile", temp("l-tuned.onnx"), "-o", temp("l-net"), "--labels", temp("labels2.txt")],):
        ok(HONE, *flags)
        line = json.loads(ok(temp("l-net"), "--json", some()[0]))
        assert sorted(t["label"] for t in line["top"]) == ["x", "y", "z"], line
    line = json.loads(ok(temp("l-net"), "--labels", temp("labels2.txt"), "--json", some()[0]))
    assert sorted(t["label"] for t in line["top"]) == ["x", "y", "z"], line


INVISIBLE = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff\xad\u3164\U000e0041\x85\x9b"


def test_label_files_refused():
    for text, words in ((b"a\nb\xe9\nc\n", "line 2"), (b"a\nb\tb\nc\n", "control character"), (b"a\nb\na\n", "twice"),
                        (b"a\nb\x1b[1m\n", "control character"), (b"a\nb\xc2\x85c\n", "control character"),
                        (b"a\x00\nb\n", "bytes 0"), ("a\nb\n".encode("utf-16"), ""), (b"a\nb\xed\xa0\x80\n", "UTF-8"),
                        (b"a\n\nb\n", "line 2: it is empty"), (b"\n\na\nb", "line 1: it is empty"), (b"\r\na\r\nb", "line 1: it is empty"),
                        *((f"a\nb{c}c\n".encode(), "line 2: the name 'b\\x") for c in INVISIBLE)):
        code, _, err = labels(text)
        assert code == 1 and words in err and err.count("\n") == 1, (text, err)
        assert all(c == "\n" or ord(c) >= 32 for c in err), err


def test_class_folders_refused():
    """Names that no line of text can hold: at compile time, and where the program learns them."""
    onnx.save(tuned_models.MODELS["gemm"]()[0], temp("f.onnx"))
    ok(HONE, "finetune", temp("f.onnx"), "-o", temp("f"), "--classes", 2)
    for i, bad in enumerate((b"new\nline", b"latin\xe9", b"tab\t", "turn\u202e".encode(), "space\u200b".encode())):
        folder = os.path.join(temp("").encode(), b"bad%d" % i)
        for name in (bad, b"good"):
            os.makedirs(os.path.join(folder, name))
            Image.new("RGB", (16, 16)).save(os.path.join(folder, name, b"x.png").decode("utf-8", "surrogateescape"))
        for command in ((HONE, "finetune", temp("f.onnx"), "-o", temp("no"), "--classes", folder),
                        (temp("f"), "train", folder, "-q", "--no-checkpoint")):
            done = subprocess.run(launch(command), capture_output=True, cwd=TEMP)
            assert done.returncode == 1 and b"class name" in done.stderr and done.stderr.count(b"\n") == 1, done.stderr


if __name__ == "__main__":
    main(sys.modules[__name__])
