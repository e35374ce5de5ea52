// Sequences of tensors: lists that are known while the graph is imported, of which nothing is left
// in the IR. Their lengths, and the positions in them, must be constants.
#include "frontend/import.h"

#include <string.h>

static const FeSequence *get_sequence(FeNode *n, int i) {
    if (fe_has(n, i) && n->in[i]->sequence) {
        return n->in[i]->sequence;
    }
    fe_refuse(n, "its input %d is no sequence that is known at compile time", i);
    return NULL;
}

// A sequence of n tensors to be filled; NULL after a refusal.
static FeSequence *new_sequence(FeNode *n, int count) {
    if (n->refused || !fe_charge(n, (count + 2) * (int64_t)sizeof(FeValue *))) {
        return NULL;
    }
    FeSequence *s = ir_alloc(n->fe->arena, sizeof *s);
    *s = (FeSequence){count, ir_alloc_array(n->fe->arena, (size_t)count + 1, sizeof *s->v)};
    return s;
}

static void set_sequence(FeNode *n, const FeSequence *s) {
    if (!n->refused && n->n_out > 0 && n->out[0]) {
        n->out[0]->sequence = s;
    }
}

// Input i, a position among `count`; `absent` where it is left out. -1 after a refusal.
static int read_position(FeNode *n, int i, int count, int absent) {
    if (!fe_has(n, i)) {
        return absent;
    }
    IrInts at = fe_ints(n, i);
    if (n->refused) {
        return -1;
    }
    if (at.n != 1 || at.v[0] < -count || at.v[0] >= count) {
        fe_refuse(n, "position %lld is outside a sequence of %d",
                  at.n == 1 ? (long long)at.v[0] : 0, count);
        return -1;
    }
    return (int)(at.v[0] < 0 ? at.v[0] + count : at.v[0]);
}

// ---------------------------------------------------------------- lists

void fe_import_sequence_empty(FeNode *n) {
    set_sequence(n, new_sequence(n, 0));
}

static void refuse_nested(FeNode *n, int i) {
    if (!fe_has(n, i)) {
        fe_refuse(n, "input %d is missing", i);
    } else if (n->in[i]->sequence) {
        fe_refuse(n, "sequences of sequences are not supported");
    }
}

void fe_import_sequence_construct(FeNode *n) {
    FeSequence *s = new_sequence(n, n->n_in);
    for (int i = 0; i < n->n_in; i++) {
        refuse_nested(n, i);
        if (s) {
            s->v[i] = n->in[i];
        }
    }
    set_sequence(n, s);
}

// SequenceInsert-11: at the end where no position is given, and up to there where one is.
void fe_import_sequence_insert(FeNode *n) {
    const FeSequence *old = get_sequence(n, 0);
    refuse_nested(n, 1);
    FeSequence *s = old ? new_sequence(n, old->n + 1) : NULL;
    int64_t end = old ? old->n : 0;
    IrInts given = s && fe_has(n, 2) ? fe_ints(n, 2) : (IrInts){1, &end};
    if (!s || n->refused) {
        return;
    }
    int64_t at = given.n != 1 ? -1 : given.v[0] < 0 ? given.v[0] + end : given.v[0];
    if (at < 0 || at > end) {
        fe_refuse(n, "its position is outside a sequence of %d", old->n);
        return;
    }
    for (int i = 0; i < s->n; i++) {
        s->v[i] = i == at ? n->in[1] : old->v[i - (i > at)];
    }
    set_sequence(n, s);
}

void fe_import_sequence_erase(FeNode *n) {
    const FeSequence *old = get_sequence(n, 0);
    if (old && old->n == 0) {
        fe_refuse(n, "the sequence is empty");
    }
    int at = n->refused ? -1 : read_position(n, 1, old->n, old->n - 1);
    FeSequence *s = n->refused ? NULL : new_sequence(n, old->n - 1);
    for (int i = 0; s && i < s->n; i++) {
        s->v[i] = old->v[i + (i >= at)];
    }
    set_sequence(n, s);
}

void fe_import_sequence_at(FeNode *n) {
    const FeSequence *s = get_sequence(n, 0);
    if (!fe_has(n, 1)) {
        fe_refuse(n, "input 1 is missing");
    }
    int at = n->refused ? -1 : read_position(n, 1, s->n, 0);
    if (at >= 0 && n->n_out > 0 && n->out[0]) {
        n->out[0]->alias = s->v[at];
    }
}

void fe_import_sequence_length(FeNode *n) {
    const FeSequence *s = get_sequence(n, 0);
    if (s) {
        int64_t length = s->n;
        fe_out_tensor(n, 0, fe_tensor_of_ints(n->fe->arena, IR_I64, 0, 1, &length));
    }
}

// ---------------------------------------------------------------- from tensors and back

// The sizes of SplitToSequence-11's parts along an axis of size `dim`: as given, or all as large as
// the number given (the last may be smaller), or 1.
static IrInts read_parts(FeNode *n, int64_t dim) {
    IrType t = {0};
    IrInts given = fe_ints(n, 1), none = {0, NULL};
    if (n->refused || (fe_has(n, 1) && !fe_type(n, 1, &t))) {
        return none;
    }
    if (fe_has(n, 1) && t.shape.rank == 1) {
        return given;
    }
    int64_t part = given.n == 1 ? given.v[0] : 1;
    if (part < 1 || (dim + part - 1) / part > FE_MAX_SMALL) {
        fe_refuse(n, "parts of %lld make no sequence of at most %d of %lld elements",
                  (long long)part, FE_MAX_SMALL, (long long)dim);
        return none;
    }
    IrInts parts = fe_range(n, 0, (int)((dim + part - 1) / part));
    for (int i = 0; i < parts.n; i++) {
        parts.v[i] = i < parts.n - 1 ? part : dim - part * (parts.n - 1);
    }
    return parts;
}

static FeValue *new_element(FeNode *n, IrValue *v) {
    FeValue *e = ir_alloc(n->fe->arena, sizeof *e);
    *e = (FeValue){.name = n->b.name, .v = v, .producer = -1};
    return e;
}

static IrValue *without_axis(FeNode *n, IrValue *x, int axis) {
    IrShape s = {0};
    for (int i = 0; !n->refused && i < x->type.shape.rank; i++) {
        if (i != axis) {
            s.dim[s.rank++] = x->type.shape.dim[i];
        }
    }
    return fe_reshape(n, x, &s);
}

void fe_import_split_to_sequence(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    int axis = x ? fe_axis(n, fe_attr_int(n, "axis", 0), x->type.shape.rank) : 0;
    if (!n->refused && x->type.shape.dim[axis].n) {
        fe_refuse(n, "the batch axis cannot be split");
    }
    if (n->refused) {
        return;
    }
    bool drops = !fe_has(n, 1) && fe_attr_int(n, "keepdims", 1) == 0;
    int64_t dim = x->type.shape.dim[axis].c, at = 0;
    IrInts parts = read_parts(n, dim);
    FeSequence *s = n->refused ? NULL : new_sequence(n, parts.n);
    for (int i = 0; s && i < parts.n && !n->refused; i++) {
        if (parts.v[i] < 0 || parts.v[i] > dim - at) {
            fe_refuse(n, "its sizes do not add up to the %lld elements", (long long)dim);
            return;
        }
        IrValue *part = fe_part(n, x, axis, at, parts.v[i]);
        s->v[i] = new_element(n, drops ? without_axis(n, part, axis) : part);
        at += parts.v[i];
    }
    if (!n->refused && at != dim) {
        fe_refuse(n, "its sizes do not add up to the %lld elements", (long long)dim);
    }
    set_sequence(n, s);
}

// Numbers that shapes are made of, one behind the other.
static bool join_dims(FeNode *n, bool new_axis) {
    FeDims out = {IR_I64, 1, 0, NULL}, x;
    int cap = 0;
    for (int i = 0; i < n->n_in; i++) {
        if (!fe_dims(n, i, &x) || x.rank != !new_axis || x.n > FE_MAX_SMALL - out.n) {
            return false;
        }
        out.dtype = x.dtype;
        for (int k = 0; k < x.n; k++) {
            IR_PUSH(n->fe->arena, out.v, out.n, cap, x.v[k]);
        }
    }
    fe_out_dims(n, 0, &out);
    return true;
}

// With new_axis the tensors, of one shape, are stacked.
static IrValue *operand_to_join(FeNode *n, int i, bool new_axis, int *axis) {
    IrValue *x = fe_operand(n, i);
    if (n->refused) {
        return NULL;
    }
    IrShape s = {.rank = x->type.shape.rank + new_axis};
    *axis = fe_axis(n, fe_attr_int(n, "axis", 0), s.rank);
    if (s.rank > IR_MAX_RANK) {
        fe_refuse(n, "the result has more than %d dimensions", IR_MAX_RANK);
    }
    for (int k = 0; k < s.rank && !n->refused; k++) {
        s.dim[k] = !new_axis || k < *axis ? x->type.shape.dim[k]
                   : k == *axis           ? ir_dim(1)
                                          : x->type.shape.dim[k - 1];
    }
    return n->refused ? NULL : fe_reshape(n, x, &s);
}

// From here on the node's inputs are the sequence's tensors, which folding asks for as well.
void fe_import_concat_from_sequence(FeNode *n) {
    const FeSequence *s = get_sequence(n, 0);
    bool new_axis = fe_attr_int(n, "new_axis", 0) != 0, any_dims = false;
    if (!s || s->n == 0) {
        fe_refuse(n, "the sequence is empty");
        return;
    }
    n->n_in = s->n;
    n->in = ir_alloc_array(n->fe->arena, (size_t)s->n, sizeof *n->in);
    for (int i = 0; i < s->n; i++) {
        for (n->in[i] = s->v[i]; n->in[i]->alias;) {
            n->in[i] = n->in[i]->alias;
        }
        any_dims |= n->in[i]->dims != NULL;
    }
    if (any_dims && join_dims(n, new_axis)) {
        return;
    }
    int axis = 0;
    IrValue **in = ir_alloc_array(n->fe->arena, (size_t)s->n, sizeof *in);
    for (int i = 0; i < s->n; i++) {
        in[i] = operand_to_join(n, i, new_axis, &axis);
    }
    fe_out(n, 0,
           s->n == 1 ? in[0]
                     : fe_build(n, IR_OP_CONCAT, s->n, in, FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis))));
}
