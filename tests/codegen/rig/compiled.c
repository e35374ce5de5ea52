// See compiled.h.
#define _GNU_SOURCE
#include "tests/codegen/rig/compiled.h"

#include "passes/passes.h"
#include "runtime/core/rt.h"
#include "tests/codegen/rig/jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Run {
    IrArena *arena;
    const HoneModelDesc *desc;
    int64_t N;
    const void **src;
    char *why;
    size_t why_size;
    int own; // outputs of the model: behind them come counts and checks
} Run;

static bool compile(IrGraph *g, const CgTarget *target, int opt_level, const char *dir,
                    CgResult *cg) {
    PassOptions po = {.opt_level = opt_level,
                      .block = target->lanes,
                      .machine = &target->machine,
                      .bf16_tiles = ir_has_tiles_of_bf16(&target->machine),
                      .winograd = opt_level > 0,
                      .threads = 2,
                      .verify = true,
                      .out = stdout};
    CgOptions co = {.target = target,
                    .opt_level = opt_level,
                    .jobs = 1,
                    .symbol = "test",
                    .model_hash = "",
                    .producer = "test"};
    passes_run(g->prog, g, &po, PASS_INFER);
    return cg_compile(g, &co, dir, cg);
}

static void remove_files(const CgResult *cg, const char *dir) {
    for (int i = 0; i < cg->n_files; i++) {
        unlink(cg->files[i]);
    }
    if (cg->weights_file) {
        unlink(cg->weights_file);
    }
    rmdir(dir);
}

static bool run_on(const Run *r, int threads, void **dst) {
    HoneOptions opt = {.threads = threads};
    HoneModel *m = hone_create(r->desc, &opt, r->why, r->why_size);
    if (!m) {
        return false;
    }
    size_t bytes = hone_workspace_bytes(m, r->N);
    void *ws = ir_alloc(r->arena, bytes > 64 ? bytes : 64);
    memset(ws, 0xff, bytes);
    bool ok = hone_set_workspace(m, ws, bytes) == 0 && hone_run(m, r->N, r->src, dst) == 0;
    if (!ok) {
        snprintf(r->why, r->why_size, "run: %s", hone_error(m));
    }
    for (int i = 0; ok && i < r->desc->n_counts; i++) {
        *(int64_t *)dst[r->own + i] = rt_model_counts(m)[i];
    }
    hone_destroy(m);
    return ok;
}

static size_t tensor_bytes(const IrTensor *t) {
    return (size_t)ir_tensor_elems(t) * (size_t)ir_dtype_bytes(t->dtype);
}

// What a run leaves unwritten differs between the two.
static bool run_twice(const Run *r, const IrGraph *g, IrTensor *out) {
    size_t n = (size_t)g->n_outputs + 1;
    void **dst = ir_alloc_array(r->arena, n, sizeof *dst);
    void **again = ir_alloc_array(r->arena, n, sizeof *again);
    for (int i = 0; i < g->n_outputs; i++) {
        out[i] = ir_tensor_new(r->arena, &g->outputs[i]->type, r->N);
        IrTensor other = ir_tensor_new(r->arena, &g->outputs[i]->type, r->N);
        dst[i] = memset(out[i].data, 0xff, tensor_bytes(&out[i]));
        again[i] = memset(other.data, 0x55, tensor_bytes(&out[i]));
    }
    if (!run_on(r, 1, dst) || !run_on(r, 2, again)) {
        return false;
    }
    for (int i = 0; i < g->n_outputs; i++) {
        if (memcmp(dst[i], again[i], tensor_bytes(&out[i])) != 0) {
            snprintf(r->why, r->why_size, "output %d: two threads do not agree with one", i);
            return false;
        }
    }
    return true;
}

Compiled compiled_run(IrGraph *g, const CgTarget *target, int opt_level, int64_t N,
                      const IrTensor *in, IrTensor *out, char *why, size_t why_size) {
    char dir[] = "/tmp/hone-test-XXXXXX";
    CgResult cg = {0};
    Run r = {.arena = g->prog->arena, .N = N, .why = why, .why_size = why_size};
    if (!mkdtemp(dir)) {
        snprintf(why, why_size, "cannot make %s", dir);
        return COMPILED_FAILED;
    }
    bool compiled = compile(g, target, opt_level, dir, &cg);
    Jit *jit = compiled ? jit_load(&cg, "test", why, why_size) : NULL;
    remove_files(&cg, dir);
    if (!compiled) {
        return COMPILED_REFUSED;
    }
    if (!jit) {
        return COMPILED_FAILED;
    }
    r.desc = jit_desc(jit);
    r.own = ir_own_outputs(g);
    r.src = ir_alloc_array(r.arena, (size_t)g->n_inputs + 1, sizeof *r.src);
    for (int i = 0; i < g->n_inputs; i++) {
        r.src[i] = in[i].data;
    }
    bool ran = run_twice(&r, g, out);
    jit_free(jit);
    return ran ? COMPILED_RAN : COMPILED_FAILED;
}
