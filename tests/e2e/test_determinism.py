"""Results do not depend, bit for bit, on the number of threads nor on which images share a batch.

Small members of the network families (families_*.py), with and without Winograd: one program runs a batch of 5
on 1, 2 and 4 threads and its images one by one; all outputs must be the same bytes.
"""
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import families
from script import HONE, main, ok, temp

# On any machine; that of stride 2 pays on some.
WITH_WINOGRAD = "vgg googlenet inception_v3 densenet concats".split()
NETWORKS = WITH_WINOGRAD + ("resnet_v1 resnet_v2 resnext senet squeezenet mobilenet_v2 mobilenet_v3 shufflenet_v1 "
                            "shufflenet_v2 epilogues").split()
BATCH, THREADS = 5, (1, 2, 4)
by_winograd = set()  # families that have it on this CPU


def cases():
    """One case of each network, of the highest opset."""
    found = {c.family: c for c in sorted(families.CASES, key=lambda c: c.opset) if c.family in NETWORKS}
    assert len(found) == len(NETWORKS), set(NETWORKS) - set(found)
    return list(found.values())


def jobs():
    """(case, flags)"""
    for i, case in enumerate(cases()):
        yield case, []
        if i % 3 == 0:
            yield case, ["--mcpu", "x86-64-v3"]
        if case.family in WITH_WINOGRAD:
            yield case, ["--no-winograd"]


def outputs(net, binary, folder, data, threads):
    """The outputs for a batch, as bytes by name."""
    args = []
    for i, (name, x) in enumerate(data.items()):
        np.save(f"{folder}/in_{i}.npy", x)
        args += ["-i", f"{name}={folder}/in_{i}.npy"]
    for i, o in enumerate(net.outputs):
        args += ["-o", f"{o.name}={folder}/out_{i}.npy"]
    ok(binary, "run", *args, "--threads", threads)
    return {o.name: np.load(f"{folder}/out_{i}.npy") for i, o in enumerate(net.outputs)}


def differing(want, got, where):
    return [f"{where}: output {n}: {np.count_nonzero(want[n] != got[n])} elements of {want[n].size} differ"
            for n in want if want[n].shape != got[n].shape or want[n].tobytes() != got[n].tobytes()]


def check_case(case, flags):
    folder = temp("_".join([case.name, *flags]).replace("-", ""))
    os.makedirs(folder)
    net, model, binary = case.net(), f"{folder}/model.onnx", f"{folder}/net"
    onnx.save(net.model(), model)
    flags = [*flags, *case.flags, "--threads", "1"]  # which algorithm pays depends on how many are expected
    ok(HONE, "compile", model, "-o", binary, *flags)
    ok(HONE, "compile", model, "-o", f"{folder}/net.ir", "--emit", "ir", *flags)
    with open(f"{folder}/net.ir") as f:
        winograd = "algo=winograd" in f.read()
    data, wrong = net.data(BATCH), []
    if winograd and "--no-winograd" in flags:
        wrong.append("has Winograd")
    elif winograd and "--mcpu" not in flags:
        by_winograd.add(case.family)
    want = outputs(net, binary, folder, data, 1)
    for threads in THREADS[1:]:
        wrong += differing(want, outputs(net, binary, folder, data, threads), f"{threads} threads")
    for i in range(BATCH):
        alone = outputs(net, binary, folder, {n: x[i:i + 1] for n, x in data.items()}, 1 + i % 2)
        wrong += differing({n: y[i:i + 1] for n, y in want.items()}, alone, f"image {i} alone")
    os.remove(binary)
    return [f"{case.name} {' '.join(flags)}: {w}" for w in wrong]


def test_threads_and_batches():
    with ThreadPoolExecutor(2) as pool:
        wrong = [w for lines in pool.map(lambda job: check_case(*job), jobs()) for w in lines]
    assert not wrong, "\n".join(wrong[:20])
    assert 2 * len(by_winograd & set(WITH_WINOGRAD)) > len(WITH_WINOGRAD), by_winograd  # where it pays differs from CPU to CPU


if __name__ == "__main__":
    main(sys.modules[__name__])
