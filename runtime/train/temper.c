// A grid of temperatures, each with its loss and its reliability bins: no image is kept. See
// temper.h.
#include "runtime/train/temper.h"

#include <math.h>

static double temperature(int i) {
    return exp2(-3 + 6.0 * i / (RT_TEMPERATURES - 1));
}

typedef struct Guess {
    double loss, sure; // of the label; the guess's probability
    int32_t class;
} Guess;

// Of one of two classes a sigmoid is the softmax of its logit and 0.
static double logit_of(const HoneTrainDesc *d, const float *logits, int32_t k) {
    return d->binary ? (k ? (double)logits[0] : 0) : (double)logits[k];
}

typedef struct View { // a class's probability is exp((logit - top) / by) / sum
    const float *logits;
    double top, sum, own; // own: the logarithm of the label's
    int32_t class;        // the likeliest
} View;

static View view_of(const HoneTrainDesc *d, const float *logits, int32_t label, double by) {
    int n = d->binary ? 2 : d->classes;
    View v = {.logits = logits};
    for (int i = 1; i < n; i++)
        v.class = logit_of(d, logits, i) > logit_of(d, logits, v.class) ? i : v.class;
    v.top = logit_of(d, logits, v.class);
    for (int i = 0; i < n; i++)
        v.sum += exp((logit_of(d, logits, i) - v.top) / by);
    v.own = (logit_of(d, logits, label) - v.top) / by - log(v.sum);
    return v;
}

static double mean_at(const HoneTrainDesc *d, const View *v, int views, int32_t k, double by) {
    double p = 0;
    for (int i = 0; i < views; i++)
        p += exp((logit_of(d, v[i].logits, k) - v[i].top) / by) / v[i].sum;
    return p / views;
}

// By the mean of the views' probabilities.
static Guess guess_of(const HoneTrainDesc *d, const float *logits, int views, int32_t label,
                      double by) {
    int n = d->binary ? 2 : d->classes;
    View v[RT_TEMPER_VIEWS] = {{.logits = logits}};
    double most = -INFINITY, all = 0;
    for (int i = 0; i < views; i++) {
        v[i] = view_of(d, logits + (size_t)i * (size_t)(d->binary ? 1 : n), label, by);
        most = fmax(most, v[i].own);
    }
    for (int i = 0; i < views; i++)
        all += exp(v[i].own - most);
    Guess g = {log(views) - log(all) - most, mean_at(d, v, views, v[0].class, by), v[0].class};
    for (int i = 0; views > 1 && i < n; i++) {
        double p = mean_at(d, v, views, i, by);
        if (p > g.sure || (p == g.sure && i < g.class))
            g = (Guess){g.loss, p, i};
    }
    return g;
}

void rt_temper_add(RtTemper *t, const HoneTrainDesc *d, const float *logits, int views,
                   int32_t label) {
    t->n++;
    for (int i = 0; i < RT_TEMPERATURES; i++) {
        Guess g = guess_of(d, logits, views, label, temperature(i));
        int bin = (int)ceil(g.sure * RT_TEMPER_BINS) - 1;
        bin = bin < 0 ? 0 : bin < RT_TEMPER_BINS ? bin : RT_TEMPER_BINS - 1;
        t->loss[i] += g.loss;
        t->right[i][bin] += g.class == label;
        t->sure[i][bin] += g.sure;
    }
}

RtTemperature rt_temper_best(const RtTemper *t) {
    int best = RT_TEMPERATURES / 2; // 1
    for (int i = 0; i < RT_TEMPERATURES; i++)
        best = t->loss[i] < t->loss[best] ? i : best;
    RtTemperature x = {.value = temperature(best)};
    if (!(t->n > 0))
        return x;
    x.loss = t->loss[best] / t->n;
    for (int k = 0; k < RT_TEMPER_BINS; k++)
        x.calibration_error += fabs(t->right[best][k] - t->sure[best][k]) / t->n;
    return x;
}
