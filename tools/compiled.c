// A model compiled in a temporary library and loaded into this process.
#include "tools/compiled.h"

#include "runtime/core/rt.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void close_library(void *lib) {
    dlclose(lib);
}
static void destroy_model(void *m) {
    hone_destroy(m);
}

static bool load(Tool *t, const char *so, const char *symbol, int threads, Compiled *out) {
    void *lib = dlopen(so, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        ir_error(&t->diag, IR_NOWHERE, "cannot load the compiled model: %s", dlerror());
        return false;
    }
    ir_arena_defer(t->arena, close_library, lib);
    unlink(so); // it is mapped
    const HoneModelDesc *desc = dlsym(lib, ir_sprintf(t->arena, "%s_desc", symbol));
    char err[256] = "no descriptor";
    HoneOptions opt = {.threads = threads};
    out->model = desc ? hone_create(desc, &opt, err, sizeof err) : NULL;
    if (!out->model) {
        ir_error(&t->diag, IR_NOWHERE, "cannot load the compiled model: %s", err);
        return false;
    }
    ir_arena_defer(t->arena, destroy_model, out->model);
    return true;
}

bool compiled_load(Tool *t, const ToolModel *m, IrGraph *g, int threads, const char *name,
                   Compiled *out) {
    CgResult cg;
    ToolProgress bar;
    if (!cg_target_is_host(&m->target)) {
        ir_error(&t->diag, IR_NOWHERE, "code for %s does not run on this machine", m->target.cpu);
        return false;
    }
    CgOptions o = {.target = &m->target,
                   .opt_level = m->opt_level,
                   .jobs = m->jobs,
                   .symbol = ir_sprintf(t->arena, "hone_%s", name),
                   .model_hash = "",
                   .producer = TOOL_PRODUCER,
                   .progress = tool_progress,
                   .progress_ctx = &bar};
    PassOptions po = tool_pass_options(m);
    po.threads = threads ? threads : rt_cpus_available();
    memset(out, 0, sizeof *out);
    out->graph = g;
    passes_run(g->prog, g, &po, PASS_INFER);
    tool_progress_start(&bar, "compiling");
    bool ok = cg_compile(g, &o, tool_temp_dir(t), &cg);
    tool_progress_end(&bar);
    const char *so = ir_sprintf(t->arena, "%s/%s.so", tool_temp_dir(t), name);
    ok = ok && tool_link_kernels(t, &cg, so) && load(t, so, o.symbol, threads, out);
    for (int i = 0; ok && i < cg.n_files; i++)
        unlink(cg.files[i]);
    return ok;
}

bool compiled_run(Tool *t, Compiled *c, int64_t N, const IrTensor *in, IrTensor *out, IrArena *a) {
    const IrGraph *g = c->graph;
    const void **src = ir_alloc_array(a, (size_t)g->n_inputs + 1, sizeof *src);
    void **dst = ir_alloc_array(a, (size_t)g->n_outputs + 1, sizeof *dst);
    for (int i = 0; i < g->n_inputs; i++)
        src[i] = in[i].data;
    for (int i = 0; i < g->n_outputs; i++) {
        out[i] = ir_tensor_new(a, &g->outputs[i]->type, N);
        dst[i] = out[i].data;
    }
    int own = ir_own_outputs(g);
    size_t bytes = hone_workspace_bytes(c->model, N);
    c->workspace = ir_alloc(a, bytes ? bytes : 64);
    if (hone_set_workspace(c->model, c->workspace, bytes) == 0 &&
        hone_run(c->model, N, src, dst) == 0) {
        for (int i = own; i < g->n_outputs; i++)
            *(int64_t *)out[i].data = rt_model_counts(c->model)[i - own];
        return true;
    }
    ir_error(&t->diag, IR_NOWHERE, "the compiled model failed: %s", hone_error(c->model));
    return false;
}

// Where element (n, c, s) of a blocked value lies: see CgTensor in codegen.
static void unblock(const IrValue *v, const IrValue *root, int64_t N, const char *base,
                    IrTensor *out) {
    int64_t B = v->type.block, C = v->type.shape.dim[1].c, S = 1;
    for (int i = 2; i < v->type.shape.rank; i++)
        S *= v->type.shape.dim[i].c;
    int64_t image = (root->type.shape.dim[1].c + B - 1) / B * B * S;
    int64_t images = ir_dim_at(v->type.shape.dim[0], N), bytes = ir_dtype_bytes(v->type.dtype);
    for (int64_t n = 0; n < images; n++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t s = 0; s < S; s++)
                memcpy((char *)out->data + ((n * C + c) * S + s) * bytes,
                       base + (n * image + (c / B * S + s) * B + c % B) * bytes, (size_t)bytes);
}

bool compiled_value(const Compiled *c, int64_t N, const IrValue *v, IrTensor *out, IrArena *a) {
    if (v->place.kind != IR_PLACE_ARENA)
        return false;
    const IrValue *root = v;
    while (root->view_of)
        root = root->view_of;
    const char *base = c->workspace + ir_dim_at(v->place.offset, N);
    *out = ir_tensor_new(a, &v->type, N);
    if (v->type.block)
        unblock(v, root->type.block ? root : v, N, base, out);
    else
        memcpy(out->data, base,
               (size_t)ir_tensor_elems(out) * (size_t)ir_dtype_bytes(v->type.dtype));
    return true;
}
