// Unique-11 of numbers that a program computes, all in one list: sorted, in which equal ones lie
// side by side and the earlier stays first, they are cut where the next one differs.
//
//   x 3 1 3 2   sorted 1 2 3 3, from 1 3 0 2   begins at 0 1 2   y 1 2 3, first 1 3 0, inverse 2 0
//   2 1, 1 1 2 times
#include "frontend/import/bounded.h"

#include <math.h>

typedef struct Unique {
    int64_t n;              // numbers, at most
    IrValue *total;         // how many there are: i64[]
    IrValue *sorted, *from; // in order; where each was
    IrValue *begin, *count; // positions in order where another number begins; how many
} Unique;

static IrValue *gather(FeNode *n, IrValue *x, IrValue *at) {
    return fe_build(n, IR_OP_GATHER, FE_IN(x, at), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
}

// The least first, all of them; *from: where they were.
static IrValue *sort(FeNode *n, IrValue *x, int64_t size, IrValue **from) {
    IrAttr attrs[] = {ir_attr_i(IR_ATTR_AXIS, 0), ir_attr_i(IR_ATTR_SIZE, size),
                      ir_attr_i(IR_ATTR_REVERSE, 1)};
    IrNode *top = n->refused ? NULL : ir_build_node(&n->b, IR_OP_TOP_K, 1, &x, 3, attrs);
    if (!top) {
        fe_refuse(n, "%s", n->b.err);
        return NULL;
    }
    *from = top->out[1];
    return top->out[0];
}

// bool: where a number differs from the one before it. NaN is equal to NaN.
static IrValue *find_begins(FeNode *n, const Unique *u) {
    IrValue *a = fe_part(n, u->sorted, 0, 1, u->n - 1), *b = fe_part(n, u->sorted, 0, 0, u->n - 1);
    IrValue *same = fe_bin(n, IR_OP_EQUAL, a, b);
    if (!n->refused && ir_dtype_is_float(a->type.dtype)) {
        IrValue *number =
            fe_bin(n, IR_OP_OR, fe_bin(n, IR_OP_EQUAL, a, a), fe_bin(n, IR_OP_EQUAL, b, b));
        same = fe_bin(n, IR_OP_OR, same, fe_un(n, IR_OP_NOT, number));
    }
    IrValue *first = fe_bin(n, IR_OP_EQUAL, fe_iota(n, 0, ir_dim(1), 0, 1), fe_i64(n, 0));
    IrValue *in[] = {first, fe_un(n, IR_OP_NOT, same)};
    IrValue *begins = fe_build(n, IR_OP_CONCAT, 2, in, FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
    return fe_bin(n, IR_OP_AND, begins, fe_meant(n, u->total, ir_dim(u->n), 0, 1));
}

static IrValue *scatter_line(FeNode *n, int64_t size, IrValue *at, IrValue *by) {
    IrShape line = {1, {ir_dim(size)}};
    IrValue *zeros =
        fe_build(n, IR_OP_EXPAND, FE_IN(fe_i64(n, 0)), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &line)));
    return fe_build(n, IR_OP_SCATTER_ELEMENTS, FE_IN(zeros, at, by),
                    FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0), ir_attr_s(IR_ATTR_MODE, "none")));
}

// How often each number occurs: from where it begins to where the next one does, or the end.
static IrValue *count_times(FeNode *n, const Unique *u) {
    IrValue *meant = fe_meant(n, u->count, ir_dim(u->n), 0, 1);
    IrValue *begin = fe_build(n, IR_OP_WHERE, FE_IN(meant, u->begin, u->total), 0, NULL);
    IrValue *in[] = {begin, fe_reshape(n, u->total, &(IrShape){1, {ir_dim(1)}})};
    IrValue *all = fe_build(n, IR_OP_CONCAT, 2, in, FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
    return fe_bin(n, IR_OP_SUB, fe_part(n, all, 0, 1, u->n), begin);
}

static bool read_numbers(FeNode *n, Unique *u) {
    IrValue *x = fe_operand(n, 0);
    FeCount c = fe_count(n, 0);
    if (n->refused) {
        return false;
    }
    IrShape flat = {1, {fe_dim_product(n, &x->type.shape, 0, x->type.shape.rank)}};
    IrDtype t = x->type.dtype;
    c = c.v ? fe_bounded_moved(n, c, &x->type.shape, &flat, 0) : c;
    if (n->refused || fe_attr(n, "axis") || t == IR_BOOL || flat.dim[0].n || flat.dim[0].c < 2) {
        fe_refuse(n, "NYI: parts along an axis, or of less than two numbers, at run time");
        return false;
    }
    u->n = flat.dim[0].c;
    u->total = c.v ? c.v : fe_i64(n, u->n);
    double last = ir_dtype_is_float(t) ? NAN : ir_dtype_highest(t);
    u->sorted = sort(n, fe_filled(n, fe_reshape(n, x, &flat), c, last), u->n, &u->from);
    IrValue *at = fe_bounded_find(n, find_begins(n, u), &u->count);
    u->begin = fe_reshape(n, at, &flat);
    return !n->refused;
}

void fe_bounded_unique(FeNode *n) {
    Unique u;
    if (!read_numbers(n, &u)) {
        return;
    }
    IrValue *y = gather(n, u.sorted, u.begin), *first = gather(n, u.from, u.begin);
    IrValue *number = fe_cast(n, find_begins(n, &u), IR_I64), *times = count_times(n, &u), *order;
    number = fe_build(n, IR_OP_CUMSUM, FE_IN(number), FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
    IrValue *inverse = scatter_line(n, u.n, u.from, fe_op_const(n, IR_OP_SUB, number, 1));
    if (!fe_attr_int(n, "sorted", 1)) { // in the order in which they came
        FeCount k = {u.count, 0};
        sort(n, fe_filled(n, first, k, (double)(INT64_C(1) << 52)), u.n, &order);
        y = gather(n, y, order);
        first = gather(n, first, order);
        times = gather(n, times, order);
        IrValue *place = scatter_line(n, u.n, order, fe_iota(n, 0, ir_dim(u.n), 0, 1));
        inverse = gather(n, place, inverse);
    }
    IrValue *made[] = {y, first, inverse, times};
    for (int i = 0; i < 4; i++) {
        fe_out(n, i, made[i]);
        fe_out_count(n, i, (FeCount){i == 2 ? u.total : u.count, 0});
    }
}
