// What the files that make a fine-tune program share. Private to passes/train/.
#ifndef PASSES_TRAIN_PROGRAM_H
#define PASSES_TRAIN_PROGRAM_H

#include "passes/train/train.h"

typedef struct PassTrain { // a fine-tune program being made
    IrProgram *prog;
    IrArena *arena; // the program's
    IrGraph *infer; // with the new head, as imported otherwise
    const PassOptions *po;
    const PassTrainOptions *opt;
    IrTrainProgram *out;
    int cap_graphs, cap_others, cap_swaps;
    PassRecompute *recompute; // of the graph at hand, one for each machine; NULL
    int n_old_head;
    const char **old_head; // names of what the old classifier's parts were; NULL: no initializer's
} PassTrain;

static inline PassContext pass_train_context(const PassTrain *t) {
    return (PassContext){.scratch = t->arena, .prog = t->prog, .opt = t->po};
}

// ---- the classifier and the file (swap.c)
// Finds the classifier, checks the options against it and, unless it is kept, replaces it: logits,
// old_logits and classes are known. False after errors.
bool pass_train_head(PassTrain *t);
// Vectors that several nodes read become one for each.
void pass_train_untie(PassTrain *t);
// The new classifier's initializers, as swaps of the file.
bool pass_train_swap_head(PassTrain *t);

// ---- names (bind.c)
const char *pass_param_name(PassTrain *t, const char *initializer); // "param:fc.weight"
const char *pass_grad_name(PassTrain *t, const char *initializer);  // "grad:fc.weight"
const char *pass_feature_name(PassTrain *t, int i);                 // "feature:3"
// The parameter that an input stands for; NULL: none.
const IrTrainParam *pass_find_param(const PassTrain *t, const IrValue *input);
void pass_add_output(IrGraph *g, IrValue *v, const char *name);
// The graph is complete: its bindings by the names of inputs and outputs, all passes of `in`, and
// its place in the program. A name, type or shape that bind.def does not know is a bug.
void pass_finish_graph(PassTrain *t, IrGraph *g, PassPipeline in, IrTrainGraph *out);

// ---- the parts of a training graph
void pass_drop_dropout(IrGraph *g);              // dropout.c: inference, they pass on
void pass_add_dropout(PassTrain *t, IrGraph *g); // dropout.c: with masks from the input "seed"
void pass_train_batch_norms(PassTrain *t, IrGraph *g, int s); // batch_norm.c
// batch_norm.c: with bf16 the normalizations whose statistics the stage moves leave weights as they
// are, in a graph that is no step.
void pass_keep_weights(PassTrain *t, IrGraph *g, int s);

// ---- --memory-limit (limit.c)
// Around the planning of a stage's training step, `step`, behind that of its features.
void pass_train_limit(PassTrain *t, const IrGraph *step, const IrTrainStage *stage);
void pass_train_limited(PassTrain *t, IrTrainStage *stage);
// All graphs are planned: what each stage takes. False after an error: one is over the limit.
bool pass_train_keeps_limit(PassTrain *t);

// ---- the graphs of stage s, of `net`, the network with parameters as inputs (stage.c). False
// after errors.
bool pass_train_stage(PassTrain *t, IrGraph *net, int s);

#endif
