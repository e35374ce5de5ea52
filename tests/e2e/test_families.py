"""Every family of networks and every spelling of operators, end to end against ONNX Runtime's outputs.

The models are built here, by families_*.py; golden_families.npz holds the outputs. Each model is compiled
without and with optimization and, in turn, for other CPUs; one program runs batches of 1 and 3 on 1 and
2 threads. CASE names given after the two usual arguments select cases.
"""
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import families
import families_random
from foreign import OTHERS
from script import HONE, ROOT, TEMP, here_only, main, ok, run, temp

LIMIT = 5e-5  # of the largest magnitude of an output
WANT = families.golden()


def configurations(index, case):
    """Flags of the compilations of a case; the simple spelled ones, one per opset, take turns."""
    cpu = ["--mcpu", OTHERS[index % 2]]
    if case.build.__name__ == "opset":
        return [["-O0"] if index % 2 else ["-O2"], ["-O2" if index % 2 else "-O0", *cpu]][:1 + (index % 4 == 0)]
    return [["-O0"], ["-O2"]] + ([["-O2", *cpu]] if index % 3 == 0 else [])


def write_model(case, folder):
    os.makedirs(folder)
    path = os.path.join(folder, "model.onnx")
    net = case.net()
    (case.save or onnx.save)(net.model(), path)
    return net, path


def compile_case(case, path, binary, flags):
    code, out, err = run(HONE, "compile", path, "-o", binary, *flags, *case.flags)
    assert code == 0, f"exit code {code}: {out}{err}"
    warnings = [l for l in err.splitlines() if "warning" in l]
    if case.warning:
        assert len(warnings) == 1 and case.warning in warnings[0], f"want one warning of {case.warning}: {warnings}"
    else:
        assert not warnings, warnings


def run_case(case, net, binary, folder, batch, threads):
    """Outputs by name."""
    args = []
    for i, (name, x) in enumerate(net.data(families.BATCH).items()):
        np.save(f"{folder}/in_{i}.npy", case.feed(x[:batch]) if case.feed else x[:batch])
        args += ["-i", f"{name}={folder}/in_{i}.npy"]
    for i, o in enumerate(net.outputs):
        args += ["-o", f"{o.name}={folder}/out_{i}.npy"]
    ok(binary, "run", *args, "--threads", threads)
    return {o.name: np.load(f"{folder}/out_{i}.npy") for i, o in enumerate(net.outputs)}


def difference(got, want):
    """Of the largest magnitude; infinite where shapes or a NaN differ."""
    if got.shape != want.shape:
        return f"shape {got.shape} is not {want.shape}"
    if want.size == 0:
        return 0.0
    worst = np.abs(got.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-30)
    return worst if worst == worst else float("inf")


def check_outputs(case, results, batch, wrong, where):
    for name, got in results.items():
        want = WANT(case, name)
        for axis in range(min(want.ndim, got.ndim)):  # the axis that N has a part in
            if want.shape[axis] * batch == got.shape[axis] * families.BATCH:
                want = want.take(range(got.shape[axis]), axis)
        limit = 2e-3 if got.dtype == np.float16 else LIMIT
        d = difference(got, want)
        if isinstance(d, str) or d > limit:
            wrong.append(f"{where}: output {name}: {d}")


def check_case(index, case):
    """What is wrong with a case, as lines."""
    wrong, folder = [], temp(case.name)
    net, path = write_model(case, folder)
    for k, flags in enumerate(configurations(index, case)):
        binary = os.path.join(folder, f"net_{k}")
        try:
            compile_case(case, path, binary, flags)
            for batch in (families.BATCH,) if case.whole_batch else (1, families.BATCH):
                for threads in (1, 2):
                    results = run_case(case, net, binary, folder, batch, threads)
                    check_outputs(case, results, batch, wrong, f"{' '.join(flags)} batch {batch} threads {threads}")
            os.remove(binary)
        except (AssertionError, OSError, ValueError) as e:
            wrong.append(f"{' '.join(flags)}: {e}")
    return wrong


def test_families():
    chosen = [(i, c) for i, c in enumerate(families.CASES) if not sys.argv[3:] or c.name in sys.argv[3:]]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda job: check_case(*job), chosen))
    failed = {case.name: wrong for (_, case), wrong in zip(chosen, results) if wrong}
    for name, wrong in failed.items():
        print(f"{name}:")
        for line in wrong[:12]:
            print("   ", line.strip().replace("\n", "\n        "))
    print(f"{len(chosen)} models, {len(failed)} wrong")
    assert not failed, " ".join(failed)


def guard_case(case, flags):
    folder = temp("guard_" + case.name)
    os.makedirs(folder)
    code, _, err = run(sys.executable, os.path.join(ROOT, "tests/e2e/families_guard.py"), HONE, folder, case.name, *flags)
    return f"{case.name} {' '.join(flags)}: exit code {code} {err[-300:]}" if code else None


@here_only("Python loads the libraries")
def test_memory_bounds():
    jobs = [(c, [("-O2", "-O0", "-O2")[i % 3], "--mcpu", ("native", "x86-64-v3")[i % 2]])
            for i, c in enumerate(families.CASES) if c.family != "opset" and i % 4 == 1]
    with ThreadPoolExecutor(2) as pool:
        wrong = list(pool.map(lambda job: guard_case(*job), jobs))
    assert not any(wrong), "\n".join(w for w in wrong if w)


@here_only("verify runs what is for this machine")
def test_random_graphs():
    with ThreadPoolExecutor(2) as pool:
        wrong = list(pool.map(lambda seed: families_random.check_seed(HONE, seed, TEMP), range(24)))
    assert not any(wrong), "\n".join(w for w in wrong if w)


if __name__ == "__main__":
    main(sys.modules[__name__])
