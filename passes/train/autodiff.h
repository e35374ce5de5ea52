// Training graphs: gradients, losses, the optimisers' graphs. What the graphs of a stage are made
// with. (Passes without arguments, fold_bn_param and expand_dgrad among them, are rows of
// passes.def.)
//
// In order, on the graph of a training step whose parameters are inputs:
//   the pipeline `simplify`: the plain graph of fewer nodes has a gradient of fewer (nested
//       concats above all), and what it does needs no rule
//   fold_bn_param                                    (passes_run_named)
//   pass_loss(), pass_autodiff(), outputs of the gradients
//   the pipeline `train`
#ifndef PASSES_TRAIN_AUTODIFF_H
#define PASSES_TRAIN_AUTODIFF_H

#include "ir/train.h"
#include "passes/passes.h"

// ---------------------------------------------------------------- reverse mode

typedef struct AutodiffSeed {
    IrValue *value; // of floats
    IrValue *grad;  // of the same type: where the reverse walk starts. NULL: ones
} AutodiffSeed;

typedef struct AutodiffSpec {
    int n_seeds, n_wrt;
    const AutodiffSeed *seed; // no value twice
    IrValue *const *wrt;      // inputs, constants or results, of floats
} AutodiffSpec;

// Appends nodes to the graph that compute the gradient of  sum over seeds of <value, grad>  with
// respect to each of spec->wrt: grad[n_wrt], of the types of wrt; zeros (an expanded constant)
// where no seed depends on it. Only what lies between wrt and the seeds is walked. The graph is as
// it was imported, not fused: no epilogues, prologues or maps. False: some op on the way has no
// gradient; each is an error of its node, the graph is unchanged.
bool pass_autodiff(PassContext *ctx, IrGraph *g, const AutodiffSpec *spec, IrValue **grad);

// ---------------------------------------------------------------- losses

// What a loss adds to a graph. `label`, `class_weight`, `smoothing` and `scale` are new inputs of
// these names; `loss` [N] and `dlogits` [N,C] are results, no outputs yet.
typedef struct PassLoss {
    IrValue *label;        // CE: "label" i32[N], of maps [N,P]. BCE: "target" f32[N,C], each 0 to 1
    IrValue *class_weight; // "class_weight" f32[classes]
    IrValue *smoothing;    // "smoothing" f32[]
    IrValue *scale;        // "scale" f32[]; NULL where no gradient is asked for
    IrValue *loss;         // of each sample, unscaled; of maps the sum of the places'
    IrValue *dlogits;      // scale * d loss[n] / d logits[n,:], the seed for logits; NULL as scale
    IrNode *ce;            // CE: the softmax_ce that makes both
} PassLoss;

// logits: [N,C], or [N,C,1,1] whose gradient then has that shape, or maps [N,P,C] (CE alone; label
// -1: the place does not count); f32 (f64 in tests, inputs follow).
//   CE   PyTorch's cross_entropy(reduction='none', weight=class_weight, label_smoothing=smoothing)
//   BCE  mean over c of class_weight[c] * binary_cross_entropy_with_logits(logits, z), z = target
//        moved towards one half: target * (1 - smoothing) + smoothing / 2
// classes: C, or 2 of one logit that tells two classes apart, which is weighed by how much of each
// the target is.
PassLoss pass_loss(IrGraph *g, IrValue *logits, IrLoss kind, int64_t classes, bool with_gradient);
// Of CE: a second label, "label2" of label's type, counts for the rest of the share "mix" f32[N]
// that the first keeps. The same bits where that is 1. Before anything is done with l's results.
void pass_loss_mix(IrGraph *g, PassLoss *l);

// ---------------------------------------------------------------- optimisers

// A graph over rows of f32[N,row] (p, g, m, v) and scalars f32[] (the rest). Inputs by name, and
// outputs (what is new of p, m, v; an input's memory may be its output's, since nothing is read
// after it is written):
//   sgd       p g m lr momentum decay clip                                    -> new_p new_m
//   nesterov  p g m lr momentum decay clip                                    -> new_p new_m
//   adamw     p g m v lr momentum beta2 eps decay clip correction1 correction2 -> new_p new_m new_v
// PyTorch's formulas (torch.optim.SGD without dampening, AdamW), the gradient first times `clip`:
//   sgd       d = clip*g + decay*p; m = momentum*m + d; p -= lr*m   (nesterov: lr*(d + momentum*m))
//   adamw     d = clip*g; m = momentum*m + (1-momentum)*d; v = beta2*v + (1-beta2)*d*d
//             p -= lr*decay*p; p -= lr*correction1 * m / (sqrt(v*correction2) + eps)
//             correction1 = 1 / (1 - momentum^t), correction2 = 1 / (1 - beta2^t) of the rates as
//             float32 has them: with the caller's 0.999 instead, t = 1 is wrong by 5e-5
IrGraph *pass_optimizer(IrProgram *p, IrOptimizer kind, int64_t row);
// The sums of squares that the gradient's norm is made of: g -> sum f32[N].
IrGraph *pass_square_sums(IrProgram *p, int64_t row);

#endif
