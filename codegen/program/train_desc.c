// hone_train_desc: the constant HoneTrainDesc of runtime/train/abi.h with its tables, over the
// descriptors of the program's graphs. Fields are written in the order of the C structures.
#include "codegen/program/desc.h"

static LLVMValueRef const_f32(Desc *d, double x) {
    return LLVMConstReal(d->f32, x);
}

static LLVMValueRef weights_at(Desc *d, int64_t offset) {
    LLVMValueRef at = const_i64(d, offset);
    return LLVMConstInBoundsGEP2(d->i8, extern_symbol(d, d->p->opt->symbol, "weights"), &at, 1);
}

static LLVMValueRef bind_table(Desc *d, const HoneBind *binds, int n) {
    LLVMValueRef *t = ir_alloc_array(d->p->arena, (size_t)n + 1, sizeof *t);
    for (int i = 0; i < n; i++) {
        LLVMValueRef f[] = {const_i32(d, binds[i].kind), const_i32(d, binds[i].index)};
        t[i] = const_struct(d, 2, f);
    }
    return const_table(d, n ? LLVMTypeOf(t[0]) : d->ptr, n, t);
}

static LLVMValueRef train_graph(Desc *d, const CgTrainGraph *g) {
    LLVMValueRef none = LLVMConstNull(d->ptr), f[] = {none, none, none};
    if (g->graph >= 0) {
        const CgCode *code = &d->p->codes[g->graph];
        f[0] = extern_symbol(d, code->symbol, "desc");
        f[1] = bind_table(d, g->in, code->graph->n_inputs);
        f[2] = bind_table(d, g->out, code->graph->n_outputs);
    }
    return const_struct(d, 3, f);
}

static LLVMValueRef param(Desc *d, const HoneParam *x, int64_t initial_at) {
    LLVMValueRef dim[HONE_MAX_RANK];
    for (int i = 0; i < HONE_MAX_RANK; i++)
        dim[i] = const_i64(d, x->dim[i]);
    LLVMValueRef f[] = {const_str(d, x->name),
                        const_str(d, x->node),
                        const_i32(d, x->rank),
                        const_i32(d, x->group),
                        LLVMConstArray2(d->i64, dim, HONE_MAX_RANK),
                        const_i64(d, x->offset),
                        const_i64(d, x->count),
                        weights_at(d, d->p->onnx_at + initial_at),
                        const_i32(d, x->trains),
                        const_i32(d, x->fresh)};
    return const_struct(d, 10, f);
}

static LLVMValueRef group(Desc *d, const HoneParamGroup *x) {
    LLVMValueRef f[] = {const_i64(d, x->offset), const_i64(d, x->count), const_f32(d, x->lr_mult),
                        const_i32(d, x->decays), const_i32(d, x->trains)};
    return const_struct(d, 5, f);
}

static LLVMValueRef stage(Desc *d, const CgTrainStage *x) {
    LLVMValueRef f[] = {const_str(d, x->spec),      const_i32(d, x->epochs),
                        const_f32(d, x->lr),        train_graph(d, &x->features),
                        train_graph(d, &x->train),  train_graph(d, &x->eval),
                        const_i64(d, x->n_trained), const_i64(d, x->n_frozen)};
    return const_struct(d, 8, f);
}

static LLVMValueRef plan_row(Desc *d, const HonePlanRow *x) {
    LLVMValueRef f[] = {const_str(d, x->node), const_str(d, x->op), const_str(d, x->params),
                        const_i64(d, x->count), const_i32(d, x->trains)};
    return const_struct(d, 5, f);
}

// An array of n structures; row(i) writes number i.
#define TABLE(n, row)                                                                              \
    ({                                                                                             \
        LLVMValueRef *rows = ir_alloc_array(d->p->arena, (size_t)(n) + 1, sizeof *rows);           \
        for (int i = 0; i < (n); i++)                                                              \
            rows[i] = row;                                                                         \
        const_table(d, (n) ? LLVMTypeOf(rows[0]) : d->ptr, n, rows);                               \
    })

static LLVMValueRef opt_graphs(Desc *d, const CgTrainGraph *g) {
    LLVMValueRef f[HONE_OPT_COUNT];
    for (int i = 0; i < HONE_OPT_COUNT; i++)
        f[i] = train_graph(d, &g[i]);
    return LLVMConstArray2(LLVMTypeOf(f[0]), f, HONE_OPT_COUNT);
}

void cg_emit_train(CgProgram *p, LLVMModuleRef m) {
    Desc desc = desc_init(p, NULL, m), *d = &desc;
    const CgTrain *t = p->train;
    LLVMValueRef f[] = {const_i32(d, HONE_ABI),
                        const_i32(d, t->loss),
                        const_i32(d, t->binary),
                        const_i32(d, t->classes),
                        const_i32(d, t->n_params),
                        const_i32(d, t->n_groups),
                        const_i32(d, t->n_stages),
                        const_i32(d, t->n_plan),
                        const_i64(d, t->param_floats),
                        TABLE(t->n_params, param(d, &t->params[i], t->initial_at[i])),
                        TABLE(t->n_groups, group(d, &t->groups[i])),
                        TABLE(t->n_stages, stage(d, &t->stages[i])),
                        TABLE(t->n_plan, plan_row(d, &t->plan[i])),
                        opt_graphs(d, t->opt),
                        train_graph(d, &t->sqsum),
                        weights_at(d, p->onnx_at),
                        const_i64(d, t->onnx_bytes),
                        extern_symbol(d, p->codes[t->info].symbol, "desc")};
    LLVMValueRef init = const_struct(d, (int)(sizeof f / sizeof *f), f);
    LLVMValueRef g = LLVMAddGlobal(m, LLVMTypeOf(init), "hone_train_desc");
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetAlignment(g, 16);
}
