"""What train does beyond plain steps, over a small convolutional network and pictures made here: all layers begin from the
solved classifier; each option together with resuming, bit for bit."""
import json
import os
import re
import sys

import numpy as np
import onnx

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tuned
from recipe import CLASSES, DATA, IMAGE, SIZE, finetune, network, pictures, resumes, state, train
from script import HONE, TEMP, main, ok, run, temp


def test_all_layers_begin_from_the_solved_classifier():
    network(temp("net.onnx"))
    pictures("train", 24, 1)
    pictures("val", 40, 2)
    finetune("head")
    _, (head,) = train("head")
    assert head["val_top1"] > 0.5, head
    for name, freeze in (("none", "none"), ("part", "until:c2")):
        finetune(name, "--freeze", freeze)
        said, epochs = train(name, "--epochs", 6, "--lr", 0.003, "--opt", "adamw", "--overwrite")
        assert "head solved" in said and len(epochs) == 7, said
        for key in ("train_loss", "val_loss", "val_top1"):
            assert abs(epochs[0][key] - head[key]) < 2e-3, (freeze, key, epochs[0], head)
        assert epochs[-1]["train_loss"] < head["train_loss"], epochs
        assert max(e["val_top1"] for e in epochs) >= head["val_top1"], epochs
        tuned.check(temp("t.onnx"))
    said, epochs = train("none", "--head-solver", "adamw", "--epochs", 2, "--overwrite")
    assert "solved" not in said and len(epochs) == 2, said
    said, _ = train("none", "--epochs", 1, "--augment", "light", "--overwrite")  # the start is of images as they are
    assert "head solved" in said, said


def test_a_start_resumes():
    resumes("none", (1, 2, 9), "--epochs", 2, "--lr", 0.0003, "--augment", "light", "--threads", 1)
    train("none", "--epochs", 2, "--lr", 0.0003, "--augment", "light", "--threads", 2, "--overwrite", folder="cut")
    assert state("cut") == state("whole")
    said, _ = train("none", "--epochs", 2, "--lr", 0.0003, "--augment", "light", "--feature-memory", "70K", "--overwrite", folder="cut")
    assert "each pass reads the features anew" in said and state("cut") == state("whole"), said


def test_other_kinds_begin_solved():
    """Scores by themselves, one score, and a classifier that nobody can solve, which is said."""
    np.save(temp("many-y.npy"), np.eye(CLASSES, dtype=np.float32)[np.load(temp("train-y.npy"))])
    np.save(temp("two-y.npy"), np.load(temp("train-y.npy")) % 2)
    for name, flags in (("many", ["--multi-label"]), ("two", ["--binary"])):
        ok(HONE, "finetune", temp("net.onnx"), "-o", temp(name), *(["--classes", CLASSES] if name == "many" else []), *IMAGE, "--freeze", "none", *flags)
        code, _, err = run(temp(name), "train", f"train-x.npy,{name}-y.npy", "--no-checkpoint", "--epochs", 1, "-o", "t.onnx", cwd=TEMP)
        assert code == 0 and "head solved" in err, err


def test_changes_of_images():
    """All that changes images, resumed, on any number of threads that decode; each changes what is learned."""
    flags = ["--epochs", 2, "--lr", 0.0005, "--augment", "imagenet", "--scale", "0.5,1", "--ratio", "0.9,1.1", "--train-interpolation", "bicubic",
             "--aa", "ta_wide", "--reprob", 0.5, "--remode", "rand", "--mixup", 0.4, "--cutmix", 1, "--mixup-prob", 0.9]
    resumes("none", (1, 4), *flags, "--workers", 1)
    whole = state("whole")
    train("none", *flags, "--workers", 3, "--overwrite", folder="cut")
    assert state("cut") == whole
    resumes("none", (5,), "--epochs", 2, "--lr", 0.0005, "--aa", "rand-m9-n3-mstd0.5-inc1")
    assert state("cut") != whole
    seen = set()
    for more in ([], ["--augment", "imagenet"], ["--augment", "imagenet", "--scale", "0.5,1"], ["--augment", "imagenet", "--train-interpolation", "lanczos"],
                 ["--aa", "ta_wide"], ["--aa", "ra"], ["--aa", "ra-m20-n4"], ["--aa", "rand-m9-mstd0.5-inc1"], ["--reprob", 0.9], ["--mixup", 0.5], ["--cutmix", 1]):
        train("none", "--epochs", 1, "--lr", 0.0005, *more, "--overwrite", folder="cut")
        seen.add(state("cut")["param/c2.w"])
    assert len(seen) == 11
    for flags, words in ((["--scale", "0.9,0.5", "--augment", "imagenet"], "--scale wants two numbers, from and to"),
                         (["--scale", "0.5,1"], "are of the random crop that --augment imagenet takes"),
                         (["--augment", "imagenet", "--train-interpolation", "best"], "there is no 'best'"), (["--aa", "magic"], "--aa wants none, ta_wide, ra or rand with parts")):
        code, _, err = run(temp("none"), "train", *DATA, *flags, cwd=TEMP)
        assert code == 2 and words in err, (flags, err)


def test_small_pictures_are_not_cut():
    """Where nobody says how: in the program, and in what it exports."""
    from PIL import Image
    r = np.random.default_rng(1)
    for side, resize in ((8, SIZE), (40, 14)):  # 14: of 12 / 0.875
        for c in "ab":
            os.makedirs(temp(f"side{side}/{c}"))
            for i in range(6):
                Image.fromarray((r.integers(0, 100, (side, side + 3)) + 150 * (c == "a")).astype(np.uint8)).save(temp(f"side{side}/{c}/{i}.png"))
        for flags, want in (([], resize), (["--crop-pct", 0.8], 15)):
            _, _, err = run(HONE, "finetune", temp("net.onnx"), "-o", temp("sides"), "--classes", temp(f"side{side}"), *flags)
            assert f"resize {want} {'bicubic' if want == SIZE else 'bilinear'}, centre crop 12x12" in err or flags, err
            assert ("nothing is cut off" in err) == (want == SIZE), err
            ok(temp("sides"), "train", temp(f"side{side}"), "-q", "--no-checkpoint", "-o", temp("sides.onnx"))
            assert {"hone.resize": str(want), "hone.interpolation": "bicubic" if want == SIZE else "bilinear"}.items() <= {m.key: m.value for m in onnx.load(temp("sides.onnx")).metadata_props}.items()


def floats(data):
    return np.frombuffer(data, np.float32)


def test_average_of_parameters():
    """The one that is kept, against the average taken here from the parameters after each step; and all of it resumed."""
    flags = ["--epochs", 2, "--lr", 0.001, "--opt", "adamw", "--model-ema", "--model-ema-decay", 0.9, "--clip-grad", 0.5, "--accumulate", 2]
    resumes("none", (1, 3, 6), *flags, "--csv", "table.csv")
    with open(temp("table.csv")) as f:
        rows = f.read().splitlines()
    assert rows[0].startswith("epoch,stage,train_loss,train_top1,eval_loss,eval_top1,eval_top5,lr") and len(rows) == 4, rows
    assert [r.split(",")[0] for r in rows[1:]] == ["0", "1", "2"], rows
    average = None
    for step in range(1, 8):  # of which the first solves the classifier
        train("none", *flags, "--overwrite", "--max-steps", step, folder="cut")
        now = {k: floats(v) for k, v in state("cut").items() if k.startswith("param/")}
        keep = min(0.9, step / (9 + step))  # (1 + t) / (10 + t), t being step - 1
        average = {k: keep * average[k] + (1 - keep) * v if average else v for k, v in now.items()}
    last = state("cut")
    for k, v in average.items():
        assert np.abs(floats(last["average/" + k[6:]]) - v).max() < 1e-5, k
    assert last["best/c2.w"] != last["param/c2.w"]


def test_layers_thaw_and_resume():
    """Stages by epochs, rates by layer, short gradients, steps of two batches: in the middle of each, resumed."""
    finetune("thaw", "--stages", "head,until:c2:2:0.01,none:2:0.003", "--lr-mult", "c1*=0.1")
    flags = ["--opt", "sgd", "--clip-grad", 0.5, "--accumulate", 2]
    resumes("thaw", (1, 3, 7, 9), *flags)  # 1 solves the classifier, 2 to 7 and 8 to 13 are steps
    last = state("whole")
    at = {}
    for step in (1, 7):
        train("thaw", *flags, "--overwrite", "--max-steps", step, folder="cut")
        at[step] = state("cut")
    frozen = {k for k in last if k.startswith("param/") and at[1][k] == at[7][k]}
    assert frozen == {"param/c1.w", "param/c1.b"}, frozen
    assert all(last[k] != at[7][k] for k in frozen)
    finetune("even", "--stages", "head,until:c2:2:0.01,none:2:0.003")
    train("even", *flags, "--overwrite", folder="cut")
    slow, even = (np.abs(floats(s["param/c1.w"]) - floats(at[7]["param/c1.w"])).max() for s in (last, state("cut")))
    assert 0 < slow < 0.2 * even, (slow, even)


def test_a_finished_run_goes_on():
    flags = ["--lr", 0.001, "--opt", "adamw"]
    train("none", *flags, "--epochs", 2, "--overwrite")
    said, epochs = train("none", *flags, "--epochs", "+2", "--resume")
    assert "2 epochs more" in said and [e["epoch"] for e in epochs] == [0, 1, 2, 3, 4], (said, epochs)
    assert epochs[3]["lr"] > epochs[2]["lr"] and epochs[4]["lr"] == 0, epochs
    whole = state("ck")
    train("none", *flags, "--epochs", 2, "--overwrite", folder="cut")
    train("none", *flags, "--epochs", "+2", "--resume", "--max-steps", 16, folder="cut")
    said, _ = train("none", *flags, "--epochs", "+2", "--resume", folder="cut")  # of which it does not get four
    assert "it goes on as it was begun" in said and state("cut") == whole, said
    said, _ = train("none", *flags, "--epochs", 2, "--resume", folder="cut")
    assert state("cut") == whole
    assert "--resume says that, too" in run(temp("none"), "train", *DATA, "--epochs", "+2", cwd=TEMP)[2]


def test_schedules_without_an_end_go_on():
    """With more epochs, twice, the run is the one that was begun with all of them: nothing rises or starts again."""
    for schedule in (["constant"], ["step", "--decay-epochs", 2]):
        flags = ["--lr", 0.001, "--opt", "adamw", "--lr-schedule", *schedule, "--warmup-epochs", 1]
        _, want = train("none", *flags, "--epochs", 5, "--overwrite", folder="whole")
        train("none", *flags, "--epochs", 2, "--overwrite", folder="cut")
        train("none", *flags, "--epochs", "+2", "--resume", folder="cut")
        said, epochs = train("none", *flags, "--epochs", "+1", "--resume", folder="cut")
        for key in ("lr", "train_loss", "val_loss"):
            assert [e[key] for e in epochs] == [e[key] for e in want], (key, said, epochs)


def test_rates_by_a_range_test():
    import xml.etree.ElementTree as xml
    code, _, err = run(temp("none"), "train", *DATA, "--lr-find", "lr.svg", "--opt", "adamw", cwd=TEMP)
    assert code == 0 and "none: rate " in err and "epoch" not in err, err
    assert {"polyline", "path", "text"} <= {e.tag.split("}")[1] for e in xml.parse(temp("lr.svg")).iter()}
    said, epochs = train("none", "--lr", "auto", "--epochs", 3, "--lr-schedule", "constant", "--overwrite")
    rate = float(said.split("none: rate ")[1].split(",")[0])
    assert 1e-6 < rate < 0.5 and abs(epochs[-1]["lr"] / rate - 1) < 0.06, (said, epochs)
    said, epochs = train("head", "--head-solver", "adamw", "--epochs", 60, "--overwrite")
    assert "head: rate " in said and epochs[-1]["val_loss"] < 0.95 * np.log(CLASSES), said
    resumes("head", (1, 8), "--head-solver", "adamw", "--epochs", 2)
    said, _ = train("head", "--clip-grad", 1, "--label-smoothing", 0.1, "--overwrite")
    assert "without effect: --label-smoothing, --clip-grad (the classifier is solved; --head-solver sgd or adamw takes steps)\n" in said, said
    code, _, err = run(temp("head"), "train", *DATA, "--lr-find", "no.svg", cwd=TEMP)
    assert code == 1 and "every stage is solved" in err and not os.path.exists(temp("no.svg")), err


def test_a_range_test_that_shows_no_gain():
    """Of many classes with few images each the loss is least somewhere by chance: the rate is what stands before it rises."""
    r = np.random.default_rng(5)
    np.save(temp("sixty-x.npy"), r.integers(0, 256, (600, SIZE, SIZE, 3)).astype(np.uint8))
    np.save(temp("sixty-y.npy"), r.permutation(np.arange(600) % 60))
    ok(HONE, "finetune", temp("net.onnx"), "-o", temp("sixty"), "--classes", 60, *IMAGE)
    for seed in range(6):
        code, _, err = run(temp("sixty"), "train", "sixty-x.npy,sixty-y.npy", "--head-solver", "sgd", "--val-fraction", 0, "--lr-find", "lr.svg", "--seed", seed, cwd=TEMP)
        assert code == 0 and "showed no gain, but no loss yet" in err, err
        assert 3e-3 < float(err.split("head: rate ")[1].split(",")[0]) < 1, err


def test_temperature_and_confusions():
    """What eval finds, against the least loss over a fine grid of what predict says of each image."""
    from PIL import Image
    train("head", "--overwrite")
    x, y = np.load(temp("val-x.npy")), np.load(temp("val-y.npy"))
    names = [temp(f"val{i}.png") for i in range(len(x))]
    for image, name in zip(x, names):
        Image.fromarray(image).save(name)
    with open(temp("val.csv"), "w") as f:
        f.writelines(f"{n},{k}\n" for n, k in zip(names, y))
    said = json.loads(ok(temp("head"), "eval", "val.csv", "--checkpoint", "ck", "--json", "--confusions", 3, cwd=TEMP))

    def probabilities(*flags):
        told = json.loads(ok(temp("head"), "predict", *names, "--checkpoint", "ck", "--json", "--top", CLASSES, *flags, cwd=TEMP))
        return np.array([[t["probability"] for t in sorted(e["top"], key=lambda t: t["class"])] for e in told])

    p = probabilities()
    grid = np.exp2(np.linspace(-3, 3, 2001))
    loss = [-np.log((q := p ** (1 / t))[np.arange(len(y)), y] / q.sum(1)).mean() for t in grid]
    found = said["temperature"]
    assert abs(np.log2(found["value"] / grid[np.argmin(loss)])) < 0.06 and abs(found["loss"] - min(loss)) < 1e-3, (found, grid[np.argmin(loss)], min(loss))
    assert found["loss"] <= said["loss"] + 1e-6
    q = probabilities("--temperature", found["value"])
    want = p ** (1 / found["value"])
    assert np.abs(q - want / want.sum(1, keepdims=True)).max() < 1e-4
    sure, right, bins = q.max(1), q.argmax(1) == y, {}
    for s, r in zip(sure, right):
        a, b = bins.get(int(-(-s * 15 // 1)), (0, 0))
        bins[int(-(-s * 15 // 1))] = a + r, b + s
    assert abs(found["calibration_error"] - sum(abs(a - b) for a, b in bins.values()) / len(y)) < 1e-3
    table = np.zeros((CLASSES, CLASSES), int)
    np.add.at(table, (y, p.argmax(1)), 1)
    np.fill_diagonal(table, 0)
    assert [c["images"] for c in said["confusions"]] == sorted(table.ravel(), reverse=True)[:3]
    assert all(table[int(c["class"]), int(c["taken_for"])] == c["images"] for c in said["confusions"]), said["confusions"]
    text = ok(temp("head"), "eval", "val.csv", "--checkpoint", "ck", "--confusions", 1, cwd=TEMP)
    top = said["confusions"][0]
    assert f"{top['images']} of {top['class']} taken for {top['taken_for']}\nat temperature " in text, text


def test_what_does_not_learn_is_said():
    said, _ = train("none", "--head-solver", "sgd", "--lr", 1e-9, "--epochs", 1, "--overwrite")
    assert "better than guessing's, 1.3863: it hardly learned; try more --epochs or another --lr" in said, said


def test_a_little_better_than_guessing_is_said():
    """Two pictures, over and over, of which 20 and 12 have one class, 12 and 20 another, 16 each the others: nothing tells more
    than 1.2 % from that, and any ridge some of it. A solved classifier has no rate."""
    x = np.zeros((128, SIZE, SIZE, 3), np.uint8)
    x[64:] = 255
    y = np.repeat(np.arange(8) % CLASSES, [20, 12, 16, 16, 12, 20, 16, 16])
    np.save(temp("few-x.npy"), x)
    np.save(temp("few-y.npy"), y)
    code, _, err = run(temp("head"), "train", "few-x.npy,few-y.npy", "--val-fraction", 0, "--no-checkpoint", "-o", "t.onnx", cwd=TEMP)
    line = next(s for s in err.splitlines() if "guessing" in s)
    assert code == 0 and "less than 5 % better than guessing's, 1.3863: it hardly learned; a classifier alone" in line and "--lr" not in line, err


def test_losses_of_classes_by_themselves_are_means():
    """What train says of a solved classifier, and of each ridge, is what eval says of the same images."""
    data = "train-x.npy,many-y.npy"
    ok(HONE, "finetune", temp("net.onnx"), "-o", temp("many"), "--classes", CLASSES, *IMAGE, "--multi-label")
    code, _, err = run(temp("many"), "train", data, "--val-fraction", 0, "--log", "m.jsonl", "--checkpoint", "mck", "-o", "t.onnx", cwd=TEMP)
    assert code == 0 and "guessing" not in err and "without effect" not in err, err
    assert re.search(r"head solved  loss \S+ labels right \S+%", err) and "top-1" not in err, err
    with open(temp("m.jsonl")) as f:
        events = [json.loads(line) for line in f]
    loss = next(e["train_loss"] for e in events if e["event"] == "epoch")
    told = json.loads(ok(temp("many"), "eval", data, "--checkpoint", "mck", "--json", cwd=TEMP))
    assert abs(loss - told["loss"]) < 1e-4, (loss, told)
    ridge = next(e for e in events if e["event"] == "ridge" and e["taken"])
    assert 0.3 * loss < ridge["loss"] < 2 * loss and 0.3 * loss < ridge["held_loss"] < 3 * loss, (loss, ridge)


def test_report_of_several_labels():
    """A mistake names the class that is wrong, not the likeliest, which may be right."""
    ok(HONE, "finetune", temp("net.onnx"), "-o", temp("several"), "--classes", CLASSES, *IMAGE, "--multi-label")
    code, _, err = run(temp("several"), "train", "train-x.npy,many-y.npy", "--class-weights", "balanced", "--report", "m.html", "--no-checkpoint", "-o", "t.onnx", cwd=TEMP)
    assert code == 0 and "without effect on the solved classifier: --class-weights" in err, err
    with open(temp("m.html")) as f:
        page = f.read()
    mistakes = re.findall(r"<figcaption>(.*?)<br>", page)
    assert "All labels right" in page and "taken for" not in page and "Top-" not in page.split("</dl>")[0], page[:2000]
    assert all(re.fullmatch(r"wrongly <b>\d+</b> \(([5-9]\d|100)%\)|<b>\d+</b> not found \(([0-4]?\d|50)%\)", m) for m in mistakes), mistakes


if __name__ == "__main__":
    main(sys.modules[__name__])
