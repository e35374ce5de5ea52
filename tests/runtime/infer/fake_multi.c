// A model of several inputs and outputs with awkward names and types, for the subcommand run:
//   a=b: f32[N,2], plus: i64[N]  ->  sum/0: f32[N,2] = a + plus, twice: i64[2N+1] = plus, plus, 7
#include <stddef.h>

#include "runtime/core/abi.h"

static void add(char *const *args, int64_t N, int64_t thread, int64_t threads, char *scratch) {
    (void)scratch;
    const float *a = (const float *)args[0];
    const int64_t *plus = (const int64_t *)args[1];
    float *sum = (float *)args[2];
    int64_t *twice = (int64_t *)args[3];
    for (int64_t n = thread; n < N; n += threads) {
        sum[2 * n] = a[2 * n] + (float)plus[n];
        sum[2 * n + 1] = a[2 * n + 1] + (float)plus[n];
        twice[n] = twice[N + n] = plus[n];
    }
    if (thread == 0)
        twice[2 * N] = 7;
}

static const HoneTensorDesc inputs[] = {
    {.name = "a=b", .dtype = HONE_F32, .rank = 2, .dim = {{0, 1}, {2, 0}}},
    {.name = "plus", .dtype = HONE_I64, .rank = 1, .dim = {{0, 1}}}};
static const HoneTensorDesc outputs[] = {
    {.name = "sum/0", .dtype = HONE_F32, .rank = 2, .dim = {{0, 1}, {2, 0}}},
    {.name = "twice", .dtype = HONE_I64, .rank = 1, .dim = {{1, 2}}}};
static const HoneNodeDesc nodes[] = {
    {.name = "all", .op = "map", .flops = {0, 2}, .bytes = {8, 48}}};

static const HoneKernel kernels[] = {add};
static const HonePlace args[] = {{.at = HONE_AT_INPUT},
                                 {.at = HONE_AT_INPUT, .index = 1},
                                 {.at = HONE_AT_OUTPUT},
                                 {.at = HONE_AT_OUTPUT, .index = 1}};
static const HoneStep steps[] = {{0, 0, 4, 0}};

const HoneModelDesc hone_fake_desc = {
    .abi = HONE_ABI,
    .name = "multi",
    .producer = "hone 0.1.0",
    .cpu = "generic",
    .features = "",
    .hash = "",
    .n_inputs = 2,
    .n_outputs = 2,
    .n_nodes = 1,
    .inputs = inputs,
    .outputs = outputs,
    .nodes = nodes,
    .batch_symbolic = 1,
    .kernels = kernels,
    .run = {1, 4, steps, args},
};
