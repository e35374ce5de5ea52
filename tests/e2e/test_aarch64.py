"""Programs for aarch64, made on another machine and run by qemu's emulation of the CPUs that --mcpu names.

Skipped, with words, where the cross compiler, hone's runtime for aarch64 or qemu is missing (tools/aarch64 and
tools/setup.sh install them).
"""
import os
import platform
import re
import shutil
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import test_prepared
import test_quant_nets
from script import HONE, ROOT, SAMPLE, SNEAKER, main, ok, run, temp

GNU = "aarch64-linux-gnu"
GOLDEN = os.path.join(ROOT, "tests", "e2e", "golden")
CLOTHES = os.path.join(os.path.dirname(SAMPLE), "clothes5.onnx")
QEMU_CPUS = {"aarch64": "cortex-a53", "cortex-a76": "cortex-a76", "neoverse-n1": "neoverse-n1", "neoverse-v1": "max"}
WEAK = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}


def missing():
    """What stands in the way of running these tests; "" where nothing does."""
    if not os.path.exists(os.path.join(os.path.dirname(HONE), GNU, "hone-link.txt")):
        return "hone was built without a runtime for aarch64"
    tools = [t for t in (f"{GNU}-gcc", f"{GNU}-objdump", "qemu-aarch64") if not shutil.which(t)]
    return "there is no " + ", no ".join(tools) if tools else ""


def emulated(cpu, *argv, **more):
    return run("qemu-aarch64", "-L", f"/usr/{GNU}", "-cpu", QEMU_CPUS[cpu], *argv, env=WEAK, **more)


def works(cpu, *argv, **more):
    code, out, err = emulated(cpu, *argv, **more)
    assert code == 0, (cpu, argv, out, err)
    return out + err


def logits(cpu, program, x, *options):
    np.save(temp("x.npy"), x)
    works(cpu, program, "run", "-i", "image=x.npy", "-o", "logits=y.npy", *options)
    return np.load(temp("y.npy"))


def has_instruction(cpu, model, name, *options):
    ok(HONE, "compile", model, "--mcpu", cpu, "--emit", "asm", "-o", "net.s", *options)
    with open(temp("net.s")) as f:
        return any(line.startswith(f"\t{name}\t") for line in f)


def check_near(got, want, tolerance=1e-5):
    assert got.shape == want.shape and np.abs(got - want).max() <= tolerance * np.abs(want).max(), np.abs(got - want).max()


def test_programs_say_what_the_network_says():
    x, want = np.load(f"{GOLDEN}/sample_x.npy"), np.load(f"{GOLDEN}/sample_logits.npy")
    bits = set()
    for cpu in QEMU_CPUS:
        ok(HONE, "compile", SAMPLE, "--mcpu", cpu, "-o", cpu)
        got = logits(cpu, temp(cpu), x)
        check_near(got, want)
        bits |= {got.tobytes(), logits(cpu, temp(cpu), x, "--threads", "3").tobytes()}
        assert logits(cpu, temp(cpu), x[:1])[0].tobytes() == got[0].tobytes()
    assert len(bits) == 1  # f32 takes the same instructions on all of them, on any number of threads
    assert works("cortex-a76", temp("cortex-a76"), SNEAKER).splitlines()[1].endswith("sneaker")


def test_weights_that_the_compiler_prepared():
    """Made here, by x86-64's arithmetic; the others by the program's own."""
    model = test_prepared.write_model(temp("prepared.onnx"), size=28)
    np.save(temp("x.npy"), test_prepared.numbers(28)[:1])
    results = set()
    for r in "100", "1":
        ok(HONE, "compile", model, "--mcpu", "neoverse-n1", "-o", "prepared", "--prepared", r)
        works("neoverse-n1", temp("prepared"), "run", "-i", "x0=x.npy", "-o", "y=y.npy")
        results.add(np.load(temp("y.npy")).tobytes())
    assert len(results) == 1


def test_one_file_that_needs_nothing():
    ok(HONE, "compile", SAMPLE, "--mcpu", "neoverse-n1", "--static", "-o", "alone")
    code, out, err = run("qemu-aarch64", "-cpu", "neoverse-n1", temp("alone"), SNEAKER, env=WEAK)
    assert code == 0 and out.splitlines()[1].endswith("sneaker"), (out, err)


def test_programs_without_parts():
    """Smaller than the whole; what is there works, what is not is refused, and no licence speaks of it."""
    ok(HONE, "compile", SAMPLE, "--mcpu", "neoverse-n1", "-o", "whole")
    for part in ("webp", "serve,jpeg,webp"):
        ok(HONE, "compile", SAMPLE, "--mcpu", "neoverse-n1", "-o", "less", "--without", part)
        assert os.path.getsize(temp("less")) < os.path.getsize(temp("whole")) - 60000 * len(part.split(",")), part
        assert works("neoverse-n1", temp("less"), SNEAKER).splitlines()[1].endswith("sneaker")
        text = works("neoverse-n1", temp("less"), "--licences")
        assert "libwebp" not in text and "libpng" in text and ("libevent" in text) == (part == "webp"), text
    code, out, err = emulated("neoverse-n1", temp("less"), "serve")
    assert code == 1 and "serve was left out when this program was compiled (--without serve)" in err, (out, err)
    ok(HONE, "compile", SAMPLE, "--mcpu", "neoverse-n1", "-o", "less", "--without", "png")
    code, out, err = emulated("neoverse-n1", temp("less"), SNEAKER)
    assert code == 1 and "PNG was left out when this program was compiled (--without png)" in err, (out, err)
    assert "libpng" not in works("neoverse-n1", temp("less"), "--licences")


def test_several_arm_cpus_in_one_program():
    ok(HONE, "compile", SAMPLE, "--mcpu", "cortex-a53,neoverse-n1", "-o", "fat")
    assert works("neoverse-n1", temp("fat"), SNEAKER).splitlines()[1].endswith("sneaker")


def test_quantized_files():
    """Within a quantum of what the program for this machine says, which others hold to the evaluator."""
    x = np.random.default_rng(8).uniform(-3, 3, (2, 3, 12, 12)).astype(np.float32)
    np.save(temp("x.npy"), x)
    for make, quantum in ((test_quant_nets.residual_net, 0.02), (test_quant_nets.mobile_net, 0.03)):
        net, y = make()
        model = net.save(make.__name__, y)
        ok(HONE, "compile", model, "-o", "here")
        ok(temp("here"), "run", "-i", "x=x.npy", "-o", "y=want.npy")
        want = np.load(temp("want.npy"))
        for cpu, name in (("neoverse-v1", "sudot"), ("neoverse-n1", "sdot"), ("aarch64", "sadalp")):
            assert has_instruction(cpu, model, name), (cpu, name)
            ok(HONE, "compile", model, "--mcpu", cpu, "-o", "there")
            works(cpu, temp("there"), "run", "-i", "x=x.npy", "-o", "y=got.npy")
            assert np.abs(np.load(temp("got.npy")) - want).max() <= 1.001 * quantum, cpu


def test_bf16():
    x, want = np.load(f"{GOLDEN}/sample_x.npy"), np.load(f"{GOLDEN}/sample_logits.npy")
    for cpu, name in (("neoverse-v1", "bfdot"), ("neoverse-n1", "fmla")):
        assert has_instruction(cpu, SAMPLE, name, "--precision", "bf16"), (cpu, name)
        ok(HONE, "compile", SAMPLE, "--mcpu", cpu, "--precision", "bf16", "-o", "b16")
        check_near(logits(cpu, temp("b16"), x), want, 2e-2)


def test_another_cpu_is_told_what_it_lacks():
    ok(HONE, "compile", SAMPLE, "--mcpu", "neoverse-v1", "--precision", "bf16", "-o", "v1")
    code, _, err = emulated("neoverse-n1", temp("v1"), SNEAKER)
    assert code == 1 and "needs BF16" in err and "compile it with --mcpu aarch64, or this CPU's name" in err, err


HOST = r"""
#include <stdio.h>
#include "net.h"
int main(void)
{
    static float x[3 * 784], y[3 * 10];
    char err[256] = "";
    HoneOptions o = {.threads = 2};
    if (fread(x, 784 * 4, 3, stdin) != 3) return 2;
    HoneModel *m = hone_net_create(&o, err, sizeof err);
    const void *in[] = {x};
    void *out[] = {y};
    if (!m || hone_net_run(m, 3, in, out) != 0) { fprintf(stderr, "%s\n", err); return 1; }
    hone_net_destroy(m);
    return fwrite(y, 40, 3, stdout) != 3;
}
"""


def test_libraries():
    x = np.load(f"{GOLDEN}/sample_x.npy")[:3].astype(np.float32)
    with open(temp("host.c"), "w") as f:
        f.write(HOST)
    x.tofile(temp("x.raw"))
    for emit, file, more in (("shared", "libnet.so", ["-Wl,-rpath,."]), ("static", "libnet.a", ["-lgomp", "-lm"]),
                             ("object", "net.o", ["-lgomp", "-lm"])):
        ok(HONE, "compile", SAMPLE, "--mcpu", "neoverse-n1", "--name", "net", "--emit", emit, "-o", file)
        shutil.move(temp(file[:file.index(".")] + ".h"), temp("net.h")) if file != "net.o" else None
        ok(f"{GNU}-gcc", "-O1", "-I.", "host.c", file, "-o", "host", *more)
        code, out, err = run("sh", "-c", f"qemu-aarch64 -L /usr/{GNU} -cpu neoverse-n1 ./host <x.raw >y.raw", env=WEAK)
        assert code == 0, (emit, err)
        want = np.load(f"{GOLDEN}/sample_logits.npy")[:3]
        check_near(np.fromfile(temp("y.raw"), np.float32).reshape(3, 10), want)


def write_clothes(n):
    """Two classes of n images each, and their labels: grey noise, darker and lighter."""
    rng = np.random.default_rng(5)
    for c, mean in (("dark", 70), ("light", 150)):
        os.makedirs(temp(f"photos/{c}"), exist_ok=True)
        for i in range(n):
            pixels = np.clip(rng.normal(mean, 60, (28, 28)), 0, 255).astype(np.uint8)
            with open(temp(f"photos/{c}/{i}.png"), "wb") as f:
                f.write(png(pixels))


def png(pixels):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    h, w = pixels.shape
    rows = b"".join(b"\0" + bytes(r) for r in pixels)
    head = struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def losses(text):
    return [float(x) for x in re.findall(r"\bloss ([0-9.]+)", text)]


def test_fine_tuning():
    write_clothes(12)
    plan = ["--classes", "photos", "--freeze", "none"]
    steps = ["train", "photos", "--epochs", "2", "--batch", "8", "--lr", "0.01", "--opt", "sgd", "--no-checkpoint", "--seed", "3"]
    ok(HONE, "finetune", CLOTHES, "-o", "here", *plan)
    _, _, said = run(temp("here"), *steps, "-o", "here.onnx")
    want = losses(said)
    ok(HONE, "finetune", CLOTHES, "-o", "there", *plan, "--mcpu", "neoverse-n1")
    got = losses(works("neoverse-n1", temp("there"), *steps, "-o", "there.onnx"))
    assert len(want) >= 4 and len(got) == len(want) and np.allclose(got, want, rtol=2e-3, atol=1e-3), (got, want)
    ok(HONE, "compile", "there.onnx", "-o", "tuned")
    assert "photos" in ok(temp("tuned"), "photos/dark/0.png")


def test_what_is_refused():
    for argv, line in (
            (["--mcpu", "x86-64-v3,neoverse-n1"],
             "--mcpu: x86-64-v3 and neoverse-n1 are of two instruction sets: a program is for one"),
            (["--mcpu", "neoverse-n1", "--autotune"],
             "--autotune times kernels on this machine, no neoverse-n1")):
        code, _, err = run(HONE, "compile", SAMPLE, "-o", "no", *argv)
        assert code == 1 and err.count("\n") == 1 and line in err, err
    code, _, err = run(HONE, "verify", SAMPLE, "--mcpu", "neoverse-n1")
    assert code == 1 and "code for neoverse-n1 does not run on this machine" in err, err
    code, _, err = run(HONE, "compile", SAMPLE, "-o", "no", "--mcpu", "neoverse-n1", env={"PATH": "/nowhere"})
    assert code == 1 and f"no {GNU}-gcc here" in err and f"install gcc-{GNU}" in err, err
    assert not os.path.exists(temp("no"))


if __name__ == "__main__":
    why = missing()
    if platform.machine() == "aarch64" or why:
        print(f"skipped: {why or 'this machine is one'}")
        sys.exit(0)
    main(sys.modules[__name__])
