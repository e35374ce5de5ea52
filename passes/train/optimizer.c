// The loss of a training graph, and the optimisers as graphs over the flat parameter buffer. The
// formulas stand in autodiff.h.

#include "passes/train/autodiff.h"
#include "passes/train/names.h"

static IrValue *must(const IrBuilder *b, IrValue *v) {
    if (!v) {
        ir_bug("optimizer", b->name, "%s", b->err ? b->err : "an operand is missing");
    }
    return v;
}

static IrValue *binary(IrBuilder *b, IrOp op, IrValue *x, IrValue *y) {
    return must(b, ir_build2(b, op, x, y));
}
static IrValue *add(IrBuilder *b, IrValue *x, IrValue *y) {
    return binary(b, IR_OP_ADD, x, y);
}
static IrValue *sub(IrBuilder *b, IrValue *x, IrValue *y) {
    return binary(b, IR_OP_SUB, x, y);
}
static IrValue *mul(IrBuilder *b, IrValue *x, IrValue *y) {
    return binary(b, IR_OP_MUL, x, y);
}
static IrValue *divide(IrBuilder *b, IrValue *x, IrValue *y) {
    return binary(b, IR_OP_DIV, x, y);
}
static IrValue *unary(IrBuilder *b, IrOp op, IrValue *x) {
    return must(b, ir_build1(b, op, x));
}
static IrValue *scale(IrBuilder *b, IrValue *x, double by) {
    return mul(b, x, ir_build_scalar(b, x->type.dtype, by));
}

static IrValue *reduce_rows(IrBuilder *b, IrOp op, IrValue *x) { // x [N,K]
    IrAttr attrs[] = {ir_attr_ints(b->graph->prog->arena, IR_ATTR_AXES, 1, (int64_t[]){1}),
                      ir_attr_i(IR_ATTR_KEEPDIMS, 0)};
    return must(b, ir_build(b, op, 1, &x, 2, attrs));
}

// ---------------------------------------------------------------- losses

typedef struct LossParts { // before scaling
    IrValue *loss, *dlogits;
    IrNode *ce; // that makes both, of CE
} LossParts;

static LossParts build_ce(IrBuilder *b, IrValue *x, const PassLoss *l) {
    IrValue *in[] = {x, l->label, l->class_weight, l->smoothing};
    IrNode *n = ir_build_node(b, IR_OP_SOFTMAX_CE, 4, in, 0, NULL);
    if (!n) {
        ir_bug("loss", b->name, "%s", b->err);
    }
    return (LossParts){n->out[0], n->out[1], n};
}

static IrValue *take_one(IrBuilder *b, IrValue *x, int64_t i) {
    IrShape one = {.rank = 1, .dim = {ir_dim(1)}};
    return must(b, ir_build_slice(b, x, &i, (int64_t[]){1}, &one));
}

// What each logit's loss is multiplied by. Of one that tells two classes apart class 0's weight is
// for a target of 0, class 1's for one of 1.
static IrValue *weight_of(IrBuilder *b, const IrValue *x, const PassLoss *l) {
    if (ir_dim_eq(l->class_weight->type.shape.dim[0], x->type.shape.dim[1])) {
        return l->class_weight;
    }
    IrValue *no = take_one(b, l->class_weight, 0), *yes = take_one(b, l->class_weight, 1);
    return add(b, no, mul(b, l->label, sub(b, yes, no)));
}

// Of one logit: max(x, 0) - x z + log(1 + exp(-|x|)); its gradient sigmoid(x) - z.
static LossParts build_bce(IrBuilder *b, IrValue *x, const PassLoss *l) {
    IrDtype t = x->type.dtype;
    IrValue *one = ir_build_scalar(b, t, 1), *s = l->smoothing;
    IrValue *z = add(b, mul(b, l->label, sub(b, one, s)), scale(b, s, 0.5));
    IrValue *e = unary(b, IR_OP_EXP, unary(b, IR_OP_NEG, unary(b, IR_OP_ABS, x)));
    IrValue *soft = unary(b, IR_OP_LOG, add(b, e, one));
    IrValue *each = add(b, sub(b, unary(b, IR_OP_RELU, x), mul(b, x, z)), soft);
    IrValue *weight = weight_of(b, x, l);
    IrValue *d = mul(b, sub(b, unary(b, IR_OP_SIGMOID, x), z), weight);
    return (LossParts){reduce_rows(b, IR_OP_REDUCE_MEAN, mul(b, each, weight)),
                       scale(b, d, 1 / (double)x->type.shape.dim[1].c), NULL};
}

static IrValue *reshape(IrBuilder *b, IrValue *x, const IrShape *s) {
    return ir_shape_eq(&x->type.shape, s) ? x : must(b, ir_build_reshape(b, x, s));
}

static IrValue *input(IrGraph *g, IrBindKind kind, IrType type) {
    return ir_input(g, pass_bind_input(kind), type);
}

// A row for each label: of maps [N,P,C] those of all places, [N P,C].
static IrShape rows_of(const IrShape *logits) {
    IrShape s = {.rank = 2, .dim = {logits->dim[0], logits->dim[1]}};
    bool map = logits->rank == 3;
    if (map && !ir_dim_mul(logits->dim[0], logits->dim[1], &s.dim[0])) {
        ir_bug("loss", "loss", "too many places");
    }
    s.dim[1] = logits->dim[map ? 2 : 1];
    return s;
}

// Of maps [N,P,C]: each image's loss is the sum of its places'.
static PassLoss map_loss(IrGraph *g, IrBuilder *b, IrValue *logits, PassLoss l) {
    IrShape own = logits->type.shape, s = rows_of(&own), each = {.rank = 1, .dim = {s.dim[0]}};
    IrShape places = {.rank = 2, .dim = {own.dim[0], own.dim[1]}};
    l.label = input(g, IR_BIND_LABEL, (IrType){.dtype = IR_I32, .shape = places});
    PassLoss flat = l;
    flat.label = reshape(b, l.label, &each);
    LossParts parts = build_ce(b, reshape(b, logits, &s), &flat);
    l.loss = reduce_rows(b, IR_OP_REDUCE_SUM, reshape(b, parts.loss, &places));
    l.dlogits = l.scale ? reshape(b, mul(b, parts.dlogits, l.scale), &own) : NULL;
    l.ce = parts.ce;
    return l;
}

PassLoss pass_loss(IrGraph *g, IrValue *logits, IrLoss kind, int64_t classes, bool with_gradient) {
    IrShape own = logits->type.shape, s = rows_of(&own);
    IrType scalar = {.dtype = logits->type.dtype};
    IrType matrix = {.dtype = logits->type.dtype, .shape = s};
    IrType labels = {.dtype = IR_I32, .shape = {.rank = 1, .dim = {s.dim[0]}}};
    IrType each = {.dtype = logits->type.dtype, .shape = {.rank = 1, .dim = {ir_dim(classes)}}};
    IrBuilder b = {.graph = g, .name = "loss"};
    bool map = own.rank == 3;
    PassLoss l = {
        .label = map                  ? NULL
                 : kind == IR_LOSS_CE ? input(g, IR_BIND_LABEL, labels)
                                      : input(g, IR_BIND_TARGET, matrix),
        .class_weight = input(g, IR_BIND_CLASS_WEIGHT, each),
        .smoothing = input(g, IR_BIND_SMOOTHING, scalar),
        .scale = with_gradient ? input(g, IR_BIND_SCALE, scalar) : NULL,
    };
    if (map) {
        return map_loss(g, &b, logits, l);
    }
    IrValue *x = reshape(&b, logits, &s);
    LossParts parts = kind == IR_LOSS_CE ? build_ce(&b, x, &l) : build_bce(&b, x, &l);
    l.loss = parts.loss;
    l.ce = parts.ce;
    if (with_gradient) {
        l.dlogits = reshape(&b, mul(&b, parts.dlogits, l.scale), &own);
    }
    return l;
}

// v [N] as [N,P], or as it is where places has rank 1
static IrValue *spread(IrBuilder *b, IrValue *v, const IrShape *places) {
    IrShape column = {.rank = 2, .dim = {places->dim[0], ir_dim(1)}};
    IrAttr shape = ir_attr_dims(IR_ATTR_SHAPE, places);
    if (places->rank == 1)
        return v;
    v = reshape(b, v, &column);
    return must(b, ir_build(b, IR_OP_EXPAND, 1, &v, 1, &shape));
}

void pass_loss_mix(IrGraph *g, PassLoss *l) {
    IrType labels = l->label->type, samples = l->loss->type;
    IrShape each = ir_in(l->ce, 1)->type.shape;
    IrBuilder b = {.graph = g, .before = l->ce, .name = "mix"};
    IrValue *second = input(g, IR_BIND_LABEL2, labels), *share = input(g, IR_BIND_MIX, samples);
    ir_set_in(l->ce, 4, reshape(&b, second, &each));
    ir_set_in(l->ce, 5, reshape(&b, spread(&b, share, &labels.shape), &each));
}

// ---------------------------------------------------------------- optimisers

typedef struct Optimizer { // the graph being built; a scalar is an input from its first use on
    IrBuilder b;
    IrType tensor, scalar;
    IrValue *p, *g, *m, *v;
} Optimizer;

static IrValue *scalar(Optimizer *o, IrBindKind kind) {
    return input(o->b.graph, kind, o->scalar);
}

static void output(Optimizer *o, IrValue *v, IrBindKind kind) {
    v->name = pass_bind_output(kind);
    ir_output(o->b.graph, v);
}

static void build_momentum(Optimizer *o, bool nesterov) {
    IrBuilder *b = &o->b;
    o->m = input(b->graph, IR_BIND_M, o->tensor);
    IrValue *lr = scalar(o, IR_BIND_LR), *momentum = scalar(o, IR_BIND_MOMENTUM);
    IrValue *decay = scalar(o, IR_BIND_DECAY), *clip = scalar(o, IR_BIND_CLIP);
    IrValue *d = add(b, mul(b, o->g, clip), mul(b, o->p, decay));
    IrValue *m = add(b, mul(b, o->m, momentum), d);
    IrValue *step = nesterov ? add(b, mul(b, m, momentum), d) : m;
    output(o, sub(b, o->p, mul(b, step, lr)), IR_BIND_P);
    output(o, m, IR_BIND_M);
}

static void build_SGD(Optimizer *o) {
    build_momentum(o, false);
}

static void build_NESTEROV(Optimizer *o) {
    build_momentum(o, true);
}

// by * x + (1 - by) * to; 1 - by is exact for the rates in use, and x + ... would cancel.
static IrValue *blend(IrBuilder *b, IrValue *to, IrValue *x, IrValue *by) {
    IrValue *rest = sub(b, ir_build_scalar(b, by->type.dtype, 1), by);
    return add(b, mul(b, x, by), mul(b, to, rest));
}

static void build_ADAMW(Optimizer *o) {
    IrBuilder *b = &o->b;
    o->m = input(b->graph, IR_BIND_M, o->tensor);
    o->v = input(b->graph, IR_BIND_V, o->tensor);
    IrValue *lr = scalar(o, IR_BIND_LR), *beta1 = scalar(o, IR_BIND_MOMENTUM),
            *beta2 = scalar(o, IR_BIND_BETA2);
    IrValue *eps = scalar(o, IR_BIND_EPS), *decay = scalar(o, IR_BIND_DECAY),
            *clip = scalar(o, IR_BIND_CLIP);
    IrValue *correction1 = scalar(o, IR_BIND_CORRECTION1),
            *correction2 = scalar(o, IR_BIND_CORRECTION2);
    IrValue *d = mul(b, o->g, clip);
    IrValue *m = blend(b, d, o->m, beta1), *v = blend(b, mul(b, d, d), o->v, beta2);
    IrValue *root = add(b, unary(b, IR_OP_SQRT, mul(b, v, correction2)), eps);
    IrValue *step = add(b, divide(b, mul(b, m, correction1), root), mul(b, o->p, decay));
    output(o, sub(b, o->p, mul(b, step, lr)), IR_BIND_P);
    output(o, m, IR_BIND_M);
    output(o, v, IR_BIND_V);
}

static Optimizer begin(IrProgram *p, const char *name, int64_t row) {
    IrGraph *g = ir_graph_new(p, name);
    IrShape rows = {.rank = 2, .dim = {{0, 1}, {row, 0}}};
    return (Optimizer){.b = {.graph = g, .name = name},
                       .tensor = {.dtype = IR_F32, .shape = rows},
                       .scalar = {.dtype = IR_F32}};
}

IrGraph *pass_optimizer(IrProgram *p, IrOptimizer kind, int64_t row) {
    static const struct {
        const char *name;
        void (*build)(Optimizer *);
    } kinds[] = {
#define OPTIMIZER(NAME, name, title) [IR_OPT_##NAME] = {name, build_##NAME},
#include "runtime/train/bind.def"
    };
    Optimizer o = begin(p, kinds[kind].name, row);
    o.p = input(o.b.graph, IR_BIND_P, o.tensor);
    o.g = input(o.b.graph, IR_BIND_G, o.tensor);
    kinds[kind].build(&o);
    return o.b.graph;
}

IrGraph *pass_square_sums(IrProgram *p, int64_t row) {
    Optimizer o = begin(p, "sqsum", row);
    o.g = input(o.b.graph, IR_BIND_G, o.tensor);
    output(&o, reduce_rows(&o.b, IR_OP_REDUCE_SUM, mul(&o.b, o.g, o.g)), IR_BIND_SUM);
    return o.b.graph;
}
