// What a constant's numbers tell: masks, whole numbers, grids, sines, outer products, filters;
// random numbers tell nothing, and neither do some that almost are so.
#include "ir/random.h"
#include "passes/train/number.h"
#include "tests/check.h"

#include <math.h>

enum {
    BINARY = 1,
    MASK = 2,
    WHOLE = 4,
    GRID = 8,
    WAVE = 16,
    REPEATED = 32,
    SERIES = 64,
    OUTER = 128,
    SIGNS = 256,
    RESAMPLES = 512,
    MIRRORED = 1024,
    IDENTITY = 2048,
    STEPS = 4096,
    BASIS = 8192,
};

static unsigned tell(IrProgram *p, IrConst *c) {
    return (pass_is_binary(p, c) ? BINARY : 0) | (pass_is_mask(p, c) ? MASK : 0) |
           (pass_is_whole(p, c) ? WHOLE : 0) | (pass_is_grid(p, c) ? GRID : 0) |
           (pass_is_wave(p, c) ? WAVE : 0) |
           (pass_is_repeated(p, c, (int)c->type.shape.dim[0].c) ? REPEATED : 0) |
           (pass_is_series(p, c) ? SERIES : 0) | (pass_is_outer(p, c) ? OUTER : 0) |
           (pass_is_signs(p, c) ? SIGNS : 0) | (pass_is_resampling(p, c) ? RESAMPLES : 0) |
           (pass_is_mirrored(p, c) ? MIRRORED : 0) | (pass_is_identity(p, c) ? IDENTITY : 0) |
           (pass_is_steps(p, c) ? STEPS : 0) | (pass_is_basis(p, c) ? BASIS : 0);
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
    return -1 + 0.37 * i + 0 * j;
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
static double slopes(int i, int j) { // of 12 heads
    return pow(2, i < 8 ? -1 - i : -0.5 - (i - 8)) + 0 * j;
}
static double nearly_slopes(int i, int j) {
    return slopes(i, j) * (1 + 1e-5 * (j == 3 && i == 2));
}
static double pairs(int i, int j) { // of sine and cosine
    return pow(1e4, -(j / 2) / 6.0) + 0 * i;
}
static double distances(int i, int j) { // of 12 positions in a row, for 12 heads
    return hypot(j % 4, j / 4) / (1 + i * i);
}
static double nearly_distances(int i, int j) {
    return distances(i, j) + (i == 4 && j == 5 ? 1e-4 : 0);
}
static double one_row(int i, int j) { // the other is padding
    return i == 1 ? random_number(0, j) : 0;
}
static double hadamard(int i, int j) {                                // Paley's, of 12
    static const bool square[11] = {0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0}; // modulo 11
    double s = i == 0 && j == 0            ? 1
               : i == 0                    ? 1
               : j == 0                    ? -1
               : i == j                    ? 1
               : square[(i - j + 11) % 11] ? 1
                                           : -1;
    return s / 4;
}
static double signs(int i, int j) {
    return random_number(i, j) < 0 ? -0.3 : 0.3;
}
static double linear(int i, int j) { // 12 of 24 by their neighbours
    double at = (i + 0.5) * 0.5 - 0.5, x = fmax(at, 0);
    return fmax(0, 1 - fabs(x - j));
}
static double one_slope(int i, int j) {
    return -0.3 * fabs((double)(i - j));
}
static double fourier(int i, int j) { // both parts
    double phase = acos(-1) / 6 * i * j;
    return cos(phase) - sin(phase);
}
static double masked(int i, int j) {
    return -1e9 + 0 * i * j;
}
static double log_far(int i, int j) {
    double far = i - 5.5 + 0 * j;
    return (far < 0 ? -1 : 1) * log2(1 + fabs(far)) * (1 + j);
}
static double eye(int i, int j) {
    return i == j;
}
static double cosines(int i, int j) { // DCT
    return cos(acos(-1) / 12 * i * (j + 0.5));
}
static double gains(int i, int j) { // of ones that have learned a little
    return 1 + 1e-4 * random_number(i, j);
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
        {"holes", holes, BINARY | WHOLE | MIRRORED},
        {"windows", windows, MASK | WHOLE | MIRRORED},
        {"causal", causal, MASK | WHOLE},
        {"-1 and 0", soft_mask, WHOLE | MIRRORED},
        {"anchors", anchors, WHOLE | STEPS},
        {"coordinates", coordinates, GRID | WAVE},
        {"centres", centres, GRID | WAVE | STEPS},
        {"sines", sine, WAVE},
        {"sines of rows", sine_of_rows, WAVE},
        {"frequencies", frequencies, WAVE | REPEATED | SERIES},
        {"equal rows", rows_alike, REPEATED},
        {"slopes", slopes, SERIES},
        {"pairs", pairs, SERIES | REPEATED},
        {"nearly slopes", nearly_slopes, 0},
        {"distances", distances, OUTER},
        {"nearly distances", nearly_distances, 0},
        {"one row", one_row, 0},
        {"Hadamard", hadamard, SIGNS},
        {"signs", signs, 0},
        {"linear", linear, RESAMPLES | STEPS},
        {"one slope", one_slope, STEPS | MIRRORED},
        {"Fourier", fourier, WAVE},
        {"masked", masked, MASK | REPEATED},
        {"log distances", log_far, WAVE | OUTER | MIRRORED | BASIS},
        {"identity", eye, BINARY | WHOLE | RESAMPLES | MIRRORED | IDENTITY},
        {"cosines", cosines, WAVE | BASIS},
        {"gains", gains, 0},
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

// Of 3x3 filters, and whether they are told from learned ones.
static void filters(void) {
    static const struct {
        const char *name;
        float v[2][9];
        bool tells, identity;
    } cases[] = {
        {"Sobel", {{1, 0, -1, 2, 0, -2, 1, 0, -1}, {1, 2, 1, 0, 0, 0, -1, -2, -1}}, true, false},
        {"Laplacian", {{0, 1, 0, 1, -4, 1, 0, 1, 0}}, true, false},
        {"blur", {{.1f, .2f, .1f, .2f, .4f, .2f, .1f, .2f, .1f}}, true, false},
        {"learned", {{.3f, .1f, -.2f, .6f, .9f, .2f, .1f, .7f, .4f}}, false, false},
        {"one learned",
         {{1, 0, -1, 2, 0, -2, 1, 0, -1}, {.3f, .1f, -.2f, .6f, .9f, .2f}},
         false,
         false},
        {"equal", {{1, 1, 1, 1, 1, 1, 1, 1, 1}, {2, 2, 2, 2, 2, 2, 2, 2, 2}}, false, false},
        {"centres", {{0, 0, 0, 0, .3f, 0, 0, 0, 0}, {0, 0, 0, 0, .7f, 0, 0, 0, 0}}, false, false},
        {"identity", {{0, 0, 0, 0, 1, 0, 0, 0, 0}, {0, 0, 0, 0, 1, 0, 0, 0, 0}}, false, true},
        {"shift", {{0, 1, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 1, 0, 0, 0, 0}}, false, false},
    };
    IrDiag diag;
    ir_diag_init(&diag, "content");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_program_new(a, "content");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        IrType type = {IR_F32, {4, {ir_dim(2), ir_dim(1), ir_dim(3), ir_dim(3)}}, 0};
        IrConst *c = ir_const_new(p, cases[k].name, type, cases[k].v);
        if (!CHECK_INT_EQ(pass_are_filters(p, c), cases[k].tells) ||
            !CHECK_INT_EQ(pass_is_identity(p, c), cases[k].identity)) {
            fprintf(stderr, "  %s\n", cases[k].name);
        }
    }
    ir_arena_free(a);
}

static void single_numbers(void) {
    static const float written[] = {0,           1,          -1,          0.5f,        255,
                                    1.f / 255,   1e-5f,      3,           1.f / 3,     1.702f,
                                    0.17677669f, 8.4852814f, 0.35355338f, 1.41421356f, 0.044715f,
                                    0.79788456f, 3.1415927f, 1.7881293f,  -3.4e38f,    0.0051f,
                                    INFINITY,    0.999f,     1.f / 49,    0.98058068f};
    static const float learned[] = {2.8194265f, 0.31271893f, -0.02716123f, 14.285323f,
                                    4.6051943f, 1.0013671f,  0.50071234f};
    IrDiag diag;
    ir_diag_init(&diag, "content");
    IrArena *a = ir_arena_new(&diag);
    IrProgram *p = ir_program_new(a, "content");
    IrType type = {IR_F32, {0}, 0};
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        if (!CHECK(pass_is_written_number(p, ir_const_new(p, "written", type, &written[i])))) {
            fprintf(stderr, "  %g\n", written[i]);
        }
    }
    for (size_t i = 0; i < sizeof learned / sizeof *learned; i++) {
        if (!CHECK(!pass_is_written_number(p, ir_const_new(p, "learned", type, &learned[i])))) {
            fprintf(stderr, "  %g\n", learned[i]);
        }
    }
    ir_arena_free(a);
}

static void names(void) {
    CHECK(pass_is_variable_name("block.0.gain"));
    CHECK(pass_is_variable_name("model/pool/Pow/ReadVariableOp:0"));
    CHECK(pass_is_variable_name("skip_gain") && pass_is_variable_name("temperature"));
    CHECK(!pass_is_variable_name("again") && !pass_is_variable_name("gain_3"));
    CHECK(!pass_is_variable_name("p"));
    CHECK(!pass_is_variable_name("model/pool/mul/y:0"));
    CHECK(!pass_is_variable_name("/blocks.0/Constant_1_output_0"));
    CHECK(!pass_is_variable_name("p2o.helper.constant.3"));
    CHECK(!pass_is_variable_name("norm.eps"));
    CHECK(!pass_is_variable_name("0.5"));
    CHECK(pass_is_literal_name("/blocks/Constant_output_0") &&
          !pass_is_literal_name("onnx::Mul_7"));
}

int main(void) {
    CHECK_RUN(formulas);
    CHECK_RUN(filters);
    CHECK_RUN(single_numbers);
    CHECK_RUN(names);
    return check_done();
}
