"""Fine-tuning of networks that label pixels, from pictures and masks: the loss and its gradient beside numpy's in double precision, scores
beside Pillow's nearest neighbour, masks that follow what happens to their pictures, sets of every layout, and what is refused.
"""
import json
import os
import shutil
import sys
import tarfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, main, ok, run, temp  # noqa: E402

SIZE, CLASSES = 24, 4
COLORS = np.array([[0, 0, 0], [250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)  # of the classes
NAMES = ["nothing", "red", "green", "blue"]


def save(name, nodes, consts, classes=CLASSES, factor=1):
    info = helper.make_tensor_value_info
    g = helper.make_graph(nodes, name, [info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
                          [info("y", TensorProto.FLOAT, ["N", classes, SIZE // factor, SIZE // factor])], consts)
    model = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, temp(name + ".onnx"))


def const(name, a):
    return numpy_helper.from_array(np.asarray(a), name)


def fcn(name, resized=True, tail=()):
    """Three convolutions, the last the classifier, and a Resize to the image's size."""
    r = np.random.default_rng(3)

    def weights(*shape):
        return (r.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "stem", pads=[1] * 4, strides=[2, 2]), helper.make_node("Relu", ["c1"], ["r1"]),
             helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "body", pads=[1] * 4), helper.make_node("Relu", ["c2"], ["r2"]),
             helper.make_node("Conv", ["r2", "w3", "b3"], ["c3" if resized else "y"], "classifier")]
    if resized:
        nodes.append(helper.make_node("Resize", ["c3", "", "scales"], ["y" if not tail else "t"], mode="linear"))
    consts = [const("w1", weights(16, 3, 3, 3)), const("b1", weights(16)), const("w2", weights(16, 16, 3, 3)), const("b2", weights(16)),
              const("w3", weights(CLASSES, 16, 1, 1)), const("b3", weights(CLASSES)), const("scales", np.float32([1, 1, 2, 2]))]
    save(name, [*nodes, *tail], consts, factor=1 if resized else 2)


def eyes(name):
    """Knows the colours: of each pixel the class of the nearest one."""
    w = (COLORS.astype(np.float32) / 255 * 40).reshape(CLASSES, 3, 1, 1)
    b = -np.square(COLORS.astype(np.float32) / 255).sum(1) * 20
    save(name, [helper.make_node("Conv", ["x", "w", "b"], ["y"], "classifier")], [const("w", w), const("b", b)])


def draw(seed, height, width):
    """A picture of two rectangles, and its mask, some of which does not count."""
    r = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for c in r.permutation([1, 2, 3])[:2]:
        y, x = r.integers(0, height // 2), r.integers(0, width // 2)
        mask[y:y + height // 2, x:x + width // 2] = c
    picture = COLORS[mask]
    mask[:2] = 255
    return picture, mask


def palette(mask):
    image = Image.fromarray(mask, "P")
    image.putpalette(COLORS.tobytes() + bytes(3 * (256 - CLASSES)))
    return image


def folder(name, n, height=SIZE, width=SIZE, seed=0, images="images", masks="masks", bits=None):
    os.makedirs(temp(f"{name}/{images}"), exist_ok=True)
    os.makedirs(temp(f"{name}/{masks}"), exist_ok=True)
    for i in range(n):
        picture, mask = draw(seed + i, height, width)
        Image.fromarray(picture).save(temp(f"{name}/{images}/{i:03}.png"))
        image = palette(mask) if i % 2 else Image.fromarray(mask)
        if bits:
            image = palette(np.where(mask == 255, 0, mask).astype(np.uint8))
        image.save(temp(f"{name}/{masks}/{i:03}.png"), **({"bits": bits} if bits else {}))
    return temp(name)


def finetune(model, out, *flags):
    with open(temp("names.txt"), "w") as f:
        f.write("\n".join(NAMES))
    return run(HONE, "finetune", temp(model + ".onnx"), "-o", temp(out), "--classes", temp("names.txt"), "--mean", "0,0,0", "--std", "1,1,1",
               "--resize", SIZE, *flags)


def made(model, out, *flags):
    code, said, err = finetune(model, out, *flags)
    assert code == 0 and "a class for each of" in said + err, said + err
    return temp(out)


def outputs_of(model, x):
    ok(HONE, "compile", temp(model + ".onnx"), "-o", temp(model + ".bin"))
    np.save(temp("x.npy"), x)
    ok(temp(model + ".bin"), "run", "-i", f"x={temp('x.npy')}", "-o", f"y={temp('y.npy')}")
    return np.load(temp("y.npy")).astype(np.float64)


def as_input(pictures):
    return (np.stack(pictures).astype(np.float32) / 255).transpose(0, 3, 1, 2)


def log(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def test_loss_and_gradient():
    """One step over all images: the loss is the mean over the pixels that count, weighted by nothing else; the bias moves along its
    gradient, the sum of what the pixels want, for a Resize hands on what adds to all."""
    fcn("plain")
    data = folder("plain_data", 6)
    program = made("plain", "plain", "--keep-head", "--freeze", "none")
    ok(program, "train", data, "--batch", 6, "--max-steps", 1, "--lr", 0.5, "--momentum", 0, "--weight-decay", 0, "--lr-schedule", "constant",
       "--warmup-epochs", 0, "--val-fraction", 0, "--log", temp("plain.jsonl"), "--no-checkpoint", "-o", temp("plain_tuned.onnx"))
    both = [draw(i, SIZE, SIZE) for i in range(6)]
    y = outputs_of("plain", as_input([p for p, _ in both])).transpose(0, 2, 3, 1).reshape(-1, CLASSES)
    label = np.stack([m for _, m in both]).reshape(-1)
    y, label = y[label != 255], label[label != 255]
    p = np.exp(y - y.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(label)), label]).mean()
    step = [e for e in log(temp("plain.jsonl")) if e["event"] == "step"][0]
    assert abs(step["loss"] - loss) < 1e-5, (step, loss)
    p[np.arange(len(label)), label] -= 1
    weights = [{t.name: numpy_helper.to_array(t) for t in onnx.load(temp(f)).graph.initializer} for f in ("plain.onnx", "plain_tuned.onnx")]
    moved = weights[0]["b3"] - weights[1]["b3"]
    assert np.abs(moved - 0.5 * p.mean(0)).max() < 1e-5, (moved, 0.5 * p.mean(0))


def lone(name, ends):
    """A convolution, a classifier of one channel, a Resize; ends: a sigmoid, where the network has one."""
    r = np.random.default_rng(5)
    nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "stem", pads=[1] * 4, strides=[2, 2]), helper.make_node("Relu", ["c1"], ["r1"]),
             helper.make_node("Conv", ["r1", "w3", "b3"], ["c3"], "classifier"),
             helper.make_node("Resize", ["c3", "", "scales"], ["t" if ends else "y"], mode="linear")] + [helper.make_node("Sigmoid", ["t"], ["y"])] * ends
    save(name, nodes, [const("w1", (r.standard_normal((16, 3, 3, 3)) / 5).astype(np.float32)), const("b1", np.zeros(16, np.float32)),
                       const("w3", (r.standard_normal((1, 16, 1, 1)) / 4).astype(np.float32)), const("b3", np.float32([0.1])),
                       const("scales", np.float32([1, 1, 2, 2]))], 1)


def test_one_channel():
    """Two classes by one number: the loss is that of sigmoids over the pixels that count, the bias moves along its gradient; what the tuned
    model's sigmoid says is what eval counts."""
    data = folder("lone_data", 6)
    for i in range(6):  # red or not
        mask = np.asarray(Image.open(temp(f"lone_data/masks/{i:03}.png")))
        Image.fromarray(np.where(mask == 255, 255, mask == 1).astype(np.uint8)).save(temp(f"lone_data/masks/{i:03}.png"))
    with open(temp("red.txt"), "w") as f:
        f.write("other\nred")
    both = [draw(i, SIZE, SIZE) for i in range(6)]
    label = np.stack([m for _, m in both])
    counts, label = label != 255, label == 1
    for ends in (0, 1):
        name = f"lone{ends}"
        lone(name, ends)
        for flags in (("--classes", 2), ("--binary", "--keep-head", "--classes", temp("red.txt"))):
            ok(HONE, "finetune", temp(name + ".onnx"), "-o", temp(name), *flags, "--mean", "0,0,0", "--std", "1,1,1", "--resize", SIZE, "--freeze", "none")
        ok(temp(name), "train", data, "--batch", 6, "--max-steps", 1, "--lr", 0.5, "--momentum", 0, "--weight-decay", 0, "--lr-schedule", "constant",
           "--warmup-epochs", 0, "--val-fraction", 0, "--log", temp("lone.jsonl"), "--no-checkpoint", "-o", temp("lone_tuned.onnx"))
        y = outputs_of(name, as_input([p for p, _ in both]))[:, 0]
        p = y if ends else 1 / (1 + np.exp(-y))
        loss = -np.log(np.where(label, p, 1 - p))[counts].mean()
        step = [e for e in log(temp("lone.jsonl")) if e["event"] == "step"][0]
        assert abs(step["loss"] - loss) < 1e-5, (step, loss)
        weights = [{t.name: numpy_helper.to_array(t) for t in onnx.load(temp(f)).graph.initializer} for f in (name + ".onnx", "lone_tuned.onnx")]
        moved = weights[0]["b3"] - weights[1]["b3"]
        assert abs(moved[0] - 0.5 * (p - label)[counts].mean()) < 1e-5, moved
        ok(temp(name), "train", data, "--batch", 6, "--epochs", 60, "--lr", 0.03, "--opt", "adamw", "--val-fraction", 0, "--checkpoint", temp(name + ".ck"), "-o", temp("lone_tuned.onnx"))
        assert [n.op_type for n in onnx.load(temp("lone_tuned.onnx")).graph.node][-1] == ("Sigmoid" if ends else "Resize")
        y = outputs_of("lone_tuned", as_input([p for p, _ in both]))[:, 0]
        guess = y > (0.5 if ends else 0)
        iou = [((guess == k) & (label == k) & counts).sum() / (((guess == k) | (label == k)) & counts).sum() for k in (0, 1)]
        said = json.loads(ok(temp(name), "eval", data, "--checkpoint", temp(name + ".ck"), "--json"))
        assert abs(said["miou"] - np.mean(iou)) < 1e-6 and said["miou"] > 0.8, (said, iou)
        shares = json.loads(ok(temp("lone_tuned.bin"), "segment", temp("lone_data/images/000.png"), "--json"))["classes"]
        assert {s["label"]: s["share"] for s in shares}["red"] == round(guess[0].mean(), 6), (shares, guess[0].mean())


def test_several_processes():
    """The same bits of model and scores on one and two, and where a run goes on on another number."""
    if not shutil.which("mpirun"):
        return
    fcn("many")
    data = folder("many_data", 21, 30, 41)
    program = made("many", "many", "--stages", "head:1:0.02,none:2:0.02")

    def train(n, name, *flags):
        start = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", n] if n > 1 else []
        # With sanitizers: what leaks is Open MPI's.
        sanitizer = f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks={int(n == 1)}"
        ok(*start, program, "train", data, "--batch", 3, "--accumulate", 2, "--opt", "adamw", "--checkpoint", temp(name), "--threads", 1, "-q", "-o", temp(name + ".onnx"),
           "--log", temp(name + ".jsonl"), *flags,
           env={"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "ASAN_OPTIONS": sanitizer})
        said = [{k: v for k, v in e.items() if k not in ("seconds", "images_per_s", "data_wait_s", "overlapped")} for e in log(temp(name + ".jsonl"))]
        with open(temp(name + ".onnx"), "rb") as f:
            return said, f.read()
    want = train(1, "one")
    assert want[0][-1]["val_miou"] > 0 and train(2, "two") == want, want[0]
    train(2, "part", "--max-steps", 4)
    assert train(1, "part", "--resume") == want


def test_learns_and_scores():
    """A new head behind a Resize, then everything; what eval says is what the tuned model does to pictures that Pillow made smaller."""
    fcn("net")
    data = folder("data/train", 24)
    folder("data/val", 5, 37, 53, seed=100)
    program = made("net", "net", "--stages", "head:3:0.02,none:25:0.02")
    said = run(program, "train", temp("data"), "--batch", 8, "--opt", "adamw", "--checkpoint", temp("state"), "--csv", temp("t.csv"),
               "--log", temp("t.jsonl"), "--report", temp("r.html"), "-o", temp("tuned.onnx"))
    assert said[0] == 0 and "mIoU" in said[2], said
    with open(temp("t.csv")) as f:
        assert f.readline().strip() == "epoch,stage,train_loss,train_pixel_accuracy,eval_loss,eval_miou,eval_pixel_accuracy,lr,seconds"
    with open(temp("r.html")) as f:
        page = f.read()
    assert "mIoU, best epoch" in page and "<th>IoU</th>" in page
    scores = json.loads(ok(program, "eval", temp("data"), "--json", "--per-class", "--checkpoint", temp("state")))
    assert scores["miou"] > 0.6, scores
    both = [draw(100 + i, 37, 53) for i in range(5)]
    wide = 53 * SIZE // 37
    left = round((wide - SIZE) / 2)
    crop = (left, 0, left + SIZE, SIZE)
    pictures = [np.asarray(Image.fromarray(p).resize((wide, SIZE), Image.BILINEAR).crop(crop)) for p, _ in both]
    label = np.stack([np.asarray(Image.fromarray(m).resize((wide, SIZE), Image.NEAREST).crop(crop)) for _, m in both])
    ok(HONE, "compile", temp("tuned.onnx"), "-o", temp("tuned.bin"))
    guess = outputs_of("tuned", as_input(pictures)).argmax(1)
    counts = label != 255
    assert abs(scores["pixel_accuracy"] - (guess == label)[counts].mean()) < 2e-3, scores
    for c, found in enumerate(scores["classes"]):
        a, b = (label == c) & counts, (guess == c) & counts
        assert found["class"] == NAMES[c] and found["pixels"] == a.sum(), (found, a.sum())
        assert abs(found["iou"] - (a & b).sum() / (a | b).sum()) < 5e-3, (found, (a & b).sum(), (a | b).sum())
    assert abs(scores["miou"] - np.mean([c["iou"] for c in scores["classes"]])) < 1e-9
    line = json.loads(ok(temp("tuned.bin"), "segment", "--json", temp("data/val/images/001.png")))
    assert {c["label"] for c in line["classes"]} <= set(NAMES), line
    text = ok(program, "predict", temp("data/val/images/001.png"), "--checkpoint", temp("state"))
    assert "%  nothing" in text, text
    assert data


def test_masks_follow_their_pictures():
    """A network that knows the colours is right at every pixel but those that lie between two, however pictures are flipped and cut."""
    eyes("eyes")
    data = folder("follow", 12, 61, 47)
    program = made("eyes", "eyes", "--keep-head", "--freeze", "none")
    for augment in ("none", "light", "imagenet", "ta_wide", "ra-m20-n2"):
        flags = ["--augment", augment] if augment in ("none", "light", "imagenet") else ["--aa", augment]
        ok(program, "train", data, *flags, "--epochs", 3, "--lr", 1e-12, "--val-fraction", 0, "--batch", 4, "--no-checkpoint",
           "--log", temp("f.jsonl"), "-o", temp("f.onnx"))
        share = [e["train_pixel_accuracy"] for e in log(temp("f.jsonl")) if e["event"] == "epoch"]
        assert min(share) > {"none": 0.95, "light": 0.95, "imagenet": 0.9}.get(augment, 0.6), (augment, share)


def train_bits(program, data, *flags):
    """What a run writes, and again where it is stopped after a few steps and goes on."""
    same = [program, "train", data, "--batch", 4, "--epochs", 3, "--lr", 0.01, "--threads", 1, "-o", temp("bits.onnx"), *flags]
    ok(*same, "--checkpoint", temp("bits_whole"), "--overwrite")
    with open(temp("bits.onnx"), "rb") as f:
        whole = f.read()
    ok(*same, "--checkpoint", temp("bits_part"), "--overwrite", "--max-steps", 4)
    ok(*same, "--checkpoint", temp("bits_part"), "--resume")
    with open(temp("bits.onnx"), "rb") as f:
        assert f.read() == whole, flags
    return whole


def test_changes_go_on_bit_for_bit():
    fcn("changed")
    data = folder("changed_data", 12, 30, 41)
    program = made("changed", "changed", "--freeze", "none")
    runs = [train_bits(program, data, "--head-solver", "sgd", *f) for f in
            ([], ["--aa", "rand-m9-mstd0.5-inc1"], ["--cutmix", 1], ["--mixup", 0.4], ["--mixup", 1, "--cutmix", 1], ["--reprob", 0.5],
             ["--class-weights", "balanced"], ["--augment", "imagenet"])]
    assert len(set(runs)) == len(runs)


def test_geometry_moves_the_mask():
    """Pictures that are turned, shifted and sheared by whole pixels of the nearest: a network that knows the colours is right wherever a pixel
    came from the picture, and what came from outside does not count. Colours alone change no mask."""
    eyes("moved")
    data = folder("moved_data", 12)  # as large as the input: nothing is resized
    program = made("moved", "moved", "--keep-head", "--freeze", "none")
    for i in range(12):  # all of it counts
        picture, mask = draw(i, SIZE, SIZE)
        mask = (picture[:, :, None] == COLORS[None, None]).all(-1).argmax(-1).astype(np.uint8)
        mask[0, 0] = 255
        Image.fromarray(mask).save(temp(f"moved_data/masks/{i:03}.png"))
    losses = {}
    for seed in range(1, 7):
        ok(program, "train", data, "--aa", "ra-m15-n1", "--epochs", 1, "--lr", 1e-12, "--val-fraction", 0, "--batch", 1, "--no-checkpoint", "--seed", seed,
           "--log", temp("m.jsonl"), "-o", temp("m.onnx"), "--accumulate", 1)
        for e in log(temp("m.jsonl")):
            if e["event"] == "step":
                losses.setdefault(round(e["loss"], 3), 0)
                losses[round(e["loss"], 3)] += 1
    exact = sum(n for loss, n in losses.items() if loss < 0.02)
    assert exact >= 60, losses  # of 72: what moves is exact, what changes colours need not be; without the masks' moves 38


def test_cutmix_cuts_masks():
    """Boxes of pictures and masks go together: who knows the colours is right."""
    eyes("cut")
    data = folder("cut_data", 12)
    program = made("cut", "cut", "--keep-head", "--freeze", "none")
    ok(program, "train", data, "--cutmix", 1, "--epochs", 4, "--lr", 1e-12, "--val-fraction", 0, "--batch", 4, "--no-checkpoint", "--log", temp("c.jsonl"), "-o", temp("c.onnx"))
    share = [e["train_pixel_accuracy"] for e in log(temp("c.jsonl")) if e["event"] == "epoch"]
    assert min(share) > 0.999, share


def mixed_loss(x, label, share, weight):
    """Of two pictures blended with one another, and its gradient by the classifier's bias, from the network's own outputs."""
    blended = share * x + (1 - share) * x[::-1]
    y = outputs_of("blend", blended.astype(np.float32)).transpose(0, 2, 3, 1).reshape(2, -1, CLASSES)
    logs = y - y.max(-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    loss, grad, total = 0, 0, 0
    for i in range(2):
        for k, part in ((i, share), (1 - i, 1 - share)):
            counts = label[k] != 255
            c = label[k][counts]
            w = weight[c] * part
            right = np.eye(CLASSES)[c]
            loss -= (w * (right * logs[i][counts]).sum(-1)).sum()
            grad = grad + (w[:, None] * (np.exp(logs[i][counts]) - right)).sum(0)
            total += w.sum()
    return loss / total, grad / total


def test_mixup_counts_both_masks():
    """Each pixel's loss is that of both masks, by the pictures' shares: the share that the loss tells is the one that the bias moved by."""
    fcn("blend")
    data = folder("blend_data", 2)
    program = made("blend", "blend", "--keep-head", "--freeze", "none")
    both = [draw(i, SIZE, SIZE) for i in range(2)]
    both[1][1][:9] = 255  # what counts in one mask alone
    palette(both[1][1]).save(temp("blend_data/masks/001.png"))
    x, label = as_input([p for p, _ in both]).astype(np.float64), np.stack([m for _, m in both]).reshape(2, -1)
    size = np.bincount(label[label != 255], minlength=CLASSES)
    balanced = np.where(size > 0, size.sum() / (CLASSES * np.maximum(size, 1)), 1)
    shares = set()
    for flags, weight, seed in (([], np.ones(CLASSES), 1), ([], np.ones(CLASSES), 2), (["--class-weights", "balanced"], balanced, 3)):
        ok(program, "train", data, "--mixup", 1, "--batch", 2, "--max-steps", 1, "--lr", 0.5, "--momentum", 0, "--weight-decay", 0, "--lr-schedule", "constant",
           "--warmup-epochs", 0, "--val-fraction", 0, "--seed", seed, *flags, "--log", temp("blend.jsonl"), "--no-checkpoint", "-o", temp("blend_tuned.onnx"))
        step = [e for e in log(temp("blend.jsonl")) if e["event"] == "step"][0]
        weights = [{t.name: numpy_helper.to_array(t) for t in onnx.load(temp(f)).graph.initializer} for f in ("blend.onnx", "blend_tuned.onnx")]
        moved = (weights[0]["b3"].astype(np.float64) - weights[1]["b3"]) / 0.5

        def off(share):
            loss, grad = mixed_loss(x, label, share, weight)
            return abs(loss - step["loss"]) + np.abs(grad - moved).max()

        low, high = 0.0, 1.0
        for _ in range(4):
            tried = np.linspace(low, high, 13)
            best = int(np.argmin([off(s) for s in tried]))
            low, high = tried[max(best - 1, 0)], tried[min(best + 1, 12)]
        assert off(tried[best]) < 2e-4, (flags, seed, tried[best], off(tried[best]), step)
        shares.add(round(float(min(tried[best], 1 - tried[best])), 3))
    assert len(shares) == 3 and max(shares) > 0.05, shares


def test_balanced_by_pixels():
    """The loss is the mean weighted by the class of each pixel, rare ones more; the bias moves along its gradient."""
    fcn("rare")
    data = folder("rare_data", 6)
    program = made("rare", "rare", "--keep-head", "--freeze", "none")
    both = [draw(i, SIZE, SIZE) for i in range(6)]
    y = outputs_of("rare", as_input([p for p, _ in both])).transpose(0, 2, 3, 1).reshape(-1, CLASSES)
    label = np.stack([m for _, m in both]).reshape(-1)
    y, label = y[label != 255], label[label != 255]
    size = np.bincount(label, minlength=CLASSES)
    weight = np.where(size > 0, len(label) / (CLASSES * np.maximum(size, 1)), 1)[label]
    p = np.exp(y - y.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = (-np.log(p[np.arange(len(label)), label]) * weight).sum() / weight.sum()
    p[np.arange(len(label)), label] -= 1
    want = 0.5 * (p * weight[:, None]).sum(0) / weight.sum()
    for cut in (["--batch", 6], ["--batch", 4, "--accumulate", 2]):  # into 4 and 2 images, of other weights
        ok(program, "train", data, *cut, "--max-steps", 1, "--lr", 0.5, "--momentum", 0, "--weight-decay", 0, "--lr-schedule", "constant", "--warmup-epochs", 0,
           "--val-fraction", 0, "--class-weights", "balanced", "--log", temp("rare.jsonl"), "--no-checkpoint", "-o", temp("rare_tuned.onnx"))
        step = [e for e in log(temp("rare.jsonl")) if e["event"] == "step"][0]
        assert abs(step["loss"] - loss) < 1e-5, (cut, step, loss)
        weights = [{t.name: numpy_helper.to_array(t) for t in onnx.load(temp(f)).graph.initializer} for f in ("rare.onnx", "rare_tuned.onnx")]
        moved = weights[0]["b3"] - weights[1]["b3"]
        assert np.abs(moved - want).max() < 1e-6, (cut, moved, want)


def test_k_fold():
    """Each part's mIoU; that of all in the report is of their pixels together. Stopped in a part it goes on."""
    fcn("folds")
    data = folder("folds_data", 12)
    program = made("folds", "folds", "--freeze", "none")
    same = [program, "train", data, "--k-fold", 3, "--epochs", 4, "--lr", 0.02, "--batch", 4, "--opt", "adamw"]
    _, _, err = run(*same, "--checkpoint", temp("folds_a"), "--report", temp("folds.html"), "-o", temp("folds_a.onnx"))
    assert "fold 3 of 3: mIoU" in err and "3 folds: mIoU" in err, err
    with open(temp("folds.html")) as f:
        assert "mIoU, mean of folds" in f.read()
    ok(*same, "--checkpoint", temp("folds_b"), "--max-steps", 5, "-o", temp("folds_b.onnx"))
    ok(*same, "--checkpoint", temp("folds_b"), "--resume", "-o", temp("folds_b.onnx"))
    with open(temp("folds_a.onnx"), "rb") as a, open(temp("folds_b.onnx"), "rb") as b:
        assert a.read() == b.read()


def test_tta():
    """The mean of a picture's probabilities and of its mirror image's, beside numpy's."""
    fcn("mirror")
    data = folder("mirror_data", 6)
    program = made("mirror", "mirror", "--keep-head", "--freeze", "none")
    both = [draw(i, SIZE, SIZE) for i in range(6)]

    def chances(pictures):
        y = outputs_of("mirror", as_input(pictures))
        e = np.exp(y - y.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)
    p = (chances([p for p, _ in both]) + chances([p[:, ::-1] for p, _ in both])[:, :, :, ::-1]) / 2
    guess, label = p.argmax(1), np.stack([m for _, m in both])
    counts = label != 255
    said = json.loads(ok(program, "eval", data, "--pretrained", "--tta", "flip", "--json"))["tta"]
    iou = [((guess == k) & (label == k) & counts).sum() / (((guess == k) | (label == k)) & counts).sum() for k in range(CLASSES)]
    chance = np.take_along_axis(p, np.where(counts, label, 0)[:, None].astype(int), 1)[:, 0]
    assert abs(said["miou"] - np.mean(iou)) < 1e-3 and abs(said["loss"] + np.log(chance)[counts].mean()) < 1e-4, (said, iou)
    shares = json.loads(ok(program, "predict", temp("mirror_data/images/000.png"), "--tta", "flip", "--json", "--checkpoint", fresh(program, data)))[0]["top"]
    assert abs({s["class"]: s["share"] for s in shares}.get(int(guess[0, 0, 0]), 0) - (guess[0] == guess[0, 0, 0]).mean()) < 0.01, shares


def fresh(program, data):
    """A folder of checkpoints of which nothing has moved."""
    ok(program, "train", data, "--epochs", 1, "--lr", 1e-12, "--opt", "sgd", "--batch", 6, "--checkpoint", temp("fresh"), "-o", temp("fresh.onnx"), "--overwrite")
    return temp("fresh")


def test_masks_of_two_colours():
    """0 and 255: a line says that the object is lost, and --mask-values that it is not; others are refused, or do not count."""
    fcn("pair")
    data = folder("pair_data", 6)
    for i in range(6):
        mask = draw(i, SIZE, SIZE)[1]
        Image.fromarray(np.where((mask == 0) | (mask == 255), 0, 255).astype(np.uint8)).save(temp(f"pair_data/masks/{i:03}.png"))
    with open(temp("object.txt"), "w") as f:
        f.write("rest\nobject")
    ok(HONE, "finetune", temp("pair.onnx"), "-o", temp("pair"), "--classes", temp("object.txt"), "--mean", "0,0,0", "--std", "1,1,1", "--resize", SIZE, "--freeze", "none")
    same = [temp("pair"), "train", data, "--epochs", 25, "--lr", 0.02, "--opt", "adamw", "--batch", 3, "-o", temp("pair_tuned.onnx"), "--checkpoint", temp("pair_state")]
    code, _, err = run(*same, "--max-steps", 3)
    assert code == 0 and err.count("If 255 is 'object', say --mask-values 0,255") == 1, err
    code, _, err = run(*same, "--mask-values", "0,255", "--overwrite")
    assert code == 0 and "If 255" not in err, err
    code, _, err = run(*same, "--resume", "--mask-values", "255,0")
    assert code == 1 and "--mask-values 0,255, now 255,0" in err, err
    said = json.loads(ok(temp("pair"), "eval", data, "--mask-values", "0,255", "--json", "--checkpoint", temp("pair_state")))
    assert said["miou"] > 0.7 and all(c["pixels"] > 0 for c in said["classes"]), said
    turned = json.loads(ok(temp("pair"), "eval", data, "--mask-values", "255,0", "--json", "--checkpoint", temp("pair_state")))
    assert turned["miou"] < 0.4 and [c["pixels"] for c in turned["classes"]] == [c["pixels"] for c in said["classes"]][::-1], (said, turned)
    mask = np.asarray(Image.open(temp("pair_data/masks/000.png"))).copy()
    mask[0, 0] = 7
    Image.fromarray(mask).save(temp("pair_data/masks/000.png"))
    code, _, err = run(temp("pair"), "eval", data, "--mask-values", "0,255", "--checkpoint", temp("pair_state"))
    assert "pixel (0, 0) is 7, of which --mask-values says nothing" in err, err
    some = json.loads(ok(temp("pair"), "eval", data, "--mask-values", "0,255,void", "--json", "--checkpoint", temp("pair_state")))
    assert sum(c["pixels"] for c in some["classes"]) == sum(c["pixels"] for c in said["classes"]) - 1, some
    for values, says in (("0", "names 1 classes, and there are 2"), ("0,0", "none twice"), ("0,256", "wants"), ("a", "wants"), ("5-3", "wants")):
        code, _, err = run(temp("pair"), "eval", data, "--mask-values", values, "--checkpoint", temp("pair_state"))
        assert code == 1 and says in err and err.count("\n") == 1, (values, err)


def test_features_are_cached_with_their_masks():
    fcn("small", resized=False)  # a map half as large as the image
    data = folder("cached", 8)
    program = made("small", "small", "--freeze", "head")
    for cache in ("memory", "off"):
        ok(program, "train", data, "--epochs", 3, "--lr", 0.05, "--batch", 3, "--val-fraction", 0.25, "--feature-cache", cache, "--no-checkpoint",
           "-o", temp(f"cache_{cache}.onnx"))
    with open(temp("cache_memory.onnx"), "rb") as a, open(temp("cache_off.onnx"), "rb") as b:
        assert a.read() == b.read()


def test_layouts():
    fcn("any", tail=[helper.make_node("ArgMax", ["t"], ["y"], axis=1, keepdims=0)])
    model = onnx.load(temp("any.onnx"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.INT64, ["N", SIZE, SIZE]))
    onnx.save(model, temp("any.onnx"))
    program = made("any", "any", "--freeze", "head")
    folder("voc", 6, images="JPEGImages", masks="SegmentationClass", bits=2)
    Image.new("RGB", (SIZE, SIZE)).save(temp("voc/JPEGImages/more.jpg"))
    for part in ("training", "validation"):
        folder("ade", 3, images=f"images/{part}", masks=f"annotations/{part}")
    with open(temp("list.csv"), "w") as f:
        f.write("image,mask\n" + "".join(f"voc/JPEGImages/{i:03}.png,voc/SegmentationClass/{i:03}.png\n" for i in range(4)))
    for data, says in (("voc", "1 pictures have no mask"), ("ade", "best: epoch"), ("list.csv", "best: epoch")):
        code, _, err = run(program, "train", temp(data), "--epochs", 1, "--lr", 0.01, "--batch", 3, "--val-fraction", 0.4, "--no-checkpoint",
                           "-o", temp("l.onnx"))
        assert code == 0 and says in err, (data, err)
    assert [n.op_type for n in onnx.load(temp("l.onnx")).graph.node][-1] == "ArgMax"
    shutil.copy(temp("names.txt"), temp("ade/classes.txt"))
    ok(HONE, "finetune", temp("any.onnx"), "-o", temp("named"), "--classes", temp("ade"), "--freeze", "head")
    code, _, err = run(temp("named"), "train", temp("ade"), "--epochs", 1, "--lr", 0.01, "--no-checkpoint", "-o", temp("named.onnx"))
    assert code == 0 and {p.key: p.value for p in onnx.load(temp("named.onnx")).metadata_props}["hone.labels"].split() == NAMES, err


def shard(name, data, ending=".mask.png", last=""):
    """The folder's pictures and masks, in a tar whose samples have both; the masks come first in every other sample."""
    with tarfile.open(temp(name), "w") as t:
        for i, n in enumerate(sorted(os.listdir(os.path.join(data, "images")))):
            members = [(f"images/{n}", n), (f"masks/{n}", n[:-4] + ending)]
            for path, member in members[::1 - i % 2 * 2] if n != last else members[:1]:
                t.add(os.path.join(data, path), member)


def test_shards():
    """Training on shards is training on the same files in folders; what is wrong in one is told with its name."""
    fcn("packed")
    program = made("packed", "packed", "--freeze", "head")
    data = folder("packed_data", 7, seed=5)
    os.makedirs(temp("shards"))
    shard("shards/a.tar", data)
    shard("one.tar", data, ".seg.png")
    want = train_bits(program, data, "--val-fraction", 0.3)
    assert train_bits(program, temp("shards"), "--val-fraction", 0.3) == want
    assert train_bits(program, temp("one.tar"), "--val-fraction", 0.3) == want
    shard("lacks.tar", data, last="006.png")
    Image.new("L", (SIZE, SIZE + 1)).save(os.path.join(data, "masks/001.png"))
    shard("wide.tar", data)
    for name, says in (("lacks.tar", "lacks.tar: sample '006' has no mask: a member .mask.png or .seg.png beside its image"),
                       ("wide.tar", "wide.tar/001.png, its mask: the mask is 24x25, its picture 24x24")):
        code, _, err = run(program, "train", temp(name), "--epochs", 1, "--val-fraction", 0, "--lr", 0.01, "--no-checkpoint", "-o", temp("r.onnx"))
        assert says in err, (says, err)


def test_tuned_maps_segment():
    """What finetune writes says by its names that it is a map: of three classes, which a picture has, too; of no integer part of the picture's size;
    of another one both ways."""
    data = folder("any_map", 4)
    for name, classes, pads, strides in (("three", 3, [1, 1, 1, 1], [1, 1]), ("odd", CLASSES, [1, 1, 0, 0], [5, 5]), ("flat", CLASSES, [1] * 4, [2, 1])):
        r = np.random.default_rng(1)
        w = r.standard_normal((classes, 3, 3, 3)).astype(np.float32)
        save(name, [helper.make_node("Conv", ["x", "w", "b"], ["y"], "classifier", pads=pads, strides=strides)],
             [const("w", w), const("b", np.zeros(classes, np.float32))], classes)
        model = onnx.load(temp(name + ".onnx"))
        places = [(SIZE + pads[k] + pads[k + 2] - 3) // strides[k] + 1 for k in (0, 1)]
        for k in (0, 1):
            model.graph.output[0].type.tensor_type.shape.dim[k + 2].dim_value = places[k]
        onnx.save(model, temp(name + ".onnx"))
        with open(temp("some.txt"), "w") as f:
            f.write("\n".join(NAMES[:classes]))
        ok(HONE, "finetune", temp(name + ".onnx"), "-o", temp(name), "--classes", temp("some.txt"), "--freeze", "none")
        for i in range(4):  # of classes that there are
            mask = draw(i, SIZE, SIZE)[1]
            Image.fromarray(np.where(mask == 255, 255, mask % classes).astype(np.uint8)).save(temp(f"any_map/masks/{i:03}.png"))
        ok(temp(name), "train", data, "--epochs", 1, "--lr", 0.01, "--val-fraction", 0, "--no-checkpoint", "-o", temp("t.onnx"))
        code, said, err = run(HONE, "compile", temp("t.onnx"), "-o", temp("t.bin"))
        assert code == 0 and "labels" not in err, err
        line = json.loads(ok(temp("t.bin"), "segment", "--json", temp("any_map/images/001.png")))
        assert {c["label"] for c in line["classes"]} <= set(NAMES[:classes]), line
        ok(HONE, "compile", temp(name + ".onnx"), "-o", temp("t.bin"), "--labels", temp("some.txt"))
        line = json.loads(ok(temp("t.bin"), "segment", "--json", temp("any_map/images/001.png")))
        assert {c["label"] for c in line["classes"]} <= set(NAMES[:classes]), line
    code, _, err = run(HONE, "compile", temp("three.onnx"), "-o", temp("t.bin"), "--labels", temp("names.txt"))
    assert code == 1 and "has 4 labels" in err, err


def channels_last(name):
    """The same network of pictures, and with scores, whose channels stand last."""
    model = onnx.load(temp(name + ".onnx"))
    g = model.graph
    for v in (*g.input, *g.output):
        dims = [d.dim_value for d in v.type.tensor_type.shape.dim]
        v.CopyFrom(helper.make_tensor_value_info(v.name, TensorProto.FLOAT, ["N", dims[2], dims[3], dims[1]]))
    for n in g.node:
        n.input[:] = ["x_first" if i == "x" else i for i in n.input]
        n.output[:] = ["y_first" if o == "y" else o for o in n.output]
    g.node.insert(0, helper.make_node("Transpose", ["x"], ["x_first"], perm=[0, 3, 1, 2]))
    g.node.append(helper.make_node("Transpose", ["y_first"], ["y"], perm=[0, 2, 3, 1]))
    onnx.save(model, temp(name + "_last.onnx"))


def test_channels_last():
    """Trains as its twin does, and segments as that does, too."""
    eyes("twin")
    channels_last("twin")
    data, said = folder("twins", 6), []
    for name in ("twin", "twin_last"):
        program = made(name, name, "--keep-head", "--freeze", "none")
        ok(program, "train", data, "--epochs", 2, "--lr", 1e-4, "--batch", 3, "--val-fraction", 0, "--no-checkpoint", "-o", temp("t.onnx"))
        code, _, err = run(HONE, "compile", temp("t.onnx"), "-o", temp("t.bin"))
        assert code == 0 and "labels" not in err, err
        said.append(json.loads(ok(temp("t.bin"), "segment", "--json", temp("twins/images/001.png")))["classes"])
    assert len(said[0]) == 3 and [c["label"] for c in said[0]] == [c["label"] for c in said[1]], said
    assert np.allclose([c["share"] for c in said[0]], [c["share"] for c in said[1]], atol=0.01), said


def void(data):
    for name in os.listdir(os.path.join(data, "masks")):
        Image.new("L", (SIZE, SIZE), 255).save(os.path.join(data, "masks", name))


def test_masks_of_which_nothing_counts():
    fcn("none")
    program = made("none", "none", "--freeze", "none")
    void(folder("void", 4))
    for flags in (["--lr", 0.01], ["--lr", "auto"]):
        code, _, err = run(program, "train", temp("void"), "--epochs", 1, *flags, "--val-fraction", 0, "--no-checkpoint", "-o", temp("void.onnx"))
        last = err.splitlines()[-1]
        assert code == 1 and last.endswith("void: no pixel of the masks to train on counts, all are void (255): there is nothing to learn"), err
        assert not os.path.exists(temp("void.onnx"))
    code, out, err = run(program, "eval", temp("void"), "--pretrained")
    assert (code, out) == (1, "") and "void: no pixel of the masks counts, all are void (255)" in err and err.count("\n") == 1, err
    folder("half/train", 6)
    void(folder("half/val", 2))
    same = ["--batch", 3, "--lr", 0.02, "--epochs", 3, "--no-checkpoint"]
    code, _, err = run(program, "train", temp("half"), *same, "--log", temp("h.jsonl"), "--csv", temp("h.csv"), "--report", temp("h.html"), "-o", temp("half.onnx"))
    assert code == 0 and "half: no pixel of the masks for validation counts" in err and err.count("val: no pixel counts") == 3, err
    assert "nan" not in err and "best:" not in err and {e.get("val_miou") for e in log(temp("h.jsonl"))} == {None}, err
    with open(temp("h.csv")) as csv, open(temp("h.html")) as page:
        assert "nan" not in csv.read() and ">nan" not in page.read()
    ok(program, "train", temp("half/train"), *same, "--val-fraction", 0, "-o", temp("last.onnx"))
    with open(temp("half.onnx"), "rb") as a, open(temp("last.onnx"), "rb") as b:
        assert a.read() == b.read()
    folder("some", 4)  # a batch of nothing is no end of a range test
    Image.new("L", (SIZE, SIZE), 255).save(temp("some/masks/000.png"))
    _, _, err = run(program, "train", temp("some"), "--lr", "auto", "--batch", 1, "--epochs", 1, "--val-fraction", 0, "--no-checkpoint", "-o", temp("some.onnx"))
    assert "rate " in err and "some.onnx written" in err, err


def test_refused():
    fcn("no")
    for flags, says in ((["--binary"], "NYI"), (["--multi-label"], "NYI")):
        with open(temp("two.txt"), "w") as f:
            f.write("a\nb")
        code, _, err = run(HONE, "finetune", temp("no.onnx"), "-o", temp("no"), "--classes", temp("two.txt"), *flags)
        assert code == 1 and says in err and "labels pixels" in err and err.count("\n") == 1, err
    code, _, err = run(HONE, "finetune", temp("no.onnx"), "-o", temp("no"), "--classes", 256)
    assert code == 1 and "NYI: 256 classes" in err and "leaves 255" in err and err.count("\n") == 1, err
    ok(HONE, "finetune", temp("no.onnx"), "-o", temp("no"), "--classes", 255)
    save("lone", [helper.make_node("Conv", ["x", "w", "b"], ["c"], "classifier"), helper.make_node("Sigmoid", ["c"], ["y"])],
         [const("w", np.ones((1, 3, 1, 1), np.float32)), const("b", np.zeros(1, np.float32))], 1)
    code, _, err = run(HONE, "finetune", temp("lone.onnx"), "-o", temp("no"), "--classes", 3)
    assert code == 1 and "is a map of one channel, which tells two classes apart: --classes wants two, not 3" in err and err.count("\n") == 1, err
    data = folder("bad", 4)
    code, _, err = run(HONE, "finetune", temp("no.onnx"), "-o", temp("no"), "--classes", data)
    assert code == 1 and "no classes.txt" in err, err
    program = made("no", "no", "--freeze", "head")
    code, _, err = run(program, "train", data, "--scaled-decode", "--no-checkpoint", "-o", temp("r.onnx"))
    assert code == 1 and "a mask is as large as its picture" in err and err.count("\n") == 1, err
    code, _, err = run(program, "eval", data, "--pretrained", "--tta", "ten-crop")
    assert code == 1 and "--tta flip the same" in err and err.count("\n") == 1, err
    code, _, err = run(program, "train", temp("bad/images"), "--no-checkpoint", "-o", temp("r.onnx"))
    assert code == 1 and "a folder masks" in err, err
    Image.new("RGB", (SIZE, SIZE)).save(temp("bad/masks/000.png"))
    Image.new("L", (SIZE, SIZE + 1)).save(temp("bad/masks/001.png"))
    Image.new("L", (SIZE, SIZE), CLASSES).save(temp("bad/masks/002.png"))
    code, _, err = run(program, "train", data, "--epochs", 1, "--val-fraction", 0, "--lr", 0.01, "--no-checkpoint", "-o", temp("r.onnx"))
    for says in ("in colours", "the mask is 24x25, its picture 24x24", "is of class 4, and there are 4"):
        assert says in err, (says, err)
    os.rename(temp("bad/images/003.png"), temp("bad/images/gone.png"))
    code, _, err = run(program, "train", data, "--no-checkpoint", "-o", temp("r.onnx"))
    assert code == 1 and "masks/003.png: there is no picture of this name" in err, err


if __name__ == "__main__":
    main(sys.modules[__name__])
