"""Weights that kernels read in another form: once that is made, the file's own leave memory."""
import os
import re
import subprocess
import sys
import time

import numpy as np
import onnx
from onnx import helper, numpy_helper

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, main, ok, temp

CHANNELS, CONVS = 256, 6  # 3x3: 2.4 MB each, prepared for Winograd's algorithms on every machine


def write_model(path):
    rng = np.random.default_rng(0)
    weights, nodes = [], []
    for i in range(CONVS):
        w = rng.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32) / 48
        weights.append(numpy_helper.from_array(w, f"w{i}"))
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], pads=[1, 1, 1, 1]))
    shape = ["N", CHANNELS, 28, 28]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x0", 1, shape)],
                              [helper.make_tensor_value_info(f"x{CONVS}", 1, shape)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def resident(pid, program):
    """Bytes of the program's file that are in the process's memory."""
    total, own = 0, False
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                own = line.rstrip().endswith(program)
            elif own and line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
    return total


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def held_while_running(program):
    """After a second of its work it has long been prepared."""
    with subprocess.Popen([program, "bench", "--iters", "1000000", "--threads", "1"], stdout=subprocess.DEVNULL) as p:
        try:
            while cpu_seconds(p.pid) < 1:
                time.sleep(0.05)
            return resident(p.pid, program)
        finally:
            p.kill()


def test_prepared_weights_leave():
    write_model(temp("m.onnx"))
    ok(HONE, "compile", temp("m.onnx"), "-o", temp("m"), "--prepared", "1")
    ok(HONE, "compile", temp("m.onnx"), "-o", temp("direct"), "--no-winograd")
    weights = CHANNELS * CHANNELS * 9 * 4 * CONVS
    held, whole = held_while_running(temp("m")), held_while_running(temp("direct"))
    assert held < weights / 2, f"{held} bytes of {weights} stay in memory"
    assert whole > weights, f"without another form {weights} bytes are read, {whole} are in memory"


if __name__ == "__main__":
    main(sys.modules[__name__])
