// Weights that are sums of a convolution's, Winograd's and Strassen's, made while compiling: to the
// last bit what the kernels of prepare.c make of them, whatever the machine. That is: the same
// operations in double in the same order, rounded once to f32; a multiply-add rounds once where it
// does so on the machine that the program is for. The orders are those that prepare.c states.
//
// Lanes past the last channel are sums of zeros, as there.
#include "codegen/conv/winograd.h"

#include <math.h>

typedef double Lanes[IR_BLOCK];

typedef struct Filters {
    const CgConv *s;
    const void *from; // [O][C/group][KH][KW]
    float *to;
    IrDtype type; // of what is read
    bool fma;
    WinoShape w;
} Filters;

static double read_weight(const Filters *t, int64_t i) {
    IrTensor x = {.dtype = t->type, .data = (void *)t->from};
    return t->type == IR_F32 ? ((const float *)t->from)[i] : ir_tensor_get(&x, i);
}

// Element `at` of the weights of each channel of output vector v
static void read_lanes(const Filters *t, int v, int64_t at, double *x) {
    int64_t row = (int64_t)t->s->C / t->s->group * t->s->kh * t->s->kw;
    for (int lane = 0; lane < IR_BLOCK; lane++) {
        int64_t o = (int64_t)v * IR_BLOCK + lane;
        x[lane] = o < t->s->O ? read_weight(t, o * row + at) : 0;
    }
}

static void write_lanes(const double *x, float *to) {
    for (int lane = 0; lane < IR_BLOCK; lane++)
        to[lane] = (float)x[lane];
}

// ---------------------------------------------------------------- Winograd

#define INLINE static inline __attribute__((always_inline))

// Sum of c[k] x[k]; some c is not zero. once: a multiply-add rounds once.
INLINE void add_products(bool once, int n, const double *c, const Lanes *x, double *sum) {
    bool first = true;
    for (int k = 0; k < n; k++) {
        double by = c[k];
        if (by == 0)
            continue;
        if (first)
            for (int lane = 0; lane < IR_BLOCK; lane++)
                sum[lane] = by * x[k][lane];
        else if (once)
            for (int lane = 0; lane < IR_BLOCK; lane++)
                sum[lane] = fma(by, x[k][lane], sum[lane]);
        else
            for (int lane = 0; lane < IR_BLOCK; lane++)
                sum[lane] = by * x[k][lane] + sum[lane];
        first = false;
    }
}

// G g Gt for the kernels g of an output vector of one channel: filter e goes to to[e * filter].
INLINE void transform(const WinoShape *w, bool once, const Lanes g[WINO_MAX_R][WINO_MAX_R],
                      float *to, int64_t filter) {
    Lanes mid[WINO_MAX_R] = {{0}}, x = {0};
    for (int j = w->w.same; j < w->w.n; j++) {
        for (int i = 0; i < w->h.r; i++)
            add_products(once, w->w.r, w->w.g.at[j], g[i], mid[i]);
        for (int i = w->h.same; i < w->h.n; i++) {
            add_products(once, w->h.r, w->h.g.at[i], mid, x);
            int e = (i - w->h.same) * (w->w.n - w->w.same) + j - w->w.same;
            write_lanes(x, to + e * filter);
        }
    }
}

// The same code with the instructions of this machine, which decide how long it takes alone.
#define TRANSFORM(name, attribute)                                                                 \
    attribute static void name(const WinoShape *w, bool once,                                      \
                               const Lanes g[WINO_MAX_R][WINO_MAX_R], float *to, int64_t filter) { \
        if (once)                                                                                  \
            transform(w, true, g, to, filter);                                                     \
        else                                                                                       \
            transform(w, false, g, to, filter);                                                    \
    }
typedef void Transform(const WinoShape *w, bool once, const Lanes g[WINO_MAX_R][WINO_MAX_R],
                       float *to, int64_t filter);
TRANSFORM(transform_anywhere, )
#if defined(__x86_64__)
TRANSFORM(transform_avx512, __attribute__((target("avx512f"))))
TRANSFORM(transform_avx2, __attribute__((target("avx2,fma"))))
#endif

static Transform *choose_transform(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return transform_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return transform_avx2;
#endif
    return transform_anywhere;
}

// Of a cut: the part that vector r is in.
static int find_part(CgCut cut, int r) {
    int part = 0;
    while (part + 1 < cut.n && cg_cut_begin(cut, part + 1) <= r)
        part++;
    return part;
}

static void transform_vector(const Filters *t, int v) {
    const WinoShape *w = &t->w;
    Transform *make = choose_transform();
    int part = find_part(w->oc.cut, v % w->oc.blocks);
    int64_t begin = cg_cut_begin(w->oc.cut, part) + v / w->oc.blocks * w->oc.blocks;
    int64_t nv = w->oc.cut.size - (part >= w->oc.cut.big);
    int64_t step = nv * IR_BLOCK, filter = step * w->channels;
    float *panel = t->to + begin * w->filters * w->channels * IR_BLOCK + (v - begin) * IR_BLOCK;
    for (int c = 0; c < w->channels; c++) {
        Lanes g[WINO_MAX_R][WINO_MAX_R];
        for (int i = 0; i < w->h.r; i++)
            for (int j = 0; j < w->w.r; j++)
                read_lanes(t, v, ((int64_t)c * w->h.r + i) * w->w.r + j, g[i][j]);
        make(w, t->fma, (const Lanes(*)[WINO_MAX_R])g, panel + c * step, filter);
    }
}

static Filters begin_filters(const CgConv *s, const CgTarget *t, const void *from, void *to) {
    return (Filters){
        .s = s, .from = from, .to = to, .type = cg_conv_weight(s), .fma = t->machine.fma};
}

void cg_conv_pack_winograd(const CgConv *s, const CgTarget *target, const void *w, void *out) {
    Filters t = begin_filters(s, target, w, out);
    t.w = cg_conv_winograd_shape(s, IR_BLOCK);
#pragma omp parallel for
    for (int v = 0; v < cg_ceil_div(s->O, IR_BLOCK); v++)
        transform_vector(&t, v);
}

// ---------------------------------------------------------------- Strassen

// Output vector `in` of the left halves of group `group`, and its partner of the right half
static void sum_vector(const Filters *t, int group, int in) {
    int nv = t->s->tile.vecs, half = t->s->C / 2, left = group * 2 * nv + in;
    int64_t wide = (int64_t)nv * IR_BLOCK, next = half * wide;
    float *to = t->to + group * 7 * next + (int64_t)in * IR_BLOCK;
    for (int c = 0; c < half; c++, to += wide) {
        Lanes b11, b12, b21, b22, t1, t2, t3, t4;
        read_lanes(t, left, c, b11);
        read_lanes(t, left + nv, c, b12);
        read_lanes(t, left, half + c, b21);
        read_lanes(t, left + nv, half + c, b22);
        for (int lane = 0; lane < IR_BLOCK; lane++) {
            t1[lane] = b12[lane] - b11[lane];
            t2[lane] = b22[lane] - t1[lane];
            t3[lane] = b22[lane] - b12[lane];
            t4[lane] = b21[lane] - t2[lane];
        }
        const double *v[] = {b11, b21, t2, t3, t4, t1, b22};
        for (int k = 0; k < 7; k++)
            write_lanes(v[k], to + k * next);
    }
}

void cg_conv_pack_strassen(const CgConv *s, const CgTarget *target, const void *w, void *out) {
    Filters t = begin_filters(s, target, w, out);
    int nv = s->tile.vecs, vectors = s->O / IR_BLOCK / 2;
#pragma omp parallel for
    for (int v = 0; v < vectors; v++)
        sum_vector(&t, v / nv, v % nv);
}
