// Operands that broadcast to a node's result, and elementwise kernels of other dtypes than f32.
// Private to codegen/.
#ifndef CODEGEN_MAP_MAP_H
#define CODEGEN_MAP_MAP_H

#include "codegen/build/nd.h"

// Strides of operand v in the space of result r; *arg becomes a packed copy where the constant v is
// plain and r blocked. False after reporting NYI.
bool cg_operand_strides(CgProgram *p, const IrNode *n, const CgTensor *r, const IrValue *v,
                        IrDim *stride, CgArg *arg);
// A plain f32 constant of rank <= 4, aligned right as rank 4, as blocks: lanes past C are 0. Its
// offset in the weights; *t describes it.
int64_t cg_pack_blocked(CgProgram *p, const IrValue *v, int block, CgTensor *t);
// As cg_map_nd for any dtypes, one element at a time; all operands are read from memory.
void cg_map_typed(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, const CgBody *body,
                  int n_args, const CgArg *args);

// One element, widened to compute with: f16 as float, others as stored.
CgVal cg_load_typed(CgFn *f, IrDtype t, CgVal base, CgVal index);
void cg_store_typed(CgFn *f, IrDtype t, CgVal x, CgVal base, CgVal index);
bool cg_dtype_signed(IrDtype t);

#endif
