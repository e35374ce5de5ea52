// hone compile --emit-input-grad: the network with the gradient of its loss by the input image,
// what adversarial examples and style transfer are made with.
//
//   graph infer(%x) -> (%y)   ->   graph infer(%x, %label: i32[N]) -> (%y, %input_grad)
//
// The loss is each image's cross-entropy at its label; a softmax at the end is part of it.
#include "passes/train/autodiff.h"
#include "passes/train/train.h"

static bool has_logits_shape(const IrShape *s) {
    bool ones = s->rank == 4 && ir_dim_is(s->dim[2], 1) && ir_dim_is(s->dim[3], 1);
    return (s->rank == 2 || ones) && s->dim[0].n == 1 && s->dim[0].c == 0 && s->dim[1].n == 0;
}

// What the output is before softmax; NULL after an error.
static IrValue *find_logits(IrGraph *g, int output) {
    IrNode *maker = pass_scores(g, output).maker;
    bool softmax = maker && (maker->op == IR_OP_SOFTMAX || maker->op == IR_OP_LOG_SOFTMAX);
    IrValue *v = softmax ? ir_in(maker, 0) : g->outputs[output];
    char text[160];
    if (v->type.dtype == IR_F32 && has_logits_shape(&v->type.shape))
        return v;
    ir_error(g->prog->diag, (IrWhere){v->def ? v->def->name : v->name, NULL},
             "--emit-input-grad: the network ends in %s, not in one number per image and class",
             ir_type_print(&v->type, text, sizeof text));
    return NULL;
}

static void fix_input(IrGraph *g, IrValue *input, double x) {
    IrConst *c = ir_const_splat(g->prog, NULL, input->type, x);
    ir_replace_uses(input, ir_const_value(g, c));
}

IrGraph *pass_input_grad(const PassOptions *po, IrGraph *g, int classifier) {
    IrValue *x = g->n_inputs == 1 ? g->inputs[0] : NULL, *grad;
    if (!x || x->type.dtype != IR_F32 || x->type.shape.rank < 1 || x->type.shape.dim[0].n != 1) {
        ir_error(g->prog->diag, IR_NOWHERE,
                 "--emit-input-grad takes a network with one input, 32-bit floats [N,...]; "
                 "--input-shape opens a fixed batch");
        return NULL;
    }
    if (!pass_gradient_exists(g, "--emit-input-grad"))
        return NULL;
    passes_run(g->prog, g, po, PASS_SIMPLIFY);
    IrValue *logits = find_logits(g, classifier);
    if (!logits)
        return NULL;
    IrShape s = logits->type.shape;
    PassLoss loss = pass_loss(g, logits, IR_LOSS_CE, s.dim[1].c, true);
    fix_input(g, loss.class_weight, 1);
    fix_input(g, loss.smoothing, 0);
    fix_input(g, loss.scale, 1);
    PassContext ctx = {.scratch = g->prog->arena, .prog = g->prog, .opt = po};
    AutodiffSeed seed = {logits, loss.dlogits};
    AutodiffSpec spec = {1, 1, &seed, &x};
    if (!pass_autodiff(&ctx, g, &spec, &grad))
        return NULL;
    ir_output(g, grad);
    g->outputs[g->n_outputs - 1]->name = "input_grad";
    IrValue *in[] = {x, loss.label};
    return ir_extract(g, "infer", 2, in, g->n_outputs, g->outputs);
}
