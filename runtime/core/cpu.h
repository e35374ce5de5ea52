// CPU features of the machine. Private header.
#ifndef RUNTIME_CORE_CPU_H
#define RUNTIME_CORE_CPU_H

#include <stdbool.h>

#include "runtime/core/abi.h"

// The first of the HONE_CPU_* list (0 ended, may be NULL) that this machine lacks, by name; NULL:
// none. The environment's HONE_CPU, x86-64 to x86-64-v4, hides what is newer (for tests).
const char *rt_cpu_missing(const uint32_t *needs);

#endif
