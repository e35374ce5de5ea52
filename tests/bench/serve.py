"""serve.py [--peer MODEL.onnx] PROGRAM [SECONDS] [OPTION OF SERVE...]: the throughput and latency of `PROGRAM serve` beside those of `PROGRAM bench`.

Clients send one image each in binary form and wait for the reply, over loopback, on the same CPUs. Prints images a second of bench (batch
1, and the server's largest) and of 8 clients; the latency of a single client; latencies when requests come at half of that
throughput, at even distances. Alternates bench and server; the best of two rounds each. --peer: ONNX Runtime behind Python's
own server (serve_ort.py; needs onnxruntime), too."""
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time

CLIENTS, LARGEST = 8, 8


def bench(program, batch):
    r = subprocess.run([program, "bench", "--json", "--batch", str(batch)], capture_output=True, check=True)
    return json.loads(r.stdout)


class Client:
    def __init__(self, port, model, shape, name):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        n = 4
        for s in shape:
            n *= s
        text = json.dumps({"inputs": [{"name": name, "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": n}}],
                           "parameters": {"binary_data_output": True}}).encode()
        self.path, self.body = f"/v2/models/{model}/infer", text + bytes(n)
        self.headers = {"Inference-Header-Content-Length": str(len(text))}

    def ask(self):
        start = time.perf_counter()
        self.connection.request("POST", self.path, self.body, self.headers)
        reply = self.connection.getresponse()
        assert reply.status == 200, reply.read()
        reply.read()
        return time.perf_counter() - start


def closed_loop(make, clients, seconds):
    """(requests a second, latencies): each client sends when it has its reply."""
    all_times, end = [], time.perf_counter() + seconds

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
    return len(all_times) / (time.perf_counter() - start), sorted(all_times)


def open_loop(make, rate, seconds):
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

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return sorted(times)


class Server:
    def __init__(self, command, shape, name):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.model = re.match("model (.*): ", self.process.stdout.readline())[1]
        self.shape, self.name, self.rate, self.times, self.single = shape, name, 0, [], 1e9
        closed_loop(self.client, 2, 0.5)

    def client(self):
        return Client(self.port, self.model, self.shape, self.name)

    def measure(self, seconds):
        rate, times = closed_loop(self.client, CLIENTS, seconds)
        if rate > self.rate:
            self.rate, self.times = rate, times
        _, times = closed_loop(self.client, 1, seconds / 2)
        self.single = min(self.single, times[len(times) // 2])

    def end(self):
        self.process.terminate()
        self.process.wait()


def told(times):
    return f"median {times[len(times) // 2] * 1e3:.2f} ms, p99 {times[int(len(times) * .99)] * 1e3:.2f} ms"


def main():
    peer = sys.argv[2] if sys.argv[1] == "--peer" else None
    program, *rest = sys.argv[3 if peer else 1:]
    seconds, options, best = float(rest[0]) if rest else 5, rest[1:], {}
    t = json.loads(subprocess.run([program, "info", "--json"], capture_output=True, check=True).stdout)["inputs"][0]
    shape = [1 if isinstance(d, str) else d for d in t["shape"]]
    s = Server([program, "serve", "--port", "0", *options], shape, t["name"])
    other = peer and Server([sys.executable, os.path.join(os.path.dirname(__file__), "serve_ort.py"), peer], shape, t["name"])
    for _ in range(2):
        for name, value in (("one", bench(program, 1)["median_ms"]), ("batch", bench(program, LARGEST)["median_ms"] / LARGEST)):
            best[name] = min(best.get(name, 1e9), value)
        s.measure(seconds)
        if other:
            other.measure(seconds)
    times = open_loop(s.client, s.rate / 2, seconds)
    s.end()
    one, batch = 1e3 / best["one"], 1e3 / best["batch"]
    print(f"bench      {one:7.1f} images/s at batch 1, {batch:.1f} at batch {LARGEST}")
    print(f"8 clients  {s.rate:7.1f} images/s, {s.rate / one:.2f} and {s.rate / batch:.2f} of bench's; {told(s.times)}")
    print(f"1 client   {s.single * 1e3:7.2f} ms, bench {best['one']:.2f} ms")
    print(f"half load  {told(times)}, {times[int(len(times) * .99)] / s.single:.2f} of 1 client's")
    if other:
        other.end()
        print(f"ONNX Runtime, Python's server: 8 clients {other.rate:.1f} images/s, {told(other.times)}; 1 client {other.single * 1e3:.2f} ms")


main()
