// The size that a command line asks for, or that a picture takes, of those that the program was
// compiled for.
#include "runtime/core/unit.h"
#include "runtime/infer/infer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { ANY = -1 };

// Numbers, or a letter for any, with x between, all of the text; how many, 0: it is something else.
static int parse_dims(const char *s, int64_t dim[HONE_MAX_RANK]) {
    for (int n = 0; n < HONE_MAX_RANK; s++) {
        char *end = (char *)s + 1;
        if (isdigit((unsigned char)*s))
            dim[n] = strtoll(s, &end, 10);
        else if (isalpha((unsigned char)*s) && *s != 'x')
            dim[n] = ANY;
        else
            return 0;
        n++;
        s = end;
        if (*s == 0)
            return n;
        if (*s != 'x')
            return 0;
    }
    return 0;
}

static bool input_is(const HoneTensorDesc *t, int rank, const int64_t *dim) {
    bool same = t->rank == rank;
    for (int k = 0; same && k < rank; k++)
        same = t->dim[k].n || dim[k] == ANY || dim[k] == t->dim[k].c;
    return same;
}

// name NULL: of some input
static bool size_is(const HoneModelDesc *d, const char *name, size_t length, int rank,
                    const int64_t *dim) {
    if (!name && rank == 2 && d->preprocess.height)
        return d->preprocess.width == dim[0] && d->preprocess.height == dim[1];
    for (int i = 0; i < d->n_inputs; i++) {
        const char *own = d->inputs[i].name;
        if ((!name || (strlen(own) == length && strncmp(own, name, length) == 0)) &&
            input_is(&d->inputs[i], rank, dim))
            return true;
    }
    return false;
}

int rt_infer_find_size(const RtInfer *in, const char *text, RtErr *err) {
    int64_t dim[HONE_MAX_RANK];
    const char *eq = strrchr(text, '=');
    int rank = parse_dims(eq ? eq + 1 : text, dim);
    for (int k = 0; k < in->n_sizes && rank; k++)
        if (size_is(in->size[k], eq ? text : NULL, eq ? (size_t)(eq - text) : 0, rank, dim))
            return k;
    char sizes[640];
    rt_fail(err, "--size %s: there is %s", text,
            rt_unit_sizes_text(in->first, sizes, sizeof sizes));
    return -1;
}

int rt_infer_nearest_size(const RtInfer *in, int width, int height) {
    return rt_unit_nearest(in->size, in->n_sizes, width, height);
}
