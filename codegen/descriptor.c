// SYMBOL_desc: the constant HoneModelDesc of rt_abi.h. Fields are written in the order of the C
// structures; the element types make LLVM's natural struct layout equal to C's, which emit.c
// asserts by size.
#include "codegen/program.h"

#include <string.h>

typedef struct Desc {
    CgProgram *p;
    LLVMModuleRef m;
    LLVMContextRef c;
    LLVMTypeRef i8, i32, i64, f32, ptr;
} Desc;

static LLVMValueRef const_i32(Desc *d, int64_t x) {
    return LLVMConstInt(d->i32, (uint64_t)x, 1);
}
static LLVMValueRef const_i64(Desc *d, int64_t x) {
    return LLVMConstInt(d->i64, (uint64_t)x, 1);
}

// A private constant in this module; NULL pointer when there is nothing in it.
static LLVMValueRef private_data(Desc *d, LLVMValueRef init) {
    LLVMValueRef g = LLVMAddGlobal(d->m, LLVMTypeOf(init), "");
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    return g;
}

static LLVMValueRef const_str(Desc *d, const char *s) {
    if (!s)
        return LLVMConstNull(d->ptr);
    LLVMValueRef g = private_data(d, LLVMConstStringInContext(d->c, s, (unsigned)strlen(s), 0));
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    return g;
}

static LLVMValueRef const_struct(Desc *d, int n, LLVMValueRef *v) {
    return LLVMConstStructInContext(d->c, v, (unsigned)n, 0);
}

static LLVMValueRef const_table(Desc *d, LLVMTypeRef t, int n, LLVMValueRef *v) {
    return n ? private_data(d, LLVMConstArray2(t, v, (uint64_t)n)) : LLVMConstNull(d->ptr);
}

static LLVMValueRef const_dim(Desc *d, IrDim x) {
    LLVMValueRef v[] = {const_i64(d, x.c), const_i64(d, x.n)};
    return const_struct(d, 2, v);
}

static LLVMValueRef tensor_desc(Desc *d, const IrValue *v) {
    LLVMValueRef dim[HONE_MAX_RANK];
    for (int i = 0; i < HONE_MAX_RANK; i++)
        dim[i] = const_dim(d, i < v->type.shape.rank ? v->type.shape.dim[i] : ir_dim(0));
    LLVMValueRef f[] = {const_str(d, v->name), const_i32(d, v->type.dtype),
                        const_i32(d, v->type.shape.rank),
                        LLVMConstArray2(LLVMTypeOf(dim[0]), dim, HONE_MAX_RANK)};
    return const_struct(d, 4, f);
}

static LLVMValueRef tensor_table(Desc *d, IrValue **v, int n) {
    LLVMValueRef *t = ir_alloc_array(d->p->arena, (size_t)n + 1, sizeof *t);
    for (int i = 0; i < n; i++)
        t[i] = tensor_desc(d, v[i]);
    return const_table(d, n ? LLVMTypeOf(t[0]) : d->ptr, n, t);
}

static LLVMValueRef node_table(Desc *d) {
    const CgProgram *p = d->p;
    LLVMValueRef *t = ir_alloc_array(p->arena, (size_t)p->n_calls + 1, sizeof *t);
    for (int i = 0; i < p->n_calls; i++) {
        const CgCall *c = &p->calls[i];
        LLVMValueRef f[] = {const_str(d, c->node->name),
                            const_str(d, ir_op_info(c->node->op)->text), const_str(d, c->algo),
                            const_dim(d, c->flops), const_dim(d, c->bytes)};
        t[i] = const_struct(d, 5, f);
    }
    return const_table(d, p->n_calls ? LLVMTypeOf(t[0]) : d->ptr, p->n_calls, t);
}

static LLVMValueRef label_table(Desc *d) {
    int n = d->p->opt->labels ? d->p->opt->n_labels : 0;
    LLVMValueRef *t = ir_alloc_array(d->p->arena, (size_t)n + 1, sizeof *t);
    for (int i = 0; i < n; i++)
        t[i] = const_str(d, d->p->opt->labels[i]);
    return const_table(d, d->ptr, n, t);
}

static LLVMValueRef preprocess(Desc *d, const HonePreprocess *x) {
    LLVMValueRef mean[4], std[4];
    for (int i = 0; i < 4; i++) {
        mean[i] = LLVMConstReal(d->f32, x->mean[i]);
        std[i] = LLVMConstReal(d->f32, x->std[i]);
    }
    LLVMValueRef f[] = {const_i32(d, x->channels),       const_i32(d, x->bgr),
                        const_i32(d, x->nhwc),           const_i32(d, x->height),
                        const_i32(d, x->width),          const_i32(d, x->resize),
                        LLVMConstReal(d->f32, x->scale), LLVMConstArray2(d->f32, mean, 4),
                        LLVMConstArray2(d->f32, std, 4)};
    return const_struct(d, 9, f);
}

static LLVMValueRef needs_table(Desc *d) {
    const uint32_t *needs = d->p->opt->target->needs;
    LLVMValueRef t[16];
    int n = 0;
    for (; n < 15 && needs[n]; n++)
        t[n] = const_i32(d, needs[n]);
    t[n++] = const_i32(d, 0);
    return const_table(d, d->i32, n, t);
}

static bool batch_is_symbolic(const IrGraph *g) {
    for (int i = 0; i < g->n_inputs; i++)
        if (!ir_shape_is_static(&g->inputs[i]->type.shape))
            return true;
    return false;
}

static LLVMValueRef extern_symbol(Desc *d, const char *suffix) {
    const char *name = ir_sprintf(d->p->arena, "%s_%s", d->p->opt->symbol, suffix);
    LLVMValueRef g = LLVMGetNamedFunction(d->m, name);
    if (!g) {
        g = LLVMAddGlobal(d->m, d->i8, name);
        LLVMSetVisibility(g, LLVMHiddenVisibility);
    }
    return g;
}

void cg_emit_descriptor(CgProgram *p, LLVMModuleRef m) {
    LLVMContextRef c = LLVMGetModuleContext(m);
    Desc d = {p,
              m,
              c,
              LLVMInt8TypeInContext(c),
              LLVMInt32TypeInContext(c),
              LLVMInt64TypeInContext(c),
              LLVMFloatTypeInContext(c),
              LLVMPointerTypeInContext(c, 0)};
    const CgOptions *o = p->opt;
    const IrGraph *g = p->graph;
    IrDim arena = {g->arena_bytes.c + 64, g->arena_bytes.n}; // vectors may read past the end
    LLVMValueRef f[] = {const_i32(&d, HONE_ABI),
                        const_str(&d, g->prog->name),
                        const_str(&d, o->producer),
                        const_str(&d, o->target->cpu),
                        const_str(&d, o->target->features),
                        const_str(&d, o->model_hash),
                        const_i32(&d, g->n_inputs),
                        const_i32(&d, g->n_outputs),
                        const_i32(&d, p->n_calls),
                        const_i32(&d, o->labels ? o->n_labels : 0),
                        tensor_table(&d, g->inputs, g->n_inputs),
                        tensor_table(&d, g->outputs, g->n_outputs),
                        node_table(&d),
                        label_table(&d),
                        preprocess(&d, &o->preprocess),
                        const_i32(&d, o->softmax),
                        const_i32(&d, batch_is_symbolic(g)),
                        const_dim(&d, arena),
                        const_i64(&d, p->scratch_bytes),
                        const_i64(&d, p->weights.bytes),
                        extern_symbol(&d, "weights"),
                        extern_symbol(&d, "entry"),
                        needs_table(&d)};
    LLVMValueRef init = const_struct(&d, (int)(sizeof f / sizeof *f), f);
    LLVMValueRef desc =
        LLVMAddGlobal(m, LLVMTypeOf(init), ir_sprintf(p->arena, "%s_desc", o->symbol));
    LLVMSetInitializer(desc, init);
    LLVMSetGlobalConstant(desc, 1);
    LLVMSetAlignment(desc, 16);
}
