// {"fold", "images", "loss", "top1", "top5", "taken_for": [[class, taken for, images]],
// "sure": [[images, right, probability]] by bins, "worst": [[image, class, taken for, loss,
// probability]]}
#include "runtime/train/fold_row.h"

static json_t *confusion_of(const RtScores *s) {
    json_t *list = json_array();
    for (int32_t k = 0; s->confusion && k < s->classes; k++)
        for (int32_t g = 0; g < s->classes; g++) {
            json_int_t n = s->confusion[(int64_t)k * s->classes + g];
            if (n)
                json_array_append_new(list, json_pack("[i,i,I]", (int)k, (int)g, n));
        }
    return list;
}

static json_t *bins_of(const RtScores *s) {
    json_t *list = json_array();
    for (int i = 0; i < RT_SURE_BINS; i++)
        json_array_append_new(list,
                              json_pack("[f,f,f]", s->bin[i].n, s->bin[i].right, s->bin[i].sure));
    return list;
}

static json_t *worst_of(const RtScores *s, const int64_t *place) {
    json_t *list = json_array();
    for (int i = 0; i < s->n_worst; i++) {
        const RtMistake *m = &s->worst[i];
        json_array_append_new(list, json_pack("[I,i,i,f,f]", (json_int_t)place[m->item],
                                              (int)m->label, (int)m->guess, m->loss, m->score));
    }
    return list;
}

json_t *rt_fold_row_make(const RtScores *s, int part, const int64_t *place) {
    return json_pack("{s:i,s:I,s:f,s:f,s:f,s:o,s:o,s:o}", "fold", part + 1, "images",
                     (json_int_t)s->n, "loss", s->loss, "top1", s->top1, "top5", s->top5,
                     "taken_for", confusion_of(s), "sure", bins_of(s), "worst", worst_of(s, place));
}

// ---------------------------------------------------------------- back

// *all: of the matrix.
static bool add_confusion(json_t *list, RtScores *sum, json_int_t *all) {
    size_t i;
    json_t *one;
    *all = 0;
    json_array_foreach(list, i, one) {
        int label, guess;
        json_int_t n;
        if (json_unpack(one, "[i,i,I]", &label, &guess, &n) != 0 || label < 0 ||
            label >= sum->classes || guess < 0 || guess >= sum->classes || n < 0)
            return false;
        if (sum->confusion)
            sum->confusion[(int64_t)label * sum->classes + guess] += n;
        *all += n;
    }
    return true;
}

static bool add_bins(json_t *list, RtScores *sum) {
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        double n, right, sure;
        if (i >= RT_SURE_BINS || json_unpack(one, "[F,F,F]", &n, &right, &sure) != 0)
            return false;
        sum->bin[i].n += n;
        sum->bin[i].right += right;
        sum->bin[i].sure += sure;
    }
    return true;
}

static bool add_worst(json_t *list, RtScores *sum, int64_t items) {
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) {
        json_int_t item;
        int label, guess;
        RtMistake m;
        if (json_unpack(one, "[I,i,i,F,F]", &item, &label, &guess, &m.loss, &m.score) != 0 ||
            item < 0 || item >= items || guess < 0 || guess >= sum->classes)
            return false;
        m.item = item;
        m.label = label;
        m.guess = guess;
        rt_scores_add_mistake(sum, &m);
    }
    return true;
}

bool rt_fold_row_add(const json_t *row, bool map, RtScores *sum, int64_t items) {
    json_int_t n, places;
    double loss, top1, top5;
    json_t *confusion, *bins, *worst;
    if (json_unpack((json_t *)row, "{s:I,s:F,s:F,s:F,s:o,s:o,s:o}", "images", &n, "loss", &loss,
                    "top1", &top1, "top5", &top5, "taken_for", &confusion, "sure", &bins, "worst",
                    &worst) != 0)
        return false;
    if (!add_confusion(confusion, sum, &places))
        return false;
    double weight = (double)(map ? places : n);
    sum->n += n;
    sum->places += map ? places : 0;
    sum->loss += loss * weight;
    sum->top1 += top1 * weight;
    sum->top5 += top5 * weight;
    return add_bins(bins, sum) && add_worst(worst, sum, items);
}
