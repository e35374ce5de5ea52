// A failing graph to its smallest form: outputs go, nodes give way to an operand or to an input,
// dimensions shrink, as long as the failure stays of its kind.
#ifndef TESTS_FUZZ_GRAPH_REDUCE_H
#define TESTS_FUZZ_GRAPH_REDUCE_H

#include "tests/fuzz/graph_check.h"

// The smaller text, malloc; job->N may become 1. At most `tries` checks.
char *reduce_graph(CheckJob *job, CheckStatus failure, int tries);

#endif
