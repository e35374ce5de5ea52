"""A classifier on more features than memory may hold, beside the same with room for all of them:

  head_memory.py HONE [--images 10000] [--features 1280] [--classes 10] [--memory 24M]

A random 8 x 8 convolution makes the features of made-up images (a pattern for each class in noise). Printed for each of the two runs: how large the
features are, the
memory that the whole process had at most, passes over the features, the time and passes a second, held out loss. Both must end
with the same file, bit for bit. Without --memory the features are in memory twice over, with it in a file that every pass reads.
Everything is in a folder for temporary files (TMPDIR says where: on a disk, or what is in a file is in memory after all). Needs numpy and onnx."""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 8


def network(path, features, classes):
    r = np.random.default_rng(3)
    init = {"c.w": r.normal(0, 1 / SIDE, (features, 1, SIDE, SIDE)), "c.b": r.normal(0, 0.3, features), "fc.w": np.zeros((classes, features)), "fc.b": np.zeros(classes)}
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [node("Conv", ["x", "c.w", "c.b"], ["c"], "c"), node("Relu", ["c"], ["a"], "a"), node("Flatten", ["a"], ["f"], "f"),
             node("Gemm", ["f", "fc.w", "fc.b"], ["y"], "fc", transB=1)]
    graph = helper.make_graph(nodes, "net", [info("x", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])], [info("y", TensorProto.FLOAT, ["N", classes])],
                              [numpy_helper.from_array(v.astype(np.float32), k) for k, v in init.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def train(program, folder, name, memory):
    """The tuned file's bytes; prints the rest."""
    out = os.path.join(folder, name + ".onnx")
    with open(os.path.join(folder, "said"), "w+") as said:
        p = subprocess.Popen([program, "train", "x.npy,y.npy", "--no-checkpoint", "--val-fraction", "0", "-o", out, "--feature-memory", memory], cwd=folder,
                             stderr=said)
        _, status, used = os.wait4(p.pid, 0)
        said.seek(0)
        text = said.read()
    if status:
        sys.exit(text)
    size = re.search(r"cached.*?: ([\d.]+ MB)", text)[1]
    block = re.search(r"(\d+) images at a time", text)
    held, passes, seconds = re.search(r"ridge .*?(?:whose loss is ([\d.]+))?; (\d+) passes, ([\d.]+) s", text).groups()
    if not held or float(seconds) == 0:
        sys.exit(f"head_memory.py: {passes} passes in {seconds} s{'' if held else ', no image held out'}: give more --images or --features")
    print(f"{name:10} {size} of features, {block[1] + ' images at a time' if block else 'all at once'}: {used.ru_maxrss / 1024:.0f} MB at peak, "
          f"{passes} passes in {seconds} s, {int(passes) / float(seconds):.1f} a second, held out loss {held}", flush=True)
    with open(out, "rb") as f:
        return f.read()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("hone")
    p.add_argument("--images", type=int, default=10000)
    p.add_argument("--features", type=int, default=1280)
    p.add_argument("--classes", type=int, default=10)
    p.add_argument("--memory", default="24M")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        r = np.random.default_rng(1)
        y = np.arange(a.images) % a.classes
        x = r.normal(0, 1, (a.classes, 1, SIDE, SIDE))[y] * 0.35 + r.normal(0, 1, (a.images, 1, SIDE, SIDE))
        np.save(os.path.join(folder, "x.npy"), x.astype(np.float32))
        np.save(os.path.join(folder, "y.npy"), y)
        model, program = os.path.join(folder, "net.onnx"), os.path.abspath(os.path.join(folder, "program"))
        network(model, a.features, a.classes)
        subprocess.run([a.hone, "finetune", model, "-o", program, "--classes", str(a.classes)], check=True, stdout=subprocess.DEVNULL)
        runs = [train(program, os.path.abspath(folder), name, memory) for name, memory in (("in memory", "100G"), ("in a file", a.memory))]
        print("the same bits" if runs[0] == runs[1] else "DIFFERENT BITS")
        sys.exit(runs[0] != runs[1])


main()
