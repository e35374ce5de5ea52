// What is done to the image before the network begins, where it is written as a layer: mean and
// deviation as a convolution of single pixels or a normalization, channels in another order, luma
// and chroma. A learned layer there has no rows with a single number, none that sum to 0 or 1, and
// statistics, gain and bias of its own.
//
//   x [N,3,H,W] -> conv %x, diag(1 / deviation), -mean / deviation
#include "passes/train/content.h"
#include "passes/train/flow.h"

#include <math.h>

// What makes one output of n channels: weights w, `by` apart.
typedef struct Row {
    const float *w;
    int64_t n, by;
    double slack; // of its sum
} Row;

static bool has_one_number(Row r) {
    int64_t count = 0;
    for (int64_t i = 0; i < r.n; i++) {
        count += r.w[i * r.by] != 0;
    }
    return count == 1;
}

static bool is_colour(Row r) { // Y 0.299 0.587 0.114, U -0.147 -0.289 0.436
    double sum = 0, most = 0;
    for (int64_t i = 0; i < r.n; i++) {
        sum += r.w[i * r.by];
        most = fmax(most, fabs((double)r.w[i * r.by]));
    }
    return r.n == 3 && most > 0 && (fabs(sum) <= r.slack * most || fabs(sum - 1) <= r.slack);
}

static bool all_pass(bool (*passes)(Row), Row first, int64_t rows, int64_t step) {
    int64_t i = 0;
    while (i < rows && passes((Row){first.w + i * step, first.n, first.by, first.slack})) {
        i++;
    }
    return i == rows;
}

// Single pixels are what a product of w with n inputs a row works on.
static bool is_written(IrProgram *p, IrConst *w, Row r, int64_t rows, int64_t step) {
    if (r.n == 1 && rows > 1) { // grey to colours, by equal numbers or by learned ones
        return pass_is_repeated(p, w, (int)rows);
    }
    return all_pass(has_one_number, r, rows, step) || all_pass(is_colour, r, rows, step);
}

// Coefficients have three digits or more, or those of f16.
static double slack_of(const PassNumbers *t) {
    return t->unit < 1e-3 ? fmax(1e-4, 4 * t->unit) : 1e-4;
}

static bool is_written_conv(IrProgram *p, const IrNode *n, IrConst *w) {
    PassNumbers t = pass_numbers(p, w);
    if (!t.n || t.shape->rank < 3) {
        return false;
    }
    int64_t outputs = t.shape->dim[0].c, inputs = t.shape->dim[1].c;
    bool depthwise = inputs == 1 && ir_int(n, IR_ATTR_GROUP, 1) == outputs;
    Row row = {t.v, inputs, 1, slack_of(&t)};
    return t.n == outputs * inputs && (depthwise || is_written(p, w, row, outputs, inputs));
}

// The last two axes of a matrix; false: there are more.
static bool read_matrix(const PassNumbers *t, int64_t dims[2]) {
    int rank = t->n ? t->shape->rank : 0;
    for (int i = 0; i < 2 && rank >= 2; i++) {
        dims[i] = t->shape->dim[rank - 2 + i].c;
    }
    return rank >= 2 && dims[0] * dims[1] == t->n;
}

enum { MOST_CHANNELS = 4 };

// x [N,H,W,3] times w, or w times x [N,3,H * W].
static bool is_written_product(IrProgram *p, const IrNode *n, IrConst *w) {
    PassNumbers t = pass_numbers(p, w);
    bool left = ir_in(n, 0)->konst == w;
    bool transposed = ir_int(n, left ? IR_ATTR_TRANS_A : IR_ATTR_TRANS_B, 0);
    int64_t dims[2];
    if (!read_matrix(&t, dims)) {
        return false;
    }
    bool by_rows = left != transposed; // a row of numbers makes an output
    int64_t inputs = dims[by_rows], outputs = dims[!by_rows];
    Row row = {t.v, inputs, by_rows ? 1 : outputs, slack_of(&t)};
    return (!left || inputs <= MOST_CHANNELS) &&
           is_written(p, w, row, outputs, by_rows ? inputs : 1);
}

// Either statistics without gain and bias, or these without statistics. A fresh normalization has
// neither, a learned one both.
static bool is_written_norm(IrProgram *p, const IrNode *n) {
    bool affine = false, moved = false;
    for (int i = 1; i <= 4; i++) {
        IrConst *c = ir_in(n, i)->konst;
        bool same = c && pass_all_are(p, c, i == 1 || i == 4 ? 1 : 0);
        affine = affine || (i <= 2 && !same);
        moved = moved || (i > 2 && !same);
        if (!c || c->kind == IR_CONST_RAND) {
            return false;
        }
    }
    return affine != moved;
}

bool pass_is_preprocessing(IrProgram *p, const IrNode *n) {
    IrConst *w = n->n_in > 1 ? ir_in(n, 1)->konst : NULL;
    w = n->op == IR_OP_MATMUL && !w ? ir_in(n, 0)->konst : w;
    if (!w || w->type.dtype != IR_F32) {
        return false;
    }
    bool product = n->op == IR_OP_CONV || n->op == IR_OP_MATMUL;
    return n->op == IR_OP_BATCH_NORM ? is_written_norm(p, n)
           : product && !pass_is_identity(p, w)
               ? n->op == IR_OP_CONV ? is_written_conv(p, n, w) : is_written_product(p, n, w)
               : false;
}
