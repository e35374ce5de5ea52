"""How images are read: options, a model's metadata as exporters write them, and what is assumed; what compile says of it."""
import json
import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, main, ok, run, temp

F = TensorProto.FLOAT
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def model(metadata=(), classes=3, size=(64, 48), time=0):
    """Means over an image, times a matrix; with time, a sequence of scores [N,time,classes]."""
    rng = np.random.default_rng(3)
    weights = [numpy_helper.from_array(rng.normal(0, 1, (3, classes)).astype(np.float32), "w"),
               numpy_helper.from_array(np.array([2, 3], np.int64), "axes"), numpy_helper.from_array(np.array([1, 1, 3], np.int64), "row"),
               numpy_helper.from_array(np.array([1, time or 1, 1], np.int64), "times")]
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0), helper.make_node("MatMul", ["m", "w"], ["s"], name="fc")]
    nodes += [helper.make_node("Unsqueeze", ["s"], ["u"], axes=[1]), helper.make_node("Concat", ["u"] * time, ["y"], axis=1)] if time else \
        [helper.make_node("Identity", ["s"], ["y"])]
    x = helper.make_tensor_value_info("x", F, ["N", 3, *size])
    m = helper.make_model(helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", F, None)], weights[:1]),
                          opset_imports=[helper.make_opsetid("", 11)])
    m.ir_version = 8
    helper.set_model_props(m, dict(metadata))
    with open(temp("m.onnx"), "wb") as f:
        f.write(m.SerializeToString())
    return "m.onnx"


def compiled(name, *flags):
    """(preprocessing, what compile says of it, its warnings)"""
    code, _, err = run(HONE, "compile", name, "-o", "p", *flags)
    assert code == 0, err
    info = json.loads(ok(temp("p"), "info", "--json"))
    lines = err.splitlines()
    return info["preprocess"], "".join(l for l in lines if l.startswith("images:")), "\n".join(l for l in lines if "warning" in l)


def close(got, **want):
    for key, value in want.items():
        assert np.allclose(got[key], value, rtol=1e-6, atol=1e-9) if not isinstance(value, str) else got[key] == value, (key, got[key], value)


def labels():
    """In the order of the classes."""
    ok(HONE, "compile", os.path.join(ROOT, "tools", "sample", "sample.onnx"), "-o", "sample")
    top = json.loads(ok(temp("p"), "--json", "--top", "1000", os.path.join(ROOT, "tools", "sample", "sneaker.png")))["top"]
    return [t["label"] for t in sorted(top, key=lambda t: t["class"])]


def test_what_nobody_states_is_assumed_and_said():
    p, note, _ = compiled(model())
    close(p, resize=round(48 / 0.875), width=48, height=64, channels="RGB", scale=1 / 255, **IMAGENET)
    for word in ("resize 55 bilinear", "centre crop 48x64", "RGB", "scale 1/255", "mean 0.485,0.456,0.406", "std 0.229,0.224,0.225",
                 "assumed", "mean, std, resize"):
        assert word in note, note
    _, note, _ = compiled(model(), "--mean", "0.5", "--std", "0.25")
    assert "them: resize)" in note and "mean 0.5,0.5,0.5" in note, note
    assert compiled(model(), "--mean", "0.5", "--std", "0.25", "--resize", "64")[1] == ""
    stated = {"hone.mean": "0.1,0.2,0.3", "hone.std": "1,2,3", "hone.resize": "64"}
    p, note, _ = compiled(model(stated))
    close(p, mean=[0.1, 0.2, 0.3], std=[1, 2, 3], resize=64)
    assert note == "", note
    close(compiled(model(stated), "--mean", "0.5", "--crop-pct", "0.5")[0], mean=[0.5] * 3, std=[1, 2, 3], resize=96)


def test_metadata_of_exporters():
    p, note, warned = compiled(model({"author": "Ultralytics", "imgsz": "[64, 48]", "names": "{0: 'cat', 1: \"dog's\", 2: 'emu'}"}))
    close(p, resize=48, mean=[0, 0, 0], std=[1, 1, 1], scale=1 / 255)
    assert labels() == ["cat", "dog's", "emu"] and "mean, std, resize from the model's metadata" in note and not warned, (note, warned)
    p, note, _ = compiled(model({"mean": "[0.5, 0.4, 0.3]", "std": "(0.2, 0.25, 0.5)", "crop_pct": "0.75", "label_names": '["a", "b", "c"]'}))
    close(p, mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.5], resize=64)
    assert labels() == ["a", "b", "c"] and "assumed" not in note
    p, _, _ = compiled(model({"mean": "123.675, 116.28, 103.53", "std": "58.395,57.12,57.375"}))  # of pixels from 0 to 255
    close(p, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], scale=1)
    p, _, _ = compiled(model({"image_mean": "[0.5, 0.5, 0.5]", "image_std": "[0.5, 0.5, 0.5]", "rescale_factor": "0.00392156862745098",
                              "id2label": '{"1": "b", "0": "a", "2": "caf\\u00e9 \\ud83d\\ude00"}'}))
    close(p, mean=[0.5] * 3, std=[0.5] * 3, scale=1 / 255)
    assert labels() == ["a", "b", "café 😀"]
    # our own keys come first, options before them
    p, _, _ = compiled(model({"hone.mean": "0.1", "mean": "0.9", "std": "0.3"}), "--std", "0.7")
    close(p, mean=[0.1] * 3, std=[0.7] * 3)


def test_interpolation():
    for key, text, want in (("interpolation", "bicubic", "bicubic"), ("interpolation", "InterpolationMode.LANCZOS", "lanczos"),
                            ("resample", "3", "bicubic"), ("resample", "2", "bilinear"), ("hone.interpolation", "box", "box")):
        p, _, warned = compiled(model({key: text}))
        assert (p["interpolation"], warned) == (want, ""), (key, text, p, warned)
    p, _, warned = compiled(model({"interpolation": "nearest"}))
    assert p["interpolation"] == "bilinear" and "NYI: the model's metadata ask for nearest" in warned
    p, _, _ = compiled(model({"hone.interpolation": "bicubic", "interpolation": "box"}))
    assert p["interpolation"] == "bicubic" and not p["as_stored"]
    p, _, _ = compiled(model({"interpolation": "bicubic", "hone.as_stored": "1"}), "--interpolation", "hamming")
    assert p["interpolation"] == "hamming" and p["as_stored"]
    assert compiled(model(), "--as-stored")[0]["as_stored"]
    for argv, metadata in ((["--interpolation", "nearest"], {}), ([], {"hone.interpolation": "Bicubic"})):
        code, _, err = run(HONE, "compile", model(metadata), "-o", "p", *argv)
        assert code == 1 and "is none of bilinear|bicubic|lanczos|box|hamming" in err, (code, err)


def test_labels_as_lists():
    for key, text, want in (("names", "a\nb\nc", ["a", "b", "c"]), ("names", "['x\\ny', \"q\\\"\", '\\x41']", ["x\\ny", 'q"', "A"]),
                            ("names", "{2: 'c', 0: 'a'}", ["a", "class 1", "c"]), ("character", "a\nb", ["blank", "a", "b"]),
                            ("character", "a", ["blank", "a", " "]), ("character", "a\nb\nc", ["a", "b", "c"])):
        compiled(model({key: text}))
        assert labels() == want, (text, labels())
    for text in ("{0: 'a'}", "{0: 'a', 1: 'b', 2: 'c', 3: 'd'}", "[1, [2], 3]", "{-1: 'a', 0: 'b', 1: 'c'}", "{'a': 0, 'b': 1}", "['a', 'b', 'c'",
                 "{99999999999999999999: 'a'}", "[" * 10000):
        _, _, warned = compiled(model({"names": text}))
        assert "metadata 'names'" in warned and labels() == ["class 0", "class 1", "class 2"], (text, warned)
    model({"character": "0\n1\n2"}, classes=5, time=7)  # a reader of text: a blank, what it reads, a space
    ok(HONE, "compile", "m.onnx", "-o", "p")
    assert json.loads(ok(temp("p"), "info", "--json"))["labels"] == 5
    model({"hone.labels": "a\nb"})
    assert "'hone.labels' has 2 labels, the output 3 classes: ignored" in compiled("m.onnx")[2]


def test_label_files():
    name = model({"hone.mean": "0.5", "hone.std": "0.5", "hone.resize": "48"})
    for data, want in ((b"\xef\xbb\xbfcat\r\ndog\r\nemu\r\n", ["cat", "dog", "emu"]), ("Käse\n猫\n😀".encode(), ["Käse", "猫", "😀"]),
                       ("می\u200cخورد\nb\n👨\u200d👩\n\n\n".encode(), ["می\u200cخورد", "b", "👨\u200d👩"])):
        with open(temp("labels.txt"), "wb") as f:
            f.write(data)
        compiled(name, "--labels", "labels.txt")
        assert labels() == want
        compiled(name)
        top = json.loads(ok(temp("p"), "--json", "--labels", "labels.txt", os.path.join(ROOT, "tools", "sample", "sneaker.png")))["top"]
        assert sorted(t["label"] for t in top) == sorted(want)
    for data, word in ((b"K\xe4se\ndog\nemu\n", "line 1"), (b"cat\ndog\x1b[31m\nemu\n", "line 2"), (b"a\0b\nb\nc\n", "UTF-16"),
                       ("a\nb\nc\n".encode("utf-16"), "UTF-8"), (b"a\nb\n", "2 labels"), (b"a\nb\nc\nd\n", "4 labels"), (b"", "0 labels"),
                       (b"a\n\nb\nc\n", "line 2: it is empty"), (b"a\n\nc\n", "line 2: it is empty"),
                       *((f"a\nb{c}\nc\n".encode(), "line 2: the name") for c in "\u200b\u200e\u202e\u2066\u2069\ufeff\x85")):
        with open(temp("labels.txt"), "wb") as f:
            f.write(data)
        for command in ((HONE, "compile", name, "-o", "q"), (HONE, "inspect", name, "--json"),
                        (temp("p"), os.path.join(ROOT, "tools", "sample", "sneaker.png"))):
            code, out, err = run(*command, "--labels", "labels.txt")
            assert code == 1 and word in out + err and "\x1b" not in out + err and len(err.splitlines()) <= 1, (data, command, out, err)
        assert not os.path.exists(temp("q"))
    with open(temp("labels.txt"), "w") as f:
        f.write("crane\nmaillot\ncrane\n")
    assert "'crane' stands there twice, in lines 1 and 3" in compiled(name, "--labels", "labels.txt")[2]
    assert labels() == ["crane", "maillot", "crane"]
    code, _, err = run(HONE, "finetune", name, "-o", "q", "--classes", "3", "--labels", "labels.txt")
    assert code == 1 and "--classes and --labels exclude each other" in err, err


def test_wrong_metadata():
    for key, text in (("hone.std", "0,0,0"), ("hone.std", "-1"), ("hone.mean", "nan"), ("hone.mean", "1,2,3,4,5"), ("hone.scale", "0"),
                      ("hone.resize", "-1"), ("hone.resize", "1.5"), ("hone.resize", "1,2"), ("hone.mean", "1e39"), ("hone.mean", "1,2"),
                      ("hone.std", "1e-50"), ("hone.mean", "")):
        code, _, err = run(HONE, "compile", model({key: text}), "-o", "q")
        assert code == 1 and len(err.splitlines()) == 1 and key.split(".")[1] in err, (key, text, err)
        assert not os.path.exists(temp("q"))
    for key, text in (("std", "0"), ("mean", "inf"), ("imgsz", "[0, 0]"), ("imgsz", "[32, 32]"), ("imgsz", "x"), ("crop_pct", "7"),
                      ("mean", "1,2"), ("image_std", "1,2")):
        p, note, warned = compiled(model({key: text}))
        assert f"metadata '{key.split('_')[-1] if key == 'image_std' else key}'" in warned and "assumed" in note, (key, text, warned, note)
        close(p, resize=55, **IMAGENET)


def test_options_are_checked_when_given():
    name = model()
    wrong = [("--std", "0"), ("--std", "0,0,0"), ("--std", "1,-1,1"), ("--std", "nan"), ("--std", "inf"), ("--std", "1e-50"), ("--std", "1,,1"),
             ("--std", "1,1,1,1,1"), ("--std", "1x"), ("--std", ""), ("--mean", "1e39"), ("--mean", "0.5;0.5;0.5"), ("--mean", " 1"),
             ("--scale", "0"), ("--scale", "-1"), ("--scale", "1,2"), ("--resize", "-1"), ("--resize", "1.5"), ("--resize", "1e9"),
             ("--resize", "256px"), ("--crop-pct", "0"), ("--crop-pct", "1.01"), ("--crop-pct", "nan"), ("--jobs", "0"), ("--jobs", "1025"),
             ("--jobs", "2 "), ("--threads", "99999999999"), ("--mcpu", ""), ("--name", ""), ("--emit", "elf"), ("--emit", ""),
             ("--mean", "1", "--mean", "2"), ("--mcpu", "native", "--mcpu", "native"), ("-O4",), ("-O",), ("--bgr=1",)]
    for flags in wrong:
        code, _, err = run(HONE, "compile", name, "-o", "q", *flags)
        assert code == 2 and err.startswith("hone compile: ") and len(err.splitlines()) == 1, (flags, code, err)
        code, _, err = run(HONE, "compile", "not-there.onnx", "-o", "q", *flags)
        assert code == 2, (flags, err)
    assert "--std takes numbers, one for all or one a channel, above 0 and at most 1000000000, not '0'" in run(HONE, "compile", name, "-o", "q", "--std", "0")[2]
    assert "--resize takes a whole number from 0 to 65536, not '1.5'" in run(HONE, "compile", name, "-o", "q", "--resize", "1.5")[2]
    code, _, err = run(HONE, "compile", name, "-o", "q", "--resize", "64", "--crop-pct", "0.9")
    assert code == 1 and "exclude each other" in err, err
    for flags, word in ((("--input-shape", "x=Nx3x64x64", "--input-shape", "x=Nx3x64x64"), "twice"), (("--input-shape", "x=Nx3x0x8"), "not of the form"),
                        (("--input-shape", "x=Nx3x99999999999x8"), "not of the form"), (("--input-shape", "x="), "not of the form"),
                        (("--input-shape", "x=NxNx8x8"), "first dimension"), (("--limit", "nodes=1", "--limit", "nodes=2"), "twice"),
                        (("--limit", "nodes=-1"), "NAME=SIZE"), (("--limit", "nodes=1E"), "NAME=SIZE"), (("--limit", "nodes=99999999T"), "NAME=SIZE"),
                        (("--limit", "memory=nan"), "NAME=SIZE"), (("--limit", "what=1"), "names no limit"),
                        (("--print-after", "magic"), "no pass is called 'magic'")):
        code, _, err = run(HONE, "compile", name, "-o", "q", *flags)
        assert code == 1 and word in err and len(err.splitlines()) == 1, (flags, code, err)
    for flags in (("--tolerance", "nan"), ("--tolerance", "-1"), ("--tolerance", "inf"), ("--batch", "x"), ("--random", "0"), ("--seed", "-1")):
        code, _, err = run(HONE, "verify", name, *flags)
        assert code == 2 and len(err.splitlines()) == 1, (flags, code, err)
    for flags in (("--classes", "3", "--seed", "-1"), ("--classes", "3", "--seed", "1e3"), ("--classes", "3", "--head-dropout", "1"),
                  ("--classes", "3", "--head-dropout", "nan"), ("--classes", "3", "--stages", "head:1:1e39"), ("--classes", "3", "--stages", "head:0"),
                  ("--classes", "3", "--lr-mult", "a=nan"), ("--classes", "3", "--lr-mult", "a=-1"), ("--classes", "3", "--stages", "head:1:0"),
                  ("--classes", "1"), ("--classes", "-3"), ("--classes", "99999999999999999999"), ("--classes", "3", "--bn", "x"), ("--classes", "3", "--labels", "m.onnx")):
        code, _, err = run(HONE, "finetune", name, "-o", "q", *flags)
        assert code in (1, 2) and len(err.splitlines()) == 1, (flags, code, err)


if __name__ == "__main__":
    main(sys.modules[__name__])
