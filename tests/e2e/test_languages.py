"""tools/examples/languages: each program builds and runs where its language's tools are, and says what the network's own program says; pkg-config
and CMake find hone and what it emits; what the C interface says of images, and refuses."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from script import HONE, ROOT, SAMPLE, SNEAKER, TEMP, main, ok, run, temp

EXAMPLES = os.path.join(ROOT, "tools", "examples", "languages")
WEBP = os.path.join(ROOT, "tests", "runtime", "golden", "lossy.webp")


def library(folder, kind="shared", *flags):
    """libnet.so (or .a, .o) with its header in a folder of its own."""
    os.makedirs(temp(folder), exist_ok=True)
    out = temp(f"{folder}/libnet." + {"shared": "so", "static": "a", "object": "o"}[kind])
    if not os.path.exists(out):
        ok(HONE, "compile", SAMPLE, "-o", out, "--name", "net", "--emit", kind, *flags)
    return temp(folder)


def expected():
    if not os.path.exists(temp("program")):
        ok(HONE, "compile", SAMPLE, "-o", temp("program"))
    out = ok(temp("program"), "--json", "--top", 3, SNEAKER, WEBP)
    return [(t["label"], t["probability"]) for line in out.splitlines() for t in json.loads(line)["top"]]


def check(*program, **more):
    """The same classes as the network's program; a bad file is a line and exit code 1, the others are done."""
    out = ok(*program, SNEAKER, WEBP, **more)
    got = [line.split(" ", 1) for line in out.splitlines()]
    want = expected()
    assert [label for _, label in got] == [label for label, _ in want], (got, want)
    assert all(abs(float(score) - p) < 2e-4 for (score, _), (_, p) in zip(got, want)), (got, want)
    code, out, err = run(*program, "none.jpg", SNEAKER, **more)
    assert code == 1 and err == "none.jpg: No such file or directory\n" and len(out.splitlines()) == 3, (code, out, err)


def has(*tools):
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        print(f"left out: no {', '.join(missing)} here")
    return not missing


def test_c_by_pkg_config():
    for kind in ("shared", "static", "object"):
        folder = library(f"c {kind}".replace(" ", "-"), kind, "--config-files")
        flags = ok("pkg-config", "--cflags", "--libs", f"{folder}/net.pc").split()
        assert ok("pkg-config", "--modversion", f"{folder}/net.pc").strip() == ok(HONE, "--version").split()[1]
        ok("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", os.path.join(EXAMPLES, "classify.c"), *flags, "-o", f"{folder}/classify")
        check(f"{folder}/classify")
        paths = re.findall(r"R(?:UN)?PATH\).*\[(.*)\]", ok("readelf", "-d", f"{folder}/classify"))
        assert paths == (["/" + folder] if kind == "shared" else []), paths


def test_cpp_by_cmake():
    if not has("cmake", "c++"):
        return
    for kind in ("shared", "static", "object"):
        folder = library(f"cpp-{kind}", kind, "--config-files")
        os.makedirs(f"{folder}/project", exist_ok=True)
        with open(f"{folder}/project/CMakeLists.txt", "w") as f:
            f.write(f"""cmake_minimum_required(VERSION 3.20)
project(example CXX)
find_package(net REQUIRED CONFIG PATHS {folder} NO_DEFAULT_PATH)
find_package(Threads REQUIRED)
add_executable(classify {EXAMPLES}/classify.cpp)
target_compile_features(classify PRIVATE cxx_std_17)
target_link_libraries(classify hone::net Threads::Threads)
""")
        ok("cmake", "-S", f"{folder}/project", "-B", f"{folder}/build")
        ok("cmake", "--build", f"{folder}/build")
        out = ok(f"{folder}/build/classify", SNEAKER, WEBP)
        assert [line.split(" ", 1)[1] for line in out.splitlines()] == [label for label, _ in expected()]
        assert run(f"{folder}/build/classify", "none.jpg")[::2] == (1, "none.jpg: No such file or directory\n")


def test_rust():
    if has("rustc"):
        folder = library("rust")
        ok("rustc", "-D", "warnings", os.path.join(EXAMPLES, "classify.rs"), "-L", folder, "-o", f"{folder}/classify")
        check(f"{folder}/classify", env={"LD_LIBRARY_PATH": folder})


def test_go():
    if has("go"):
        folder = library("go")
        env = {"CGO_CFLAGS": f"-I{folder}", "CGO_LDFLAGS": f"-L{folder}", "CGO_ENABLED": "1", "GOCACHE": temp("go-cache"), "GO111MODULE": "off",
               "LD_LIBRARY_PATH": folder}
        ok("go", "build", "-o", f"{folder}/classify", os.path.join(EXAMPLES, "classify.go"), env=env)
        check(f"{folder}/classify", env=env)


def test_node():
    if not has("node"):
        return
    if subprocess.run(["node", "-e", "require('koffi')"], capture_output=True).returncode:
        print("left out: node has no koffi here (npm install koffi; NODE_PATH)")
        return
    check("node", os.path.join(EXAMPLES, "classify.cjs"), f"{library('node')}/libnet.so")


REFUSED = r"""
#include "libnet.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define NEED(c) do { if (!(c)) { fprintf(stderr, "line %d: %s: %s\n", __LINE__, #c, m ? hone_net_error(m) : ""); exit(1); } } while (0)
int main(int argc, char **argv)
{
    HoneModel *m = hone_net_create(NULL, NULL, 0);
    HoneClass top[20];
    long bytes = hone_net_image_bytes(m);
    float *x = malloc(bytes), *y = malloc(bytes), *z = malloc(bytes), scores[10];
    NEED(argc == 3 && bytes == 784 * 4 && hone_net_image_bytes(m) == hone_net_input_bytes(m, 0, 1));
    NEED(hone_net_n_labels(m) == 10 && strcmp(hone_net_label(m, 7), "sneaker") == 0 && !hone_net_label(m, 10) && !hone_net_label(m, -1));
    NEED(strcmp(hone_net_version(), argv[2]) == 0);
    NEED(hone_net_preprocess(m, argv[1], x) == 0 && hone_net_error(m)[0] == 0);
    /* the same from memory, and from pixels of its own size: grey stays grey */
    FILE *f = fopen(argv[1], "rb");
    unsigned char data[65536], rgb[28 * 28 * 3];
    size_t n = fread(data, 1, sizeof data, f);
    NEED(hone_net_preprocess_bytes(m, data, n, y) == 0 && memcmp(x, y, bytes) == 0);
    memset(rgb, 0, sizeof rgb);
    NEED(hone_net_preprocess_pixels(m, rgb, 28, 28, z) == 0);
    float black = z[0];
    memset(rgb, 255, sizeof rgb);
    NEED(hone_net_preprocess_pixels(m, rgb, 28, 28, z) == 0 && z[0] > black);
    for (int i = 0; i < 784 * 3; i++) rgb[i] = (unsigned char)((x[i / 3] - black) / (z[0] - black) * 255 + 0.5f);
    NEED(hone_net_preprocess_pixels(m, rgb, 28, 28, z) == 0 && memcmp(x, z, bytes) == 0);
    /* in three steps what classify_file does in one */
    const void *in[] = {x};
    void *out[] = {scores};
    NEED(hone_net_run(m, 1, in, out) == 0 && hone_net_classifier(m) == 0);
    NEED(hone_net_rank(m, scores, 20, top) == 10 && strcmp(top[0].label, "sneaker") == 0 && top[0].index == 7);
    double sum = 0, first = top[0].score;
    for (int k = 0; k < 10; k++) sum += top[k].score;
    NEED(sum > 0.999999 && sum < 1.000001);
    NEED(hone_net_classify_file(m, argv[1], 1, top) == 1 && top[0].score == first);
    /* refused, and it goes on */
    NEED(hone_net_preprocess(m, "none.png", x) == -1 && strcmp(hone_net_error(m), "none.png: No such file or directory") == 0);
    NEED(hone_net_preprocess(m, NULL, x) == -1 && strcmp(hone_net_error(m), "the image is NULL") == 0);
    NEED(hone_net_preprocess(m, argv[1], NULL) == -1 && strcmp(hone_net_error(m), "the room for an image is NULL") == 0);
    NEED(hone_net_preprocess_bytes(m, data, n / 2, x) == -1 && strstr(hone_net_error(m), "truncated PNG"));
    NEED(hone_net_preprocess_bytes(m, "GIF89a", 6, x) == -1 && strstr(hone_net_error(m), "not a JPEG, PNG or WebP file but GIF"));
    NEED(hone_net_preprocess_pixels(m, rgb, 0, 28, x) == -1 && hone_net_preprocess_pixels(m, rgb, -1, 28, x) == -1);
    NEED(hone_net_preprocess_pixels(m, rgb, 1 << 30, 1 << 30, x) == -1);
    NEED(hone_net_classify_file(m, argv[1], 0, top) == -1 && hone_net_classify_file(m, argv[1], 1, NULL) == -1);
    NEED(hone_net_classify_file(m, NULL, 1, top) == -1);
    scores[3] = 0.0f / 0.0f;
    NEED(hone_net_rank(m, scores, 3, top) == -1 && hone_net_rank(m, scores, 0, top) == -1);
    NEED(hone_net_classify_file(m, argv[1], 1, top) == 1 && hone_net_error(m)[0] == 0);
    free(x); free(y); free(z);
    hone_net_destroy(m);
    fclose(f);
    puts("refused");
    return 0;
}
"""


def test_images_through_the_c_interface():
    folder = library("c-shared", "shared", "--config-files")
    with open(f"{folder}/refused.c", "w") as f:
        f.write(REFUSED)
    ok("cc", "-Wall", "-Wextra", "-Werror", "-O1", "-I", folder, f"{folder}/refused.c", f"{folder}/libnet.so", "-o", f"{folder}/refused")
    assert ok(f"{folder}/refused", SNEAKER, ok(HONE, "--version").split()[1], env={"LD_LIBRARY_PATH": folder}) == "refused\n"


def test_config_files_are_of_libraries():
    code, _, err = run(HONE, "compile", SAMPLE, "-o", temp("p"), "--config-files")
    assert code == 2 and "--config-files is of libraries" in err
    folder = library("moved", "static", "--config-files")
    shutil.move(folder, temp("elsewhere"))  # both find the library beside themselves
    flags = ok("pkg-config", "--cflags", "--libs", temp("elsewhere/net.pc")).split()
    ok("cc", os.path.join(EXAMPLES, "classify.c"), *flags, "-o", temp("moved-classify"))
    check(temp("moved-classify"))


def test_no_run_path_is_relative():
    """By a relative path a program builds, and looks for its library nowhere below where somebody stands."""
    folder = library("pathless", "shared", "--config-files")
    for pc, found in ((f"{folder}/net.pc", True), ("./pathless/net.pc", False)):
        flags = ok("pkg-config", "--cflags", "--libs", pc).split()
        ok("cc", os.path.join(EXAMPLES, "classify.c"), *flags, "-o", temp("pathless-classify"))
        (paths,) = [line.split("[")[1].rstrip("]") for line in ok("readelf", "-d", temp("pathless-classify")).splitlines() if "RUNPATH" in line or "RPATH" in line]
        assert all(p.startswith("/") for p in paths.split(":")), paths
        code, _, err = run(temp("pathless-classify"), SNEAKER)
        assert code == 0 if found else "libnet.so" in err, (pc, err)


def test_hone_by_pkg_config_and_cmake():
    root = temp("installed")
    ok("cmake", "--install", os.path.dirname(HONE), "--prefix", root)
    (pc,) = [os.path.join(d, "hone.pc") for d, _, names in os.walk(root) if "hone.pc" in names]
    assert ok("pkg-config", "--modversion", pc).strip() == ok(HONE, "--version").split()[1]
    assert ok(ok("pkg-config", "--variable=hone", pc).strip(), "--version") == ok(HONE, "--version")
    (doc,) = [d for d, _, names in os.walk(root) if d.endswith("doc/hone")]
    pages = [os.path.join(d, n) for d, _, names in os.walk(doc) for n in names if n.endswith(".md")]
    links = [(page, to) for page in pages for to in re.findall(r"\]\(([^)#]+)", open(page, encoding="utf-8").read()) if "://" not in to]
    assert len(links) > 40 and os.path.exists(f"{doc}/tools/examples/languages/classify.c")
    assert [x for x in links if not os.path.exists(os.path.join(os.path.dirname(x[0]), x[1]))] == []
    project = temp("project")
    os.makedirs(project)
    with open(f"{project}/CMakeLists.txt", "w") as f:
        f.write(f"""cmake_minimum_required(VERSION 3.20)
project(example C)
find_package(hone REQUIRED)
hone_add_library(net {SAMPLE} KIND static OPTIONS -O1)
add_executable(classify {EXAMPLES}/classify.c)
target_link_libraries(classify net)
""")
    ok("cmake", "-S", project, "-B", f"{project}/build", f"-DCMAKE_PREFIX_PATH={root}")
    ok("cmake", "--build", f"{project}/build")
    check(f"{project}/build/classify")


if __name__ == "__main__":
    main(sys.modules[__name__])
