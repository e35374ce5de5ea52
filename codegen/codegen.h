// Graph to LLVM IR to object file; the only folder that knows LLVM. Public header.
#ifndef CODEGEN_CODEGEN_H
#define CODEGEN_CODEGEN_H

#include "ir/ir.h"
#include "ir/train.h"
#include "ir/machine.h"
#include "runtime/core/abi.h"

// The machine to compile for, and what LLVM and the runtime are told of it. Vector width is data:
// kernels are written once over blocks of `lanes` floats, which take ir_parts() registers.
typedef struct CgTarget {
    IrMachine machine;
    const char *cpu;           // as the user knows it
    const char *triple, *base; // base: LLVM's name for the ISA without extensions,
    const char *features;      // to which these are added: "+avx2,+fma",
    const char *tune;          // scheduled for this CPU
    int lanes;                 // floats in a kernel's vector: a block of the layout, IR_BLOCK
    uint64_t has;              // bits HONE_CPU_* (runtime/core/cpu_features.h): all of the CPU's
    uint32_t needs[64];        // those that all code uses: HONE_CPU_*, 0 ended
} CgTarget;

// mcpu: native, or a name of runtime/core/cpus.def. False: unknown (reported on diag).
bool cg_target_init(CgTarget *t, IrArena *a, const char *mcpu, IrDiag *diag);
// Only describes it. False: unknown.
bool cg_target_find(CgTarget *t, IrArena *a, const char *mcpu);

// Its instruction set is this machine's: its code can be loaded here, if the CPU has its features.
bool cg_target_is_host(const CgTarget *t);

// The feature of t's, HONE_CPU_*, that a dot of words of this type takes beyond those that all code
// uses (ir_dot()); 0: none.
uint32_t cg_target_dot(const CgTarget *t, IrDtype type);
uint32_t cg_target_amx(IrDtype type); // that products of tiles of u8 or bf16 take
// What LLVM is told of a function that uses these, bits HONE_CPU_*, too.
const char *cg_target_features(const CgTarget *t, IrArena *a, uint64_t more);

// LLVM's fatal errors, running out of memory among them, become one line on stderr and SIGTERM,
// sent by sigqueue() with the value CG_EXIT_CODE. cg_target_init() calls it.
void cg_catch_llvm_errors(void);
enum { CG_EXIT_CODE = 1 }; // that the process should end with

// What timings of code for `t` depend on besides the code: "LLVM 19.1.7 for znver4 +avx2,+fma on
// znver4", the last being the CPU of this machine.
const char *cg_target_describe(const CgTarget *t, IrArena *a);

typedef enum CgEmitKind { CG_EMIT_OBJECT, CG_EMIT_ASM, CG_EMIT_LLVM_IR } CgEmitKind;

typedef struct CgOptions {
    const CgTarget *target; // of cg_compile() and checks
    int opt_level; // 0: no LLVM passes beyond what selection needs
    int jobs;      // threads that compile kernels
    CgEmitKind emit;
    const char *symbol;     // prefix of public symbols: "hone_resnet50"
    const char *model_hash; // 32 hex digits, into the descriptor
    const char *producer;
    const char *const *labels; // n_labels, or NULL
    int n_labels;
    HonePreprocess preprocess; // of one unit
    int classifier; // the output that is a row of scores; -1: none is
    int scores;     // HONE_SCORES_* of it
    HoneTask task;
    // How many times its size with nothing prepared the section of weights may have, for the sake
    // of those that kernels read in another form; 0: by the weights' types. See program/stored.c.
    double prepared;
    // Called now and then from one thread with done <= total, for a progress bar. May be NULL.
    void (*progress)(void *ctx, int done, int total);
    void *progress_ctx;
} CgOptions;

typedef struct CgResult {
    int n_files;
    const char **files; // objects (or .s, .ll) that were written; link all, in any order
    const char
        *weights_file; // an ELF object for CG_EMIT_OBJECT (also among files), else the raw bytes
    int64_t weights_bytes;
    int n_kernels, n_calls, n_barriers;
    int n_units;  // as they were given; of a fine-tune program the graphs for each machine
    int *same_as; // of unit i, the unit that stands for it: i itself, unless it went
    int task;     // HONE_TASK_*, of the options
} CgResult;

// Compiles the planned graph `g` (all passes of level 0 have run). Writes files
// dir/PREFIX*.{o,s,ll}; the descriptor is the only global symbol: `const HoneModelDesc
// SYMBOL_desc`. False after errors were reported (NYI ops, I/O).
bool cg_compile(IrGraph *g, const CgOptions *opt, const char *dir, CgResult *out);

// What is compiled: a graph, planned for a machine. Its inputs' shapes are the unit's.
typedef struct CgUnit {
    IrGraph *graph; // all have inputs and outputs of the same names; programs have one arena
    const CgTarget *target;
    HonePreprocess preprocess; // in place of CgOptions'
} CgUnit;

// As cg_compile(), for 1 to HONE_MAX_UNITS units of one model over one set of constants:
// SYMBOL_desc is the first, and hone_create() takes the first that fits the CPU and the shapes
// asked for: best machine first. Where two differ in nothing but the machine's name, the first of
// them goes.
bool cg_compile_units(int n, const CgUnit *units, const CgOptions *opt, const char *dir,
                      CgResult *out);

// All that cg_compile() can refuse, reported, short of generating code: nothing is left in `dir`.
bool cg_check(IrGraph *g, const CgOptions *opt, const char *dir);

// ---- fine-tune executables: several graphs in one program, and the tables of runtime/train/abi.h

// The ONNX file that the executable carries for export. Every trained parameter's numbers stand in
// it, at a multiple of 4 bytes, as floats of some type.
typedef struct CgTrainFile {
    int64_t bytes;
    void (*write)(void *ctx, void *to); // all of it, to zeroed memory
    int64_t (*find)(void *ctx, const char *initializer, IrDtype *stored); // where its numbers stand
    void *ctx;
} CgTrainFile;

// As cg_compile(), for the graphs of a program that share kernels and weights, each a model whose
// units are for the machines that it was planned for. The descriptor that others see is
// `const HoneTrainDesc hone_train_desc`.
bool cg_compile_train(const IrTrainProgram *train, int n_targets, const CgTarget *targets,
                      const CgTrainFile *file, const CgOptions *opt, const char *dir,
                      CgResult *out);
bool cg_check_train(const IrTrainProgram *train, const CgOptions *opt, const char *dir);

#endif
