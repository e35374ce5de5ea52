// Whether two graphs compute the same: a walk from their outputs over pairs of values, by the stack
// that it needs on the heap. The order of nodes, all names, and the shapes that elements went
// through on their way from one op to the next may differ.
#include "frontend/batch/open.h"

#include <string.h>

typedef struct Pair {
    const IrValue *a, *b;
} Pair;

typedef struct Walk {
    IrArena *arena;
    const IrGraph *a, *b;
    const IrValue **match; // by id of a value of a
    Pair *todo;
    int n, cap;
} Walk;

static bool same_const(const Walk *w, IrConst *a, IrConst *b) {
    if (!ir_type_eq(&a->type, &b->type) || a->kind != b->kind) {
        return false;
    }
    if (a->kind == IR_CONST_SPLAT) {
        return memcmp(&a->splat, &b->splat, sizeof a->splat) == 0;
    }
    const void *x = ir_const_data(w->a->prog, a), *y = ir_const_data(w->b->prog, b);
    IrDim bytes;
    return x == y || (ir_type_bytes(&a->type, &bytes) && memcmp(x, y, (size_t)bytes.c) == 0);
}

static int result_of(const IrValue *v) {
    int i = 0;
    while (v->def->out[i] != v) {
        i++;
    }
    return i;
}

static const IrValue *before_reshapes(const IrValue *v) {
    while (v->def && v->def->op == IR_OP_RESHAPE) {
        v = ir_in(v->def, 0);
    }
    return v;
}

// What can be said of two values by themselves; their operands are left to do.
static bool same_value(Walk *w, const IrValue *a, const IrValue *b) {
    if (!ir_type_eq(&a->type, &b->type) || a->input != b->input || !a->konst != !b->konst ||
        !a->def != !b->def) {
        return false;
    }
    if (a->konst) {
        return same_const(w, a->konst, b->konst);
    }
    const IrNode *x = a->def, *y = b->def;
    if (!x) {
        return true;
    }
    bool same = x->op == y->op && x->n_in == y->n_in && x->n_attrs == y->n_attrs &&
                result_of(a) == result_of(b);
    for (int i = 0; i < x->n_attrs && same; i++) {
        same = ir_attr_eq(&x->attrs[i], &y->attrs[i]);
    }
    for (int i = 0; i < x->n_in && same; i++) {
        Pair p = {ir_in(x, i), ir_in(y, i)};
        same = !p.a == !p.b;
        if (same && p.a) {
            IR_PUSH(w->arena, w->todo, w->n, w->cap, p);
        }
    }
    return same;
}

bool fe_batch_same(const IrGraph *a, const IrGraph *b) {
    IrArena *arena = a->prog->arena;
    Walk w = {.arena = arena, .a = a, .b = b};
    w.match = ir_alloc_array(arena, (size_t)a->next_id + 1, sizeof *w.match);
    bool same = a->n_outputs == b->n_outputs && a->n_inputs == b->n_inputs;
    for (int i = 0; i < a->n_inputs && same; i++) {
        same = ir_type_eq(&a->inputs[i]->type, &b->inputs[i]->type);
    }
    for (int i = 0; i < a->n_outputs && same; i++) {
        Pair p = {a->outputs[i], b->outputs[i]};
        IR_PUSH(arena, w.todo, w.n, w.cap, p);
    }
    while (w.n > 0 && same) {
        Pair p = w.todo[--w.n];
        same = ir_type_eq(&p.a->type, &p.b->type);
        p = (Pair){before_reshapes(p.a), before_reshapes(p.b)}; // whatever shapes were between
        const IrValue **match = &w.match[p.a->id];
        same = same && (*match ? *match == p.b : same_value(&w, p.a, p.b));
        *match = p.b;
    }
    return same;
}
