"""Test-time augmentation: what eval and predict say with --tta, against the mean of what is said of each view by itself, which Pillow
makes; its loss, calibration and temperature against their definitions."""
import json
import os
import sys

import numpy as np
import onnx
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from recipe import CLASSES, IMAGE, SIZE, network, pictures
from script import HONE, TEMP, main, ok, run, temp

RESIZE, N = 16, 40


def told(program, names, *flags):
    """[image][class] of what is said of them."""
    text = ok(temp(program), *names, "--json", "--top", CLASSES, *flags, cwd=TEMP)
    out = json.loads(text) if text[0] == "[" else map(json.loads, text.splitlines())
    return np.array([[t["probability"] for t in sorted(e["top"], key=lambda t: t["class"])] for e in out])


def predict(program, names, *flags):
    return told(program, ["predict", *names], "--checkpoint", program + ".ck", *flags)


def teach(name, *flags, labels="train-y.npy"):
    ok(HONE, "finetune", temp("net.onnx"), "-o", temp(name), *IMAGE[:4], "--resize", RESIZE, *flags)
    ok(temp(name), "train", f"train-x.npy,{labels}", "-q", "--val-fraction", 0, "--epochs", 1, "--checkpoint", name + ".ck", "-o", name + ".onnx", cwd=TEMP)


def compiled(program):
    """Inference programs of the trained model, which has its preprocessing inside: for any number of pictures, and for four."""
    made = [f"{program}-{kind}" for kind in ("any", "four")]
    for name, shape in zip(made, ([], ["--input-shape", f"x=4x1x{SIZE}x{SIZE}"])):
        if not os.path.exists(temp(name)):
            ok(HONE, "compile", temp(program + ".onnx"), "-o", temp(name), *shape)
    return made


def check_sizes(program, names):
    """Pictures of a program for two sizes: each as with the size that it takes."""
    model = onnx.load(temp(program + ".onnx"))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "S"
    onnx.save(model, temp("open.onnx"))
    ok(HONE, "compile", temp("open.onnx"), "-o", temp("sizes"), *(w for h, w in ((SIZE, SIZE), (SIZE, 16)) for w in ("--input-shape", f"x=Nx1x{h}x{w}")))
    square, wide = (told("sizes", names, "--tta", "ten-crop", "--size", size) for size in (f"{SIZE}x{SIZE}", f"16x{SIZE}"))
    got = told("sizes", names, "--tta", "ten-crop", "--batch", 40)
    taken = [min((0, 1), key=lambda k: np.abs(got[i] - (square, wide)[k][i]).max()) for i in range(len(names))]
    assert np.abs(got - np.where(np.array(taken)[:, None], wide, square)).max() < 2e-6 and set(taken) == {0, 1}, taken


def test_crops():
    """Of wide, tall and square pictures, by a program of the trained model that cuts nothing off."""
    network(temp("net.onnx"))
    pictures("train", 24, 1)
    teach("head", "--classes", CLASSES)
    teach("none", "--classes", CLASSES, "--freeze", "none")
    r = np.random.default_rng(3)
    names = []
    for i in range(N):
        size = ((30, 41), (33, 20), (24, 24))[i % 3]
        names.append(f"p{i}.png")
        wave = np.sin(np.add.outer(np.arange(size[1]) * r.uniform(0.1, 1), np.arange(size[0]) * r.uniform(0.1, 1)))
        Image.fromarray(np.clip(128 + 50 * wave + r.normal(0, 30, size[::-1]), 0, 255).astype(np.uint8)).save(temp(names[-1]))
    for program in ("head", "none"):
        ok(HONE, "compile", temp(program + ".onnx"), "-o", temp("plain"), *IMAGE)
        views = {}
        for name in names:
            im = Image.open(temp(name))
            im = im.resize(tuple(RESIZE if s == min(im.size) else int(s * RESIZE / min(im.size)) for s in im.size), Image.Resampling.BILINEAR)
            w, h = im.size
            for v, (x, y) in enumerate(((round((w - SIZE) / 2), round((h - SIZE) / 2)), (0, 0), (w - SIZE, 0), (0, h - SIZE), (w - SIZE, h - SIZE))):
                view = im.crop((x, y, x + SIZE, y + SIZE))
                for flip, picture in enumerate((view, view.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
                    views.setdefault((flip, v), []).append(f"view{flip}{v}{name}")
                    picture.save(temp(views[flip, v][-1]))
        p = {k: told("plain", v) for k, v in views.items()}
        every = {"none": [(0, 0)], "flip": [(0, 0), (1, 0)], "five-crop": [(0, v) for v in range(5)], "ten-crop": list(p)}
        for kind, which in every.items():
            want = np.mean([p[k] for k in which], 0)
            got = predict(program, names, "--tta", kind)
            assert np.abs(got - want).max() < 2e-5, (program, kind, np.abs(got - want).max())
            for name in compiled(program):
                for flags in ((), ("--batch", 7)):
                    own = told(name, names, "--tta", kind, *flags)
                    assert np.abs(own - got).max() < 2e-5, (name, kind, flags, np.abs(own - got).max())
        assert np.abs(p[0, 1] - p[0, 0]).max() > 0.01 < np.abs(p[1, 0] - p[0, 0]).max()
        check_scores(program, names, p, every)
    check_sizes("head", names)


def softened(p, t):
    q = p ** (1 / t)
    return q / q.sum(-1, keepdims=True)


def calibration(p, y):
    sure, right, bins = p.max(1), p.argmax(1) == y, {}
    for s, r in zip(sure, right):
        a, b = bins.get(int(np.ceil(s * 15)), (0, 0))
        bins[int(np.ceil(s * 15))] = a + r, b + s
    return sum(abs(a - b) for a, b in bins.values()) / len(y)


def check_scores(program, names, p, every):
    y = np.random.default_rng(5).integers(0, CLASSES, N)
    y[::2] = p[0, 0].argmax(1)[::2]
    with open(temp("list.csv"), "w") as f:
        f.writelines(f"{n},{k}\n" for n, k in zip(names, y))
    plain = json.loads(ok(temp(program), "eval", "list.csv", "--checkpoint", program + ".ck", "--json", cwd=TEMP))
    for kind in ("flip", "five-crop", "ten-crop"):
        both = json.loads(ok(temp(program), "eval", "list.csv", "--checkpoint", program + ".ck", "--json", "--tta", kind, "--batch", 7, cwd=TEMP))
        said = both.pop("tta")
        assert both == plain and (said["kind"], said["views"], said["images"]) == (kind, len(every[kind]), N), (both, plain)
        views = np.array([p[k] for k in every[kind]])
        mean = views.mean(0)
        assert abs(said["loss"] + np.log(mean[range(N), y]).mean()) < 1e-4 and abs(said["top1"] - (mean.argmax(1) == y).mean()) < 1e-9, said
        assert abs(said["calibration_error"] - calibration(mean, y)) < 1e-3
        grid = np.exp2(np.linspace(-3, 3, 1201))
        loss = [-np.log(softened(views, t).mean(0)[range(N), y]).mean() for t in grid]
        t = said["temperature"]
        assert abs(np.log2(t["value"] / grid[np.argmin(loss)])) < 0.06 and abs(t["loss"] - min(loss)) < 1e-3, (t, grid[np.argmin(loss)])
        assert abs(t["calibration_error"] - calibration(softened(views, t["value"]).mean(0), y)) < 2e-3
        assert np.abs(predict(program, names, "--tta", kind, "--temperature", t["value"]) - softened(views, t["value"]).mean(0)).max() < 1e-4
        assert sum(c["images"] for c in said["classes"]) == N and said["loss"] != plain["loss"]
    text = ok(temp(program), "eval", "list.csv", "--checkpoint", program + ".ck", "--tta", "flip", "--per-class", cwd=TEMP)
    assert text.count("images: loss ") == 2 and "--tta flip, the mean of 2 views: 40 images: loss " in text and text.count("at temperature ") == 2, text


def test_other_kinds_of_scores():
    """Each class by itself, and one score for two classes; the views of arrays of pixels, which are pictures."""
    y, x = np.load(temp("train-y.npy")), np.load(temp("train-x.npy"))
    np.save(temp("many-y.npy"), np.eye(CLASSES, dtype=np.float32)[y])
    np.save(temp("two-y.npy"), y % 2)
    teach("many", "--classes", CLASSES, "--multi-label", labels="many-y.npy")
    teach("two", "--binary", labels="two-y.npy")
    names = []
    for i, a in enumerate(x):
        names += [f"x{i}.png", f"m{i}.png"]
        Image.fromarray(a).save(temp(names[-2]))
        Image.fromarray(a[:, ::-1]).save(temp(names[-1]))
    for program, labels in (("many", "many-y.npy"), ("two", "two-y.npy")):
        p = predict(program, names)
        mean = (p[::2] + p[1::2]) / 2
        ok(HONE, "compile", temp(program + ".onnx"), "-o", temp(program + "-any"))
        assert np.abs(told(program + "-any", names[::2], "--tta", "flip") - mean).max() < 1e-5
        assert np.abs(predict(program, names[::2], "--tta", "flip") - mean).max() < 1e-5
        said = json.loads(ok(temp(program), "eval", f"train-x.npy,{labels}", "--checkpoint", program + ".ck", "--json", "--tta", "flip", cwd=TEMP))["tta"]
        t = np.load(temp(labels)) if program == "many" else np.eye(2)[np.load(temp(labels))]
        loss = -(t * np.log(mean) + (1 - t) * np.log(1 - mean)).mean()
        assert abs(said["loss"] - loss) < 1e-4 and abs(said["top1"] - ((mean > 0.5) == t).mean()) < 1e-9, (program, said, loss)
        assert ("temperature" in said) == (program == "two")


def test_what_has_no_views():
    r = np.random.default_rng(1)
    np.save(temp("as-it-is.npy"), r.normal(0, 1, (1, SIZE, SIZE)).astype(np.float32))
    np.save(temp("many-f.npy"), r.normal(0, 1, (8, 1, SIZE, SIZE)).astype(np.float32))
    np.save(temp("many-l.npy"), np.arange(8) % CLASSES)
    code, _, err = run(temp("head"), "predict", "as-it-is.npy", "--checkpoint", "head.ck", "--tta", "flip", cwd=TEMP)
    assert code == 1 and "as-it-is.npy: is the model's input as it is; --tta is for pictures" in err, err
    code, _, err = run(temp("head-any"), "as-it-is.npy", "--tta", "flip", cwd=TEMP)
    assert code == 1 and "as-it-is.npy: is the model's input as it is; --tta is for pictures" in err, err
    code, _, err = run(temp("head"), "eval", "many-f.npy,many-l.npy", "--checkpoint", "head.ck", "--tta", "flip", cwd=TEMP)
    assert code == 1 and err == "f32 arrays go to the model as they are: only images have views\n", err
    code, _, err = run(temp("head"), "eval", "list.csv", "--tta", "all", cwd=TEMP)
    assert code == 2 and "--tta wants one of none|flip|five-crop|ten-crop" in err, err
    with open(temp("broken.png"), "w") as f:
        f.write("no picture")
    with open(temp("some.csv"), "w") as f:
        f.write("p0.png,0\nbroken.png,1\np1.png,1\n")
    code, out, err = run(temp("head"), "eval", "some.csv", "--checkpoint", "head.ck", "--tta", "ten-crop", "--json", cwd=TEMP)
    first = told("head-any", ["p0.png", "p1.png"], "--tta", "ten-crop")
    _, mixed, _ = run(temp("head-any"), "p0.png", "broken.png", "p1.png", "--tta", "ten-crop", "--batch", "40", "--json", "--top", str(CLASSES), cwd=TEMP)
    rows = [json.loads(line) for line in mixed.splitlines()]
    assert "error" in rows[1] and all(abs(t["probability"] - first[k][t["class"]]) < 1e-6 for k, r in enumerate((rows[0], rows[2])) for t in r["top"]), rows
    said = json.loads(out)
    assert code == 1 and (said["images"], said["tta"]["images"], said["bad_images"]) == (2, 2, 1), (out, err)
    ok(HONE, "finetune", temp("net.onnx"), "-o", temp("tight"), "--classes", CLASSES, *IMAGE)
    assert "their corners are hardly other views" in run(temp("tight"), "eval", "some.csv", "--pretrained", "--tta", "five-crop", cwd=TEMP)[2]


if __name__ == "__main__":
    main(sys.modules[__name__])
