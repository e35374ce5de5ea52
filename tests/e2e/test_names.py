"""Names are data: whatever a model, its tensors, nodes and classes are called, C headers, JSON, HTML, SVG, DOT, textual IR,
checkpoints and terminals get what they can have. Every code point up to U+00FF, and those that turn or end lines.

A terminal: UTF-8, lines, and nothing that moves the cursor, hides or turns text. Bad UTF-8 comes by ways that no model has: the
command line, names of files and folders."""
import html.parser
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree

import numpy as np
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from foreign import launch
from script import HONE, SNEAKER, main, ok, run, temp

F = TensorProto.FLOAT
ODD = [chr(c) for c in range(1, 256)] + ["\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff\ufff9\U000e0041\u200b\u200c\u200d\u3164\u180e",
    "\x1b]0;PWNED\x07\x1b[31m\x1b[2J", "</title><script>alert(1)</script>", "x\n#error INJECTED\nint pwned(void){return 1;}\n//", "y\\", "??/",
    "*/ int x; /*", "\\\n", "\"); system(\"id", "%s%n%d", "&lt;b&gt;", "$(id)`id`", "../../../etc/passwd", "__metadata__", "a=b", "N", "Käse 猫 😀", "\\N\\G",
    "'; DROP", "]]>", "<!--", "--help", "-rf", ".", "a\tb", "\r", "x" * 3000]
PLAIN = "name"


def network(text, path, kind="x"):
    """Every name of it holds the text; the classes are called so, too."""
    rng = np.random.default_rng(1)
    w = {f"w{text}": rng.normal(0, 1, (4, 1, 3, 3)).astype(np.float32), f"fc{text}": rng.normal(0, 1, (4, 3)).astype(np.float32)}
    names = {n: f"{n}{text}" for n in ("x", "c", "r", "p", "f", "y")}
    nodes = [helper.make_node("Conv", [names["x"], f"w{text}"], [names["c"]], name=f"conv{text}"),
             helper.make_node("Relu", [names["c"]], [names["r"]], name=f"relu{text}"),
             helper.make_node("GlobalAveragePool", [names["r"]], [names["p"]], name=f"pool{text}"),
             helper.make_node("Flatten", [names["p"]], [names["f"]], name=f"flat{text}"),
             helper.make_node("MatMul", [names["f"], f"fc{text}"], [names["y"]], name=f"last{text}")]
    graph = helper.make_graph(nodes, f"graph{text}", [helper.make_tensor_value_info(names["x"], F, ["N", 1, 12, 12])],
                              [helper.make_tensor_value_info(names["y"], F, None)], [numpy_helper.from_array(v, k) for k, v in w.items()])
    m = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], producer_name=text)
    m.ir_version = 8
    line = re.sub("[\r\n]", " ", text)
    helper.set_model_props(m, {"hone.labels": f"a{line}\nb{line}\nc{line}", "hone.mean": "0.5", "hone.std": "0.5", "hone.resize": "12"})
    with open(temp(path), "wb") as f:
        f.write(m.SerializeToString())
    return path, [f"{c}{line}" for c in "abc"]


def hidden(c):
    return (unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in "\xad\u034f\u061c\u115f\u1160\u180e\u3164\ufeff\uffa0" or
            "\u200b" <= c <= "\u200f" or "\u202a" <= c <= "\u202e" or "\u2060" <= c <= "\u206f" or "\ufff9" <= c <= "\ufffb" or
            "\U000e0000" <= c <= "\U000e007f")


def shown(data):
    """What a terminal was given, which must be able to have it."""
    text = data.decode("utf-8")  # strict
    bad = {c for c in text if c != "\n" and hidden(c)}
    assert not bad, (bad, text[:500])
    return text


def call(*argv, code=0, cwd=None):
    done = subprocess.run(launch(argv, cwd or TEMP_FOLDER), capture_output=True, cwd=cwd or TEMP_FOLDER, timeout=600)
    assert done.returncode == code, (argv, done.returncode, done.stdout[-300:], done.stderr[-600:])
    return shown(done.stdout), shown(done.stderr)


TEMP_FOLDER = temp("")
ALL = "".join(ODD[:255])  # one name of all code points up to U+00FF


class Page(html.parser.HTMLParser):
    """Elements and attributes of a page; scripts and handlers have no place in ours."""

    def __init__(self, path):
        super().__init__()
        self.text = ""
        with open(path, encoding="utf-8") as f:
            self.feed(f.read())
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag in ("html head meta title style body main h1 h2 h3 p br dl div dt dd small section table tr th td i svg g rect line text "
                       "polyline circle span figure img figcaption b ol ul li details summary thead tbody code").split(), tag
        assert all(not k.startswith("on") and "javascript" not in (v or "") for k, v in attrs), attrs

    def handle_data(self, data):
        self.text += data


def test_tables_and_diagnostics():
    for k, text in enumerate(ODD[255:] + [ALL, ALL[::-1]]):
        path, _ = network(text, "m.onnx")
        call(HONE, "inspect", path)
        if k % 8 == 0 or text in (ALL, "\r"):
            call(HONE, "inspect", path, "--compiled")
            call(HONE, "verify", path, "--nodes")
            call(HONE, "compile", path, "-o", "p", "-v", "--name", text if "\0" not in text and text else "n")
            call(HONE, "compile", path, "-o", "p.ir", "--emit", "ir", "--print-after", "all")
        call(HONE, "compile", path, "-o", "p", "--input-shape", f"x{text}=Nx2x9x9", code=1)
    bad = helper.make_model(helper.make_graph(
        [helper.make_node("Nope" + t, ["x"], ["y" + t], name=t, domain="evil" + t) for t in ODD] + [helper.make_node("Relu", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", F, [1])], [helper.make_tensor_value_info("y" + t, F, None) for t in ODD + [""]]))
    with open(temp("bad.onnx"), "wb") as f:
        f.write(bad.SerializeToString())
    call(HONE, "compile", "bad.onnx", "-o", "p", code=1)
    call(HONE, "inspect", "bad.onnx", code=1)


def test_command_lines():
    network("", "ok.onnx")
    for text in [bytes([c]) for c in range(1, 256)][::9] + [t.encode() for t in ODD[255:]] + [b"\xc3", b"\xed\xa0\x80", b"\xff\xfe"]:
        for argv in (["compile", "ok.onnx", "-o", "p", b"--x" + text], ["compile", "ok.onnx", "-o", "p", "--std", text + b"x"],
                     ["compile", "ok.onnx", "-o", "p", "--emit", b"x" + text], [b"cmd" + text], ["opt", "--pipeline", text + b"x", "f.ir"]):
            done = subprocess.run([HONE, *argv], capture_output=True, cwd=TEMP_FOLDER)
            assert done.returncode == 2, (argv, done)
            shown(done.stderr)
    for text in (b"\xff\x1b[2J\x9b\n", "\u202e\x85".encode()):  # names of files
        shutil.copy(temp("ok.onnx"), os.path.join(TEMP_FOLDER.encode(), b"m" + text + b".onnx"))
        call(HONE, "compile", b"m" + text + b".onnx", "-o", b"p" + text)
        shutil.copy(SNEAKER, os.path.join(TEMP_FOLDER.encode(), b"i" + text + b".png"))
        program = os.path.join(TEMP_FOLDER.encode(), b"p" + text)
        for argv in (["--help"], ["info"], ["--version"], ["--nope" ], ["classify", "--help"], ["run", "--help"], [b"i" + text + b".png"]):
            done = subprocess.run(launch([program, *argv]), capture_output=True, cwd=TEMP_FOLDER)
            shown(done.stdout), shown(done.stderr)
        out = subprocess.run(launch([program, "--json", b"i" + text + b".png", b"none" + text]), capture_output=True, cwd=TEMP_FOLDER)
        for line in shown(out.stdout).splitlines():
            json.loads(line)


def test_programs():
    for text in ["x\x1b[31m\u202e</svg><script>\x9b\\", ALL, "%n%s"]:
        path, labels = network(text, "m.onnx")
        call(HONE, "compile", path, "-o", "p", "--name", text)
        p = temp("p")
        for argv in (["info"], ["--help"], ["--version"], ["run", "--help"], ["bench", "--iters", "2", "--profile", "--profile-html", "p.html"], [SNEAKER]):
            call(p, *argv)
        info = json.loads(call(p, "info", "--json")[0])
        assert (info["model"], info["inputs"][0]["name"], info["outputs"][0]["name"]) == (text, f"x{text}", f"y{text}")
        top = json.loads(call(p, "--json", SNEAKER)[0])["top"]
        assert [t["label"] for t in sorted(top, key=lambda t: t["class"])] == labels
        nodes = json.loads(call(p, "bench", "--iters", "2", "--profile", "--json")[0])["nodes"]
        assert any(f"conv{text}" in n["name"] for n in nodes)
        np.save(temp("x.npy"), np.zeros((1, 1, 12, 12), np.float32))
        call(p, "run", "-i", "x.npy", "-o", f"y{text}=y.npy")
        call(p, "run", "-i", f"z{text}=x.npy", "-o", "y.npy", code=1)
        call(p, "run", "-i", "none.npy", "-o", f"z{text}=y.npy", code=1)
        page = Page(temp("p.html"))
        assert "script>" not in open(temp("p.html"), encoding="utf-8").read().replace("&#60;", "<") or "script>" in text
        assert not {c for c in page.text if hidden(c) and c not in "\n"}


def test_inspect_json():
    for text in ODD[255:] + [ALL]:
        path, _ = network(text, "m.onnx")
        got = json.loads(call(HONE, "inspect", path, "--json")[0])
        assert [n["name"] for n in got["layers"]][0] == f"conv{text}", got
        assert got["model"] == f"graph{text}"


def test_headers_are_c_and_cpp():
    network("", "plain.onnx")
    ok(HONE, "compile", "plain.onnx", "-o", "plain.o", "--emit", "object", "--name", PLAIN)
    plain = ok("cc", "-E", "-P", "plain.h")
    for text in ODD[255:274] + [ALL, "?\n", "??/\n", "???/", "\\\\", "/*", "//"]:
        path, _ = network(text, "m.onnx")
        ok(HONE, "compile", path, "-o", "odd.o", "--emit", "object", "--name", PLAIN)
        header = open(temp("odd.h"), encoding="utf-8").read()
        shown(header.encode())
        # what the compiler sees is the plain model's, trigraphs or not
        for flags in (["-std=c11"], ["-std=c99", "-trigraphs"]):
            assert ok("cc", *flags, "-E", "-P", "odd.h") == (plain if flags == ["-std=c11"] else ok("cc", *flags, "-E", "-P", "plain.h")), text
        if text in ODD[255:262] + [ALL]:
            with open(temp("use.c"), "w") as f:
                f.write('#include "odd.h"\nint main(void) { return 0; }\n')
            shutil.copy(temp("use.c"), temp("use.cpp"))
            for compiler, source in ((["cc", "-std=c11"], "use.c"), (["cc", "-std=c99", "-trigraphs"], "use.c"), (["c++", "-std=c++11"], "use.cpp")):
                if shutil.which(compiler[0]):
                    ok(*compiler, "-Wall", "-Wextra", "-Wcomment", "-Wtrigraphs", "-Werror", "-fsyntax-only", source)
    ok(HONE, "compile", network("", "m.onnx")[0], "-o", "odd.o", "--emit", "object", "--name", 'x\n#error INJECTED\nint pwned(void);//\\')
    assert "pwned" not in ok("cc", "-E", "-P", "odd.h").replace("pwned_void", "")


def test_textual_ir_comes_back():
    for text in ODD[:255:20] + ODD[255:] + [ALL]:
        path, _ = network(text, "m.onnx")
        ok(HONE, "compile", path, "-o", "a.ir", "--emit", "ir")
        with open(temp("a.ir"), "rb") as f:
            shown(f.read())
        out = subprocess.run([HONE, "opt", "a.ir", "--no-passes"], capture_output=True, cwd=TEMP_FOLDER)
        assert out.returncode == 0 and out.stdout == open(temp("a.ir"), "rb").read(), (text, out.stderr)
    ok(HONE, "compile", path, "-o", "a.ll", "--emit", "llvm-ir", "--name", ALL)
    ok(HONE, "compile", path, "-o", "a.s", "--emit", "asm", "--name", ALL)


def test_pictures():
    for text in ODD[255::3] + ["&lt;b&gt;", "\\N\\G", "\\", ALL]:
        path, _ = network(text, "m.onnx")
        ok(HONE, "inspect", path, "--dot", "g.dot")
        with open(temp("g.dot"), "rb") as f:
            shown(f.read())
        if shutil.which("dot"):
            svg = xml.etree.ElementTree.fromstring(ok("dot", "-Tsvg", "g.dot"))
            tags = {e.tag.split("}")[1] for e in svg.iter()}
            assert tags <= {"svg", "g", "title", "polygon", "text", "path", "ellipse", "polyline"}, tags
            assert len([e for e in svg.iter() if e.get("class") == "node"]) >= 3


def test_fine_tuning():
    images = temp("images")
    for c in "abc":
        os.makedirs(f"{images}/{c}", exist_ok=True)
        for k in range(4):
            shutil.copy(SNEAKER, f"{images}/{c}/{k}.png")
    for text in ["x\x1b[31m\u202e</svg><script>\x9b\\", "__metadata__", ALL]:
        path, labels = network(text, "m.onnx")
        call(HONE, "finetune", path, "-o", "ft", "--classes", images, "--freeze", "none", "--name", text)
        ft = temp("ft")
        for argv in (["info"], ["--help"], ["--version"], ["bench", "--iters", "1"]):
            call(ft, *argv)
        shutil.rmtree(temp("ck"), ignore_errors=True)
        call(ft, "train", images, "--epochs", "2", "--max-steps", "3", "--log", "l.jsonl", "--report", "r.html", "-o", "tuned.onnx", "--checkpoint", "ck")
        call(ft, "train", images, "--epochs", "3", "--resume", "-o", "tuned.onnx", "--checkpoint", "ck", code=1)
        for line in open(temp("l.jsonl"), encoding="utf-8"):
            json.loads(line)
        Page(temp("r.html"))
        parameters = [p["name"] for p in json.loads(call(ft, "info", "--json")[0])["parameters"]]
        assert f"w{text}" in parameters, parameters
        checkpoint = sorted(f for f in os.listdir(temp("ck")) if f.endswith(".safetensors"))[-1]
        data = open(temp(f"ck/{checkpoint}"), "rb").read()
        header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
        assert any(k.endswith(f"w{text}") for k in header), list(header)
        call(ft, "predict", "--checkpoint", "ck", SNEAKER)
        call(HONE, "compile", "tuned.onnx", "-o", "p")


if __name__ == "__main__":
    main(sys.modules[__name__])
