"""The server under ThreadSanitizer: several instances, clients at once in every form, mutated requests, metrics beside them, a drain while
requests wait. One thread an instance: OpenMP's library is not built for it (the model API with more: test_model.c, test_progress.c)."""
import concurrent.futures
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fuzz_serve import attack, mutate, seeds, wait_for_quiet
from server import BUILD, INFER, Server, binary_request, color, request
from support import plain_png

SKIPPED = 77


def runs(*prefix):
    """GCC 12's runtime cannot map its shadow on kernels with much address randomisation."""
    r = subprocess.run([*prefix, os.path.join(BUILD, "fake_tsan"), "info"], capture_output=True, text=True)
    return "unexpected memory mapping" not in r.stderr and r.returncode == 0


def good(server, k):
    file = plain_png(255, 0, 0)
    with server.client() as c:
        for i in range(15):
            body = binary_request(color(1, 0, 0) * (1 + k % 3), [1 + k % 3, 3, 8, 8]) if i % 2 else (file, ["Content-Type: image/png"])
            reply = c.ask("POST", INFER, *body)
            assert reply.status == 200 and abs(reply.json()["outputs"][0]["data"][0] - 20) < 1e-3, reply.body


def bad(server, k):
    rng, originals = random.Random(k), seeds()
    for _ in range(20):
        attack(server.port, rng, mutate(rng, rng.choice(originals)))
        server.ask("GET", "/metrics")


def main():
    prefix = [] if runs() else ["setarch", os.uname().machine, "-R"]
    if prefix and not runs(*prefix):
        print("ThreadSanitizer does not run here")
        sys.exit(SKIPPED)
    server = Server("fake_tsan", "--instances", 3, "--threads", 1, "--queue-delay", 2, "--max-batch", 4, "--timeout", 20, prefix=prefix,
                    env={"TSAN_OPTIONS": "halt_on_error=0 exitcode=66"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for f in [pool.submit(good if k % 2 else bad, server, k) for k in range(8)]:
            f.result()
    wait_for_quiet(server)
    waiting = [server.client() for _ in range(3)]
    for c in waiting:
        c.send(request("POST", INFER, *binary_request(color(1, 0, 0), [1, 3, 8, 8])))
    server.process.terminate()  # once: a second signal cuts off
    for c in waiting:
        c.socket.close()
    err = server.process.communicate(timeout=60)[1].decode(errors="replace")
    code = server.process.returncode
    assert (code, err) == (0, ""), (code, err)
    print("nothing to report")


if __name__ == "__main__":
    main()
