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

static Guess guess_of(const HoneTrainDesc *d, const float *logits, int32_t label, double by) {
    float pair[2] = {0, logits[0]}; // a sigmoid is the softmax of its logit and 0
    const float *x = d->binary ? pair : logits;
    int n = d->binary ? 2 : d->classes, best = 0;
    double sum = 0;
    for (int i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    for (int i = 0; i < n; i++)
        sum += exp(((double)x[i] - (double)x[best]) / by);
    double own = ((double)x[label] - (double)x[best]) / by;
    return (Guess){log(sum) - own, 1 / sum, best};
}

void rt_temper_add(RtTemper *t, const HoneTrainDesc *d, const float *logits, int32_t label) {
    t->n++;
    for (int i = 0; i < RT_TEMPERATURES; i++) {
        Guess g = guess_of(d, logits, label, temperature(i));
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
