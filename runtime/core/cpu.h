// CPU features of the machine. Private header.
#ifndef RUNTIME_CORE_CPU_H
#define RUNTIME_CORE_CPU_H

#include <stdbool.h>

#include "runtime/core/abi.h"

// The first of the HONE_CPU_* list (0 ended, may be NULL) that this machine lacks, by name; NULL:
// none.
const char *rt_cpu_missing(const uint32_t *needs);

#endif
