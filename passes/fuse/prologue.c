// fuse_prologue: elementwise work on the input of a 1x1 convolution becomes its prologue, done
// while the convolution reads it.
//
//   %m = map %x, %scale, %shift
//          {body=[mul(0, 1), add(s0, 2), relu(s1)]}        ->
//   %y = conv %m, %w
//
//   %y = conv %x, %w, _, %scale, %shift {pre=[mul(acc, 3), add(s0, 4), relu(s1)]}
//
// Normalisation and activation in front of the convolutions of a dense block, and the gates of
// squeeze-and-excitation. The tensor between the two is never written. Conditions:
//   - nobody else reads it;
//   - the convolution is 1x1, stride 1, group 1, not padded, in the blocked layout: every pixel is
//     read once for all output channels, and the code generator has this form;
//   - of the operands one has the result's shape, and may stand several times; the others are
//     [N|1,C,1,1] or one element.
//   - below -O3, an image of x is larger than what stays in L2: a smaller one was just written, and
//     measured, writing it once more costs no more than what the prologue does for each band.
// Their operands follow those of the epilogue; see ir_prologue().

#include "ir/conv.h"
#include "passes/util.h"

enum { MAX_STEPS = 16, MAX_OPERANDS = 15, MAX_CHANNELS = 4096 };

static bool is_pointwise(const IrNode *n) {
    if (n->op != IR_OP_CONV || n->out[0]->type.block == 0 || ir_in(n, 0)->type.block == 0 ||
        ir_body(n, IR_ATTR_PRE).n) {
        return false;
    }
    IrConv c = ir_conv(n);
    return c.flat && c.w.group == 1 && c.C > 0 && c.C <= MAX_CHANNELS;
}

static bool pays(const PassContext *ctx, const IrNode *n) {
    const IrShape *x = &ir_in(n, 0)->type.shape;
    double bytes = 4.0 * (double)x->dim[1].c * (double)x->dim[2].c * (double)x->dim[3].c;
    return ctx->opt->opt_level > 2 || bytes > (double)ir_budget(ctx->opt->machine, IR_L2_IMAGE);
}

static bool is_same_type(const IrValue *v, const IrValue *x) {
    return ir_type_eq(&v->type, &x->type);
}

// [N|1,C,1,1] against x, or one element.
static bool is_per_channel(const IrValue *v, const IrValue *x) {
    const IrShape *s = &v->type.shape, *of = &x->type.shape;
    IrDim elems;
    if (ir_shape_elems(s, &elems) && ir_dim_is(elems, 1)) {
        return true;
    }
    return s->rank == 4 && (ir_dim_is(s->dim[0], 1) || ir_dim_eq(s->dim[0], of->dim[0])) &&
           ir_dim_eq(s->dim[1], of->dim[1]) && ir_dim_is(s->dim[2], 1) && ir_dim_is(s->dim[3], 1);
}

// The operand of `def` that the prologue would read element by element; NULL: not this form.
static IrValue *find_input(const IrNode *def) {
    IrValue *input = NULL;
    for (int i = 0; i < def->n_in; i++) {
        IrValue *v = ir_in(def, i);
        if (!v || v->type.dtype != IR_F32) {
            return NULL;
        }
        if (!input && !v->konst && is_same_type(v, def->out[0])) {
            input = v;
        } else if (v != input && !is_per_channel(v, def->out[0])) {
            return NULL;
        }
    }
    return input;
}

// The steps of `def`, as a map has them.
static IrBody read_steps(PassContext *ctx, const IrNode *def) {
    if (def->op == IR_OP_MAP) {
        return ir_body(def, IR_ATTR_BODY);
    }
    IrStep *step = ir_alloc_array(ctx->scratch, 1, sizeof *step);
    *step = (IrStep){.op = def->op, .arg = {0, 1, 2}};
    ir_step_params(def, step->p);
    return (IrBody){1, step};
}

// Steps with the conv's operands for those of `def`.
static IrBody rename_operands(PassContext *ctx, IrBody steps, const int *operand) {
    IrBody pre = {steps.n, ir_alloc_array(ctx->scratch, (size_t)steps.n, sizeof *pre.step)};
    for (int i = 0; i < steps.n; i++) {
        pre.step[i] = steps.step[i];
        for (int k = 0; k < ir_op_info(pre.step[i].op)->max_in; k++) {
            int *arg = &pre.step[i].arg[k];
            *arg = *arg < 0 ? *arg : operand[*arg];
        }
    }
    return pre;
}

static bool fuse(PassContext *ctx, IrNode *n) {
    IrNode *def = ir_in(n, 0)->def;
    if (!def || ir_only_user(def->out[0]) != n || def->out[0]->type.dtype != IR_F32 ||
        (def->op != IR_OP_MAP && !pass_is_eltwise(def))) {
        return false;
    }
    IrValue *input = find_input(def);
    IrBody steps = read_steps(ctx, def);
    int own = ir_op_info(n->op)->max_in, had = n->n_in > own ? n->n_in : own;
    if (!input || steps.n > MAX_STEPS || had + def->n_in - 1 > MAX_OPERANDS) {
        return false;
    }
    int operand[MAX_OPERANDS + 1];
    for (int i = 0; i < def->n_in; i++) {
        operand[i] = IR_ACC;
        if (ir_in(def, i) != input) {
            operand[i] = n->n_in > own ? n->n_in : own;
            ir_add_in(n, ir_in(def, i));
        }
    }
    IrBody pre = rename_operands(ctx, steps, operand);
    ir_set_attr(n, ir_attr_body(ctx->prog->arena, IR_ATTR_PRE, &pre));
    ir_set_in(n, 0, input);
    n->name = ir_join_names(ctx->prog->arena, def->name, n->name);
    ir_remove_node(def);
    const char *wrong = ir_infer(n);
    if (wrong) {
        ir_bug("fuse_prologue", n->name, "%s", wrong);
    }
    return true;
}

PassResult pass_fuse_prologue(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next) {
        r.changes += is_pointwise(n) && pays(ctx, n) && fuse(ctx, n);
    }
    return r;
}
