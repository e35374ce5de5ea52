// Strassen's multiplication for 1x1 convolutions: see conv/strassen.c. Private to codegen/conv*.c.
#ifndef CODEGEN_CONV_STRASSEN_H
#define CODEGEN_CONV_STRASSEN_H

#include "codegen/conv/conv.h"

// Pixels in a column, channels and output vectors in halves; rows: pixels of half a tile, vecs:
// vectors of half a group, band: tiles whose sums are made at a time.
bool cg_conv_is_strassen(const CgConv *s, int lanes);
void cg_conv_strassen(CgFn *f, const void *spec);
int64_t cg_conv_strassen_scratch(const CgConv *s, int lanes); // bytes a thread
int64_t cg_conv_strassen_floats(const CgConv *s, int lanes);
void cg_conv_pack_strassen(const CgConv *s, int lanes, const float *w, float *out);

#endif
