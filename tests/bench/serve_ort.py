"""serve_ort.py MODEL.onnx: ONNX Runtime behind the standard library's HTTP server, a thread a connection, for serve.py --peer: what one
writes without a model server. It takes the requests that serve.py sends, and no others."""
import http.server
import json
import os
import sys

import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = len(os.sched_getaffinity(0))
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body, json_bytes = self.rfile.read(int(self.headers["Content-Length"])), int(self.headers["Inference-Header-Content-Length"])
        tensor = json.loads(body[:json_bytes])["inputs"][0]
        x = numpy.frombuffer(body, numpy.float32, offset=json_bytes).reshape(tensor["shape"])
        y = session.run(None, {session.get_inputs()[0].name: x})[0]
        text = json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": y.shape,
                                        "parameters": {"binary_data_size": y.nbytes}}]}).encode()
        self.send_response(200)
        self.send_header("Inference-Header-Content-Length", str(len(text)))
        self.send_header("Content-Length", str(len(text) + y.nbytes))
        self.end_headers()
        self.wfile.write(text + y.tobytes())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}\nmodel peer: ", flush=True)
server.serve_forever()
