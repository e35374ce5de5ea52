"""What a file claims costs nothing: operators on gigantic shapes are compiled or refused, with exit code 0 or 1 and a line for
each fault, and what comes out runs, in under a second and 256 MiB; --max-memory is kept.
"""
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import hostile_claims as claims
import hostile_pb as pb
from script import HONE, main, run, temp

SECONDS, MIB = 1.0, 256
LIMITS = ["prlimit", f"--as={4 << 30}", "--cpu=20", "--core=0", "--"]
EMPTY = [(1 << 24, 0), (0, 1 << 24), (1, 1024, 0, 1024)]
HUGE = [("N", 500000000, 1, 1), ("N", 1, 500000000, 1), ("N", 1, 1, 500000000), (500000000, 1), (1, 500000000)]


def measure(command):
    """(exit code, what was wrong); seconds are the processor's, so that a busy machine is no fault of ours"""
    p = subprocess.Popen([*LIMITS, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = p.stderr.read().decode(errors="backslashreplace")
    _, status, used = os.wait4(p.pid, 0)
    p.returncode = code = os.waitstatus_to_exitcode(status)
    p.stderr.close()
    seconds, mib = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    wrong = [f"{seconds:.2f} s"] * (seconds >= SECONDS) + [f"{mib:.0f} MiB"] * (mib >= MIB)
    if code not in (0, 1) or (code == 1 and not err.strip()):
        wrong.append(f"exit code {code}: {err.strip()[-200:]}")
    return code, ", ".join(wrong)


def compile_one(label, model, emit):
    """'' when it is as it should be; the program's path"""
    base = temp(label)
    with open(base + ".onnx", "wb") as f:
        f.write(model)
    code, wrong = measure([HONE, "compile", base + ".onnx", "-o", base, "--emit", emit])
    os.unlink(base + ".onnx")
    return wrong and f"{label}: {wrong}", base if code == 0 else None


def run_one(label, base, shape):
    inputs, output = base + ".in.npy", base + ".out.npy"
    np.save(inputs, np.zeros(shape, np.float32))
    _, wrong = measure([base, "run", "-i", f"c={inputs}", "-o", f"r={output}", "--threads", "1"])
    return wrong and f"{label} runs: {wrong}"


def check(kind, shape, made, emit):
    label = "_".join([kind.__name__, *map(str, shape), made[0]])
    wrong, base = compile_one(label, kind(shape, made), emit)
    if base and emit == "exe":
        wrong = wrong or run_one(label, base, shape)
    for path in (base, base and base + ".h"):
        if path and os.path.exists(path):
            os.unlink(path)
    return wrong


def check_all(jobs):
    with ThreadPoolExecutor(2) as pool:
        wrong = [w for w in pool.map(lambda job: check(*job), jobs) if w]
    print(f"  {len(jobs)} models, {len(jobs) - len(wrong)} as they should be")
    assert not wrong, "".join(f"\n  {w}" for w in wrong)


def test_empty_constants():
    check_all([(claims.on_constant, d, made, "object") for d in EMPTY for made in claims.operators(d)])


def test_empty_inputs():
    check_all([(claims.on_input, d, made, "exe") for d in EMPTY[::2] for made in claims.operators(d)])


def test_huge_inputs():
    check_all([(claims.on_input, d, made, "object") for d in HUGE for made in claims.operators(d)])


def test_budget():
    """What is refused by default is let through, or refused earlier, by --max-memory; a limit that is raised raises it too."""
    path, out = temp("chain.onnx"), temp("chain.o")
    with open(path, "wb") as f:
        f.write(claims.chain(["N", 10000000, 1, 1], [10000000, 1, 1], "Sub", "Div", "Mul", "Add"))
    compile_it = lambda *flags: run(HONE, "compile", path, "-o", out, "--emit", "object", *flags)
    for flags, node in ((["--max-memory", "100M"], "node 'n1' (Div)"), ([], "node 'n2' (Mul)")):
        code, _, err = compile_it(*flags)
        assert code == 1 and f"{path}: {node}: 76 MB of memory are needed" in err and err.count("\n") == 1, err
    for flags in (["--max-memory", "1G"], ["--limit", "constants=1G"]):
        code, _, err = compile_it(*flags)
        assert code == 0, err
    for command in ("compile", "finetune", "inspect", "verify"):
        code, _, err = run(HONE, command, path, "--max-memory", "1K", *(["-o", out] if command[0] in "cf" else []),
                           *(["--classes", 3] if command[0] == "f" else []))
        assert code == 1 and "--max-memory SIZE raises it" in err, (command, err)
    with open(temp("big.ir"), "w") as f:
        f.write("// " + "x" * (4 << 20))
    code, _, err = run(HONE, "opt", temp("big.ir"), "--max-memory", "2M")
    assert code == 1 and "--max-memory SIZE raises it" in err, err
    for size in ("0", "-1", "4Q", "", "1.5G", "99999999999999T"):
        code, _, err = compile_it("--max-memory", size)
        assert code == 2 and err.count("\n") == 1, (size, err)


if __name__ == "__main__":
    main(sys.modules[__name__])
