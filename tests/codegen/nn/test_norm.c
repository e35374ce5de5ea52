// batch_norm and lrn against the evaluator, blocked (rank 4) and plain, odd channel counts.
#include "tests/check.h"
#include "tests/codegen/rig/cases.h"

static const struct {
    int C, H, W;
} shapes[] = {{20, 6, 6}, {64, 5, 7}, {3, 4, 4}, {96, 9, 9}, {1, 3, 3}, {20, 1, 1}};
static const struct {
    int size;
    const char *beta;
} windows[] = {{5, "0.75"}, {5, "0.5"},  {5, "1.0"},  {5, "0.6"},
               {1, "0.75"}, {2, "0.75"}, {3, "0.75"}, {8, "0.75"}};
enum { SHAPES = sizeof shapes / sizeof *shapes, WINDOWS = sizeof windows / sizeof *windows };

static void lrn(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < SHAPES * WINDOWS; k++) {
            int C = shapes[k / WINDOWS].C, H = shapes[k / WINDOWS].H, W = shapes[k / WINDOWS].W;
            const char *beta = windows[k % WINDOWS].beta;
            case_add(r, k,
                     "in %%x: f32[N,%1$d,%2$d,%3$d]\nin %%z: f32[N,%1$d,%3$d]\n"
                     "%%y = lrn %%x {size=%4$d, alpha=0.5, beta=%5$s, bias=2.0}\n"
                     "%%w = lrn %%z {size=%4$d, alpha=0.5, beta=%5$s, bias=2.0}\n"
                     "out %%y\nout %%w",
                     C, H, W, windows[k % WINDOWS].size, beta);
        }
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

// Statistics are inputs, so that no pass folds them; `dims` behind the channels.
static void add_batch_norm(Rig *r, int k, int C, const char *dims) {
    case_add(r, k,
             "in %%x: f32[N,%1$d%2$s]\nin %%s: f32[%1$d]\nin %%b: f32[%1$d]\n"
             "in %%m: f32[%1$d]\nin %%q: f32[%1$d]\n%%v = abs %%q\n"
             "%%y = batch_norm %%x, %%s, %%b, %%m, %%v {eps=0.1}\nout %%y",
             C, dims);
}

static void batch_norm(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; k < SHAPES; k++) {
            char dims[32];
            snprintf(dims, sizeof dims, ",%d,%d", shapes[k].H, shapes[k].W);
            add_batch_norm(r, 3 * k, shapes[k].C, dims);
            add_batch_norm(r, 3 * k + 1, shapes[k].C, ",21");
            add_batch_norm(r, 3 * k + 2, shapes[k].C, "");
        }
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

// One pixel, one block, into a slice of a concat: only the images are apart, and not alike in x and
// y.
static void batch_norm_into_concat(void) {
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        case_add(r, 0,
                 "in %%x: f32[N,16,1,1]\nin %%s: f32[16]\nin %%b: f32[16]\nin %%m: f32[16]\n"
                 "in %%q: f32[16]\n%%v = abs %%q\n"
                 "%%n = batch_norm %%x, %%s, %%b, %%m, %%v {eps=0.1}\n%%w = relu %%x\n"
                 "%%y = concat %%n, %%w {axis=1}\nout %%y");
        CHECK_INT_EQ(case_check(r, 4e-6, true), 0);
    }
}

int main(void) {
    CHECK_RUN(lrn);
    CHECK_RUN(batch_norm);
    CHECK_RUN(batch_norm_into_concat);
    return check_done();
}
