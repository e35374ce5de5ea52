"""ONNX Runtime as a reference and speed peer, and full-size models, for tests/bench and tests/e2e.

Both come from folders beside the checkout (../shared/peers, ../shared/models); scripts that need
them say so and stop when they are missing. Everything made goes to build-peers/.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.path.join(os.path.dirname(ROOT), "shared")
WORK = os.environ.get("HONE_PEERS", os.path.join(ROOT, "build-peers"))
HONE = os.environ.get("HONE", os.path.join(ROOT, "build", "hone"))

# The 21 torchvision networks and the nine light graphs of the model zoo.
TORCHVISION = ("resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d wide_resnet50_2 googlenet "
               "inception_v3 vgg16 vgg16_bn alexnet densenet121 squeezenet1_0 squeezenet1_1 mobilenet_v2 "
               "mobilenet_v3_large shufflenet_v2_x1_0 mnasnet1_0 efficientnet_b0 regnet_y_400mf").split()
ZOO = ("zoo_bvlc_alexnet zoo_densenet121 zoo_inception_v1 zoo_inception_v2 zoo_resnet50 zoo_shufflenet "
       "zoo_squeezenet zoo_vgg19 zoo_zfnet512").split()


def ort_js():
    """Path of ort.js in a folder where onnxruntime-node is installed."""
    folder = os.path.join(WORK, "peers")
    script = os.path.join(folder, "ort.js")
    if not os.path.isdir(os.path.join(folder, "node_modules", "onnxruntime-node")):
        source = os.path.join(SHARED, "peers")
        if not os.path.isdir(source):
            sys.exit("no ../shared/peers beside the checkout: nothing to compare with")
        os.makedirs(folder, exist_ok=True)
        for f in ("ort.js", "package.json"):
            shutil.copy(os.path.join(source, f), folder)
        subprocess.run(["npm", "install", "--ignore-scripts", "--silent"], cwd=folder, check=True)
    return script


def model(name):
    """Path of NAME.onnx ("resnet50", "resnet50_bn", "resnet50_train", "zoo_resnet50"), made when missing."""
    folder = os.path.join(WORK, "models")
    path = os.path.join(folder, name + ".onnx")
    if not os.path.exists(path):
        script = os.path.join(SHARED, "models", "make_models.py")
        if not os.path.exists(script):
            sys.exit("no ../shared/models beside the checkout: cannot make " + name)
        args = ["/usr/bin/python3", script, folder]
        if name.startswith("zoo_"):
            args += ["--light"]
        elif name.endswith("_bn") and name != "vgg16_bn":
            args += [name[:-3], "--keep-bn"]
        elif name.endswith("_train"):
            args += [name[:-6], "--train-form"]
        else:
            args += [name]
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def image_size(name):
    return 299 if name.startswith("inception_v3") else 224


def write_image(path, width=500, height=375):
    """A PNG of the size of an ImageNet photograph."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes(v & 255 for x in range(width) for v in (x + y, x * y >> 6, 3 * y - x))
                    for y in range(height))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def json_of(command, env=None):
    """Runs a command that prints one JSON object last."""
    done = subprocess.run(command, check=True, capture_output=True, text=True,
                          env=dict(os.environ, **(env or {})))
    return json.loads(done.stdout.strip().splitlines()[-1])
