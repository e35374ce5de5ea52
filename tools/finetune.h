// hone finetune: what its parts share. Private to tools/finetune_*.c and cmd_finetune.c.
#ifndef TOOLS_FINETUNE_H
#define TOOLS_FINETUNE_H

#include "passes/train/autodiff.h"
#include "tools/tool.h"

enum { MIN_CLASSES = 2, MAX_CLASSES = 1 << 20 };

typedef struct FtStage {
    const char *spec; // as mark_frozen takes it
    int epochs;       // 0: not given
    double lr;        // 0: not given
    CgTrainGraph features, train, eval;
    int64_t n_trained, n_frozen;
} FtStage;

typedef struct FtParam { // a constant that is an input of the graphs
    IrConst *konst;
    const char *node, *op; // that reads it first
    bool statistic;        // of a batch_norm: moves, but is not optimised
    bool decays, fresh;
    uint32_t trains; // bit s: stage s; 0: frozen throughout, no input
    double lr_mult;
    int group; // -1: none
    int64_t offset, count;
    int index; // among the parameters of the executable; -1: frozen throughout
} FtParam;

typedef struct Finetune {
    Tool *tool;
    ToolModel model;
    ToolImage image;
    const char *out, *name;
    // options as given
    const char *classes_text, *freeze, *stages_text, *bn, *head, *dropout_text, *seed_text;
    ToolList unfreeze, lr_mult;
    int threads; // that the program is expected to run on; 0: as many as CPUs
    bool keep_head, binary, multi_label;
    // what they mean
    int n_labels, classes; // classes: of the labels; a binary classifier has one logit for two
    const char *const *labels;
    int64_t logits, old_logits; // numbers per image, now and as imported
    bool bn_train;
    double dropout; // in front of the classifier; negative: what the model has there
    uint64_t seed;
    int n_stages;
    FtStage stage[HONE_MAX_STAGES];
    // the program
    const FeModel *onnx;
    IrProgram *prog;
    IrGraph *infer;        // with the new head, as imported otherwise
    int n_params, n_tuned; // all; those that train in some stage
    FtParam *params;
    int n_groups;
    HoneParamGroup *groups;
    int64_t param_floats;
    int n_plan;
    HonePlanRow *plan;
    int n_swaps, cap_swaps; // of the user's file: what became an initializer of its own
    FeSwap *swaps;
    FeNewModel *new_model;
    int n_graphs, cap_graphs;
    IrGraph **graphs;
    CgTrainGraph opt[HONE_OPT_COUNT], sqsum;
    int info;
} Finetune;

// Options into stages, labels and numbers (finetune_spec.c). False after errors were reported.
bool ft_read_options(Finetune *f);
bool ft_parse_stages(Finetune *f);
// Numbers and weights of the head (finetune_head.c): the classifier is found and, unless it is
// kept, replaced; new_model is the user's file with it.
bool ft_replace_head(Finetune *f);
// Vectors that several nodes read become one for each (finetune_head.c).
void ft_untie(Finetune *f);
bool ft_retarget(Finetune *f, const CgOptions *cg);
// Which parameters train when, where they lie, and the table of it (finetune_plan.c).
bool ft_make_plan(Finetune *f);
void ft_print_plan(const Finetune *f, FILE *out);
// The graphs of all stages and optimisers, after all passes (finetune_graphs.c).
bool ft_build_graphs(Finetune *f);
// Equal constants of the graphs become one, so that they are packed once (finetune_graphs.c).
void ft_share_consts(Finetune *f);

PassOptions ft_pass_options(const Finetune *f);

#endif
