// What cg_compile() wrote for aarch64, run on this machine: linked by GNU's cross compiler and
// executed by qemu's emulation of the CPU that it is for, in a program of its own
// (foreign_main.c). Buffers end at pages that nobody may touch, the workspace begins as NaNs.
#ifndef TESTS_CODEGEN_RIG_FOREIGN_H
#define TESTS_CODEGEN_RIG_FOREIGN_H

#include "codegen/codegen.h"

// What stands in the way of running it; NULL: nothing does.
const char *foreign_missing(void);

typedef struct Foreign {
    const CgResult *cg; // its files are there
    const char *dir;    // for more of them, which stay
    const char *symbol; // of the descriptor, without _desc
    const char *mcpu;
    int n_in, n_out, own; // outputs from `own` on are counts, one i64 each
} Foreign;

typedef enum ForeignEnd { FOREIGN_RAN, FOREIGN_ENDED, FOREIGN_FAILED } ForeignEnd;

// At batch N, on one thread, two and three, whose outputs agree bit for bit, into out[n_out], whose
// data are there. FOREIGN_ENDED: the program's own check ended the run; other reasons are printed.
ForeignEnd foreign_run(const Foreign *f, int64_t N, const IrTensor *in, const IrTensor *out,
                       IrArena *a);

#endif
