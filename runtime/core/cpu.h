// CPU features of the machine. Private header.
#ifndef RUNTIME_CORE_CPU_H
#define RUNTIME_CORE_CPU_H

#include <stdbool.h>

#include "runtime/core/rt.h"

#define RT_CPU_ALL UINT64_MAX // a set of all features

// The set of features, bits HONE_CPU_*, that the environment lets a program use: HONE_CPU, a name
// of cpus.def such as x86-64-v3, hides what such a CPU has not (for tests); all without it. False:
// no such name.
bool rt_cpu_allowed(uint64_t *features, RtErr *err);
// The first of the HONE_CPU_* list (0 ended, may be NULL) that this CPU lacks or that is not in the
// set `allowed`, by name; NULL: none.
const char *rt_cpu_missing(const uint32_t *needs, uint64_t allowed);
// The CPU has all of the list, but its system does not let this process use one of them.
bool rt_cpu_is_forbidden(const uint32_t *needs);

#endif
