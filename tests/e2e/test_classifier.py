"""Which of several outputs classifies: compile, finetune and inspect find the same one and say so, whatever the order;
--output and --head choose; a trained model keeps the choice. Images into inputs and scores out of outputs of every
element type. What is said where nothing classifies, or nothing can be replaced.
"""
import itertools
import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tuned
import tuned_models
from script import HONE, TEMP, main, ok, run, temp
from tuned_models import FEATURES, OLD, SIZE, Net

F, F16, F64, BF16, U8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.UINT8


def norm(n, x):
    length = n.node("ReduceL2", [x], axes=[1], keepdims=1)
    return n.node("Div", [x, length], f"{x}_n")


# ---- networks: name -> function of a Net, to (its outputs by name, with shapes, the classifier's). One letter names tell nothing.

def embedding(n):
    e = n.gemm(n.features(), "e.weight", "e.bias", "e", 6)
    return {"e": 6, n.gemm(e, output="y", width=6, name="fc"): OLD}, "y"


def pooled(n):
    f = n.features()
    return {f: FEATURES, n.gemm(f, output="y", name="fc"): OLD}, "y"


def pyramid(n):
    f = n.features()
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Conv")
    return {maps: (FEATURES, 8, 8), f: FEATURES, n.gemm(f, output="y", name="fc"): OLD}, "y"


def auxiliary(n):
    a = n.gemm(n.features(), "a.weight", "a.bias", "a", name="aux_fc")
    maps = next(x.output[0] for x in n.nodes if x.op_type == "Conv")
    c = n.node("Conv", [maps, n.weight("c.weight", FEATURES, FEATURES, 1, 1)])
    return {a: OLD, n.gemm(n.node("Flatten", [n.node("GlobalAveragePool", [c])]), output="y", name="fc"): OLD}, "y"


def both(n):
    y = n.gemm(n.features(), output="l", name="fc")
    return {"l": OLD, n.node("Softmax", [y], "y"): OLD}, "y"


def answers(n):
    y = n.node("Softmax", [n.gemm(n.features(), name="fc")], "y")
    n.node("ArgMax", [y], "k", axis=1, keepdims=0)
    return {n.node("ReduceMax", [y], "m", axes=[1], keepdims=1): 1, "k": None, "y": OLD}, "y"


def beside(n):
    f = n.features()
    e = n.gemm(f, "e.weight", "e.bias", "e", 6)
    return {norm(n, e): 6, n.gemm(f, output="y", name="fc"): OLD}, "y"


def named(n):
    f = n.features()
    return {n.gemm(f, "e.weight", "e.bias", "image_embeds", 6): 6, n.gemm(f, output="class_logits", name="fc"): OLD}, "class_logits"


def attributes(n):
    f = n.features()
    return {n.gemm(f, "e.weight", "e.bias", "a", 1): 1, n.node("Softmax", [n.gemm(f, name="fc")], "y"): OLD}, "y"


def expected_value(n):
    y = n.node("Softmax", [n.gemm(n.features(), name="fc")], "y")
    return {n.node("MatMul", [y, n.weight("ages", OLD, 1)], "a"): 1, "y": OLD}, "y"


def labels_and_embedding(n):
    f = n.features()
    e = n.gemm(f, "e.weight", "e.bias", "e", 6)
    return {e: 6, n.node("Sigmoid", [n.gemm(f, name="fc")], "y"): OLD}, "y"


def detector(n):
    f = n.features()
    boxes = n.node("Reshape", [n.gemm(f, "box.weight", "box.bias", classes=8), n.ints("bs", -1, 2, 4)], "b")
    scores = n.node("Reshape", [n.gemm(f, "s.weight", "s.bias", classes=6), n.ints("ss", -1, 2, 3)], "s")
    return {boxes: (2, 4), scores: (2, 3), n.gemm(f, output="y", name="fc"): OLD}, "y"


NETWORKS = [embedding, pooled, pyramid, auxiliary, both, answers, beside, named, attributes, expected_value, labels_and_embedding,
            detector]


def save(name, build, order=None):
    tuned_models.RNG = np.random.default_rng(7)
    n = Net()
    outputs, classifier = build(n)
    names = list(outputs)
    for x in order or names:
        tail = outputs[x]
        n.out(x, ("N",) if tail is None else ("N", *np.atleast_1d(tail).tolist()), TensorProto.INT64 if tail is None else F)
    onnx.save(n.model(), temp(name + ".onnx"))
    return names, classifier


def picture(name="p.png", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(temp(name))
    return pixels


def refuses(*argv, says=(), silent=()):
    code, out, err = run(*argv)
    assert code == 1 and len(err.splitlines()) == 1, (argv, code, out, err)
    assert all(w in err for w in says) and not any(w in err for w in silent), (argv, err)


def classes_line(text):
    found = [line for line in text.splitlines() if line.startswith("classes:")]
    assert len(found) <= 1, text
    return found[0] if found else None


def test_all_commands_find_the_same_output():
    for build in NETWORKS:
        names, classifier = save("n", build)
        for order in itertools.permutations(names):
            save("n", build, order)
            line = classes_line(ok(HONE, "inspect", "n.onnx"))
            assert line and f"by output '{classifier}'" in line, (build.__name__, order, line)
            assert all(x in line for x in names) and "--output" in line, line
            assert line == classes_line(ok(HONE, "inspect", "n.onnx", "--finetune", "--classes", 3)), (build.__name__, order)
            assert json.loads(ok(HONE, "inspect", "n.onnx", "--json"))["classifier"] == classifier
        code, _, err = run(HONE, "compile", "n.onnx", "-o", "n", "-O0")
        assert code == 0 and classes_line(err) == line, err
        assert json.loads(ok(temp("n"), "info", "--json"))["classifier"] == classifier
        if build in (embedding, answers):
            code, plan, err = run(HONE, "finetune", "n.onnx", "-o", "t", "-O0", "--classes", 3)
            assert code == 0 and classes_line(err) == line and "\nfc " in plan, plan + err


def test_one_output_is_not_mentioned():
    save("n", lambda n: ({n.gemm(n.features(), output="y"): OLD}, "y"))
    code, _, err = run(HONE, "compile", "n.onnx", "-o", "n", "-O0")
    assert code == 0 and classes_line(err) is None and classes_line(ok(HONE, "inspect", "n.onnx")) is None


def shown(program, count):
    top = json.loads(ok(temp(program), "--json", "--top", 100, "p.png"))["top"]
    assert len(top) == count, top
    return np.array([t["probability"] for t in sorted(top, key=lambda t: t["class"])])


def preprocessed(pixels, mean=0.5, std=0.25):
    return ((pixels.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)[None]


AS_TOLD = ("--mean", 0.5, "--std", 0.25, "--resize", SIZE)


def softmax(y):
    e = np.exp(y.astype(np.float64) - y.max())
    return e / e.sum()


def test_programs_classify_by_it():
    np.save(temp("x.npy"), preprocessed(picture()))
    with open(temp("five.txt"), "w") as f:
        f.write("a\nb\nc\nd\ne\n")
    for order in (["e", "y"], ["y", "e"]):
        save("n", embedding, order)
        ok(HONE, "compile", "n.onnx", "-o", "n", "--labels", "five.txt", *AS_TOLD)
        ok(temp("n"), "run", "-i", "x.npy", "-o", "y=y.npy", "-o", "e=e.npy")
        assert np.allclose(shown("n", OLD), softmax(np.load(temp("y.npy"))[0]), atol=1e-6)
        assert "classes    by output 'y'" in ok(temp("n"), "info")
        ok(HONE, "compile", "n.onnx", "-o", "n", "--output", "e", *AS_TOLD)
        assert np.allclose(shown("n", 6), softmax(np.load(temp("e.npy"))[0]), atol=1e-6)
        refuses(HONE, "compile", "n.onnx", "-o", "n", "--output", "e", "--labels", "five.txt", says=["'e' 6 classes"])


def test_input_grad_is_of_the_classifier():
    np.save(temp("x.npy"), preprocessed(picture()))
    np.save(temp("label.npy"), np.array([2], np.int32))
    grads = []
    save("both", embedding)
    for order in (["y"], ["e", "y"], ["y", "e"]):
        model = onnx.load(temp("both.onnx"))
        outputs = {o.name: o for o in model.graph.output}
        del model.graph.output[:]
        model.graph.output.extend(outputs[x] for x in order)
        onnx.save(model, temp("n.onnx"))
        ok(HONE, "compile", "n.onnx", "-o", "n", "--emit-input-grad", "-O0")
        ok(temp("n"), "run", "-i", "x=x.npy", "-i", "label=label.npy", "-o", "input_grad=g.npy")
        grads.append(np.load(temp("g.npy")))
    assert np.abs(grads[0]).max() > 0 and np.allclose(grads[0], grads[1]) and np.allclose(grads[0], grads[2])


# ---- training

def folder():
    path = temp("data")
    for i in range(6):
        os.makedirs(os.path.join(path, "abc"[i % 3]), exist_ok=True)
        picture(os.path.join(path, "abc"[i % 3], f"{i}.png"), i)
    return path


def train(name, *flags):
    code, said, err = run(HONE, "finetune", name + ".onnx", "-o", "t", "--classes", folder(), *AS_TOLD, *flags)
    assert code == 0, said + err
    ok(temp("t"), "train", folder(), "--epochs", 2, "--batch", 3, "-q", "--overwrite", "-o", temp("tuned.onnx"))
    tuned.check_agrees(temp("t"), temp("tuned.onnx"), [os.path.join(folder(), "a/0.png"), os.path.join(folder(), "b/1.png")])
    return said, err, {p.key: p.value for p in onnx.load(temp("tuned.onnx")).metadata_props}


def weights(path):
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def test_trained_models_keep_the_choice():
    for order in (["e", "y"], ["y", "e"]):
        save("n", embedding, order)
        said, _, meta = train("n")
        assert meta["hone.output"] == "y" and "\nfc " in said
        before, after = weights(temp("n.onnx")), weights(temp("tuned.onnx"))
        assert after["fc.weight"].shape == (3, 6)
        assert all(np.array_equal(before[k], after[k]) for k in before if not k.startswith("fc"))
        assert [o.name for o in onnx.load(temp("tuned.onnx")).graph.output] == order
    for order in (["e", "y"], ["y", "e"]):  # each class by itself: the trained output ends in a sigmoid
        save("n", embedding, order)
        ok(HONE, "finetune", "n.onnx", "-o", "t", "--classes", 3, "--multi-label", "-O0")
        rng = np.random.default_rng(0)
        np.save(temp("x.npy"), rng.integers(0, 256, (6, SIZE, SIZE, 3)).astype(np.uint8))
        np.save(temp("labels.npy"), rng.integers(0, 2, (6, 3)).astype(np.float32))
        ok(temp("t"), "train", "x.npy,labels.npy", "--epochs", 1, "-q", "--overwrite", "-o", temp("t.onnx"), cwd=TEMP)
        makers = {n.output[0]: n.op_type for n in tuned.check(temp("t.onnx")).graph.node}
        assert makers["y"] == "Sigmoid" and makers["e"] == "Gemm", makers
    for flags in (("--output", "a"), ("--head", "aux_fc")):  # the other classifier, and compiled again without a flag
        save("n", auxiliary)
        said, err, meta = train("n", *flags)
        assert meta["hone.output"] == "a" and "by output 'a'" in err and "\naux_fc " in said, err
        before, after = weights(temp("n.onnx")), weights(temp("tuned.onnx"))
        assert after["a.weight"].shape == (3, FEATURES) and np.array_equal(before["fc.weight"], after["fc.weight"])


def test_names_that_are_not_there():
    save("n", pyramid)
    refuses(HONE, "compile", "n.onnx", "-o", "no", "--output", "nobody", says=["no output, node or tensor is called 'nobody'", "'y'"])
    refuses(HONE, "finetune", "n.onnx", "-o", "no", "--classes", "3", "--output", "nobody",
            says=["no output is called 'nobody'", "there are: ", "y f32[N,5]"])
    for flags, says in (([], "no output, node or tensor is called 'nobody'"),
                        (["--finetune", "--classes", "3"], "no output is called 'nobody'")):
        assert says in "".join(run(HONE, "inspect", "n.onnx", *flags, "--output", "nobody")[1:])
    maps = onnx.load(temp("n.onnx")).graph.output[0].name
    ok(HONE, "inspect", "n.onnx", "--finetune", "--classes", 3, "--output", maps)  # a map of classes
    assert not os.path.exists(temp("no"))
    model = onnx.load(temp("n.onnx"))
    onnx.helper.set_model_props(model, {"hone.output": "gone"})
    onnx.save(model, temp("n.onnx"))
    code, _, err = run(HONE, "compile", "n.onnx", "-o", "n", "-O0")
    assert code == 0 and "'hone.output'" in err and "by output 'y'" in err, err


# ---- element types

def stored(x, dtype):
    """x as an array that .npy has for the type."""
    if dtype == BF16:
        bits = x.astype(np.float32).view(np.uint32)
        return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16).view("V2")
    return x.astype({F: np.float32, F16: np.float16, F64: np.float64}[dtype])


def loaded(name):
    y = np.load(temp(name))
    return (y.view(np.uint16).astype(np.uint32) << 16).view(np.float32) if y.dtype.kind == "V" else y


def edges(inside, outside, end):
    """A network from an input of one type to an output of another."""
    n = Net(dtype=F if inside in (U8, BF16) else inside)
    n.input_type = inside
    y = n.gemm(n.features(), name="fc")
    y = n.node(end, [y], **({"axis": 1} if end == "Softmax" else {})) if end else y
    n.outputs.append(onnx.helper.make_tensor_value_info(n.node("Cast", [y], "y", to=outside), outside, ["N", OLD]))
    onnx.save(n.model(), temp("n.onnx"))


def test_images_into_every_type():
    pixels = picture()
    for inside, outside, end in [(F16, F16, "Softmax"), (F16, F16, None), (F16, F, "Sigmoid"), (F, F16, "Softmax"), (F, F64, "Softmax"),
                                 (F, F64, None), (F64, F64, "Softmax"), (U8, F, "Softmax")]:
        edges(inside, outside, end)
        flags = ("--resize", SIZE) if inside == U8 else AS_TOLD
        code, _, err = run(HONE, "compile", "n.onnx", "-o", "n", *flags)
        assert code == 0 and "images:" not in err, err
        np.save(temp("x.npy"), pixels.transpose(2, 0, 1)[None] if inside == U8 else stored(preprocessed(pixels), inside))
        ok(temp("n"), "run", "-i", "x.npy", "-o", "y.npy")
        y = loaded("y.npy")[0]
        assert np.allclose(shown("n", OLD), y if end else softmax(y), atol=1e-6), (inside, outside, end)
        ok(temp("n"), "bench", "--iters", 1)
        info = json.loads(ok(temp("n"), "info", "--json"))
        assert info["scores"] == {"Softmax": "probabilities", "Sigmoid": "sigmoid", None: "logits"}[end], info


def test_bytes_are_taken_as_they_are():
    edges(U8, F, "Softmax")
    code, _, err = run(HONE, "compile", "n.onnx", "-o", "n", "-O0")
    assert code == 0 and "scale 1, mean 0,0,0, std 1,1,1 (assumed, as nothing states them: resize)" in err, err
    picture()
    for option in ("--mean", "--std", "--scale"):
        refuses(HONE, "compile", "n.onnx", "-o", "no", option, 0.5, says=[option, "u8", "as they are"])
        refuses(temp("n"), option, "0.5", "p.png", says=[option, "as they are"])


def test_tuned_half_precision_takes_images():
    n = Net(dtype=F16)
    n.input_type = F16
    n.out(n.node("Softmax", [n.gemm(n.features(), name="fc")], "y", axis=1), dtype=F16)
    onnx.save(n.model(), temp("n.onnx"))
    code, said, err = run(HONE, "finetune", "n.onnx", "-o", "t", "--classes", folder(), *AS_TOLD)
    assert code == 0, said + err
    ok(temp("t"), "train", folder(), "--epochs", 1, "--batch", 3, "-q", "-o", temp("tuned.onnx"))
    tuned.check_agrees(temp("t"), temp("tuned.onnx"), [os.path.join(folder(), "a/0.png")], tuned.LIMIT_HALF)


# ---- where nothing classifies, or nothing can be replaced

def test_what_is_said_where_nothing_classifies():
    picture()
    for build in (lambda n: ({n.node("ReduceMean", ["x"], "rows", axes=[1], keepdims=0): (SIZE, SIZE)}, None),
                  lambda n: ({n.node("ArgMax", [n.gemm(n.features())], "k", axis=1, keepdims=0): None}, None)):
        names, _ = save("n", build)
        code, _, err = run(HONE, "compile", "n.onnx", "-o", "n", "-O0")
        assert code == 0 and "images: none are classified: no output is a row of scores" in err and names[0] in err, err
        refuses(temp("n"), "p.png", says=["not scores of classes"])
        assert json.loads(ok(temp("n"), "info", "--json"))["scores"] is None and "none: no output" in ok(temp("n"), "info")
    save("n", pooled)
    code, _, err = run(HONE, "compile", "n.onnx", "-o", "n.so", "--emit", "shared", "-O0")
    assert code == 0 and "images:" not in err, err


def gated(n):  # by what the scores say
    a = n.gemm(n.features(), "a.weight", "a.bias", name="fc")
    gate = n.node("Sigmoid", [n.gemm(a, "b.weight", "b.bias", width=OLD, name="fc2")])
    return {n.node("Mul", [a, gate], "y", name="gate"): OLD}, "y"


def shuffled(n):
    y = n.gemm(n.features(), name="fc")
    return {n.node("Gather", [y, n.ints("order", 4, 2, 0, 1, 3)], "y", name="order", axis=1): OLD}, "y"


def test_what_cannot_be_replaced():
    tune = (HONE, "finetune", "n.onnx", "-o", "no", "--classes", 3)
    for build, node, why in ((gated, "gate", "all computed"), (shuffled, "order", "NYI: this operator")):
        save("n", build)
        for flags in ((), ("--head", "fc")):
            refuses(*tune, *flags, says=[f"node '{node}'", "no classifier can be replaced", why], silent=["--head NODE"])
        refuses(*tune, "--head", "nobody", says=["no node is called 'nobody'", "none can be replaced"])
    n = Net()
    f = n.features()
    n.node("Gemm", [f, n.weight("d", OLD, FEATURES)], "dead", name="dead", transB=1)
    n.out(n.gemm(f, output="y", name="fc"))
    n.out(n.gemm(f, "a.weight", "a.bias", "a", name="aux_fc"))
    onnx.save(n.model(), temp("n.onnx"))
    usable = "there are 'fc' of the output 'y', 'aux_fc' of the output 'a'"
    for head, why in (("Conv_1", "not the last product"), ("dead", "nothing is left of it"), ("nobody", "no node is called 'nobody'")):
        refuses(*tune, "--head", head, says=[f"'{head}'", why, usable])
    refuses(*tune, "--head", "aux_fc", "--output", "y", says=["'aux_fc'", "'fc'"])
    assert not os.path.exists(temp("no"))


if __name__ == "__main__":
    main(sys.modules[__name__])
