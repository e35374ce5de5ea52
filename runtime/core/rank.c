// See rank.h. Of equal scores the class with the lower number comes first.
#include "runtime/core/rank.h"

#include <math.h>
#include <string.h>

int64_t rt_rank_columns(const HoneModelDesc *d) {
    const HoneTensorDesc *t = &d->outputs[d->classifier];
    int64_t n = 1;
    for (int i = 1; i < t->rank; i++)
        n *= t->dim[i].c;
    return n;
}

int64_t rt_rank_classes(const HoneModelDesc *d) {
    int64_t n = rt_rank_columns(d);
    return n == 1 ? 2 : n;
}

static bool is_log(const HoneModelDesc *d) {
    return d->scores == HONE_SCORES_LOGITS || d->scores == HONE_SCORES_LOG_PROBABILITIES;
}

// What a number is worth: it is none, or infinite where that is no logarithm of 0.
static bool is_usable(const HoneModelDesc *d, double y) {
    return isfinite(y) || (is_log(d) && y < 0);
}

static double yes_of(const HoneModelDesc *d, double y) {
    return d->scores == HONE_SCORES_LOGITS              ? 1 / (1 + exp(-y))
           : d->scores == HONE_SCORES_LOG_PROBABILITIES ? exp(y)
                                                        : y;
}

// The two classes of a model with one score: the second is "yes".
static int rank_binary(double yes, int top, HoneClass *to) {
    bool is_yes = yes > 0.5;
    to[0] = (HoneClass){.index = is_yes, .score = is_yes ? yes : 1 - yes};
    if (top > 1)
        to[1] = (HoneClass){.index = !is_yes, .score = is_yes ? 1 - yes : yes};
    return top > 1 ? 2 : 1;
}

// Into the `n` largest so far, at most `top`. Returns how many there are then.
static int insert(HoneClass *to, int n, int top, int64_t i, double y) {
    if (n == top && y <= to[n - 1].score)
        return n;
    int at = n < top ? n++ : n - 1;
    for (; at > 0 && to[at - 1].score < y; at--)
        to[at] = to[at - 1];
    to[at] = (HoneClass){.index = i, .score = y};
    return n;
}

// The `top` largest; their softmax where they are logits, or logarithms.
static int rank_classes(const HoneModelDesc *d, const void *row, int64_t classes, int top,
                        HoneClass *to) {
    const RtDtype *type = rt_dtype(d->outputs[d->classifier].dtype);
    int n = 0;
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < classes; i++) {
        double y = type->load((const char *)row + i * type->bytes);
        if (!is_usable(d, y))
            return -1;
        largest = y > largest ? y : largest;
        n = insert(to, n, top, i, y);
    }
    if (!is_log(d))
        return n;
    if (isinf(largest))
        return -1;
    for (int64_t i = 0; i < classes; i++)
        sum += exp(type->load((const char *)row + i * type->bytes) - largest);
    for (int k = 0; k < n; k++)
        to[k].score = exp(to[k].score - largest) / sum;
    return n;
}

static void add_labels(const HoneModelDesc *d, int n, HoneClass *to) {
    for (int k = 0; k < n; k++) {
        bool named = d->labels && to[k].index < d->n_labels;
        to[k].label = named ? d->labels[to[k].index] : NULL;
    }
}

int rt_rank(const HoneModelDesc *d, const void *row, int top, HoneClass *to) {
    int64_t columns = rt_rank_columns(d);
    const RtDtype *type = rt_dtype(d->outputs[d->classifier].dtype);
    int n = columns > 1                     ? rank_classes(d, row, columns, top, to)
            : is_usable(d, type->load(row)) ? rank_binary(yes_of(d, type->load(row)), top, to)
                                            : -1;
    add_labels(d, n, to);
    return n;
}

// ---------------------------------------------------------------- several rows

// A row's part of the mean. False: it has what is no number.
static bool add_row(const HoneModelDesc *d, const char *row, int64_t columns, double share,
                    double *mean) {
    const RtDtype *type = rt_dtype(d->outputs[d->classifier].dtype);
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < columns; i++) {
        double y = type->load(row + i * type->bytes);
        if (!is_usable(d, y))
            return false;
        largest = fmax(largest, y);
    }
    bool softmax = is_log(d) && columns > 1;
    if (softmax && isinf(largest))
        return false;
    for (int64_t i = 0; softmax && i < columns; i++)
        sum += exp(type->load(row + i * type->bytes) - largest);
    for (int64_t i = 0; i < columns; i++) {
        double y = type->load(row + i * type->bytes);
        mean[i] += share * (softmax ? exp(y - largest) / sum : columns == 1 ? yes_of(d, y) : y);
    }
    return true;
}

int rt_rank_mean(const HoneModelDesc *d, const void *rows, int views, double *mean, int top,
                 HoneClass *to) {
    int64_t columns = rt_rank_columns(d);
    size_t bytes = (size_t)columns * (size_t)rt_dtype(d->outputs[d->classifier].dtype)->bytes;
    int n = 0;
    memset(mean, 0, (size_t)columns * sizeof *mean);
    for (int v = 0; v < views; v++)
        if (!add_row(d, (const char *)rows + (size_t)v * bytes, columns, 1.0 / views, mean))
            return -1;
    if (columns == 1)
        n = rank_binary(mean[0], top, to);
    for (int64_t i = 0; columns > 1 && i < columns; i++)
        n = insert(to, n, top, i, mean[i]);
    add_labels(d, n, to);
    return n;
}
