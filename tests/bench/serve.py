"""serve.py PROGRAM [SECONDS] [OPTION OF SERVE...]: the throughput and latency of `PROGRAM serve` beside those of `PROGRAM bench`.

Clients send one image each in binary form and wait for the reply, over loopback, on the same CPUs. Prints images a second of bench (batch
1, and the server's largest) and of 8 clients; the latency of a single client; latencies when requests come at half of that
throughput, at even distances. Alternates bench and server; the best of two rounds each."""
import http.client
import json
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


def main():
    program, seconds, options = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 5, sys.argv[3:]
    info = json.loads(subprocess.run([program, "info", "--json"], capture_output=True, check=True).stdout)
    server = subprocess.Popen([program, "serve", "--port", "0", *options], stdout=subprocess.PIPE, text=True)
    port = int(server.stdout.readline().rsplit(":", 1)[1])
    shape = [1 if isinstance(d, str) else d for d in info["inputs"][0]["shape"]]
    model = re.match("model (.*): ", server.stdout.readline())[1]

    def make():
        return Client(port, model, shape, info["inputs"][0]["name"])

    best = {}
    closed_loop(make, 2, 0.5)
    for _ in range(2):
        for name, value in (("one", bench(program, 1)["median_ms"]), ("batch", bench(program, LARGEST)["median_ms"] / LARGEST)):
            best[name] = min(best.get(name, 1e9), value)
        rate, times = closed_loop(make, CLIENTS, seconds)
        if rate > best.get("rate", 0):
            best["rate"], best["times"] = rate, times
        _, times = closed_loop(make, 1, seconds / 2)
        best["single"] = min(best.get("single", 1e9), times[len(times) // 2])
    times = open_loop(make, best["rate"] / 2, seconds)
    server.terminate()
    server.wait()
    one, batch = 1e3 / best["one"], 1e3 / best["batch"]
    print(f"bench      {one:7.1f} images/s at batch 1, {batch:.1f} at batch {LARGEST}")
    print(f"8 clients  {best['rate']:7.1f} images/s, {best['rate'] / one:.2f} and {best['rate'] / batch:.2f} of bench's; "
          f"median {best['times'][len(best['times']) // 2] * 1e3:.2f} ms, p99 {best['times'][int(len(best['times']) * .99)] * 1e3:.2f} ms")
    print(f"1 client   {best['single'] * 1e3:7.2f} ms, bench {best['one']:.2f} ms")
    print(f"half load  median {times[len(times) // 2] * 1e3:.2f} ms, p99 {times[int(len(times) * .99)] * 1e3:.2f} ms, "
          f"{times[int(len(times) * .99)] / best['single']:.2f} of 1 client's")


main()
