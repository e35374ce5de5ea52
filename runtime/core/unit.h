// The units of a model: which of them run on this CPU, and which for what sizes. Private header.
#ifndef RUNTIME_CORE_UNIT_H
#define RUNTIME_CORE_UNIT_H

#include "runtime/core/cpu.h"

// Can this unit run here, with what rt_cpu_allowed() gave? The one place that decides.
bool rt_unit_runs(const HoneModelDesc *d, uint64_t allowed);
// Do both take inputs of the same shapes?
bool rt_unit_same_size(const HoneModelDesc *a, const HoneModelDesc *b);
// Do the shapes that are asked for fit, as HoneOptions has them?
bool rt_unit_fits(const HoneModelDesc *d, int n_inputs, const HoneTensorInfo *inputs);

// One unit for each size, in the chain's order: the first that runs here (allowed NULL: the first
// there is). size[HONE_MAX_UNITS]; returns how many.
int rt_unit_sizes(const HoneModelDesc *first, const uint64_t *allowed, const HoneModelDesc **size);
// "x f32[N,3,224,224]; x f32[N,3,320,320]": of all sizes, those behind the sixth counted. Returns
// text.
const char *rt_unit_sizes_text(const HoneModelDesc *first, char *text, size_t size);

// Of n sizes (at least 1) that whose input is nearest to a picture: by the ratio of its sides, then
// by its area.
int rt_unit_nearest(const HoneModelDesc *const *size, int n, int width, int height);

// The first unit of the chain that runs here and whose inputs are as asked; NULL after an error.
const HoneModelDesc *rt_unit_find(const HoneModelDesc *first, int n_inputs,
                                  const HoneTensorInfo *inputs, RtErr *err);

#endif
