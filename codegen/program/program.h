// The program being emitted: kernels, calls, weights. Private to codegen/program/.
#ifndef CODEGEN_PROGRAM_PROGRAM_H
#define CODEGEN_PROGRAM_PROGRAM_H

#include "codegen/build/lower.h"
#include "codegen/program/layout.h"

enum { CG_FILE_NAME = 100 }; // characters of the symbol in the names of files: it may be any length

typedef struct CgTableSlot {
    uint64_t hash;
    int item;
    bool used;
} CgTableSlot;

// hash.c: numbers of items by hash. Zeroed: empty.
typedef struct CgTable {
    size_t n, cap;
    CgTableSlot *slot;
} CgTable;

uint64_t cg_hash(const void *p, size_t n);
void cg_table_add(CgTable *t, IrArena *a, uint64_t hash, int item);
// The next item of that hash, -1 at the end; *probe is 0 for the first.
int cg_table_find(const CgTable *t, uint64_t hash, size_t *probe);

typedef struct CgKernel {
    const CgTarget *target;
    const char *symbol;
    CgEmit emit;
    const void *spec;
    size_t size;
    int n_args, weight;
    uint32_t alias;  // bit k: argument k may overlap another one in some call
    uint32_t writes; // bit k: argument k is written in some call
} CgKernel;

typedef struct CgCall {
    const IrNode *node;
    int kernel, n_args;
    CgArg *args;
    const char *algo;
    IrDim flops, bytes;
    bool barrier; // all threads meet before it
} CgCall;

typedef struct CgBytes {
    const void *data;
    size_t n;
} CgBytes;

enum { CG_INIT_FROM, CG_INIT_TO }; // the arguments of a call of init

typedef struct CgPack {
    const char *key;
    const CgTarget *target; // for whose kernels
    IrProgram *ir;          // whose constants it is made of
    int64_t offset, bytes;
    const struct CgCode *code; // in whose prepared space it lies; NULL: in the weights section
    const CgMake *make;        // how the compiler makes it; NULL: it is there
} CgPack;

typedef struct CgPiece { // of the weights section
    int64_t at, bytes;   // as cg_weights_reserve() said
    int64_t place;       // where it stands: that of an equal one, if there is; -1: nowhere yet
} CgPiece;

// The weights section while it grows: a temporary file, mapped piece by piece.
typedef struct CgWeights {
    bool once;   // pieces of equal bytes stand once: for a program of several units
    int64_t end; // of all pieces, as if each stood by itself
    int n_pieces, cap_pieces, open; // open: the one that is being filled
    CgPiece *pieces;
    CgTable piece_table; // by content
    int fd;
    const char *path;
    int64_t bytes; // so far, without the ELF header page
    void *map;     // the piece last handed out
    size_t map_bytes;
} CgWeights;

// What is emitted for one unit: its steps and its descriptor.
typedef struct CgCode {
    IrGraph *graph;
    const CgTarget *target;
    const HonePreprocess *preprocess;
    const struct CgCode *next; // unit of the same model; NULL: the last
    int unit;                  // as cg_compile_units() was given them
    int model; // which of the program's models it is a unit of: a graph of training's
    const char *symbol;        // prefix of its name
    int n_calls, cap_calls;
    CgCall *calls;
    int n_init, cap_init;
    CgCall *init; // when a model is created; node is NULL. Units of one machine have them in common
    HoneSteps init_steps; // as its descriptor has them, once that is made
    int64_t scratch_bytes;
    int64_t prepared_bytes; // when a model is created
    int64_t stored_bytes;   // of the weights: what would be, too, and was prepared while compiling
    uint64_t needs; // bits HONE_CPU_* beyond the target's
} CgCode;

struct CgProgram {
    IrProgram *ir; // of the first graph, whose diag is everybody's
    IrArena *arena;
    const CgOptions *opt;
    bool failed;
    int n_kernels, cap_kernels;
    CgKernel *kernels;
    CgTable kernel_table;
    int n_codes;
    CgCode *codes;
    CgCode *code; // the one being lowered
    int n_packs, cap_packs;
    CgPack *packs;
    CgTable pack_keys, pack_places; // by key, by offset
    CgTable ctx_table;              // of contexts of what is made
    int n_ctx, cap_ctx;
    CgBytes *ctx;
    CgWeights weights;
    const IrTrainProgram *train; // NULL: none
    const CgTrainFile *file;     // of train
    int64_t onnx_at;      // offset of the trained model's file in the weights section
};

// May the bytes of a and b meet? Views of one root are apart when their channels are.
bool cg_args_overlap(const IrValue *a, const IrValue *b);
bool cg_lower_graphs(CgProgram *p); // lower.c: nodes to calls, barriers; false after errors
// units.c, once all are lowered: the chain of each model's units. Those of one machine share the
// space of what they prepare, where equal pieces stand once; of those that differ in nothing but
// the name of their machine the last stays, same_as[i] being the one in place of unit i.
void cg_units_link(CgProgram *p, int *same_as);
CgCode *cg_units_first(CgProgram *p, int model); // of the chain
HonePlace cg_place(const IrPlace *place, IrDim behind); // steps.c
HoneSteps cg_steps(CgProgram *p, const CgCall *calls, int n);
HoneModelDesc cg_descriptor(CgProgram *p, CgCode *c); // descriptor.c
HoneTrainDesc cg_train_descriptor(CgProgram *p);            // train_desc.c
// Names in the program that is emitted
const char *cg_desc_symbol(CgProgram *p, const CgCode *c);
const char *cg_weights_symbol(CgProgram *p);
const char *cg_kernels_symbol(CgProgram *p);
int64_t cg_arg_weights(CgProgram *p, const CgArg *arg); // offset in the section of a constant
// At that offset of a code's prepared space or (NULL) of the section; NULL: nothing is.
CgPack *cg_pack_at(const CgProgram *p, const CgCode *code, int64_t offset);
// stored.c, once all are lowered: what of the weights is prepared while compiling stands in the
// section instead of what it is made of.
void cg_store_prepared(CgProgram *p);
void cg_fill_packs(CgProgram *p); // those of cg_pack_later() that calls read
void cg_drop_kernels(CgProgram *p); // units.c: those that nothing calls

bool cg_weights_open(CgWeights *w, IrArena *a, const char *dir, const char *prefix, bool once);
// Names a piece of the section that has no place yet; then it gets one, zeroed, to be filled at
// once.
int64_t cg_weights_reserve(CgWeights *w, IrArena *a, int64_t bytes);
void *cg_weights_fill(CgWeights *w, IrArena *a, int64_t offset);
CgPiece *cg_weights_piece(const CgWeights *w, int64_t offset); // in which that lies
// Where in the closed section stands what lies at `offset`, or inside it.
int64_t cg_weights_place(const CgWeights *w, int64_t offset);
// Ends the file: as an ELF object for m that defines `symbol`, or (m NULL) as raw bytes. False
// after reporting.
bool cg_weights_close(CgWeights *w, IrArena *a, const char *symbol, const IrMachine *m);

#endif
