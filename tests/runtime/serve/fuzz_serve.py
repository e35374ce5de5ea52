"""fuzz_serve.py BUILD [N [SEED]]: N mutated requests (3000, seed 1) to the server of the hand-written model, built with AddressSanitizer in a
sanitizer build. Whatever comes, the server answers in HTTP or closes, is alive afterwards, gives right answers and ends clean."""
import gzip
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import INFER, Server, binary_request, color, json_request, request
from support import plain_png

STATUSES = {b"100", b"200", b"400", b"404", b"405", b"408", b"413", b"415", b"417", b"431", b"500", b"501", b"503", b"505"}
WORDS = [b"\r\n", b"\n", b"\r\n\r\n", b"\0", b" ", b":", b"Content-Length: 3\r\n", b"Content-Length: 99999999\r\n", b"Transfer-Encoding: chunked\r\n",
         b"Transfer-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Inference-Header-Content-Length: 0\r\n", b"HTTP/1.0",
         b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffff\r\n", b"[", b"]", b"{", b"}", b"\"", b",", b"null", b"-1", b"1e400", b"18446744073709551616", b"\\u0000",
         b"\"shape\": [1, 3, 8, 8]", b"\"datatype\": \"BYTES\"", b"\"binary_data_size\": 4294967295", b"\"classification\": 2147483648", b"\xff\xd8\xff",
         b"\x89PNG\r\n\x1a\n", b"%00", b"%zz", b"\xc3\x28"]


def seeds():
    file = plain_png(250, 5, 5)
    image = struct.pack("<I", len(file)) + file
    binary, headers = binary_request(color(1, 0, 0), [1, 3, 8, 8], parameters={"binary_data_output": True})
    images, image_headers = binary_request(image * 2, [2], "BYTES", outputs=[{"name": "scores", "parameters": {"classification": 3}}])
    flat = json_request([0.5] * 192, [1, 3, 8, 8], id="7")
    chunked = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{headers[0]}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for i in range(0, len(binary), 400):
        chunked += b"%x\r\n%s\r\n" % (len(binary[i:i + 400]), binary[i:i + 400])
    return [request("GET", "/v2/models/fake/config"), request("GET", "/metrics"), request("POST", INFER, binary, headers),
            request("POST", INFER, images, image_headers), request("POST", INFER, flat), chunked + b"0\r\n\r\n",
            request("POST", INFER + "?classification=2", file, ["Content-Type: image/png"]),
            request("POST", INFER, gzip.compress(flat), ["Content-Encoding: gzip"])]


def mutate(rng, data):
    data = bytearray(data)
    # Mostly where the words are: at the beginning, not among the numbers of a tensor.
    spot = lambda: min(int(rng.random() ** 2 * (len(data) + 1)), len(data))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at, kind = spot(), rng.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 2:
            data[at:at] = rng.choice(WORDS)
        elif kind == 3:
            del data[at:at + rng.choice((1, 2, 7, 40, 500))]
        elif kind == 4:
            other = spot()
            data[at:at] = data[other:other + rng.choice((1, 8, 64))]
        elif kind == 5:
            word = rng.choice(WORDS)
            data[at:at + len(word)] = word
        else:
            del data[rng.randrange(len(data) + 1):]
    return bytes(data)


def check_replies(got, sent):
    """Whole replies, each of a known status; the last one may be cut off only by our own reading."""
    while got:
        head, end, rest = got.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert end and lines[0][:9] == b"HTTP/1.1 " and lines[0][9:12] in STATUSES, (sent, got[:300])
        n = next((int(line[16:]) for line in lines if line.startswith(b"Content-Length: ")), 0)
        if len(rest) < n and lines[0][9:12] == b"200":
            return  # the reply to a HEAD
        assert len(rest) >= n, (sent, got[:300])
        got = rest[n:]


def attack(port, rng, data):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as c:
        try:
            cut = rng.randrange(len(data) + 1) if rng.random() < .1 else len(data)
            c.sendall(data[:cut])
            if rng.random() < .3:
                c.sendall(data[cut:])
            c.shutdown(socket.SHUT_WR)
            got = b""
            while more := c.recv(1 << 16):
                got += more
        except (ConnectionResetError, BrokenPipeError):
            return
    check_replies(got, data)


def main(count=3000, seed=1):
    rng, originals = random.Random(seed), seeds()
    body, headers = binary_request(color(0, 1, 0), [1, 3, 8, 8])
    server = Server("fake", "--timeout", 5, "--max-body", 1)
    began = time.time()
    for i in range(count):
        data = mutate(rng, rng.choice(originals))
        if rng.random() < .1:
            data += mutate(rng, rng.choice(originals))
        try:
            attack(server.port, rng, data)
            if i % 500 == 0:
                reply = server.ask("POST", INFER, body, headers)
                assert reply.status == 200 and abs(reply.json()["outputs"][0]["data"][1] - 20) < 1e-4, reply.body
        except (AssertionError, OSError, EOFError):
            print(f"request {i} of seed {seed}: {data!r}", file=sys.stderr)
            if server.process.poll() is not None:
                print(server.process.communicate()[1].decode(errors="replace"), file=sys.stderr)
            raise
    wait_for_quiet(server)
    peak = server.memory("VmHWM")
    assert server.stop() == (0, ""), server.stop()
    print(f"{count} mutated requests in {time.time() - began:.0f} s, {peak:.0f} MB at peak")


def wait_for_quiet(server):
    """Nothing of it is left: no connection, no request."""
    for _ in range(300):
        if server.metric("hone_http_connections") == 1 and server.metric("nv_inference_pending_request_count") == 0:
            return
        time.sleep(0.05)
    raise AssertionError("connections or requests are left over")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
