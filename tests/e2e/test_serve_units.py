"""`serve` of compiled programs that the hand-written model of tests/runtime cannot stand for: several sizes of the input, each in batches
of its own, and outputs whose size data decides. What comes back is what the subcommand run says, bit for bit.
"""
import concurrent.futures
import json
import os
import sys

import numpy as np
import onnx
from PIL import Image
from onnx import TensorProto, helper, numpy_helper

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE, os.path.join(HERE, "..", "runtime", "serve")]
from script import HONE, main, ok, temp  # noqa: E402
from server import Server  # noqa: E402
import bounded_models  # noqa: E402

rng = np.random.default_rng(3)
TYPES = {"FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_}
NAMES = {np.dtype(t): name for name, t in TYPES.items()}


def network():
    """Gives the mean of each channel, and how large the picture is: the count of its pixels."""
    w = numpy_helper.from_array(rng.normal(0, .3, (16, 3, 3, 3)).astype(np.float32), "w")
    head = numpy_helper.from_array(rng.normal(0, .3, (16, 5)).astype(np.float32), "head")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("MatMul", ["f", "head"], ["y"]), helper.make_node("ReduceMax", ["c"], ["rows"], axes=[1, 3], keepdims=0)]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "h", "w"])],
                              [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "rows")], [w, head])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), temp("net.onnx"))


def run_program(program, feed, names):
    args = []
    for k, x in feed.items():
        np.save(temp(f"in_{k}.npy"), x)
        args += ["-i", f"{k}=in_{k}.npy"]
    for k in names:
        args += ["-o", f"{k}=out_{k}.npy"]
    ok(temp(program), "run", *args)
    return {k: np.load(temp(f"out_{k}.npy")) for k in names}


def request(feed):
    """(body, headers) in binary form"""
    text = json.dumps({"inputs": [{"name": k, "datatype": NAMES[x.dtype], "shape": x.shape, "parameters": {"binary_data_size": x.nbytes}}
                                  for k, x in feed.items()], "parameters": {"binary_data_output": True}}).encode()
    return text + b"".join(np.ascontiguousarray(x).tobytes() for x in feed.values()), [f"Inference-Header-Content-Length: {len(text)}"]


def arrays(reply):
    assert reply.status == 200, reply.body
    n = int(reply.headers["inference-header-content-length"])
    at, got = n, {}
    for o in json.loads(reply.body[:n])["outputs"]:
        size = o["parameters"]["binary_data_size"]
        got[o["name"]] = np.frombuffer(reply.body[at:at + size], TYPES[o["datatype"]]).reshape(o["shape"])
        at += size
    assert at == len(reply.body)
    return got


def infer(server, program, feed):
    return server.ask("POST", f"/v2/models/{program}/infer", *request(feed))


def same(got, want):
    return got.keys() == want.keys() and all(got[k].shape == want[k].shape and np.array_equal(got[k], want[k]) for k in want)


def test_sizes():
    network()
    ok(HONE, "compile", "net.onnx", "-o", "net", "--input-shape", "x=Nx3x16x16", "--input-shape", "x=Nx3x24x40", "--resize", "0")
    shapes = [(16, 16), (24, 40)]
    feeds = [{"x": rng.normal(size=(1 + k % 3, 3, *shapes[k % 2 if k < 20 else 0])).astype(np.float32)} for k in range(24)]
    want = [run_program("net", feed, ("y", "rows")) for feed in feeds]
    with Server(temp("net"), "--max-batch", 4, "--queue-delay", 20) as s, concurrent.futures.ThreadPoolExecutor(12) as pool:
        got = list(pool.map(lambda feed: arrays(infer(s, "net", feed)), feeds))
        assert all(map(same, got, want))
        assert s.metric("nv_inference_exec_count") < len(feeds)  # some shared a run
        for path, key, shape in (("/v2/models/net", "shape", [-1, 3, -1, -1]), ("/v2/models/net/config", "dims", [3, -1, -1])):
            told = s.ask("GET", path).json()
            assert (told.get("inputs") or told["input"])[0][key] == shape, told
        wrong = infer(s, "net", {"x": np.zeros((1, 3, 16, 24), np.float32)})
        assert wrong.status == 400 and "16,24" in wrong.error() and wrong.error().endswith("sizes are x f32[N,3,16,16]; x f32[N,3,24,40]"), wrong.error()
        # bytes alone: of one size, of none, of both (15 of the one are 4 of the other)
        raw = ["Inference-Header-Content-Length: 0"]
        ask = lambda x: s.ask("POST", "/v2/models/net/infer", x.tobytes(), raw)
        reply = ask(feeds[1]["x"][:1]).json()["outputs"]
        assert np.allclose(reply[0]["data"], want[1]["y"][0], rtol=1e-6) and reply[1]["shape"] == [1, 24], reply
        assert ask(feeds[0]["x"][:, :, 1:]).status == 400
    with Server(temp("net"), "--max-batch", 16) as s:
        assert "2 sizes" in s.ask("POST", "/v2/models/net/infer", bytes(4 * 3 * 16 * 16 * 15), raw).error()


def test_pictures_take_the_nearest_size():
    with Server(temp("net")) as s:
        for size, rows in (((40, 40), 16), ((90, 50), 24), ((20, 12), 24)):
            Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(temp("picture.png"))
            with open(temp("picture.png"), "rb") as f:
                reply = s.ask("POST", "/v2/models/net/infer", f.read(), ["Content-Type: image/png"]).json()["outputs"]
            assert reply[1]["shape"] == [1, rows], (size, reply[1])
            ok(temp("net"), "features", "picture.png", "-o", "y=y.npy", "--size", "16x16" if rows == 16 else "40x24")
            assert np.allclose(np.load(temp("y.npy")).ravel()[:5], reply[0]["data"], rtol=1e-6)


def test_sizes_that_data_decides():
    for name in ("pick_top", "suppress"):
        model, _ = bounded_models.NETWORKS[name]
        onnx.save(model, temp(f"{name}.onnx"))
        ok(HONE, "compile", f"{name}.onnx", "-o", name)
        names = [o.name for o in model.graph.output]
        rows = set()
        with Server(temp(name), "--instances", 2) as s:
            for feed in bounded_models.feeds(name):
                want, reply = run_program(name, feed, names), infer(s, name, feed)
                assert same(arrays(reply), want), (name, want)
                rows.add(want[names[0]].shape)
                plain = {"inputs": [{"name": k, "datatype": NAMES[x.dtype], "shape": x.shape, "data": x.ravel().tolist()} for k, x in feed.items()]}
                for o in s.ask("POST", f"/v2/models/{name}/infer", json.dumps(plain).encode()).json()["outputs"]:
                    assert o["shape"] == list(want[o["name"]].shape) and len(o["data"]) == want[o["name"]].size, o
            assert -1 in s.ask("GET", f"/v2/models/{name}").json()["outputs"][0]["shape"]
        assert len(rows) > 1, rows


if __name__ == "__main__":
    main(sys.modules[__name__])
