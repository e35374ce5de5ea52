// Values whose size data decides, while they are imported: a value with a bound for a size, and an
// i64[] that counts how much of it is meant. And what a program must find true while it runs.
#include "frontend/import.h"

enum { MOST_FORESEEN = 1 << 24 }; // positions that a size may have without being asked for

FeCount fe_count(const FeNode *n, int i) {
    const FeValue *v = fe_has(n, i) ? n->in[i] : NULL;
    return v && v->count ? (FeCount){v->count, v->bounded} : (FeCount){NULL, 0};
}

bool fe_at_run_time(FeNode *n, int i) {
    const FeValue *v = fe_has(n, i) ? n->in[i] : NULL;
    return v && v->v && !v->v->konst && !v->dims && !v->sequence && !fe_tensor(n, i);
}

void fe_out_count(FeNode *n, int i, FeCount count) {
    if (n->refused || i >= n->n_out || !n->out[i] || !n->out[i]->v) {
        return;
    }
    FeEntry e = count.v ? fe_entry(n, count.v, 0) : (FeEntry){0};
    int64_t size = count.v ? n->out[i]->v->type.shape.dim[count.axis].c : 0;
    n->out[i]->count = count.v && (e.lo != e.hi || e.lo != size) ? count.v : NULL;
    n->out[i]->bounded = count.axis;
    n->fe->counts = n->fe->counts || count.v;
}

IrValue *fe_i64(FeNode *n, int64_t x) {
    return n->refused ? NULL
                      : fe_tensor_const(n, fe_tensor_of_ints(n->fe->arena, IR_I64, 0, 1, &x));
}

IrDim fe_bound(FeNode *n, IrValue *count) {
    int64_t most = n->refused ? 0 : fe_entry(n, count, 0).hi, given = n->fe->opt->max_detections;
    most = most < 0 ? 0 : most;
    if (most > MOST_FORESEEN && !given) {
        fe_refuse(n, "how large it becomes, data decides without a bound: give --max-detections N");
    } else if (given && most > given) {
        fe_check_most(n, count, given);
        most = given;
    }
    return ir_dim(n->refused ? 0 : most);
}

IrValue *fe_meant(FeNode *n, IrValue *count, IrDim bound, int axis, int rank) {
    return fe_bin(n, IR_OP_LESS, fe_iota(n, 0, bound, axis, rank), count);
}

IrValue *fe_filled(FeNode *n, IrValue *x, FeCount count, double fill) {
    if (n->refused || !count.v) {
        return x;
    }
    IrDim bound = x->type.shape.dim[count.axis];
    IrValue *meant = fe_meant(n, count.v, bound, count.axis, x->type.shape.rank);
    return fe_build(n, IR_OP_WHERE, FE_IN(meant, x, fe_const(n, x, fill)), 0, NULL);
}

// ---------------------------------------------------------------- checks

// The conditions under which the program needs what is made here.
static IrValue *guarded(FeNode *n, IrValue *x) {
    for (const FeScope *s = n->fe->scope; s; s = s->caller) {
        if (s->guard) {
            x = fe_build(n, IR_OP_WHERE, FE_IN(s->guard, x, fe_const(n, x, 0)), 0, NULL);
        }
    }
    return x;
}

static void add_check(FeNode *n, IrValue *x, int64_t most, const char *mode) {
    x = fe_build(n, IR_OP_CHECK, FE_IN(guarded(n, x)),
                 FE_WITH(ir_attr_i(IR_ATTR_SIZE, most), ir_attr_s(IR_ATTR_MODE, mode)));
    if (x) {
        IR_PUSH(n->fe->arena, n->fe->checks, n->fe->n_checks, n->fe->cap_checks, x);
    }
}

void fe_check_most(FeNode *n, IrValue *x, int64_t most) {
    if (!n->refused && fe_entry(n, x, 0).hi > most) {
        add_check(n, x, most, "most");
    }
}

void fe_check_equal(FeNode *n, IrValue *a, IrValue *b) {
    if (!n->refused && !fe_same_entry(n, a, b)) {
        add_check(n, fe_un(n, IR_OP_ABS, fe_bin(n, IR_OP_SUB, a, b)), 0, "equal");
    }
}

// ---------------------------------------------------------------- elements

IrValue *fe_element(FeNode *n, IrValue *v, int64_t i) {
    if (n->refused) {
        return NULL;
    }
    IrDim elems;
    ir_shape_elems(&v->type.shape, &elems);
    v = fe_reshape(n, v, &(IrShape){1, {elems}});
    return fe_cast(n, fe_reshape(n, fe_part(n, v, 0, i, 1), &(IrShape){0}), IR_I64);
}

bool fe_same_entry(FeNode *n, IrValue *a, IrValue *b) {
    FeEntry x = fe_entry(n, a, 0), y = fe_entry(n, b, 0);
    bool known = x.lo == x.hi && y.lo == y.hi && x.lo == y.lo;
    return a == b || known ||
           (x.from && x.from == y.from && x.at == y.at && x.times == y.times && x.plus == y.plus);
}
