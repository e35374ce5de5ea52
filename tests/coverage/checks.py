"""One step of coverage.py for one export, in the peers' environment: prints what it found as a JSON object on the last line.

  checks.py run|head|whole FOLDER EXPORTER HONE
"""
import glob
import json
import os
import re
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from PIL import Image

import processes
from signature import signature

TOLERANCE = 1e-4      # of the largest output, beside ONNX Runtime
PIXEL = 0.1           # of a box's corners
SAME = 1e-3           # of probabilities, beside what the program says; between both lie the kernels of training and inference
LIMIT = 900
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


class Wrong(Exception):
    """Why the step fails."""


def call(words, folder):
    code, out, err, _ = processes.call(words, folder, LIMIT)
    if code is None:
        raise Wrong(f"{os.path.basename(words[0])}: over {LIMIT} s")
    if code:
        lines = [line for line in err.splitlines() if "warning:" not in line] or [f"exit code {code}"]
        told = [line.partition(".onnx: ")[2] for line in lines if ".onnx: " in line] or lines[-1:]
        raise Wrong(told[0][:300])
    return out + err


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


# ---------------------------------------------------------------- outputs

def distance(a, b):
    """Of the largest number of b; infinite where the shapes differ or a number is none."""
    if a.shape != b.shape:
        return float("inf")
    if not b.size:
        return 0.0
    d = np.abs(a.astype(np.float64) - b).max() / max(np.abs(b).max(), 1e-30)
    return float(d) if np.isfinite(d) else float("inf")


def apart(a, b):
    """Of detections, three arrays: the share of those of a without an equal of b. Equal scores come in any order, and which of them ends the list."""
    def parts(v):
        return [next(x for x in v if x.ndim == d and x.dtype.kind == k) for d, k in ((2, "f"), (1, "f"), (1, "i"))]

    (boxes, scores, labels), (boxes2, scores2, labels2) = parts(a), parts(b)
    alone = [not ((labels2 == k) & (np.abs(scores2 - s) < TOLERANCE) & (np.abs(boxes2 - x).max(1) < PIXEL)).any()
             for x, s, k in zip(boxes, scores, labels)]
    return float(np.mean(alone)) if alone else float(len(labels2) > 0)


def outputs_of(folder, exporter, session, x):
    names = [o.name for o in session.get_outputs()]
    np.save(f"{folder}/x.npy", x)
    files = [w for i, n in enumerate(names) for w in ("-o", f"{n}=y{i}.npy")]
    call([f"./{exporter}.bin", "run", "-i", f"{session.get_inputs()[0].name}=x.npy", *files], folder)
    return [np.load(f"{folder}/y{i}.npy") for i in range(len(names))]


def run(folder, exporter, hone):
    """The largest distance over outputs and batches; fine within TOLERANCE, or where hone is nearer to double precision."""
    session = session_of(f"{folder}/{exporter}.onnx")
    truth = json.load(open(f"{folder}/truth.json"))
    symbolic, kind = truth["exports"][exporter]["symbolic"], truth["name"].partition(":")[0]
    found = {"fine": True, "error": 0.0, "ort": 0.0}
    batches = [("x1", None), ("x3", None)] if symbolic else [("x3", 2)] if os.path.exists(f"{folder}/x3.npy") else [("x1", None)]
    for key, images in batches:
        x = np.load(f"{folder}/{key}.npy")[:images]
        right = session.run(None, {session.get_inputs()[0].name: x})
        path = f"{folder}/double_{key}.npz"
        double = [v[:images] for v in np.load(path).values()] if os.path.exists(path) else [None] * len(right)
        if kind == "tvdet":
            got = outputs_of(folder, exporter, session, x)
            found["error"], found["ort"], found["hone"] = apart(got, right), apart(right, double), apart(got, double)
            found["fine"] &= found["error"] < TOLERANCE or found["hone"] <= found["ort"]
            continue
        for got, ort, exact in zip(outputs_of(folder, exporter, session, x), right, double):
            error = distance(got, ort)
            if error > found["error"]:
                found.update(error=error, ort=distance(ort, exact) if exact is not None else None,
                             hone=distance(got, exact) if exact is not None else None)
            found["fine"] &= error < TOLERANCE or (exact is not None and distance(got, exact) <= distance(ort, exact))
    if not found["fine"]:
        found["why"] = f"{found['error']:.1e} from ONNX Runtime; from double precision hone {found.get('hone')}, ONNX Runtime {found['ort']}"
    return found


# ---------------------------------------------------------------- training

def make_images(folder, size):
    """Two classes that can be told apart, three pictures to train and one to validate with of each."""
    g = np.random.default_rng(5)
    for part, n in (("train", 4), ("val", 2)):
        for c in (0, 1):
            os.makedirs(f"{folder}/images/{part}/c{c}", exist_ok=True)
            for i in range(n):
                a = g.integers(0, 256, (8, 8, 3)).astype(np.uint8) // (1 + c)
                a[..., c] |= 64
                Image.fromarray(a).resize((size, size), Image.BILINEAR).save(f"{folder}/images/{part}/c{c}/{i}.png")


def make_masks(folder, size):
    """A bright square of class 1 in each of a few dark pictures."""
    g = np.random.default_rng(5)
    for part, n in (("train", 8), ("val", 4)):
        for kind in ("images", "masks"):
            os.makedirs(f"{folder}/images/{part}/{kind}", exist_ok=True)
        for i in range(n):
            mask = np.zeros((size, size), np.uint8)
            y, x = g.integers(0, size // 2, 2)
            mask[y:y + size // 2, x:x + size // 2] = 1
            picture = g.integers(0, 128, (size, size, 3)).astype(np.uint8) + 127 * mask[..., None]
            Image.fromarray(picture).save(f"{folder}/images/{part}/images/{i}.png")
            Image.fromarray(mask).save(f"{folder}/images/{part}/masks/{i}.png")


def floats_of(path):
    """Name to numbers, of the tensors that the file stores, running statistics apart."""
    model = onnx.load(path)
    statistics = {name for n in model.graph.node if n.op_type == "BatchNormalization" for name in n.input[3:5]}
    tensors = {t.name: t for t in model.graph.initializer}
    for n in model.graph.node:
        tensors.update({n.output[0]: a.t for a in n.attribute if n.op_type == "Constant" and a.name == "value"})
    return {name: numpy_helper.to_array(t) for name, t in tensors.items() if t.data_type == onnx.TensorProto.FLOAT and name not in statistics}


def stored(before, parameters):
    """Tensor of the file to parameter of PyTorch's, by name, else by its numbers. What an exporter folds into another is in neither."""
    by_number = {p[2]: name for name, p in parameters.items()}
    found = {}
    for name, a in before.items():
        plain = name.partition("module.")[2] or name
        if plain in parameters and parameters[plain][0] == a.size:
            found[name] = plain
        elif a.size > 1 and signature(a) in by_number:
            found[name] = by_number[signature(a)]
    return found


def probabilities(session, path):
    """Of the classes; of a map of classes, their shares of it."""
    x = (np.asarray(Image.open(path).convert("RGB"), np.float32) / 255 - MEAN) / STD
    y = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(x.transpose(2, 0, 1)[None])})[0].astype(np.float64)
    if y.ndim == 4:
        return np.bincount(y[0].argmax(0).ravel(), minlength=y.shape[1]) / y[0, 0].size
    y = np.exp(y.ravel() - y.max())
    return y / y.sum()


def compare_tuned(folder):
    """The tuned file in ONNX Runtime beside what the program predicts."""
    session = session_of(f"{folder}/tuned.onnx")
    files = [f for f in sorted(glob.glob(f"{folder}/images/train/*/*.png")) if "/masks/" not in f][::3]
    said = call(["./ft", "predict", "--json", "--checkpoint", "ck", *files], folder)
    worst = 0.0
    for path, entry in zip(files, json.loads(said[said.index("["):])):
        got = {c["class"]: c["share" if "share" in c else "probability"] for c in entry["top"]}
        worst = max(worst, *(abs(p - got[i]) for i, p in enumerate(probabilities(session, path))))
    return worst


def train(folder, exporter, hone, freeze):
    truth = json.load(open(f"{folder}/truth.json"))
    maps = truth["name"].startswith("tvseg:")
    (make_masks if maps else make_images)(folder, truth["size"])
    options = ["--classes", "2" if maps else "images/train", "--resize", str(truth["size"]), "--freeze", freeze]
    plan = call([hone, "finetune", f"{exporter}.onnx", "-o", "ft", *options], folder)
    trains, frozen = re.search(r"^\w+: ([\d,]+) parameters? trains?, ([\d,]+)", plan, re.M).groups()
    log = call(["./ft", "train", "images", "--epochs", "1", "--batch", "4", "--opt", "adamw", "--head-solver", "adamw", "--lr", "0.0003", "--weight-decay", "0",
                "-o", "tuned.onnx", "--checkpoint", "ck", "--log", "log.jsonl", "--overwrite"], folder)
    losses = [float(x) for x in re.findall(r"\bloss ([-\d.a-z]+)", log)]
    if not losses or not np.isfinite(losses).all():
        raise Wrong(f"losses {losses}")
    before, after = floats_of(f"{folder}/{exporter}.onnx"), floats_of(f"{folder}/tuned.onnx")
    found = {"trains": int(trains.replace(",", "")), "torch": truth["count"], "tuned": compare_tuned(folder)}
    if freeze == "none":
        kept = {n: p for n, p in stored(before, truth["parameters"]).items() if n in after and after[n].shape == before[n].shape}
        # Of a weight that the file stores twice, for its product and for its norm, the one in the product must move.
        moved = {p for n, p in kept.items() if not np.array_equal(before[n], after[n])}
        stay = sorted(set(kept.values()) - moved)
        listed = set(stored(before, truth["parameters"]).values())
        folded = {n: p[0] for n, p in truth["parameters"].items() if n not in listed}
        others = {n: a.size for n, a in before.items() if n not in kept and n in after and a.size > 1 and np.array_equal(a, after[n])}
        found.update(stored=sum(truth["parameters"][n][0] for n in listed), folded=sum(folded.values()), stay=stay, others=others)
        if stay:
            raise Wrong(f"{sum(truth['parameters'][n][0] for n in stay)} parameters stay as they are: {', '.join(stay)[:200]}")
    if not found["tuned"] < SAME:
        raise Wrong(f"the tuned file in ONNX Runtime is {found['tuned']:.1e} from the program")
    return {"fine": True, **found}


def main(step, folder, exporter, hone):
    try:
        found = run(folder, exporter, hone) if step == "run" else train(folder, exporter, hone, {"head": "head", "whole": "none"}[step])
    except Wrong as e:
        found = {"fine": False, "why": str(e)}
    finally:
        for name in ("ft", "tuned.onnx", "log.jsonl", "x.npy", *(os.path.basename(p) for p in glob.glob(f"{folder}/y[0-9]*.npy"))):
            if os.path.exists(f"{folder}/{name}"):
                os.remove(f"{folder}/{name}")
        for name in ("ck", "images"):
            shutil.rmtree(f"{folder}/{name}", ignore_errors=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
