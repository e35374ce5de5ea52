"""A program's constants do not depend on the machine: the same bytes for SSE, AVX2 and AVX-512, whatever kernels and tiles
the schedule chooses for each; but for those that the compiler prepared for these.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import families
from families_net import Net
from script import HONE, SAMPLE, main, ok, temp

CPUS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


def weights_of(name, model, cpu):
    out = temp(f"{name}.{cpu}.ll")
    ok(HONE, "compile", model, "-o", out, "--emit", "llvm-ir", "--mcpu", cpu, "--prepared", "1")
    with open(out + ".weights", "rb") as f:
        return f.read()


def check(name, model, cpus=CPUS):
    want = weights_of(name, model, cpus[0])
    assert any(want), name
    for cpu in cpus[1:]:
        assert weights_of(name, model, cpu) == want, f"{name}: the constants for {cpu} are not those for {cpus[0]}"


def test_sample():
    check("sample", SAMPLE)


def test_families():
    newest = {case.family: case for case in sorted(families.CASES, key=lambda case: case.opset) if not case.flags}
    for name, case in newest.items():
        path = temp(name + ".onnx")
        with open(path, "wb") as f:
            f.write(case.net().model().SerializeToString())
        check(name, path, CPUS[::2])
    assert len(newest) > 20


def test_fewer_products():
    """Winograd's and Strassen's kernels take their sums of weights from the same bytes."""
    net = Net("products", 13)
    x = net.cbr(net.input(3, 28, 28), 256, 3, 2)
    x = net.cbr(net.cbr(x, 256, 1), 64, 3)
    net.classifier(x)
    path = temp("products.onnx")
    with open(path, "wb") as f:
        f.write(net.model().SerializeToString())
    ok(HONE, "compile", path, "-o", temp("products.ir"), "--emit", "ir", "--mcpu", CPUS[2])
    with open(temp("products.ir")) as f:
        text = f.read()
    assert "algo=winograd" in text and "algo=strassen" in text
    check("products", path)


if __name__ == "__main__":
    main(sys.modules[__name__])
