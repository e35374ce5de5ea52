// Speed of the gradient of the weights of every convolution of common networks, one by one, through
// the normal path:
//
//   wgrad_bench [--mcpu CPU] [--threads T] [--net NAME] [--batch N] [--ms TIME] [--winograd no]
//               [--type f32|bf16]
//
// Prints GFLOP/s and the fraction of this machine's ceiling for multiply-adds on one core, of the
// type and the instruction that the kernel takes (of f32 on tiles, of those of f32), measured right
// before each shape: other work on the machine slows both. Times are minima, with those of copies
// that the kernel alone reads. A fraction above 1 is possible, as products with padding count but
// are not computed.
#include "codegen/codegen.h"
#include "tests/bench/ceiling.h"
#include "tests/bench/options.h"
#include "tests/codegen/conv/conv_shapes.h"
#include "tests/codegen/rig/rig.h"

#include <stdlib.h>
#include <string.h>

typedef struct Bench {
    BenchOptions o;
    const char *net, *winograd;
    float ms;
} Bench;

static int out_size(int in, int k, int s, int pads) {
    return (in + pads - k) / s + 1;
}

static bool is_bf16(const Bench *b) {
    return !strcmp(b->o.type, "bf16");
}

static void add_shape(const Bench *b, Rig *r, const ConvShape *c) {
    rig_input(r, "%%x: %s[N,%d,%d,%d]", b->o.type, c->C, c->H, c->W);
    rig_input(r, "%%d: %s[N,%d,%d,%d]", b->o.type, c->O, out_size(c->H, c->kh, c->s, c->pt + c->pb),
              out_size(c->W, c->kw, c->s, c->pl + c->pr));
    rig_node(r,
             "%%w = conv_wgrad %%x, %%d {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d, to=f32, "
             "shape=[%d,%d,%d,%d]}",
             c->s, c->s, c->pt, c->pl, c->pb, c->pr, c->group, c->O, c->C / c->group, c->kh, c->kw);
    rig_output(r, "%%w");
}

// Of bf16: the upper halves of floats
static void *new_numbers(const Bench *b, size_t n) {
    float *x = malloc(n * sizeof *x);
    uint16_t *half = (uint16_t *)x;
    for (size_t i = 0; x && i < n; i++) {
        float v = (float)(i % 97) / 97 - 0.5f;
        if (is_bf16(b))
            memcpy(&half[i], (const char *)&v + 2, 2);
        else
            x[i] = v;
    }
    return x;
}

// Copies that the kernel alone reads: the slice of x that a strided 1x1 takes, pairs of images
static bool is_copy(const HoneNodeDesc *d) {
    return !strcmp(d->op, "slice") || !strcmp(d->op, "pair_images") || !strcmp(d->op, "cast");
}

static double ceiling_of(const Bench *b, const HoneNodeDesc *d) {
    if (!is_bf16(b) || !strcmp(d->algo, "wgrad"))
        return measure_ceiling();
    return strstr(d->algo, "amx") ? measure_tiles_of_bf16() : measure_ceiling_of_bf16();
}

// The shortest time of the node in the compiled graph, in ns; *desc gets its description.
static double time_wgrad(const Bench *b, const ConvShape *c, HoneModel *m,
                         const HoneNodeDesc **desc) {
    const HoneModelDesc *d = rt_model_desc(m);
    int node = 0;
    while (node < d->n_nodes && strcmp(d->nodes[node].op, "conv_wgrad") != 0)
        node++;
    *desc = &d->nodes[node];
    int oh = out_size(c->H, c->kh, c->s, c->pt + c->pb);
    int ow = out_size(c->W, c->kw, c->s, c->pl + c->pr);
    void *x = new_numbers(b, (size_t)b->o.batch * (size_t)(c->C * c->H * c->W));
    void *dy = new_numbers(b, (size_t)b->o.batch * (size_t)(c->O * oh * ow));
    void *dw = malloc(hone_output_bytes(m, 0, b->o.batch));
    uint64_t *stamp = calloc((size_t)d->n_nodes + 1, sizeof *stamp);
    const void *src[] = {x, dy};
    void *dst[] = {dw};
    double best = 1e30, spent = 0;
    for (int i = 0; i < 5 || (spent < (double)b->ms * 1e6 && i < 10000); i++) {
        uint64_t t = rt_now();
        if (rt_model_run(m, b->o.batch, src, dst, stamp) != 0)
            break;
        spent += (double)(rt_now() - t);
        double ns = (double)(stamp[node + 1] - stamp[node]);
        for (int k = 0; k < node; k++)
            if (is_copy(&d->nodes[k]))
                ns += (double)(stamp[k + 1] - stamp[k]);
        best = ns < best ? ns : best;
    }
    free(stamp);
    free(x);
    free(dy);
    free(dw);
    return best;
}

static void bench_shape(const Bench *b, const ConvShape *c) {
    Rig *r = rig_new(b->o.mcpu, 2);
    rig_winograd(r, !strcmp(b->winograd, "yes"));
    add_shape(b, r, c);
    bool skip;
    uint64_t t = rt_now();
    HoneModel *m = rig_compile(r, NULL) ? rig_load(r, b->o.threads, &skip) : NULL;
    double compile = (double)(rt_now() - t) * 1e-6;
    if (m) {
        const HoneNodeDesc *d;
        double ns = time_wgrad(b, c, m, &d), ceiling = ceiling_of(b, d) * b->o.threads;
        double gflops = (double)(d->flops.c + d->flops.n * b->o.batch) / ns;
        printf("%-12s %4d -> %4d  %3dx%-3d  %2dx%-2d s%d g%-4d %-18s %9.4f ms %7.1f GFLOP/s",
               c->net, c->C, c->O, c->H, c->W, c->kh, c->kw, c->s, c->group, d->algo, ns * 1e-6,
               gflops);
        if (ceiling > 0)
            printf("  %3.0f %% of %.0f", 100 * gflops / ceiling, ceiling);
        printf("  compile %.0f ms\n", compile);
        fflush(stdout);
        hone_destroy(m);
    }
    rig_free(r);
}

int main(int argc, char **argv) {
    Bench b = {.o = {"native", "f32", 1, 16}, .winograd = "yes", .ms = 300};
    const RtCliOption table[] = {BENCH_OPTIONS(b.o, "f32|bf16"),
                                 BENCH_SHAPES(b.net, b.ms),
                                 {"--winograd", RT_CLI_CHOICE, &b.winograd, 0, 0, "yes|no", NULL}};
    bench_parse(table, sizeof table / sizeof *table, argc, argv);
    for (int i = 0; i < N_CONV_SHAPES; i++)
        if (!b.net || !strcmp(b.net, conv_shapes[i].net))
            bench_shape(&b, &conv_shapes[i]);
    return 0;
}
