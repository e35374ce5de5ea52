// A set without a validation part: which of its items become that, by lot and class by class, or
// one of several folds.
#include "runtime/data/dataset_build.h"

#include <math.h>
#include <stdlib.h>

#include "runtime/core/rng.h"

typedef struct Drawn {
    int32_t stratum;
    uint64_t lot;
    int64_t index;
} Drawn;

static int compare_drawn(const void *a, const void *b) {
    const Drawn *x = a, *y = b;
    if (x->stratum != y->stratum)
        return x->stratum < y->stratum ? -1 : 1;
    if (x->lot != y->lot)
        return x->lot < y->lot ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

// Of each class's items, in an order drawn by lot, the first go to validation. How many: what
// brings the sum over the classes so far nearest to the fraction, but never all of a class.
static int64_t choose_val(Drawn *drawn, int64_t n, double fraction, bool *is_val) {
    int64_t chosen = 0;
    for (int64_t from = 0, to; from < n; from = to) {
        for (to = from; to < n && drawn[to].stratum == drawn[from].stratum;)
            to++;
        int64_t want = (int64_t)floor((double)to * fraction + 0.5) - chosen;
        for (int64_t i = from; i < to - 1 && i - from < want; i++) {
            is_val[drawn[i].index] = true;
            chosen++;
        }
    }
    return chosen;
}

// Each is the only one of its class.
static bool are_alone(const Drawn *drawn, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if (drawn[i].stratum == drawn[i - 1].stratum)
            return false;
    return true;
}

// Of n items in an order drawn by lot, class by class, every so manyth.
static void choose_fold(const Drawn *drawn, int64_t n, int folds, int fold, bool *is_val) {
    for (int64_t i = fold; i < n; i += folds)
        is_val[drawn[i].index] = true;
}

// Fewer images than parts: some are without it.
static void note_small(RtBuild *b, const char *spec, const Drawn *drawn, int64_t n) {
    for (int64_t from = 0, to; b->o->fold == 0 && from < n; from = to) {
        for (to = from; to < n && drawn[to].stratum == drawn[from].stratum;)
            to++;
        if (to - from < b->o->folds && b->o->target < RT_TARGET_MULTI)
            rt_build_note(b, "%s: %lld image%s of class %s: not every one of %d folds has one",
                          spec, (long long)(to - from), to - from == 1 ? "" : "s",
                          b->s->name[drawn[from].stratum], b->o->folds);
    }
}

static void choose(RtBuild *b, const char *spec, Drawn *drawn, int64_t n, bool *is_val) {
    const RtDataOptions *o = b->o;
    qsort(drawn, (size_t)n, sizeof *drawn, compare_drawn);
    if (o->folds && n < o->folds) {
        rt_build_error(b, "%s: %lld image%s too few for %d folds", spec, (long long)n,
                       n == 1 ? " is" : "s are", o->folds);
    } else if (o->folds) {
        note_small(b, spec, drawn, n);
        choose_fold(drawn, n, o->folds, o->fold, is_val);
    } else if (choose_val(drawn, n, o->val_fraction, is_val) > 0) {
        return;
    } else if (n > 1 && are_alone(drawn, n)) {
        rt_build_error(b,
                       "%s: no class has more than one image, none can be held out for validation; "
                       "give --val DATA, or --val-fraction 0 for no validation",
                       spec);
    } else {
        rt_build_error(b,
                       "%s: %lld image%s too few to split off %g%% for validation; give --val "
                       "DATA, or a larger --val-fraction, or 0 for no validation",
                       spec, (long long)n, n == 1 ? " is" : "s are", o->val_fraction * 100);
    }
}

bool rt_dataset_split(RtBuild *b, const char *spec) {
    RtItems *train = &b->part[RT_PART_TRAIN], *val = &b->part[RT_PART_VAL];
    int64_t n = train->n, kept = 0, folds = b->o->folds;
    Drawn *drawn = malloc(((size_t)n + 1) * sizeof *drawn);
    bool *is_val = calloc((size_t)n + 1, sizeof *is_val);
    free(val->item);
    val->item = malloc(((size_t)n + 1) * sizeof *val->item);
    int64_t *place = b->s->place = folds ? malloc(((size_t)n + 1) * sizeof *place) : NULL;
    bool good = drawn && is_val && val->item && (place || !folds);
    for (int64_t i = 0; good && i < n; i++) {
        RtRng r = rt_rng(b->o->seed, 0, i, RT_RNG_SPLIT);
        int32_t stratum = b->o->target == RT_TARGET_MULTI ? 0 : train->item[i].label; // maps: all 0
        drawn[i] = (Drawn){stratum, rt_rng_u64(&r), i};
    }
    if (good)
        choose(b, spec, drawn, n, is_val);
    for (int64_t i = 0; good && i < n; i++) {
        if (is_val[i])
            val->item[val->n++] = train->item[i];
        else
            train->item[kept++] = train->item[i];
    }
    if (good)
        train->n = kept;
    for (int64_t i = 0, to[2] = {0, kept}; good && place && i < n; i++)
        place[to[is_val[i]]++] = i;
    free(drawn);
    free(is_val);
    return good || rt_build_no_memory(b);
}
