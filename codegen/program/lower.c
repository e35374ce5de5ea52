// Lowering: walks each graph once and has the table turn its nodes into calls; then says where the
// threads must meet. Above all lowerings, which call program.c: nothing below knows this file.
#include "codegen/program/program.h"

#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                     \
    void cg_lower_##lower(CgProgram *, const IrNode *);
#include "ir/ops.def"
#undef IR_OP

typedef void (*Lower)(CgProgram *, const IrNode *);
static const Lower lower_table[IR_OP_COUNT] = {
#define IR_OP(E, text, min_in, max_in, flags, attrs, shape, eval, grad, lower) cg_lower_##lower,
#include "ir/ops.def"
#undef IR_OP
};

// `none` in the lower column: an explicit "not there yet".
void cg_lower_none(CgProgram *p, const IrNode *n) {
    cg_nyi(p, n, "code for %s", ir_op_info(n->op)->text);
}

// ---------------------------------------------------------------- barriers

// Thread t may run ahead within a stretch of calls that touch none of each other's results.
// Stretches are short, so that the time this takes is linear in the calls.
enum { MAX_STRETCH = 64 };

static void place_barriers(CgCode *p) {
    int start = 0; // first call since the last barrier
    for (int i = 1; i < p->n_calls; i++) {
        CgCall *c = &p->calls[i];
        c->barrier = i - start == MAX_STRETCH;
        for (int j = start; j < i && !c->barrier; j++) {
            const CgCall *d = &p->calls[j];
            for (int x = 0; x < c->n_args && !c->barrier; x++)
                for (int y = 0; y < d->n_args && !c->barrier; y++)
                    c->barrier = (c->args[x].write || d->args[y].write) &&
                                 cg_args_overlap(c->args[x].value, d->args[y].value);
        }
        if (c->barrier)
            start = i;
    }
}

// ---------------------------------------------------------------- the walk

static bool is_empty(const IrNode *n) {
    for (int i = 0; i < n->n_out; i++) {
        IrDim bytes;
        if (!ir_type_bytes(&n->out[i]->type, &bytes) || !ir_dim_is(bytes, 0))
            return false;
    }
    return n->n_out > 0;
}

// Its result needs no code: it has no elements, the bytes are an operand's, or all operands wrote
// into it.
static bool is_free(const IrNode *n) {
    if (is_empty(n))
        return true;
    if (n->op == IR_OP_CONCAT && ir_int(n, IR_ATTR_IN_PLACE, 0))
        return true;
    for (int i = 0; i < n->n_in; i++)
        if (n->n_out == 1 && n->out[0]->view_of && n->out[0]->view_of == ir_in(n, i))
            return true;
    return false;
}

static void lower_all(CgProgram *p) {
    for (const IrNode *n = p->code->graph->first; n; n = n->next)
        if (!is_free(n)) {
            ir_work_on(n);
            lower_table[n->op](p, n);
        }
}

bool cg_lower_graphs(CgProgram *p) {
    for (int i = 0; i < p->n_codes; i++) {
        p->code = &p->codes[i];
        lower_all(p);
        place_barriers(p->code);
    }
    p->ir->diag->at = IR_NOWHERE;
    return !p->failed;
}
