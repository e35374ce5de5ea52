// The steps of a graph as tables, HoneSteps of runtime/core/abi.def: a program's calls are data
// that the runtime walks, so that what compiling costs is linear in their number, and their rows
// hold no address that the loader would have to relocate.
#include "codegen/program/program.h"

static const int place_at[] = {[IR_PLACE_CONST] = HONE_AT_WEIGHTS,
                               [IR_PLACE_ARENA] = HONE_AT_ARENA,
                               [IR_PLACE_INPUT] = HONE_AT_INPUT,
                               [IR_PLACE_OUTPUT] = HONE_AT_OUTPUT};

HonePlace cg_place(const IrPlace *place, IrDim behind) {
    return (HonePlace){.offset = {place->offset.c + behind.c, place->offset.n + behind.n},
                       .at = place_at[place->kind],
                       .index = place->kind == IR_PLACE_ARENA ? 0 : place->index};
}

static HonePlace arg_place(CgProgram *p, const CgArg *arg) {
    const IrPlace *place = arg->value ? &arg->value->place : NULL;
    if (!place && arg->prepared)
        return (HonePlace){.offset = {arg->weights + arg->at.c, arg->at.n}, .at = HONE_AT_PREPARED};
    if (!place || place->kind == IR_PLACE_CONST) {
        int64_t offset = cg_weights_place(&p->weights, cg_arg_weights(p, arg));
        return (HonePlace){.offset = {offset + arg->at.c, arg->at.n}, .at = HONE_AT_WEIGHTS};
    }
    if (place->kind == IR_PLACE_NONE)
        ir_bug("codegen", arg->value->name, "a value without a place");
    return cg_place(place, arg->at);
}

HoneSteps cg_steps(CgProgram *p, const CgCall *calls, int n) {
    int n_args = 0, at = 0;
    for (int i = 0; i < n; i++)
        n_args += calls[i].n_args;
    HoneStep *step = ir_alloc_array(p->arena, (size_t)n + 1, sizeof *step);
    HonePlace *args = ir_alloc_array(p->arena, (size_t)n_args + 1, sizeof *args);
    for (int i = 0; i < n; i++) {
        const CgCall *c = &calls[i];
        step[i] = (HoneStep){c->kernel, at, c->n_args, c->barrier};
        for (int k = 0; k < c->n_args; k++)
            args[at++] = arg_place(p, &c->args[k]);
    }
    return (HoneSteps){n, n_args, step, args};
}
