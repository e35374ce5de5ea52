// Is the trained model, read again from what export writes, the network that trains? Every node of
// the one is matched with one of the other, from the output up, so that whatever goes wrong while a
// file is rewritten (a name that two nodes share, a number that only looked like the classes) ends
// in an error and never in a model that computes something else.
//
//   infer   %l = matmul %f, %fc.weight      again   %z = matmul %g, %fc.weight      the same
#include "passes/train/program.h"
#include "passes/util.h"

#include <string.h>

typedef struct Pair {
    const IrValue *a, *b;
} Pair;

typedef struct Match {
    IrArena *scratch;
    const IrTrainProgram *t;
    IrProgram *pa, *pb;
    const IrValue **other; // by the id of a value of `infer`: its equal
    int n, cap;
    Pair *todo;
} Match;

static bool is_trained(const Match *m, const IrConst *c) {
    for (int i = 0; i < m->t->n_params; i++)
        if (m->t->params[i].konst == c)
            return true;
    return false;
}

// A new classifier's numbers are rounded to the type of the file, and frozen ones are as they were.
static bool equal_consts(const Match *m, IrConst *a, IrConst *b) {
    if (is_trained(m, a))
        return true;
    size_t bytes = (size_t)pass_elems(&a->type) * (size_t)ir_dtype_bytes(a->type.dtype);
    const void *x = ir_const_data(m->pa, a), *y = ir_const_data(m->pb, b);
    return x == y || memcmp(x, y, bytes) == 0;
}

static bool equal_nodes(const IrNode *a, const IrNode *b) {
    bool same =
        a->op == b->op && a->n_in == b->n_in && a->n_out == b->n_out && a->n_attrs == b->n_attrs;
    for (int i = 0; same && i < a->n_attrs; i++)
        same = ir_attr_eq(&a->attrs[i], &b->attrs[i]);
    return same;
}

static void push(Match *m, const IrValue *a, const IrValue *b) {
    Pair p = {a, b};
    IR_PUSH(m->scratch, m->todo, m->n, m->cap, p);
}

static bool match(Match *m, Pair p) {
    const IrValue *a = p.a, *b = p.b;
    if (!a || !b || !ir_type_eq(&a->type, &b->type) || !a->konst != !b->konst || !a->def != !b->def)
        return !a && !b;
    if (a->konst)
        return equal_consts(m, a->konst, b->konst);
    if (m->other[a->id])
        return m->other[a->id] == b;
    m->other[a->id] = b;
    if (!a->def)
        return a->input == b->input;
    int k = 0;
    while (a->def->out[k] != a)
        k++;
    if (!equal_nodes(a->def, b->def) || b->def->out[k] != b)
        return false;
    for (int i = 0; i < a->def->n_in; i++)
        push(m, ir_in(a->def, i), ir_in(b->def, i));
    return true;
}

static int find_output(const IrGraph *g, const char *name) { // -1: none
    int k = g->n_outputs - 1;
    while (k >= 0 && strcmp(g->outputs[k]->name, name) != 0)
        k--;
    return k;
}

const IrNode *pass_train_differs(const IrGraph *infer, const IrTrainProgram *t, IrGraph *again,
                                 const PassOptions *po, const PassTrainOptions *o) {
    IrArena *a = again->prog->arena;
    Match m = {.scratch = a,
               .t = t,
               .pa = infer->prog,
               .pb = again->prog,
               .other = ir_alloc_array(a, infer->next_id, sizeof *m.other)};
    int k = find_output(again, t->output);
    if (k < 0)
        return infer->outputs[0]->def;
    if (again->n_outputs > 1)
        again = ir_extract(again, "trained", 0, NULL, 1, &again->outputs[k]);
    passes_run(again->prog, again, po, PASS_HEAD);
    PassHeadOptions head = {.node = o->head};
    PassOptions named = *po;
    named.head = &head;
    passes_run_named(again->prog, again, &named, "replace_head");
    push(&m, infer->outputs[0], again->outputs[0]);
    while (m.n) {
        Pair p = m.todo[--m.n];
        if (!match(&m, p))
            return p.a && p.a->def ? p.a->def : infer->outputs[0]->def;
    }
    return NULL;
}
