"""What every test asks of a trained model that a fine-tune program wrote: it is valid by ONNX's own checker, whole in
one file, and, compiled, it says what the program's own predict says.

Needs hone as `script.HONE`. The checker of the installed onnx knows opsets up to its own; for newer ones its message
that it does not is fine.
"""
import json
import os

import numpy as np
import onnx

from script import HONE, ok

LIMIT = 1e-5  # of a probability; float16's is LIMIT_HALF
LIMIT_HALF = 2e-3


def graphs(graph):
    """The graph and those of its nodes' branches."""
    yield graph
    for node in graph.node:
        for a in node.attribute:
            if a.HasField("g"):
                yield from graphs(a.g)


def tensors(model):
    for graph in graphs(model.graph):
        yield from graph.initializer
        yield from (a.t for n in graph.node for a in n.attribute if a.HasField("t"))


def newest_opset():
    return onnx.defs.onnx_opset_version()


def check(path):
    """The file by itself. Returns the model."""
    model = onnx.load(path, load_external_data=False)
    outside = [t.name for t in tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    assert not outside, f"{path}: the numbers of {outside} are in other files"
    names = [v.name for v in list(model.graph.initializer) + list(model.graph.output)]
    assert len(names) == len(set(names)), f"{path}: a name stands twice among {names}"
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if opset <= newest_opset():
        onnx.checker.check_model(model, full_check=opset >= 7)  # shape inference of old versions is no rule
    return model


def predictions(lines):
    return [[(t["class"], t["probability"]) for t in sorted(x["top"], key=lambda t: t["class"])] for x in lines]


def check_agrees(program, path, pictures, limit=LIMIT, cwd=None, checkpoint=()):
    """The file is valid, and compiled it gives what the program's predict gives. Returns the probabilities."""
    check(path)
    net = path + ".net"
    ok(HONE, "compile", path, "-o", net)
    top = ("--top", 1000)
    want = predictions(json.loads(ok(program, "predict", "--json", *top, *checkpoint, *pictures, cwd=cwd)))
    ours = predictions([json.loads(line) for line in ok(net, "--json", *top, *pictures, cwd=cwd).splitlines()])
    os.remove(net)
    for a, b in zip(ours, want, strict=True):
        assert [c for c, _ in a] == [c for c, _ in b], (path, a, b)
        worst = max(abs(x - y) for (_, x), (_, y) in zip(a, b))
        assert worst <= limit, f"{path}: the compiled file differs from predict by {worst:.2e}: {a} {b}"
    return np.array([[p for _, p in row] for row in want])
