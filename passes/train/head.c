// replace_head: the classifier gives way to one for the user's classes, freshly initialised; what
// turned its logits into probabilities goes, because the loss contains it.
//
//   %l = matmul %f, %fc.weight, %fc.bias     ->  %l = matmul %f, %fc.weight', %fc.bias'
//   %y = softmax %l                              return %l                 [N,classes]
//   return %y                                [N,1000]
//
// The classifier is the last product by a weight above the first output: Gemm, MatMul and Add, a
// convolution with the global pool below it (SqueezeNet) or above it. Shape changes, activations,
// pools and reductions may stand between it and the output, and follow the new number of classes.
// Initial values are those of torch.nn.Linear and Conv2d (uniform within 1/sqrt(fan_in), He et al.
// 2015 with a = sqrt(5)), and those of torchvision's SqueezeNet (normal, deviation 0.01, no bias)
// where a pool follows.

#include "passes/train/flow.h"
#include "passes/train/head_init.h"
#include "passes/util.h"

#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- finding it

static bool is_softmax(const IrNode *n) {
    return n->op == IR_OP_SOFTMAX || n->op == IR_OP_LOG_SOFTMAX || n->op == IR_OP_SIGMOID;
}

// The operand of n that is no single number, where n multiplies by one (Gemm's beta); else -1.
static int scaled_operand(const IrNode *n) {
    if (!n || n->op != IR_OP_MUL) {
        return -1;
    }
    return ir_const_is_scalar(ir_in(n, 1)) ? 0 : ir_const_is_scalar(ir_in(n, 0)) ? 1 : -1;
}

// A constant, or what was one before it became a parameter of the graph, or computed from such.
static bool is_weight(const PassFlow *f, const IrValue *v) {
    return v && !f->varies[v->id];
}

// The constant that v is, or moves; NULL: it is an input by now.
static IrConst *root_of(const IrValue *v) {
    while (v->def && (v->def->op == IR_OP_RESHAPE || v->def->op == IR_OP_TRANSPOSE)) {
        v = ir_in(v->def, 0);
    }
    return v->konst;
}

// What rounds to a quantized range: below the classifier that is the range of the old one's logits.
static bool is_quantizer(const IrNode *n) {
    return n->src_op &&
           (strcmp(n->src_op, "QuantizeLinear") == 0 || strcmp(n->src_op, "DequantizeLinear") == 0);
}

// The operand that n passes on, class by class; NULL: it does more than that. A bias that n adds is
// noted.
static IrValue *look_through(const PassFlow *f, IrNode *n, PassHead *h) {
    unsigned flags = ir_op_info(n->op)->flags;
    if (is_quantizer(n)) {
        return ir_in(n, 0);
    }
    if (n->n_in == 1 && (flags & IR_FLAG_E)) {
        bool steps = n->op == IR_OP_ROUND || n->op == IR_OP_FLOOR || n->op == IR_OP_CEIL ||
                     n->op == IR_OP_SIGN; // no gradient comes through
        return steps ? NULL : ir_in(n, 0);
    }
    if (n->n_in == 2 && (n->op == IR_OP_ADD || n->op == IR_OP_MUL)) {
        int k = is_weight(f, ir_in(n, 1)) ? 1 : is_weight(f, ir_in(n, 0)) ? 0 : -1;
        if (k >= 0 && n->op == IR_OP_ADD && !ir_const_is_scalar(ir_in(n, k))) {
            h->bias_node = n;
            h->bias_at = k;
        }
        return k >= 0 ? ir_in(n, 1 - k) : NULL;
    }
    switch (n->op) {
    case IR_OP_SOFTMAX:
    case IR_OP_LOG_SOFTMAX:
    case IR_OP_COPY:
    case IR_OP_RESHAPE:
    case IR_OP_TRANSPOSE:
    case IR_OP_DROPOUT:
    case IR_OP_MAX_POOL:
    case IR_OP_AVG_POOL:
    case IR_OP_ARG_MAX:
        return ir_in(n, 0);
    default:
        return pass_is_reduce(n) ? ir_in(n, 0) : NULL;
    }
}

static bool is_classifier(const PassFlow *f, const IrNode *n) {
    bool product = n->op == IR_OP_CONV ? ir_int(n, IR_ATTR_GROUP, 1) == 1
                                       : n->op == IR_OP_MATMUL && ir_in(n, 1)->type.shape.rank == 2;
    return product && is_weight(f, ir_in(n, 1));
}

// ---------------------------------------------------------------- what ends the network

static bool only_moves(const IrNode *n) {
    return n->op == IR_OP_COPY || n->op == IR_OP_RESHAPE || n->op == IR_OP_DROPOUT ||
           n->op == IR_OP_TRANSPOSE;
}

// What hands on logits or probabilities as they are, or the class that they name.
static bool hands_on(const IrNode *n) {
    return only_moves(n) || is_quantizer(n) || n->op == IR_OP_CAST || n->op == IR_OP_CLIP ||
           n->op == IR_OP_ARG_MAX;
}

// The axis of an operand that has one element per class; -1: none.
static int class_axis(const IrShape *s, int64_t classes, int from_last) {
    for (int i = 0; i < s->rank; i++) {
        int axis = from_last ? s->rank - 1 - i : i;
        if (ir_dim_is(s->dim[axis], classes)) {
            return axis;
        }
    }
    return -1;
}

static int64_t count_classes(const IrNode *n) {
    const IrShape *s = &n->out[0]->type.shape;
    return s->dim[n->op == IR_OP_CONV ? 1 : s->rank - 1].c;
}

static void find_end(IrGraph *g, PassHead *h) {
    h->end_axis = class_axis(&g->outputs[0]->type.shape, count_classes(h->node), true);
    for (IrNode *n = g->outputs[0]->def; n && n != h->node; n = ir_in(n, 0)->def) {
        if (is_softmax(n)) {
            h->end = n;
            h->end_axis = class_axis(&ir_in(n, 0)->type.shape, count_classes(h->node), true);
        }
        h->names_class = h->names_class || n->op == IR_OP_ARG_MAX;
        if (!hands_on(n)) {
            return;
        }
    }
}

// NULL: not found, *last is where the search ended.
static IrNode *search_up(IrGraph *g, const char *name, PassHead *h, const IrNode **last) {
    IrValue *v = g->n_outputs ? g->outputs[0] : NULL;
    PassFlow f = pass_flow(g->prog->arena, g);
    while (v && v->def) {
        *last = v->def;
        bool right = !name || strcmp(v->def->name, name) == 0;
        if (is_classifier(&f, v->def) && right) {
            return v->def;
        }
        v = look_through(&f, v->def, h);
    }
    return NULL;
}

// Numbers that the first output has for each image; 0: not so many for each.
static int64_t count_per_image(const IrShape *s) {
    IrDim n = ir_dim(1);
    if (s->rank < 1 || !ir_dim_eq(s->dim[0], (IrDim){0, 1})) {
        return 0;
    }
    for (int i = 1; i < s->rank; i++) {
        if (s->dim[i].n || !ir_dim_mul(n, s->dim[i], &n)) {
            return 0;
        }
    }
    return n.c;
}

// A number per class and pixel, token or box: each would need a label of its own.
static bool has_rows(const IrShape *s) {
    int wide = 0;
    for (int i = 1; i < s->rank; i++) {
        wide += !ir_dim_is(s->dim[i], 1);
    }
    return wide > 1;
}

static bool report_rows(const IrGraph *g, const IrNode *at, const char *but) {
    const IrValue *v = g->outputs[0];
    char text[160];
    ir_error(g->prog->diag, at ? (IrWhere){at->name, at->src_op} : IR_NOWHERE,
             "%sthe output '%s' is %s: several rows of numbers for each image, and one is trained "
             "against the image's label; end the network in a mean over the rows "
             "(GlobalAveragePool, ReduceMean)",
             but, v->name, ir_type_print(&v->type, text, sizeof text));
    return false;
}

static bool report_none(IrGraph *g, const char *name, const IrNode *last) {
    IrDiag *d = g->prog->diag;
    bool exists = false;
    if (g->n_outputs && has_rows(&g->outputs[0]->type.shape)) {
        return report_rows(g, last, "no classifier found: ");
    }
    for (const IrNode *n = g->first; name && n; n = n->next) {
        exists = exists || strcmp(n->name, name) == 0;
    }
    IrWhere where = {last ? last->name : NULL, last ? last->src_op : NULL};
    if (name && !exists) {
        ir_error(d, IR_NOWHERE, "--head: no node is called '%s'", name);
    } else if (name) {
        ir_error(
            d, where,
            "--head '%s' is no Gemm, MatMul or Conv that ends the network: the way up from the "
            "output ends here",
            name);
    } else {
        ir_error(
            d, where,
            "NYI: no classifier found: the way up from the output ends here, and has met no Gemm, "
            "MatMul (its weight on the right) or Conv; behind one there may be functions of single "
            "numbers, sums and products with constants, moves, pools and reductions alone");
    }
    return false;
}

bool pass_find_head(IrGraph *g, const char *name, PassHead *out) {
    const IrNode *last = NULL;
    *out = (PassHead){0};
    IrNode *n = search_up(g, name, out, &last);
    if (!n) {
        return report_none(g, name, last);
    }
    out->node = n;
    out->weight = ir_in(n, 1);
    if (ir_in(n, 2)) {
        out->bias_node = n;
        out->bias_at = 2;
    }
    out->bias = out->bias_node ? ir_in(out->bias_node, out->bias_at) : NULL;
    find_end(g, out);
    out->weight_root = root_of(out->weight);
    IrNode *scale = out->bias ? out->bias->def : NULL;
    int scaled = scale && !is_quantizer(scale) ? scaled_operand(scale) : -1;
    if (scaled >= 0) {
        out->bias_node = out->bias->def;
        out->bias_at = scaled;
        out->bias = ir_in(out->bias_node, scaled);
    }
    out->bias_root = out->bias ? root_of(out->bias) : NULL;
    return true;
}

// ---------------------------------------------------------------- the new one

static bool is_taken(const IrProgram *p, const char *name) {
    for (int i = 0; i < p->n_consts; i++) {
        if (strcmp(p->consts[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *new_name(const IrProgram *p, const char *role) {
    const char *name = ir_sprintf(p->arena, "hone.head.%s", role);
    for (int k = 2; is_taken(p, name); k++) {
        name = ir_sprintf(p->arena, "hone.head.%s.%d", role, k);
    }
    return name;
}

// An initializer that nobody else reads.
static bool is_own(const IrValue *v) {
    return v->konst && v->konst->origin && v->n_uses == 1;
}

// A constant like `old` with `classes` along `axis`. It keeps the name of an initializer that
// nobody else reads: export then finds it under that.
static IrValue *new_param(PassContext *ctx, IrGraph *g, const IrValue *old, const char *role,
                          int axis, int64_t classes, PassInit init) {
    const char *name = is_own(old) ? old->konst->origin : new_name(ctx->prog, role);
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < old->type.shape.rank; i++) {
        dims[i] = i == axis ? classes : old->type.shape.dim[i].c;
    }
    float *data;
    IrValue *v = pass_const_f32(ctx, g, name, old->type.shape.rank, dims, &data);
    v->konst->origin = v->konst->name;
    pass_head_fill(data, pass_elems(&v->type), init);
    return v;
}

static bool pools_after(const IrNode *n) {
    const IrShape *s = &n->out[0]->type.shape;
    return n->op == IR_OP_CONV && !(ir_dim_is(s->dim[2], 1) && ir_dim_is(s->dim[3], 1));
}

// The axis of what n reads that becomes `axis` of its result, n a move of a constant; -1: none.
static int axis_above(const IrNode *n, int axis) {
    const IrShape *in = &ir_in(n, 0)->type.shape, *out = &n->out[0]->type.shape;
    if (n->op == IR_OP_TRANSPOSE) {
        return (int)ir_ints(n, IR_ATTR_PERM).v[axis];
    }
    int64_t before = 1, above = 1;
    for (int i = 0; i < axis; i++) {
        before *= out->dim[i].c;
    }
    for (int i = 0; i < in->rank; above *= in->dim[i++].c) {
        if (above == before && ir_dim_eq(in->dim[i], out->dim[axis])) {
            return i;
        }
    }
    return -1;
}

// n moves an initializer that nobody else reads, for one reader.
static bool moves_own(const IrNode *n, int axis) {
    while (n && n->out[0]->n_uses == 1 && axis >= 0 &&
           (n->op == IR_OP_RESHAPE || n->op == IR_OP_TRANSPOSE)) {
        if (is_own(ir_in(n, 0))) {
            return axis_above(n, axis) >= 0;
        }
        axis = axis_above(n, axis);
        n = ir_in(n, 0)->def;
    }
    return false;
}

// Operand `at` of n with `classes` along `axis`: a new constant, which keeps the old one's layout
// where that is moved on the way here.
static void replace_operand(PassContext *ctx, IrGraph *g, IrNode *n, int at, const char *role,
                            int axis, int64_t classes, PassInit init) {
    IrNode *up = ir_in(n, at)->def;
    if (!moves_own(up, axis)) {
        ir_set_in(n, at, new_param(ctx, g, ir_in(n, at), role, axis, classes, init));
        return;
    }
    replace_operand(ctx, g, up, 0, role, axis_above(up, axis), classes, init);
    if (up->op == IR_OP_RESHAPE) {
        IrShape s = up->out[0]->type.shape;
        s.dim[axis] = ir_dim(classes);
        ir_set_attr(up, ir_attr_dims(IR_ATTR_SHAPE, &s));
    }
    ir_infer(up);
}

// Weights and bias in the node; false after an error.
static bool replace_weights(PassContext *ctx, IrGraph *g, PassHead *h, const PassHeadOptions *o) {
    IrNode *n = h->node;
    int64_t old = count_classes(n), elems = pass_elems(&h->weight->type);
    bool first = n->op == IR_OP_CONV || ir_int(n, IR_ATTR_TRANS_B, 0);
    double fan_in = old > 0 ? (double)elems / (double)old : 1;
    PassInit init = {.seed = o->seed, .normal = pools_after(n)};
    init.scale = init.normal ? 0.01 : 1 / sqrt(fan_in);
    int axis = first ? 0 : h->weight->type.shape.rank - 1;
    replace_operand(ctx, g, n, 1, "weight", axis, o->classes, init);
    if (h->bias) {
        int bias_axis = class_axis(&h->bias->type.shape, old, true);
        if (bias_axis < 0) {
            ir_error(ctx->prog->diag, (IrWhere){h->bias_node->name, h->bias_node->src_op},
                     "NYI: the classifier's bias is not one number per class");
            return false;
        }
        init = (PassInit){.seed = o->seed + 1, .scale = init.normal ? 0 : init.scale};
        replace_operand(ctx, g, h->bias_node, h->bias_at, "bias", bias_axis, o->classes, init);
        if (scaled_operand(h->bias_node) >= 0) { // above the classifier
            ir_infer(h->bias_node);
        }
    }
    return true;
}

// ---------------------------------------------------------------- what follows it

// The target of a reshape with the new number of classes where the old one stood.
static void follow_reshape(IrNode *n, int64_t old, int64_t classes) {
    IrShape s = n->out[0]->type.shape;
    int axis = class_axis(&s, old, false);
    if (axis >= 0) {
        s.dim[axis] = ir_dim(classes);
        ir_set_attr(n, ir_attr_dims(IR_ATTR_SHAPE, &s));
    }
}

// Types of everything below the classifier, again.
static bool retype(PassContext *ctx, IrGraph *g, IrNode *head, int64_t old, int64_t classes) {
    bool *changed = ir_alloc_array(ctx->scratch, g->next_id, sizeof *changed);
    for (IrNode *n = head; n; n = n->next) {
        bool mine = n == head;
        for (int i = 0; i < n->n_in && !mine; i++) {
            mine = ir_in(n, i) && changed[ir_in(n, i)->id];
        }
        if (!mine) {
            continue;
        }
        if (n->op == IR_OP_RESHAPE) {
            follow_reshape(n, old, classes);
        }
        const char *why = ir_infer(n);
        if (why) {
            ir_error(ctx->prog->diag, (IrWhere){n->name, n->src_op},
                     "below the classifier, and made for %lld classes: %s", (long long)old, why);
            return false;
        }
        changed[n->out[0]->id] = true;
    }
    return true;
}

// ---------------------------------------------------------------- the output

// Its readers read what it reads.
static IrNode *cut_out(IrNode *n) {
    IrNode *up = ir_in(n, 0)->def;
    ir_replace_uses(n->out[0], ir_in(n, 0));
    ir_remove_node(n);
    return up;
}

// ArgMax and what moves the classes that it names: the output is what it reads.
static int drop_choice(IrGraph *g) {
    IrNode *choice = g->outputs[0]->def, *up;
    while (choice && hands_on(choice) && choice->op != IR_OP_ARG_MAX) {
        choice = ir_in(choice, 0)->def;
    }
    if (!choice || choice->op != IR_OP_ARG_MAX) {
        return 0;
    }
    IrNode *n = g->outputs[0]->def;
    ir_replace_output(g, 0, ir_in(choice, 0));
    for (bool more = true; more && n->out[0]->n_uses == 0; n = up) {
        more = n != choice;
        up = ir_in(n, 0)->def;
        ir_remove_node(n);
    }
    return 1;
}

// What the network makes of its logits for whoever runs it goes; the loss has its own softmax or
// sigmoid. Without one, clips and casts are part of the network. Quantizers go wherever they stand.
static int drop_end(IrGraph *g, const PassHead *h) {
    int changes = drop_choice(g);
    bool above = !h->end; // the end, on the way up
    PassFlow f = pass_flow(g->prog->arena, g);
    PassHead none;
    for (IrNode *n = g->outputs[0]->def; n && n != h->node;) {
        bool keep = above || only_moves(n);
        above = above || n == h->end;
        if (is_quantizer(n) || !keep) {
            n = cut_out(n);
            changes++;
        } else {
            IrValue *up = look_through(&f, n, &none);
            n = up ? up->def : NULL;
        }
    }
    for (IrNode *n = h->node; changes && n; n = n->next) {
        ir_infer(n); // perhaps of another element type now
    }
    return changes;
}

// [N,classes], whatever the network made of it.
static bool flatten_output(PassContext *ctx, IrGraph *g, int64_t classes) {
    IrValue *v = g->outputs[0];
    int64_t numbers = count_per_image(&v->type.shape);
    char text[160];
    if (numbers > 0 && numbers == classes && v->type.dtype == IR_F32) {
        if (v->type.shape.rank != 2) {
            IrShape flat = {2, {{0, 1}, ir_dim(classes)}};
            IrBuilder b = {.graph = g, .name = v->def->name, .src_op = v->def->src_op};
            ir_replace_output(g, 0, ir_build_reshape(&b, v, &flat));
        }
        return true;
    }
    ir_error(ctx->prog->diag, (IrWhere){v->def->name, v->def->src_op},
             "the output '%s' is %s, not one row of %lld numbers per image", v->name,
             ir_type_print(&v->type, text, sizeof text), (long long)classes);
    return false;
}

PassResult pass_replace_head(PassContext *ctx, IrGraph *g) {
    static const PassHeadOptions none;
    const PassHeadOptions *o = ctx->opt->head ? ctx->opt->head : &none;
    PassResult r = {0};
    PassHead h;
    if (!pass_find_head(g, o->node, &h)) {
        return r;
    }
    r.changes += drop_end(g, &h);
    int64_t old = count_classes(h.node), numbers = count_per_image(&g->outputs[0]->type.shape);
    if (old > 0 && numbers > old && numbers % old == 0) {
        report_rows(g, g->outputs[0]->def, "");
        return r;
    }
    if (o->classes) {
        if (!replace_weights(ctx, g, &h, o) || !retype(ctx, g, h.node, old, o->classes)) {
            return r;
        }
        r.changes++;
    }
    flatten_output(ctx, g, o->classes ? o->classes : old);
    return r;
}
