// Random shape-valid graphs over the whole op table, for the compiled program against the reference
// evaluator. The same seed gives the same graph.
//
// A graph grows value by value: a maker (gen_makers.c) draws operands and attributes and tries to
// build a node or a pattern of some. What it built is evaluated at once, on the inputs and at
// the batch sizes that the check will use, and taken out again when a value is not finite, too
// large, too long, or depends on rounding errors (reference.h): every graph is one that compiled
// code can be held to.
#ifndef TESTS_FUZZ_GRAPH_GEN_H
#define TESTS_FUZZ_GRAPH_GEN_H

#include "ir/ir.h"

enum { GEN_VALUES = 96, GEN_IDS = 4096, GEN_ELEMS = 4096, GEN_BATCHES = 2 };
extern const int64_t gen_batches[GEN_BATCHES];

typedef struct GenRun { // all values at one batch size, by id
    IrTensor clean[GEN_IDS], noisy[GEN_IDS];
    bool exact[GEN_IDS];
} GenRun;

typedef struct Gen {
    IrBuilder b;
    IrProgram *prog;
    IrGraph *graph;
    uint64_t state;
    bool images; // mostly [N,C,H,W] in f32
    int n;
    IrValue *pool[GEN_VALUES]; // what makers draw from
    GenRun run[GEN_BATCHES];
} Gen;

// A program with one graph "infer", for the batch sizes gen_batches.
IrProgram *gen_graph(IrArena *a, uint64_t seed);

// ---- for makers
uint64_t gen_draw(Gen *m, uint64_t below);
bool gen_chance(Gen *m, int percent);
int64_t gen_int(Gen *m, int64_t low, int64_t high);                  // inclusive
IrValue *gen_pick(Gen *m);                                           // mostly a recent value
IrValue *gen_pick_of(Gen *m, IrDtype t, int min_rank, int max_rank); // NULL: there is none
// A constant of that type; small: whole numbers, else whatever the type has.
IrValue *gen_const(Gen *m, IrDtype t, const IrShape *s, bool small);
IrValue *gen_const_dims(Gen *m, IrDtype t, int rank, const int64_t *dims);
// Something that broadcasts with x: a value from the pool, or a constant.
IrValue *gen_like(Gen *m, IrValue *x, IrDtype t);
IrValue *gen_build(Gen *m, IrOp op, int n_in, IrValue *const *in, int n_attrs, const IrAttr *attrs);

int64_t gen_dim(const IrValue *v, int i); // without its symbolic part
int gen_rank(const IrValue *v);
bool gen_is_fixed(const IrValue *v, int from); // no symbolic dimension from there on
IrAttr gen_ints(Gen *m, IrAttrKey key, int n, const int64_t *v);

typedef struct GenMaker {
    const char *name;
    int images, any;          // weights in graphs of images and in others
    IrValue *(*make)(Gen *m); // NULL: nothing fitted. Nodes without a use do not matter
} GenMaker;
extern const GenMaker gen_makers[];
extern const int gen_n_makers;
IrValue *gen_make_any(Gen *m); // gen_any.c
// gen_special.c
IrValue *gen_make_resize(Gen *m);
IrValue *gen_make_fold(Gen *m);
IrValue *gen_make_nothing(Gen *m);
IrValue *gen_make_position(Gen *m);
// gen_quant.c
IrValue *gen_make_quantized(Gen *m);
IrValue *gen_make_integer_conv(Gen *m);
IrValue *gen_make_qdq(Gen *m);

#endif
