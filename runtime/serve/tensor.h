// Tensors of requests and replies: elements as JSON's values, shapes. Private header.
#ifndef RUNTIME_SERVE_TENSOR_H
#define RUNTIME_SERVE_TENSOR_H

#include <jansson.h>

#include "runtime/core/rt.h"
#include "runtime/file/json.h"

// Writes the elements of a JSON array, nested or flat, one behind the other: exactly `count` of
// them. False with err set: there are more or fewer, or one is no value of the type.
bool rt_serve_store(const json_t *data, int dtype, int64_t count, char *to, RtErr *err);
// Element i of a tensor as a value.
void rt_serve_print(RtJson *j, int dtype, const char *data, int64_t i);
// Element i as a number, for ranking.
double rt_serve_load(int dtype, const char *data, int64_t i);
// Finds the N that makes t's shape this one; *N < 0: none is known yet. False with err set.
bool rt_serve_solve(const HoneTensorDesc *t, int rank, const int64_t *dim, int64_t *N, RtErr *err);

#endif
