// Speed of every convolution of common networks, one by one, through the normal path:
//
//   conv_bench [--mcpu CPU] [--threads T] [--net NAME] [--batch N] [--ms TIME] [--type f32|bf16|u8]
//
// Prints GFLOP/s (GOP/s) and the fraction of this machine's ceiling for multiply-adds on one core,
// measured right behind each shape: other work on the machine slows both. Times are minima. A
// fraction above 1 is possible, as products with padding count but are not computed. u8: weights
// are s8, and the epilogue scales, rounds and narrows to u8 again.
#include "codegen/codegen.h"
#include "runtime/core/rt.h"
#include "tests/bench/ceiling.h"
#include "tests/bench/options.h"
#include "tests/codegen/conv/conv_shapes.h"
#include "tests/codegen/rig/rig.h"

#include <stdlib.h>
#include <string.h>

typedef struct Type {
    const char *name;
    void (*add)(Rig *r, const ConvShape *c);
    double (*ceiling)(void), (*tiles)(void); // tiles: of algorithms on AMX
} Type;

typedef struct Bench {
    BenchOptions o;
    const char *net;
    const Type *type;
    float ms;
} Bench;

static void add_floats(Rig *r, const ConvShape *c, const char *type) {
    rig_const(r, "%%w: %s[%d,%d,%d,%d] = rand(1)", type, c->O, c->C / c->group, c->kh, c->kw);
    rig_const(r, "%%b: %s[%d] = rand(2)", type, c->O);
    rig_input(r, "%%x: %s[N,%d,%d,%d]", type, c->C, c->H, c->W);
    rig_node(r, "%%c = conv %%x, %%w, %%b {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d}", c->s,
             c->s, c->pt, c->pl, c->pb, c->pr, c->group);
    rig_node(r, "%%y = relu %%c");
    rig_output(r, "%%y");
}

static void add_f32(Rig *r, const ConvShape *c) {
    add_floats(r, c, "f32");
}

static void add_bf16(Rig *r, const ConvShape *c) {
    add_floats(r, c, "bf16");
}

// Scaled per channel, with zero points of x and of the result.
static void add_bytes(Rig *r, const ConvShape *c) {
    rig_const(r, "%%w: i8[%d,%d,%d,%d] = rand(1)", c->O, c->C / c->group, c->kh, c->kw);
    rig_const(r, "%%b: i32[%d] = rand(2)", c->O);
    rig_const(r, "%%s: f32[%d,1,1] = rand(3)", c->O);
    rig_const(r, "%%z: f32[] = splat(3)");
    rig_input(r, "%%x: u8[N,%d,%d,%d]", c->C, c->H, c->W);
    rig_node(r, "%%c = conv %%x, %%w, %%b {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d, zero=7}",
             c->s, c->s, c->pt, c->pl, c->pb, c->pr, c->group);
    rig_node(r, "%%f = cast %%c {to=f32}");
    rig_node(r, "%%m = mul %%f, %%s");
    rig_node(r, "%%r = round %%m");
    rig_node(r, "%%a = add %%r, %%z");
    rig_node(r, "%%k = clip %%a {min=0, max=255}");
    rig_node(r, "%%y = cast %%k {to=u8}");
    rig_output(r, "%%y");
}

// The shortest time of the conv in the compiled graph, in ns; *desc gets its description.
static double time_conv(const Bench *b, const ConvShape *c, HoneModel *m,
                        const HoneNodeDesc **desc) {
    const HoneModelDesc *d = rt_model_desc(m);
    int node = 0;
    while (node < d->n_nodes && strcmp(d->nodes[node].op, "conv") != 0)
        node++;
    *desc = &d->nodes[node];
    size_t in = (size_t)b->o.batch * (size_t)(c->C * c->H * c->W);
    size_t out = hone_output_bytes(m, 0, b->o.batch);
    float *x = calloc(in, sizeof *x), *y = malloc(out); // room for any type
    uint64_t *stamp = calloc((size_t)d->n_nodes + 1, sizeof *stamp);
    for (size_t i = 0; i < in; i++)
        x[i] = (float)(i % 97) / 97 - 0.5f;
    const void *src[] = {x};
    void *dst[] = {y};
    double best = 1e30, spent = 0;
    for (int i = 0; i < 5 || (spent < (double)b->ms * 1e6 && i < 10000); i++) {
        uint64_t t = rt_now();
        if (rt_model_run(m, b->o.batch, src, dst, stamp) != 0)
            break;
        spent += (double)(rt_now() - t);
        double ns = (double)(stamp[node + 1] - stamp[node]);
        best = ns < best ? ns : best;
    }
    free(stamp);
    free(x);
    free(y);
    return best;
}

static const Type types[] = {{"f32", add_f32, measure_ceiling, NULL},
                             {"bf16", add_bf16, measure_ceiling_of_bf16, measure_tiles_of_bf16},
                             {"u8", add_bytes, measure_ceiling_of_bytes, measure_tiles_of_bytes}};

static void bench_shape(const Bench *b, const ConvShape *c) {
    Rig *r = rig_new(b->o.mcpu, 2);
    b->type->add(r, c);
    bool skip;
    uint64_t t = rt_now();
    HoneModel *m = rig_compile(r, NULL) ? rig_load(r, b->o.threads, &skip) : NULL;
    double compile = (double)(rt_now() - t) * 1e-6;
    if (m) {
        const HoneNodeDesc *d;
        double ns = time_conv(b, c, m, &d);
        bool tiles = b->type->tiles && strstr(d->algo, "amx");
        double ceiling = (tiles ? b->type->tiles : b->type->ceiling)() * b->o.threads;
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

static const Type *find_type(const char *name) {
    const Type *t = types;
    while (strcmp(t->name, name))
        t++;
    return t;
}

int main(int argc, char **argv) {
    Bench b = {.o = {"native", "f32", 1, 1}, .ms = 100};
    const RtCliOption table[] = {BENCH_OPTIONS(b.o, "f32|bf16|u8"), BENCH_SHAPES(b.net, b.ms)};
    bench_parse(table, sizeof table / sizeof *table, argc, argv);
    b.type = find_type(b.o.type);
    for (int i = 0; i < N_CONV_SHAPES; i++)
        if (!b.net || !strcmp(b.net, conv_shapes[i].net))
            bench_shape(&b, &conv_shapes[i]);
    return 0;
}
