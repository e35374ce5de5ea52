// A number cut into parts as equal as can be: columns into register tiles, rows into tasks.
#ifndef CODEGEN_BUILD_CUT_H
#define CODEGEN_BUILD_CUT_H

#include "codegen/build/builder.h"

// The fewest parts of at most `max`: parts [0, big) have `size`, parts [big, n) size - 1.
typedef struct CgCut {
    int n, size, big;
} CgCut;
CgCut cg_cut(int total, int max);
int cg_cut_begin(CgCut c, int part);
CgVal cg_cut_at(CgFn *f, CgCut c, CgVal part); // the same for a part known at run time

#endif
