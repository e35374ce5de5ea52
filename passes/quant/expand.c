// quant_expand: what is left of quantize and dequantize becomes arithmetic.
//
//   %y = quantize %x, 0.5, 128 {to=u8}    ->    %a = div %x, 0.5
//                                               %r = round %a
//                                               %s = add %r, 128
//                                               %c = clip %s {min=0, max=255}
//                                               %y = cast %c {to=u8}
//   %y = dequantize %q, 0.5, 128          ->    %f = cast %q {to=f32}
//                                               %d = sub %f, 128
//                                               %y = mul %d, 0.5
//
// Constants are dequantized here and now. Inside of the network quantize(x) divides by its scale
// within one quantum: the reciprocal goes into factors that x has already (scale.c), else x is
// multiplied with it; what a relu or clip above cuts off, the clip does:
//
//   quantize(relu(mul(%f, 3)), 0.5, 7)    ->    mul %f, 6; round; add 7; clip {min=7, max=255};
//   cast
//
// What goes out of the network is divided, as the operator says. Numbers that several chains of
// elementwise work read are dequantized in each of them, so that bytes are what is stored:
//
//   %f = dequantize %q; add %f, %a; add %f, %b    ->    add dequantize(%q), %a; add dequantize(%q),
//   %b

#include "passes/quant/quant.h"
#include <math.h>

static bool is_constant(const IrNode *n) {
    for (int i = 0; i < n->n_in; i++) {
        if (ir_in(n, i) && !pass_is_frozen(ir_in(n, i))) {
            return false;
        }
    }
    return true;
}

static IrValue *evaluate(PassContext *ctx, IrNode *n) {
    IrTensor t[3] = {{0}}, out;
    const IrTensor *in[3] = {NULL};
    for (int i = 0; i < n->n_in; i++) {
        IrValue *v = ir_in(n, i);
        if (v) {
            t[i] = (IrTensor){.dtype = v->type.dtype, .rank = v->type.shape.rank};
            for (int k = 0; k < t[i].rank; k++) {
                t[i].dim[k] = v->type.shape.dim[k].c;
            }
            t[i].data = (void *)ir_const_data(ctx->prog, v->konst); // read only
            in[i] = &t[i];
        }
    }
    const char *why = ir_eval_node(n, 1, in, &out, ctx->prog->arena);
    return why ? NULL : pass_quant_const(ctx, n, &n->out[0]->type, out.data);
}

// As the evaluator has it, node by node.
static IrValue *spell_out(IrNode *n, IrBuilder *b) {
    IrStep step[IR_QUANT_STEPS];
    IrBody body = {ir_quant_steps(n, step), step};
    IrValue *in[] = {ir_in(n, 0), ir_in(n, 1), ir_in(n, 2)};
    return pass_quant_check(b, ir_build_steps(b, &body, in));
}

static IrValue *dequantize(PassContext *ctx, IrNode *n, IrBuilder *b) {
    PassQuant q;
    if (!pass_quant_read(ctx, n, &q) || ir_dtype_bytes(q.type) > 2) {
        return spell_out(n, b);
    }
    IrValue *y = pass_quant_cast(b, ir_in(n, 0), IR_F32);
    y = pass_quant_with(b, IR_OP_SUB, y, (double)q.zero);
    return pass_quant_with(b, IR_OP_MUL, y, q.scale);
}

static bool is_chain(const IrNode *n) {
    return n && (n->op == IR_OP_QUANTIZE || n->op == IR_OP_DEQUANTIZE || pass_is_eltwise(n));
}

// Where the chain of elementwise work ends that u is part of: it goes on where one node reads what
// is there. NULL: u is no such work.
static const IrNode *end_of(const IrNode *u) {
    const IrNode *end = NULL;
    for (int left = 64; is_chain(u) && left > 0; left--) {
        end = u;
        u = ir_only_user(u->out[0]);
    }
    return end;
}

// A dequantize for each end that its readers have; n stays for the first one.
static void split_readers(IrNode *n) {
    enum { MOST = 64 };
    const IrUse *u = n->out[0]->uses;
    const IrNode *first = u ? end_of(u->node) : NULL, *end = NULL;
    if (n->out[0]->n_uses > MOST || n->out[0]->is_output) {
        return;
    }
    IrValue *now = NULL;
    for (const IrUse *next; u; u = next) {
        next = u->next;
        const IrNode *e = end_of(u->node);
        if (e == first) {
            continue;
        }
        if (!now || e != end) {
            IrValue *in[] = {ir_in(n, 0), ir_in(n, 1), ir_in(n, 2)};
            IrBuilder b = pass_before(n);
            now = pass_quant_check(&b, pass_rebuild(&b, n, n->n_in, in));
            end = e;
        }
        ir_set_in(u->node, u->index, now);
    }
}

// ---------------------------------------------------------------- quantize

// v goes out of the network as it is, or moved, as far as *left values tell.
static bool goes_out(const IrValue *v, int *left) {
    if (v->is_output || --*left < 0) {
        return true;
    }
    for (const IrUse *u = v->uses; u; u = u->next) {
        if (pass_moves(u->node) && goes_out(u->node->out[0], left)) {
            return true;
        }
    }
    return false;
}

// Takes relu and clip above n over into bounds of the integers. [low, high] come after those of
// what stands above: both ends of it are cut to them, to one number where the two do not meet.
static void take_bounds(const PassQuant *q, IrNode *n, double *low, double *high) {
    for (;;) {
        IrNode *above = ir_only_user(ir_in(n, 0)) == n ? ir_in(n, 0)->def : NULL;
        double p[2] = {0, INFINITY};
        if (!above || (above->op != IR_OP_RELU && above->op != IR_OP_CLIP)) {
            return;
        }
        if (above->op == IR_OP_CLIP) {
            ir_step_params(above, p);
        }
        if (!(p[0] <= p[1])) {
            return;
        }
        double a = fmin(fmax(pass_quant_of(q, p[0]), *low), *high);
        *high = fmin(fmax(pass_quant_of(q, p[1]), *low), *high);
        *low = a;
        ir_set_in(n, 0, ir_in(above, 0));
        ir_remove_node(above);
    }
}

static IrValue *quantize(PassContext *ctx, IrNode *n, IrBuilder *b) {
    PassQuant q;
    int left = 64;
    if (!pass_quant_read(ctx, n, &q) || goes_out(n->out[0], &left)) {
        return spell_out(n, b);
    }
    double low = ir_dtype_lowest(q.type), high = ir_dtype_highest(q.type);
    take_bounds(&q, n, &low, &high);
    IrValue *y = ir_in(n, 0);
    y = pass_quant_scale(ctx, n, 0, 1 / q.scale) ? ir_in(n, 0)
                                                 : pass_quant_with(b, IR_OP_MUL, y, 1 / q.scale);
    y = pass_quant_check(b, ir_build1(b, IR_OP_ROUND, y));
    y = pass_quant_with(b, IR_OP_ADD, y, (double)q.zero);
    IrAttr bounds[] = {ir_attr_f(IR_ATTR_MIN, low), ir_attr_f(IR_ATTR_MAX, high)};
    y = pass_quant_check(b, ir_build(b, IR_OP_CLIP, 1, &y, 2, bounds));
    return pass_quant_cast(b, y, q.type);
}

PassResult pass_quant_expand(PassContext *ctx, IrGraph *g) {
    PassResult r = {0};
    for (IrNode *n = g->first; n; n = n->next) {
        if (n->op == IR_OP_DEQUANTIZE && !is_constant(n)) {
            split_readers(n);
        }
    }
    for (IrNode *n = g->first, *next; n; n = next) {
        next = n->next;
        if (n->op != IR_OP_QUANTIZE && n->op != IR_OP_DEQUANTIZE) {
            continue;
        }
        IrBuilder b = pass_before(n);
        IrValue *y = is_constant(n) ? evaluate(ctx, n) : NULL;
        y = y ? y : n->op == IR_OP_QUANTIZE ? quantize(ctx, n, &b) : dequantize(ctx, n, &b);
        pass_forward(n, y);
        r.changes++;
    }
    if (r.changes) {
        pass_dce(ctx, g);
    }
    return r;
}
