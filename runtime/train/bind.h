// Bindings, checked before anything runs. Private header.
#ifndef RUNTIME_TRAIN_BIND_H
#define RUNTIME_TRAIN_BIND_H

#include "runtime/core/rt.h"
#include "runtime/train/abi.h"

// Every input and output of the graph has the type and shape of its row. False with err set.
bool rt_bind_check(const HoneTrainDesc *d, const HoneTrainGraph *g, RtErr *err);

#endif
