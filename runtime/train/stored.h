// Parameters as the ONNX file stores them: floats of some type. The state that trains is float32.
#ifndef RUNTIME_TRAIN_STORED_H
#define RUNTIME_TRAIN_STORED_H

#include "runtime/core/rt.h"
#include "runtime/train/abi.h"

size_t rt_stored_bytes(const HoneParam *p);         // that its numbers take in the file
void rt_stored_load(const HoneParam *p, float *to); // to[p->count], the pretrained values
// p->count numbers as the file has them, to[rt_stored_bytes(p)]. False: one is too large for the
// file's type.
bool rt_stored_pack(const HoneParam *p, const float *from, void *to);
// What a reader of the exported file computes with: all parameters, rounded to the file's types.
// The buffer is the state's; values that do not fit become infinite.
void rt_stored_round(const HoneTrainDesc *d, float *params);

#endif
