// Gradients of ops that read images at computed positions. A sample is a sum over taps,
//
//   y[p] = sum over taps of wy * wx * x[iy, ix]        wy, wx, iy, ix from where p lies
//
// so that dx gets wy * wx * dy at each tap's pixel, and a position wy' * wx or wy * wx' times the
// product of dy and that pixel. Pixels are rows of channels, addressed by one index a tap.
#include "passes/train/grad.h"

#include <string.h>

enum { MOST_TAPS = 4 };
#define FAR_AWAY 1073741824.0 // pixels, as ir_eval_grid_sample() clamps positions

typedef struct Tap { // of positions on one axis, each [N,P,1]
    IrValue *at;     // i64: pixels, within the axis
    IrValue *w, *dw; // weight, 0 where the tap reads nothing; its derivative, NULL: none
} Tap;

typedef struct Axis {
    int64_t size;
    const char *mode, *border;
    bool align;
    double slope; // pixels for each unit of the position
    Tap tap[MOST_TAPS];
    int n;
} Axis;

static IrValue *clip(PassGrad *t, IrValue *x, double min, double max) {
    IrAttr attrs[] = {ir_attr_f(IR_ATTR_MIN, min), ir_attr_f(IR_ATTR_MAX, max)};
    return pass_rev_op(t, IR_OP_CLIP, 1, &x, 2, attrs);
}

static IrValue *cast_index(PassGrad *t, IrValue *x) {
    IrAttr to = ir_attr_s(IR_ATTR_TO, ir_dtype_name(IR_I64));
    return pass_rev_op(t, IR_OP_CAST, 1, &x, 1, &to);
}

// a x^3 + b x^2 + c x + d
static IrValue *polynomial(PassGrad *t, IrValue *x, double a, double b, double c, double d) {
    const double more[] = {b, c, d};
    IrValue *sum = pass_rev_const(t, x, a);
    for (int i = 0; i < 3; i++) {
        sum = pass_rev_shift(t, pass_rev_2(t, IR_OP_MUL, sum, x), more[i]);
    }
    return sum;
}

// Keys' cubic convolution with a = -0.75 at a distance x of up to 1, else of 1 to 2; by x: of
// degree 3, its derivative.
static IrValue *cubic(PassGrad *t, IrValue *x, bool far, bool derived) {
    const double a = -0.75;
    if (derived) {
        return far ? polynomial(t, x, 0, 3 * a, -10 * a, 8 * a)
                   : polynomial(t, x, 0, 3 * (a + 2), -2 * (a + 3), 0);
    }
    return far ? polynomial(t, x, a, -5 * a, 8 * a, -4 * a)
               : polynomial(t, x, a + 2, -(a + 3), 0, 1);
}

// Weight of tap k, the position being `part` behind the tap at or before it, and its derivative.
static void weigh(PassGrad *t, const Axis *a, int k, IrValue *part, Tap *out) {
    if (strcmp(a->mode, "linear") == 0) {
        out->w = k ? part : pass_rev_shift(t, pass_rev_1(t, IR_OP_NEG, part), 1);
        out->dw = pass_rev_const(t, part, k ? 1 : -1);
    } else if (strcmp(a->mode, "cubic") == 0) {
        bool behind = k > 1; // the tap lies behind the position: its distance shrinks
        IrValue *x = behind ? pass_rev_1(t, IR_OP_NEG, part) : part;
        x = pass_rev_shift(t, x, behind ? k - 1 : 1 - k);
        out->w = cubic(t, x, k == 0 || k == 3, false);
        out->dw = pass_rev_scale(t, cubic(t, x, k == 0 || k == 3, true), behind ? -1 : 1);
    } else {
        out->w = pass_rev_const(t, part, 1);
        out->dw = NULL;
    }
}

// Where pixel i is found, as fold_pixel() of the evaluator; what lies nowhere weighs nothing.
static void fold(PassGrad *t, const Axis *a, IrValue *i, Tap *out) {
    IrValue *inside = clip(t, i, 0, (double)(a->size - 1));
    if (strcmp(a->border, "zeros") == 0) {
        IrValue *there = pass_rev_2(t, IR_OP_EQUAL, inside, i), *none = pass_rev_const(t, i, 0);
        out->w = pass_rev_op(t, IR_OP_WHERE, 3, (IrValue *[]){there, out->w, none}, 0, NULL);
        if (out->dw) {
            out->dw = pass_rev_op(t, IR_OP_WHERE, 3, (IrValue *[]){there, out->dw, none}, 0, NULL);
        }
    } else if (strcmp(a->border, "reflection") == 0 && a->size > 1) {
        double period = (double)(a->align ? 2 * (a->size - 1) : 2 * a->size);
        IrValue *turns = pass_rev_1(t, IR_OP_FLOOR, pass_rev_scale(t, i, 1 / period));
        i = pass_rev_2(t, IR_OP_SUB, i, pass_rev_scale(t, turns, period));
        IrValue *mirrored = pass_rev_shift(t, pass_rev_1(t, IR_OP_NEG, i), period - !a->align);
        inside = clip(t, pass_rev_2(t, IR_OP_MINIMUM, i, mirrored), 0, (double)(a->size - 1));
    }
    out->at = cast_index(t, inside);
}

// The taps of positions g, [N,P,1] in [-1, 1].
static void find_taps(PassGrad *t, Axis *a, IrValue *g) {
    bool nearest = strcmp(a->mode, "nearest") == 0, linear = strcmp(a->mode, "linear") == 0;
    a->slope = (double)(a->size - a->align) / 2;
    IrValue *x = pass_rev_shift(t, pass_rev_scale(t, g, a->slope), (double)(a->size - 1) / 2);
    x = clip(t, x, -FAR_AWAY, FAR_AWAY);
    IrValue *whole = pass_rev_1(t, nearest ? IR_OP_ROUND : IR_OP_FLOOR, x);
    IrValue *part = pass_rev_2(t, IR_OP_SUB, x, whole);
    a->n = nearest ? 1 : linear ? 2 : 4;
    for (int k = 0; k < a->n; k++) {
        weigh(t, a, k, part, &a->tap[k]);
        fold(t, a, pass_rev_shift(t, whole, a->n == 4 ? k - 1 : k), &a->tap[k]);
    }
}

// [N,C,H,W] as [N,H*W,C].
static IrValue *rows_of(PassGrad *t, IrValue *x) {
    const IrDim *d = x->type.shape.dim;
    IrShape s = {3, {d[0], ir_dim(d[2].c * d[3].c), d[1]}};
    IrAttr perm =
        ir_attr_ints(pass_rev_context(t)->prog->arena, IR_ATTR_PERM, 4, (int64_t[]){0, 2, 3, 1});
    return pass_rev_reshape(t, pass_rev_op(t, IR_OP_TRANSPOSE, 1, &x, 1, &perm), &s);
}

// And back, to shape s.
static IrValue *planes_of(PassGrad *t, IrValue *rows, const IrShape *s) {
    IrShape image = {4, {s->dim[0], s->dim[2], s->dim[3], s->dim[1]}};
    IrAttr perm =
        ir_attr_ints(pass_rev_context(t)->prog->arena, IR_ATTR_PERM, 4, (int64_t[]){0, 3, 1, 2});
    rows = pass_rev_reshape(t, rows, &image);
    return pass_rev_op(t, IR_OP_TRANSPOSE, 1, &rows, 1, &perm);
}

static IrValue *plus(PassGrad *t, IrValue *sum, IrValue *x) {
    return sum ? pass_rev_2(t, IR_OP_ADD, sum, x) : x;
}

static IrValue *times(PassGrad *t, IrValue *x, IrValue *y) {
    return pass_rev_2(t, IR_OP_MUL, x, y);
}

typedef struct Sample {
    PassGrad *t;
    IrValue *x, *dy;  // rows, [N,H*W,C] and [N,P,C]; x NULL: positions want nothing
    Axis axis[2];     // x, y
    IrValue *dx;      // rows so far, NULL: nothing is wanted, or nothing there yet
    IrValue *dpos[2]; // [N,P,1], in pixels
} Sample;

// What one pixel of the sample, tap k of rows and j of columns, gives.
static void give_tap(Sample *s, int k, int j, const IrShape *rows) {
    PassGrad *t = s->t;
    const Tap *ty = &s->axis[1].tap[k], *tx = &s->axis[0].tap[j];
    IrValue *index = pass_rev_scale(t, ty->at, (double)s->axis[0].size);
    index = pass_rev_2(t, IR_OP_ADD, index, tx->at);
    if (rows) {
        IrValue *part = times(t, s->dy, times(t, ty->w, tx->w));
        s->dx = plus(t, s->dx, pass_rev_add_rows(t, rows, index, part));
    }
    if (s->x && tx->dw) {
        IrAttr axis = ir_attr_i(IR_ATTR_AXIS, 1);
        IrValue *in[] = {s->x, index};
        IrValue *dot = times(t, pass_rev_op(t, IR_OP_GATHER_ND, 2, in, 1, &axis), s->dy);
        IrShape column = dot->type.shape;
        column.dim[2] = ir_dim(1);
        dot = pass_rev_reshape(t, pass_rev_sum(t, dot, 1, (int64_t[]){2}), &column);
        s->dpos[0] = plus(t, s->dpos[0], times(t, dot, times(t, ty->w, tx->dw)));
        s->dpos[1] = plus(t, s->dpos[1], times(t, dot, times(t, ty->dw, tx->w)));
    }
}

// Coordinate k of a grid [N,H',W',2] as [N,P,1].
static IrValue *coordinate(PassGrad *t, IrValue *grid, int64_t k) {
    const IrDim *d = grid->type.shape.dim;
    IrShape points = {3, {d[0], ir_dim(d[1].c * d[2].c), ir_dim(2)}}, one = points;
    IrArena *a = pass_rev_context(t)->prog->arena;
    one.dim[2] = ir_dim(1);
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_START, 3, (int64_t[]){0, 0, k}),
                      ir_attr_ints(a, IR_ATTR_STEP, 3, (int64_t[]){1, 1, 1}),
                      ir_attr_dims(IR_ATTR_SHAPE, &one)};
    grid = pass_rev_reshape(t, grid, &points);
    return pass_rev_op(t, IR_OP_SLICE, 1, &grid, 3, attrs);
}

static void give_grid(Sample *s, const IrNode *n) {
    IrAttr last = ir_attr_i(IR_ATTR_AXIS, 2);
    IrValue *parts[2];
    for (int i = 0; i < 2; i++) {
        if (!s->dpos[i]) { // the nearest pixel stays the nearest
            return;
        }
        parts[i] = pass_rev_scale(s->t, s->dpos[i], s->axis[i].slope);
    }
    IrValue *both = pass_rev_op(s->t, IR_OP_CONCAT, 2, parts, 1, &last);
    pass_rev_give(s->t, n, 1, pass_rev_reshape(s->t, both, &ir_in(n, 1)->type.shape));
}

void pass_grad_grid_sample(PassGrad *t, IrNode *n) {
    IrValue *x = ir_in(n, 0), *grid = ir_in(n, 1);
    const IrDim *d = x->type.shape.dim;
    IrShape rows = {3, {d[0], ir_dim(d[2].c * d[3].c), d[1]}};
    bool wants_x = pass_rev_wants(t, n, 0);
    Sample s = {.t = t,
                .x = pass_rev_wants(t, n, 1) ? rows_of(t, x) : NULL,
                .dy = rows_of(t, pass_rev_of(t, n, 0))};
    for (int i = 0; i < 2; i++) {
        s.axis[i] = (Axis){.size = d[3 - i].c,
                           .mode = ir_str(n, IR_ATTR_MODE, "linear"),
                           .border = ir_str(n, IR_ATTR_BORDER, "zeros"),
                           .align = ir_int(n, IR_ATTR_ALIGN, 0)};
        find_taps(t, &s.axis[i], coordinate(t, grid, i));
    }
    for (int i = 0; i < s.axis[1].n * s.axis[0].n; i++) {
        give_tap(&s, i / s.axis[0].n, i % s.axis[0].n, wants_x ? &rows : NULL);
    }
    if (wants_x) {
        pass_rev_give(t, n, 0, planes_of(t, s.dx, &x->type.shape));
    }
    give_grid(&s, n);
}

// ---------------------------------------------------------------- roi_align

// Constants [1,n]: where n samples of n / samples bins lie, in bins.
static IrValue *sample_places(PassGrad *t, const IrValue *like, int64_t n, int64_t samples) {
    IrProgram *p = pass_rev_context(t)->prog;
    IrType type = {like->type.dtype, {2, {ir_dim(1), ir_dim(n)}}, 0};
    IrTensor k = ir_tensor_new(p->arena, &type, 1);
    for (int64_t i = 0; i < n; i++) {
        double place = (double)(i / samples) + ((double)(i % samples) + 0.5) / (double)samples;
        ir_tensor_set(&k, i, place);
    }
    return ir_const_value(t->g, ir_const_new(p, "samples", type, k.data));
}

// Column k of v [R,4], as [R,1].
static IrValue *column_of(PassGrad *t, IrValue *v, int64_t k) {
    IrArena *a = pass_rev_context(t)->prog->arena;
    IrShape one = {2, {v->type.shape.dim[0], ir_dim(1)}};
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_START, 2, (int64_t[]){0, k}),
                      ir_attr_ints(a, IR_ATTR_STEP, 2, (int64_t[]){1, 1}),
                      ir_attr_dims(IR_ATTR_SHAPE, &one)};
    return pass_rev_op(t, IR_OP_SLICE, 1, &v, 3, attrs);
}

// Samples of regions along axis k (0: x) of the image, [R,bins * samples], as positions of pixels.
static IrValue *find_samples(PassGrad *t, const IrNode *n, int k) {
    int64_t bins = ir_attr(n, IR_ATTR_SHAPE)->dims.dim[1 - k].c, each = ir_int(n, IR_ATTR_SIZE, 0);
    bool align = ir_int(n, IR_ATTR_ALIGN, 0);
    double scale = ir_float(n, IR_ATTR_ALPHA, 1);
    IrValue *from = pass_rev_scale(t, column_of(t, ir_in(n, 1), k), scale);
    IrValue *to = pass_rev_scale(t, column_of(t, ir_in(n, 1), k + 2), scale);
    IrValue *extent = pass_rev_2(t, IR_OP_SUB, to, from);
    extent = align ? extent : pass_rev_2(t, IR_OP_MAXIMUM, extent, pass_rev_const(t, extent, 1));
    IrValue *bin = pass_rev_scale(t, extent, 1 / (double)bins);
    IrValue *start = pass_rev_shift(t, from, align ? -0.5 : 0);
    IrValue *places = sample_places(t, bin, bins * each, each);
    return pass_rev_2(t, IR_OP_ADD, start, times(t, places, bin));
}

// The two pixels around each position, which weigh nothing more than a pixel outside of the image.
static void find_pair(PassGrad *t, IrValue *x, int64_t size, Tap *out) {
    IrValue *none = pass_rev_const(t, x, 0);
    IrValue *there = pass_rev_2(t, IR_OP_EQUAL, clip(t, x, -1, (double)size), x);
    x = clip(t, x, 0, (double)(size - 1));
    IrValue *low = pass_rev_1(t, IR_OP_FLOOR, x), *part = pass_rev_2(t, IR_OP_SUB, x, low);
    IrValue *w[] = {pass_rev_shift(t, pass_rev_1(t, IR_OP_NEG, part), 1), part};
    for (int k = 0; k < 2; k++) {
        IrValue *at = clip(t, pass_rev_shift(t, low, k), 0, (double)(size - 1));
        IrValue *in[] = {there, w[k], none};
        out[k] = (Tap){.at = cast_index(t, at), .w = pass_rev_op(t, IR_OP_WHERE, 3, in, 0, NULL)};
    }
}

typedef struct Pixel { // [R,BH,S,BW,S,1] and as [R*BH*S*BW*S,1]
    IrValue *w, *index;
} Pixel;

typedef struct Regions {
    PassGrad *t;
    IrValue *first;      // i64 [R,1,1,1,1,1]: where the image's pixels begin
    IrValue *dy;         // [R,BH,1,BW,1,C], a sample's share, or that of one that is the maximum
    Tap tap[2][2];       // of x, y
    IrShape rows, at[2]; // [R,1,1,BW,S,1], [R,BH,S,1,1,1]
} Regions;

// Pixel k, j of the four around each sample.
static Pixel region_pixel(const Regions *r, int k, int j) {
    PassGrad *t = r->t;
    const Tap *y = &r->tap[1][k], *x = &r->tap[0][j];
    IrValue *w =
        times(t, pass_rev_reshape(t, y->w, &r->at[1]), pass_rev_reshape(t, x->w, &r->at[0]));
    IrValue *index = pass_rev_2(t, IR_OP_ADD, pass_rev_reshape(t, y->at, &r->at[1]),
                                pass_rev_reshape(t, x->at, &r->at[0]));
    IrShape names = {2, {ir_dim(1), ir_dim(1)}};
    for (int i = 0; i < 5; i++) {
        ir_dim_mul(names.dim[0], w->type.shape.dim[i], &names.dim[0]);
    }
    index = pass_rev_reshape(t, pass_rev_2(t, IR_OP_ADD, index, r->first), &names);
    return (Pixel){w, index};
}

// What the pixels get, [R,BH,S,BW,S,C], besides `sum`.
static IrValue *add_part(const Regions *r, IrValue *sum, IrValue *index, IrValue *part) {
    PassGrad *t = r->t;
    IrShape flat = {2, {index->type.shape.dim[0], part->type.shape.dim[5]}};
    IrAttr mode = ir_attr_s(IR_ATTR_MODE, "add");
    sum = sum ? sum : pass_rev_expand(t, pass_rev_const(t, part, 0), &r->rows);
    IrValue *in[] = {sum, index, pass_rev_reshape(t, part, &flat)};
    return pass_rev_op(t, IR_OP_SCATTER_ND, 3, in, 1, &mode);
}

static IrValue *over_samples(PassGrad *t, IrOp op, IrValue *v) { // [R,BH,1,BW,1,C]
    IrArena *a = pass_rev_context(t)->prog->arena;
    IrAttr attrs[] = {ir_attr_ints(a, IR_ATTR_AXES, 2, (int64_t[]){2, 4}),
                      ir_attr_i(IR_ATTR_KEEPDIMS, 1)};
    return pass_rev_op(t, op, 1, &v, 2, attrs);
}

// Of the weighted pixels of a bin's samples those that are its maximum share what it gets; x as
// rows of channels. hit[i]: 1 where pixel i of the four is one of them.
static void share_maximum(Regions *r, const Pixel *pixel, IrValue *x, IrValue **hit) {
    PassGrad *t = r->t;
    IrValue *v[4], *most = NULL, *count = NULL;
    IrAttr axis = ir_attr_i(IR_ATTR_AXIS, 0);
    x = pass_rev_reshape(t, x, &r->rows);
    for (int i = 0; i < 4; i++) {
        IrShape full = pixel[i].w->type.shape;
        full.dim[5] = r->rows.dim[1];
        v[i] = pass_rev_op(t, IR_OP_GATHER_ND, 2, (IrValue *[]){x, pixel[i].index}, 1, &axis);
        v[i] = times(t, pass_rev_reshape(t, v[i], &full), pixel[i].w);
        most = most ? pass_rev_2(t, IR_OP_MAXIMUM, most, v[i]) : v[i];
    }
    most = over_samples(t, IR_OP_REDUCE_MAX, most);
    for (int i = 0; i < 4; i++) {
        hit[i] = pass_rev_hits(t, v[i], most);
        count = count ? pass_rev_2(t, IR_OP_ADD, count, hit[i]) : hit[i];
    }
    r->dy = pass_rev_2(t, IR_OP_DIV, r->dy, over_samples(t, IR_OP_REDUCE_SUM, count));
}

// dy [R,C,BH,BW], divided among so many for each bin.
static IrValue *share_out(PassGrad *t, IrValue *dy, int64_t shares) {
    const IrDim *d = dy->type.shape.dim;
    IrShape s = {6, {d[0], d[2], ir_dim(1), d[3], ir_dim(1), d[1]}};
    IrAttr perm =
        ir_attr_ints(pass_rev_context(t)->prog->arena, IR_ATTR_PERM, 4, (int64_t[]){0, 2, 3, 1});
    dy = pass_rev_scale(t, dy, 1 / (double)shares);
    return pass_rev_reshape(t, pass_rev_op(t, IR_OP_TRANSPOSE, 1, &dy, 1, &perm), &s);
}

// By x; regions are where the user, or a step without a slope, put them.
void pass_grad_roi_align(PassGrad *t, IrNode *n) {
    int64_t samples = ir_int(n, IR_ATTR_SIZE, 0);
    const IrShape *x = &ir_in(n, 0)->type.shape, *bins = &ir_attr(n, IR_ATTR_SHAPE)->dims;
    IrDim regions = ir_in(n, 1)->type.shape.dim[0], one = ir_dim(1), each = ir_dim(samples);
    bool most = strcmp(ir_str(n, IR_ATTR_MODE, "avg"), "max") == 0;
    if (!samples || pass_rev_wants(t, n, 1)) {
        pass_rev_nyi(t, n,
                     samples ? "by its regions" : "with as many samples as a region has pixels");
        return;
    }
    IrShape pixels = {3, {x->dim[0], ir_dim(x->dim[2].c * x->dim[3].c), x->dim[1]}};
    Regions r = {.t = t, .dy = share_out(t, pass_rev_of(t, n, 0), most ? 1 : samples * samples)};
    r.rows = (IrShape){2, {one, x->dim[1]}};
    ir_dim_mul(pixels.dim[0], pixels.dim[1], &r.rows.dim[0]);
    r.at[0] = (IrShape){6, {regions, one, one, bins->dim[1], each, one}};
    r.at[1] = (IrShape){6, {regions, bins->dim[0], each, one, one, one}};
    for (int k = 0; k < 2; k++) {
        find_pair(t, find_samples(t, n, k), x->dim[3 - k].c, r.tap[k]);
    }
    IrShape lone = {6, {regions, one, one, one, one, one}};
    IrValue *image = ir_in(n, 2), *sum = NULL;
    image = image->type.dtype == IR_I64 ? image : cast_index(t, image);
    r.first = pass_rev_reshape(t, pass_rev_scale(t, image, (double)pixels.dim[1].c), &lone);
    for (int k = 0; k < 2; k++) {
        r.tap[1][k].at = pass_rev_scale(t, r.tap[1][k].at, (double)x->dim[3].c);
    }
    Pixel pixel[4];
    IrValue *hit[4];
    for (int i = 0; i < 4; i++) {
        pixel[i] = region_pixel(&r, i / 2, i % 2);
    }
    if (most) {
        share_maximum(&r, pixel, rows_of(t, ir_in(n, 0)), hit);
    }
    for (int i = 0; i < 4; i++) {
        IrValue *w = most ? times(t, hit[i], pixel[i].w) : pixel[i].w;
        sum = add_part(&r, sum, pixel[i].index, times(t, r.dy, w));
    }
    pass_rev_give(t, n, 0, planes_of(t, pass_rev_reshape(t, sum, &pixels), x));
}
