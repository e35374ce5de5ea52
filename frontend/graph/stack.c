// What the body of a Loop or Scan made for one output, trip by trip, as one tensor.
//
//   y[..., i, ...] = part[i]   ->   concat(unsqueeze(part[0]), unsqueeze(part[1]), ...)
#include "frontend/graph/graph.h"

// Part i with an axis of size 1; *axis, from the end where negative, becomes its number.
static IrValue *unsqueeze(FeNode *n, FeValue *part, int64_t *axis) {
    FeValue *in[] = {fe_follow(part)};
    FeNode one = fe_with_input(n, in);
    IrValue *x = fe_operand(&one, 0), *y = NULL;
    if (x && (fe_count(&one, 0).v || x->type.shape.rank == IR_MAX_RANK)) {
        fe_refuse(&one, "NYI: gathering '%s', whose size data decides", in[0]->name);
    }
    if (!one.refused) {
        *axis = fe_axis(&one, *axis, x->type.shape.rank + 1);
        IrShape s = {.rank = x->type.shape.rank + 1};
        for (int a = 0; a < s.rank && !one.refused; a++) {
            s.dim[a] = a == *axis ? ir_dim(1) : x->type.shape.dim[a - (a > *axis)];
        }
        y = fe_reshape(&one, x, &s);
    }
    n->refused = one.refused;
    return y;
}

void fe_stack(FeNode *n, int out, const FeParts *p, int64_t axis, bool backwards, IrValue *ran) {
    if (out >= n->n_out || !n->out[out] || !fe_used(n, out)) {
        return;
    }
    IrValue **part = ir_alloc_array(n->fe->arena, (size_t)p->n + 1, sizeof *part);
    for (int i = 0; i < p->n && !n->refused; i++) {
        part[i] = unsqueeze(n, p->v[backwards ? p->n - 1 - i : i], &axis);
    }
    if (p->n == 0) {
        fe_refuse(n, "NYI: output %d of a loop that never runs", out);
    }
    fe_out(n, out, fe_build(n, IR_OP_CONCAT, p->n, part, FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
    fe_out_count(n, out, (FeCount){ran, (int)axis});
}
