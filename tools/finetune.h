// hone finetune: what its parts share. Private to tools/finetune_*.c and cmd_finetune.c.
#ifndef TOOLS_FINETUNE_H
#define TOOLS_FINETUNE_H

#include "passes/train/train.h"
#include "tools/tool.h"

enum { MIN_CLASSES = 2, MAX_CLASSES = 1 << 20, DEFAULT_BATCH = 16, MAX_BATCH = 1 << 20 };

typedef struct Finetune {
    Tool *tool;
    ToolModel model;
    ToolImage image;
    const char *out, *name;
    RtOutFile *file; // out
    // options as given
    const char *head_at; // NODE or "auto"; NULL: where it is
    const char *classes_text, *freeze, *stages_text, *bn, *dropout_text, *seed_text;
    ToolList unfreeze, lr_mults, params;
    ToolNumber layer_decay;
    bool is_static; // libc inside
    const char *emit;  // "exe", or "python": a package around the program
    const char *wheel; // what pip wants that to be called; NULL: it is none
    int threads;    // that the program is expected to run on; 0: as many as CPUs
    // what they mean
    PassTrainOptions train;
    PassTrainStage stage[IR_MAX_STAGES];
    PassLrMult lr_mult[sizeof((ToolList *)NULL)->v / sizeof(char *)];
    int n_labels;
    const char *const *labels;
    // the model
    const FeModel *onnx;
    IrProgram *prog;
    IrGraph *infer;
    int n_outputs; // of the file
} Finetune;

// cmd_finetune.c. Parses argv[1..] into f, whose tool is set; what is no option goes to `rest`.
ToolParse finetune_parse(Finetune *f, int argc, char **argv, ToolList *rest);
// Reports all that hone finetune would refuse, short of generating code. False after errors.
bool finetune_check(Finetune *f);

// Options into `train`, and labels (finetune_spec.c). False after errors were reported.
bool tool_read_train_options(Finetune *f);
// --head becomes the choice of an output (finetune_head.c). False after an error: the node cannot
// be replaced.
bool tool_take_head(Finetune *f, const PassOptions *po);
// --head-at: the classifier goes on an earlier layer (finetune_at.c). The model, its graph and the
// model's hash are those of the file that is cut off there. False after an error.
bool tool_place_head(Finetune *f, const PassOptions *po, CgOptions *o);
bool tool_is_folder(const char *path); // finetune_spec.c
// The shorter side of the pictures in the folders of some classes, as the middle one of a few has
// it (finetune_pictures.c); 0: none can be read.
int tool_pictures_side(IrArena *a, const char *folder, const char *const *classes, int n);
// The file with the new classifier, for cg_compile_train() (finetune_file.c). False after errors,
// among them a parameter that is no initializer of it.
bool tool_train_file(Finetune *f, const IrTrainProgram *p, const CgOptions *cg, CgTrainFile *out);
// Reads that file again: what was written is what trains (finetune_check.c). False after an error.
bool tool_check_file(Finetune *f, const IrTrainProgram *p, const CgTrainFile *file,
                     const PassOptions *po);
// finetune_plan.c; the file says what of it trains not at all.
void tool_print_plan(IrArena *a, const IrTrainProgram *p, const FeModel *file, FILE *out);
// What training takes of the machine's memory, planned.
void tool_print_training_memory(const IrTrainProgram *p, FILE *out);
// How the classifier's numbers are read: what they mean, and what becomes of the model's end.
void tool_print_reading(const IrTrainProgram *p, FILE *out);

#endif
