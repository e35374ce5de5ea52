"""Programs that go without parts of the runtime (--without): smaller; what is asked of a part that is not there is refused with its name, help
and info tell, the rest works as before.
"""
import json
import os
import sys

import onnx
from PIL import Image
from onnx import TensorProto, helper

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE, os.path.join(HERE, "..", "runtime", "serve")]
from script import HONE, SAMPLE, SNEAKER, main, ok, run, temp  # noqa: E402
from server import Server  # noqa: E402

PARTS = ("serve", "jpeg", "png", "webp")
LEAST = 90000  # bytes that each is worth
SHOWN = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
LIBRARIES = {"serve": ("libevent", "Jansson"), "jpeg": ("libjpeg-turbo",), "png": ("libpng",), "webp": ("libwebp",)}


def without(parts, *options, model=SAMPLE):
    program = temp("without_" + parts.replace(",", "_"))
    ok(HONE, "compile", model, "-o", program, *(["--without", parts] if parts else []), *options)
    return program


def pictures():
    image = Image.open(SNEAKER).convert("RGB")
    for part in SHOWN:
        image.save(temp(f"p.{part}"))


def refuses(program, part, *args, what=None):
    code, out, err = run(program, *args)
    assert (code, out) == (1, ""), (code, out)
    assert err == f"{what or args[-1]}: {SHOWN.get(part, part)} was left out when this program was compiled (--without {part})\n", err


def check(program, gone):
    """All that is there works, all that is gone is refused, and both are told."""
    for part in SHOWN:
        if part in gone:
            refuses(program, part, f"p.{part}")
            refuses(program, part, "features", "-o", "x.npy", f"p.{part}")
        else:
            assert "sneaker" in ok(program, f"p.{part}").splitlines()[1]
    text, info = ok(program, "--help"), ok(program, "info")
    if "serve" in gone:
        refuses(program, "serve", "serve", what=program)
        refuses(program, "serve", "serve", "--help", what=program)
    else:
        assert "--port" in ok(program, "serve", "--help")
    assert ("serve --port" in text) == ("  serve  " in text) == ("serve" not in gone), text
    assert json.loads(ok(program, "info", "--json"))["left_out"] == gone
    assert (f"\nLeft out when it was compiled: {', '.join(gone)}\n" in text) == bool(gone), text
    licences = ok(program, "--licences")
    for part, names in LIBRARIES.items():
        assert all((f"\n{name}" in licences) == (part not in gone) for name in names), (part, licences)
    assert licences.startswith("hone's runtime\n") and "\nzlib\n" in licences, licences  # which .npz takes
    assert (f"\nleft out   {', '.join(gone)}\n" in info) == bool(gone) and ("left out" in info) == bool(gone), info


def test_each_part():
    pictures()
    whole = without("")
    check(whole, [])
    for part in PARTS:
        program = without(part)
        check(program, [part])
        assert os.path.getsize(whole) - os.path.getsize(program) > LEAST, part


def test_several():
    program = without("webp,serve,png,png")
    check(program, ["png", "webp", "serve"])
    check(without("serve,jpeg,png,webp"), ["jpeg", "png", "webp", "serve"])
    refuses(without("serve,png", "--static"), "png", "p.png")
    code, out, err = run(program, "p.jpeg", "p.png")
    assert code == 1 and "sneaker" in out and "p.png: PNG was left out" in err and "1 of 2 images are bad" in err, (out, err)


def test_others_say_what_they_said():
    with open(temp("text.png"), "w") as f:
        f.write("hello")
    code, _, err = run(temp("without_png"), "text.png")
    assert (code, err) == (1, "text.png: not a JPEG, PNG or WebP file\n"), err


def test_server_without_png():
    with Server(temp("without_png")) as server:
        with open(temp("p.png"), "rb") as f:
            reply = server.ask("POST", "/v2/models/sample/infer?classification=1", f.read(), ["Content-Type: image/png"])
        assert reply.status == 400 and "PNG was left out when this program was compiled" in reply.body.decode(), reply.body
        with open(temp("p.jpeg"), "rb") as f:
            reply = server.ask("POST", "/v2/models/sample/infer?classification=1", f.read(), ["Content-Type: image/jpeg"])
        assert reply.status == 200 and "sneaker" in reply.body.decode(), reply.body


def test_draws_without_reading():
    """What is drawn is a PNG, whatever is read."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("ArgMax", ["x"], ["out"], axis=1, keepdims=0)], "pixels",
                              [info("x", TensorProto.FLOAT, [1, 3, 32, 32])], [info("out", TensorProto.INT64, [1, 32, 32])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), temp("pixels.onnx"))
    program = without("png", model="pixels.onnx")
    ok(program, "segment", "p.jpeg", "--draw", "drawn.png")
    assert Image.open(temp("drawn.png")).size == Image.open(SNEAKER).size
    refuses(program, "png", "segment", "p.png")


def test_what_is_refused():
    out = temp("refused")
    for parts in ("gif", "png,", ",", "serve,,png", "PNG"):
        code, _, err = run(HONE, "compile", SAMPLE, "-o", out, "--without", parts)
        assert (code, err) == (2, f"hone compile: --without takes serve, jpeg, png, webp with commas between, not '{parts}'\n"), err
    for emit in ("shared", "static", "object", "python", "llvm-ir", "ir"):
        code, _, err = run(HONE, "compile", SAMPLE, "-o", out, "--without", "png", "--emit", emit)
        assert (code, err) == (2, f"hone compile: --without is of programs, not of --emit {emit}\n"), err
    code, _, err = run(HONE, "finetune", SAMPLE, "-o", out, "--classes", "5", "--without", "png")
    assert code == 2 and "--without" in err and len(err.splitlines()) == 1, err
    assert not os.path.exists(out)


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))
