// Movement ops of the reference evaluator. Each but concat is one copy: element (i0, i1, ...) of
// the result is element  map[0][i0] + map[1][i1] + ...  of the operand, and an op only fills the
// maps, one per axis of the result. A map entry of OUTSIDE gives the op's fill value instead.
#include "ir/eval.h"
#include <string.h>

#define OUTSIDE INT64_MIN

typedef struct Maps {
    IrTensor to;               // the result, perhaps seen with other axes
    int64_t *map[IR_MAX_RANK]; // element offsets in the operand
    const void *fill;          // one element; NULL when no entry is OUTSIDE
} Maps;

static Maps new_maps(IrEval *e, const IrTensor *to) {
    Maps m = {.to = *to};
    for (int i = 0; i < to->rank; i++) {
        m.map[i] = ir_eval_scratch(e, to->dim[i], sizeof *m.map[i]);
    }
    return m;
}

// map[i] = start + i * step
static void fill_map(int64_t *map, int64_t n, int64_t start, int64_t step) {
    for (int64_t i = 0; i < n; i++) {
        map[i] = start + i * step;
    }
}

static bool is_run(const int64_t *map, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (map[i] == OUTSIDE || map[i] != map[0] + i) {
            return false;
        }
    }
    return true;
}

static void copy_row(const Maps *m, const char *from, char *to, const int64_t *map, int64_t n) {
    size_t size = (size_t)ir_dtype_bytes(m->to.dtype);
    for (int64_t i = 0; i < n; i++) {
        const char *x = map[i] == OUTSIDE ? m->fill : from + map[i] * (int64_t)size;
        if (size == 4) {
            memcpy(to + i * 4, x, 4);
        } else {
            memcpy(to + i * (int64_t)size, x, size);
        }
    }
}

static void copy_mapped(const IrTensor *from, const Maps *m) {
    static const int64_t nothing[1] = {0};
    int last = m->to.rank - 1; // -1: a scalar, one row of one element
    const int64_t *inner = last < 0 ? nothing : m->map[last];
    int64_t n = last < 0 ? 1 : m->to.dim[last], size = ir_dtype_bytes(m->to.dtype);
    int64_t rows = n > 0 ? ir_tensor_elems(&m->to) / n : 0;
    bool run = is_run(inner, n);
#pragma omp parallel for if (rows * n > IR_EVAL_PARALLEL)
    for (int64_t r = 0; r < rows; r++) {
        char *to = (char *)m->to.data + r * n * size;
        int64_t rest = r, offset = 0;
        for (int a = last - 1; a >= 0 && offset != OUTSIDE; a--) {
            int64_t step = m->map[a][rest % m->to.dim[a]];
            offset = step == OUTSIDE ? OUTSIDE : offset + step;
            rest /= m->to.dim[a];
        }
        const char *row = (const char *)from->data + offset * (offset == OUTSIDE ? 0 : size);
        if (offset == OUTSIDE) {
            for (int64_t i = 0; i < n; i++) {
                memcpy(to + i * size, m->fill, (size_t)size);
            }
        } else if (run) {
            memcpy(to, row + inner[0] * size, (size_t)(n * size));
        } else {
            copy_row(m, row, to, inner, n);
        }
    }
}

// Transpose-13: axis i of the result is axis perm[i] of x.
const char *ir_eval_transpose(IrEval *e, const IrNode *n, const IrTensor *const *in,
                              IrTensor *out) {
    IrInts perm = ir_ints(n, IR_ATTR_PERM);
    Maps m = new_maps(e, out);
    int64_t stride[IR_MAX_RANK];
    ir_tensor_strides(in[0], stride);
    for (int i = 0; i < out->rank; i++) {
        fill_map(m.map[i], out->dim[i], 0, stride[perm.n > 0 ? perm.v[i] : out->rank - 1 - i]);
    }
    copy_mapped(in[0], &m);
    return NULL;
}

// Slice-13 with its bounds resolved: index i of an axis is start + i * step.
const char *ir_eval_slice(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    IrInts start = ir_ints(n, IR_ATTR_START), step = ir_ints(n, IR_ATTR_STEP);
    Maps m = new_maps(e, out);
    int64_t stride[IR_MAX_RANK];
    ir_tensor_strides(in[0], stride);
    for (int i = 0; i < out->rank; i++) {
        int64_t first = i < start.n ? start.v[i] : 0, by = i < step.n ? step.v[i] : 1, last;
        int64_t count = out->dim[i];
        if (count > 0 && (__builtin_mul_overflow(count - 1, by, &last) ||
                          __builtin_add_overflow(last, first, &last) || first < 0 ||
                          first >= in[0]->dim[i] || last < 0 || last >= in[0]->dim[i])) {
            return ir_sprintf(e->arena, "slice reaches outside axis %d", i);
        }
        fill_map(m.map[i], count, first * stride[i], by * stride[i]);
    }
    copy_mapped(in[0], &m);
    return NULL;
}

// Expand-13: numpy broadcasting to `shape`.
const char *ir_eval_expand(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)n;
    Maps m = new_maps(e, out);
    int64_t stride[IR_MAX_RANK];
    if (!ir_tensor_broadcast(in[0], out, stride)) {
        return ir_sprintf(e->arena, "the operand does not broadcast to the result");
    }
    for (int i = 0; i < out->rank; i++) {
        fill_map(m.map[i], out->dim[i], 0, stride[i]);
    }
    copy_mapped(in[0], &m);
    return NULL;
}

// ---------------------------------------------------------------- pad

// Where index i of a padded axis comes from, i = 0 being the axis' own first element.
typedef int64_t FoldFn(int64_t i, int64_t dim);

static int64_t fold_constant(int64_t i, int64_t dim) {
    return i < 0 || i >= dim ? OUTSIDE : i;
}

static int64_t fold_edge(int64_t i, int64_t dim) {
    return i < 0 ? 0 : i >= dim ? dim - 1 : i;
}

// The border element is not repeated; the shape rule has padding narrower than the axis.
static int64_t fold_reflect(int64_t i, int64_t dim) {
    return i < 0 ? -i : i >= dim ? 2 * (dim - 1) - i : i;
}

static const struct {
    const char *mode;
    FoldFn *fold;
} pad_modes[] = {
    {"constant", fold_constant},
    {"edge", fold_edge},
    {"reflect", fold_reflect},
};

// Pad-18: pad = begins, then ends; what is negative crops.
const char *ir_eval_pad(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    const char *mode = ir_str(n, IR_ATTR_MODE, "constant");
    IrInts pad = ir_ints(n, IR_ATTR_PAD);
    double value = ir_float(n, IR_ATTR_VALUE, 0);
    Maps m = new_maps(e, out);
    int64_t stride[IR_MAX_RANK], fill[1];
    IrTensor one = {.dtype = out->dtype, .data = fill};
    FoldFn *fold = NULL;
    for (size_t i = 0; i < sizeof pad_modes / sizeof pad_modes[0]; i++) {
        fold = strcmp(mode, pad_modes[i].mode) == 0 ? pad_modes[i].fold : fold;
    }
    if (!fold || pad.n != 2 * out->rank) {
        return ir_sprintf(e->arena, "pad of mode '%s' with %d pads", mode, pad.n);
    }
    ir_tensor_set(&one, 0, value);
    m.fill = fill;
    ir_tensor_strides(in[0], stride);
    for (int i = 0; i < out->rank; i++) {
        for (int64_t k = 0; k < out->dim[i]; k++) {
            int64_t dim = in[0]->dim[i];
            int64_t from = dim > 0 ? fold(k - pad.v[i], dim) : OUTSIDE;
            m.map[i][k] = from == OUTSIDE ? OUTSIDE : from * stride[i];
        }
    }
    copy_mapped(in[0], &m);
    return NULL;
}

// ---------------------------------------------------------------- gather, concat, copies

// Gather-13: the result's axes are data's with `axis` replaced by those of the indices. It is seen
// as [before][indices][after]. Negative indices count from the end; those outside are clamped.
const char *ir_eval_gather(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    const IrTensor *data = in[0], *indices = in[1];
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    IrTensor view = {.dtype = out->dtype, .rank = 3, .dim = {1, 1, 1}, .data = out->data};
    int64_t dim = data->dim[axis];
    for (int i = 0; i < data->rank; i++) {
        if (i != axis) {
            view.dim[i < axis ? 0 : 2] *= data->dim[i];
        }
    }
    view.dim[1] = ir_tensor_elems(indices);
    if (dim == 0 && ir_tensor_elems(&view) > 0) {
        return "the axis is empty";
    }
    Maps m = new_maps(e, &view);
    fill_map(m.map[0], view.dim[0], 0, dim * view.dim[2]);
    fill_map(m.map[2], view.dim[2], 0, 1);
    for (int64_t i = 0; i < view.dim[1]; i++) {
        IrWide k;
        ir_tensor_load_wide(indices, i, 1, 1, &k);
        k += k < 0 ? dim : 0;
        m.map[1][i] = (int64_t)(k < 0 ? 0 : k >= dim ? dim - 1 : k) * view.dim[2];
    }
    copy_mapped(data, &m);
    return NULL;
}

// Concat-13
const char *ir_eval_concat(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)e;
    int axis = (int)ir_int(n, IR_ATTR_AXIS, 0);
    size_t after = (size_t)ir_dtype_bytes(out->dtype), before = 1, at = 0;
    for (int i = 0; i < out->rank; i++) {
        if (i < axis) {
            before *= (size_t)out->dim[i];
        } else if (i > axis) {
            after *= (size_t)out->dim[i];
        }
    }
    for (int i = 0; i < n->n_in; i++) {
        size_t part = (size_t)in[i]->dim[axis] * after, whole = (size_t)out->dim[axis] * after;
        for (size_t b = 0; b < before && part > 0; b++) {
            memcpy((char *)out->data + b * whole + at, (char *)in[i]->data + b * part, part);
        }
        at += part;
    }
    return NULL;
}

// Channel c of the result is channel channels[c] of the operands joined along axis 1.
const char *ir_eval_shuffle(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)e;
    IrInts from = ir_ints(n, IR_ATTR_CHANNELS);
    size_t plane = (size_t)ir_dtype_bytes(out->dtype);
    for (int i = 2; i < out->rank; i++) {
        plane *= (size_t)out->dim[i];
    }
    for (int64_t c = 0; c < from.n && plane > 0; c++) {
        int64_t channel = from.v[c];
        int k = 0;
        while (channel >= in[k]->dim[1]) {
            channel -= in[k++]->dim[1];
        }
        for (int64_t i = 0; i < out->dim[0]; i++) {
            size_t to = (size_t)(i * from.n + c), at = (size_t)(i * in[k]->dim[1] + channel);
            memcpy((char *)out->data + to * plane, (char *)in[k]->data + at * plane, plane);
        }
    }
    return NULL;
}

// Reshape-14 once its shape is known, copy, reorder: the same elements in the same order.
const char *ir_eval_copy(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    (void)n;
    size_t bytes = ir_tensor_bytes(out);
    if (ir_tensor_bytes(in[0]) != bytes) {
        return ir_sprintf(e->arena, "the operand has another size than the result");
    }
    if (bytes > 0) {
        memcpy(out->data, in[0]->data, bytes);
    }
    return NULL;
}

const char *ir_eval_reshape(IrEval *e, const IrNode *n, const IrTensor *const *in, IrTensor *out) {
    return ir_eval_copy(e, n, in, out);
}
