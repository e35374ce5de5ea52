// The register tile of conv_wgrad: what it shares with the kernel around it (wgrad_kernel.c, which
// says what the words mean). Private to codegen/conv/.
#ifndef CODEGEN_CONV_WGRAD_TILE_H
#define CODEGEN_CONV_WGRAD_TILE_H

#include "codegen/conv/wgrad.h"

typedef struct Term {
    int k, kw; // channel of the part, kernel column
} Term;

// Terms that share a register tile.
typedef struct Set {
    int n;
    const Term *term;
} Set;

typedef struct Kernel {
    CgFn *f;
    const CgWgrad *s;
    CgWgradPieces u;
    int n_sets;
    Set *sets;
    int unroll;
} Kernel;

typedef struct Tile {
    const Set *set;
    int nv;
    CgVal x_ahead, dy_ahead; // floats to the next chunk's pixels, which are asked for; NULL: not
    CgVal acc[CG_MAX_CARRY];
} Tile;

// Cuts the terms of a part into sets.
void cg_conv_wgrad_find_sets(Kernel *k);
// One row of output pixels: xp, dp at its column 0.
void cg_conv_wgrad_row(Kernel *k, Tile *t, CgVal xp, CgVal dp);

#endif
