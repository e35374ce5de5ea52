"""serve.py [--peer MODEL.onnx] [--clients N] PROGRAM [SECONDS] [OPTION OF SERVE...]: the throughput and latency of `PROGRAM serve` beside those of `PROGRAM bench`.

Clients send one image each in binary form and wait for the reply, over loopback, on the same CPUs. Prints images a second of bench (batch
1, and the server's largest) and of 8 clients, how many images a run had, and the part of the CPUs that these took; the latency of a single client; latencies when
requests come at half of that throughput, at even distances, p99 of each of four rounds. Alternates bench and server; the best of two rounds each. --peer: ONNX Runtime behind Python's
own server (serve_ort.py; needs onnxruntime), too."""
import argparse
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

LARGEST, HALF_LOADS = 8, 4


def bench(program, batch):
    r = subprocess.run([program, "bench", "--json", "--batch", str(batch)], capture_output=True, check=True)
    return json.loads(r.stdout)


class Client:
    """One connection, one request's bytes: what a client in C would do, so that the clients, which share the server's CPUs, take little of them."""

    def __init__(self, port, model, shape, name):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        n = 4
        for s in shape:
            n *= s
        text = json.dumps({"inputs": [{"name": name, "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": n}}],
                           "parameters": {"binary_data_output": True}}).encode()
        self.request = (f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text) + n}\r\n"
                        f"Inference-Header-Content-Length: {len(text)}\r\n\r\n").encode() + text + bytes(n)

    def ask(self):
        start = time.perf_counter()
        self.socket.sendall(self.request)
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += self.receive()
        head, _, body = reply.partition(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], reply
        length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
        while len(body) < length:
            body += self.receive()
        return time.perf_counter() - start

    def receive(self):
        got = self.socket.recv(1 << 16)
        assert got, "the server has closed the connection"
        return got


def closed_loop(make, clients, seconds):
    """(requests a second, latencies, the clients' part of the CPUs): each client sends when it has its reply."""
    all_times, end, busy = [], time.perf_counter() + seconds, time.process_time()

    def run():
        client, times = make(), []
        while time.perf_counter() < end:
            times.append(client.ask())
        all_times.extend(times)

    start = time.perf_counter()
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.perf_counter() - start
    return len(all_times) / took, sorted(all_times), (time.process_time() - busy) / took / len(os.sched_getaffinity(0))


def open_loop(make, rate, clients, seconds):
    """Latencies from the moment at which a request was due."""
    times, lock = [], threading.Lock()
    start, due = time.perf_counter() + 0.1, iter(range(int(rate * seconds)))

    def run():
        client = make()
        while True:
            with lock:
                k = next(due, None)
            if k is None:
                return
            at = start + k / rate
            time.sleep(max(0, at - time.perf_counter()))
            client.ask()
            times.append(time.perf_counter() - at)

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return sorted(times)


class Server:
    def __init__(self, command, shape, name, clients):
        self.clients = clients
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.model = re.match("model (.*): ", self.process.stdout.readline())[1]
        self.shape, self.name, self.rate, self.times, self.part, self.single, self.images = shape, name, 0, [], 0, 1e9, 0
        closed_loop(self.client, 2, 0.5)

    def client(self):
        return Client(self.port, self.model, self.shape, self.name)

    def counted(self):
        """(images, runs) so far; of ONNX Runtime's server, which runs each by itself, (0, 0)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as f:
                text = f.read().decode()
        except urllib.error.URLError:
            return 0, 0
        return tuple(int(re.search(r"(?m)^nv_inference_%s\{.*\} (\d+)$" % name, text)[1]) for name in ("count", "exec_count"))

    def measure(self, seconds):
        before = self.counted()
        rate, times, part = closed_loop(self.client, self.clients, seconds)
        if rate > self.rate:
            images, runs = (b - a for a, b in zip(before, self.counted()))
            self.rate, self.times, self.part, self.images = rate, times, part, images / max(runs, 1)
        _, times, _ = closed_loop(self.client, 1, seconds / 2)
        self.single = min(self.single, times[len(times) // 2])

    def end(self):
        self.process.terminate()
        self.process.wait()


def p99(times):
    return times[int(len(times) * .99)]


def told(times):
    return f"median {times[len(times) // 2] * 1e3:.2f} ms, p99 {p99(times) * 1e3:.2f} ms"


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split(":")[0])
    parser.add_argument("--peer")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("program")
    parser.add_argument("seconds", type=float, nargs="?", default=5)
    args, options = parser.parse_known_args()
    program, seconds, best = args.program, args.seconds, {}
    t = json.loads(subprocess.run([program, "info", "--json"], capture_output=True, check=True).stdout)["inputs"][0]
    shape = [1 if isinstance(d, str) else d for d in t["shape"]]
    s = Server([program, "serve", "--port", "0", *options], shape, t["name"], args.clients)
    other = args.peer and Server([sys.executable, os.path.join(os.path.dirname(__file__), "serve_ort.py"), args.peer], shape, t["name"], args.clients)
    for _ in range(2):
        for name, value in (("one", bench(program, 1)["median_ms"]), ("batch", bench(program, LARGEST)["median_ms"] / LARGEST)):
            best[name] = min(best.get(name, 1e9), value)
        s.measure(seconds)
        if other:
            other.measure(seconds)
    rounds = [open_loop(s.client, s.rate / 2, args.clients, seconds) for _ in range(HALF_LOADS)]
    half = min(rounds, key=p99)
    s.end()
    one, batch, alone = 1e3 / best["one"], 1e3 / best["batch"], s.rate / (1 - s.part)
    print(f"bench      {one:7.1f} images/s at batch 1, {batch:.1f} at batch {LARGEST}")
    print(f"{args.clients} clients  {s.rate:7.1f} images/s, {s.rate / one:.2f} and {s.rate / batch:.2f} of bench's; {told(s.times)}; {s.images:.1f} images a run")
    print(f"           they took {100 * s.part:.1f} % of the CPUs; with all of them the server would do {alone:.1f}, {alone / batch:.2f} of bench's at batch {LARGEST}")
    print(f"1 client   {s.single * 1e3:7.2f} ms, bench {best['one']:.2f} ms")
    print(f"half load  {told(half)}; p99 of 1 client's, by rounds: " + " ".join(f"{p99(times) / s.single:.2f}" for times in rounds))
    if other:
        other.end()
        print(f"ONNX Runtime, Python's server: {args.clients} clients {other.rate:.1f} images/s, {told(other.times)}; 1 client {other.single * 1e3:.2f} ms")


main()
