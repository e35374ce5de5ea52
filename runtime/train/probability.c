// See probability.h. Losses as passes/train/optimizer.c builds them.
#include "runtime/train/probability.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LEAST 1e-300 // of a probability whose logarithm is taken

static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

const char *rt_reading(const HoneTrainDesc *d) {
    return d->binary                  ? "one number for two classes (sigmoid)"
           : d->loss == HONE_LOSS_BCE ? "each class by itself (sigmoid)"
                                      : "classes that exclude each other (softmax)";
}

void rt_probabilities(const HoneTrainDesc *d, const float *logits, double *p) {
    if (d->binary) {
        p[1] = sigmoid((double)logits[0]);
        p[0] = 1 - p[1];
        return;
    }
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < d->classes; i++)
        top = (double)logits[i] > top ? (double)logits[i] : top;
    for (int i = 0; i < d->classes; i++) {
        p[i] = d->loss == HONE_LOSS_BCE ? sigmoid((double)logits[i]) : exp((double)logits[i] - top);
        sum += p[i];
    }
    for (int i = 0; d->loss == HONE_LOSS_CE && i < d->classes; i++)
        p[i] /= sum;
}

void rt_mean_probabilities(const HoneTrainDesc *d, const float *logits, int views, double *p,
                           double *one) {
    int classes = d->binary ? 2 : d->classes, columns = d->binary ? 1 : d->classes;
    memset(p, 0, (size_t)classes * sizeof *p);
    for (int v = 0; v < views; v++, logits += columns) {
        rt_probabilities(d, logits, one);
        for (int i = 0; i < classes; i++)
            p[i] += one[i] / views;
    }
}

void rt_logits_of(const HoneTrainDesc *d, const double *p, float *logits) {
    bool each = d->loss == HONE_LOSS_BCE;
    for (int i = 0; i < (d->binary ? 1 : d->classes); i++) {
        double yes = p[d->binary ? 1 : i], no = each ? 1 - yes : 1;
        logits[i] = (float)(log(fmax(yes, LEAST)) - log(fmax(no, LEAST)));
    }
}

double rt_loss_of(const HoneTrainDesc *d, const float *logits, int32_t label,
                  const float *targets) {
    double sum = 0;
    int n = d->binary ? 1 : d->classes;
    if (d->loss == HONE_LOSS_CE) {
        double top = (double)logits[label];
        for (int i = 0; i < n; i++)
            top = fmax(top, (double)logits[i]);
        for (int i = 0; i < n; i++)
            sum += exp((double)logits[i] - top);
        return log(sum) + top - (double)logits[label];
    }
    for (int i = 0; i < n; i++) {
        double x = (double)logits[i];
        sum += fmax(x, 0) - x * (double)targets[i] + log1p(exp(-fabs(x)));
    }
    return sum / n;
}

int64_t rt_mirrored_place(const HoneTrainDesc *d, int64_t place) {
    int64_t x = place % d->map_width;
    return place - x + d->map_width - 1 - x;
}
