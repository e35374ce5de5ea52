#!/usr/bin/python3
"""What fine-tune programs export, in ONNX Runtime: onnx.checker accepts it, ONNX Runtime loads it, and its probabilities
are the program's own. By hand; makes its own virtual environment with numpy, onnx, onnxruntime and pillow (in
build-peers/venv, or the interpreter that HONE_ORT_PYTHON names).

    tests/e2e/export_ort.py [NAME...]       default: all models of tuned_models.py, all families of families.py with a
                                            classifier, tools/sample; also FILE.onnx
"""
import json
import os
import subprocess
import sys
import tempfile
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
HONE = os.environ.get("HONE", os.path.join(ROOT, "build", "hone"))
NEEDS = ("numpy", "onnx", "onnxruntime", "pillow")


def enter_environment():
    """Goes on in an interpreter that has what is needed."""
    python = os.environ.get("HONE_ORT_PYTHON")
    if not python:
        folder = os.path.join(os.environ.get("HONE_PEERS", os.path.join(ROOT, "build-peers")), "venv")
        python = os.path.join(folder, "bin", "python")
        if not os.path.exists(python):
            venv.create(folder, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], check=True)
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(python))):
        os.execv(python, [python, *sys.argv])


def images(folder, size, channels, n=12):
    """Three classes of noise with a bright band each; returns the files."""
    rng, files = np.random.default_rng(0), []
    for i in range(n):
        pixels = rng.integers(0, 120, (*size, channels))
        band = max(1, size[0] // 3)
        pixels[i % 3 * band:(i % 3 + 1) * band] += 100
        path = os.path.join(folder, "abc"[i % 3], f"{i}.png")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8).squeeze()).save(path)
        files.append(path)
    return files


def tensor(files, size, channels, nhwc):
    x = np.stack([np.asarray(Image.open(f), np.float32).reshape(*size, channels) for f in files]) / 255
    x = (x - np.float32(0.4)) / np.float32(0.25)
    return np.ascontiguousarray(x if nhwc else x.transpose(0, 3, 1, 2)).astype(np.float32)


def softmax(y):
    e = np.exp(y - y.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def shape_of(model):
    """(input, its type, height and width, channels, NHWC)"""
    made = {i.name for i in model.graph.initializer}
    x = next(v for v in model.graph.input if v.name not in made)
    dims = [d.dim_value for d in x.type.tensor_type.shape.dim]
    if len(dims) != 4:
        raise Skipped("no image input")
    nhwc = dims[3] in (1, 3) and dims[1] not in (1, 3)
    size, channels = (dims[1:3], dims[3]) if nhwc else (dims[2:4], dims[1])
    return x.name, onnx.helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type), size, channels, nhwc


def run_ort(path, x, name, dtype):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = x.astype(dtype)
    batch = session.get_inputs()[[i.name for i in session.get_inputs()].index(name)].shape[0]
    rows = batch if isinstance(batch, int) and batch else len(x)
    x = x[:rows] if rows <= len(x) else np.concatenate([x] * rows)[:rows]
    return session.run([session.get_outputs()[0].name], {name: x})[0]


class Skipped(Exception):
    pass


def loads(path):
    try:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return ""
    except Exception as e:
        return str(e)


def check(model, flags, folder):
    """The largest difference of a probability; raises where the file is not valid."""
    path, program, tuned = (os.path.join(folder, n) for n in ("m.onnx", "net", "tuned.onnx"))
    onnx.save(model, path)
    name, dtype, size, channels, nhwc = shape_of(model)
    if min(size) < 1 or channels not in (1, 3) or dtype == np.uint8:
        raise Skipped("no image input")
    if "--keep-training-mode" in flags:
        raise Skipped("works on the statistics of whatever is in the batch")
    try:
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(model), full_check=model.opset_import[0].version >= 7)
        why = loads(path)
    except Exception as e:
        why = "" if "Field 'shape'" in str(e) else f"by the checker: {e}"
    files = images(os.path.join(folder, "data"), size, channels)
    run = lambda *a: subprocess.run([str(w) for w in a], check=True, capture_output=True, cwd=folder).stdout
    run(HONE, "finetune", path, "-o", program, "--classes", 3, "--resize", min(size), "--mean", 0.4, "--std", 0.25, *flags)
    run(program, "train", "data", "--batch", 4, "--epochs", 2, "-q", "-o", tuned)
    if not why.startswith("by the checker"):
        onnx.checker.check_model(onnx.load(tuned), full_check=model.opset_import[0].version >= 7)
    if why:
        raise Skipped("what it was made from is not loaded: " + " ".join(why.split(": ", 1)[-1].split())[:90])
    ours = [[t["probability"] for t in sorted(r["top"], key=lambda t: t["class"])]
            for r in json.loads(run(program, "predict", "--json", *files[:4]))]
    y = run_ort(tuned, tensor(files[:4], size, channels, nhwc), name, dtype)
    if y.dtype.kind == "i":
        return float(np.abs(y.ravel() - np.argmax(ours, 1)[:y.size]).max())
    y = y.reshape(len(y), -1).astype(np.float64)
    if np.abs(y.sum(1) - 1).max() > 1e-2 or y.min() < 0:
        y = softmax(np.minimum(y, 50))
    return float(np.abs(y[:4] - np.array(ours)[:len(y)]).max())


def models(names):
    """Name, model, flags, limit."""
    for name, make in tuned_models.MODELS.items():
        if not names or name in names:
            model, expect = make()
            yield name, model, [], 2e-2 if "head" in expect and expect["limit"] > 1e-4 else 1e-5
    for case in families.CASES:
        if not names or case.family in names or case.name in names:
            model = case.net().model()
            half = any(t.data_type == onnx.TensorProto.FLOAT16 for t in model.graph.initializer)
            yield case.name, model, list(case.flags), 2e-2 if half else 1e-5
    for path in [n for n in names if n.endswith(".onnx")] or ([] if names else [os.path.join(ROOT, "tools/sample/sample.onnx")]):
        yield os.path.basename(path), onnx.load(path), [], 1e-5


def main():
    bad, worst, done = 0, 0.0, 0
    for name, model, flags, limit in models(sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            try:
                off = check(model, flags, folder)
            except Skipped as why:
                print(f"{name:44} skipped: {why}", flush=True)
                continue
            except subprocess.CalledProcessError as e:
                text = e.stderr.decode().strip().splitlines()[-1:]
                refused = e.returncode == 1 and e.stderr.count(b": node") + e.stderr.count(b"outputs[0]")
                bad += not refused
                print(f"{name:44} {'refused' if refused else 'FAILED'}: {' '.join(text)[-150:]}", flush=True)
                continue
            except Exception as e:
                bad += 1
                print(f"{name:44} FAILED: {type(e).__name__}: {str(e)[:200]}", flush=True)
                continue
        done += 1
        good = off <= limit
        bad += not good
        worst = max(worst, off if limit <= 1e-5 else 0)
        print(f"{name:44} {off:.1e}{'' if good else '  WRONG'}", flush=True)
    print(f"{done} models in ONNX Runtime {ort.__version__}, largest difference of a probability (float32) {worst:.1e}; "
          f"{bad} bad")
    sys.exit(bad > 0)


if __name__ == "__main__":
    enter_environment()
    import numpy as np
    import onnx
    import onnxruntime as ort
    from PIL import Image
    sys.path[:0] = [HERE, os.path.dirname(HERE)]
    import families
    import tuned_models
    main()
