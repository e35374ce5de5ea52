// bf16: where PassOptions.bf16 allows it, products are of bf16, and so is what is stored between
// them; what is computed in registers stays f32.
//
//   %y = conv %x, %w, %b, %r {then=[add(acc, 3), relu(s0)]}
//   -> %y: bf16 = conv %x, %w16, %b, %r {to=f32, then=[cast(3, to=f32), add(acc, s0), relu(s1),
//                 cast(s2, to=bf16)]}                      // %x, %r: bf16
//
// Fused nodes are what a program computes: their results are what it stores. A result is stored in
// bf16, rounded once, to nearest even, where its node can do that and a product reads it, be it
// through elementwise work, means, or what merely moves data. Behind the last product numbers stay
// f32, and so do inputs and outputs of the graph. Operands are widened as they are read: products
// read bf16 as it is, those of two computed operands where there are matrix tiles, and so does
// attention, bodies by a step, means and normalisations by a batch's statistics by their own type;
// before all other nodes a cast stands. The gradient of such a normalisation reads bf16 whoever
// reads its result: in a training step what it reads, the normalisation's operand and a gradient of
// the same size, is most of what is stored. Sums of products, of means and the statistics of a
// normalisation are f32. Products without a kernel for pairs stay f32. Gradients of weights are
// sums of f32 over products of bf16 (pair_images, on machines that have none, widens these).
// Weights that train are f32, and rounded each time they are multiplied with.
#include "ir/conv.h"
#include "ir/machine.h"
#include "passes/body.h"

#include <string.h>

typedef enum Kind {
    OTHER,       // reads and makes what it did
    PRODUCT,     // conv, matmul: operand 0 and the weights become bf16
    F32_PRODUCT, // one that cannot
    WGRAD,       // conv_wgrad of whole blocks: both operands become bf16
    ATTENTION,   // queries, keys and values become bf16
    MEAN,        // reads bf16, its own result is f32
    NORM,        // the same of batch_norm_train's x, of batch_norm_grad's x and dy
    STEPS,       // map, elementwise
    MOVE, // the result is of its operands' type; so are gradients of pools and softmax, of f32 sums
} Kind;

typedef struct Bf16 {
    PassContext *ctx;
    IrGraph *graph;
    uint32_t n; // values that there were
    Kind *kind; // by the first result's id
    bool *can, *wanted;
    IrValue **twin; // the same numbers in the other type; NULL
    uint32_t n_twins;
    int changes;
} Bf16;

// ---------------------------------------------------------------- what nodes can do

static bool is_f32(const IrValue *v) {
    return v->type.dtype == IR_F32;
}

// f32 weights behind an f32 operand: frozen, or computed, as those that train are.
static bool has_weights(const IrNode *n) {
    const IrValue *w = ir_in(n, 1);
    return is_f32(ir_in(n, 0)) && is_f32(w) && (!w->konst || pass_is_frozen(w)) &&
           !ir_attr(n, IR_ATTR_TO);
}

// Some kernel of bf16 computes it on blocks, or on the few channels of an image.
static bool is_conv_of_pairs(const Bf16 *b, const IrNode *n) {
    IrConv c = ir_conv(n);
    bool few = c.C <= 4 && c.w.group == 1;
    c.dtype = IR_BF16;
    c.x_block = few ? c.C <= 2 ? 2 : 4 : b->ctx->opt->block;
    c.y_block = b->ctx->opt->block;
    for (int i = 0; i < IR_CONV_ALGO_COUNT && c.y_block > 1; i++) {
        if (ir_conv_serves((IrConvAlgo)i, &c)) {
            return !ir_attr(n, IR_ATTR_FILTER) && c.C > 0;
        }
    }
    return false;
}

static bool is_matmul_of_pairs(const IrNode *n) {
    const IrShape *a = &ir_in(n, 0)->type.shape, *w = &ir_in(n, 1)->type.shape;
    IrDim k = a->dim[a->rank - 1];
    return pass_is_frozen(ir_in(n, 1)) && w->rank == 2 && k.n == 0 && k.c > 0 &&
           k.c % ir_word(IR_BF16) == 0 && !ir_int(n, IR_ATTR_TRANS_A, 0) &&
           !ir_int(n, IR_ATTR_MEAN, 0);
}

static bool is_f32_of_step(const IrValue *v) { // what a step computes, or never changes
    return is_f32(v) && (!v->konst || pass_is_frozen(v));
}

static IrDim sum_length(const IrNode *n) { // of a matmul's sums
    const IrShape *a = &ir_in(n, 0)->type.shape;
    return a->dim[a->rank - (ir_int(n, IR_ATTR_TRANS_A, 0) ? 2 : 1)];
}

// Sums of so many products, or of a number that N decides, are made in pieces: f32, and nothing
// follows.
static bool is_long(const IrNode *n) {
    IrDim k = sum_length(n);
    return k.n || k.c > IR_MOST_PAIRS_K;
}

// Of two operands, both of them pairs, on matrix tiles: large enough to be worth the copies.
static bool is_matmul_of_two(const Bf16 *b, const IrNode *n) {
    enum { LEAST_K = 16, LEAST_ROWS = 32 };
    const IrValue *w = ir_in(n, 1);
    const IrShape *a = &ir_in(n, 0)->type.shape, *y = &n->out[0]->type.shape;
    if (!b->ctx->opt->bf16_tiles || pass_is_frozen(w) || a->rank < 2 || w->type.shape.rank < 2 ||
        !is_f32_of_step(ir_in(n, 0)) || !is_f32_of_step(w) || y->dim[y->rank - 1].n ||
        ir_int(n, IR_ATTR_MEAN, 0) || ir_attr(n, IR_ATTR_TO)) {
        return false;
    }
    IrDim k = sum_length(n);
    bool large = k.c + k.n >= LEAST_K && ir_dim_at(y->dim[y->rank - 2], 1) >= LEAST_ROWS;
    return large && !(is_long(n) && (n->n_in > 2 || ir_body(n, IR_ATTR_THEN).n));
}

// What layout makes blocks of; an image's few channels only where there are matrix tiles.
static bool is_wgrad_of_pairs(const Bf16 *b, const IrNode *n) {
    IrConv c = ir_conv(n);
    return is_f32(ir_in(n, 0)) && is_f32(ir_in(n, 1)) && b->ctx->opt->block > 1 &&
           (c.C > 4 || b->ctx->opt->bf16_tiles) && c.w.group == 1;
}

// Columns of heads come in pairs.
static bool is_attention_of_pairs(const IrNode *n) {
    IrInts start = ir_ints(n, IR_ATTR_START);
    int64_t odd = ir_int(n, IR_ATTR_SIZE, 1);
    bool floats = true;
    for (int i = 0; i < 3; i++) {
        odd |= ir_in(n, i)->type.shape.dim[2].c | start.v[i];
        floats = floats && is_f32(ir_in(n, i));
    }
    return floats && odd % ir_word(IR_BF16) == 0 && !ir_attr(n, IR_ATTR_TO);
}

static bool is_mean(const IrNode *n) {
    return n->op == IR_OP_LAYER_NORM || n->op == IR_OP_AVG_POOL || n->op == IR_OP_REDUCE_SUM ||
           n->op == IR_OP_REDUCE_MEAN;
}

// The leading operands of a NORM that are maps; the others are of channels. Any other node: 0.
static int count_maps(const IrNode *n) {
    return n->op == IR_OP_BATCH_NORM_TRAIN ? 1 : n->op == IR_OP_BATCH_NORM_GRAD ? 2 : 0;
}

// How many of its operands are of its result's type.
static int count_moved(const IrNode *n) {
    return n->op == IR_OP_MAX_POOL_GRAD ? 2 : pass_n_moved(n);
}

// What moves data or zeros, or sends gradients to where they came from; softmax, which rounds its
// result alone. In f32.
static bool is_move(const IrNode *n) {
    bool moves = pass_moves(n) || n->op == IR_OP_SOFTMAX || n->op == IR_OP_INTERLEAVE ||
                 n->op == IR_OP_SLICE_GRAD || n->op == IR_OP_MAX_POOL_GRAD ||
                 n->op == IR_OP_AVG_POOL_GRAD;
    for (int i = 0; moves && i < count_moved(n); i++) {
        moves = !ir_in(n, i) || is_f32(ir_in(n, i));
    }
    return moves && n->n_in > 0;
}

static Kind find_kind(const Bf16 *b, const IrNode *n) {
    bool conv = n->op == IR_OP_CONV, product = conv || n->op == IR_OP_MATMUL;
    if (count_maps(n)) {
        return is_f32(ir_in(n, 0)) ? NORM : OTHER;
    }
    if (n->n_out > 1) {
        return OTHER;
    }
    if (n->op == IR_OP_MAP || pass_is_eltwise(n)) {
        return STEPS;
    }
    if (n->op == IR_OP_CONV_WGRAD && is_wgrad_of_pairs(b, n)) {
        return WGRAD;
    }
    if (n->op == IR_OP_ATTENTION && is_attention_of_pairs(n)) {
        return ATTENTION;
    }
    if (!conv && product && is_matmul_of_two(b, n)) {
        return PRODUCT;
    }
    if (product && has_weights(n) && (conv ? is_conv_of_pairs(b, n) : is_matmul_of_pairs(n))) {
        return PRODUCT;
    }
    if (product && ir_own_dtype(n) == IR_F32 && ir_prologue(n) == n->n_in) {
        return F32_PRODUCT;
    }
    if (is_mean(n) && is_f32(ir_in(n, 0)) && !ir_attr(n, IR_ATTR_TO)) {
        return MEAN;
    }
    return is_move(n) ? MOVE : OTHER;
}

static IrAttrKey body_key(Kind k) {
    return k == STEPS ? IR_ATTR_BODY : IR_ATTR_THEN;
}

static int count_steps(const IrNode *n) {
    return n->op == IR_OP_MAP                     ? ir_body(n, IR_ATTR_BODY).n
           : ir_op_info(n->op)->flags & IR_FLAG_E ? 1
                                                  : ir_body(n, IR_ATTR_THEN).n;
}

static bool can_store(const Bf16 *b, Kind k, const IrNode *n) {
    bool can = k != OTHER && k != WGRAD && is_f32(n->out[0]) && !n->out[0]->is_output;
    can = can &&
          !(k == PRODUCT && n->op == IR_OP_MATMUL && !pass_is_frozen(ir_in(n, 1)) && is_long(n));
    for (int i = 0; k == MOVE && i < count_moved(n); i++) {
        const IrValue *v = ir_in(n, i);
        can = can && (!v || pass_is_frozen(v) || b->can[v->id]);
    }
    return can && (k == MOVE || k == ATTENTION || count_steps(n) < PASS_MAX_STEPS);
}

// Operand i is read for a product's sake. A sum or mean that is not read by a product itself is a
// statistic, of a normalization: f32.
static bool is_wanted_by(const Bf16 *b, const IrNode *n, int i) {
    Kind k = b->kind[n->out[0]->id];
    const IrNode *def = ir_in(n, i)->def;
    bool statistic = b->kind[ir_in(n, i)->id] == MEAN && pass_is_reduce(def);
    bool own = i < ir_op_info(n->op)->max_in;
    switch (k) {
    case PRODUCT:
        return i == 0 || !own || (i == 1 && n->op == IR_OP_MATMUL);
    case WGRAD:
        return true;
    case ATTENTION:
        return i < 3;
    case F32_PRODUCT:
        return !own;
    case NORM:
        return (i < count_maps(n) || !own) &&
               (b->wanted[n->out[0]->id] || n->op == IR_OP_BATCH_NORM_GRAD);
    case MEAN:
    case STEPS:
        return b->wanted[n->out[0]->id] && !statistic;
    case MOVE:
        return i < count_moved(n) && b->wanted[n->out[0]->id];
    default:
        return false;
    }
}

static void decide(Bf16 *b) {
    for (IrNode *n = b->graph->first; n; n = n->next) {
        Kind k = b->kind[n->out[0]->id] = find_kind(b, n);
        b->can[n->out[0]->id] = can_store(b, k, n);
    }
    for (IrNode *n = b->graph->last; n; n = n->prev) {
        IrValue *y = n->out[0];
        for (const IrUse *u = y->uses; u && b->kind[y->id] != OTHER; u = u->next) {
            b->wanted[y->id] |= is_wanted_by(b, u->node, u->index);
        }
    }
}

static bool is_stored(const Bf16 *b, const IrValue *v) {
    return v->id < b->n && b->can[v->id] && b->wanted[v->id];
}

// ---------------------------------------------------------------- values

static IrValue **find_twin(Bf16 *b, const IrValue *v) {
    if (v->id >= b->n_twins) {
        uint32_t n = 2 * (v->id + 1);
        IrValue **twin = ir_alloc_array(b->ctx->scratch, n, sizeof *twin);
        if (b->n_twins) {
            memcpy(twin, b->twin, b->n_twins * sizeof *twin);
        }
        b->twin = twin;
        b->n_twins = n;
    }
    return &b->twin[v->id];
}

static IrValue *round_const(Bf16 *b, const IrNode *n, const IrValue *v) {
    IrType type = v->type;
    IrTensor to;
    ir_work_on(n);
    type.dtype = IR_BF16;
    to = ir_tensor_new(b->ctx->prog->arena, &type, 1);
    const float *from = ir_const_data(b->ctx->prog, v->konst);
    for (int64_t i = 0; i < ir_tensor_elems(&to); i++) {
        ir_tensor_set(&to, i, from[i]);
    }
    return ir_const_value(b->graph, ir_const_new(b->ctx->prog, v->konst->name, type, to.data));
}

// v as type t; a cast stands before the first node that reads it so, one for all of them.
static IrValue *as_type(Bf16 *b, IrNode *n, IrValue *v, IrDtype t) {
    IrValue *known = v->type.dtype == t ? v : *find_twin(b, v);
    if (known) {
        return known;
    }
    IrValue *y;
    if (v->konst) {
        y = round_const(b, n, v);
    } else {
        IrBuilder at = pass_before(n);
        IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(t));
        at.name = v->def ? v->def->name : v->name;
        y = ir_build(&at, IR_OP_CAST, 1, &v, 1, &to);
        if (!y) {
            ir_bug("bf16", n->name, "%s", at.err);
        }
    }
    *find_twin(b, v) = y;
    b->changes++;
    return y;
}

static void read_as(Bf16 *b, IrNode *n, int i, IrDtype t) {
    ir_set_in(n, i, as_type(b, n, ir_in(n, i), t));
}

// ---------------------------------------------------------------- bodies

// The steps with a cast to f32 in front for each operand of bf16, and a cast of the result to bf16.
typedef struct Widened {
    IrBody body;
    int step[PASS_MAX_OPERANDS + 1]; // of operand k; -1: it is as it was
    int shift;
} Widened;

static void add_cast(Widened *w, int arg, IrDtype to) {
    w->body.step[w->body.n++] = (IrStep){.op = IR_OP_CAST, .arg = {arg}, .p = {to}};
}

static int widened_arg(const Widened *w, int arg) {
    return arg == IR_ACC       ? arg
           : arg < 0           ? arg - w->shift
           : w->step[arg] >= 0 ? IR_STEP(w->step[arg])
                               : arg;
}

// Operands from `first` on are the body's.
static IrBody widen_body(Bf16 *b, IrNode *n, IrBody old, int first, bool store) {
    Widened w = {.body.step = ir_alloc_array(b->ctx->scratch, PASS_MAX_STEPS + 1, sizeof(IrStep))};
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        w.step[i] = -1;
        if (i < first || !v || v->type.dtype != IR_BF16 || !is_stored(b, v)) {
            continue;
        }
        if (w.body.n + old.n + store >= PASS_MAX_STEPS) {
            read_as(b, n, i, IR_F32);
            continue;
        }
        w.step[i] = w.body.n;
        add_cast(&w, i, IR_F32);
    }
    w.shift = w.body.n;
    for (int i = 0; i < old.n; i++) {
        IrStep s = old.step[i];
        for (int k = 0; k < ir_op_info(s.op)->max_in; k++) {
            s.arg[k] = widened_arg(&w, s.arg[k]);
        }
        w.body.step[w.body.n++] = s;
    }
    if (store) {
        add_cast(&w, old.n ? IR_STEP(w.body.n - 1) : IR_ACC, IR_BF16);
    }
    return w.body;
}

// An elementwise node becomes a map of one step.
static IrBody read_body(IrNode *n, Kind k, IrStep *step) {
    if (k != STEPS || n->op == IR_OP_MAP) {
        return ir_body(n, body_key(k));
    }
    *step = (IrStep){.op = n->op, .arg = {0, 1, 2}};
    ir_step_params(n, step->p);
    return (IrBody){1, step};
}

static void become_map(IrNode *n) {
    while (n->n_attrs) {
        ir_del_attr(n, n->attrs[0].key);
    }
    n->op = IR_OP_MAP;
}

static bool reads_stored(const Bf16 *b, const IrNode *n, int first) {
    for (int i = first; i < n->n_in; i++) {
        if (ir_in(n, i) && ir_in(n, i)->type.dtype == IR_BF16 && is_stored(b, ir_in(n, i))) {
            return true;
        }
    }
    return false;
}

static void convert_body(Bf16 *b, IrNode *n, Kind k) {
    bool store = is_stored(b, n->out[0]);
    int first = k == STEPS ? 0 : ir_op_info(n->op)->max_in;
    IrStep step;
    if (!store && !reads_stored(b, n, first)) {
        return;
    }
    IrBody body = widen_body(b, n, read_body(n, k, &step), first, store);
    if (k == STEPS && n->op != IR_OP_MAP) {
        become_map(n);
    }
    if (body.n) {
        ir_set_attr(n, ir_attr_body(b->ctx->prog->arena, body_key(k), &body));
    }
    b->changes++;
}

// ---------------------------------------------------------------- nodes

static bool reads_stored_map(const Bf16 *b, const IrNode *n) {
    bool stored = false;
    for (int i = 0; i < count_maps(n); i++) {
        stored |= is_stored(b, ir_in(n, i));
    }
    return stored;
}

static void convert_node(Bf16 *b, IrNode *n) {
    Kind k = b->kind[n->out[0]->id];
    int maps = k == NORM && reads_stored_map(b, n) ? count_maps(n) : 0;
    int own = ir_op_info(n->op)->max_in < n->n_in ? ir_op_info(n->op)->max_in : n->n_in;
    bool move = k == MOVE && is_stored(b, n->out[0]), wgrad = k == WGRAD;
    bool summed = k == PRODUCT || k == MEAN || maps || wgrad;
    for (int i = 0; i < (k == OTHER ? n->n_in : own) && k != STEPS; i++) {
        const IrValue *v = ir_in(n, i);
        bool pair = ((k == PRODUCT || wgrad) && i < 2) || (k == ATTENTION && i < 3) || i < maps,
             moved = move && i < count_moved(n);
        if (v && (pair || moved)) {
            read_as(b, n, i, IR_BF16);
        } else if (v && v->type.dtype == IR_BF16 && is_stored(b, v) && k != MEAN) {
            read_as(b, n, i, IR_F32);
        }
    }
    if (summed && ir_in(n, 0)->type.dtype == IR_BF16) {
        ir_set_attr(n, ir_attr_s(IR_ATTR_TO, ir_dtype_name(IR_F32)));
    }
    if (k == ATTENTION && !is_stored(b, n->out[0])) {
        ir_set_attr(n, ir_attr_s(IR_ATTR_TO, ir_dtype_name(IR_F32)));
    }
    if (k != OTHER && k != MOVE && k != ATTENTION && !wgrad) {
        convert_body(b, n, k);
    }
    const char *wrong = ir_infer(n);
    if (wrong) {
        ir_bug("bf16", n->name, "%s", wrong);
    }
}

PassResult pass_bf16(PassContext *ctx, IrGraph *g) {
    Bf16 b = {.ctx = ctx, .graph = g, .n = g->next_id};
    if (!ctx->opt->bf16) {
        return (PassResult){0};
    }
    b.kind = ir_alloc_array(ctx->scratch, (size_t)b.n + 1, sizeof *b.kind);
    b.can = ir_alloc_array(ctx->scratch, (size_t)b.n + 1, sizeof *b.can);
    b.wanted = ir_alloc_array(ctx->scratch, (size_t)b.n + 1, sizeof *b.wanted);
    decide(&b);
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->out[0]->id < b.n) { // casts that were put in are done
            convert_node(&b, n);
        }
    }
    return (PassResult){b.changes};
}
