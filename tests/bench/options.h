// Command lines of the benches of kernels: the options that these have in common.
#ifndef TESTS_BENCH_OPTIONS_H
#define TESTS_BENCH_OPTIONS_H

#include "runtime/core/cli.h"

#include <stdlib.h>

typedef struct BenchOptions {
    const char *mcpu, *type;
    int threads, batch;
} BenchOptions;

// Rows of a bench's table. kinds: what --type may be, "f32|bf16".
#define BENCH_OPTIONS(o, kinds)                                                                    \
    {"--mcpu", RT_CLI_TEXT, &(o).mcpu, 0, 0, NULL, NULL},                                          \
        {"--type", RT_CLI_CHOICE, &(o).type, 0, 0, kinds, NULL},                                   \
        {"--threads", RT_CLI_INT, &(o).threads, 1, RT_MAX_THREADS, NULL, NULL},                    \
        {"--batch", RT_CLI_INT, &(o).batch, 1, 1 << 20, NULL, NULL}
// Those of the benches that go over networks' convolutions (conv_shapes.h).
#define BENCH_SHAPES(net, ms)                                                                      \
    {"--net", RT_CLI_TEXT, &(net), 0, 0, NULL, NULL}, /* NULL: all */                              \
        {"--ms", RT_CLI_FLOAT, &(ms), 0, 1e6, NULL, NULL} /* that each is measured */

// Ends the program with one line where the command line is wrong.
static inline void bench_parse(const RtCliOption *table, int n, int argc, char **argv) {
    RtErr err;
    RtCliList rest = {0};
    bool good = rt_cli_parse(table, n, argc - 1, argv + 1, &rest, &err);
    if (good && rest.n)
        good = rt_fail(&err, "'%s' is no option", rest.item[0]);
    free(rest.item);
    if (good)
        return;
    fprintf(stderr, "%s: %s\n", argv[0], err.text);
    exit(2);
}

#endif
