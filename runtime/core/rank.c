// See rank.h. Of equal scores the class with the lower number comes first.
#include "runtime/core/rank.h"

#include <math.h>

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

// The two classes of a model with one score: the second is "yes".
static int rank_binary(const HoneModelDesc *d, double y, int top, HoneClass *to) {
    double yes = d->scores == HONE_SCORES_LOGITS              ? 1 / (1 + exp(-y))
                 : d->scores == HONE_SCORES_LOG_PROBABILITIES ? exp(y)
                                                              : y;
    bool is_yes = yes > 0.5;
    to[0] = (HoneClass){.index = is_yes, .score = is_yes ? yes : 1 - yes};
    if (top > 1)
        to[1] = (HoneClass){.index = !is_yes, .score = is_yes ? 1 - yes : yes};
    return !is_usable(d, y) ? -1 : top > 1 ? 2 : 1;
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
        if (n == top && y <= to[n - 1].score)
            continue;
        int at = n < top ? n++ : n - 1;
        for (; at > 0 && to[at - 1].score < y; at--)
            to[at] = to[at - 1];
        to[at] = (HoneClass){.index = i, .score = y};
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

int rt_rank(const HoneModelDesc *d, const void *row, int top, HoneClass *to) {
    int64_t columns = rt_rank_columns(d);
    const RtDtype *type = rt_dtype(d->outputs[d->classifier].dtype);
    int n = columns == 1 ? rank_binary(d, type->load(row), top, to)
                         : rank_classes(d, row, columns, top, to);
    for (int k = 0; k < n; k++) {
        bool named = d->labels && to[k].index < d->n_labels;
        to[k].label = named ? d->labels[to[k].index] : NULL;
    }
    return n;
}
