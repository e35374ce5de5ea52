// replace_head: the classifier gives way to one for the user's classes, freshly initialised, or all
// of them where the output is made of several; what turned their logits into probabilities goes,
// because the loss contains it.
//
//   %l = matmul %f, %fc.weight, %fc.bias     ->  %l = matmul %f, %fc.weight', %fc.bias'
//   %y = softmax %l                              return %l                 [N,classes]
//   return %y                                [N,1000]
//
// Shape changes, activations, pools, reductions and joins between it and the output follow the new
// number of classes; a batch_norm there begins as the identity. Of a map of classes, which a
// segmentation makes, the output becomes a row for each place, [N,places,classes]. Initial values
// are those of torch.nn.Linear and Conv2d (uniform within 1/sqrt(fan_in), He et al. 2015 with a =
// sqrt(5)), and those of torchvision's SqueezeNet (normal, deviation 0.01, no bias) where a pool
// follows.

#include "passes/train/head.h"
#include "passes/train/head_init.h"
#include "passes/util.h"

#include <math.h>
#include <string.h>

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

// n moves an initializer that nobody else reads, for one reader.
static bool moves_own(const IrNode *n, int axis) {
    while (n && n->out[0]->n_uses == 1 && axis >= 0 &&
           (n->op == IR_OP_RESHAPE || n->op == IR_OP_TRANSPOSE)) {
        if (is_own(ir_in(n, 0))) {
            return pass_head_axis_above(n, axis) >= 0;
        }
        axis = pass_head_axis_above(n, axis);
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
    replace_operand(ctx, g, up, 0, role, pass_head_axis_above(up, axis), classes, init);
    if (up->op == IR_OP_RESHAPE) {
        IrShape s = up->out[0]->type.shape;
        s.dim[axis] = ir_dim(classes);
        ir_set_attr(up, ir_attr_dims(IR_ATTR_SHAPE, &s));
    }
    ir_infer(up);
}

// How the numbers of part i begin: each part draws its own.
static PassInit init_of(const PassHead *h, int i, uint64_t seed) {
    const PassHeadPart *p = &h->parts[i];
    const IrNode *n = p->head;
    int64_t old = pass_head_classes(n), elems = pass_elems(&ir_in(n, pass_head_weight_at(n))->type);
    PassInit init = {.seed = seed + (uint64_t)i};
    double uniform = 1 / sqrt(old > 0 ? (double)elems / (double)old : 1);
    if (p->role == PASS_HEAD_ONE) {
        init.offset = 1;
    } else if (p->role == PASS_HEAD_WEIGHT) {
        init.normal = pools_after(n);
        init.scale = init.normal ? 0.01 : uniform;
    } else if (p->role == PASS_HEAD_BIAS) {
        init.scale = pools_after(n) ? 0 : uniform;
    }
    return init;
}

// The axis of the classes in part p; -1: none.
static int axis_of(const PassHead *h, const PassHeadPart *p) {
    if (p->role == PASS_HEAD_WEIGHT) {
        return pass_head_weight_axis(p->node);
    }
    return pass_head_class_axis(&p->value->type.shape, pass_head_classes(h->nodes[0]), true);
}

static const IrValue *weight_of(const PassHeadPart *p) {
    return ir_in(p->head, pass_head_weight_at(p->head));
}

// The first part that reads the same constant, which only these parts do, one layer at several
// places; i: there is none before it.
static int first_of(const PassHead *h, int i) {
    const PassHeadPart *p = &h->parts[i];
    int first = i, readers = 0;
    for (int k = h->n_parts; k-- > 0;) {
        const PassHeadPart *q = &h->parts[k];
        bool same = q->value == p->value && weight_of(q) == weight_of(p);
        readers += same;
        first = same && k < first ? k : first;
    }
    return p->value->konst && p->value->n_uses == readers ? first : i;
}

// Weights, biases and what else has numbers for each class; false after an error.
static bool replace_parts(PassContext *ctx, IrGraph *g, PassHead *h, const PassHeadOptions *o) {
    PassInit *init = ir_alloc_array(ctx->scratch, (size_t)h->n_parts, sizeof *init);
    int *axis = ir_alloc_array(ctx->scratch, (size_t)h->n_parts, sizeof *axis);
    int *first = ir_alloc_array(ctx->scratch, (size_t)h->n_parts, sizeof *first);
    for (int i = 0; i < h->n_parts; i++) {
        init[i] = init_of(h, i, o->seed);
        axis[i] = axis_of(h, &h->parts[i]);
        first[i] = first_of(h, i);
    }
    for (int i = 0; i < h->n_parts; i++) {
        if (first[i] < i) {
            ir_set_in(h->parts[i].node, h->parts[i].at, NULL);
        }
    }
    for (int i = 0; i < h->n_parts; i++) {
        static const char *const roles[] = {"weight", "bias", "shift", "scale"};
        PassHeadPart *p = &h->parts[i];
        if (axis[i] < 0) {
            ir_error(ctx->prog->diag, (IrWhere){p->node->name, p->node->src_op},
                     "NYI: the classifier's bias is not one number per class");
            return false;
        }
        if (first[i] < i) {
            const PassHeadPart *same = &h->parts[first[i]];
            ir_set_in(p->node, p->at, ir_in(same->node, same->at));
            continue;
        }
        replace_operand(ctx, g, p->node, p->at, roles[p->role], axis[i], o->classes, init[i]);
        if (pass_head_scaled(p->node) >= 0) { // above the classifier
            ir_infer(p->node);
        }
    }
    return true;
}

// ---------------------------------------------------------------- what follows it

// The target of a reshape or slice with the new number of classes where the old one stood.
static void follow_shape(IrNode *n, int axis, int64_t old, int64_t classes) {
    IrShape s = n->out[0]->type.shape;
    axis = axis >= 0 ? axis : pass_head_class_axis(&s, old, false);
    if (axis >= 0) {
        s.dim[axis] = ir_dim(classes);
        ir_set_attr(n, ir_attr_dims(IR_ATTR_SHAPE, &s));
    }
}

// Types of everything below the classifiers, again.
static bool retype(PassContext *ctx, IrGraph *g, const PassHead *h, int64_t old, int64_t classes) {
    bool *changed = ir_alloc_array(ctx->scratch, g->next_id, sizeof *changed);
    for (IrNode *n = h->nodes[0]; n; n = n->next) {
        bool mine = pass_head_is_node(h, n);
        for (int i = 0; i < n->n_in && !mine; i++) {
            mine = ir_in(n, i) && changed[ir_in(n, i)->id];
        }
        if (!mine) {
            continue;
        }
        if (n->op == IR_OP_RESHAPE || n->op == IR_OP_SLICE) {
            follow_shape(n, h->axis[n->out[0]->id], old, classes);
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
    while (choice && pass_head_hands_on(choice) && choice->op != IR_OP_ARG_MAX) {
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
    int changes = 0;
    for (int i = 0; i < h->n_below; i++) {
        if (pass_head_is_quantizer(h->below[i])) {
            cut_out(h->below[i]);
            changes++;
        }
    }
    changes += drop_choice(g);
    bool more = h->end;
    for (IrNode *n = g->outputs[0]->def; more;) {
        more = n != h->end;
        if (pass_head_only_moves(n)) {
            n = ir_in(n, 0)->def;
        } else {
            n = cut_out(n);
            changes++;
        }
    }
    for (IrNode *n = h->nodes[0]; changes && n; n = n->next) {
        ir_infer(n); // perhaps of another element type now
    }
    return changes;
}

// The loss takes its softmax: of the logarithms of probabilities that makes them again.
static void take_log(IrGraph *g) {
    IrValue *v = g->outputs[0];
    IrBuilder b = {.graph = g, .name = v->def->name, .src_op = v->def->src_op};
    IrAttr bounds[] = {ir_attr_f(IR_ATTR_MIN, 1e-30), ir_attr_f(IR_ATTR_MAX, 1)};
    IrValue *p = ir_build(&b, IR_OP_CLIP, 1, &v, 2, bounds);
    ir_replace_output(g, 0, ir_build(&b, IR_OP_LOG, 1, &p, 0, NULL));
}

// The output is a map of classes along `axis`, a row of them for each place: a segmentation.
static bool is_map(const IrValue *v, int axis) {
    const IrShape *s = &v->type.shape;
    bool fits = s->rank == 4 && (axis == 1 || axis == 3) && pass_head_per_image(s) > 0;
    return fits && s->dim[axis].c > 0 && pass_head_per_image(s) > s->dim[axis].c;
}

bool pass_head_is_one_map(const IrGraph *g, const PassHead *h) {
    return pass_head_classes(h->nodes[0]) == 1 && is_map(g->outputs[0], h->axis[g->outputs[0]->id]);
}

void pass_head_pair(IrGraph *g) {
    static const int64_t first[] = {0, 0, 1, 0, 0, 0};
    IrValue *z = g->outputs[0]; // [N,places,1]
    IrBuilder b = {.graph = g, .name = z->def->name, .src_op = z->def->src_op};
    IrAttr attrs[] = {ir_attr_ints(g->prog->arena, IR_ATTR_PAD, 6, first),
                      ir_attr_s(IR_ATTR_MODE, "constant"), ir_attr_f(IR_ATTR_VALUE, 0)};
    ir_replace_output(g, 0, ir_build(&b, IR_OP_PAD, 1, &z, 3, attrs));
}

// [N,places,classes] of such a map.
static void take_rows(IrGraph *g, int axis, const PassHeadOptions *o) {
    static const int64_t last[] = {0, 2, 3, 1};
    IrValue *v = g->outputs[0];
    const IrShape *s = &v->type.shape;
    int64_t height = s->dim[axis == 1 ? 2 : 1].c, width = s->dim[axis == 1 ? 3 : 2].c;
    IrShape rows = {3, {{0, 1}, ir_dim(height * width), s->dim[axis]}};
    IrBuilder b = {.graph = g, .name = v->def->name, .src_op = v->def->src_op};
    IrAttr perm = ir_attr_ints(g->prog->arena, IR_ATTR_PERM, 4, last);
    v = axis == 1 ? ir_build(&b, IR_OP_TRANSPOSE, 1, &v, 1, &perm) : v;
    ir_replace_output(g, 0, ir_build_reshape(&b, v, &rows));
    if (o->map) {
        o->map[0] = height;
        o->map[1] = width;
    }
}

// [N,classes], whatever the network made of it.
static bool flatten_output(PassContext *ctx, IrGraph *g, int64_t classes) {
    IrValue *v = g->outputs[0];
    int64_t numbers = pass_head_per_image(&v->type.shape);
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

static void report_beside(IrGraph *g, const PassHead *h) {
    const IrNode *n = g->outputs[0]->def;
    ir_error(g->prog->diag, (IrWhere){n->name, n->src_op},
             "the scores of '%s' and of '%s' stand side by side in the output '%s', and one of the "
             "classes of both is trained against the image's label; end the network in their mean",
             h->nodes[0]->name, h->nodes[1]->name, g->outputs[0]->name);
}

PassResult pass_replace_head(PassContext *ctx, IrGraph *g) {
    static const PassHeadOptions none;
    const PassHeadOptions *o = ctx->opt->head ? ctx->opt->head : &none;
    PassResult r = {0};
    PassHead h;
    if (!pass_find_head(g, o->node, &h)) {
        return r;
    }
    int64_t old = pass_head_classes(h.nodes[0]);
    r.changes += drop_end(g, &h);
    int64_t numbers = pass_head_per_image(&g->outputs[0]->type.shape);
    if (h.n_nodes > 1 && numbers == h.n_nodes * old) {
        report_beside(g, &h);
        return r;
    }
    int axis = h.axis[g->outputs[0]->id];
    bool map = is_map(g->outputs[0], axis);
    if (!map && old > 0 && numbers > old && numbers % old == 0) {
        pass_head_report_rows(g, g->outputs[0]->def, "");
        return r;
    }
    if (o->classes) {
        if (!replace_parts(ctx, g, &h, o) || !retype(ctx, g, &h, old, o->classes)) {
            return r;
        }
        r.changes++;
    }
    if (h.joins_odds) {
        take_log(g);
        r.changes++;
    }
    if (map && g->outputs[0]->type.dtype == IR_F32) {
        take_rows(g, axis, o);
    } else {
        flatten_output(ctx, g, o->classes ? o->classes : old);
    }
    return r;
}
