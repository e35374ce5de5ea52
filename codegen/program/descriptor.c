// SYMBOL_desc: the constant HoneModelDesc of rt_abi.h. Fields are written in the order of the C
// structures; the element types make LLVM's natural struct layout equal to C's, which emit.c
// asserts by size.
#include "codegen/program/desc.h"

#include <string.h>

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

// The value that a call writes first, where a check can walk over it: f32 in one piece.
static const IrValue *first_result(const CgCall *c) {
    for (int i = 0; i < c->n_args; i++) {
        const IrValue *v = c->args[i].write ? c->args[i].value : NULL;
        bool places = v && (v->place.kind == IR_PLACE_ARENA || v->place.kind == IR_PLACE_OUTPUT);
        if (v)
            return places && !v->view_of && v->type.dtype == IR_F32 ? v : NULL;
    }
    return NULL;
}

static LLVMValueRef node_desc(Desc *d, const CgCall *c) {
    const IrValue *v = first_result(c);
    IrDim size = {0, 0};
    if (v && !ir_type_bytes(&v->type, &size))
        v = NULL;
    HonePlace place = {.at = HONE_AT_NOWHERE};
    if (v)
        place = (HonePlace){{v->place.offset.c, v->place.offset.n},
                            v->place.kind == IR_PLACE_ARENA ? HONE_AT_ARENA : HONE_AT_OUTPUT,
                            v->place.index};
    int block = v ? v->type.block : 0;
    LLVMValueRef f[] = {const_str(d, c->node->name),
                        const_str(d, ir_op_info(c->node->op)->text),
                        const_str(d, c->algo),
                        const_dim(d, c->flops),
                        const_dim(d, c->bytes),
                        cg_const_place(d, place),
                        const_dim(d, size),
                        const_i32(d, block),
                        const_i32(d, block ? v->type.shape.dim[1].c : 0)};
    return const_struct(d, (int)(sizeof f / sizeof *f), f);
}

static LLVMValueRef node_table(Desc *d) {
    const CgCode *code = d->code;
    LLVMValueRef *t = ir_alloc_array(d->p->arena, (size_t)code->n_calls + 1, sizeof *t);
    for (int i = 0; i < code->n_calls; i++)
        t[i] = node_desc(d, &code->calls[i]);
    return const_table(d, code->n_calls ? LLVMTypeOf(t[0]) : d->ptr, code->n_calls, t);
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

LLVMValueRef cg_emit_kernels(CgProgram *p, LLVMModuleRef m) {
    Desc d = desc_init(p, NULL, m);
    return cg_const_kernels(&d);
}

void cg_emit_descriptor(CgProgram *p, const CgCode *code, LLVMValueRef kernels, LLVMModuleRef m) {
    Desc d = desc_init(p, code, m);
    const CgOptions *o = p->opt;
    const IrGraph *g = code->graph;
    IrDim arena = {g->arena_bytes.c + 64, g->arena_bytes.n}; // vectors may read past the end
    LLVMValueRef f[] = {const_i32(&d, HONE_ABI),
                        const_str(&d, g->prog->name),
                        const_str(&d, o->producer),
                        const_str(&d, o->target->cpu),
                        const_str(&d, o->target->features),
                        const_str(&d, o->model_hash),
                        const_i32(&d, g->n_inputs),
                        const_i32(&d, g->n_outputs),
                        const_i32(&d, code->n_calls),
                        const_i32(&d, o->labels ? o->n_labels : 0),
                        tensor_table(&d, g->inputs, g->n_inputs),
                        tensor_table(&d, g->outputs, g->n_outputs),
                        node_table(&d),
                        label_table(&d),
                        preprocess(&d, &o->preprocess),
                        const_i32(&d, o->softmax),
                        const_i32(&d, batch_is_symbolic(g)),
                        const_dim(&d, arena),
                        const_i64(&d, code->scratch_bytes),
                        const_i64(&d, p->weights.bytes),
                        extern_symbol(&d, o->symbol, "weights"),
                        kernels,
                        cg_const_steps(&d, code->calls, code->n_calls),
                        needs_table(&d),
                        const_i64(&d, code->prepared_bytes),
                        cg_const_steps(&d, code->init, code->n_init)};
    LLVMValueRef init = const_struct(&d, (int)(sizeof f / sizeof *f), f);
    LLVMValueRef desc =
        LLVMAddGlobal(m, LLVMTypeOf(init), ir_sprintf(p->arena, "%s_desc", code->symbol));
    LLVMSetInitializer(desc, init);
    LLVMSetGlobalConstant(desc, 1);
    LLVMSetAlignment(desc, 16);
}
