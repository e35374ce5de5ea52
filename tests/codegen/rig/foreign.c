// See foreign.h.
#define _GNU_SOURCE
#include "tests/codegen/rig/foreign.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GNU "aarch64-linux-gnu"

// qemu's CPU with what the one of that name has; "max" has all.
static const struct {
    const char *mcpu, *qemu;
} emulated[] = {{"aarch64", "cortex-a53"},
                {"cortex-a76", "cortex-a76"},
                {"neoverse-n1", "neoverse-n1"},
                {"neoverse-v1", "max"}};

static const char *qemu_cpu(const char *mcpu) {
    for (size_t i = 0; i < sizeof emulated / sizeof *emulated; i++)
        if (strcmp(mcpu, emulated[i].mcpu) == 0)
            return emulated[i].qemu;
    return "max";
}

static bool has_program(const char *name) {
    char cmd[128];
    snprintf(cmd, sizeof cmd, "command -v %s >/dev/null", name);
    return system(cmd) == 0;
}

// The program that runs the code lies beside the tests.
static const char *runner(char path[PATH_MAX]) {
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 32);
    path[n < 0 ? 0 : n] = 0;
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, "foreign_aarch64");
    return path;
}

const char *foreign_missing(void) {
    char path[PATH_MAX];
    return access(runner(path), X_OK) != 0 ? "a runtime for aarch64"
           : !has_program(GNU "-gcc")      ? GNU "-gcc"
           : !has_program("qemu-aarch64")  ? "qemu-aarch64"
                                           : NULL;
}

static size_t tensor_bytes(const IrTensor *t) {
    return (size_t)ir_tensor_elems(t) * (size_t)ir_dtype_bytes(t->dtype);
}

static bool move_tensors(FILE *f, int n, const IrTensor *t, bool write) {
    bool ok = f != NULL;
    for (int i = 0; ok && i < n; i++) {
        size_t bytes = tensor_bytes(&t[i]);
        ok = bytes == 0 || (write ? fwrite(t[i].data, bytes, 1, f) : fread(t[i].data, bytes, 1, f));
    }
    return f && fclose(f) == 0 && ok;
}

// Once for all runs: the file stays.
static bool link_library(const Foreign *f, const char *so, IrArena *a) {
    if (access(so, R_OK) == 0)
        return true;
    char *line = ir_sprintf(a, GNU "-gcc -shared -o %s", so);
    for (int i = 0; i < f->cg->n_files; i++)
        line = ir_sprintf(a, "%s %s", line, f->cg->files[i]);
    return system(ir_sprintf(a, "%s -lm", line)) == 0;
}

ForeignEnd foreign_run(const Foreign *f, int64_t N, const IrTensor *in, const IrTensor *out,
                       IrArena *a) {
    char path[PATH_MAX];
    const char *so = ir_sprintf(a, "%s/foreign.so", f->dir);
    const char *from = ir_sprintf(a, "%s/in", f->dir), *to = ir_sprintf(a, "%s/out", f->dir);
    char *line = ir_sprintf(
        a, "OMP_WAIT_POLICY=passive qemu-aarch64 -L /usr/" GNU " -cpu %s %s %s %s_desc %lld %d",
        qemu_cpu(f->mcpu), runner(path), so, f->symbol, (long long)N, f->own);
    for (int i = 0; i < f->n_in + f->n_out; i++) {
        const IrTensor *t = i < f->n_in ? &in[i] : &out[i - f->n_in];
        line = ir_sprintf(a, "%s %s%zu", line, i == f->n_in ? ": " : "", tensor_bytes(t));
    }
    if (!link_library(f, so, a) || !move_tensors(fopen(from, "wb"), f->n_in, in, true))
        return FOREIGN_FAILED;
    int status = system(ir_sprintf(a, "%s <%s >%s", line, from, to));
    if (status == 0 && move_tensors(fopen(to, "rb"), f->n_out, out, false))
        return FOREIGN_RAN;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        return FOREIGN_ENDED;
    fprintf(stderr, "%s: the program for it ended with %d\n", f->mcpu, status);
    return FOREIGN_FAILED;
}
