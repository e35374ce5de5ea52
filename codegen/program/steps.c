// The steps of a graph as constant tables, HoneSteps of core/abi.h: a program's calls are data that
// the runtime walks, so that what compiling costs is linear in their number, and their rows hold no
// address that the loader would have to relocate.
#include "codegen/program/desc.h"

static const int place_at[] = {[IR_PLACE_CONST] = HONE_AT_WEIGHTS,
                               [IR_PLACE_ARENA] = HONE_AT_ARENA,
                               [IR_PLACE_INPUT] = HONE_AT_INPUT,
                               [IR_PLACE_OUTPUT] = HONE_AT_OUTPUT};

static HonePlace arg_place(CgProgram *p, const CgArg *arg) {
    const IrPlace *place = arg->value ? &arg->value->place : NULL;
    if (!place || place->kind == IR_PLACE_CONST)
        return (HonePlace){.offset = {cg_arg_weights(p, arg) + arg->at.c, arg->at.n},
                           .at = arg->prepared ? HONE_AT_PREPARED : HONE_AT_WEIGHTS};
    if (place->kind == IR_PLACE_NONE)
        ir_bug("codegen", arg->value->name, "a value without a place");
    return (HonePlace){.offset = {place->offset.c + arg->at.c, place->offset.n + arg->at.n},
                       .at = place_at[place->kind],
                       .index = place->kind == IR_PLACE_ARENA ? 0 : place->index};
}

LLVMValueRef cg_const_place(Desc *d, HonePlace p) {
    LLVMValueRef f[] = {const_dim(d, (IrDim){p.offset.c, p.offset.n}), const_i32(d, p.at),
                        const_i32(d, p.index)};
    return const_struct(d, 3, f);
}

LLVMValueRef cg_const_steps(Desc *d, const CgCall *calls, int n) {
    int n_args = 0, at = 0;
    for (int i = 0; i < n; i++)
        n_args += calls[i].n_args;
    LLVMValueRef *step = ir_alloc_array(d->p->arena, (size_t)n + 1, sizeof *step);
    LLVMValueRef *args = ir_alloc_array(d->p->arena, (size_t)n_args + 1, sizeof *args);
    for (int i = 0; i < n; i++) {
        const CgCall *c = &calls[i];
        LLVMValueRef f[] = {const_i32(d, c->kernel), const_i32(d, at), const_i32(d, c->n_args),
                            const_i32(d, c->barrier)};
        step[i] = const_struct(d, 4, f);
        for (int k = 0; k < c->n_args; k++)
            args[at++] = cg_const_place(d, arg_place(d->p, &c->args[k]));
    }
    LLVMValueRef f[] = {const_i32(d, n), const_table(d, n ? LLVMTypeOf(step[0]) : d->ptr, n, step),
                        const_table(d, at ? LLVMTypeOf(args[0]) : d->ptr, at, args)};
    return const_struct(d, 3, f);
}

LLVMValueRef cg_const_kernels(Desc *d) {
    const CgProgram *p = d->p;
    LLVMValueRef *k = ir_alloc_array(p->arena, (size_t)p->n_kernels + 1, sizeof *k);
    for (int i = 0; i < p->n_kernels; i++)
        k[i] = extern_symbol(d, p->kernels[i].symbol, "step");
    return const_table(d, d->ptr, p->n_kernels, k);
}
