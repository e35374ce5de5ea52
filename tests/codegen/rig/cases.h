// Many small graphs in one rig. A case is textual IR, a statement a line:
//
//   in %x: f32[N,20,6,6]
//   const %w: f32[20,1,1] = rand(1)
//   %b = max_pool %x {kernel=[2,2], stride=[1,1]}
//   %y = mul %b, %w
//   out %y
//
// Names are made unique per case, so that cases may use the same ones.
#ifndef TESTS_CODEGEN_RIG_CASES_H
#define TESTS_CODEGEN_RIG_CASES_H

#include "tests/codegen/rig/rig.h"

// Adds the case as number k, which must differ from those before. `text` is printf's.
void case_add(Rig *r, int k, const char *text, ...) __attribute__((format(printf, 3, 4)));
// Runs what was added at N 1, 2, 5 and, with `empty`, 0 (every output must depend on N then: a run
// of batch 0 does nothing), on 1 to 3 threads, and frees the rig; how many outputs were wrong.
int case_check(Rig *r, double tolerance, bool empty);
// All texts (NULL ends) for every vector width, at -O0 and -O2.
int case_check_all(const char *const *texts, double tolerance, bool empty);

typedef struct CaseTarget {
    const char *mcpu;
    int opt_level;
} CaseTarget;
enum { CASE_TARGETS = 4 };
extern const CaseTarget case_targets[CASE_TARGETS];

#endif
