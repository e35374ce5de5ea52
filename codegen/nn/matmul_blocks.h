// Blocks of a product of two operands that are not constant: several panels of b by a piece of k.
// Private to codegen/nn/.
//
// Tasks are chunks of rows, in the order batches, blocks, chunks; each thread takes a contiguous
// piece, so that it copies each block once. Pieces of k are all of it where that fits; else, or
// where N decides how many k there are, y keeps the sums of the pieces before, so that nothing may
// follow them.
#ifndef CODEGEN_NN_MATMUL_BLOCKS_H
#define CODEGEN_NN_MATMUL_BLOCKS_H

#include "codegen/nn/matmul_tile.h"

typedef struct CgMatmulBlock CgMatmulBlock;
// `len` rows from d->off on, of all panels of the block: a piece of k.
typedef void CgMatmulPiece(CgFn *f, CgMatmulBlock *d, CgVal len);

struct CgMatmulBlock {
    CgMatmul s; // as tiles see it: b is packed
    const CgMatmul *whole;
    CgMatmulPiece *piece;
    CgVal off[CG_ND_OPERANDS]; // of its batch and rows
    CgVal panel, panels;       // the first, how many
    CgVal k, size;             // of the piece: the first, how many
    CgVal a, b;                // copies
};

bool cg_matmul_in_pieces(const CgMatmul *s);
// The thread's share of all pieces of all blocks of d->whole.
void cg_matmul_for_blocks(CgFn *f, CgMatmulBlock *d);

#endif
