// What the files that move data share. Private to codegen/.
#ifndef CODEGEN_MOVE_MOVE_H
#define CODEGEN_MOVE_MOVE_H

#include "codegen/build/nd.h"

// Operand 0 = operand 1, elements of any dtype, any strides. Collapses nd, and emits nothing where
// it is empty (copy_nd.c).
void cg_copy_nd(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t, CgArg to,
                CgArg from);
// As cg_copy_nd; a vector of the result holds its last dimension, and its other lanes may be
// overwritten.
void cg_copy_part_nd(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t, CgArg to,
                     CgArg from);
// Plain x as blocks of y that are one word of 4 bytes a pixel; false: y's are not (words.c).
bool cg_lower_words(CgProgram *p, const IrNode *n);
// Blocked, rank 4 (channels.c).
void cg_lower_channel_slice(CgProgram *p, const IrNode *n);
void cg_lower_channel_concat(CgProgram *p, const IrNode *n);

#endif
