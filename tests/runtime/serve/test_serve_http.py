"""`serve` as a server of strangers: what is no HTTP, what could be read in two ways, slow and cut off clients, limits, the end."""
import concurrent.futures
import gzip
import io
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import INFER, Server, binary_request, color, request
from PIL import Image
from support import BUILD, Case, launch, plain_png, png

FAKE = launch([os.path.join(BUILD, "fake")])
BODY, HEADERS = binary_request(color(1, 0, 0), [1, 3, 8, 8])
GET = b"GET /v2 HTTP/1.1\r\nHost: x\r\n"
POST = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{HEADERS[0]}\r\n".encode()


def chunks(data, size):
    return b"".join(b"%x\r\n%s\r\n" % (len(data[i:i + size]), data[i:i + size]) for i in range(0, len(data), size)) + b"0\r\n\r\n"


def plain_grey(width, height):
    return png(width, height, b"", color=0, rows=bytes((width + 1) * height))


class Http(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("fake", "--max-body", 1)

    @classmethod
    def tearDownClass(cls):
        code, err = cls.server.stop()
        assert (code, err) == (0, ""), (code, err)

    def test_refused(self):
        n = b"%d" % len(BODY)
        cases = [
            (400, b"GET\r\n\r\n"), (400, b"GET /v2\r\n\r\n"), (400, b"GET  /v2 HTTP/1.1\r\n\r\n"), (505, b"GET /v2 HTTP/2.0\r\nHost: x\r\n\r\n"),
            (505, b"GET /v2 http/1.1\r\nHost: x\r\n\r\n"), (505, b"GET /v2 HTTP/1.1 \r\nHost: x\r\n\r\n"),
            (400, b"GET http://x/v2 HTTP/1.1\r\nHost: x\r\n\r\n"), (400, b"GET v2 HTTP/1.1\r\nHost: x\r\n\r\n"), (400, b"G(T /v2 HTTP/1.1\r\nHost: x\r\n\r\n"),
            (400, b"GET /v\x802 HTTP/1.1\r\nHost: x\r\n\r\n"), (400, b"GET /v2 HTTP/1.1\r\n\r\n"), (400, GET + b"Host: y\r\n\r\n"),
            (400, b"\r\n"), (400, b"\r\nGET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"), (400, b"GET /v2 HTTP/1.1\nHost: x\n\n"), (400, GET + b"A: b\n\r\n"),
            (400, GET + b"A: b\rc\r\n\r\n"), (400, GET + b"A: b\0c\r\n\r\n"), (400, GET + b"A: b\x7f\r\n\r\n"), (400, GET + b"A : b\r\n\r\n"),
            (400, GET + b" A: b\r\n\r\n"), (400, GET + b"A: b\r\n c\r\n\r\n"), (400, GET + b"no colon\r\n\r\n"), (400, GET + b": b\r\n\r\n"),
            (431, GET + b"A: b\r\n" * 70 + b"\r\n"), (431, GET + b"A: " + b"b" * 20000), (431, b"GET /" + b"a" * 20000),
            # two ways to read them
            (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            (400, POST + b"Content-Length: 5, 5\r\n\r\n"), (400, POST + b"Content-Length: +5\r\n\r\n"), (400, POST + b"Content-Length: -5\r\n\r\n"),
            (400, POST + b"Content-Length: 0x5\r\n\r\n"), (400, POST + b"Content-Length: 5 5\r\n\r\n"), (400, POST + b"Content-Length:\r\n\r\n"),
            (400, POST + b"Content-Length: 99999999999999999999\r\n\r\n"), (413, POST + b"Content-Length: 999999999999\r\n\r\n"),
            (413, POST + b"Content-Length: 1000001\r\n\r\n"),
            (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
            (400, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
            (501, POST + b"Transfer-Encoding: identity\r\n\r\n"), (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n"),
            (501, POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n"),
            (400, POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n"), (400, POST + b"Transfer-Encoding : chunked\r\n\r\n"),
            (400, POST + b"Trailer: A\r\nTransfer-Encoding: chunked\r\n\r\n"), (415, POST + b"Content-Encoding: br\r\nContent-Length: " + n + b"\r\n\r\n" + BODY),
            (415, POST + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"), (415, POST + b"Content-Encoding: gzip, gzip\r\n\r\n"),
            (417, POST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\n"),
        ]
        chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        for status, bad in ((400, b"\r\n"), (400, b"x\r\n"), (400, b"-5\r\nhello\r\n0\r\n\r\n"), (400, b"5;a=b\r\nhello\r\n0\r\n\r\n"), (400, b" 5\r\nhello\r\n"),
                            (400, b"0x5\r\nhello\r\n"), (400, b"5\nhello\r\n0\r\n\r\n" + b"x" * 30), (400, b"5\r\nhello!\r\n"), (400, b"5\r\nhelloxx0\r\n\r\n"),
                            (400, b"0\r\nA: b\r\n\r\n"), (413, b"fffffff\r\n"), (400, b"fffffffff\r\n"), (400, b"5" * 50), (413, b"f4241\r\n"),
                            (413, b"ffff\r\n%s\r\n" % (b"x" * 65535) * 16)):
            cases.append((status, chunked + bad))
        for status, data in cases:
            with self.server.client() as c:
                c.send(data + GET + b"X-Smuggled: 1\r\n\r\n" if status != 431 else data)
                reply = c.reply()
                self.assertEqual(reply.status, status, (data[:300], reply.body))
                self.assertEqual(reply.headers["connection"], "close", data[:300])
                self.assertEqual(reply.headers["content-type"], "application/json")
                self.assertTrue(c.closed(), data[:300])  # and nothing behind it is read

    def test_forms_that_are_fine(self):
        n = b"%d" % len(BODY)
        for size in (1, 7, 500, 100000):
            with self.server.client() as c:
                c.send(POST + b"Transfer-Encoding: Chunked\r\n\r\n" + chunks(BODY, size))
                self.assertEqual(c.reply().status, 200)
                self.assertEqual(c.ask("GET", "/v2").status, 200)
        with self.server.client() as c:  # as some clients do
            c.send(POST + b"Expect: 100-continue\r\nContent-Length: " + n + b"\r\n\r\n")
            self.assertEqual(c.reply().status, 100)
            c.send(BODY)
            self.assertEqual(c.reply().status, 200)
        with self.server.client() as c:
            c.send(b"GET /v2 HTTP/1.0\r\n\r\n")
            self.assertEqual(c.reply().headers["connection"], "close")
            self.assertTrue(c.closed())
        with self.server.client() as c:
            c.send(b"GET /v2 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            self.assertEqual(c.reply().headers["connection"], "keep-alive")
            c.send(b"GET /v2 HTTP/1.1\r\nhost:\tx\t\r\nConnection: foo , close\r\nContent-Length: 3\r\n\r\nabc")
            self.assertEqual(c.reply().status, 200)
            self.assertTrue(c.closed())

    def test_compressed_bodies(self):
        def ask(encoding, data, headers=HEADERS):
            return self.server.ask("POST", INFER, data, [*headers, "Content-Encoding: " + encoding])

        for encoding, data in (("gzip", gzip.compress(BODY)), ("deflate", zlib.compress(BODY)), ("GZIP", gzip.compress(BODY)), ("identity", BODY)):
            self.assertAlmostEqual(ask(encoding, data).json()["outputs"][0]["data"][0], 20, places=4)
        image = gzip.compress(plain_png(255, 0, 0))
        self.assertEqual(ask("gzip", image, ["Content-Type: image/png"]).status, 200)
        whole = gzip.compress(BODY)
        for data in (b"", BODY, whole[:-1], whole[:20], whole + b"x", whole + whole, whole[:30] + b"\xff" + whole[31:], b"\x1f\x8b"):
            reply = ask("gzip", data)
            self.assertEqual((reply.status, reply.error()), (400, "the compressed body is damaged"), data)
        for size, pattern in ((999000, "failed to parse|expected"), (1000000, "failed to parse|expected"), (1000001, "too large, unpacked"), (200000000, "too large, unpacked")):
            reply = ask("gzip", gzip.compress(b" " * size, 1), ())
            self.assertEqual(reply.status, 413 if "large" in pattern else 400)
            self.assertRegex(reply.error(), pattern, size)

    def test_byte_by_byte(self):
        with self.server.client() as c:
            c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for b in POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(BODY, 300):
                c.send(bytes([b]))
            self.assertEqual(c.reply().status, 200)

    def test_pipelined(self):
        with self.server.client() as c:
            one = request("POST", INFER, BODY, HEADERS)
            c.send((one + request("GET", "/v2") + request("GET", "/no")) * 20)
            self.assertEqual([c.reply().status for _ in range(60)], [200, 200, 404] * 20)
            c.send(request("GET", "/v2/health/live") * 5000)  # of one reading, many
            self.assertEqual({c.reply().status for _ in range(5000)}, {200})
            c.send(one * 2)
            c.socket.shutdown(socket.SHUT_WR)  # says that no more comes; still wants its replies
            self.assertEqual([c.reply().status for _ in range(2)], [200, 200])
            self.assertTrue(c.closed())

    def test_cut_off(self):
        whole = request("POST", INFER, BODY, HEADERS)
        for n in list(range(0, len(whole), 97)) + [len(whole)]:
            for reset in (False, True):
                with self.server.client() as c:
                    if reset:
                        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    c.send(whole[:n])
        self.assertEqual(self.server.ask("GET", "/v2").status, 200)
        for _ in range(100):
            if self.server.metric("hone_http_connections") == 1:
                break
            time.sleep(0.05)
        self.assertEqual(self.server.metric("hone_http_connections"), 1)


class Limits(Case):
    def test_times(self):
        with Server("fake", "--timeout", 1) as s:
            began, clients = time.monotonic(), [s.client() for _ in range(3)]
            parts = (b"GET /v2 HT", POST + b"Content-Length: 900\r\n\r\nabc", POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab")
            for c, part in zip(clients, parts):
                c.send(part)
            for _ in range(6):  # trickling gains nothing
                time.sleep(0.2)
                for c in clients[:2]:
                    try:
                        c.send(b"x")
                    except OSError:
                        pass
            for c in clients:
                self.assertEqual(c.reply().status, 408)
                self.assertTrue(c.closed())
                c.socket.close()
            self.assertLess(time.monotonic() - began, 10)

    def test_a_client_that_does_not_read(self):
        with Server("fake", "--timeout", 1) as s:
            c = s.client()
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            c.socket.settimeout(2)
            try:
                c.send(request("GET", "/") * 20000)
            except OSError:
                pass
            for _ in range(200):
                if s.metric("hone_http_connections") == 1:
                    break
                time.sleep(0.05)
            self.assertEqual(s.metric("hone_http_connections"), 1)
            c.socket.close()

    def test_connections(self):
        with Server("fake", "--max-connections", 4) as s:
            held = [s.client() for _ in range(4)]
            for c in held:
                c.send(POST + b"Content-Length: %d\r\n\r\n" % len(BODY))
            time.sleep(0.2)
            with s.client() as c:
                reply = c.reply()
                self.assertEqual((reply.status, reply.headers["retry-after"]), (503, "1"))
                self.assertTrue(c.closed())
            for c in held:
                c.send(BODY)
                self.assertEqual(c.reply().status, 200)
            for _ in range(8):  # who is refused, and lingers, is none of the four
                self.assertEqual(s.ask("GET", "/v2").status, 200)
            for c in held:
                c.socket.close()

    def test_silence_keeps_nobody_out(self):
        with Server("fake", "--max-connections", 4) as s:
            held = [s.client() for _ in range(4)]
            for c in held:
                self.assertEqual(c.ask("GET", "/v2").status, 200)
            with s.client() as c:
                self.assertEqual(c.ask("GET", "/v2").status, 200)
                self.assertTrue(held[0].closed())  # silent for the longest
                for other in held[1:]:
                    self.assertEqual(other.ask("GET", "/v2").status, 200)
            held += [s.client() for _ in range(8)]
            self.assertEqual(s.ask("GET", "/v2").status, 200)
            for c in held:
                c.socket.close()

    def test_a_first_request_that_never_comes(self):
        with Server("fake", "--timeout", 1) as s, s.client() as silent, s.client() as known:
            self.assertEqual(known.ask("GET", "/v2").status, 200)
            self.assertTrue(silent.closed())
            time.sleep(1)
            self.assertEqual(known.ask("GET", "/v2").status, 200)  # between requests there is more time

    def test_few_bytes_that_are_many_pixels(self):
        for name, options in (("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {"lossless": True}), ("WEBP", {"quality": 1})):
            files = []
            for height in (1000, 1001):
                f = io.BytesIO()
                Image.new("RGB", (1000, height), (255, 0, 0)).save(f, name, **options)
                files.append(f.getvalue())
            with Server("fake", "--max-pixels", 1) as s:
                fits, large = (s.ask("POST", INFER, data, ["Content-Type: image/x"]) for data in files)
                self.assertEqual(fits.status, 200, fits.body)
                self.assertEqual((large.status, large.error()), (400, "image 0: 1000 x 1001 pixels are more than 1 million"))
        with Server("fake") as s:  # and there are no pixels of it by then
            before = s.memory("VmHWM")
            self.assertRegex(s.ask("POST", INFER, plain_grey(12000, 10000), ["Content-Type: image/png"]).error(), "more than 50 million")
            self.assertLess(s.memory("VmHWM") - before, 40)

    def test_a_full_queue(self):
        with Server("fake", "--max-queue", 1, "--queue-delay", 2000) as s, s.client() as slow, s.client() as c:
            slow.send(request("POST", INFER, BODY, HEADERS))
            s.wait_for(1)
            reply = c.ask("POST", INFER, BODY, HEADERS)
            self.assertEqual((reply.status, reply.headers["retry-after"], reply.headers["connection"]), (503, "1", "keep-alive"))
            self.assertEqual(reply.error(), "the queue is full")
            self.assertEqual(c.ask("GET", "/v2/health/ready").status, 200)  # documents are no load
            self.assertEqual(slow.reply().status, 200)
            self.assertEqual(c.ask("POST", INFER, BODY, HEADERS).status, 200)
            self.assertGreater(s.metric('nv_inference_request_failure{model="fake",version="1",reason="REJECTED"}'), 0)

    def test_who_waits_for_too_long(self):
        with Server("fake", "--queue-delay", 10000, "--timeout", 3) as s, s.client() as c:
            c.send(request("POST", INFER, BODY, HEADERS))
            s.wait_for(1)
            s.process.send_signal(signal.SIGSTOP)  # longer than that request has
            time.sleep(3.2)
            s.process.send_signal(signal.SIGCONT)
            reply = c.reply()
            self.assertEqual((reply.status, reply.error()), (503, "the request waited for too long"))

    def test_who_waits_for_others_is_answered_in_time(self):
        with Server("fake", "--queue-delay", 10000, "--timeout", 2) as s:
            self.assertEqual(s.ask("POST", INFER, BODY, HEADERS).status, 200)

    def test_batches(self):
        with Server("fake", "--queue-delay", 5000, "--max-batch", 4) as s, concurrent.futures.ThreadPoolExecutor(4) as pool:
            began = time.monotonic()
            got = list(pool.map(lambda _: s.ask("POST", INFER, BODY, HEADERS).json(), range(4)))
            self.assertLess(time.monotonic() - began, 4)  # a full batch does not wait
            self.assertTrue(all(abs(g["outputs"][0]["data"][0] - 20) < 1e-4 for g in got))
            self.assertEqual((s.metric("nv_inference_exec_count"), s.metric("nv_inference_count")), (1, 4))
            three = binary_request(color(0, 1, 0) * 3, [3, 3, 8, 8])
            with s.client() as c:  # two that do not fit into one run
                c.send(request("POST", INFER, *three))
                self.assertEqual(len(s.ask("POST", INFER, *binary_request(color(1, 0, 0) * 4, [4, 3, 8, 8])).json()["outputs"][0]["data"]), 20)
                self.assertEqual(len(c.reply().json()["outputs"][0]["data"]), 15)
            self.assertEqual(s.metric("nv_inference_exec_count"), 3)

    def test_instances(self):
        with Server("fake", "--instances", 3, "--threads", 1) as s, concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda _: s.ask("POST", INFER, BODY, HEADERS).status, range(100)))
            self.assertEqual(set(got), {200})


def cpu_ms(process):
    with open(f"/proc/{process.pid}/stat") as f:
        user, system = f.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) * 1e3 / os.sysconf("SC_CLK_TCK")


class Threads(Case):
    def test_who_waits_sleeps(self):
        with Server("fake", "--threads", 2) as s, s.client() as c:
            before = cpu_ms(s.process)
            for _ in range(100):
                self.assertEqual(c.ask("POST", INFER, BODY, HEADERS).status, 200)
                time.sleep(0.01)
            asked = cpu_ms(s.process)
            self.assertLess(asked - before, 300)  # OpenMP's own way is some milliseconds after each
            time.sleep(0.3)
            self.assertLessEqual(cpu_ms(s.process) - asked, 20)

    def test_nobody_is_pinned(self):
        mine = os.sched_getaffinity(0)
        with Server("fake", "--threads", "auto") as s:
            self.assertEqual(s.ask("POST", INFER, BODY, HEADERS).status, 200)
            for thread in os.listdir(f"/proc/{s.process.pid}/task"):
                self.assertEqual(os.sched_getaffinity(int(thread)), mine)


class End(Case):
    def test_drains(self):
        s = Server("fake", "--queue-delay", 10000, "--drain", 8)
        idle, busy, late = s.client(), s.client(), s.client()
        busy.send(request("POST", INFER, BODY, HEADERS))
        late.send(POST + b"Content-Length: %d\r\n\r\n" % len(BODY))
        s.wait_for(1)
        s.process.send_signal(signal.SIGTERM)
        self.assertTrue(idle.closed())
        with self.assertRaises(OSError):
            s.client()
        reply = busy.reply()
        self.assertEqual((reply.status, reply.headers["connection"]), (200, "close"))
        late.send(BODY)  # what has begun is answered
        self.assertEqual(late.reply().status, 200)
        for c in (idle, busy, late):
            c.socket.close()
        self.assertEqual(s.stop(), (0, ""))

    def test_requests_that_were_sent_before(self):
        for _ in range(2):
            s = Server("fake")
            known = [s.client() for _ in range(4)]
            for c in known:
                self.assertEqual(c.ask("GET", "/v2").status, 200)
            silent = s.client()
            s.wait_for(0)
            s.process.send_signal(signal.SIGSTOP)
            fresh = [s.client() for _ in range(8)]  # as far as the system's list of those to be accepted
            for c in known + fresh:
                c.send(request("POST", INFER, BODY, HEADERS))
            s.process.send_signal(signal.SIGTERM)
            s.process.send_signal(signal.SIGCONT)
            for c in known + fresh:
                reply = c.reply()
                self.assertEqual((reply.status, reply.headers["connection"]), (200, "close"))
                c.socket.close()
            self.assertTrue(silent.closed())
            silent.socket.close()
            self.assertEqual(s.stop(), (0, ""))

    def test_silent_ones_are_not_cut_off(self):
        for drain in (0, 1):
            s = Server("fake", "--drain", drain)
            with s.client() as silent, s.client() as known:
                self.assertEqual(known.ask("GET", "/v2").status, 200)
                s.wait_for(0)
                self.assertEqual(s.stop(), (0, ""))
                self.assertTrue(silent.closed())

    def test_ends_in_time(self):
        s = Server("fake", "--drain", 1)
        with s.client() as c:
            c.send(POST + b"Content-Length: 900\r\n\r\n")
            s.wait_for(0)
            began = time.monotonic()
            code, err = s.stop()
            self.assertLess(time.monotonic() - began, 10)
            self.assertEqual(code, 1)
            self.assertRegex(err, r"^\S+fake: 1 connections were cut off: they were not done in time\n$")

    def test_a_second_signal_ends_at_once(self):
        s = Server("fake")
        with s.client() as c:
            c.send(b"GET /")
            s.wait_for(0)
            s.process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            self.assertIsNone(s.process.poll())
            self.assertEqual(s.stop()[0], 1)

    def test_ready_turns_false(self):
        with Server("fake", "--queue-delay", 1500) as s, s.client() as a, s.client() as b:
            b.send(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n")
            a.send(request("POST", INFER, BODY, HEADERS))
            s.wait_for(1)
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            b.send(b"\r\n")
            self.assertEqual(b.reply().status, 400)
            self.assertEqual(a.reply().status, 200)


class Systemd(Case):
    def test_activation(self):
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
            def hand_over():
                os.dup2(other.fileno(), 14)
                os.dup2(listener.fileno(), 3)
                os.dup2(14, 4)

            script = 'LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@" serve'
            s = subprocess.Popen(["sh", "-c", script, *FAKE], preexec_fn=hand_over, pass_fds=(3, 4),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            ports = [int(s.stdout.readline().rsplit(b":", 1)[1]) for _ in range(2)]
            self.assertEqual(ports, [listener.getsockname()[1], other.getsockname()[1]])
            for port in ports:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as c:
                    c.sendall(request("GET", "/v2"))
                    self.assertRegex(c.recv(100), b"^HTTP/1.1 200")
            s.terminate()
            self.assertEqual((s.communicate(timeout=30)[1], s.returncode), (b"", 0))

    def test_a_descriptor_that_is_no_socket(self):
        script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" serve 3</dev/null'
        r = subprocess.run(["sh", "-c", script, *FAKE], capture_output=True, timeout=30)
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr, b"descriptor 3, inherited by LISTEN_FDS, is no listening socket\n$")

    def test_notify(self):
        for name in (self.path("notify"), "\0hone-test-%d" % os.getpid()):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
                told.bind(name)
                told.settimeout(20)
                with Server("fake", env={"NOTIFY_SOCKET": name.replace("\0", "@")}) as s:
                    self.assertEqual(told.recv(100), b"READY=1")
                    s.process.terminate()
                    self.assertEqual(told.recv(100), b"STOPPING=1")


if __name__ == "__main__":
    unittest.main()
