"""Compiled models as guests in a process: hosts in C that load, unload, link, fork, and call from many threads.

Each host is a program of its own and must end in time: a host that crashes or hangs is a failure.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from foreign import MCPU
from script import HONE, SAMPLE, TEMP, main, ok, run, temp

CLOTHES = os.path.join(os.path.dirname(SAMPLE), "clothes5.onnx")  # another network, with 5 outputs for sample's 10

COMMON = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "net.h"
#define NEED(c) do { if (!(c)) { fprintf(stderr, "line %d: %s\n", __LINE__, #c); exit(1); } } while (0)
enum { N = 2 };
static float x[N * 784];
typedef struct Lib {
    void *handle;
    HoneModel *(*create)(const HoneOptions *, char *, size_t);
    void (*destroy)(HoneModel *);
    int (*run)(HoneModel *, int64_t, const void *const *, void *const *);
    const char *(*error)(const HoneModel *);
    HoneTensorInfo (*output_info)(const HoneModel *, int);
} Lib;
static void fill(void)
{
    unsigned s = 1;
    for (int i = 0; i < N * 784; i++) x[i] = (s = s * 1664525u + 1013904223u) / 4294967296.0f - 0.5f;
}
static Lib load(const char *path)
{
    Lib l = {.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (!l.handle) { fprintf(stderr, "%s\n", dlerror()); exit(1); }
    l.create = (HoneModel * (*)(const HoneOptions *, char *, size_t)) dlsym(l.handle, "hone_net_create");
    l.destroy = (void (*)(HoneModel *))dlsym(l.handle, "hone_net_destroy");
    l.run = (int (*)(HoneModel *, int64_t, const void *const *, void *const *))dlsym(l.handle, "hone_net_run");
    l.error = (const char *(*)(const HoneModel *))dlsym(l.handle, "hone_net_error");
    l.output_info = (HoneTensorInfo(*)(const HoneModel *, int))dlsym(l.handle, "hone_net_output_info");
    NEED(l.create && l.destroy && l.run && l.error && l.output_info);
    return l;
}
/* Classes of the model; y: its scores of all images. */
static int run_once(const Lib *l, int threads, float *y)
{
    char err[256];
    HoneOptions o = {.threads = threads};
    HoneModel *m = l->create(&o, err, sizeof err);
    if (!m) { fprintf(stderr, "%s\n", err); exit(1); }
    const void *in[] = {x};
    void *out[] = {y};
    NEED(l->run(m, N, in, out) == 0);
    int classes = (int)l->output_info(m, 0).dim[1];
    l->destroy(m);
    return classes;
}
"""

UNLOAD = r"""
static int is_mapped(const char *name)
{
    char line[4096];
    int found = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, f)) found |= strstr(line, name) != NULL;
    fclose(f);
    return found;
}
static float want[N * 10];
static void *load_often(void *arg)
{
    for (int i = 0; i < 12; i++) {
        float y[N * 10];
        Lib l = load(arg);
        run_once(&l, 2, y);
        NEED(memcmp(y, want, sizeof y) == 0);
        dlclose(l.handle);
    }
    return NULL;
}
int main(void)
{
    float y[N * 10];
    fill();
    for (int i = 0; i < 100; i++) {
        Lib l = load("./net.so");
        NEED(is_mapped("/net.so"));
        NEED(run_once(&l, 1 + i % 3, i ? y : want) == 10 && (i == 0 || memcmp(y, want, sizeof y) == 0));
        dlclose(l.handle);
        NEED(!is_mapped("/net.so"));
    }
    NEED(is_mapped("libgomp"));
    pthread_t t[4];
    for (int i = 0; i < 4; i++) NEED(pthread_create(&t[i], NULL, load_often, "./net.so") == 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    usleep(50000);
    NEED(rename("other.so", "net.so") == 0);  /* a newer file of that name is what is loaded next */
    Lib l = load("./net.so");
    NEED(run_once(&l, 2, y) == 5);
    dlclose(l.handle);
    usleep(50000);
    puts("alive");
    return 0;
}
"""

SAME_NAME = r"""
int main(int argc, char **argv)
{
    float mine[N * 10], theirs[N * 10], again[N * 10];
    (void)argc;
    fill();
    Lib linked = {NULL, hone_net_create, hone_net_destroy, hone_net_run, hone_net_error, hone_net_output_info};
    NEED(run_once(&linked, 2, mine) == atoi(argv[1]));
    Lib other = load("./other.so");
    NEED(other.create != hone_net_create);
    NEED(run_once(&other, 2, theirs) == 5);
    NEED(run_once(&linked, 2, again) == 10 && memcmp(mine, again, sizeof mine) == 0);
    dlclose(other.handle);
    NEED(run_once(&linked, 2, again) == 10 && memcmp(mine, again, sizeof mine) == 0);
    puts("separate");
    return 0;
}
"""

GUEST = f"enum {{ ROUNDS = {5 if MCPU else 100} }};" + r"""
static Lib l;
static float want[N * 10];
static HoneModel *shared;
static void *call_shared(void *counts)
{
    for (int i = 0; i < 10 * ROUNDS; i++) {
        float y[N * 10];
        const void *in[] = {x};
        void *out[] = {y};
        int code = l.run(shared, N, in, out);
        NEED(code == 0 ? memcmp(y, want, sizeof y) == 0 : strstr(l.error(shared), "in use by another thread") != NULL);
        ((int *)counts)[code != 0]++;
    }
    return NULL;
}
static void *call_own(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        float y[N * 10];
        run_once(&l, 2, y);
        NEED(memcmp(y, want, sizeof y) == 0);
    }
    return unused;
}
static void on_threads(void *(*work)(void *), int counts[8][2])
{
    pthread_t t[8];
    for (int i = 0; i < 8; i++) NEED(pthread_create(&t[i], NULL, work, counts[i]) == 0);
    for (int i = 0; i < 8; i++) pthread_join(t[i], NULL);
}
static void child_runs(HoneModel *m)
{
    pid_t child = fork();
    if (child == 0) {
        float y[N * 10];
        const void *in[] = {x};
        void *out[] = {y};
        alarm(20);
        NEED(l.run(m, N, in, out) == 0 && memcmp(y, want, sizeof y) == 0);
        NEED(run_once(&l, 2, y) == 10 && memcmp(y, want, sizeof y) == 0);
        _exit(0);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child && status == 0);
}
int main(void)
{
    int counts[8][2] = {{0}}, done = 0;
    fill();
    l = load("./net.so");
    HoneOptions o = {.threads = 2};
    NEED(run_once(&l, 1, want) == 10);
    NEED((shared = l.create(&o, NULL, 0)));
    child_runs(shared);
    on_threads(call_shared, counts);
    for (int i = 0; i < 8; i++) done += counts[i][0];
    NEED(done > 0);
    on_threads(call_own, counts);
    child_runs(shared);
    l.destroy(shared);
    dlclose(l.handle);
    puts("guest");
    return 0;
}
"""


def compile_to(name, model=SAMPLE, kind="shared", called="net", header=True):
    ok(HONE, "compile", model, "-o", temp(name), "--emit", kind, "--name", called, *([] if header else ["--no-header"]))
    return temp(name)


def host(text, *files):
    open(temp("host.c"), "w").write(COMMON + text)
    ok("cc", "-Wall", "-Werror", "-O1", "-I", TEMP, "-o", temp("host"), temp("host.c"), *files, "-lgomp", "-lm", "-lpthread", "-ldl")
    return temp("host")


def plain_host(text, *files):
    """A host that does not know OpenMP: the library's is the only one, and would go with it."""
    open(temp("host.c"), "w").write(COMMON + text)
    ok("cc", "-Wall", "-Werror", "-O1", "-I", TEMP, "-o", temp("host"), temp("host.c"), *files, "-lpthread", "-ldl")
    assert "libgomp" not in ok("readelf", "-d", temp("host"))
    return temp("host")


def test_unloading_leaves_nothing_behind():
    compile_to("net.so")
    compile_to("other.so", CLOTHES, header=False)
    assert ok(plain_host(UNLOAD), timeout=120) == "alive\n"


def test_a_library_of_objects_may_be_unloaded_too():
    compile_to("net.o", kind="object")
    ok("cc", "-shared", "-o", temp("net.so"), temp("net.o"), "-lgomp", "-lm")
    compile_to("other.so", CLOTHES, header=False)
    assert ok(plain_host(UNLOAD), timeout=120) == "alive\n"


def test_two_libraries_of_one_name_are_separate():
    compile_to("net.so")
    compile_to("other.so", CLOTHES, header=False)
    for kind, name in (("shared", "net.so"), ("static", "net.a"), ("object", "net.o")):
        path = host(SAME_NAME, compile_to(name, kind=kind))
        assert ok(path, 10, env={"LD_LIBRARY_PATH": TEMP}) == "separate\n", kind


def test_two_objects_of_one_name_do_not_link():
    open(temp("main.c"), "w").write("int main(void) { return 0; }\n")
    files = [compile_to("a.o", kind="object"), compile_to("b.o", CLOTHES, "object", header=False)]
    code, _, err = run("cc", "-o", temp("both"), temp("main.c"), *files, "-lgomp", "-lm")
    assert code != 0 and "multiple definition of `hone_net_create'" in err, err
    ok("cc", "-o", temp("both"), temp("main.c"), files[0], compile_to("b.o", CLOTHES, "object", "other"), "-lgomp", "-lm")


def test_objects_show_their_functions_alone():
    for kind, name in (("object", "net.o"), ("static", "net.a")):
        defined = [line.split() for line in ok("nm", "--defined-only", compile_to(name, kind=kind)).splitlines()]
        shown = {words[2] for words in defined if len(words) == 3 and words[1].isupper()}
        assert "hone_net_create" in shown and all(s.startswith("hone_net_") for s in shown), shown
        assert "hone_net_desc" not in shown


def test_a_guest_of_many_threads_and_forks():
    compile_to("net.so")
    assert ok(host(GUEST), timeout=120) == "guest\n"
    assert ok(plain_host(GUEST), timeout=120) == "guest\n"


if __name__ == "__main__":
    main(sys.modules[__name__])
