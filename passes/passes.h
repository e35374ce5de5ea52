// Graph to graph. One pass, one file, one function `PassResult pass_NAME(PassContext *, IrGraph
// *)`. Order, optimisation level and reason of each place stand in passes.def.
#ifndef PASSES_PASSES_H
#define PASSES_PASSES_H

#include "ir/ir.h"
#include "ir/machine.h"

typedef struct PassResult {
    int changes; // how many rewrites; 0: the graph is as it was
} PassResult;

// What a graph's arena may take at a batch size, and what it took to stay below (the pass
// recompute).
typedef struct PassRecompute {
    int64_t bytes, batch;
    int64_t before, after;   // of the arena at that batch size; after > bytes: it cannot be
    double products, again;  // multiply-adds at that batch size; those that are made again
    int results;             // that are computed again
} PassRecompute;

typedef struct PassOptions PassOptions;
struct PassOptions {
    int opt_level;           // 0..3
    int block;               // channels of a block in nChwBc: IR_BLOCK; 1: nothing is blocked
    const IrMachine *machine; // that the code will run on; NULL only for passes that do not ask
    bool keep_values;        // memory plan without reuse: verify reads every value afterwards
    bool winograd;           // convolutions by Winograd's algorithms where they are faster
    bool bf16;               // products may be of bf16, and what stands between them is stored so
    bool bf16_tiles;         // all machines that it is for have matrix tiles of bf16
    int threads;             // the schedule's guess of how many threads will run it; 0 unknown
    int64_t images;          // likewise, of the images of a run where their number is open; 0: one
    int64_t weights;         // bytes of a graph's constants, set by `schedule`; 0 unknown
    const char *print_after; // a pass's name, "all", or NULL
    bool time_passes;
    bool verify;                        // ir_verify after each pass; ir_bug() when it fails
    int64_t arena_limit; // bytes of working memory for N = 1, beyond: ir_fatal(); 0: none
    PassRecompute *recompute;           // NULL: nothing is computed again
    FILE *out;                          // for print_after and time_passes
    const struct PassHeadOptions *head; // of replace_head; NULL: the classifier stays
    const struct PassFreeze *freeze;    // of mark_frozen; NULL: only the classifier trains
    // Called by the pass `schedule` before it chooses: may say some nodes' kernels by
    // ir_conv_set(). NULL: the cost model decides alone.
    void (*autotune)(void *ctx, IrGraph *g, const PassOptions *opt);
    void *autotune_ctx;
};

typedef struct PassContext {
    IrArena *scratch; // freed after the pass
    IrProgram *prog;
    const PassOptions *opt;
} PassContext;

typedef PassResult (*PassFn)(PassContext *, IrGraph *);

typedef enum PassPipeline { // PASS_INFER, PASS_TRAIN ...: the rows of passes.def
#define PIPELINE(NAME, name, what) PASS_##NAME,
#include "passes/passes.def"
    PASS_PIPELINES
} PassPipeline;

// Runs the passes of a pipeline whose level <= opt->opt_level, in the order of passes.def.
void passes_run(IrProgram *p, IrGraph *g, const PassOptions *opt, PassPipeline in);
// The same in two parts: the passes before `layout` ask nothing of the machine, those from there on
// do. A graph between the two may be copied (ir_extract) for several machines.
typedef enum PassPart { PASS_ANY_MACHINE, PASS_ONE_MACHINE } PassPart;
void passes_run_part(IrProgram *p, IrGraph *g, const PassOptions *opt, PassPipeline in,
                     PassPart part);
bool passes_find_pipeline(const char *name, PassPipeline *out);
// Runs the named ones ("a,b,c"), whatever their level. false after an error: unknown name.
bool passes_run_named(IrProgram *p, IrGraph *g, const PassOptions *opt, const char *names);
bool passes_is_pass(const char *name);
// One line per pipeline and per pass, for `hone opt --list-passes`.
void passes_list(FILE *f);

// ---- fine-tuning: the classifier and what trains (train/head.c, train/frozen.c)
typedef struct PassHeadOptions {
    int64_t classes;  // numbers per image that the new classifier makes; 0: it stays
    const char *node; // the name of one; NULL: whatever it is
    uint64_t seed;
    int64_t *map; // out, where asked for: height, width of a map of classes; 0: one row an image
} PassHeadOptions;

// What a head has for each class is made anew: numbers along `axis` of the operand.
typedef enum PassHeadRole {
    PASS_HEAD_WEIGHT,
    PASS_HEAD_BIAS,
    PASS_HEAD_ZERO, // 0 to begin with: the mean of a batch_norm below the classifier, its shift
    PASS_HEAD_ONE   // its variance, a gain
} PassHeadRole;

typedef struct PassHeadPart {
    PassHeadRole role;
    // Reads it as operand `at`: a classifier, an add below it, a mul above (Gemm's beta).
    IrNode *node;
    int at;
    IrValue *value;
    IrConst *root;      // what moves of its own make the value of; NULL: no constant
    const IrNode *head; // the classifier whose it is; the first, where it stands below several
} PassHeadPart;

// All classifiers of an output: the last products by weights above it, each on a way of its own.
typedef struct PassHead {
    int n_nodes, n_parts, n_below;
    IrNode **nodes;      // conv or matmul, with equally many classes
    PassHeadPart *parts; // their weights and biases in order, then what stands below them
    IrNode **below;      // between them and the output
    int *axis;           // by value id: of the classes; -1: not told, or none
    IrNode *end; // the softmax, log_softmax or sigmoid that makes probabilities of the logits; NULL
    int end_axis;     // of the classes, in what `end` reads, else in the output; -1: none
    bool names_class; // the output is the index of the largest: an arg_max follows
    bool joins_odds;  // the output is a mean of probabilities, or the like, without an end
} PassHead;
// Of the first output. False after an error; name: of a node that must be one of them, NULL: any.
bool pass_find_head(IrGraph *g, const char *name, PassHead *out);
// The classifier of another output that has this name, or its first one; NULL: none.
const IrNode *pass_head_above(IrGraph *g, int output, const char *name);

typedef struct PassFreeze {
    const char *spec; // head, none, until:NODE, or globs
    int n_unfreeze;
    const char *const *unfreeze; // globs
    int n_params;
    const char *const *params; // globs behind + or -, over the rule of what a parameter is
    bool (*in_file)(const void *file, const char *glob); // floats of the file match; NULL: unknown
    const void *file;
} PassFreeze;

typedef struct PassParam { // a tensor of floats that the file stores and a node reads
    IrConst *konst;
    IrNode *first;      // the first node that reads it,
    IrNode *reader;     // that or, where it works on constants alone, the one below
    bool decays;        // weight decay applies
    const char *reason; // why it is no parameter; NULL: it is one
} PassParam;
// In the order of the nodes that read them; returns how many, 0 after an error.
int pass_params(PassContext *ctx, IrGraph *g, PassParam **out);
// The glob matches the parameter's name or its reader's.
bool pass_glob(const char *glob, const PassParam *p);

// ---- what the numbers of an output say of the classes (scores.c)
typedef enum PassScoresKind {
    PASS_SCORES_LOGITS,        // or anything else that no softmax or sigmoid made
    PASS_SCORES_PROBABILITIES, // of classes that exclude each other
    PASS_SCORES_SIGMOID,       // probabilities, each class by itself
    PASS_SCORES_LOG_PROBABILITIES,
    PASS_SCORES_OTHER, // made of probabilities, and none any more: percent, say
} PassScoresKind;
typedef struct PassScores {
    PassScoresKind kind;
    IrNode *maker; // the softmax, log_softmax, sigmoid or hard_sigmoid; NULL: none, or spelled out
} PassScores;
// Of a network as it was imported.
PassScores pass_scores(IrGraph *g, int output);
// The output that says of what class an image is (classifier.c); -1: none does.
int pass_classifier(IrGraph *g);
// The output is a row of floats for each image: scores of classes, or it could be.
bool pass_is_score_row(const IrGraph *g, int output);

// task.c: what the outputs say of a picture.
typedef enum PassTaskKind { PASS_TASK_CLASS, PASS_TASK_DETECT, PASS_TASK_SEGMENT } PassTaskKind;
typedef enum PassBoxes { // as HONE_BOXES_*
    PASS_BOXES_LISTS,
    PASS_BOXES_SEVENS,
    PASS_BOXES_MIDDLES,
    PASS_BOXES_COLUMNS,
    PASS_BOXES_ROWS,
    PASS_BOXES_GRID,
    PASS_BOXES_QUERIES,
    PASS_BOXES_QUERY_LOGITS,
    PASS_BOXES_QUERY_SOFTMAX
} PassBoxes;
// What it is, where that says which numbers it wants of pixels, and how they fit. DETR and RF-DETR:
// surely, and ImageNet's mean and deviation; YOLOX: perhaps; RT-DETR: pictures stretched.
typedef enum PassFamily {
    PASS_FAMILY_OTHER,
    PASS_FAMILY_DETR,
    PASS_FAMILY_RT_DETR,
    PASS_FAMILY_YOLOX
} PassFamily;
typedef struct PassTask {
    PassTaskKind kind;
    PassBoxes form;
    PassFamily family;
    int boxes, scores, labels; // outputs; -1: in the boxes' rows, or of queries none
    int mask;                  // output of a segmentation
    bool channels_last;        // of the mask: [N,H,W,C], [N,H,W,1]
    bool yx;                   // boxes are y, x, y, x
    int classes;               // 0: unknown
    int points, point_numbers; // of each box's pose; 0: none
} PassTask;
typedef struct PassPicture { // the graph's input
    int64_t height, width;
    bool channels_last;
} PassPicture;
// Seen from an output that classifies (-1: none), where so many names are told (0: none are).
PassTask pass_task(IrGraph *g, int classifier, const PassPicture *picture, int labels);

// A way to compute a convolution, and cycles of one core by the model.
typedef struct PassSchedule {
    IrConvAlgo algo;
    IrConvTile tile;
    double cycles;
} PassSchedule;
enum { PASS_MAX_SCHEDULES = 12 };
// What is worth measuring for a convolution, the cost model's choice first. Returns how many; 0:
// not a convolution that needs a kernel. The layout pass has run.
int pass_schedule_candidates(const IrNode *n, const PassOptions *opt, PassSchedule *out);
// Can the kernel run this convolution so? The schedule pass keeps attributes for which it can.
bool pass_schedule_fits(const IrNode *n, const PassOptions *opt, IrConvAlgo algo,
                        const IrConvTile *tile);
// Where the memory of a planned graph goes at batch size N: the arena, what it would be without
// reuse, the lower bound, the largest values.
void passes_print_memory(FILE *f, IrGraph *g, int64_t N);

#endif
