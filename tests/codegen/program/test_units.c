// A model of several units: the runtime takes the one that fits the CPU and the shapes asked for,
// all compute the same, and what they have in common of the constants stands once.
#define _GNU_SOURCE // mkdtemp, setenv
#include "codegen/codegen.h"
#include "passes/passes.h"
#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"
#include "runtime/core/rt.h"
#include "tests/check.h"
#include "tests/codegen/rig/jit.h"

#include <stdlib.h>

#define CONSTS                                                                                     \
    "const %w: f32[64,32,3,3] = rand(1)\n"                                                         \
    "const %b: f32[64] = rand(2)\n"                                                                \
    "const %v: f32[48,64,1,1] = rand(3)\n"
#define BODY                                                                                       \
    "-> (%y) {\n"                                                                                  \
    "  %c: f32[N,64,8,8] = conv %x, %w, %b {pad=[1,1,1,1]}\n"                                      \
    "  %r: f32[N,64,8,8] = relu %c\n"                                                              \
    "  %y: f32[N,48,8,8] = conv %r, %v\n"                                                          \
    "}\n"
#define LARGE                                                                                      \
    "-> (%y) {\n"                                                                                  \
    "  %c: f32[N,64,12,10] = conv %x, %w, %b {pad=[1,1,1,1]}\n"                                    \
    "  %r: f32[N,64,12,10] = relu %c\n"                                                            \
    "  %y: f32[N,48,12,10] = conv %r, %v\n"                                                        \
    "}\n"
static const char one_graph[] = CONSTS "graph infer(%x: f32[N,32,8,8]) " BODY;
static const char two_shapes[] =
    CONSTS "graph infer(%x: f32[N,32,8,8]) " BODY "graph large(%x: f32[N,32,12,10]) " LARGE;

enum { MAX_MODELS = 3, N = 3, IN = N * 32 * 12 * 10, OUT = N * 48 * 12 * 10 };

typedef struct Model {
    IrDiag diag;
    IrArena *arena;
    CgTarget target[MAX_MODELS];
    CgResult cg;
    Jit *jit;
} Model;

static IrGraph *plan(IrGraph *g, const CgTarget *t) {
    PassOptions po = {.opt_level = 2,
                      .block = t->lanes,
                      .machine = &t->machine,
                      .winograd = true,
                      .verify = true,
                      .out = stdout};
    passes_run(g->prog, g, &po, PASS_INFER);
    return g;
}

// Of all descriptors, others see the first alone.
static void check_visible(const char *dir, int n) {
    char command[160];
    snprintf(command, sizeof command, "readelf -sW %s/*.o | grep -q 'DEFAULT *[0-9]* test_desc$'",
             dir);
    CHECK(system(command) == 0);
    for (int i = 1; i < n; i++) {
        snprintf(command, sizeof command,
                 "readelf -sW %s/*.o | grep -q 'HIDDEN *[0-9]* test_u%d_desc$'", dir, i);
        CHECK(system(command) == 0);
    }
}

// Unit i: graph i of the text, or a copy of its only one, for cpus[i].
static void compile(Model *m, const char *text, int n, const char *const *cpus) {
    char dir[] = "/tmp/hone-units-XXXXXX", err[256], command[64];
    CgUnit unit[MAX_MODELS];
    memset(m, 0, sizeof *m);
    ir_diag_init(&m->diag, "units");
    m->arena = ir_arena_new(&m->diag);
    IrProgram *p = ir_parse(m->arena, "units", text, strlen(text));
    if (!CHECK(p != NULL) || !CHECK(mkdtemp(dir) != NULL))
        return;
    IrGraph *first = p->graphs[0];
    int n_graphs = p->n_graphs;
    for (int i = 0; i < n; i++)
        unit[i].graph =
            n_graphs > 1 ? p->graphs[i] : ir_extract(first, "copy", 0, NULL, 1, first->outputs);
    for (int i = 0; i < n; i++) {
        CHECK(cg_target_init(&m->target[i], m->arena, cpus[i], &m->diag));
        unit[i].target = &m->target[i];
        plan(unit[i].graph, unit[i].target);
    }
    CgOptions co = {.opt_level = 2,
                    .jobs = 2,
                    .symbol = "test",
                    .model_hash = "",
                    .producer = "test",
                    .prepared = 1}; // one unit prepares at its start, too
    if (CHECK(cg_compile_units(n, unit, &co, dir, &m->cg))) {
        check_visible(dir, n);
        m->jit = jit_load(&m->cg, "test", err, sizeof err);
    }
    if (!CHECK(m->jit != NULL))
        fprintf(stderr, "%s\n", err);
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK(system(command) == 0);
}

static void release(Model *m) {
    if (m->jit)
        jit_free(m->jit);
    ir_arena_free(m->arena);
}

// The CPU of the unit that ran, NULL where none fits; y[] is its result.
static const char *run(const Model *m, const HoneOptions *opt, float *y) {
    static float x[IN];
    for (int i = 0; i < IN; i++)
        x[i] = (float)((i * 37) % 101) / 50 - 1;
    char err[256];
    HoneModel *h = hone_create(jit_desc(m->jit), opt, err, sizeof err);
    if (!h) {
        CHECK(strstr(err, "needs") || strstr(err, "shapes"));
        return NULL;
    }
    const void *in[] = {x};
    void *out[] = {y};
    const char *cpu = rt_model_desc(h)->cpu;
    CHECK(hone_run(h, N, in, out) == 0);
    hone_destroy(h);
    return cpu;
}

// Beside the largest value: the machines' kernels add up in other orders.
static bool agree(const float *a, const float *b, int n) {
    float largest = 0, apart = 0;
    for (int i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(a[i]));
        apart = fmaxf(apart, fabsf(a[i] - b[i]));
    }
    return largest > 0 && apart <= 1e-5f * largest;
}

static void picks_by_cpu(void) {
    static const char *const cpus[] = {"x86-64-v4", "x86-64-v3", "x86-64-v2"};
    static float want[OUT], y[OUT];
    Model m;
    compile(&m, one_graph, 3, cpus);
    setenv("HONE_CPU", "x86-64-v2", 1);
    CHECK_STR_EQ(run(&m, NULL, want), "x86-64-v2");
    for (int i = 0; i < 2; i++) {
        setenv("HONE_CPU", cpus[i], 1);
        const char *missing = rt_cpu_missing(m.target[i].needs, RT_CPU_ALL);
        const char *cpu = run(&m, NULL, y);
        if (!missing)
            CHECK_STR_EQ(cpu, cpus[i]);
        CHECK(agree(want, y, N * 48 * 8 * 8));
    }
    setenv("HONE_CPU", "x86-64", 1);
    CHECK(run(&m, NULL, y) == NULL);
    unsetenv("HONE_CPU");
    if (!rt_cpu_missing(m.target[0].needs, RT_CPU_ALL))
        CHECK_STR_EQ(run(&m, NULL, y), "x86-64-v4");
    release(&m);
}

// A program needs what its code uses, not all that the CPU's name promises: no AMX, no VNNI.
static void runs_on_cpus_that_have_less(void) {
    static const char *const named[] = {"sapphirerapids"}, *const level[] = {"x86-64-v4"};
    static float y[OUT], want[OUT];
    Model m, v4;
    compile(&m, one_graph, 1, named);
    compile(&v4, one_graph, 1, level);
    CHECK(memcmp(m.target[0].needs, v4.target[0].needs, sizeof v4.target[0].needs) == 0);
    setenv("HONE_CPU", "x86-64-v4", 1);
    if (!rt_cpu_missing(v4.target[0].needs, RT_CPU_ALL)) {
        CHECK_STR_EQ(run(&v4, NULL, want), "x86-64-v4");
        CHECK_STR_EQ(run(&m, NULL, y), "sapphirerapids");
        CHECK(agree(want, y, N * 48 * 8 * 8));
    }
    unsetenv("HONE_CPU");
    release(&m);
    release(&v4);
}

// Of bytes: the first unit has tiles.
static const char of_bytes[] = "const %w: i8[48,32,3,3] = rand(1)\n"
                               "const %k: f32[] = splat(100)\n"
                               "graph infer(%x: f32[N,32,8,8]) -> (%y) {\n"
                               "  %m: f32[N,32,8,8] = mul %x, %k\n"
                               "  %q: u8[N,32,8,8] = cast %m {to=u8}\n"
                               "  %c: i32[N,48,8,8] = conv %q, %w {pad=[1,1,1,1], zero=3}\n"
                               "  %y: f32[N,48,8,8] = cast %c {to=f32}\n"
                               "}\n";

// Without AMX, or leave to use it, the next unit runs; its results are the same numbers.
static void takes_the_next_unit_without_tiles(void) {
    static const char *const cpus[] = {"sapphirerapids", "x86-64-v3"};
    static const uint32_t amx[] = {HONE_CPU_AMX_INT8, 0};
    static float y[OUT], want[OUT];
    Model m;
    compile(&m, of_bytes, 2, cpus);
    bool tiles = false, here = !rt_cpu_missing(amx, RT_CPU_ALL);
    for (const uint32_t *n = jit_desc(m.jit)->cpu_needs; *n; n++)
        tiles |= *n == HONE_CPU_AMX_INT8;
    CHECK(tiles);
    if (!rt_cpu_missing(m.target[1].needs, RT_CPU_ALL)) {
        CHECK_STR_EQ(run(&m, NULL, y), here ? "sapphirerapids" : "x86-64-v3");
        setenv("HONE_CPU", "x86-64-v3", 1);
        CHECK_STR_EQ(run(&m, NULL, want), "x86-64-v3");
        unsetenv("HONE_CPU");
        CHECK(memcmp(y, want, sizeof(float) * N * 48 * 8 * 8) == 0);
    }
    release(&m);
}

static void hides_with(const Model *m, const char *level, const char *part) {
    char err[256] = "";
    setenv("HONE_CPU", level, 1);
    HoneModel *h = hone_create(jit_desc(m->jit), NULL, err, sizeof err);
    if (!CHECK(!h && strstr(err, part)))
        fprintf(stderr, "  HONE_CPU=%s: %s\n", level, err);
    hone_destroy(h);
    unsetenv("HONE_CPU");
}

static void says_what_hides_a_feature(void) {
    static const char *const cpus[] = {"x86-64-v2"};
    Model m;
    compile(&m, one_graph, 1, cpus);
    hides_with(&m, "x86-64-v9",
               "x86-64, x86-64-v2, x86-64-v3 or x86-64-v4, or a name that --mcpu takes");
    hides_with(&m, "v2", "HONE_CPU=v2");
    if (!rt_cpu_missing(m.target[0].needs, RT_CPU_ALL))
        hides_with(&m, "x86-64", "needs SSE3, which HONE_CPU=x86-64 hides");
    release(&m);
}

// Levels are sets of features: AVX-VNNI is in none of them.
static void levels_allow_what_they_name(void) {
    static const struct {
        const char *level;
        bool sse42, avx2, avx512;
    } want[] = {{"x86-64", false, false, false},
                {"x86-64-v2", true, false, false},
                {"x86-64-v3", true, true, false},
                {"x86-64-v4", true, true, true}};
    RtErr err;
    uint64_t set;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        setenv("HONE_CPU", want[i].level, 1);
        CHECK(rt_cpu_allowed(&set, &err));
        CHECK((set >> HONE_CPU_SSE42 & 1) == want[i].sse42);
        CHECK((set >> HONE_CPU_AVX2 & 1) == want[i].avx2);
        CHECK((set >> HONE_CPU_AVX512VL & 1) == want[i].avx512);
        CHECK(!(set >> HONE_CPU_AVXVNNI & 1) && !(set >> HONE_CPU_AVX512VNNI & 1));
    }
    unsetenv("HONE_CPU");
    CHECK(rt_cpu_allowed(&set, &err) && set >> HONE_CPU_AVXVNNI & 1);
}

static void picks_by_shape(void) {
    static const char *const cpus[] = {"x86-64-v2", "x86-64-v2"};
    static float small[OUT], y[OUT];
    Model m;
    compile(&m, two_shapes, 2, cpus);
    HoneTensorInfo x = {.name = "x", .rank = 4, .dim = {-1, 32, 12, 10}};
    HoneOptions opt = {.threads = 2, .n_inputs = 1, .inputs = &x};
    CHECK(run(&m, NULL, small) != NULL); // the first
    HoneModel *h = hone_create(jit_desc(m.jit), &opt, NULL, 0);
    CHECK(h && hone_input_info(h, 0).dim[2] == 12 && hone_output_info(h, 0).dim[3] == 10);
    hone_destroy(h);
    CHECK(run(&m, &opt, y) != NULL);
    x.dim[2] = x.dim[3] = 8;
    CHECK(run(&m, &opt, y) != NULL && memcmp(small, y, sizeof(float) * N * 48 * 8 * 8) == 0);
    x.dim[3] = 9;
    CHECK(run(&m, &opt, y) == NULL);
    release(&m);
}

// One instance runs all sizes, in any order, and what it prepares of equal weights is one space.
static void runs_several_sizes(void) {
    static const char *const cpus[] = {"x86-64-v2", "x86-64-v2"};
    static float x[IN], want[2][OUT], y[OUT];
    for (int i = 0; i < IN; i++)
        x[i] = (float)((i * 37) % 101) / 50 - 1;
    Model m, alone;
    compile(&m, two_shapes, 2, cpus);
    compile(&alone, one_graph, 1, cpus);
    HoneTensorInfo large = {.name = "x", .rank = 4, .dim = {-1, 32, 12, 10}};
    HoneOptions opt = {.threads = 2, .n_inputs = 1, .inputs = &large};
    CHECK(run(&m, NULL, want[0]) != NULL && run(&m, &opt, want[1]) != NULL);
    HoneModel *h = hone_create(jit_desc(m.jit), NULL, NULL, 0);
    if (!CHECK(h != NULL))
        return;
    CHECK_INT_EQ(hone_n_sizes(h), 2);
    CHECK_INT_EQ(hone_size(h), 0);
    CHECK_INT_EQ(hone_find_size(h, 1, &large), 1);
    CHECK_INT_EQ(hone_size_input_info(h, 1, 0).dim[2], 12);
    CHECK(hone_size_input_info(h, 2, 0).name == NULL);
    const void *in[] = {x};
    void *out[] = {y};
    for (int i = 0; i < 5; i++) {
        int k = (i + 1) / 2 % 2; // 0 1 1 0 0
        CHECK_INT_EQ(hone_use_size(h, k), 0);
        CHECK_INT_EQ(hone_size(h), k);
        memset(y, 0, sizeof y);
        CHECK(hone_run(h, N, in, out) == 0);
        CHECK(memcmp(y, want[k], (size_t)hone_output_bytes(h, 0, N)) == 0);
    }
    large.dim[2] = 13;
    CHECK_INT_EQ(hone_find_size(h, 1, &large), -1);
    CHECK_INT_EQ(hone_use_size(h, -1), -1);
    CHECK(strstr(hone_error(h), "other shapes: x f32[N,32,8,8]; x f32[N,32,12,10]") != NULL);
    CHECK(hone_size(h) == 0 && hone_run(h, N, in, out) == 0);
    CHECK(rt_model_desc(h)->prepared_bytes > 0);
    CHECK_INT_EQ(rt_model_desc(h)->prepared_bytes, jit_desc(alone.jit)->prepared_bytes);
    hone_destroy(h);
    release(&alone);
    release(&m);
}

static int64_t weights_for(const char *text, int n, const char *const *cpus) {
    Model m;
    compile(&m, text, n, cpus);
    int64_t bytes = m.cg.weights_bytes;
    release(&m);
    return bytes;
}

// Packed weights are the same bytes for every machine.
static void constants_stand_once(void) {
    static const char *const cpus[] = {"x86-64-v4", "x86-64-v3", "x86-64-v2"};
    int64_t one = weights_for(one_graph, 1, cpus);
    CHECK_INT_EQ(weights_for(one_graph, 3, cpus), one);
    static const char *const same[] = {"x86-64-v3", "x86-64-v3"};
    CHECK_INT_EQ(weights_for(two_shapes, 2, same), one);
}

int main(void) {
    CHECK_RUN(picks_by_cpu);
    CHECK_RUN(runs_on_cpus_that_have_less);
    CHECK_RUN(takes_the_next_unit_without_tiles);
    CHECK_RUN(says_what_hides_a_feature);
    CHECK_RUN(levels_allow_what_they_name);
    CHECK_RUN(picks_by_shape);
    CHECK_RUN(runs_several_sizes);
    CHECK_RUN(constants_stand_once);
    return check_done();
}
