"""The Inception v3 of npm's package nsfwjs (Keras's, all layers trained, its weights in bytes) as an ONNX file, for head_accuracy.py:

  npm pack nsfwjs && tar xzf nsfwjs-*.tgz
  nsfwjs_inception.py package/dist/models/inception_v3 OUT.onnx

Images are [N, 299, 299, 3] from 0 to 1, as the package scales them, which the file's metadata tell hone. Needs node, numpy and onnx."""
import base64
import json
import math
import subprocess
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

READ = """const path = require('path'), m = require(path.resolve('model.min.js')), g = m.weightsManifest[0];
g.bytes = Buffer.concat(g.paths.map(p => Buffer.from(require(path.resolve(p + '.min.js')), 'base64'))).toString('base64');
process.stdout.write(JSON.stringify({layers: m.modelTopology.model_config.config.layers, weights: g.weights, bytes: g.bytes}));"""


def read(folder):
    """(layers, {name: weights}): a byte q stands for q scale + min."""
    m = json.loads(subprocess.run(["node", "-e", READ], cwd=folder, check=True, capture_output=True, text=True).stdout)
    data, at, weights = np.frombuffer(base64.b64decode(m["bytes"]), np.uint8), 0, {}
    for w in m["weights"]:
        n, q = math.prod(w["shape"]), w["quantization"]
        weights[w["name"]] = (data[at:at + n] * np.float32(q["scale"]) + np.float32(q["min"])).reshape(w["shape"]).astype(np.float32)
        at += n
    assert at == len(data)
    return m["layers"], weights


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.init, self.value = weights, [], [], {}

    def constant(self, name, array):
        self.init.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def window(self, c):
        return {"strides": c["strides"], "auto_pad": "SAME_UPPER" if c["padding"] == "same" else "VALID"}

    def conv2d(self, name, c, x):
        w = self.constant(name + ".w", self.weights[name + "/kernel"].transpose(3, 2, 0, 1))
        return self.node("Conv", [x[0], w], name, kernel_shape=c["kernel_size"], **self.window(c))

    def batchnormalization(self, name, c, x):
        part = {k[len(name) + 1:]: v for k, v in self.weights.items() if k.startswith(name + "/")}
        part.setdefault("gamma", np.ones_like(part["beta"]))
        return self.node("BatchNormalization", [x[0]] + [self.constant(f"{name}.{k}", part[k]) for k in ("gamma", "beta", "moving_mean", "moving_variance")],
                         name, epsilon=c["epsilon"])

    def activation(self, name, c, x):
        return self.node({"relu": "Relu", "softmax": "Softmax"}[c["activation"]], x, name)

    def maxpooling2d(self, name, c, x):
        return self.node("MaxPool", x, name, kernel_shape=c["pool_size"], **self.window(c))

    def averagepooling2d(self, name, c, x):
        return self.node("AveragePool", x, name, kernel_shape=c["pool_size"], **self.window(c))

    def concatenate(self, name, c, x):
        return self.node("Concat", x, name, axis=1)

    def flatten(self, name, c, x):  # of one pixel: the order of axes does not matter
        return self.node("Flatten", x, name)

    def dropout(self, name, c, x):
        return x[0]

    def dense(self, name, c, x):
        w, b = (self.constant(f"{name}.{k}", self.weights[f"{name}/{k}"]) for k in ("kernel", "bias"))
        return self.activation(name + "." + c["activation"], c, [self.node("Gemm", [x[0], w, b], name)])

    def inputlayer(self, name, c, x):
        return self.node("Transpose", ["input"], name, perm=[0, 3, 1, 2])


def main():
    layers, weights = read(sys.argv[1])
    g = Graph(weights)
    for layer in layers:
        x = [g.value[i[0]] for inbound in layer["inbound_nodes"] for i in inbound]
        g.value[layer["name"]] = last = getattr(g, layer["class_name"].lower())(layer["name"], layer["config"], x)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(g.nodes, "inception_v3", [info("input", TensorProto.FLOAT, ["N", 299, 299, 3])], [info(last, TensorProto.FLOAT, ["N", 5])], g.init)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"hone.mean": "0,0,0", "hone.std": "1,1,1", "hone.scale": str(1 / 255)})
    onnx.checker.check_model(model)
    onnx.save(model, sys.argv[2])


if __name__ == "__main__":
    main()
