// Ops of the reference evaluator that search along an axis or address elements by tensors of
// indices. An index may be negative: it counts from the end. What is outside even so is clamped by
// the gathers and skipped by the scatters, whose updates take effect in row-major order of the
// indices.
#include "ir/eval.h"

#include <math.h>
#include <string.h>

// ---------------------------------------------------------------- lines along an axis

typedef struct Lines { // of a tensor, as [outer][size][inner]
    int64_t outer, size, inner;
} Lines;

static Lines lines_along(const IrTensor *t, int axis) {
    Lines l = {1, t->dim[axis], 1};
    for (int i = 0; i < t->rank; i++) {
        if (i != axis) {
            *(i < axis ? &l.outer : &l.inner) *= t->dim[i];
        }
    }
    return l;
}

static int64_t line_start(const Lines *l, int64_t line) {
    return line / l->inner * l->size * l->inner + line % l->inner;
}

typedef struct Keys { // the elements of one line
    double *f;        // NULL: integers
    IrWide *i;
} Keys;

static Keys new_keys(IrEval *e, const IrTensor *t, int64_t n) {
    bool is_float = ir_dtype_is_float(t->dtype);
    return (Keys){is_float ? ir_eval_scratch(e, n, sizeof(double)) : NULL,
                  is_float ? NULL : ir_eval_scratch(e, n, sizeof(IrWide))};
}

static void load_keys(Keys *k, const IrTensor *t, int64_t at, int64_t stride, int64_t n) {
    if (k->f) {
        ir_tensor_load(t, at, stride, n, k->f);
    } else {
        ir_tensor_load_wide(t, at, stride, n, k->i);
    }
}

// Element a before element b; NaN comes first, or with `nan_last` last.
static bool precedes(const Keys *k, bool ascending, bool nan_last, int64_t a, int64_t b) {
    if (!k->f) {
        return ascending ? k->i[a] < k->i[b] : k->i[a] > k->i[b];
    }
    double x = k->f[a], y = k->f[b];
    bool nan = nan_last ? isnan(y) && !isnan(x) : isnan(x) && !isnan(y);
    return nan || (ascending ? x < y : x > y);
}

// ArgMax-13, ArgMin-13; `reverse`: select_last_index
const char *ir_eval_arg(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    Lines l = lines_along(in[0], (int)ir_int(n, IR_ATTR_AXIS, 0));
    bool least = n->op == IR_OP_ARG_MIN, last = ir_int(n, IR_ATTR_REVERSE, 0);
    int64_t *to = out->data, lines = l.outer * l.inner;
    Keys k = new_keys(e, in[0], l.size);
    if (lines > 0 && l.size == 0) {
        return "the axis is empty";
    }
    for (int64_t i = 0; i < lines; i++) {
        load_keys(&k, in[0], line_start(&l, i), l.inner, l.size);
        to[i] = last ? l.size - 1 : 0;
        for (int64_t s = 1; s < l.size; s++) {
            int64_t at = last ? l.size - 1 - s : s;
            to[i] = precedes(&k, least, false, at, to[i]) ? at : to[i];
        }
    }
    return NULL;
}

// CumSum-14; `exclusive`: of the elements before, `reverse`: from the end.
const char *ir_eval_cumsum(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    Lines l = lines_along(in[0], (int)ir_int(n, IR_ATTR_AXIS, 0));
    bool exclusive = ir_int(n, IR_ATTR_EXCLUSIVE, 0), reverse = ir_int(n, IR_ATTR_REVERSE, 0);
    Keys k = new_keys(e, in[0], l.size);
    for (int64_t i = 0; i < l.outer * l.inner; i++) {
        int64_t start = line_start(&l, i);
        double sum = 0;
        IrWide wide = 0;
        load_keys(&k, in[0], start, l.inner, l.size);
        for (int64_t s = 0; s < l.size; s++) {
            int64_t at = reverse ? l.size - 1 - s : s, to = start + at * l.inner;
            double f = k.f ? sum + k.f[at] : 0;
            IrWide w = k.f ? 0 : ir_wide_wrap(wide + k.i[at], out->dtype);
            if (k.f) {
                ir_tensor_store(out, to, 1, exclusive ? &sum : &f);
            } else {
                ir_tensor_store_wide(out, to, 1, exclusive ? &wide : &w);
            }
            sum = f;
            wide = w;
        }
    }
    return NULL;
}

// Merges at[lo, mid) and at[mid, hi), each in order, into to[lo, hi); of equals the left one first.
static void merge(const Keys *k, bool ascending, const int64_t *at, int64_t *to, int64_t lo,
                  int64_t mid, int64_t hi) {
    int64_t a = lo, b = mid;
    for (int64_t i = lo; i < hi; i++) {
        bool right = a == mid || (b < hi && precedes(k, ascending, ascending, at[b], at[a]));
        to[i] = at[right ? b++ : a++];
    }
}

// TopK-11; `reverse`: the least.
const char *ir_eval_top_k(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    bool ascending = ir_int(n, IR_ATTR_REVERSE, 0);
    Lines l = lines_along(in[0], axis), to = lines_along(&out[0], axis);
    Keys k = new_keys(e, in[0], l.size);
    int64_t *at = ir_eval_scratch(e, l.size, sizeof *at), *spare = ir_eval_scratch(e, l.size, 8);
    size_t size = (size_t)ir_dtype_bytes(out->dtype);
    if (to.size > l.size) {
        return "the axis has fewer elements than are wanted";
    }
    for (int64_t i = 0; i < l.outer * l.inner; i++) {
        int64_t from = line_start(&l, i), start = line_start(&to, i);
        load_keys(&k, in[0], from, l.inner, l.size);
        for (int64_t s = 0; s < l.size; s++) {
            at[s] = s;
        }
        for (int64_t w = 1; w < l.size; w *= 2) {
            for (int64_t lo = 0; lo < l.size; lo += 2 * w) {
                int64_t mid = lo + w < l.size ? lo + w : l.size;
                merge(&k, ascending, at, spare, lo, mid, mid + w < l.size ? mid + w : l.size);
            }
            int64_t *sorted = spare;
            spare = at;
            at = sorted;
        }
        for (int64_t s = 0; s < to.size; s++) {
            int64_t o = start + s * to.inner;
            memcpy((char *)out[0].data + (size_t)o * size,
                   (char *)in[0]->data + (size_t)(from + at[s] * l.inner) * size, size);
            ((int64_t *)out[1].data)[o] = at[s];
        }
    }
    return NULL;
}

// ---------------------------------------------------------------- indices

// Entry i, counted from the start of an axis of `dim` elements; perhaps outside of it.
static int64_t load_index(const IrTensor *t, int64_t i, int64_t dim) {
    IrWide k;
    ir_tensor_load_wide(t, i, 1, 1, &k);
    return (int64_t)(k < 0 ? k + dim : k);
}

static int64_t clamp_index(int64_t k, int64_t dim) {
    return k < 0 ? 0 : k >= dim ? dim - 1 : k;
}

static bool is_inside(int64_t k, int64_t dim) {
    return k >= 0 && k < dim;
}

// What element i of `t` has in row-major order of `stride`, its entry along `axis` left out.
static int64_t offset_off_axis(const IrTensor *t, int64_t i, int axis, const int64_t *stride) {
    int64_t offset = 0;
    for (int a = t->rank - 1; a >= 0; a--) {
        offset += a == axis ? 0 : i % t->dim[a] * stride[a];
        i /= t->dim[a];
    }
    return offset;
}

// GatherElements-13
const char *ir_eval_gather_elements(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                    IrTensor *out) {
    (void)e;
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    size_t size = (size_t)ir_dtype_bytes(out->dtype);
    int64_t stride[IR_MAX_RANK], dim = in[0]->dim[axis], count = ir_tensor_elems(out);
    ir_tensor_strides(in[0], stride);
    if (count > 0 && dim == 0) {
        return "the axis is empty";
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = clamp_index(load_index(in[1], i, dim), dim) * stride[axis] +
                     offset_off_axis(out, i, axis, stride);
        memcpy((char *)out->data + (size_t)i * size, (char *)in[0]->data + (size_t)at * size, size);
    }
    return NULL;
}

typedef struct Tuples {         // indices whose last axis names axes of x from `first` on
    int64_t batch, rows, slice; // x is seen as [batch][what they select][slice]
    int64_t selected;           // elements of x that a batch entry has, in slices
    int depth;
    int64_t dim[IR_MAX_RANK], stride[IR_MAX_RANK]; // of the axes selected, in slices
} Tuples;

static Tuples read_tuples(const IrTensor *x, const IrTensor *indices, int first) {
    Tuples t = {1, 1, 1, 1, (int)indices->dim[indices->rank - 1], {0}, {0}};
    for (int i = 0; i < indices->rank - 1; i++) {
        *(i < first ? &t.batch : &t.rows) *= indices->dim[i];
    }
    for (int i = x->rank - 1; i >= first + t.depth; i--) {
        t.slice *= x->dim[i];
    }
    for (int i = t.depth - 1; i >= 0; i--) {
        t.dim[i] = x->dim[first + i];
        t.stride[i] = t.selected;
        t.selected *= t.dim[i];
    }
    return t;
}

// GatherND-13, `axis`: batch_dims
const char *ir_eval_gather_nd(IrEval *e, const IrNode *n, const IrTensor *const *in,
                              IrTensor *out) {
    (void)e;
    Tuples t = read_tuples(in[0], in[1], (int)ir_int(n, IR_ATTR_AXIS, 0));
    size_t bytes = (size_t)t.slice * (size_t)ir_dtype_bytes(out->dtype);
    if (bytes > 0 && t.batch * t.rows > 0 && t.selected == 0) {
        return "an axis is empty";
    }
    for (int64_t r = 0; r < t.batch * t.rows && bytes > 0; r++) {
        int64_t at = r / t.rows * t.selected;
        for (int i = 0; i < t.depth; i++) {
            int64_t k = load_index(in[1], r * t.depth + i, t.dim[i]);
            at += clamp_index(k, t.dim[i]) * t.stride[i];
        }
        memcpy((char *)out->data + (size_t)r * bytes, (char *)in[0]->data + (size_t)at * bytes,
               bytes);
    }
    return NULL;
}

// ---------------------------------------------------------------- scatters

typedef enum Reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN } Reduction;

static Reduction reduction_of(const IrNode *n) {
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    const char *mode = ir_str(n, IR_ATTR_MODE, "none");
    int r = 0;
    while (r < REDUCE_MIN && strcmp(mode, names[r])) {
        r++;
    }
    return (Reduction)r;
}

static double reduce_floats(Reduction r, double x, double u) {
    switch (r) {
    case REDUCE_ADD:
        return x + u;
    case REDUCE_MUL:
        return x * u;
    case REDUCE_MAX:
        return u > x || isnan(u) ? u : x;
    case REDUCE_MIN:
        return u < x || isnan(u) ? u : x;
    default:
        return u;
    }
}

static IrWide reduce_wides(Reduction r, IrWide x, IrWide u, IrDtype t) {
    switch (r) {
    case REDUCE_ADD:
        return x + u;
    case REDUCE_MUL: // 64 bits of a product do not depend on higher ones
        return t == IR_BOOL ? x * u : (IrWide)((uint64_t)x * (uint64_t)u);
    case REDUCE_MAX:
        return u > x ? u : x;
    case REDUCE_MIN:
        return u < x ? u : x;
    default:
        return u;
    }
}

// out[at] and updates[i] become out[at], rounded or wrapped as it is stored.
static void update(Reduction r, IrTensor *out, int64_t at, const IrTensor *updates, int64_t i) {
    if (ir_dtype_is_float(out->dtype)) {
        double x = ir_tensor_get(out, at), u = ir_tensor_get(updates, i);
        ir_tensor_set(out, at, reduce_floats(r, x, u));
        return;
    }
    IrWide x, u;
    ir_tensor_load_wide(out, at, 1, 1, &x);
    ir_tensor_load_wide(updates, i, 1, 1, &u);
    x = reduce_wides(r, x, u, out->dtype);
    ir_tensor_store_wide(out, at, 1, &x);
}

static void copy_data(const IrTensor *from, IrTensor *to) {
    size_t bytes = ir_tensor_bytes(to);
    if (bytes > 0) {
        memcpy(to->data, from->data, bytes);
    }
}

// ScatterElements-18
const char *ir_eval_scatter_elements(IrEval *e, const IrNode *n, const IrTensor *const *in,
                                     IrTensor *out) {
    (void)e;
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    int64_t stride[IR_MAX_RANK], dim = out->dim[axis];
    Reduction r = reduction_of(n);
    ir_tensor_strides(out, stride);
    copy_data(in[0], out);
    for (int64_t i = 0; i < ir_tensor_elems(in[1]); i++) {
        int64_t k = load_index(in[1], i, dim);
        if (is_inside(k, dim)) {
            update(r, out, k * stride[axis] + offset_off_axis(in[1], i, axis, stride), in[2], i);
        }
    }
    return NULL;
}

// ScatterND-18
const char *ir_eval_scatter_nd(IrEval *e, const IrNode *n, const IrTensor *const *in,
                               IrTensor *out) {
    (void)e;
    Tuples t = read_tuples(in[0], in[1], 0);
    Reduction r = reduction_of(n);
    copy_data(in[0], out);
    for (int64_t row = 0; row < t.rows; row++) {
        int64_t at = 0;
        bool inside = true;
        for (int i = 0; i < t.depth; i++) {
            int64_t k = load_index(in[1], row * t.depth + i, t.dim[i]);
            inside &= is_inside(k, t.dim[i]);
            at += inside ? k * t.stride[i] : 0;
        }
        for (int64_t i = 0; i < t.slice && inside; i++) {
            update(r, out, at * t.slice + i, in[2], row * t.slice + i);
        }
    }
    return NULL;
}
