"""hone finetune: the compiled graphs of every family, their gradients by differences; the model inside; the plan; errors.

tests/tools/drive_train.c stands in for the training program's main(). CASE names given after the two usual
arguments select families.
"""
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx.numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import families
import families_net
import tuned
from foreign import GNU, MCPU
from script import HONE, ROOT, SAMPLE, SNEAKER, TEMP, main, ok, run, temp

FAMILIES = sys.argv[3:] or ["caffe", "keras", "tf_mobilenet", "googlenet", "inception_resnet", "vgg", "squeezenet",
                            "resnet_v1", "resnet_v2", "resnext", "senet", "densenet", "mobilenet_v2", "mobilenet_v3",
                            "shufflenet_v2"]


def kit():
    """A copy of the compiler beside which the driver lies as the training program's library."""
    folder = temp("kit")
    if not os.path.exists(folder):
        os.makedirs(folder)
        for name in ("hone", "libhone_rt.a", "hone-link.txt", "hone-link-finetune.txt", "hone.h",
                     "imagenet-labels.txt", "libhone_rt_main_infer.a"):
            shutil.copy(os.path.join(os.path.dirname(HONE), name), folder)
        if MCPU:
            shutil.copytree(os.path.join(os.path.dirname(HONE), GNU), os.path.join(folder, GNU), ignore=shutil.ignore_patterns("objects", "*_finetune.a"))
        archive = os.path.join(folder, GNU if MCPU else "", "libhone_rt_main_finetune.a")
        ok("cc", "-O1", "-I", ROOT, "-c", os.path.join(ROOT, "tests/tools/drive_train.c"), "-o", f"{folder}/drive.o")
        ok("ar", "rcs", archive, f"{folder}/drive.o")
    return os.path.join(folder, "hone")


def finetune(model, out, *flags):
    """Returns what was printed: the plan."""
    return ok(kit(), "finetune", model, "-o", temp(out), *flags)


def check(out, *stages, batch=4):
    for stage in stages or (0,):
        code, text, err = run(temp(out), "check", stage, batch)
        assert code == 0, f"{out}, stage {stage}: {text}{err}"


def model_inside(out):
    ok(temp(out), "onnx", temp(out + ".onnx"))
    return tuned.check(temp(out + ".onnx"))


def check_family(case):
    net, path = case.net(), temp(case.family + ".onnx")
    model = net.model()
    onnx.save(model, path)
    finetune(path, case.family, "--classes", 6, "--freeze", "none", *case.flags)
    check(case.family)
    inside = model_inside(case.family)
    assert [o.name for o in inside.graph.output] == [o.name for o in model.graph.output]
    lines = ok(kit(), "inspect", temp(case.family + ".onnx"), *case.flags).splitlines()
    assert any(line.startswith("output") and line.endswith("f32[N,6]") for line in lines), lines


def test_families():
    kit()
    first = {}
    for case in families.CASES:
        first.setdefault(case.family, case)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check_family, [first[f] for f in FAMILIES]))


def test_stages():
    plan = finetune(SAMPLE, "staged", "--classes", 5, "--stages", "head:5,until:layer3:10:0.01,none:3:lr=0.001",
                    "--lr-mult", "conv1*=0.1")
    assert "trains in stage 2, 3" in plan and "trains in stage 1, 2, 3" in plan, plan
    assert "stage 2, until:layer3: 58,053 parameters train, 19,376 are frozen; 10 epochs; rate 0.01" in plan, plan
    check("staged", 0, 1, 2)


def test_losses():
    for name, flags in {"binary": ["--binary", "--freeze", "until:layer2"],
                        "labels": ["--multi-label", "--classes", 7, "--freeze", "conv1*,layer1*"],
                        "dropout": ["--classes", 3, "--head-dropout", 0.4, "--freeze", "until:layer3"],
                        "statistics": ["--classes", 3, "--bn", "train", "--freeze", "until:layer2"],
                        "kept": ["--keep-head", "--freeze", "head"]}.items():
        finetune(SAMPLE, name, *flags)
        check(name, batch=3)


def masks(out, stage=0):
    """Losses of the training step with the seeds 1, 1, 2 and of evaluation."""
    return [float(x) for x in ok(temp(out), "masks", stage, 8).split()]


def test_dropout_of_the_model():
    """The network's own Dropout nodes, exported for inference, zero what trains reads; in the frozen part they pass on."""
    model = next(c for c in families.CASES if c.family == "vgg").net().model()
    onnx.save(model, temp("own.onnx"))
    assert sum(n.op_type == "Dropout" for n in model.graph.node) == 2
    for name, active, flags in (("own_all", True, ["--freeze", "none"]), ("own_head", True, ["--freeze", "head"]),
                                ("own_off", False, ["--freeze", "head", "--head-dropout", "0"]),
                                ("own_set", True, ["--freeze", "head", "--head-dropout", "0.3"])):
        finetune(temp("own.onnx"), name, "--classes", 6, *flags)
        check(name)
        a, b, c, off = masks(name)
        assert a == b and (a != c) == active and (a != off) == active, (name, a, b, c, off)


def test_model_inside():
    """Compiled, it gives the logits of the untrained step; only the head is new."""
    finetune(SAMPLE, "inside", "--classes", 5, "--freeze", "until:layer3")
    x = np.random.RandomState(1).rand(3, 1, 28, 28).astype(np.float32)
    x.tofile(temp("x.bin"))
    np.array([0, 4, 2], np.int32).tofile(temp("y.bin"))
    os.makedirs(temp("dump"))
    ok(temp("inside"), "dump", 0, 3, temp("x.bin"), temp("y.bin"), temp("dump"))
    want = np.fromfile(temp("dump/logits"), np.float32).reshape(3, 5)
    new, old = model_inside("inside"), onnx.load(SAMPLE)
    ok(HONE, "compile", temp("inside.onnx"), "-o", temp("exported"))
    np.save(temp("x.npy"), x)
    ok(temp("exported"), "run", "-i", "image=" + temp("x.npy"), "-o", "logits=" + temp("y.npy"))
    assert np.abs(np.load(temp("y.npy")) - want).max() < 1e-5 * np.abs(want).max()
    were = {t.name: onnx.numpy_helper.to_array(t) for t in old.graph.initializer}
    alias = {n.output[0]: n.input[0] for n in old.graph.node if n.op_type == "Identity"}
    for t in new.graph.initializer:
        now = onnx.numpy_helper.to_array(t)
        if t.name in alias:  # two biases were one initializer, and are no longer
            assert np.array_equal(now, were[alias[t.name]]), t.name
        elif t.name.startswith("fc."):
            assert now.shape == (5, *were[t.name].shape[1:])
            assert 0 < np.abs(now).max() <= 1 / 8  # 64 features
        else:
            assert np.array_equal(now, were[t.name]), t.name
    assert len(alias) == 2
    assert [n.op_type for n in new.graph.node] == [n.op_type for n in old.graph.node if n.op_type != "Identity"]


def test_labels():
    for name in ("oak", "ash", "elm"):
        os.makedirs(temp(f"trees/train/{name}"))
    finetune(SAMPLE, "trees.ft", "--classes", temp("trees"), "--mean", "0.5", "--bgr")
    meta = {p.key: p.value for p in model_inside("trees.ft").metadata_props}
    assert meta["hone.labels"].split() == ["ash", "elm", "oak"] and float(meta["hone.mean"]) == 0.5, meta
    with open(temp("labels.txt"), "w") as f:
        f.write("one\r\ntwo words\n")
    finetune(SAMPLE, "labels.ft", "--classes", temp("labels.txt"))
    assert {p.key: p.value for p in model_inside("labels.ft").metadata_props}["hone.labels"] == "one\ntwo words\n"
    finetune(temp("labels.ft.onnx"), "numbers.ft", "--classes", 2)
    assert not [p for p in model_inside("numbers.ft").metadata_props if p.key == "hone.labels"]


def test_seed():
    """The same command gives the same program; another seed another head."""
    heads = []
    for i, seed in enumerate((1, 1, 2)):
        finetune(SAMPLE, f"seed{i}", "--classes", 4, "--seed", seed)
        heads.append(model_inside(f"seed{i}").SerializeToString())
    assert heads[0] == heads[1] != heads[2]


def test_many_classes():
    finetune(SAMPLE, "many", "--classes", 21841)
    check("many", batch=2)


def test_errors():
    for flags, words in {
            ("--freeze", "until:layr4"): ["layr4", "near", "'layer1'"],
            ("--freeze", "head", "--stages", "none"): ["--freeze and --stages"],
            ("--classes", "1"): ["'1' is not from 2 to"],
            ("--unfreeze", "nothing*"): ["nothing*"],
            ("--head", "conv9"): ["no node is called 'conv9'"],
            ("--stages", "head:0"): ["head:0", "epochs"],
            ("--stages", "head:5:nan"): ["head:5:nan", "rate are numbers"],
            ("--stages", "head:3:lr=0"): ["rate"],
            ("--lr-mult", "fc*"): ["GLOB=FACTOR"],
            ("--lr-mult", "fcc*=2"): ["fcc*"],
            ("--bn", "both"): ["--bn"],
            ("--head-dropout", "1.5"): ["--head-dropout"],
            ("--binary", "--multi-label"): ["--binary and --multi-label"]}.items():
        classes = [] if "--classes" in flags else ["--classes", "2"]
        code, _, err = run(HONE, "finetune", SAMPLE, "-o", temp("no"), *classes, *flags)
        assert code == 1 and len(err.strip().splitlines()) == 1, (flags, code, err)
        assert all(w in err for w in words), (flags, err)
        assert not os.path.exists(temp("no"))
    os.makedirs(temp("alone/a"))
    shutil.copy(SNEAKER, temp("alone/a/1.png"))
    os.makedirs(temp("empty/a"))
    os.makedirs(temp("empty/b"))
    shutil.copy(SNEAKER, temp("empty/a/1.png"))
    for folder, said in (("alone", "has 1 class (a), not 2 to 1048576"), ("empty", "empty/b: there are no .jpg, .jpeg, .png or .webp files")):
        code, _, err = run(HONE, "finetune", SAMPLE, "-o", temp(folder + "-no"), "--classes", temp(folder))
        assert code == (folder == "alone") and said in err, (folder, err)
    code, _, err = run(HONE, "finetune", SAMPLE, "-o", temp("no"))
    assert code == 1 and "--classes" in err, err


def test_not_finite():
    """A rate that makes the network explode: the run stops, and names a node of it."""
    rng = np.random.default_rng(0)
    np.save(temp("x.npy"), rng.integers(0, 256, (48, 28, 28)).astype(np.uint8))
    np.save(temp("y.npy"), np.arange(48) % 3)
    ok(HONE, "finetune", SAMPLE, "-o", temp("explodes"), "--classes", "3", "--freeze", "none")
    code, _, err = run(temp("explodes"), "train", "x.npy,y.npy", "--lr", "1e5", "-q", cwd=TEMP)
    nodes = {n.name for n in onnx.load(SAMPLE).graph.node}
    first = re.search(r"^step \d+: the loss is not finite, first in node '([^'+]*)", err)
    assert code == 1 and first and first[1] in nodes and err.count("\n") == 1, err


def test_sigmoid_exports():
    """--binary and --multi-label: what is exported classifies, compiled, as the program predicts."""
    from PIL import Image
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (24, 28, 28)).astype(np.uint8)
    np.save(temp("sx.npy"), x)
    np.save(temp("binary.npy"), np.arange(24) % 2)
    np.save(temp("multi.npy"), (rng.random((24, 3)) < 0.5).astype(np.float32))
    pictures = []
    for i in range(3):
        pictures.append(temp(f"s{i}.png"))
        Image.fromarray(x[i]).save(pictures[-1])
    for kind, flags in (("binary", ["--binary"]), ("multi", ["--multi-label", "--classes", "3"])):
        ok(HONE, "finetune", SAMPLE, "-o", temp(kind), *flags)
        ok(temp(kind), "train", f"sx.npy,{kind}.npy", "--epochs", "2", "-q", "-o", f"{kind}.onnx", cwd=TEMP)
        tuned.check_agrees(temp(kind), temp(f"{kind}.onnx"), pictures, cwd=TEMP)


def make_pictures(folder):
    """Two classes, three pictures each to learn from: 8000x6000, 1x1, CMYK, grey."""
    from PIL import Image
    for part in ("train", "val"):
        for name in "ab":
            os.makedirs(os.path.join(folder, part, name), exist_ok=True)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    large, pixel = noise.resize((8000, 6000), Image.BILINEAR), noise.crop((0, 0, 1, 1))
    for path, image in {"train/a/large.jpg": large, "train/b/large_grey.jpg": large.convert("L"),
                        "train/a/cmyk.jpg": noise.convert("CMYK"), "train/b/grey.jpg": noise.convert("L"),
                        "train/a/pixel.png": pixel, "train/b/pixel_grey.jpg": pixel.convert("L"),
                        "val/a/pixel.jpg": pixel, "val/b/cmyk.jpg": noise.transpose(0).convert("CMYK")}.items():
        image.save(os.path.join(folder, path))
    return [os.path.join(folder, "train", p) for p in ("a/large.jpg", "b/grey.jpg", "a/cmyk.jpg", "b/pixel_grey.jpg")]


def test_pictures_of_every_kind():
    """Through whole programs: a batch larger than the data, a last batch of two, and of one, and the same answers
    from the compiled export."""
    import json
    pictures = make_pictures(temp("pictures"))
    case = next(c for c in families.CASES if c.family == "vgg")
    onnx.save(case.net().model(), temp("rgb.onnx"))
    ok(HONE, "finetune", temp("rgb.onnx"), "-o", temp("rgb"), "--classes", temp("pictures"), "--freeze", "none")
    for batch, steps in ((64, 1), (4, 2), (1, 6)):
        ok(temp("rgb"), "train", temp("pictures"), "--batch", batch, "--epochs", 1, "--lr", 0.001, "-q",
           "--log", temp("rgb.jsonl"), "-o", temp("rgb-tuned.onnx"), "--checkpoint", temp(f"rgb-{batch}"))
        with open(temp("rgb.jsonl")) as f:
            log = [e for e in map(json.loads, f) if e["event"] != "ridge"]  # of the classifier that it begins from
        assert [e["event"] for e in log] == ["epoch"] + ["step"] * steps + ["epoch"] and log[-1]["bad_images"] == 0, log
    tuned.check_agrees(temp("rgb"), temp("rgb-tuned.onnx"), pictures, checkpoint=("--checkpoint", temp("rgb-1")))


def test_no_classifier():
    case = next(c for c in families.CASES if c.family == "concats")
    onnx.save(case.net().model(), temp("none.onnx"))
    code, _, err = run(HONE, "finetune", temp("none.onnx"), "-o", temp("no"), "--classes", 3, "--output", "twice")
    assert code == 1 and "several rows of numbers for each image" in err and "Concat" in err, err


def test_a_statistic_of_two_nodes_is_moved_by_both():
    """A module called twice, whose nodes have one name: each running statistic is one output, moved twice."""
    net = families_net.Net("twice", 13)
    x = net.conv(net.input(3, 8, 8), 4, 3)
    p = [net.init(np.abs(net.numbers(4)) + np.float32(0.5), f"bn.{i}") for i in range(4)]
    for _ in range(2):
        x = net.op("Relu", net.op("BatchNormalization", x, *p, c=4), c=4)
    net.classifier(x, 5)
    m = net.model()
    for n in m.graph.node:
        n.name = "bn" if n.op_type == "BatchNormalization" else n.name
    onnx.save(m, temp("twice.onnx"))
    text = ok(HONE, "finetune", temp("twice.onnx"), "-o", temp("twice"), "--classes", "3", "--freeze", "none", "--bn", "train",
              "--print-after", "fold_bn_param")
    steps = [l.split("->")[1] for l in text.splitlines() if l.startswith("graph train")]
    assert steps and all(s.count(f'"param:bn.{i}"') == 1 for s in steps for i in (2, 3)), steps


if __name__ == "__main__":
    main(sys.modules[__name__])
