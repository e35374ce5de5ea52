"""tools/examples on small networks: pictures in another style, pictures that are taken for something else, and their sheets."""
import os
import re
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, main, ok, run, temp

ENV = {"HONE": HONE, "OMP_NUM_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "1"}


def example(name, *argv):
    return run(sys.executable, os.path.join(ROOT, "tools", "examples", name), *argv, env=ENV)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), float)


def save_vgg():
    """Two blocks of two convolutions, a pool between them, of any size, and a classifier that cannot be of any size."""
    rng = np.random.default_rng(3)
    nodes, held, last, channels = [], [], "x", 3
    for i, width in enumerate((12, 12, 24, 24)):
        if i == 2:
            nodes.append(helper.make_node("MaxPool", [last], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]))
            last = "pooled"
        w = rng.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        held.append(numpy_helper.from_array(w.astype(np.float32), f"w{i}"))
        nodes += [helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4),
                  helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}")]
        last, channels = f"r{i}", width
    held.append(numpy_helper.from_array(rng.standard_normal((24 * 112 * 112, 4)).astype(np.float32) / 100, "w"))
    nodes += [helper.make_node("Flatten", [last], ["flat"], "flat"), helper.make_node("MatMul", ["flat", "w"], ["y"], "fc")]
    graph = helper.make_graph(nodes, "vgg", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), temp("vgg.onnx"))


def test_style():
    save_vgg()
    y, x = np.mgrid[:60, :90]
    Image.fromarray(np.stack([x * 2, y * 4, 255 - x * 2], 2).astype(np.uint8)).save(temp("content.png"))
    Image.fromarray(np.stack([(x // 3 % 2) * 220, (x // 3 % 2) * 200, y * 0 + 30], 2).astype(np.uint8)).save(temp("stripes.png"))
    code, out, err = example("style.py", temp("vgg.onnx"), temp("content.png"), temp("stripes.png"), "-o", temp("out.png"), "--sheet",
                             temp("sheet.png"), "--input", "x", "--size", "48", "--steps", "100", "--rate", "0.04", "--style-weight", "12", "--smooth", "0")
    assert code == 0, err
    before, after = map(float, re.search(r"^style ([\d.]+) -> ([\d.]+), content", out, re.M).groups())
    assert after < before / 4, out
    got = pixels(temp("out.png"))
    assert got.shape == (32, 48, 3) and Image.open(temp("sheet.png")).size == (3 * 48 + 2 * 12, 32)
    across = lambda a: np.abs(np.diff(a[:, :, 0], axis=1)).mean()
    smooth = pixels(temp("sheet.png"))[:, :48]
    assert across(got) > 4 * across(smooth), "stripes came in"
    near = np.corrcoef(got[:, :, 1].mean(1), smooth[:, :, 1].mean(1))[0, 1]
    assert near > 0.5, "and from above downwards it is what it was"


def test_style_moves_waves_and_colours():
    """A step of noise moves a picture by the rate, mostly by what is coarse in it; the gradient of colours is that of their loss."""
    sys.path.insert(0, os.path.join(ROOT, "tools", "examples"))
    import style
    rng = np.random.default_rng(1)
    waves = style.Waves((48, 64, 3), 10, 0.02)
    d = waves.step(rng.standard_normal((48, 64, 3)))
    assert d.shape == (48, 64, 3) and 0.015 < np.sqrt((d * d).mean()) < 0.025, np.sqrt((d * d).mean())
    size = np.abs(np.fft.fft2(d, axes=(0, 1))).mean(2)
    assert size[1:4, 1:4].mean() > 6 * size[20:28, 28:36].mean()
    p, want = rng.random((5, 6, 3)), rng.random((4, 4, 3))
    colours = style.Colours(3, want)

    def loss(p):
        grams = [style.gram(style.features(style.as_features(q))) for q in (p, want)]
        return 3 * style.square(grams[0] - grams[1]) / style.square(grams[1])
    g = colours(p)
    for at in ((0, 0, 0), (4, 5, 2), (2, 3, 1)):
        e = np.zeros_like(p)
        e[at] = 1e-5
        assert abs((loss(p + e) - loss(p - e)) / 2e-5 - g[at]) < 1e-6 * max(1, abs(g[at])), at


def test_style_at_the_size_of_the_network():
    code, out, err = example("style.py", SAMPLE, SNEAKER, SNEAKER, "-o", temp("out.png"), "--steps", "2")
    assert code == 0 and Image.open(temp("out.png")).size == (28, 28), err
    assert "style 0.0000 -> " in out, out


def says(program, path):
    """The first line of a classified picture: (share, name)"""
    share, name = ok(program, path, "--top", "1").splitlines()[1].split(None, 1)
    return float(share.rstrip("%")), name


def check_attack(model, program, most, *options):
    """What a picture of the network's size is taken for afterwards."""
    Image.open(SNEAKER).convert("L").resize((28, 28), Image.BILINEAR).save(temp("seen.png"))
    code, out, err = example("adversarial.py", model, temp("seen.png"), "-o", temp("out.png"), "--sheet", temp("sheet.png"), "--most", most,
                             *options)
    assert code == 0, err
    share, name = says(program, temp("out.png"))
    told = re.search(r"^after:  (.+?) ([\d.]+)%, sneaker ([\d.]+)%$", out, re.M)
    assert told and told[1] == name and abs(float(told[2]) - share) < 0.06, (out, share, name)
    before, after = pixels(temp("seen.png")), pixels(temp("out.png"))
    step = after - before
    assert 0 < np.abs(step).max() <= most, np.abs(step).max()
    panels = pixels(temp("sheet.png"))[16:296]
    for k, want in enumerate((before, 127.5 + step / most * 127.5, after)):
        panel = panels[5::10, 16 + k * 296 + 5:][:, :280:10]
        assert np.abs(panel - want).max() <= 1, f"panel {k}"
    return name


def test_adversarial():
    ok(HONE, "compile", SAMPLE, "-o", temp("net"))
    assert says(temp("net"), SNEAKER)[1] == "sneaker"
    assert check_attack(SAMPLE, temp("net"), 12) != "sneaker"
    assert check_attack(SAMPLE, temp("net"), 32, "--target", "bag", "--steps", "20") == "bag"


def test_adversarial_of_probabilities():
    model = onnx.load(SAMPLE)
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["p"], axis=1))
    model.graph.output[0].name = "p"
    onnx.save(model, temp("softmax.onnx"))
    assert check_attack(temp("softmax.onnx"), temp("net"), 12) != "sneaker"


def test_errors():
    for argv, line in (
            (("adversarial.py", SAMPLE, temp("none.png")), "none.png: no picture that can be read"),
            (("adversarial.py", SAMPLE, SNEAKER, "--target", "whale"), "--target: there is no class 'whale'"),
            (("adversarial.py", SAMPLE, SNEAKER, "--mean", "x"), "--mean"),
            (("style.py", temp("none.onnx"), SNEAKER, SNEAKER), "none.onnx"),
            (("style.py", SAMPLE, SNEAKER, SNEAKER, "--content-layer", "nowhere"), "--output: no output, node or tensor is called 'nowhere'")):
        code, _, err = example(*argv, "-o", temp("no.png"))
        assert code == 1 and line in err and "Traceback" not in err and not os.path.exists(temp("no.png")), (argv, code, err)


if __name__ == "__main__":
    main(sys.modules[__name__])
