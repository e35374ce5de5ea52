// Runs a compiled model in a process of its own, which may be an emulated one: see foreign.h.
//
//   foreign_aarch64 LIBRARY DESCRIPTOR N OWN BYTES_IN... : BYTES_OUT... <INPUTS >OUTPUTS
//
// Exit code 1: it does not run, or not to the same bits on every number of threads; 3: the model
// ended its run.
#define _GNU_SOURCE // MAP_ANONYMOUS
#include "runtime/core/rt.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST = 256, THREADS = 3, PAGE = 1 << 16 };

typedef struct Job {
    const HoneModelDesc *desc;
    int64_t N;
    int n_in, n_out, own;
    size_t bytes_in[MOST], bytes_out[MOST];
    void *in[MOST], *first[MOST], *out[MOST];
} Job;

// Ends at a page that nobody may touch, as far as the alignment permits.
static void *place(size_t bytes, size_t align) {
    size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
    char *p = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + room, PAGE, PROT_NONE) != 0)
        abort();
    return p + (room - bytes) / align * align;
}

static int fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

static int run(Job *j, int threads, void **to) {
    char err[256] = "";
    HoneOptions o = {.threads = threads};
    HoneModel *m = hone_create(j->desc, &o, err, sizeof err);
    if (!m)
        return fail("hone_create", err);
    size_t bytes = hone_workspace_bytes(m, j->N);
    void *space = place(bytes, 64);
    memset(space, 0xff, bytes);
    for (int i = 0; i < j->n_out; i++)
        memset(to[i], 0xff, j->bytes_out[i]);
    if (hone_set_workspace(m, space, bytes) != 0)
        return fail("hone_set_workspace", hone_error(m));
    if (hone_run(m, j->N, (const void *const *)j->in, to) != 0) {
        fail("hone_run", hone_error(m));
        return 3;
    }
    for (int i = j->own; i < j->n_out; i++)
        *(int64_t *)to[i] = rt_model_counts(m)[i - j->own];
    hone_destroy(m);
    return 0;
}

static int run_all(Job *j) {
    for (int threads = 1; threads <= THREADS; threads++) {
        int code = run(j, threads, threads == 1 ? j->first : j->out);
        for (int i = 0; code == 0 && threads > 1 && i < j->n_out; i++)
            if (memcmp(j->first[i], j->out[i], j->bytes_out[i]) != 0)
                code = fail("hone_run", "other bits on more threads");
        if (code != 0)
            return code;
    }
    for (int i = 0; i < j->n_out; i++)
        if (j->bytes_out[i] && fwrite(j->first[i], j->bytes_out[i], 1, stdout) != 1)
            return fail("stdout", "cannot be written");
    return 0;
}

int main(int argc, char **argv) {
    static Job j;
    void *lib = argc < 5 ? NULL : dlopen(argv[1], RTLD_NOW);
    j.desc = lib ? dlsym(lib, argv[2]) : NULL;
    if (!j.desc)
        return fail(argv[0], argc < 5 ? "too few arguments" : dlerror());
    j.N = atoll(argv[3]);
    j.own = atoi(argv[4]);
    int i = 5;
    for (; i < argc && *argv[i] != ':'; i++, j.n_in++) {
        size_t bytes = j.bytes_in[j.n_in] = strtoull(argv[i], NULL, 10);
        j.in[j.n_in] = place(bytes, 1);
        if (bytes && fread(j.in[j.n_in], bytes, 1, stdin) != 1)
            return fail("stdin", "ends early");
    }
    for (i++; i < argc; i++, j.n_out++) {
        size_t bytes = j.bytes_out[j.n_out] = strtoull(argv[i], NULL, 10);
        j.first[j.n_out] = place(bytes, 1);
        j.out[j.n_out] = place(bytes, 1);
    }
    return run_all(&j);
}
