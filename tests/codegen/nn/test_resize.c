// resize and max_pool_index against the evaluator: rows and columns by tables, blocked and plain,
// every kernel there is for them, other dtypes.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

#include <string.h>

typedef struct Table { // of an axis: 0 taps: it stays
    int taps, out;
    bool weighted, ascending; // ascending: pixels near each other; else from everywhere
} Table;

// "%h, %hw" and the constants they are; "_, _" without a table.
static void print_table(char *text, char *operands, const Table *t, char name, int in,
                        const char *dtype) {
    size_t n = 0;
    *text = '\0';
    if (!t->taps) {
        strcpy(operands, "_, _");
        return;
    }
    n = (size_t)sprintf(text, "const %%%c: i32[%d,%d] = ", name, t->taps, t->out);
    n += (size_t)sprintf(text + n, t->ascending ? "[" : "rand(%d)\n", 3);
    for (int i = 0; t->ascending && i < t->taps * t->out; i++) {
        int at = i % t->out * in / t->out + i / t->out - 1;
        n += (size_t)sprintf(text + n, "%s%d", i ? ", " : "", at);
    }
    n += (size_t)sprintf(text + n, t->ascending ? "]\n" : "");
    if (t->weighted) {
        bool bytes = strcmp(dtype, "u8") == 0 || strcmp(dtype, "i8") == 0; // halves: sums are exact
        sprintf(text + n, "const %%%cw: %s[%d,%d] = %s\n", name, bytes ? "f32" : dtype, t->taps,
                t->out, bytes ? "splat(0.5)" : "rand(7)");
    }
    sprintf(operands, t->weighted ? "%%%c, %%%cw" : "%%%c, _", name, name);
}

typedef struct Shape {
    int C, H, W;
} Shape;

static void add_resize(Rig *r, int k, const Shape *s, const Table *h, const Table *w,
                       const char *dtype, bool blocked) {
    char rows[20000], columns[20000], row_in[32], column_in[32];
    print_table(rows, row_in, h, 'h', s->H, dtype);
    print_table(columns, column_in, w, 'w', s->W, dtype);
    case_add(r, k, "in %%x: %s[N,%d,%d,%d]\n%s%s%%b = %s\n%%z = resize %%b, %s, %s\n%s\nout %%y",
             dtype, s->C, s->H, s->W, rows, columns,
             blocked ? "max_pool %x {kernel=[1,1]}" : "copy %x", row_in, column_in,
             blocked ? "%y = max_pool %z {kernel=[1,1]}" : "%y = copy %z");
}

static const Shape shapes[] = {{3, 5, 7}, {20, 4, 33}, {17, 1, 16}, {1, 6, 1}};
static const Table tables[][2] = {
    {{1, 9, false, true}, {1, 40, false, true}}, // nearest
    {{1, 3, false, false}, {1, 5, false, false}},
    {{2, 9, true, true}, {2, 40, true, true}}, // linear, growing
    {{2, 3, true, false}, {2, 17, true, false}},
    {{4, 4, true, true}, {4, 33, true, true}},  // cubic
    {{11, 3, true, true}, {13, 4, true, true}}, // more taps than are unrolled
    {{2, 6, true, true}, {0}},                  // rows only
    {{1, 6, false, true}, {0}},
    {{0}, {2, 20, true, true}}, // columns only
    {{0}, {1, 20, false, true}},
    {{1, 6, false, true}, {3, 20, true, true}},
    {{3, 6, true, true}, {1, 20, false, true}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, TABLES = sizeof tables / sizeof *tables };

static void words(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < SHAPES * TABLES; k++) {
            const Table *table = tables[k / SHAPES];
            add_resize(r, k, &shapes[k % SHAPES], &table[0], &table[1], "f32",
                       (k + k / SHAPES) % 2); // every table blocked and plain
        }
        CHECK_INT_EQ(case_check(r, 2e-6, true), 0);
    }
}

static void other_dtypes(void) {
    static const char *const floats[] = {"f64", "f16"}, *const others[] = {"i8", "i32", "u64"};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        int n = 0;
        for (int k = 0; k < TABLES; k++) {
            bool weighted = tables[k][0].weighted || tables[k][1].weighted;
            for (int i = 0; i < (weighted ? 2 : 3); i++) {
                add_resize(r, n++, &shapes[k % 2], &tables[k][0], &tables[k][1],
                           weighted ? floats[i] : others[i], false);
            }
        }
        CHECK_INT_EQ(case_check(r, 2e-3, true), 0);
    }
}

// Bytes by weights, with an epilogue, bit for bit: requantized, and with a residual of bytes.
static void bytes(void) {
    static const char *const dtype[] = {"u8", "i8"};
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < SHAPES * TABLES; k++) {
            const Table *h = &tables[k / SHAPES][0], *w = &tables[k / SHAPES][1];
            const Shape *s = &shapes[k % SHAPES];
            char rows[20000], columns[20000], row_in[32], column_in[32];
            if (!h->weighted && !w->weighted) {
                continue;
            }
            const char *type = dtype[k / SHAPES % 2];
            print_table(rows, row_in, h, 'h', s->H, type);
            print_table(columns, column_in, w, 'w', s->W, type);
            int H = h->taps ? h->out : s->H, W = w->taps ? w->out : s->W;
            bool block = (k + k / SHAPES) % 2;
            case_add(r, k,
                     "in %%x: %s[N,%d,%d,%d]\nin %%r: %s[N,%d,%d,%d]\n%s%s"
                     "const %%k: f32[] = splat(0.25)\nconst %%z: f32[] = splat(11)\n"
                     "%%b = %s\n%%a = %s\n"
                     "%%p = resize %%b, %s, %s, %%k, %%a, %%z {to=f32, then=[mul(acc, 5), "
                     "cast(6, to=f32), add(s0, s1), round(s2), add(s3, 7), "
                     "clip(s4, min=0, max=255), cast(s5, to=u8)]}\n"
                     "%%q = resize %%b, %s, %s {to=f32}\n%%y = %s\n%%o = %s\nout %%y\nout %%o",
                     type, s->C, s->H, s->W, type, s->C, H, W, rows, columns,
                     block ? "max_pool %x {kernel=[1,1]}" : "copy %x",
                     block ? "max_pool %r {kernel=[1,1]}" : "copy %r", row_in, column_in, row_in,
                     column_in, block ? "max_pool %p {kernel=[1,1]}" : "copy %p",
                     block ? "max_pool %q {kernel=[1,1]}" : "copy %q");
        }
        CHECK_INT_EQ(case_check(r, 0, true), 0);
    }
}

// A result that is a slice of a concat, an operand that is one.
static const char *const views[] = {
    "in %x: f32[N,32,5,6]\nin %s: f32[N,16,10,9]\nconst %h: i32[1,10] = rand(1)\n"
    "const %w: i32[2,9] = rand(2)\nconst %ww: f32[2,9] = rand(3)\n"
    "%b = max_pool %x {kernel=[1,1]}\n%t = max_pool %s {kernel=[1,1]}\n"
    "%u = resize %b, %h, _, %w, %ww\n%c = concat %u, %t {axis=1}\n"
    "%y = max_pool %c {kernel=[2,2]}\nout %y",
    "in %x: f32[N,16,5,6]\nin %s: f32[N,32,5,6]\nconst %h: i32[2,7] = rand(1)\n"
    "const %hw: f32[2,7] = rand(2)\n%b = max_pool %x {kernel=[1,1]}\n"
    "%t = max_pool %s {kernel=[1,1]}\n%c = concat %t, %b {axis=1}\n"
    "%u = resize %b, %h, %hw\n%v = resize %t, %h, %hw\n%y = max_pool %c {kernel=[2,2]}\n"
    "%z = max_pool %u {kernel=[1,2]}\n%q = max_pool %v {kernel=[1,2]}\n"
    "out %y\nout %z\nout %q",
    NULL};

static void concats(void) {
    CHECK_INT_EQ(case_check_all(views, 2e-6, true), 0);
}

static const char *const places[] = {
    "in %x: f32[N,5,9,8]\n%y = max_pool_index %x {kernel=[3,3], stride=[2,2], pad=[1,1,1,1]}\n"
    "out %y",
    "in %x: f64[N,5,9,8]\n%y = max_pool_index %x {kernel=[2,3], dilation=[2,1], pad=[0,2,1,0], "
    "mode=column}\nout %y",
    "in %x: i8[N,2,9,8]\n%y = max_pool_index %x {kernel=[3,3], stride=[3,2], ceil=1}\nout %y",
    "in %x: u8[N,2,9,8]\n%y = max_pool_index %x {kernel=[2,2]}\nout %y",
    // all equal: the first; NaN
    "in %x: f32[N,2,4,4]\nconst %k: f32[] = splat(0)\n%e = equal %x, %x\n%f = cast %e {to=f32}\n"
    "%y = max_pool_index %f {kernel=[2,2]}\nout %y\n%s = sqrt %x\n"
    "%z = max_pool_index %s {kernel=[3,3], pad=[1,1,1,1]}\nout %z",
    "in %x: f32[N,20,6,6]\n%b = max_pool %x {kernel=[2,2]}\n%y = max_pool_index %b "
    "{kernel=[2,2]}\nout %y\nout %b",
    NULL};

static void maxima(void) {
    CHECK_INT_EQ(case_check_all(places, 1e-9, true), 0);
}

int main(void) {
    CHECK_RUN(words);
    CHECK_RUN(other_dtypes);
    CHECK_RUN(bytes);
    CHECK_RUN(concats);
    CHECK_RUN(maxima);
    return check_done();
}
