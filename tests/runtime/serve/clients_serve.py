"""clients_serve.py PROGRAM IMAGE: `PROGRAM serve` with the clients that people have, as they are: tritonclient, of a virtual environment that
this makes (build-peers/triton-venv, or where HONE_PEERS says), and curl. Run by hand, as the client comes from a package index; what it
sends is in test_serve.py. PROGRAM has one FP32 input for images and one output; what it says of IMAGE by itself is what clients have to hear."""
import json
import os
import subprocess
import sys
import venv

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
import peers


def with_client():
    """Goes on in the environment that has tritonclient."""
    folder = os.path.join(peers.WORK, "triton-venv")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "tritonclient[http]==2.73.0", "numpy"], check=True)
    if sys.prefix != folder:
        os.execv(python, [python, *sys.argv])


class Served:
    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, "serve", "--port", "0", *options], stdout=subprocess.PIPE, text=True)
        self.at = self.process.stdout.readline().split("//")[1].strip()
        self.model = self.process.stdout.readline().split(":")[0].removeprefix("model ")

    def end(self):
        self.process.terminate()
        assert self.process.wait(30) == 0


def curl(server, path, *options):
    return subprocess.run(["curl", "-sS", "--fail-with-body", *options, f"http://{server.at}{path}"], capture_output=True, check=True).stdout


def top(texts):
    """Labels of "score:index:label"."""
    return [(t.decode() if isinstance(t, bytes) else t).split(":", 2)[2] for t in texts]


def check_documents(client, server, info):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(server.model) and client.is_model_ready(server.model, "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    meta = client.get_model_metadata(server.model)
    assert meta["inputs"][0]["name"] == info["inputs"][0]["name"] and meta["inputs"][0]["datatype"] == "FP32", meta
    config = client.get_model_config(server.model)
    assert config["name"] == server.model and config["max_batch_size"] == 8, config
    assert client.get_model_repository_index()[0]["name"] == server.model
    assert client.get_inference_statistics(server.model)["model_stats"][0]["name"] == server.model


def check_tensors(http, np, client, server, info, x, y):
    name, out = info["inputs"][0]["name"], info["outputs"][0]["name"]
    for binary_in in (True, False):
        for binary_out in (True, False):
            for packing in (None, "gzip", "deflate"):
                given = http.InferInput(name, x.shape, "FP32")
                given.set_data_from_numpy(x, binary_data=binary_in)
                wanted = [http.InferRequestedOutput(out, binary_data=binary_out)]
                got = client.infer(server.model, [given], outputs=wanted, request_id="7", request_compression_algorithm=packing)
                assert got.get_response()["id"] == "7"
                assert np.array_equal(got.as_numpy(out), y), (binary_in, binary_out, packing)
    given = http.InferInput(name, x.shape, "FP32")
    given.set_data_from_numpy(x)
    assert np.array_equal(client.infer(server.model, [given]).as_numpy(out), y)  # no outputs asked for: all
    waiting = [client.async_infer(server.model, [given]) for _ in range(8)]
    for w in waiting:
        assert np.array_equal(w.get_result().as_numpy(out), y)
    given = http.InferInput(name, [1, 2], "FP32")
    given.set_data_from_numpy(np.zeros([1, 2], np.float32))
    try:
        client.infer(server.model, [given])
        raise AssertionError("a tensor of another shape was taken")
    except http.InferenceServerException as e:
        assert e.status() == "400" and "[1,2]" in str(e), e


def check_images(http, np, client, server, info, file, labels):
    name, out = info["inputs"][0]["name"], info["outputs"][0]["name"]
    for shape in ([1], [1, 1], [3], [3, 1]):
        given = http.InferInput(name, shape, "BYTES")
        given.set_data_from_numpy(np.full(shape, file, dtype=object))
        got = client.infer(server.model, [given], outputs=[http.InferRequestedOutput(out, class_count=len(labels))]).as_numpy(out)
        assert all(top(row) == labels for row in got.reshape(shape[0], -1)), got
        plain = client.infer(server.model, [given]).as_numpy(out)
        assert plain.shape[0] == shape[0]


def check_curl(np, server, path, labels, x_file, y):
    infer = f"/v2/models/{server.model}/infer"
    kind = "Content-Type: image/x"
    for options in (("-H", kind, "--data-binary", "@" + path), ("-H", kind, "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + path),
                    ("-H", kind, "-X", "POST", "-T", path), ("-H", kind, "-H", "Expect: 100-continue", "--data-binary", "@" + path)):
        reply = json.loads(curl(server, f"{infer}?classification={len(labels)}", *options))
        assert top(reply["outputs"][0]["data"]) == labels, reply
    raw = ("-H", "Inference-Header-Content-Length: 0", "-H", "Content-Type: application/octet-stream", "--data-binary", "@" + x_file)
    reply = json.loads(curl(server, infer, *raw))
    assert np.array_equal(np.array(reply["outputs"][0]["data"], np.float32), y.ravel())
    assert b"nv_inference_request_success" in curl(server, "/metrics") and b"<html" in curl(server, "/")


def main():
    program, path = (os.path.abspath(a) for a in sys.argv[1:])
    with_client()
    import numpy as np
    import tritonclient.http as http

    said = json.loads(subprocess.run([program, "--json", path], capture_output=True, check=True).stdout)
    labels = [c["label"] for c in said["top"]]
    info = json.loads(subprocess.run([program, "info", "--json"], capture_output=True, check=True).stdout)
    x = np.random.default_rng(1).standard_normal([1 if isinstance(d, str) else d for d in info["inputs"][0]["shape"]]).astype(np.float32)
    folder = os.path.join(peers.WORK, "triton-work")
    os.makedirs(folder, exist_ok=True)
    x_npy, x_raw, y_npy = (os.path.join(folder, f) for f in ("x.npy", "x.raw", "y.npy"))
    np.save(x_npy, x)
    x.tofile(x_raw)
    subprocess.run([program, "run", "-i", x_npy, "-o", y_npy], check=True, stdout=subprocess.DEVNULL)
    y = np.load(y_npy)
    with open(path, "rb") as f:
        file = f.read()
    server = Served(program)
    try:
        client = http.InferenceServerClient(server.at, concurrency=8)
        check_documents(client, server, info)
        check_tensors(http, np, client, server, info, x, y)
        check_images(http, np, client, server, info, file, labels)
        check_curl(np, server, path, labels, x_raw, y)
        client.close()
    finally:
        server.end()
    print("tritonclient and curl: documents, tensors in both forms, packed and not, at once; images one and several; all as the program says")


main()
