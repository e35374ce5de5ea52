// What the schedule makes of the number of threads: where weights stay in the second level cache,
// each thread has a band of rows of an image, so that it reads of a layer what it wrote of the one
// before; other choices do not depend on it.
#include "ir/conv.h"
#include "passes/passes.h"
#include "tests/check.h"
#include "tests/machine.h"

#include <string.h>

static const char text[] =
    "const %deep: f32[64,1,3,3] = splat(1)\n"
    "const %four: f32[64,4,3,3] = splat(1)\n"
    "const %thin: f32[96,192,1,1] = splat(1)\n"
    "const %wide: f32[256,256,1,1] = splat(1)\n"
    "const %heavy: f32[512,512,1,1] = splat(1)\n"
    "graph infer(%x: f32[N,64,28,28]{nChw16c}, %z: f32[N,192,14,14]{nChw16c},"
    " %w: f32[N,256,14,14]{nChw16c}, %h: f32[N,512,7,7]{nChw16c})"
    " -> (%a, %b, %c, %d, %e) {\n"
    "  %a: f32[N,64,28,28]{nChw16c} = conv %x, %deep {pad=[1,1,1,1], group=64}\n"
    "  %b: f32[N,64,28,28]{nChw16c} = conv %x, %four {pad=[1,1,1,1], group=16}\n"
    "  %c: f32[N,96,14,14]{nChw16c} = conv %z, %thin\n"
    "  %d: f32[N,256,14,14]{nChw16c} = conv %w, %wide\n"
    "  %e: f32[N,512,7,7]{nChw16c} = conv %h, %heavy\n"
    "}\n";

typedef struct Expect {
    IrConvAlgo algo;
    int rows;      // that a band counts: of the image, of tiles
    bool by_bands; // threads have bands
} Expect;
static const Expect expect[] = {
    {IR_CONV_DEPTHWISE, 28, true}, {IR_CONV_GROUPED, 28, true}, {IR_CONV_DIRECT, 14, true},
    {IR_CONV_STRASSEN, 7, true},   {IR_CONV_DIRECT, 4, false},
};
enum { N_NODES = sizeof expect / sizeof *expect };

static void check_threads(const IrGraph *g, const IrMachine *m, int threads) {
    PassOptions opt = {.block = IR_BLOCK, .machine = m, .threads = threads, .winograd = true};
    int i = 0;
    for (const IrNode *n = g->first; n; n = n->next, i++) {
        PassSchedule s[PASS_MAX_SCHEDULES];
        CHECK(i < N_NODES && pass_schedule_candidates(n, &opt, s) > 0);
        int share = (expect[i].rows + threads - 1) / threads;
        CHECK(s[0].algo == expect[i].algo);
        CHECK(s[0].tile.band == (expect[i].by_bands ? share : expect[i].rows));
        CHECK(pass_schedule_fits(n, &opt, s[0].algo, &s[0].tile));
    }
    CHECK(i == N_NODES);
}

static void threads_have_bands(void) {
    IrDiag diag = {0};
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_parse(a, "text", text, strlen(text));
    CHECK(p != NULL);
    for (int threads = 1; p && threads <= 2; threads++)
        check_threads(p->graphs[0], machine_of(a, "znver5"), threads);
    ir_arena_free(a);
}

int main(void) {
    CHECK_RUN(threads_have_bands);
    return check_done();
}
