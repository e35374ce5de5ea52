#!/usr/bin/python3
"""How much of the node suite that PyPI's onnx makes hone compiles and computes rightly. By hand.

  tests/coverage/node_suite.py [--work FOLDER]

The suite's cases are Python functions of the package: they are written to FOLDER/node-suite as Debian's package holds them, and build/tests/codegen_test_onnx_backend
runs them, on one thread and on two. Left out of the share: what is about training alone (the domain ai.onnx.preview.training), strings alone (no number goes in or
comes out), sequences and optional values as inputs or outputs. Prints the share, what passes once the shapes that it takes as inputs are constants ("bound"), and the
operators of what is refused; exit code 1 where a case fails or the share is below 95 %.

The package is of the environment that coverage.py makes (HONE_TORCH: another interpreter that has onnx).
"""
import argparse
import collections
import json
import os
import re
import subprocess
import sys

SHARE = 0.95


# ---------------------------------------------------------------- in the peers' environment

def kind(model):
    """What the case is about, where that is no tensor of numbers."""
    import onnx
    types = [v.type for v in list(model.graph.input) + list(model.graph.output)]
    if any(n.domain == "ai.onnx.preview.training" for n in model.graph.node):
        return "training"
    if any(not t.HasField("tensor_type") for t in types):
        return "sequences"
    return "strings" if any(t.tensor_type.elem_type == onnx.TensorProto.STRING for t in types) else "numbers"


def message(value, info):
    import numpy as np
    from onnx import TensorProto, numpy_helper
    if isinstance(value, TensorProto):
        return value
    if info.type.HasField("sequence_type"):
        return numpy_helper.from_list(value, info.name)
    if info.type.HasField("optional_type"):
        return numpy_helper.from_optional(value, info.name)
    return numpy_helper.from_array(np.asarray(value), info.name)


def write(folder):
    import onnx
    from onnx.backend.test.loader import load_node_model_tests
    kinds = {}
    for case in load_node_model_tests():
        data = os.path.join(folder, "node", case.name, "test_data_set_0")
        os.makedirs(data, exist_ok=True)
        onnx.save(case.model, os.path.join(folder, "node", case.name, "model.onnx"))
        for side, values, infos in zip(("input", "output"), case.data_sets[0], (case.model.graph.input, case.model.graph.output)):
            for i, (value, info) in enumerate(zip(values, infos)):
                with open(os.path.join(data, f"{side}_{i}.pb"), "wb") as f:
                    f.write(message(value, info).SerializeToString())
        kinds[case.name] = kind(case.model)
    return {"version": onnx.__version__, "kinds": kinds}


# ---------------------------------------------------------------- outside of it

def main():
    import coverage
    import peers
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--work", default=os.path.join(peers.WORK, "coverage"))
    folder = os.path.join(os.path.abspath(ap.parse_args().work), "node-suite")
    made = subprocess.run([coverage.python(), os.path.abspath(__file__), "--write", folder], capture_output=True, text=True)
    if made.returncode:
        sys.exit(made.stderr)
    suite = json.loads(made.stdout.splitlines()[-1])
    runner = os.path.join(os.path.dirname(peers.HONE), "tests", "codegen_test_onnx_backend")
    said = subprocess.run([runner, "-v", folder, "node/"], capture_output=True, text=True, cwd=peers.ROOT).stdout
    counts = re.search(r"^all +(\d+) passed +(\d+) bound +(\d+) refused +(\d+) FAILED", said, re.M)
    if not counts:
        sys.exit(said[-1000:])
    passed, bound, _, failed = map(int, counts.groups())
    refused = collections.Counter()
    for name, operator in re.findall(r"^refused: node/(\w+): .*?\((\w+)(?:, opset \d+)?\)", said, re.M):
        refused[operator] += suite["kinds"][name] == "numbers"
    total = passed + bound + failed + sum(refused.values())
    share = (passed + bound) / total
    print(f"onnx {suite['version']}: {total} cases of numbers, {passed} pass, {bound} with constant shapes, {sum(refused.values())} refused, "
          f"{failed} wrong: {100 * share:.1f} %")
    print("refused: " + ", ".join(f"{o} {n}" for o, n in refused.most_common() if n))
    print("\n".join(line for line in said.splitlines() if line.startswith("FAILED")))
    return failed > 0 or share < SHARE


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        print(json.dumps(write(sys.argv[2])))
    else:
        sys.exit(main())
