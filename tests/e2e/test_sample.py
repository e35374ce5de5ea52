"""The sample network from ONNX file to every kind of output, as a user would use it.

golden/: input and logits of ONNX Runtime for the sample, made by make_golden.py.
"""
import itertools
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, TEMP, here_only, main, ok, run, temp

GOLDEN = os.path.join(ROOT, "tests", "e2e", "golden")
X, WANT = (np.load(os.path.join(GOLDEN, f)) for f in ("sample_x.npy", "sample_logits.npy"))


def compile_sample(name, *flags):
    ok(HONE, "compile", SAMPLE, "-o", temp(name), *flags)
    return temp(name)


def run_on(binary, x, *flags):
    np.save(temp("x.npy"), x)
    ok(binary, "run", "-i", "image=" + temp("x.npy"), "-o", "logits=" + temp("y.npy"), *flags)
    return np.load(temp("y.npy"))


def test_logits_equal_onnx_runtime():
    for level in ("-O0", "-O1", "-O2", "-O3"):
        for cpu in ("native", "x86-64-v3", "generic"):
            y = run_on(compile_sample("net", level, "--mcpu", cpu), X)
            error = np.abs(y - WANT).max() / np.abs(WANT).max()
            assert error < 5e-5, f"{level} {cpu}: {error}"
        error = np.abs(run_on(compile_sample("net", level, "--no-winograd"), X) - WANT).max() / np.abs(WANT).max()
        assert error < 5e-5, f"{level} --no-winograd: {error}"


def test_any_batch_and_thread_count_same_bits():
    binary = compile_sample("net")
    y = run_on(binary, X, "--threads", "1")
    for threads in ("1", "2", "3"):
        for n in (0, 1, 2, len(X)):
            part = run_on(binary, X[:n], "--threads", threads)
            assert part.shape == (n, 10) and (part == y[:n]).all(), (threads, n)


def test_classifies_the_sneaker():
    binary = compile_sample("net")
    out = ok(binary, SNEAKER)
    assert "sneaker" in out.splitlines()[1 if "sneaker.png" in out.splitlines()[0] else 0], out
    top = json.loads(ok(binary, SNEAKER, "--json", "--top", "3"))
    assert "sneaker" in json.dumps(top)


def test_bench_and_info_are_json():
    binary = compile_sample("net")
    bench = json.loads(ok(binary, "bench", "--json", "--iters", "5", "--batch", "2", "--threads", "2"))
    for key in ("model", "batch", "threads", "iters", "load_ms", "first_ms", "min_ms", "median_ms", "gflops", "rss_mb"):
        assert key in bench, key
    assert bench["batch"] == 2 and 0 < bench["min_ms"] <= bench["median_ms"]
    info = json.loads(ok(binary, "info", "--json"))
    assert "image" in json.dumps(info) and "logits" in json.dumps(info)
    assert "conv" in ok(binary, "bench", "--profile", "--iters", "2")


def test_binary_needs_only_the_system():
    binary = compile_sample("net")
    libs = set(re.findall(r"NEEDED.*\[(.*)\]", ok("readelf", "-d", binary)))
    assert libs
    extra = {l for l in libs if not re.match(r"linux-vdso|libc\.|libm\.|libgomp\.|libomp\.|ld-linux", l)}
    assert not extra, extra
    weights = os.path.getsize(SAMPLE)
    assert os.path.getsize(binary) < weights + 3e6, os.path.getsize(binary)


def test_binary_is_hardened():
    for name in (compile_sample("net"), HONE):
        header, segments = ok("readelf", "-h", name), ok("readelf", "-lW", name)
        dynamic = ok("readelf", "-d", name)
        assert "DYN" in header, name
        assert "GNU_RELRO" in segments and ("BIND_NOW" in dynamic or "NOW" in dynamic), name
        assert "TEXTREL" not in dynamic
        stack = [l for l in segments.splitlines() if "GNU_STACK" in l][0]
        assert "RWE" not in stack and not re.search(r"LOAD.*RWE", segments)


def test_same_input_same_bytes():
    a = compile_sample("one", "-j", "1")
    os.makedirs(temp("elsewhere"), exist_ok=True)
    ok(HONE, "compile", os.path.relpath(SAMPLE, temp("elsewhere")), "-o", "two", "-j", "2", cwd=temp("elsewhere"),
       env={"LC_ALL": "C", "TZ": "Asia/Tokyo"})
    assert open(a, "rb").read() == open(temp("elsewhere/two"), "rb").read()


PROGRAM = r"""
#include "NAME.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    char err[256];
    int n = atoi(argv[1]);
    HoneOptions o = {.threads = 2};
    HoneModel *m = hone_NAME_create(&o, err, sizeof err);
    if (!m) { fprintf(stderr, "%s\n", err); return 1; }
    float *x = malloc(hone_NAME_input_bytes(m, 0, n)), *y = malloc(hone_NAME_output_bytes(m, 0, n));
    FILE *f = fopen(argv[2], "rb");
    if (fread(x, 1, hone_NAME_input_bytes(m, 0, n), f) == 0) return 2;
    const void *in[] = {x};
    void *out[] = {y};
    size_t bytes = hone_NAME_workspace_bytes(m, n);
    void *space = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (hone_NAME_set_workspace(m, space, bytes) || hone_NAME_run(m, n, in, out)) { fprintf(stderr, "%s\n", hone_NAME_error(m)); return 3; }
    if (argc > 3) for (int i = 0; i < n * 10; i++) printf("%.9g\n", y[i]);
    hone_NAME_destroy(m);
    free(space); free(x); free(y);
    return 0;
}
"""


def use_library(files):
    open(temp("main.c"), "w").write(PROGRAM.replace("NAME", "net"))
    ok("cc", "-Wall", "-Werror", "-I", TEMP, "-o", temp("user"), temp("main.c"), *files, "-lgomp", "-lm")
    X.tofile(temp("x.bin"))
    out = ok(temp("user"), len(X), temp("x.bin"), "print", env={"LD_LIBRARY_PATH": TEMP})
    y = np.array([float(v) for v in out.split()], np.float32).reshape(WANT.shape)
    assert np.abs(y - WANT).max() / np.abs(WANT).max() < 5e-5


def test_shared_library():
    use_library([compile_sample("net.so", "--emit", "shared", "--name", "net")])
    symbols = [l.split()[-1] for l in ok("nm", "-D", "--defined-only", temp("net.so")).splitlines()]
    assert symbols.pop(0) == "HONE_1" and symbols, symbols
    assert all(re.fullmatch("hone_net_[a-z_]+@@HONE_1", s) and "desc" not in s for s in symbols), symbols


def test_static_library():
    use_library([compile_sample("net.a", "--emit", "static", "--name", "net")])


def test_object():
    use_library([compile_sample("net.o", "--emit", "object", "--name", "net")])


def test_two_models_in_one_program():
    for name in ("net", "other"):
        compile_sample(name + ".o", "--emit", "object", "--name", name)
    open(temp("main.c"), "w").write(PROGRAM.replace("NAME", "net").replace("int main", "int use_net"))
    open(temp("other.c"), "w").write(PROGRAM.replace("NAME", "other").replace("int main", "int use_other"))
    open(temp("both.c"), "w").write('#include "net.h"\n#include "other.h"\nint use_net(int, char **);\n'
                                    "int use_other(int, char **);\n"
                                    "int main(int c, char **v) { return use_net(c, v) || use_other(c, v); }\n")
    ok("cc", "-Wall", "-Werror", "-I", TEMP, "-o", temp("user"), *[temp(f) for f in
       ("main.c", "other.c", "both.c", "net.o", "other.o")], "-lgomp", "-lm")
    X.tofile(temp("x.bin"))
    ok(temp("user"), len(X), temp("x.bin"))


def test_headers_in_any_order():
    compile_sample("net.o", "--emit", "object", "--name", "net")
    compile_sample("other.o", "--emit", "object", "--name", "other")
    headers = ["net.h", "other.h", "runtime/core/hone.h"]
    for order in itertools.permutations(headers):
        open(temp("order.c"), "w").write("".join(f'#include "{h}"\n' for h in order) +
                                         "void *uses[] = {(void *)hone_create, (void *)hone_net_create, (void *)hone_other_run};\n")
        ok("cc", "-Wall", "-Werror", "-fsyntax-only", "-I", TEMP, "-I", ROOT, temp("order.c"))
    open(temp("order.c"), "w").write('#include "net.h"\nvoid *use = (void *)hone_create;\n')
    code, _, err = run("cc", "-fsyntax-only", "-I", TEMP, temp("order.c"))
    assert code != 0 and "hone_create" in err, err  # is no function of a model


def test_text_outputs():
    for emit, name, text in (("llvm-ir", "net.ll", "define"), ("asm", "net.s", ".text"), ("ir", "net.ir", "graph infer")):
        path = compile_sample(name, "--emit", emit)
        assert text in open(path).read(), emit
    assert os.path.getsize(temp("net.s.weights")) > 100000
    # every kernel that a step names is in the file, and calls what is
    text = open(temp("net.ll")).read()
    called = set(re.findall(r"(?:call void|ptr) @(hone_sample_k\d\w+)", text))
    assert called and called == set(re.findall(r"define .*@(hone_sample_k\d\w+)\(", text)), called
    # the textual IR is what `hone opt` reads
    assert "graph infer" in ok(HONE, "opt", temp("net.ir"), "--no-passes")


def test_compiled_for_a_machine_of_another_kind():
    flags = ("--mcpu", "neoverse-n1")
    ok(HONE, "compile", SAMPLE, "-o", temp("arm.ir"), "--emit", "ir", *flags)
    text = open(temp("arm.ir")).read()
    assert "graph infer" in text and "algo=" in text
    assert "graph infer" in ok(HONE, "opt", temp("arm.ir"), "--no-passes", *flags)
    assert "conv 3x3 + bias + add + relu" in ok(HONE, "inspect", SAMPLE, "--compiled", *flags)
    ok(HONE, "compile", SAMPLE, "-o", temp("arm.s"), "--emit", "asm", *flags)
    assert "fmla" in open(temp("arm.s")).read()  # text takes no cross compiler


def test_inspect():
    out = ok(HONE, "inspect", SAMPLE)
    assert "conv 3x3" in out and "MACs per image" in out
    assert "conv 3x3 + bias + add + relu" in ok(HONE, "inspect", SAMPLE, "--compiled")
    head = [line for line in ok(HONE, "inspect", SAMPLE, "--compiled").splitlines() if " matmul " in line]
    assert len(head) == 1 and head[0].split()[-2:] == ["650", "640"], head  # 64 -> 10, whatever is fused into it
    layers = json.loads(ok(HONE, "inspect", SAMPLE, "--json"))["layers"]
    assert sum(l["params"] for l in layers) > 70000
    ok(HONE, "inspect", SAMPLE, "--dot", temp("net.dot"))
    assert "relu" in open(temp("net.dot")).read()
    if shutil.which("dot"):
        ok(HONE, "inspect", SAMPLE, "--picture", temp("net.svg"))
        assert "<svg" in open(temp("net.svg")).read()


def test_verify_random_and_stored():
    text = ok(HONE, "verify", SAMPLE, "--random", "2", "--batch", "3")
    kinds = re.findall(r"^evaluator logits, (\w+) *: largest difference \S+, (\S+) of .* RMS (\S+) of it: ok$", text, re.M)
    assert [k[0] for k in kinds] == 2 * ["Winograd", "direct"], text
    assert all(0 < float(rms) < float(most) < 1e-5 for _, most, rms in kinds), text
    text = ok(HONE, "verify", SAMPLE, "--no-winograd")
    assert "direct" in text and "Winograd" not in text
    assert run(HONE, "verify", SAMPLE, "--tolerance", "1e-9")[0] == 1
    assert "values compared" in ok(HONE, "verify", SAMPLE, "--nodes")
    import onnx
    from onnx import numpy_helper
    folder = temp("tests/test_data_set_0")
    os.makedirs(folder)
    for name, array in (("input_0.pb", X), ("output_0.pb", WANT)):
        open(os.path.join(folder, name), "wb").write(numpy_helper.from_array(array).SerializeToString())
    assert "stored" in ok(HONE, "verify", SAMPLE, temp("tests"))
    wrong = numpy_helper.from_array(WANT + 1).SerializeToString()
    open(os.path.join(folder, "output_0.pb"), "wb").write(wrong)
    code, out, _ = run(HONE, "verify", SAMPLE, temp("tests"))
    assert code == 1 and "FAILED" in out


@here_only("verify runs what is for this machine")
def test_verify_judges_what_compile_makes():
    made = []
    for threads in (1, 3):
        flags = ["--threads", str(threads), "--print-after", "schedule"]
        made.append(ok(HONE, "compile", SAMPLE, "-o", temp("scheduled"), *flags))
        assert made[-1] in ok(HONE, "verify", SAMPLE, *flags), threads
    assert made[0] != made[1]


if __name__ == "__main__":
    main(sys.modules[__name__])
