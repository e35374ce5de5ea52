// RNN, GRU and LSTM, step by step: all inputs times their weights at once, then for each step the
// state times its own, and the gates.
//
//   x [T,N,I] w' [I,G*H] + b -> [T,N,G*H]; step t: its [N,G*H] + h [N,H] r' [H,G*H] -> gates -> h
//
// A sequence's length must be known, and all sequences as long.
#include "frontend/import/activation.h"

#include <math.h>
#include <string.h>

enum { MAX_STEPS = 512, MAX_GATES = 4, MAX_FUNCTIONS = 3 };

typedef struct Cell Cell;

// One direction of a network at one step.
typedef struct Step {
    IrValue *x, *h, *c;   // [N,G*H], without the state's part; [N,H]; the cell's state of LSTM
    const char *const *f; // its functions
} Step;

struct Cell {
    const char *op;
    int gates, n_functions;
    const char *functions[MAX_FUNCTIONS]; // by default
    void (*step)(FeNode *n, const Cell *cell, Step *s);
    // of the node
    IrDim N;
    int64_t T, H;
    double clip;              // 0: none
    bool late_reset, coupled; // linear_before_reset, input_forget
    IrValue *r, *rb, *peep;   // of the direction: [H,G*H], [1,G*H], [1,3H] or NULL
};

// ---------------------------------------------------------------- steps

static IrValue *activate(FeNode *n, const Cell *cell, const char *name, IrValue *x) {
    static const double standard[FE_ACTIVATION_PARAMS] = {NAN, NAN, NAN};
    if (cell->clip != 0) {
        x = fe_build(
            n, IR_OP_CLIP, FE_IN(x),
            FE_WITH(ir_attr_f(IR_ATTR_MIN, -cell->clip), ir_attr_f(IR_ATTR_MAX, cell->clip)));
    }
    return fe_activate(n, x, name, standard);
}

static IrValue *take_gate(FeNode *n, const Cell *cell, IrValue *x, int at) {
    return fe_part(n, x, 1, at * cell->H, cell->H);
}

static void step_rnn(FeNode *n, const Cell *cell, Step *s) {
    IrValue *sum = fe_bin(n, IR_OP_ADD, s->x, fe_matmul(n, s->h, cell->r));
    s->h = activate(n, cell, s->f[0], sum);
}

// Gates z, r, h. h' = (1 - z) n + z h, n = g(x + (r h) R_h + b), or g(x + r (h R_h + b)) with a
// late reset.
static void step_gru(FeNode *n, const Cell *cell, Step *s) {
    IrValue *own = fe_matmul(n, s->h, cell->r), *gate[2];
    for (int i = 0; i < 2; i++) {
        IrValue *sum =
            fe_bin(n, IR_OP_ADD, take_gate(n, cell, s->x, i), take_gate(n, cell, own, i));
        gate[i] = activate(n, cell, s->f[0], sum);
    }
    IrValue *past;
    if (cell->late_reset) {
        past = take_gate(n, cell, own, 2);
        past = cell->rb ? fe_bin(n, IR_OP_ADD, past, take_gate(n, cell, cell->rb, 2)) : past;
        past = fe_bin(n, IR_OP_MUL, gate[1], past);
    } else {
        IrValue *reset = fe_bin(n, IR_OP_MUL, gate[1], s->h);
        past = fe_matmul(n, reset, take_gate(n, cell, cell->r, 2));
    }
    IrValue *fresh = fe_bin(n, IR_OP_ADD, take_gate(n, cell, s->x, 2), past);
    fresh = activate(n, cell, s->f[1], fresh);
    IrValue *change = fe_bin(n, IR_OP_MUL, gate[0], fe_bin(n, IR_OP_SUB, s->h, fresh));
    s->h = fe_bin(n, IR_OP_ADD, fresh, change);
}

// x plus the cell's state by weights `at` of the peepholes.
static IrValue *peep(FeNode *n, const Cell *cell, IrValue *x, int at, IrValue *c) {
    if (!cell->peep) {
        return x;
    }
    return fe_bin(n, IR_OP_ADD, x, fe_bin(n, IR_OP_MUL, take_gate(n, cell, cell->peep, at), c));
}

// Gates i, o, f, c. c' = f c + i g(..), h' = o h(c').
static void step_lstm(FeNode *n, const Cell *cell, Step *s) {
    IrValue *sum = fe_bin(n, IR_OP_ADD, s->x, fe_matmul(n, s->h, cell->r)), *in, *forget, *out;
    in = activate(n, cell, s->f[0], peep(n, cell, take_gate(n, cell, sum, 0), 0, s->c));
    forget = cell->coupled
                 ? fe_bin(n, IR_OP_SUB, n->refused ? NULL : fe_const(n, in, 1), in)
                 : activate(n, cell, s->f[0], peep(n, cell, take_gate(n, cell, sum, 2), 2, s->c));
    IrValue *fresh = activate(n, cell, s->f[1], take_gate(n, cell, sum, 3));
    s->c =
        fe_bin(n, IR_OP_ADD, fe_bin(n, IR_OP_MUL, forget, s->c), fe_bin(n, IR_OP_MUL, in, fresh));
    out = activate(n, cell, s->f[0], peep(n, cell, take_gate(n, cell, sum, 1), 1, s->c));
    s->h = fe_bin(n, IR_OP_MUL, out, fe_activate(n, s->c, s->f[2], (double[]){NAN, NAN, NAN}));
}

static const Cell cells[] = {
    {.op = "RNN", .gates = 1, .n_functions = 1, .functions = {"Tanh"}, .step = step_rnn},
    {.op = "GRU", .gates = 3, .n_functions = 2, .functions = {"Sigmoid", "Tanh"}, .step = step_gru},
    {.op = "LSTM",
     .gates = 4,
     .n_functions = 3,
     .functions = {"Sigmoid", "Tanh", "Tanh"},
     .step = step_lstm},
};

// ---------------------------------------------------------------- reading

// Direction d of input i, [dirs,rows,columns] or [dirs,columns], which must have that size.
static IrValue *read_part(FeNode *n, int i, int d, int64_t rows, int64_t columns) {
    IrValue *x = fe_operand_or_null(n, i);
    if (n->refused || !x) {
        return NULL;
    }
    const IrShape *s = &x->type.shape;
    int64_t first = rows ? rows : columns;
    if (s->rank != (rows ? 3 : 2) || s->dim[0].n || s->dim[0].c <= d ||
        !ir_dim_is(s->dim[1], first) || (rows && columns && !ir_dim_is(s->dim[2], columns))) {
        fe_refuse(n, "input %d does not fit %lld rows of a direction", i, (long long)first);
        return NULL;
    }
    IrShape part = {2, {rows ? s->dim[1] : ir_dim(1), rows ? s->dim[2] : s->dim[1]}};
    return fe_reshape(n, fe_part(n, x, 0, d, 1), &part);
}

// Names of functions, `count` for each direction; the defaults where they are not given.
static void read_functions(FeNode *n, const Cell *cell, int dirs, const char **f) {
    const Onnx__AttributeProto *a = fe_attr(n, "activations");
    int count = cell->n_functions * dirs;
    bool tuned = fe_attr(n, "activation_alpha") || fe_attr(n, "activation_beta");
    if (tuned || (a && a->n_strings != (size_t)count)) {
        fe_refuse(n,
                  tuned ? "NYI: activation_alpha and activation_beta"
                        : "its activations are not %d for each of %d directions",
                  cell->n_functions, dirs);
        return;
    }
    for (int i = 0; i < count; i++) {
        f[i] = a ? ir_strndup(n->fe->arena, (const char *)a->strings[i].data, a->strings[i].len)
                 : cell->functions[i % cell->n_functions];
    }
}

// sequence_lens, input 4: all of them the whole length.
static void check_lengths(FeNode *n, int64_t T) {
    const IrTensor *t = fe_has(n, 4) ? fe_tensor(n, 4) : NULL;
    bool whole = !fe_has(n, 4) || t;
    for (int64_t i = 0; t && i < ir_tensor_elems(t) && whole; i++) {
        whole = ir_tensor_get(t, i) == (double)T;
    }
    if (!whole) {
        fe_refuse(n, "NYI: sequences of several lengths");
    }
}

// The state before the first step of direction d, [N,H]: input i, [dirs,N,H], or zeros.
static IrValue *read_state(FeNode *n, const Cell *cell, int i, int d, bool by_image) {
    IrValue *x = fe_operand_or_null(n, i);
    IrShape s = {2, {cell->N, ir_dim(cell->H)}};
    if (n->refused) {
        return NULL;
    }
    if (!x) {
        return fe_build(n, IR_OP_EXPAND, FE_IN(ir_build_scalar(&n->b, IR_F32, 0)),
                        FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &s)));
    }
    int axis = by_image;
    if (x->type.shape.rank != 3 || x->type.shape.dim[axis].c <= d) {
        fe_refuse(n, "input %d is no state of each direction", i);
        return NULL;
    }
    return fe_reshape(n, fe_part(n, x, axis, d, 1), &s);
}

// ---------------------------------------------------------------- the walk

// x [T,N,I] through direction d: *y [T,1,N,H]; *last gets the last state.
static IrValue *run_direction(FeNode *n, Cell *cell, IrValue *x, int d, bool back, Step *s) {
    int64_t wide = cell->gates * cell->H;
    IrValue *w = read_part(n, 1, d, wide, 0), *r = read_part(n, 2, d, wide, cell->H);
    IrValue *b = read_part(n, 3, d, 0, 2 * wide);
    cell->peep = read_part(n, 7, d, 0, 3 * cell->H);
    IrValue *wb = b ? fe_part(n, b, 1, 0, wide) : NULL;
    cell->rb = b ? fe_part(n, b, 1, wide, wide) : NULL;
    cell->r = fe_transpose(n, r, 2, (int64_t[]){1, 0});
    x = fe_matmul(n, x, fe_transpose(n, w, 2, (int64_t[]){1, 0}));
    x = wb ? fe_bin(n, IR_OP_ADD, x, wb) : x;
    if (cell->rb && cell->late_reset) { // that of the last gate is added at each step
        IrValue *early = fe_part(n, cell->rb, 1, 0, 2 * cell->H);
        int64_t pads[] = {0, 0, 0, cell->H};
        early = fe_build(n, IR_OP_PAD, FE_IN(early),
                         FE_WITH(fe_ints_attr(n, IR_ATTR_PAD, 4, pads),
                                 ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)));
        x = fe_bin(n, IR_OP_ADD, x, early);
    } else if (cell->rb) {
        x = fe_bin(n, IR_OP_ADD, x, cell->rb);
    }
    IrValue **y = ir_alloc_array(n->fe->arena, (size_t)cell->T + 1, sizeof *y);
    IrShape one = {2, {cell->N, ir_dim(wide)}};
    IrShape row = {4, {ir_dim(1), ir_dim(1), cell->N, ir_dim(cell->H)}};
    for (int64_t i = 0; i < cell->T && !n->refused; i++) {
        int64_t t = back ? cell->T - 1 - i : i;
        s->x = fe_part(n, x, 0, t, 1);
        s->x = n->refused ? NULL : fe_reshape(n, s->x, &one);
        cell->step(n, cell, s);
        y[t] = n->refused ? NULL : fe_reshape(n, s->h, &row);
    }
    return fe_build(n, IR_OP_CONCAT, (int)cell->T, y, FE_WITH(ir_attr_i(IR_ATTR_AXIS, 0)));
}

static bool read_cell(FeNode *n, Cell *cell, IrValue *x) {
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        *cell = strcmp(cells[i].op, n->info->name) == 0 ? cells[i] : *cell;
    }
    cell->H = fe_attr_int(n, "hidden_size", 0);
    cell->clip = fe_attr_float(n, "clip", 0);
    cell->late_reset = fe_attr_int(n, "linear_before_reset", 0) != 0;
    cell->coupled = fe_attr_int(n, "input_forget", 0) != 0;
    if (n->refused || x->type.shape.rank != 3 || x->type.shape.dim[0].n || cell->H < 1 ||
        cell->H > 1 << 20) {
        fe_refuse(n, "its sequence or its hidden_size %lld is not known", (long long)cell->H);
        return false;
    }
    cell->T = x->type.shape.dim[0].c;
    cell->N = x->type.shape.dim[1];
    if (cell->T < 1 || cell->T > MAX_STEPS) {
        fe_refuse(n, "NYI: a sequence of %lld steps", (long long)cell->T);
    }
    check_lengths(n, cell->T);
    return !n->refused;
}

static IrValue *join(FeNode *n, IrValue **part, int count, int axis) {
    return count == 1 || n->refused
               ? part[0]
               : fe_build(n, IR_OP_CONCAT, count, part, FE_WITH(ir_attr_i(IR_ATTR_AXIS, axis)));
}

// RNN-14, GRU-14, LSTM-14: x, w, r, b, lengths, the first state, LSTM's other state and peepholes.
// With layout 1 the images come first everywhere.
void fe_import_rnn(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *y[2], *h[2], *c[2];
    bool by_image = n->since >= 14 && fe_attr_int(n, "layout", 0) != 0;
    const char *direction = fe_attr_str(n, "direction", "forward"), *f[2 * MAX_FUNCTIONS] = {0};
    int dirs = strcmp(direction, "bidirectional") == 0 ? 2 : 1;
    bool back = strcmp(direction, "reverse") == 0;
    if (dirs == 1 && !back && strcmp(direction, "forward") != 0) {
        fe_refuse(n, "direction '%s' is unknown", direction);
    }
    Cell cell = {0};
    x = by_image && !n->refused ? fe_transpose(n, x, 3, (int64_t[]){1, 0, 2}) : x;
    if (n->refused || !read_cell(n, &cell, x)) {
        return;
    }
    read_functions(n, &cell, dirs, f);
    IrShape state = {3, {ir_dim(1), cell.N, ir_dim(cell.H)}};
    for (int d = 0; d < dirs; d++) {
        Step s = {.f = f + d * cell.n_functions, .h = read_state(n, &cell, 5, d, by_image)};
        s.c = cell.gates == 4 ? read_state(n, &cell, 6, d, by_image) : NULL;
        y[d] = run_direction(n, &cell, x, d, back || d == 1, &s);
        h[d] = n->refused ? NULL : fe_reshape(n, s.h, &state);
        c[d] = n->refused || !s.c ? NULL : fe_reshape(n, s.c, &state);
    }
    static const int64_t images_first[] = {2, 0, 1, 3}, image_first[] = {1, 0, 2};
    IrValue *all = join(n, y, dirs, 1),
            *last[] = {join(n, h, dirs, 0), c[0] ? join(n, c, dirs, 0) : NULL};
    fe_out(n, 0, by_image ? fe_transpose(n, all, 4, images_first) : all);
    for (int i = 0; i < 2; i++) {
        if (last[i] && fe_used(n, 1 + i)) {
            fe_out(n, 1 + i,
                   by_image ? fe_transpose(n, last[i], 3, image_first)
                            : fe_un(n, IR_OP_COPY, last[i]));
        }
    }
}
