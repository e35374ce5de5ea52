// What scores say, and what they are called; they are made in eval.c.
#include "runtime/train/eval.h"

#include <math.h>
#include <string.h>

const RtScoreWords *rt_score_words(const HoneTrainDesc *d) {
    static const RtScoreWords images = {"top-1", "top-1", "top-5", "top1",
                                        "top1",  "top5",  "images"};
    static const RtScoreWords maps = {"pixels", "mIoU",           "pixels", "pixel_accuracy",
                                      "miou",   "pixel_accuracy", "pixels"};
    static const RtScoreWords several = {"labels right", "labels right", "all right", "top1",
                                         "top1",         "top5",         "images"};
    if (d->map_height)
        return &maps;
    return d->loss == HONE_LOSS_BCE && !d->binary ? &several : &images;
}

RtClassScores rt_scores_of_class(const RtScores *s, int k) {
    int64_t n = s->classes, row = 0, column = 0, right = s->confusion[k * n + k];
    for (int64_t i = 0; i < n; i++) {
        row += s->confusion[k * n + i];
        column += s->confusion[i * n + k];
    }
    int64_t either = row + column - right;
    double none = row ? 0 : NAN;
    return (RtClassScores){.images = row,
                           .iou = either ? (double)right / (double)either : NAN,
                           .precision = column ? (double)right / (double)column : none,
                           .recall = row ? (double)right / (double)row : NAN,
                           .f1 = row ? 2 * (double)right / (double)(row + column) : NAN};
}

double rt_scores_mean_iou(const RtScores *s) {
    double sum = 0;
    int n = 0;
    for (int k = 0; k < s->classes; k++) {
        RtClassScores c = rt_scores_of_class(s, k);
        sum += isnan(c.iou) ? 0 : c.iou;
        n += !isnan(c.iou);
    }
    return n ? sum / n : 0;
}

double rt_scores_macro_f1(const RtScores *s) {
    double sum = 0;
    int n = 0;
    for (int k = 0; k < s->classes; k++) {
        RtClassScores c = rt_scores_of_class(s, k);
        sum += c.images ? c.f1 : 0;
        n += c.images > 0;
    }
    return n ? sum / n : 0;
}

int rt_scores_confusions(const RtScores *s, RtConfusion *to, int most) {
    int found = 0;
    for (int32_t k = 0; k < s->classes; k++)
        for (int32_t g = 0; g < s->classes; g++) {
            int64_t n = k == g ? 0 : s->confusion[(int64_t)k * s->classes + g];
            int at = found;
            while (at > 0 && to[at - 1].images < n)
                at--;
            if (n == 0 || at == most)
                continue;
            found += found < most;
            memmove(&to[at + 1], &to[at], (size_t)(found - 1 - at) * sizeof *to);
            to[at] = (RtConfusion){k, g, n};
        }
    return found;
}

double rt_scores_calibration_error(const RtScores *s) {
    double sum = 0, n = 0;
    for (int k = 0; k < RT_SURE_BINS; k++) {
        sum += fabs(s->bin[k].right - s->bin[k].sure);
        n += s->bin[k].n;
    }
    return n > 0 ? sum / n : 0;
}

void rt_scores_tell(const RtScores *s, const RtDataset *data, int most,
                    void (*say)(void *ctx, const char *line), void *ctx) {
    char line[600], name[512];
    int64_t n = s->n_not_finite < most ? s->n_not_finite : most;
    for (int64_t i = 0; i < n && i < RT_WORST; i++) {
        snprintf(line, sizeof line, "%s: the network's output is not finite; counted as wrong",
                 rt_dataset_item_name(data, s->not_finite[i], name, sizeof name));
        say(ctx, line);
    }
    if (s->n_not_finite > n) {
        snprintf(line, sizeof line, "so it is for %lld further images",
                 (long long)(s->n_not_finite - n));
        say(ctx, line);
    }
}
