// Loop: its body stands as often in the graph as it may run. Where its end is known, that is all
// there is to it; where data decides, each time the values that it carries are what the body made
// or, once it has ended, what they were:
//
//   x = body(x) while c   ->   x1 = where(c0, body(x0), x0), c1 = c0 and c(x1), ...
//
// What it gathers has the size that it ran. A program in which it would have to run more often than
// it stands there fails.
#include "frontend/graph/graph.h"

#include <string.h>

enum { MOST_TRIPS = 256 }; // of a loop whose end data decides, unless --max-detections says so

typedef struct Loop {
    const Onnx__GraphProto *body;
    int carried, gathered;  // values
    int64_t trip, most;     // that the body stands there, and may
    IrValue *limit;         // the trip count where data decides it, i64[]; NULL
    IrValue *runs;          // bool[]: whether it still runs; NULL: it does
    IrValue *ran;           // i64[]: how often it did; NULL: `trip` times
    bool done, cut;         // cut: it may have to run on
    FeValue *cond, **value; // [carried]
    FeParts *part;          // [gathered]
} Loop;

static IrValue *both(FeNode *n, IrValue *a, IrValue *b) {
    return a && b ? fe_bin(n, IR_OP_AND, a, b) : a ? a : b;
}

// Whether it goes on is a value's content, too: bool, known or not.
static void take_condition(FeNode *n, Loop *l, FeValue *v) {
    FeValue *in[] = {fe_follow(v)};
    FeNode one = fe_with_input(n, in);
    const IrTensor *t = in[0] ? fe_tensor(&one, 0) : NULL;
    IrDim elems = ir_dim(1);
    if (in[0] && in[0]->poisoned) {
        n->refused = true; // it is reported
        return;
    }
    if (t && ir_tensor_elems(t) == 1) {
        l->done = l->done || ir_tensor_get(t, 0) == 0;
    } else if (in[0]) {
        IrValue *c = fe_operand(&one, 0);
        if (c && (c->type.dtype != IR_BOOL || !ir_shape_elems(&c->type.shape, &elems) ||
                  !ir_dim_is(elems, 1))) {
            fe_refuse(&one, "its condition is not one bool");
        }
        l->runs = both(&one, l->runs, fe_reshape(&one, c, &(IrShape){0}));
        n->refused = one.refused;
    }
    l->cond = v;
}

// Of trip number l->trip: whether there is one.
static void take_limit(FeNode *n, Loop *l) {
    if (l->limit && fe_entry(n, l->limit, 0).lo <= l->trip) {
        l->runs = both(n, l->runs, fe_bin(n, IR_OP_LESS, fe_i64(n, l->trip), l->limit));
    }
    int64_t given = n->fe->opt->max_detections, room = given ? given : MOST_TRIPS;
    l->done = l->done || l->trip >= l->most;
    if (l->runs && !l->done && l->trip >= room) {
        l->done = l->cut = true;
    }
}

// ---------------------------------------------------------------- the end

static void fail_beyond(FeNode *n, const Loop *l) {
    if (!n->fe->opt->max_detections) {
        fe_refuse(n, "how often it runs, data decides without a bound: give --max-detections N");
        return;
    }
    IrValue *more = fe_i64(n, l->trip + 1);
    fe_check_most(n, fe_build(n, IR_OP_WHERE, FE_IN(l->runs, more, fe_const(n, more, 0)), 0, NULL),
                  l->trip);
}

static void finish(FeNode *n, Loop *l) {
    n->then = NULL;
    if (l->cut) {
        fail_beyond(n, l);
    }
    for (int i = 0; i < l->carried && i < n->n_out && !n->refused; i++) {
        if (n->out[i]) {
            n->out[i]->alias = l->value[i];
        }
    }
    for (int k = 0; k < l->gathered && !n->refused; k++) {
        fe_stack(n, l->carried + k, &l->part[k], 0, false, l->ran);
    }
}

// ---------------------------------------------------------------- a trip

static void end_trip(FeNode *n, FeValue **made);

static void bind_body(FeNode *n, Loop *l) {
    FeContext *fe = n->fe;
    const Onnx__GraphProto *g = l->body;
    for (size_t i = 0; i < g->n_input; i++) {
        FeValue *v = g->input[i]->name ? fe_find_value(fe, g->input[i]->name) : NULL;
        bool fixed = i == 0 || (i == 1 && !l->cond);
        if (v && fixed) {
            v->tensor = fe_tensor_of_ints(fe->arena, i ? IR_BOOL : IR_I64, 0, 1,
                                          (int64_t[]){i ? 1 : l->trip});
        } else if (v) {
            v->alias = i == 1 ? l->cond : l->value[i - 2];
        }
    }
}

static void begin_trip(FeNode *n, Loop *l) {
    take_limit(n, l);
    if (l->runs && n->fe->opt->to_train) {
        fe_refuse(n, "NYI: training a network with a loop whose end data decides");
    }
    if (l->done || n->refused) {
        finish(n, l);
        return;
    }
    n->then = end_trip;
    if (fe_enter_subgraph(n, l->body, l->runs)) {
        bind_body(n, l);
    }
}

static void end_trip(FeNode *n, FeValue **made) {
    Loop *l = n->state;
    for (int i = 0; i < l->carried && !n->refused; i++) {
        FeValue *now = fe_follow(made[1 + i]);
        l->value[i] = l->runs ? fe_choose(n, l->runs, now, l->value[i]) : now;
        n->refused = n->refused || !l->value[i] || l->value[i]->poisoned;
    }
    for (int k = 0; k < l->gathered; k++) {
        FeParts *p = &l->part[k];
        IR_PUSH(n->fe->arena, p->v, p->n, p->cap, made[1 + l->carried + k]);
    }
    if (l->runs && !n->refused) {
        IrValue *one = fe_cast(n, l->runs, IR_I64);
        l->ran = l->ran ? fe_bin(n, IR_OP_ADD, l->ran, one)
                        : fe_op_const(n, IR_OP_ADD, one, (double)l->trip);
    }
    l->trip++;
    take_condition(n, l, made[0]);
    begin_trip(n, l);
}

// ---------------------------------------------------------------- the loop

static bool read_body(FeNode *n, Loop *l) {
    const Onnx__AttributeProto *body = fe_attr(n, "body");
    l->carried = n->n_in > 2 ? n->n_in - 2 : 0;
    l->gathered = n->n_out - l->carried;
    if (!body || !body->g || body->g->n_sparse_initializer) {
        fe_refuse(n, "it has no body");
    } else if (l->gathered < 0 || body->g->n_input != (size_t)l->carried + 2 ||
               body->g->n_output != (size_t)n->n_out + 1) {
        fe_refuse(n, "its body must have %d inputs and %d outputs", l->carried + 2, n->n_out + 1);
    }
    l->body = n->refused ? NULL : body->g;
    return !n->refused;
}

static void read_limit(FeNode *n, Loop *l) {
    IrDim elems = ir_dim(1);
    l->most = INT64_MAX;
    if (!fe_has(n, 0)) {
        return;
    }
    IrValue *m = fe_operand(n, 0);
    if (!n->refused && (ir_dtype_is_float(m->type.dtype) ||
                        !ir_shape_elems(&m->type.shape, &elems) || !ir_dim_is(elems, 1))) {
        fe_refuse(n, "its trip count is not one number");
    }
    if (!n->refused) {
        FeEntry e = fe_entry(n, m, 0);
        l->most = e.hi;
        l->limit = e.lo == e.hi ? NULL : fe_element(n, m, 0);
    }
}

// Loop-16
void fe_import_loop(FeNode *n) {
    Loop *l = ir_alloc(n->fe->arena, sizeof *l);
    *l = (Loop){0};
    if (!read_body(n, l)) {
        return;
    }
    IrArena *a = n->fe->arena;
    n->state = l;
    l->value = ir_alloc_array(a, (size_t)l->carried + 1, sizeof *l->value);
    l->part = ir_alloc_array(a, (size_t)l->gathered + 1, sizeof *l->part);
    memset(l->part, 0, ((size_t)l->gathered + 1) * sizeof *l->part);
    for (int i = 0; i < l->carried; i++) {
        l->value[i] = n->in[2 + i];
        if (!l->value[i]) {
            fe_refuse(n, "input %d is missing", 2 + i);
        }
    }
    read_limit(n, l);
    if (fe_has(n, 1)) {
        take_condition(n, l, n->in[1]);
    }
    begin_trip(n, l);
}
