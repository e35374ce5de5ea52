// Checks a graph's inputs and outputs against the rows of bind.def.
#include "runtime/train/bind.h"

typedef enum Shape { SCALAR, SAMPLES, LABELS, CLASSES, LOGITS, PER_IMAGE, PARAM, ROWS } Shape;

static const struct {
    const char *input, *output;
    int dtype;
    Shape shape;
} rows[] = {
#define BIND(NAME, input, output, DTYPE, SHAPE, what) {input, output, HONE_##DTYPE, SHAPE},
#include "runtime/train/bind.def"
};

static bool is_dim(HoneDim d, int64_t c) {
    return d.n == 0 && d.c == c;
}

static bool is_batch(HoneDim d) {
    return d.n == 1 && d.c == 0;
}

static bool is_param(const HoneTensorDesc *t, const HoneParam *p) {
    bool same = t->rank == p->rank;
    for (int i = 0; same && i < t->rank; i++)
        same = is_dim(t->dim[i], p->dim[i]);
    return same;
}

static bool has_shape(const HoneTrainDesc *d, const HoneTensorDesc *t, HoneBind b) {
    int columns = d->binary ? 1 : d->classes, maps = d->map_height > 0;
    int64_t places = (int64_t)d->map_height * d->map_width;
    bool per_image = t->rank >= 1 && is_batch(t->dim[0]);
    switch (rows[b.kind].shape) {
    case SCALAR:
        return t->rank == 0;
    case SAMPLES:
        return t->rank == 1 && per_image;
    case CLASSES:
        return t->rank == 1 && is_dim(t->dim[0], d->binary ? 2 : d->classes);
    case LABELS:
        return per_image && t->rank == 1 + maps && (!maps || is_dim(t->dim[1], places));
    case LOGITS:
        return per_image && t->rank == 2 + maps && (!maps || is_dim(t->dim[1], places)) &&
               is_dim(t->dim[t->rank - 1], columns);
    case PER_IMAGE:
        return per_image;
    case PARAM:
        return is_param(t, &d->params[b.index]);
    case ROWS:
        return t->rank == 2 && per_image && is_dim(t->dim[1], HONE_TRAIN_ROW);
    }
    return false;
}

static bool check(const HoneTrainDesc *d, const HoneTensorDesc *t, HoneBind b, bool output) {
    if (b.kind < 0 || b.kind >= HONE_BIND_COUNT || b.index < 0)
        return false;
    if (rows[b.kind].shape == PARAM && b.index >= d->n_params)
        return false;
    return (output ? rows[b.kind].output : rows[b.kind].input) && t->dtype == rows[b.kind].dtype &&
           has_shape(d, t, b);
}

bool rt_bind_check(const HoneTrainDesc *d, const HoneTrainGraph *g, RtErr *err) {
    const HoneModelDesc *m = g->model;
    if (g->n_in != m->n_inputs || g->n_out != m->n_outputs)
        return rt_fail(err, "%s: not one binding per input and output", m->name);
    for (int i = 0; i < m->n_inputs; i++)
        if (!check(d, &m->inputs[i], g->in[i], false))
            return rt_fail(err, "%s: its input '%s' is not what its binding says", m->name,
                           m->inputs[i].name);
    for (int i = 0; i < m->n_outputs; i++)
        if (!check(d, &m->outputs[i], g->out[i], true))
            return rt_fail(err, "%s: its output '%s' is not what its binding says", m->name,
                           m->outputs[i].name);
    return true;
}
