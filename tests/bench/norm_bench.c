// Speed of normalisations by the batch's statistics and of their gradients, on ResNet-50's maps:
//
//   norm_bench [--mcpu CPU] [--threads T] [--batch N] [--type f32|bf16]
//
// Prints GB/s: what would pass through memory if each operand were read once and the result written
// once, beside what a copy reads and writes here. Times are minima.
#include "codegen/codegen.h"
#include "runtime/core/rt.h"
#include "tests/bench/options.h"
#include "tests/codegen/rig/rig.h"

#include <stdlib.h>
#include <string.h>

enum { INPUTS = 5, OUTPUTS = 6, ROUNDS = 12 };

static const int maps[][2] = {{64, 112}, {64, 56},   {256, 56},  {128, 28},
                              {512, 28}, {256, 14}, {1024, 14}, {2048, 7}};

// Channel by channel: x, dy, scale, mean, variance.
static void add_norms(Rig *r, const BenchOptions *b, int c, int size) {
    bool half = strcmp(b->type, "f32") != 0;
    const char *then =
                   half ? ", to=f32, then=[relu(acc), cast(s0, to=bf16)]" : ", then=[relu(acc)]",
               *back = half ? ", to=f32, then=[cast(acc, to=bf16)]" : "";
    rig_input(r, "%%x: %s[N,%d,%d,%d]", b->type, c, size, size);
    rig_input(r, "%%d: %s[N,%d,%d,%d]", b->type, c, size, size);
    rig_input(r, "%%s: f32[%d]", c);
    rig_input(r, "%%m: f32[%d]", c);
    rig_input(r, "%%v: f32[%d]", c);
    rig_node(r, "%%y, %%a, %%b = batch_norm_train %%x, %%s, %%m {eps=0.01%s}", then);
    rig_node(r, "%%z, %%e, %%f = batch_norm_grad %%x, %%d, %%s, %%m, %%v {eps=0.01%s}", back);
    for (const char *out = "yabzef"; *out; out++)
        rig_output(r, "%%%c", *out);
}

static double bytes_of(const BenchOptions *b, int c, int size) {
    return (double)b->batch * c * size * size * (strcmp(b->type, "f32") ? 2 : 4);
}

// The shortest time of the node that is this op, in ns.
static double time_op(const HoneModelDesc *d, uint64_t *const *stamp, const char *op) {
    double best = 1e30;
    for (int n = 0; n < d->n_nodes; n++)
        for (int i = 0; i < ROUNDS && !strcmp(d->nodes[n].op, op); i++) {
            double ns = (double)(stamp[i][n + 1] - stamp[i][n]);
            best = ns < best ? ns : best;
        }
    return best;
}

static double time_copy(void *to, const void *from, size_t bytes) {
    double best = 1e30;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t t = rt_now();
        memcpy(to, from, bytes);
        double ns = (double)(rt_now() - t);
        best = ns < best ? ns : best;
    }
    return best;
}

static void run(const BenchOptions *b, HoneModel *m, int c, int size) {
    const HoneModelDesc *d = rt_model_desc(m);
    const void *src[INPUTS];
    void *dst[OUTPUTS];
    uint64_t *stamp[ROUNDS];
    double bytes = bytes_of(b, c, size);
    for (int i = 0; i < INPUTS; i++) {
        size_t n = i < 2 ? (size_t)bytes : (size_t)c * 4;
        src[i] = memset(malloc(n), 0x3e, n);
    }
    for (int i = 0; i < OUTPUTS; i++)
        dst[i] = malloc(hone_output_bytes(m, i, b->batch));
    for (int i = 0; i < ROUNDS; i++) {
        stamp[i] = calloc((size_t)d->n_nodes + 1, sizeof **stamp);
        if (rt_model_run(m, b->batch, src, dst, stamp[i]) != 0)
            exit(1);
    }
    double train = time_op(d, stamp, "batch_norm_train"),
           grad = time_op(d, stamp, "batch_norm_grad");
    double copy = time_copy(dst[0], src[0], (size_t)bytes);
    printf("%5d x %3dx%-3d %s  train %7.3f ms %5.1f GB/s  gradient %7.3f ms %5.1f GB/s  "
           "copy by one thread %5.1f GB/s\n",
           c, size, size, b->type, train * 1e-6, 2 * bytes / train, grad * 1e-6, 3 * bytes / grad,
           2 * bytes / copy);
    fflush(stdout);
}

int main(int argc, char **argv) {
    BenchOptions b = {"native", "bf16", 1, 16};
    const RtCliOption table[] = {BENCH_OPTIONS(b, "f32|bf16")};
    bench_parse(table, sizeof table / sizeof *table, argc, argv);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        Rig *r = rig_new(b.mcpu, 2);
        bool skip;
        add_norms(r, &b, maps[i][0], maps[i][1]);
        HoneModel *m = rig_compile(r, NULL) ? rig_load(r, b.threads, &skip) : NULL;
        if (m) {
            run(&b, m, maps[i][0], maps[i][1]);
            hone_destroy(m);
        }
        rig_free(r);
    }
    return 0;
}
