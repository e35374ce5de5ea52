// Winograd's and Strassen's kernels against the direct one, layer by layer: all are compiled, then
// run in turn, and the minimum of each counts.
//
//   winograd_time SECONDS [C O H W KH KW STRIDE [ALGO TILE]...]
//
// ALGO, TILE: the attributes algo and tile, as "winograd4 vecs=2,out_rows=4,out_cols=4,block=7".
// Without a shape: convolutions of common networks as the schedule chooses. Environment: THREADS,
// BATCH (1), MCPU (native).
#include "tests/codegen/rig/rig.h"

#include "ir/conv.h"
#include "runtime/core/rt.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Layer {
    int C, O, H, W, kh, kw;
    int stride;
} Layer;

static const Layer layers[] = {
    {64, 64, 56, 56, 3, 3, 1},   {128, 128, 28, 28, 3, 3, 1}, {256, 256, 14, 14, 3, 3, 1},
    {512, 512, 7, 7, 3, 3, 1},   {64, 192, 56, 56, 3, 3, 1},  {96, 96, 35, 35, 3, 3, 1},
    {32, 64, 147, 147, 3, 3, 1}, {448, 384, 8, 8, 3, 3, 1},   {80, 192, 73, 73, 3, 3, 1},
    {128, 32, 56, 56, 3, 3, 1},  {256, 256, 56, 56, 3, 3, 1}, {512, 512, 28, 28, 3, 3, 1},
    {512, 512, 14, 14, 3, 3, 1}, {96, 208, 14, 14, 3, 3, 1},  {64, 64, 224, 224, 3, 3, 1},
    {192, 192, 17, 17, 1, 7, 1}, {192, 192, 17, 17, 7, 1, 1}, {384, 384, 8, 8, 1, 3, 1},
    {384, 384, 8, 8, 3, 1, 1},   {48, 64, 35, 35, 5, 5, 1},   {32, 32, 112, 112, 3, 3, 2},
    {32, 96, 56, 56, 3, 3, 2},   {128, 128, 56, 56, 3, 3, 2}, {256, 256, 28, 28, 3, 3, 2},
    {512, 512, 14, 14, 3, 3, 2},
};

typedef struct Variant {
    Rig *rig;
    HoneModel *m;
    const char *what;
    int call; // the convolution's place among the calls
    double best;
} Variant;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int threads = 1, batch = 1;

static Variant make_variant(const Layer *l, const char *attrs, bool winograd) {
    Variant v = {.rig = rig_new(getenv("MCPU") ? getenv("MCPU") : "native", 2), .best = 1e9};
    rig_winograd(v.rig, winograd);
    rig_const(v.rig, "%%w: f32[%d,%d,%d,%d] = rand(1)", l->O, l->C, l->kh, l->kw);
    rig_const(v.rig, "%%b: f32[%d] = rand(2)", l->O);
    rig_input(v.rig, "%%x: f32[N,%d,%d,%d]", l->C, l->H, l->W);
    rig_node(v.rig, "%%c = conv %%x, %%w, %%b {pad=[%d,%d,%d,%d], stride=[%d,%d]%s}", l->kh / 2,
             l->kw / 2, l->kh / 2, l->kw / 2, l->stride, l->stride, attrs);
    rig_node(v.rig, "%%y = relu %%c");
    rig_output(v.rig, "%%y");
    bool skip;
    CgResult cg;
    if (!rig_compile(v.rig, &cg) || !(v.m = rig_load(v.rig, threads, &skip)))
        exit(1);
    const HoneModelDesc *desc = rt_model_desc(v.m);
    while (v.call + 1 < desc->n_nodes && strcmp(desc->nodes[v.call].op, "conv") != 0)
        v.call++;
    IrGraph *g = rig_graph(v.rig);
    for (IrNode *n = g->first; n; n = n->next)
        if (n->op == IR_OP_CONV) {
            char tile[IR_CONV_TILE_TEXT];
            IrConvTile t = ir_conv_tile(n);
            v.what = ir_sprintf(g->prog->arena, "%s %s",
                                ir_conv_algo_info(ir_attr(n, IR_ATTR_ALGO)->algo)->text,
                                ir_conv_tile_print(&t, tile));
        }
    return v;
}

// Milliseconds of the convolution's call alone
static void run_once(Variant *v, const float *x, float *y) {
    const void *in[] = {x};
    void *out[] = {y};
    uint64_t stamp[64];
    if (rt_model_run(v->m, batch, in, out, stamp) != 0)
        exit(1);
    double ms = 1e-6 * (double)(stamp[v->call + 1] - stamp[v->call]);
    if (ms < v->best)
        v->best = ms;
}

static void time_layer(const Layer *l, int n_attrs, char **attrs, double budget) {
    Variant v[16];
    int n = 0;
    v[n++] = make_variant(l, "", false);
    if (!n_attrs)
        v[n++] = make_variant(l, "", true);
    for (int i = 0; i + 1 < n_attrs && n < 16; i += 2) {
        char text[160];
        snprintf(text, sizeof text, ", algo=\"%s\", tile=[%s]", attrs[i], attrs[i + 1]);
        v[n++] = make_variant(l, text, true);
    }
    size_t nx = (size_t)batch * l->C * l->H * l->W, ny = (size_t)batch * l->O * l->H * l->W;
    float *x = calloc(nx, sizeof *x), *y = calloc(ny, sizeof *y);
    for (size_t i = 0; i < nx; i++)
        x[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    double end = seconds() + budget;
    for (int k = 0; k < 5 || seconds() < end; k++)
        for (int i = 0; i < n; i++)
            run_once(&v[i], x, y);
    double gflop =
        2e-9 * l->O * (double)l->H * l->W * l->C * l->kh * l->kw * batch / (l->stride * l->stride);
    for (int i = 0; i < n; i++) {
        printf("%4d->%4d %3dx%-3d %dx%d  %-22s %8.3f ms %7.1f GFLOP/s %6.2fx\n", l->C, l->O, l->H,
               l->W, l->kh, l->kw, v[i].what, v[i].best, gflop / v[i].best * 1e3,
               v[0].best / v[i].best);
        hone_destroy(v[i].m);
        rig_free(v[i].rig);
    }
    fflush(stdout);
    free(x);
    free(y);
}

int main(int argc, char **argv) {
    double budget = argc > 1 ? atof(argv[1]) : 1;
    if (getenv("THREADS"))
        threads = atoi(getenv("THREADS"));
    if (getenv("BATCH"))
        batch = atoi(getenv("BATCH"));
    if (argc > 8) {
        Layer l = {atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]),
                   atoi(argv[6]), atoi(argv[7]), atoi(argv[8])};
        time_layer(&l, argc - 9, argv + 9, budget);
        return 0;
    }
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        time_layer(&layers[i], 0, NULL, budget);
    return 0;
}
