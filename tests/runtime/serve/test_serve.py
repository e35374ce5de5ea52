"""`serve` over loopback, on the hand-written model: KServe's requests in their forms, what is refused, limits, batches,
the end of a server, systemd's protocols."""
import base64
import concurrent.futures
import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import INFER, Server, binary_request, color, floats, json_request
from support import Case, GOLDEN, npy, plain_png, read_npy

RED, GREEN = [20.0, -10.0, -10.0, -2.0, -12.0], [-10.0, 20.0, -10.0, -2.0, -12.0]
IMAGE = [1, 3, 8, 8]


class Documents(Case):
    def test_documents(self):
        with Server("fake", "--max-batch", 4, "--queue-delay", 2.5) as s:
            self.assertEqual(s.ask("GET", "/v2").json()["name"], "hone")
            self.assertIn("binary_tensor_data", s.ask("GET", "/v2").json()["extensions"])
            for path in ("health/live", "health/ready", "models/fake/ready", "models/fake/versions/1/ready"):
                self.assertEqual(s.ask("GET", "/v2/" + path).status, 200)
            for path in ("/v2/models/fake", "/v2/models/fake/versions/1", "/v2/models/f%61ke"):
                self.assertEqual(s.ask("GET", path).json(), {
                    "name": "fake", "versions": ["1"], "platform": "hone",
                    "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
                    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 5]}]})
            config = s.ask("GET", "/v2/models/fake/config").json()
            self.assertEqual((config["max_batch_size"], config["input"][0]["dims"]), (4, [3, 8, 8]))
            self.assertEqual(config["dynamic_batching"], {"max_queue_delay_microseconds": 2500})
            self.assertEqual(s.ask("POST", "/v2/repository/index", b"").json()[0]["state"], "READY")
            self.assertEqual(s.ask("GET", "/model.json").json()["output"], "scores")
            page = s.ask("GET", "/")
            self.assertEqual(page.headers["content-type"], "text/html; charset=utf-8")
            self.assertIn(b"fetch('model.json')", page.body)
            head = s.ask("HEAD", "/")
            self.assertEqual((head.status, head.headers["content-length"]), (200, str(len(page.body))))

    def test_what_is_not_there(self):
        with Server("fake", "--name", "other/model name") as s:
            for path in ("/nothing", "/v2/", "/v2/models/", "/v2/models/fake", "/v2/models/fake/infer", "/v2/models/other/model",
                         "/v2/models/other%2Fmodel%20name/versions/2", "/v2/models/other%2Fmodel%20name%00", "//", "/v2/../v2"):
                self.assertEqual(s.ask("GET", path).status, 404, path)
            self.assertEqual(s.ask("GET", "/v2/models/x").error(), "Request for unknown model: 'x' is not found; the model is 'other/model name'")
            self.assertEqual(s.ask("GET", "/v2/models/other%2Fmodel%20name").json()["name"], "other/model name")
            wrong = s.ask("GET", "/v2/models/other%2Fmodel%20name/infer")
            self.assertEqual((wrong.status, wrong.headers["allow"]), (405, "POST"))
            wrong = s.ask("DELETE", "/v2")
            self.assertEqual((wrong.status, wrong.headers["allow"]), (405, "GET, HEAD"))

    def test_metrics_count(self):
        with Server("fake") as s:
            for _ in range(3):
                s.ask("POST", INFER, *binary_request(color(1, 0, 0) * 2, [2, 3, 8, 8]))
            s.ask("POST", INFER, b"{}")
            for name, value in (("nv_inference_request_success", 3), ("nv_inference_count", 6), ("nv_inference_exec_count", 3),
                                ('nv_inference_request_failure{model="fake",version="1",reason="OTHER"}', 1),
                                ("nv_inference_pending_request_count", 0)):
                self.assertEqual(s.metric(name), value, name)
            self.assertGreater(s.metric("nv_inference_request_duration_us"), 0)
            text = s.ask("GET", "/metrics").body.decode()
            for line in text.splitlines():
                self.assertRegex(line, r'^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? \d+)$')
            stats = s.ask("GET", "/v2/models/fake/stats").json()["model_stats"][0]
            self.assertEqual((stats["inference_count"], stats["inference_stats"]["fail"]["count"]), (6, 1))


class Inference(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("fake")

    @classmethod
    def tearDownClass(cls):
        code, err = cls.server.stop()
        assert (code, err) == (0, ""), (code, err)

    def infer(self, body, headers=(), path=INFER):
        return self.server.ask("POST", path, body, headers)

    def near(self, got, want):
        self.assertEqual(len(got), len(want))
        for a, b in zip(got, want):
            self.assertAlmostEqual(a, b, places=4)

    def test_json(self):
        flat = [1.0] * 64 + [0] * 128
        nested = [[[[1.0] * 8] * 8, [[0] * 8] * 8, [[0.0] * 8] * 8]]
        for data in (flat, nested):
            reply = self.infer(json_request(data, IMAGE, id="a\"b")).json()
            self.assertEqual((reply["model_name"], reply["model_version"], reply["id"]), ("fake", "1", "a\"b"))
            output = reply["outputs"][0]
            self.assertEqual((output["name"], output["datatype"], output["shape"]), ("scores", "FP32", [1, 5]))
            self.near(output["data"], RED)

    def test_json_keeps_every_bit(self):
        x = [i / 7 for i in range(192)]
        self.write("x.npy", npy("<f4", (1, 3, 8, 8), floats(*x)))
        self.good("fake", "run", "-i", "x.npy", "-o", "y.npy")
        got = self.infer(json_request(x, IMAGE)).json()["outputs"][0]["data"]
        self.assertEqual(floats(*got), read_npy(self.path("y.npy"))[2])

    def test_binary(self):
        for rows in (1, 3, 8):
            data = color(1, 0, 0) + color(0, 1, 0) * (rows - 1)
            for more, head in (({}, False), ({"parameters": {"binary_data_output": True}}, True),
                               ({"outputs": [{"name": "scores", "parameters": {"binary_data": True}}]}, True),
                               ({"parameters": {"binary_data_output": True},
                                 "outputs": [{"name": "scores", "parameters": {"binary_data": False}}]}, False)):
                reply = self.infer(*binary_request(data, [rows, 3, 8, 8], **more))
                n = int(reply.headers.get("inference-header-content-length", len(reply.body)))
                self.assertEqual(head, "inference-header-content-length" in reply.headers)
                output = json.loads(reply.body[:n])["outputs"][0]
                self.assertEqual(output["shape"], [rows, 5])
                got = output["data"] if not head else struct.unpack("<%df" % (5 * rows), reply.body[n:])
                if head:
                    self.assertEqual(output["parameters"], {"binary_data_size": 20 * rows})
                    self.assertEqual(reply.headers["content-type"], "application/octet-stream")
                self.near(got, RED + GREEN * (rows - 1))

    def test_raw_bodies(self):
        raw = ["Inference-Header-Content-Length: 0"]
        self.near(self.infer(color(1, 0, 0) + color(0, 1, 0), raw).json()["outputs"][0]["data"], RED + GREEN)
        for headers in (raw, ["Content-Type: image/png"]):
            self.near(self.infer(plain_png(255, 0, 0), headers).json()["outputs"][0]["data"], RED)
        for name in ("lossy.webp", "exif.webp"):  # of one picture, the second upright again
            with open(os.path.join(GOLDEN, name), "rb") as f:
                best = self.infer(f.read(), ["Content-Type: image/webp"], INFER + "?classification=1").json()["outputs"][0]["data"]
            self.assertRegex(best[0], "^4.*:0:red$")
        reply = self.infer(plain_png(255, 0, 0), raw, INFER + "?classification=2").json()["outputs"][0]
        self.assertEqual(reply["data"], ["20.000000:0:red", "-2.000000:3:dark \"night\""])
        self.assertRegex(self.infer(b"x" * 767, raw).error(), r"767 bytes are no f32\[N,3,8,8\]$")
        self.assertRegex(self.infer(color(1, 0, 0) + b"x", raw).error(), "769 bytes are no f32")
        self.assertRegex(self.infer(b"", raw).error(), "at least one row")
        self.assertRegex(self.infer(b"hello", ["Content-Type: image/jpeg"]).error(), "5 bytes are no f32")
        for query in ("?classification=", "?classification=-1", "?classification=x", "?top=3", "?classification=1&a=2"):
            self.assertEqual(self.infer(plain_png(1, 0, 0), raw, INFER + query).status, 400)

    def test_images_as_the_command_line_has_them(self):
        names = sorted(n for n in os.listdir(GOLDEN) if n.endswith((".jpg", ".png")))
        self.assertGreater(len(names), 10)
        for name in names:
            path = os.path.join(GOLDEN, name)
            with open(path, "rb") as f:
                file = f.read()
            code, out, _ = self.run_program("fake", "--json", "--top", 5, path)  # which notes what it turned upright
            self.assertEqual(code, 0)
            want = json.loads(out)["top"]
            prefixed = struct.pack("<I", len(file)) + file
            outputs = [{"name": "scores", "parameters": {"classification": 5}}]
            replies = [self.infer(*binary_request(prefixed, [1], "BYTES", outputs=outputs)),
                       self.infer(*binary_request(prefixed * 2, [2, 1], "BYTES", outputs=outputs)),
                       self.infer(json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [
                           base64.b64encode(file).decode()]}], "outputs": outputs}).encode())]
            for rows, reply in zip((1, 2, 1), replies):
                output = reply.json()["outputs"][0]
                self.assertEqual((output["datatype"], output["shape"]), ("BYTES", [rows, 5]))
                self.assertEqual([c.split(":")[2] for c in output["data"]], [t["label"] for t in want] * rows)
                self.assertEqual([int(c.split(":")[1]) for c in output["data"]], [t["class"] for t in want] * rows)

    def test_classification_in_binary_form(self):
        outputs = [{"name": "scores", "parameters": {"classification": 9, "binary_data": True}}]
        reply = self.infer(*binary_request(color(0, 1, 0), IMAGE, outputs=outputs))
        n = int(reply.headers["inference-header-content-length"])
        output, data, texts = json.loads(reply.body[:n])["outputs"][0], reply.body[n:], []
        self.assertEqual((output["shape"], output["parameters"]["binary_data_size"]), ([1, 5], len(data)))
        while data:
            size = struct.unpack("<I", data[:4])[0]
            texts.append(data[4:4 + size].decode())
            data = data[4 + size:]
        self.assertEqual(texts[0], "20.000000:1:green")
        self.assertEqual(len(texts), 5)

    def test_wrong_requests(self):
        good = {"name": "image", "datatype": "FP32", "shape": IMAGE, "data": [0.5] * 192}
        image = {"name": "image", "datatype": "BYTES", "shape": [1]}
        cases = [
            (b"", "expected 1 inputs|at least one row"), (b"{", "failed to parse the request JSON buffer"), (b"[]", "expected 1 inputs"),
            (b"{\"a\": 1, \"a\": 2}", "failed to parse"), (b"\xff\xfe", "failed to parse"), (b"[" * 3000, "failed to parse"),
            (b"[" + b"[]," * 9000 + b"0]", "more values"), (b"{\"inputs\": [" + b"0," * 200000 + b"0]}", "more values"),
            ({}, "expected 1 inputs but got 0 inputs for model 'fake'"), ({"inputs": []}, "expected 1 inputs"),
            ({"inputs": [good, good]}, "expected 1 inputs but got 2"), ({"inputs": [7]}, "an input has no name"),
            ({"inputs": [good], "id": 7}, "id is no text"),
            ({"inputs": [{**good, "name": "x"}]}, "unexpected inference input 'x' for model 'fake'"),
            ({"inputs": [{**good, "name": "\x1b[31m"}]}, r"unexpected inference input '\\x1b\[31m'"),
            ({"inputs": [{**good, "datatype": "INT8"}]}, "data-type is 'INT8', but model 'fake' expects 'FP32'"),
            ({"inputs": [{**good, "datatype": 7}]}, "data-type is ''"),
            ({"inputs": [{**good, "shape": [3, 8, 8]}]}, r"it is f32\[3,8,8\], the model takes f32\[N,3,8,8\]"),
            ({"inputs": [{**good, "shape": [1, 3, 8, 9]}]}, "the model takes"),
            ({"inputs": [{**good, "shape": [0, 3, 8, 8], "data": []}]}, "at least one row"),
            ({"inputs": [{**good, "shape": [9, 3, 8, 8]}]}, "a batch of 9 is larger than 8"),
            ({"inputs": [{**good, "shape": [2**40, 3, 8, 8]}]}, "size 0 of its shape"),
            ({"inputs": [{**good, "shape": [-1, 3, 8, 8]}]}, "size 0 of its shape"),
            ({"inputs": [{**good, "shape": [1.0, 3, 8, 8]}]}, "size 0 of its shape"),
            ({"inputs": [{**good, "shape": [1] * 9}]}, "no array of at most 8"), ({"inputs": [{**good, "shape": 5}]}, "no array"),
            ({"inputs": [{**good, "data": [0] * 191}]}, "191 elements, its shape 192"),
            ({"inputs": [{**good, "data": [0] * 193}]}, "more than the 192 elements"),
            ({"inputs": [{**good, "data": [0] * 191 + ["x"]}]}, "element 191 of its data"),
            ({"inputs": [{**good, "data": [0] * 191 + [True]}]}, "element 191 of its data"),
            ({"inputs": [{**good, "data": [1e39] + [0] * 191}]}, "element 0 of its data is no value of its type"),
            ({"inputs": [{**good, "data": [0] * 191 + [-1e300]}]}, "element 191 of its data is no value of its type"),
            ({"inputs": [{**good, "data": 5}]}, "no data"), ({"inputs": [{**good, "data": [[[[[[[[[0]]]]]]]]]}]}, "nested more"),
            ({"inputs": [{k: v for k, v in good.items() if k != "data"}]}, "no data, nor a binary_data_size"),
            ({"inputs": [{**good, "parameters": {"binary_data_size": 768}}]}, "data and a binary_data_size"),
            ({"inputs": [good], "outputs": [{"name": "y"}]}, "unexpected inference output 'y'"),
            ({"inputs": [good], "outputs": [{"name": "scores"}, {"name": "scores"}]}, "asked for twice"),
            ({"inputs": [good], "outputs": {}}, "outputs is no array"), ({"inputs": [good], "outputs": [5]}, "unexpected inference output ''"),
            ({"inputs": [good], "outputs": [{"name": "scores", "parameters": {"classification": -1}}]}, "classification is no"),
            ({"inputs": [good], "outputs": [{"name": "scores", "parameters": {"binary_data": 1}}]}, "neither true nor false"),
            ({"inputs": [good], "parameters": {"binary_data_output": "yes"}}, "neither true nor false"),
            ({"inputs": [{**image, "data": ["!!!!"]}]}, "image 0 is no text in base64"), ({"inputs": [{**image, "data": ["abc"]}]}, "base64"),
            ({"inputs": [{**image, "data": [5]}]}, "base64"), ({"inputs": [{**image, "data": ["", ""]}]}, "no array of 1 texts"),
            ({"inputs": [{**image, "data": [""]}]}, "input 'image': image 0: the file is empty"),
            ({"inputs": [{**image, "data": [base64.b64encode(b"hello").decode()]}]}, "not a JPEG, PNG or WebP file"),
            ({"inputs": [{**image, "data": [base64.b64encode(b"GIF89a").decode()]}]}, "not a JPEG, PNG or WebP file but GIF"),
            ({"inputs": [{**image, "shape": [1, 2], "data": []}]}, r"a shape of images is \[n\]"),
            ({"inputs": [{**image, "shape": [9], "data": []}]}, "a batch of 9"), ({"inputs": [{**image, "shape": [0], "data": []}]}, "at least one row"),
        ]
        for body, pattern in cases:
            reply = self.infer(body if isinstance(body, bytes) else json.dumps(body).encode())
            self.assertEqual(reply.status, 400, body)
            self.assertRegex(reply.error(), pattern)
            self.assertEqual(reply.headers["content-type"], "application/json")

    def test_wrong_binary_parts(self):
        file = plain_png(255, 0, 0)
        size = struct.pack("<I", len(file))
        body, headers = binary_request(color(1, 0, 0), IMAGE)
        cases = [(body[:-1], headers, "not what follows"), (body + b"x", headers, "1 bytes behind the JSON belong to no input"),
                 (body, ["Inference-Header-Content-Length: 99999"], "no size within the body"),
                 (body, ["Inference-Header-Content-Length: -1"], "no size within"), (body, ["Inference-Header-Content-Length: 1x"], "no size"),
                 (*binary_request(b"1234" * 191, IMAGE), "764 bytes, its shape 768"),
                 (*binary_request(file, [1], "BYTES"), "cut off"), (*binary_request(size + file[:-1], [1], "BYTES"), "image 0 of its binary data is cut off"),
                 (*binary_request(size + file + b"x", [1], "BYTES"), "more than 1 images"),
                 (*binary_request(size + file, [2], "BYTES"), "image 1 of its binary data is cut off"),
                 (*binary_request(b"\xff\xff\xff\xff" + file, [1], "BYTES"), "cut off"),
                 (*binary_request(struct.pack("<I", 30) + file[:30], [1], "BYTES"), "image 0: ")]
        for body, headers, pattern in cases:
            reply = self.infer(body, headers)
            self.assertEqual(reply.status, 400)
            self.assertRegex(reply.error(), pattern)

    def test_many_clients_get_their_own(self):
        def client(k):
            with self.server.client() as c:
                for i in range(40):
                    red, green = (k + i) % 7 / 7, (k * 3 + i) % 5 / 5
                    rows = 1 + (k + i) % 3
                    data = color(red, green, 0) * rows
                    reply = c.ask("POST", INFER, *binary_request(data, [rows, 3, 8, 8], parameters={"binary_data_output": True}))
                    assert reply.status == 200
                    y = struct.unpack("<%df" % (5 * rows), reply.body[int(reply.headers["inference-header-content-length"]):])
                    for r in range(rows):
                        assert abs(y[5 * r] - (20 * red - 10 * green)) < 1e-4 and abs(y[5 * r + 1] - (20 * green - 10 * red)) < 1e-4
            return True

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            self.assertTrue(all(pool.map(client, range(12))))


class OtherModels(Case):
    def test_a_fixed_batch(self):
        with Server("fake_fixed") as s:
            self.assertEqual(s.ask("GET", "/v2/models/fake/config").json()["max_batch_size"], 0)
            self.assertEqual(s.ask("GET", "/v2/models/fake").json()["inputs"][0]["shape"], [2, 3, 8, 8])
            reply = s.ask("POST", INFER, *binary_request(color(1, 0, 0) + color(0, 1, 0), [2, 3, 8, 8]))
            self.assertAlmostEqual(reply.json()["outputs"][0]["data"][6], 20.0, places=4)
            self.assertRegex(s.ask("POST", INFER, *binary_request(color(1, 0, 0), IMAGE)).error(), "the model takes")
            file = plain_png(255, 0, 0)
            prefixed = struct.pack("<I", len(file)) + file
            self.assertRegex(s.ask("POST", INFER, *binary_request(prefixed, [1], "BYTES")).error(), "exactly 2 images")
            reply = s.ask("POST", INFER, *binary_request(prefixed * 2, [2], "BYTES")).json()["outputs"][0]
            self.assertAlmostEqual(reply["data"][5], 20.0, places=4)

    def test_what_is_not_finite_is_no_json(self):
        with Server("fake_nan") as s:
            reply = s.ask("POST", INFER, *binary_request(color(1, 0, 0), IMAGE))
            self.assertEqual((reply.status, reply.error()), (500, "output 'scores' is not finite, which JSON cannot say; ask for it in binary form"))
            body, headers = binary_request(color(1, 0, 0), IMAGE, parameters={"binary_data_output": True})
            reply = s.ask("POST", INFER, body, headers)
            self.assertEqual(reply.status, 200)
            scores = struct.unpack("<5f", reply.body[int(reply.headers["inference-header-content-length"]):])
            self.assertTrue(any(v != v for v in scores), scores)
            reply = s.ask("POST", INFER + "?classification=5", plain_png(0, 255, 0), ["Inference-Header-Content-Length: 0"])
            self.assertEqual((reply.status, reply.error()), (500, "output 'scores' is not finite"))  # as on the command line

    def test_a_model_that_cannot_run(self):
        for program in ("fake_abi", "fake_cpu"):
            self.bad(1, "was compiled for", program, "serve", "--port", "0")

    def test_wrong_options(self):
        self.bad(2, "is no option", "fake", "serve", "x", lines=2)
        self.bad(2, "must be from", "fake", "serve", "--port", "70000", lines=2)
        for host in ("no.such.host", "127.0.0", "::1%eth0", "[::1]"):
            self.bad(1, "--host .*: it is no IPv4 or IPv6 address", "fake", "serve", "--host", host)
        self.bad(1, "cannot listen on 192.0.2.1 port 0", "fake", "serve", "--host", "192.0.2.1", "--port", "0")
        with Server("fake") as s:
            self.bad(1, "cannot listen on 127.0.0.1 port %d: Address already in use" % s.port, "fake", "serve", "--port", s.port)
        self.assertIn("--max-queue", self.good("fake", "serve", "--help"))


if __name__ == "__main__":
    unittest.main()
