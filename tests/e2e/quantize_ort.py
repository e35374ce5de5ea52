"""What low precision costs on photographs, beside the float model in ONNX Runtime: by hand.

    quantize_ort.py HONE MODEL.onnx CALIBRATE EVAL [--mean M --std S] [--methods minmax,percentile,entropy] [--hone OPTION]... [--programs]

`hone quantize` beside onnxruntime.quantization.quantize_static on the same images, both models run by ONNX Runtime, which loads what its
checker accepts. --programs: also what hone compiles: of the model in f32 and bf16, and of each model that `hone quantize` made. Printed for
each: bytes, the signal-to-noise ratio of the outputs, the agreement of the largest one with the float model on all images of EVAL and on those
where it leads by more than 0.1 of probability. Exit code 1: a bf16 program differs on a clear image, or a quantized model of `hone
quantize` or its program on more than 2 % of them. Needs numpy, PIL, onnx, onnxruntime.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image


def inputs(folder, size, mean, std):
    """As a compiled program reads images: shorter side to size / 0.875, centre crop."""
    for path, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if not name.lower().endswith((".jpg", ".jpeg", ".png")):
                continue
            image = Image.open(os.path.join(path, name)).convert("RGB")
            w, h = image.size
            side = int(np.rint(size / 0.875))
            nw, nh = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
            image = image.resize((nw, nh), Image.BILINEAR)
            left, top = int(round((nw - size) / 2)), int(round((nh - size) / 2))
            x = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
            yield np.ascontiguousarray(((x - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1))[None]


def run(model, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x})[0].reshape(1, -1) for x in images])


def judge(label, path, got, want):
    """Prints a line, and returns the agreement on clear images."""
    e = np.exp(want - want.max(1, keepdims=True))
    p = np.sort(e / e.sum(1, keepdims=True), 1)
    clear = p[:, -1] - p[:, -2] > 0.1
    same = got.argmax(1) == want.argmax(1)
    snr = 10 * np.log10((want.astype(float) ** 2).sum() / ((got - want).astype(float) ** 2).sum())
    print(f"{label:32} {os.path.getsize(path) / 1e6:7.2f} MB  {snr:6.2f} dB  {100 * same.mean():6.2f} % of {len(same)}  "
          f"{100 * same[clear].mean():6.2f} % of {clear.sum()} clear", flush=True)
    return same[clear].mean()


def judge_model(label, model, images, want):
    onnx.checker.check_model(model, full_check=True)
    return judge(label, model, run(model, images), want)


def judge_program(label, hone, model, images, want, *options):
    """As hone compiles it; a model of any batch, eight images at a time."""
    with tempfile.TemporaryDirectory() as temp:
        program, x, y = (os.path.join(temp, f) for f in ("program", "x.npy", "y.npy"))
        subprocess.run([hone, "compile", model, "-o", program, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        fixed = onnx.load(model, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0].dim_value
        got, step = [], fixed or 8
        for at in range(0, len(images), step):
            np.save(x, np.concatenate(images[at:at + step]))
            subprocess.run([program, "run", "-i", x, "-o", y], check=True)
            got.append(np.load(y).reshape(-1, want.shape[1]))
        return judge(label, program, np.concatenate(got), want)


def quantize_static(source, target, images, method):
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static as make
    from onnxruntime.quantization.shape_inference import quant_pre_process
    prepared = target + ".prepared"
    quant_pre_process(source, prepared)
    name = onnxruntime.InferenceSession(prepared, providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Reader:
        def __init__(self):
            self.rest = iter(images)

        def get_next(self):
            x = next(self.rest, None)
            return None if x is None else {name: x}

    options = {"CalibPercentile": 99.99} if method == "percentile" else {}
    make(prepared, target, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
         weight_type=QuantType.QInt8, calibrate_method={"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile,
                                                        "entropy": CalibrationMethod.Entropy}[method], extra_options=options)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("files", nargs=4, metavar="HONE MODEL CALIBRATE EVAL")
    a.add_argument("--mean", default="0.485,0.456,0.406")
    a.add_argument("--std", default="0.229,0.224,0.225")
    a.add_argument("--methods", default="minmax,percentile,entropy")
    a.add_argument("--hone", action="append", default=[], help="options of a further `hone quantize`")
    a.add_argument("--no-ort", action="store_true")
    a.add_argument("--programs", action="store_true")
    a = a.parse_args()
    hone, model, calibrate, evaluate = a.files
    size = onnx.load(model, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[3].dim_value
    mean, std = (np.array([float(v) for v in t.split(",")]) for t in (a.mean, a.std))
    images = list(inputs(evaluate, size, mean, std))
    few = list(inputs(calibrate, size, mean, std))
    want = run(model, images)
    low = []
    if a.programs:
        judge_program("program, f32", hone, model, images, want)
        low += [judge_program("program, bf16", hone, model, images, want, "--precision", "bf16") < 1]
    with tempfile.TemporaryDirectory() as temp:
        for method in a.methods.split(","):
            for more in [[]] + [m.split() for m in a.hone]:
                out, label = os.path.join(temp, "hone.onnx"), " ".join(["hone", method, *more])
                subprocess.run([hone, "quantize", model, "-o", out, "--calibrate", calibrate, "--mean", a.mean, "--std", a.std,
                                "--method", method, *more], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                low += [judge_model(label, out, images, want) < 0.98]
                if a.programs:
                    low += [judge_program(label + ", program", hone, out, images, want) < 0.98]
            if not a.no_ort:
                out = os.path.join(temp, "ort.onnx")
                quantize_static(model, out, few, method)
                judge_model(f"quantize_static {method}", out, images, want)
    return any(low)


if __name__ == "__main__":
    sys.exit(main())
