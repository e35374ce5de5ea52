// Kernel tests through the normal path: textual IR, all passes, cg_compile, a shared object,
// hone_run; every output is compared with the reference evaluator's.
//
//   Rig *r = rig_new("x86-64-v3", 2);
//   for each case k {
//       rig_const(r, "%%w%d: f32[8,4,3,3] = rand(%d)", k, k);
//       rig_input(r, "%%x%d: f32[N,4,9,9]", k);
//       rig_node(r, "%%c%d = conv %%x%d, %%w%d {pad=[1,1,1,1]}", k, k, k);
//       rig_node(r, "%%y%d = relu %%c%d", k, k);
//       rig_output(r, "%%y%d", k);
//   }
//   RigRuns runs = {.N = {1, 2, 0, 5}, .n = 4, .threads = {1, 2, 3}, .n_threads = 3};
//   failures += rig_check(r, &runs);
//   rig_free(r);
//
// Many independent cases belong in one rig: one compilation serves them all. Inputs are uniform
// in [-1, 1) (integer inputs: -8 to 8) from a fixed seed. The workspace is filled with NaNs
// before each run, so that a lane that nobody wrote and somebody read shows; inputs, outputs,
// weights and workspace lie between guard pages (guard.h), ending at one or starting behind one;
// runs with other numbers of threads must agree bit for bit with the first. A CPU without the
// target's instructions skips the check; programs for aarch64 run under qemu (foreign.h).
#ifndef TESTS_CODEGEN_RIG_RIG_H
#define TESTS_CODEGEN_RIG_RIG_H

#include "ir/ir.h"
#include "codegen/codegen.h"

typedef struct Rig Rig;

typedef struct RigRuns {
    int64_t N[8];
    int n;
    int threads[4];
    int n_threads;
    // Of the largest magnitude of an output, 0: 2e-5; f64 is held to 1e-10, f16 to no less than
    // 1e-3, bf16 to no less than 8e-3, integers agree exactly.
    double tolerance;
} RigRuns;

// mcpu as cg_target_init; opt_level that of the passes and the code generator.
Rig *rig_new(const char *mcpu, int opt_level);
void rig_winograd(Rig *r, bool on); // PassOptions.winograd, default off
void rig_amx(Rig *r);               // its programs run where only AMX is missing: amx.h
void rig_const(Rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rig_input(Rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rig_node(Rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rig_output(Rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Compiles, runs for each N on each number of threads. Returns how many outputs were wrong; each
// is printed. A program that does not compile counts as one.
int rig_check(Rig *r, const RigRuns *runs);
// Compiles only. The folder with the objects; result->files names them. NULL after errors were
// printed.
const char *rig_compile(Rig *r, CgResult *result);
// The graph after the passes, once compiled.
IrGraph *rig_graph(Rig *r);
// After rig_compile(): links and loads; NULL after errors, or when the CPU lacks instructions
// (*skip).
struct HoneModel *rig_load(Rig *r, int threads, bool *skip);
// After rig_compile(): nodes whose algorithm's name holds `algo`; -1: the CPU lacks instructions.
int rig_count(Rig *r, const char *algo);
void rig_free(Rig *r); // removes the folder

#endif
