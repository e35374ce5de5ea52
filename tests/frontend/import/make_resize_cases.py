"""Run by hand: writes resize_cases.npz, what the nodes of resize_cases.py give in ONNX Runtime (made with 1.32). Needs
python's onnxruntime.
"""
import os

import onnxruntime

import resize_cases as rc


def expect(c):
    model, feeds = rc.make_model([c])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def main():
    onnxruntime.set_default_logger_severity(4)
    rc.save_golden({i: expect(c) for i, c in enumerate(rc.CASES)})
    print(f"{len(rc.CASES)} cases, {os.path.getsize(rc.GOLDEN)} bytes")


if __name__ == "__main__":
    main()
