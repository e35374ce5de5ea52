"""soak_serve.py BUILD [SECONDS]: mixed load on the server of the hand-written model for so long (600), by hand: clients whose answers are
checked, in JSON, binary form and as images; mutated requests; senders that trickle or stop; clients that cut off. No wrong answer, no crash,
and no memory that grows."""
import json
import os
import random
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fuzz_serve import attack, mutate, seeds, wait_for_quiet
from server import INFER, Server, binary_request, color, json_request, request
from support import plain_png


class Load:
    def __init__(self, server, seconds):
        self.server, self.end, self.counts, self.failures = server, time.monotonic() + seconds, {}, []
        self.stood_still = 0  # when it was last seen that everything did, clients and server alike

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def watch(self):
        while time.monotonic() < self.end and not self.failures:
            before = time.monotonic()
            time.sleep(0.05)
            if time.monotonic() > before + 1.5:
                self.stood_still = time.monotonic()

    def run(self, kind, seed):
        rng = random.Random(seed)
        while time.monotonic() < self.end and not self.failures:
            try:
                kind(self, rng)
                self.count(kind.__name__)
            except Exception as e:  # told by main(); a process that was stopped meets its time limits
                time.sleep(0.2)
                if isinstance(e, (OSError, EOFError)) and time.monotonic() < self.stood_still + 10:
                    self.count("stood still")
                else:
                    self.failures.append(f"{kind.__name__}, seed {seed}: {e!r}")


def good(load, rng):
    with load.server.client() as c:
        for _ in range(20):
            rows, red, green = rng.randrange(1, 5), rng.randrange(256), rng.randrange(256)
            data, form = color(red / 255, green / 255, 0) * rows, rng.randrange(3)
            if form == 0:
                reply = c.ask("POST", INFER, json_request(struct.unpack("<%df" % (192 * rows), data), [rows, 3, 8, 8]))
            elif form == 1:
                reply = c.ask("POST", INFER, *binary_request(data, [rows, 3, 8, 8]))
            else:
                file = plain_png(red, green, 0)
                reply = c.ask("POST", INFER, *binary_request((struct.pack("<I", len(file)) + file) * rows, [rows], "BYTES"))
            if reply.status == 503:
                continue
            if reply.status == 408:
                raise TimeoutError(reply.body)
            assert reply.status == 200, reply.body
            y = json.loads(reply.body)["outputs"][0]["data"]
            for r in range(rows):
                want = (20 * red - 10 * green) / 255, (20 * green - 10 * red) / 255
                assert abs(y[5 * r] - want[0]) < 1e-3 and abs(y[5 * r + 1] - want[1]) < 1e-3, (y, want)


def mutated(load, rng, originals=seeds()):
    attack(load.server.port, rng, mutate(rng, rng.choice(originals)))


def slow(load, rng):
    whole = request("POST", INFER, *binary_request(color(1, 0, 0), [1, 3, 8, 8]))
    with load.server.client() as c:
        at = rng.randrange(len(whole))
        c.send(whole[:at])
        try:
            for _ in range(rng.randrange(1, 30)):
                time.sleep(0.05)
                c.send(whole[at:at + 1])
                at += 1
            if rng.random() < .5:
                c.send(whole[at:])
            reply = c.reply()
            assert reply.status in (200, 408), reply.body
        except OSError:
            pass


def cut_off(load, rng):
    whole = request("POST", INFER, *binary_request(color(1, 0, 0), [1, 3, 8, 8]))
    with load.server.client() as c:
        if rng.random() < .5:
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.send(whole[:rng.randrange(len(whole) + 1)])
    time.sleep(0.005)


def main(seconds=600):
    server = Server("fake", "--timeout", 2, "--max-batch", 4, "--instances", 2, "--max-connections", 4000)
    load = Load(server, seconds)
    threads = [threading.Thread(target=load.run, args=(kind, i)) for i, kind in enumerate((good,) * 4 + (mutated,) * 2 + (slow,) * 6 + (cut_off,) * 2)]
    threads.append(threading.Thread(target=load.watch))
    for t in threads:
        t.start()
    time.sleep(seconds / 4)
    early = server.memory()
    for t in threads:
        t.join()
    assert not load.failures, load.failures
    wait_for_quiet(server)
    late = server.memory()
    print(f"{load.counts} in {seconds:.0f} s; {early:.1f} MB after a quarter of it, {late:.1f} MB at the end")
    assert late < early * 1.2 + 8
    assert server.stop() == (0, ""), server.stop()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
