"""Files that are no models are called by their names; external data through links, where these may lead and where not."""
import gzip
import io
import os
import struct
import sys
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, SAMPLE, main, ok, run, temp

F = TensorProto.FLOAT


def write(name, data):
    os.makedirs(os.path.dirname(temp(name)), exist_ok=True)
    with open(temp(name), "wb") as f:
        f.write(data)
    return name


def zipped(*members):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as z:
        for m in members:
            z.writestr(m, b"x" * 100000)
    return made.getvalue()


def test_what_is_no_model_is_named():
    kinds = [  # bytes, words of the line
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 98\n", "Git LFS", "git lfs pull"),
        (b"\n <!doctype html>\n<p>caf\xc3\xa9", "HTML page", "download"),
        (b"<html><head>", "HTML page", "download"),
        (zipped("archive/data.pkl", "archive/data/0"), "PyTorch checkpoint", "torch.onnx.export"),
        (zipped("net/data/0", "net/data/1", "net/data.pkl", "net/constants.pkl"), "TorchScript", "torch.onnx.export"),
        (zipped("net.onnx"), "zip archive", "unpack"),
        (zipped("config.json", "model.weights.h5"), "Keras", "tf2onnx"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02", "PyTorch checkpoint", "torch.onnx.export"),
        (b"\x80\x04\x95" + bytes(40), "pickle", "torch.onnx.export"),
        (struct.pack("<Q", 16) + b'{"a":{"dtype":1}}' + bytes(8), "safetensors", "torch.onnx.export"),
        (b"\x0a\x1c\x0a\x01x\x12\x0bPlaceholder" + bytes(30), "TensorFlow", "tf2onnx"),
        (b"\x08\x01\x12\xff\x01" + b"serving_default" * 20, "TensorFlow", "tf2onnx"),
        (b"\x1c\0\0\0TFL3" + bytes(50), "TensorFlow Lite", "tf2onnx"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5", "ONNX"),
        (b'{"ir_version": 8}', "JSON", ".onnx"),
        (b"ir_version: 8\ngraph {}\n", "as text", "onnx.save"),
        (gzip.compress(open(SAMPLE, "rb").read()), "gzip", "unpack"),
        (b"GGUF" + bytes(40), "GGUF", ""),
        (b"#!/bin/sh\necho hello\n", "text file", ""),
        (open(SAMPLE, "rb").read()[:3000], "ends in the middle of a field", "truncated"),
        (b"", "empty", ""),
    ]
    for data, *words in kinds:
        write("m.onnx", data)
        code, out, err = run(HONE, "compile", "m.onnx", "-o", "out")
        assert code == 1 and out == "" and len(err.splitlines()) == 1, (data[:20], err)
        assert err.startswith("m.onnx: not an ONNX model: ") and all(w in err for w in words), (data[:20], err)
        assert not os.path.exists(temp("out"))
    write("net.onnx_data", np.random.default_rng(1).bytes(4000))
    code, _, err = run(HONE, "inspect", "net.onnx_data")
    assert code == 1 and "external data of a model" in err, err
    # A model that was made from a TensorFlow graph, cut short, is a model that was cut short.
    m = helper.make_model(helper.make_graph([helper.make_node("Relu", ["Placeholder:0"], ["serving_default"])], "g",
                                            [helper.make_tensor_value_info("Placeholder:0", F, [1])],
                                            [helper.make_tensor_value_info("serving_default", F, [1])]), producer_name="tf2onnx")
    write("m.onnx", m.SerializeToString()[:-3])
    assert "truncated" in run(HONE, "compile", "m.onnx", "-o", "out")[2]


# ---------------------------------------------------------------- external data

def two_files(folder, data="model.onnx_data"):
    """A convolution whose weights stand in another file; returns the bytes of both."""
    w = numpy_helper.from_array(np.random.default_rng(0).normal(0, 1, (8, 3, 5, 5)).astype(np.float32), "w")
    m = helper.make_model(helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], name="conv")], "g",
                                            [helper.make_tensor_value_info("x", F, ["N", 3, 9, 9])],
                                            [helper.make_tensor_value_info("y", F, None)], [w]),
                          opset_imports=[helper.make_opsetid("", 13)])
    m.ir_version = 8
    os.makedirs(temp(folder), exist_ok=True)
    onnx.save_model(m, temp(f"{folder}/model.onnx"), save_as_external_data=True, location=data, size_threshold=0)
    return [open(temp(f"{folder}/{n}"), "rb").read() for n in ("model.onnx", data)]


def link(to, at):
    os.makedirs(os.path.dirname(temp(at)), exist_ok=True)
    os.symlink(to, temp(at))


def compiles(path, *flags):
    ok(HONE, "compile", path, "-o", "out", "--emit", "ir", *flags)
    os.unlink(temp("out"))


def refused(path, word, *flags):
    code, _, err = run(HONE, "compile", path, "-o", "out", "--emit", "ir", *flags)
    assert code == 1 and word in err and len(err.splitlines()) == 1, err
    assert not os.path.exists(temp("out"))


def test_links_within_a_cache():
    model, data = two_files("plain")
    write("hub/blobs/aaaa", model)
    write("hub/blobs/bbbb", data)
    rev = "hub/snapshots/rev"
    link("../../../blobs/aaaa", rev + "/onnx/model.onnx")
    link("../../../blobs/bbbb", rev + "/onnx/model.onnx_data")
    compiles(rev + "/onnx/model.onnx")
    link("hub", "elsewhere")  # the cache itself may be reached through a link
    compiles("elsewhere/snapshots/rev/onnx/model.onnx")
    compiles(temp(rev) + "/onnx/model.onnx")
    for name, to in (("short.onnx", rev + "/onnx/model.onnx"), ("shorter.onnx", "short.onnx"), ("longer.onnx", temp(rev) + "/onnx/model.onnx")):
        link(to, name)  # to a link of the cache: the data lie beside that one
        compiles(name)
    ok(HONE, "compile", "model.onnx", "-o", temp("out"), "--emit", "ir", cwd=temp(rev + "/onnx"))
    os.unlink(temp("out"))
    link("rev", "hub/snapshots/main")  # a link to a folder, and from revision to revision
    link("../rev/onnx/model.onnx_data", "hub/snapshots/next/model.onnx_data")
    write("hub/snapshots/next/model.onnx", model)
    compiles("hub/snapshots/main/onnx/model.onnx")
    compiles("hub/snapshots/next/model.onnx")
    for at in (temp("hub"), temp("elsewhere")):  # absolute links, by whichever path
        os.unlink(temp("hub/snapshots/next/model.onnx_data"))
        link(at + "/blobs/bbbb", "hub/snapshots/next/model.onnx_data")
        compiles("hub/snapshots/next/model.onnx")
    os.chmod(temp("hub/blobs"), 0o711)
    compiles("hub/snapshots/next/model.onnx")


def test_links_that_leave_the_cache():
    model, data = two_files("plain2")
    write("secret", data)
    write("cache/blobs/dddd", data)
    write("cache/private/data", data)
    write("cache/snapshots/a/x", b"")
    cases = {"../../../secret": "link", temp("secret"): "link", "/etc/passwd": "link", "../../private/data": "link",
             "../../../cache/blobs/dddd": "link", temp("cache/private/data"): "link", temp("cache/blobs/../../secret"): "link", "model.onnx_data": "link", "../nowhere/../../blobs/dddd": "No such file",
             "../../blobs": "regular file", "../../blobs/dddd/": "below", "../../blobs/none": "No such file"}
    for i, (to, word) in enumerate(cases.items()):
        write(f"cache/snapshots/{i}/model.onnx", model)
        link(to, f"cache/snapshots/{i}/model.onnx_data")
        refused(f"cache/snapshots/{i}/model.onnx", word)
    for at in range(20):  # a long chain
        link(f"l{at + 1}", f"cache/blobs/l{at}")
    write("cache/blobs/l20", data)
    write("cache/snapshots/chain/model.onnx", model)
    link("../../blobs/l0", "cache/snapshots/chain/model.onnx_data")
    refused("cache/snapshots/chain/model.onnx", "link")
    os.link(temp("secret"), temp("cache/blobs/hard"))
    write("cache/snapshots/hard/model.onnx", model)
    link("../../blobs/hard", "cache/snapshots/hard/model.onnx_data")
    refused("cache/snapshots/hard/model.onnx", "regular file of its own")


def test_links_elsewhere():
    model, data = two_files("plain3")
    write("store/data", data)
    write("work/model.onnx", model)
    link("../store/data", "work/model.onnx_data")
    refused("work/model.onnx", "--follow-links")
    compiles("work/model.onnx", "--follow-links")
    ok(HONE, "inspect", "work/model.onnx", "--follow-links")
    write("up/model.onnx", two_files("plain4", "data.bin")[0].replace(b"data.bin", b"../s/dat"))
    refused("up/model.onnx", "must lie below", "--follow-links")  # what the file says is no link
    write("store/blobs/x", b"")  # half of a cache is none
    link("../store/data", "store2/model.onnx_data")
    write("store2/model.onnx", model)
    refused("store2/model.onnx", "link")


def test_a_model_that_is_a_link():
    model, data = two_files("far/away")
    link("far/away/model.onnx", "here.onnx")  # its data lies where it leads to
    compiles("here.onnx")
    link("../here.onnx", "more/links.onnx")
    compiles("more/links.onnx")
    two_files("near")
    os.rename(temp("near/model.onnx"), temp("moved.onnx"))  # or where the link is
    link("../moved.onnx", "near/model.onnx")
    compiles("near/model.onnx")


def test_data_that_was_not_fetched():
    model, data = two_files("lfs")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 2400\n"
    write("lfs/model.onnx_data", pointer + bytes(max(0, len(data) - len(pointer))))
    refused("lfs/model.onnx", "Git LFS pointer")


def test_an_output_that_is_listed_twice():
    y = helper.make_tensor_value_info("y", F, ["N", 2])
    m = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g",
                                            [helper.make_tensor_value_info("x", F, ["N", 2])], [y, y]),
                          opset_imports=[helper.make_opsetid("", 13)])
    m.ir_version = 8
    write("twice.onnx", m.SerializeToString())
    ok(HONE, "compile", "twice.onnx", "-o", "twice")
    x = np.array([[-1, 2], [3, -4], [0, 5]], np.float32)
    np.save(temp("x.npy"), x)
    ok(temp("twice"), "run", "-i", "x=x.npy", "-o", "y=y.npy")
    assert np.array_equal(np.load(temp("y.npy")), [[0, 2], [3, 0], [0, 5]])


if __name__ == "__main__":
    main(sys.modules[__name__])
