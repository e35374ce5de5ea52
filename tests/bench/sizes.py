#!/usr/bin/python3
"""How large programs are, beside the files that they are made of.

  tests/bench/sizes.py [NETWORK...] [--check]

Default: resnet50 mobilenet_v2 efficientnet_b0. Of each: the f32 file, with the weights that the compiler prepares and without (--prepared
1); the file with float16 and with bfloat16 weights, compiled with --precision bf16 and, which keeps the types that are stored, as it is;
of both the smallest program (--without serve,png,webp); the QDQ file of bench_int8.py; for all CPUs (--mcpu all) beside one unit. `fixed` is what is no weight: code, tables, the runtime with its
decoders and server, in MB; of a small network's file it is a large part.

  --check    exit code 1 where an int8 program is above 1.25 of its file, one of 16 bits above 1.1, or one for all CPUs above
             1.15 of one unit's, for a file of at least 20 MB; or the smallest of 16 bits above 1.1, for one of at least 7 MB

Needs ../shared, and onnx in a virtual environment below build-peers/.
"""
import argparse
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import bench_int8
import peers

MOST = {"int8": 1.25, "f16": 1.1, "bf16": 1.1, "smallest": 1.1, "all CPUs": 1.15}
LARGE_MB = {"smallest": 7}  # files whose programs are judged, others from 20: below it, what is no weight counts for too much
SMALLEST = ("--without", "serve,png,webp")

# All that is f32 in the file becomes the other type, what goes in and out as well.
NARROW = """
import sys, numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
source, target, name = sys.argv[1:]
kind = getattr(TensorProto, name)
m = onnx.load(source)
def narrow(t):
    if t.data_type != TensorProto.FLOAT:
        return
    x = numpy_helper.to_array(t).astype('f4')
    if kind == TensorProto.FLOAT16:
        raw = np.clip(x, -65504, 65504).astype('f2').tobytes()
    else:
        bits = x.view('u4').astype('u8')
        raw = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype('u2').tobytes()
    n = t.name
    dims = list(t.dims)
    t.Clear()
    t.name, t.data_type, t.raw_data = n, kind, raw
    t.dims.extend(dims)
for t in m.graph.initializer:
    narrow(t)
for node in m.graph.node:
    for a in node.attribute:
        if a.HasField('t'):
            narrow(a.t)
        if node.op_type == 'Cast' and a.name == 'to' and a.i == TensorProto.FLOAT:
            a.i = kind
for v in [*m.graph.input, *m.graph.output, *m.graph.value_info]:
    if v.type.tensor_type.elem_type == TensorProto.FLOAT:
        v.type.tensor_type.elem_type = kind
if kind == TensorProto.BFLOAT16:
    m.opset_import[0].version = max(m.opset_import[0].version, 22)  # the first whose convolutions take it
onnx.save(m, target)
"""


def narrowed(network, name):
    """The network's file in another type."""
    target = os.path.join(peers.WORK, f"{network}_{name.lower()}.onnx")
    subprocess.run([bench_int8.python(), "-c", NARROW, peers.model(network), target, name], check=True)
    return target


def program(model, *options):
    """(bytes of the program, of its weights)"""
    out = os.path.join(peers.WORK, "sizes_program")
    r = subprocess.run([peers.HONE, "compile", model, "-o", out, "-v", *options], check=True, capture_output=True, text=True)
    weights = float(re.search(r"weights ([\d.]+) MB", r.stderr)[1])
    return os.path.getsize(out), weights * 1e6


def rows(network):
    """(what is compiled, what judges it, bytes it is measured by, options)"""
    f32 = peers.model(network)
    f16, bf16, int8 = narrowed(network, "FLOAT16"), narrowed(network, "BFLOAT16"), bench_int8.quantized(network, False)[0]
    one, _ = program(f32, "--prepared", "1")
    return [("f32", None, f32, None, ()), ("f32, --prepared 1", None, f32, None, ("--prepared", "1")),
            ("f16", "f16", f16, None, ()), ("f16, --precision bf16", "f16", f16, None, ("--precision", "bf16")),
            ("bf16, --precision bf16", "bf16", bf16, None, ("--precision", "bf16")),
            ("f16, smallest", "smallest", f16, None, SMALLEST),
            ("bf16, --precision bf16, smallest", "smallest", bf16, None, ("--precision", "bf16", *SMALLEST)),
            ("int8", "int8", int8, None, ()), ("for all CPUs, of one unit's", "all CPUs", f32, one, ("--mcpu", "all"))]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("networks", nargs="*")
    ap.add_argument("--check", action="store_true")
    a = ap.parse_args()
    over = []
    print(f"{'network':18} {'compiled':34} {'file MB':>8} {'program':>8} {'fixed':>6} {'ratio':>6}")
    for network in a.networks or ("resnet50", "mobilenet_v2", "efficientnet_b0"):
        for what, judge, model, base, options in rows(network):
            size, weights = program(model, *options)
            file = os.path.getsize(model)
            ratio = size / (base or file)
            bad = judge and ratio > MOST[judge] and file >= LARGE_MB.get(judge, 20) * 1e6
            over += [f"{network}, {what}: {ratio:.2f}"] * bool(bad)
            print(f"{network:18} {what:34} {file / 1e6:8.1f} {size / 1e6:8.1f} {(size - weights) / 1e6:6.2f} {ratio:6.3f}", flush=True)
    print(f"above their limits: {len(over)}" + "".join("\n  " + line for line in over))
    return bool(over) and a.check


if __name__ == "__main__":
    sys.exit(main())
