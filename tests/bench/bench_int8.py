#!/usr/bin/python3
"""Inference on int8: hone, ONNX Runtime and OpenVINO on the same QDQ file, and hone's own f32, alternating in one run.

  tests/bench/bench_int8.py [NETWORK...] [--rounds 5] [--iters 10] [--settings 1x1 1x2 8x2] [--signed] [--check]

NETWORK is one of tests/peers.py's (default resnet50 mobilenet_v2), or the path of a QDQ file or of a float one. The file of a network comes
from onnxruntime.quantization.quantize_static (u8 activations, with --signed s8; s8 weights per channel; MinMax over four random
images: times do not depend on what they are). A figure is the minimum over all rounds, a ratio below 1 means that hone is
faster; `of f32` is hone's int8 beside hone's f32; `of file` is the program's size by the file's.

  --check    exit code 1 where hone's int8 is above 0.45 of its f32, or a program above 1.25 of its file

Peers go into a virtual environment below build-peers/ on first use. Needs ../shared for networks by name.
"""
import argparse
import os
import subprocess
import sys
import venv

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import peers

MAX_OF_F32, MAX_OF_FILE = 0.45, 1.25

QUANTIZE = """
import sys
import numpy as np
import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
source, target, size, activations = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
plain = target + '.pre'
quant_pre_process(source, plain)
name = onnx.load(plain).graph.input[0].name
images = iter(np.random.default_rng(0).standard_normal((4, 1, 3, size, size)).astype('f4'))
class Images:
    def get_next(self):
        x = next(images, None)
        return None if x is None else {name: x}
quantize_static(plain, target, Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=getattr(QuantType, activations), weight_type=QuantType.QInt8)
"""

RUN = """
import json, resource, sys, time
import numpy as np
peer, path, precision, batch, threads, iters, size = *sys.argv[1:4], *map(int, sys.argv[4:])
x = np.random.default_rng(0).standard_normal((batch, 3, size, size)).astype('f4')
if peer == 'ort':
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    feed = {session.get_inputs()[0].name: x}
    run = lambda: session.run(None, feed)
else:
    import openvino
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({model.inputs[0]: list(x.shape)})
    request = core.compile_model(model, 'CPU', {'INFERENCE_NUM_THREADS': threads, 'NUM_STREAMS': 1, 'PERFORMANCE_HINT': 'LATENCY',
                                                'INFERENCE_PRECISION_HINT': precision}).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))
    run = request.infer
best = 1e9
run()
for _ in range(iters):
    start = time.perf_counter()
    run()
    best = min(best, time.perf_counter() - start)
print(json.dumps({'min_ms': best * 1e3, 'rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def python():
    """The interpreter of a virtual environment that has both peers."""
    folder = os.path.join(peers.WORK, "int8-venv")
    path, done = os.path.join(folder, "bin", "python"), os.path.join(folder, "complete")
    if not os.path.exists(done):
        venv.create(folder, with_pip=True)
        subprocess.run([path, "-m", "pip", "install", "--quiet", "numpy", "onnx", "onnxruntime", "openvino", "sympy"], check=True)
        open(done, "w").close()
    return path


def quantized(network, signed):
    """The QDQ file of a network, and the f32 one; of a quantized file only itself."""
    source = network if network.endswith(".onnx") else peers.model(network)
    with open(source, "rb") as file:
        if b"QuantizeLinear" in file.read():
            return source, None
    network = os.path.basename(source)[:-5]
    target = os.path.join(peers.WORK, f"{network}_qdq{'_s8' if signed else ''}.onnx")
    if not os.path.exists(target):
        subprocess.run([python(), "-c", QUANTIZE, source, target, str(peers.image_size(network)), "QInt8" if signed else "QUInt8"],
                       check=True, capture_output=True)
    return target, source


def compiled(model, name, *options):
    binary = os.path.join(peers.WORK, "bin_" + name)
    subprocess.run([peers.HONE, "compile", model, "-o", binary, *options], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return binary


def results(a, programs, others, model, size, setting):
    """What each run said, min_ms and rss_mb, by name: hone's programs, then the others, ort or openvino with what it computes in."""
    batch, threads = setting.split("x")
    cpus = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:int(threads)]))]
    env = {"OMP_NUM_THREADS": threads}
    best = {}
    for _ in range(a.rounds):
        for name, binary in programs.items():
            best.setdefault(name, []).append(peers.json_of(
                [*cpus, binary, "bench", "--json", "--batch", batch, "--threads", threads, "--iters", str(a.iters)], env))
        for peer, precision in others.items():
            best.setdefault(peer, []).append(peers.json_of(
                [*cpus, python(), "-c", RUN, peer, model, precision, batch, threads, str(a.iters), str(size)], env))
    return best


def measure(a, programs, others, model, size, setting):
    """Minimum milliseconds by name, as results()."""
    runs = results(a, programs, others, model, size, setting)
    return {name: min(r["min_ms"] for r in of) for name, of in runs.items()}


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--iters", type=int, default=10)
    ap.add_argument("--settings", nargs="*", default=("1x1", "1x2", "8x2"))
    ap.add_argument("--signed", action="store_true")
    ap.add_argument("--check", action="store_true")
    return ap.parse_args()


def main():
    a = arguments()
    over = []
    print(f"{'network':24} {'setting':>7} {'hone ms':>8} {'ORT':>8} {'ratio':>6} {'OpenVINO':>9} {'ratio':>6} {'of f32':>7} {'of file':>8}")
    for network in a.networks or ("resnet50", "mobilenet_v2"):
        model, source = quantized(network, a.signed)
        name = os.path.basename(model)[:-5]
        programs = {"int8": compiled(model, name)}
        if source:
            programs["f32"] = compiled(source, os.path.basename(source)[:-5])
        of_file = os.path.getsize(programs["int8"]) / os.path.getsize(model)
        over += [f"{name}: program of {of_file:.2f} of its file"] * (of_file > MAX_OF_FILE)
        for setting in a.settings:
            ms = measure(a, programs, {"ort": "f32", "openvino": "f32"}, model, peers.image_size(os.path.basename(network)), setting)
            of_f32 = ms["int8"] / ms["f32"] if source else float("nan")
            over += [f"{name} {setting}: {of_f32:.2f} of f32"] * (of_f32 > MAX_OF_F32)
            print(f"{name:24} {setting:>7} {ms['int8']:8.2f} {ms['ort']:8.2f} {ms['int8'] / ms['ort']:6.2f} {ms['openvino']:9.2f} "
                  f"{ms['int8'] / ms['openvino']:6.2f} {of_f32:7.2f} {of_file:8.2f}", flush=True)
    print(f"above their limits: {len(over)}" + "".join("\n  " + line for line in over))
    return bool(over) and a.check


if __name__ == "__main__":
    sys.exit(main())
