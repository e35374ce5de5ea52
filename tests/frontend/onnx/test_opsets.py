"""Every (operator, since-version) pair of core_operators.txt is imported, compiled and run by some case: ONNX's backend
cases where they have one that is not on the list of refused ones, ours (opset_cases.py) for the rest.
"""
import glob
import os
import re
import sys
from collections import defaultdict

import onnx

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
import script  # noqa: E402
from script import HONE, ROOT, ok, temp  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import opset_cases as oc  # noqa: E402

SUITE = "/usr/share/libonnx-testdata/data"
REFUSED = os.path.join(ROOT, "tests", "codegen", "onnx_backend_refused.txt")
PAIRS = 171


def read_core():
    """{operator: ([versions up to opset 17], [later versions])}"""
    core = {}
    with open(oc.CORE) as f:
        for line in f:
            if not line.startswith("#"):
                op, *versions = line.split()
                bar = versions.index("|") if "|" in versions else len(versions)
                core[op] = [int(v) for v in versions[:bar]], [int(v) for v in versions[bar + 1:]]
    return core


def write_cases(folder):
    golden = oc.load_golden()
    for c in oc.CASES:
        model, inputs = oc.make_model(c)
        data = os.path.join(folder, "node", oc.name_of(c), "test_data_set_0")
        os.makedirs(data)
        with open(os.path.join(os.path.dirname(data), "model.onnx"), "wb") as f:
            f.write(model.SerializeToString())
        outputs = [golden[f"{oc.name_of(c)}.{i}"] for i in range(len(c.types))]
        for kind, tensors in (("input", inputs), ("output", outputs)):
            for i, a in enumerate(tensors):
                with open(os.path.join(data, f"{kind}_{i}.pb"), "wb") as f:
                    f.write(oc.make_tensor(f"x{i}" if kind == "input" else f"y{i}", a).SerializeToString())


def run_cases(runner):
    """All cases pass in a runner of ONNX's suite."""
    out = ok(os.path.join(os.path.dirname(HONE), "tests", runner), temp("cases"), "test_", cwd=ROOT)
    print("       ", out.strip().splitlines()[-1])
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|bound|refused|FAILED)", out.splitlines()[-1])}
    assert counts == {"passed": len(oc.CASES), "bound": 0, "refused": 0, "FAILED": 0}, out


def test_evaluator():
    write_cases(temp("cases"))
    run_cases("frontend_test_onnx_suite")


def test_compiled():
    run_cases("codegen_test_onnx_backend")


def count_ops(nodes, opset, versions, found, name):
    for n in nodes:
        since = [v for v in versions.get(n.op_type, ()) if v <= opset]
        if n.domain in ("", "ai.onnx") and since:
            found[n.op_type, max(since)].add(name)
        for a in n.attribute:
            count_ops(a.g.node, opset, versions, found, name)


def find_suite_pairs(core):
    """{(operator, version): names of ONNX's cases that have it and are not refused}"""
    found, refused = defaultdict(set), set()
    if os.path.exists(REFUSED):
        with open(REFUSED) as f:
            refused = {line.split()[0] for line in f if line.strip() and not line.startswith("#")}
    versions = {op: low + high for op, (low, high) in core.items()}
    for path in sorted(glob.glob(os.path.join(SUITE, "*", "*", "model.onnx"))):
        name = "/".join(path.split("/")[-3:-1])
        if name not in refused:
            m = onnx.load(path, load_external_data=False)
            opset = max([o.version for o in m.opset_import if o.domain in ("", "ai.onnx")], default=0)
            count_ops(m.graph.node, opset, versions, found, name)
    return found


def test_every_pair_has_a_case():
    core = read_core()
    pairs = [(op, v) for op, (low, _) in core.items() for v in low]
    later = [(op, v) for op, (_, high) in core.items() for v in high]
    assert len(core) == 50 and len(set(pairs)) == PAIRS, (len(core), len(set(pairs)))
    ours = {(c.op, c.version) for c in oc.CASES}
    theirs = find_suite_pairs(core)
    if not theirs:
        print(f"        skipped: no test data in {SUITE} (Debian: libonnx-testdata)")
        return
    missing = [p for p in pairs + later if p not in ours and p not in theirs]
    both = [p for p in pairs if p in theirs]
    print(f"        {len(pairs) - len([p for p in missing if p in pairs])} of {PAIRS} pairs have a case: {len(both)} of "
          f"them in ONNX's suite; and {len([p for p in later if p not in missing])} of {len(later)} of opsets 18 to 22")
    assert not missing, missing


if __name__ == "__main__":
    script.main(sys.modules[__name__])
