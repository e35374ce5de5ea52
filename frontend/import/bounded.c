// Nodes on values whose size data decides: the table of rules, and those of elementwise operators
// and of queries. An elementwise result counts what its operands count.
#include "frontend/import/bounded.h"

#include <string.h>

typedef struct Row {
    const char *op;
    FeBoundedRule *rule;
    unsigned data;
} Row;

static const Row rows[] = {
#define FE_BOUNDED(name, rule, data) {#name, fe_bounded_##rule, data},
#include "frontend/import/bounded_ops.def"
#undef FE_BOUNDED
};

static const Row *find_row(const FeNode *n) {
    bool onnx = fe_is_onnx_domain(n->pb->domain);
    for (size_t i = 0; i < sizeof rows / sizeof *rows && onnx; i++) {
        if (strcmp(rows[i].op, n->info->name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

bool fe_import_bounded(FeNode *n) {
    const Row *row = find_row(n);
    bool counted = false, at_run_time = false;
    for (int i = 0; i < n->n_in; i++) {
        counted = counted || fe_count(n, i).v;
        at_run_time =
            at_run_time || (row && row->data >> (i < 31 ? i : 31) & 1 && fe_at_run_time(n, i));
    }
    if (!counted && !at_run_time) {
        return false;
    }
    if (row) {
        row->rule(n);
    } else {
        fe_bounded_nyi(n);
    }
    return true;
}

// ---------------------------------------------------------------- elementwise

// The axis, counted from the last, along which an input of n has a count; false where they have
// several.
static bool find_common_axis(FeNode *n, int *from_last) {
    *from_last = 0;
    for (int i = 0; i < n->n_in; i++) {
        FeCount c = fe_count(n, i);
        int at = c.v ? n->in[i]->v->type.shape.rank - c.axis : 0;
        if (at && *from_last && *from_last != at) {
            return false;
        }
        *from_last = at ? at : *from_last;
    }
    return true;
}

// Input i's axis, -1 where it has none there or repeats its one position.
static int common_axis(FeNode *n, int i, int from_last) {
    IrValue *x = fe_operand_or_null(n, i);
    int axis = x ? x->type.shape.rank - from_last : -1;
    return axis < 0 || (!fe_count(n, i).v && ir_dim_is(x->type.shape.dim[axis], 1)) ? -1 : axis;
}

// Cuts what is longer along the common axis: as many are meant everywhere, which is checked.
static FeCount align_inputs(FeNode *n, int from_last) {
    FeCount first = {0};
    int64_t bound = INT64_MAX;
    for (int i = 0; i < n->n_in; i++) {
        int axis = common_axis(n, i, from_last);
        int64_t size = axis < 0 ? INT64_MAX : n->in[i]->v->type.shape.dim[axis].c;
        bound = size < bound ? size : bound;
        first = first.v ? first : fe_count(n, i);
    }
    for (int i = 0; i < n->n_in && !n->refused; i++) {
        int axis = common_axis(n, i, from_last);
        if (axis >= 0) {
            FeCount c = fe_count(n, i);
            IrValue *x = fe_operand(n, i);
            fe_check_equal(n, first.v, c.v ? c.v : fe_i64(n, x->type.shape.dim[axis].c));
            fe_bounded_replace(n, i, fe_bounded_cut(n, x, axis, bound), c);
        }
    }
    return first;
}

void fe_bounded_elementwise(FeNode *n) {
    int from_last;
    if (!find_common_axis(n, &from_last)) {
        fe_bounded_nyi(n);
        return;
    }
    FeCount count = align_inputs(n, from_last);
    fe_bounded_import(n);
    FeValue *y = n->n_out && !n->refused ? n->out[0] : NULL;
    if (y && y->v && !y->alias) {
        count.axis = y->v->type.shape.rank - from_last;
        fe_out_count(n, 0, count);
    }
}

// ---------------------------------------------------------------- queries

// The dims of input 0, as i64[rank].
static IrValue *list_dims(FeNode *n, int from, int to) {
    FeCount c = fe_count(n, 0);
    IrValue *x = fe_operand(n, 0), *part[IR_MAX_RANK];
    IrShape one = {1, {ir_dim(1)}};
    int k = 0;
    for (int i = from; i < to && !n->refused; i++) {
        IrDim d = x->type.shape.dim[i];
        if (d.n) {
            fe_bounded_nyi(n);
        }
        part[k++] = fe_reshape(n, c.v && i == c.axis ? c.v : fe_i64(n, d.c), &one);
    }
    return k == 0 ? NULL : fe_build(n, IR_OP_CONCAT, k, part, FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
}

// Shape-15
void fe_bounded_shape(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    int64_t rank = n->refused ? 0 : x->type.shape.rank;
    int64_t from = fe_attr_int(n, "start", 0), to = fe_attr_int(n, "end", rank);
    from = from < 0 ? from + rank : from;
    to = to < 0 ? to + rank : to;
    from = from < 0 ? 0 : from > rank ? rank : from;
    to = to < from ? from : to > rank ? rank : to;
    int axis = fe_count(n, 0).axis;
    if (axis >= from && axis < to) {
        fe_out(n, 0, list_dims(n, (int)from, (int)to));
    } else {
        fe_bounded_import(n);
    }
}

void fe_bounded_size(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    FeCount c = fe_count(n, 0);
    int64_t rest = 1;
    for (int i = 0; i < (n->refused ? 0 : x->type.shape.rank); i++) {
        rest *= i == c.axis ? 1 : x->type.shape.dim[i].c;
    }
    fe_out(n, 0, fe_op_const(n, IR_OP_MUL, c.v, (double)rest));
}
