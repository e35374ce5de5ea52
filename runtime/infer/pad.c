// --other-sizes pad: a tensor of no size that the program was compiled for gets zeros behind the
// end of each axis, up to the smallest size that holds it.
#include "runtime/infer/pad.h"

#include <stdlib.h>
#include <string.h>

// Elements of the padded tensor at the batch of a; -1: a does not fit into t.
static int64_t padded_count(const HoneTensorDesc *t, const RtNpy *a) {
    int64_t n = 1;
    if (a->dtype != t->dtype || a->rank != t->rank)
        return -1;
    for (int k = 0; k < t->rank; k++) {
        int64_t to = t->dim[k].n ? a->dim[k] : t->dim[k].c;
        if (a->dim[k] > to || __builtin_mul_overflow(n, to, &n))
            return -1;
    }
    return n;
}

int rt_pad_find(const HoneModelDesc *const *size, int n, const RtNpy *x) {
    int64_t least = INT64_MAX;
    int found = -1;
    for (int k = 0; k < n; k++) {
        int64_t all = 0;
        for (int i = 0; all >= 0 && i < size[k]->n_inputs; i++) {
            int64_t count = padded_count(&size[k]->inputs[i], &x[i]);
            all = count < 0 || __builtin_add_overflow(all, count, &all) ? -1 : all;
        }
        if (all >= 0 && all < least) {
            least = all;
            found = k;
        }
    }
    return found;
}

// Rows of the last axis, at the places that they have in the larger tensor.
static void copy_rows(const RtNpy *a, const int64_t *dim, size_t bytes, char *to) {
    int last = a->rank - 1;
    int64_t index[HONE_MAX_RANK] = {0}, rows = a->dim[last] ? a->count / a->dim[last] : 0;
    size_t row = (size_t)a->dim[last] * bytes;
    const char *from = a->data;
    for (int64_t r = 0; r < rows; r++, from += row) {
        int64_t at = 0;
        for (int k = 0; k <= last; k++)
            at = at * dim[k] + index[k];
        memcpy(to + (size_t)at * bytes, from, row);
        for (int k = last - 1; k >= 0 && ++index[k] == a->dim[k]; k--)
            index[k] = 0;
    }
}

bool rt_pad(const HoneTensorDesc *t, RtNpy *a, RtErr *err) {
    int64_t count = padded_count(t, a), dim[HONE_MAX_RANK] = {0};
    size_t bytes = rt_dtype(a->dtype)->bytes, all;
    if (count < 0 || a->rank == 0 || count == a->count)
        return true;
    bool fits = !__builtin_mul_overflow((size_t)count, bytes, &all);
    char *data = fits ? rt_alloc_aligned(all) : NULL;
    if (!data)
        return rt_fail(err, "no memory for the padded input '%s'", t->name);
    memset(data, 0, all);
    for (int k = 0; k < a->rank; k++)
        dim[k] = t->dim[k].n ? a->dim[k] : t->dim[k].c;
    copy_rows(a, dim, bytes, data);
    free(a->data);
    a->data = data;
    a->count = count;
    memcpy(a->dim, dim, sizeof dim);
    return true;
}
