// What a constant's numbers tell: masks, whole numbers, grids, sines; random numbers tell nothing.
#include "ir/random.h"
#include "passes/train/flow.h"
#include "tests/check.h"

#include <math.h>

enum { BINARY = 1, MASK = 2, WHOLE = 4, GRID = 8, WAVE = 16, REPEATED = 32 };

static unsigned tell(IrProgram *p, IrConst *c) {
    return (pass_is_binary(p, c) ? BINARY : 0) | (pass_is_mask(p, c) ? MASK : 0) |
           (pass_is_whole(p, c) ? WHOLE : 0) | (pass_is_grid(p, c) ? GRID : 0) |
           (pass_is_wave(p, c) ? WAVE : 0) | (pass_is_repeated(p, c) ? REPEATED : 0);
}

typedef double Formula(int i, int j); // of row and column

static double random_number(int i, int j) {
    return ir_random_u32(ir_random_key(3), (uint64_t)(i * 100 + j)) / 4294967296.0 - 0.5;
}
static double zero(int i, int j) {
    return 0 * i * j;
}
static double half(int i, int j) {
    return 0.5 + 0 * i * j;
}
static double holes(int i, int j) {
    return (i * 7 + j * 3) % 5 == 0;
}
static double windows(int i, int j) {
    return i / 4 == j / 4 ? 0 : -100;
}
static double causal(int i, int j) {
    return j <= i ? 0 : -INFINITY;
}
static double soft_mask(int i, int j) { // -1 leaves something
    return i == j ? 0 : -1;
}
static double anchors(int i, int j) {
    return i * i * i % 7 + j * j * j % 11 - 3;
}
static double coordinates(int i, int j) {
    return -1 + 0.3 * i + 0 * j;
}
static double centres(int i, int j) {
    return 0.5 + i + j;
}
static double sine(int i, int j) {
    return sin(i * pow(0.6, j) + j);
}
static double sine_of_rows(int i, int j) { // positions 6 to a row
    return j % 2 ? sin(i % 6 * pow(0.6, j)) : cos(i / 6 * pow(0.6, j));
}
static double frequencies(int i, int j) {
    return pow(0.7, j) + 0 * i;
}
static double rows_alike(int i, int j) {
    return random_number(0, j) + 0 * i;
}
static double nan_among(int i, int j) {
    return i == 3 && j == 2 ? NAN : i + j;
}

static void formulas(void) {
    static const struct {
        const char *name;
        Formula *f;
        unsigned tells;
    } cases[] = {
        {"random", random_number, 0},
        {"zeros", zero, REPEATED},
        {"halves", half, REPEATED},
        {"holes", holes, BINARY | WHOLE},
        {"windows", windows, MASK | WHOLE},
        {"causal", causal, MASK | WHOLE},
        {"-1 and 0", soft_mask, WHOLE},
        {"anchors", anchors, WHOLE},
        {"coordinates", coordinates, GRID | WAVE},
        {"centres", centres, GRID | WAVE},
        {"sines", sine, WAVE},
        {"sines of rows", sine_of_rows, WAVE},
        {"frequencies", frequencies, WAVE | REPEATED},
        {"equal rows", rows_alike, REPEATED},
        {"NaN among them", nan_among, 0},
    };
    IrDiag diag;
    ir_diag_init(&diag, "content");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_program_new(a, "content");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        enum { ROWS = 12, COLUMNS = 12 };
        IrType type = {IR_F32, {2, {ir_dim(ROWS), ir_dim(COLUMNS)}}, 0};
        float *v = ir_alloc_array(a, ROWS * COLUMNS, sizeof *v);
        for (int i = 0; i < ROWS * COLUMNS; i++) {
            v[i] = (float)cases[k].f(i / COLUMNS, i % COLUMNS);
        }
        unsigned got = tell(p, ir_const_new(p, cases[k].name, type, v));
        if (!CHECK_INT_EQ(got, cases[k].tells)) {
            fprintf(stderr, "  %s\n", cases[k].name);
        }
    }
    IrType type = {IR_F32, {1, {ir_dim(9)}}, 0};
    CHECK_INT_EQ(tell(p, ir_const_rand(p, "not there yet", type, 1)), 0);
    CHECK_INT_EQ(tell(p, ir_const_splat(p, "splat", type, 1)), REPEATED);
    CHECK(pass_all_are(p, ir_const_splat(p, "splat", type, 1), 1));
    ir_arena_free(a);
}

int main(void) {
    CHECK_RUN(formulas);
    return check_done();
}
