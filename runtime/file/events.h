// TensorBoard's event files, https://www.tensorflow.org/tensorboard: records in TFRecord's frames,
// each a message of event.proto with the few fields that scalars take. Private header.
#ifndef RUNTIME_FILE_EVENTS_H
#define RUNTIME_FILE_EVENTS_H

#include "runtime/core/rt.h"

#include <stdio.h>

typedef struct RtScalar {
    const char *tag; // "loss/train": what is before the slash groups charts
    double value;    // not finite: left out
} RtScalar;

// The record that a file begins with. seconds: wall time since 1970.
void rt_events_begin(FILE *f, double seconds);
// Scalars of one step; n at most 16, tags at most 64 bytes. Errors are the stream's.
void rt_events_put(FILE *f, double seconds, int64_t step, const RtScalar *scalars, int n);

// Cuts a file off behind the last record that is whole, before the first whose step and tag (of its
// first scalar) `keeps` refuses. *empty: nothing is left, or no file was there. False with err set.
bool rt_events_cut(const char *path, bool (*keeps)(void *ctx, int64_t step, const char *tag),
                   void *ctx, bool *empty, RtErr *err);

#endif
