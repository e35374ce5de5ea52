// Tensors padded to a size that the program was compiled for. Private header.
#ifndef RUNTIME_INFER_PAD_H
#define RUNTIME_INFER_PAD_H

#include "runtime/file/npy.h"
#include "runtime/infer/infer.h"

// The smallest of n sizes that holds all inputs x; -1: none does.
int rt_pad_find(const HoneModelDesc *const *size, int n, const RtNpy *x);
// Zeros behind the end of each axis of a, up to t's; as it is where it does not fit. False with err
// set: no memory.
bool rt_pad(const HoneTensorDesc *t, RtNpy *a, RtErr *err);

#endif
