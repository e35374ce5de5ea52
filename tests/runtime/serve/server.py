"""A server of a test, and a client that sends what bytes it likes."""
import json
import os
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, MCPU, launch


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def error(self):
        return self.json()["error"]


class Client:
    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.left = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(self.left)
        self.left += data

    def reply(self, bodyless=False):
        while b"\r\n\r\n" not in self.left:
            self._more()
        head, self.left = self.left.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1", head
        headers = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            assert name.lower() not in headers, head
            headers[name.lower()] = value
        if status == "100":
            return Reply(100, headers, b"")
        n = 0 if bodyless else int(headers["content-length"])
        while len(self.left) < n:
            self._more()
        body, self.left = self.left[:n], self.left[n:]
        return Reply(int(status), headers, body)

    def ask(self, method, path, body=None, headers=()):
        self.send(request(method, path, body, headers))
        return self.reply(method == "HEAD")

    def closed(self):
        """Whether the server sends no more, and says so."""
        try:
            return not self.left and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def request(method, path, body=None, headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


class Server:
    """A program's serve on a port of its own."""

    def __init__(self, program, *args, port=True, env=None, prefix=(), **popen):
        command = [*prefix, *launch([os.path.join(BUILD, program), "serve", *(("--port", "0") if port else ()), *args])]
        full = {**os.environ, "OMP_NUM_THREADS": "2", **(env or {})}
        for name in () if MCPU else ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):  # programs know how to wait
            full.pop(name, None)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=full, **popen)
        line = self.process.stdout.readline().decode()
        if not line.startswith("listening on http://"):
            raise AssertionError((line, self.process.communicate(timeout=30)))
        self.port = int(line.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            code, err = self.stop()
            assert kind or (code, err) == (0, ""), (code, err)

    def client(self, **more):
        return Client(self.port, **more)

    def ask(self, *args, **more):
        with self.client() as c:
            return c.ask(*args, **more)

    def metric(self, name):
        for line in self.ask("GET", "/metrics").body.decode().splitlines():
            if line.startswith(name):
                return int(line.rsplit(" ", 1)[1])
        raise KeyError(name)

    def wait_for(self, pending):
        """Until so many requests wait for their runs, and what was sent before is read."""
        for _ in range(400):
            if self.metric("nv_inference_pending_request_count") == pending:
                self.metric("nv_inference_count")
                return
            time.sleep(0.02)
        raise AssertionError(f"no {pending} requests are pending")

    def memory(self, what="VmRSS"):
        """In MB, as the system counts it."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(what)) / 1e3

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err.decode(errors="replace")


INFER = "/v2/models/fake/infer"


def floats(*values):
    return struct.pack("<%df" % len(values), *values)


def color(r, g, b):
    """A planar image f32[3,8,8] of one colour."""
    return floats(*[r] * 64, *[g] * 64, *[b] * 64)


def json_request(data, shape, **more):
    return json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": shape, "data": data}], **more}).encode()


def binary_request(data, shape, datatype="FP32", **more):
    """(body, headers) with the tensor behind the JSON."""
    text = json.dumps({"inputs": [{"name": "image", "datatype": datatype, "shape": shape,
                                   "parameters": {"binary_data_size": len(data)}}], **more}).encode()
    return text + data, [f"Inference-Header-Content-Length: {len(text)}"]
