// Evaluation over a source of batches; see train/eval.h.
#include "runtime/train/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static int32_t largest(const float *x, int n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}

static int32_t score_multi(const HoneTrainDesc *d, const float *logits, const float *targets,
                           double *right1, double *right5) {
    int right = 0;
    for (int i = 0; i < d->classes; i++)
        right += (logits[i] > 0) == (targets[i] > 0.5f);
    *right1 += (double)right / d->classes;
    *right5 += right == d->classes;
    return largest(logits, d->classes);
}

int32_t rt_score_row(const HoneTrainDesc *d, const float *logits, int32_t label,
                     const float *targets, double *right1, double *right5) {
    if (d->binary) {
        int32_t guess = logits[0] > 0;
        *right1 += guess == label;
        *right5 += 1;
        return guess;
    }
    if (d->loss == HONE_LOSS_BCE)
        return score_multi(d, logits, targets, right1, right5);
    int32_t guess = largest(logits, d->classes);
    int above = 0; // classes in front of the label; of equal ones the first is in front
    for (int32_t i = 0; i < d->classes; i++)
        above += logits[i] > logits[label] || (logits[i] == logits[label] && i < label);
    *right1 += above < 1;
    *right5 += above < 5;
    return guess;
}

void rt_scores_free(RtScores *s) {
    free(s->confusion);
    s->confusion = NULL;
}

static void add_mistake(RtScores *s, const RtMistake *m) {
    int at = s->n_worst < RT_WORST ? s->n_worst : RT_WORST;
    while (at > 0 && s->worst[at - 1].loss < m->loss)
        at--;
    if (at == RT_WORST)
        return;
    int n = s->n_worst < RT_WORST ? s->n_worst++ : RT_WORST - 1;
    memmove(&s->worst[at + 1], &s->worst[at], (size_t)(n - at) * sizeof *s->worst);
    s->worst[at] = *m;
}

// The bin that a probability falls into: (0, 1/15], (1/15, 2/15] ...
static void add_sure(RtScores *s, double sure, double right) {
    int k = (int)ceil(sure * RT_SURE_BINS) - 1;
    k = k < 0 ? 0 : k < RT_SURE_BINS ? k : RT_SURE_BINS - 1;
    s->bin[k].n++;
    s->bin[k].right += right;
    s->bin[k].sure += sure;
}

static bool row_is_finite(float loss, const float *logits, int width) {
    bool ok = isfinite(loss);
    for (int i = 0; i < width; i++)
        ok = ok && isfinite(logits[i]);
    return ok;
}

static void add_row(RtScores *s, const HoneTrainDesc *d, const RtFeed *f, int64_t i, float loss,
                    const float *logits, int width, double *p) {
    const float *targets = f->targets ? f->targets + i * width : NULL;
    double right = 0;
    int32_t label = f->labels[i];
    if (!row_is_finite(loss, logits, width)) {
        if (s->n_not_finite < RT_WORST)
            s->not_finite[s->n_not_finite] = f->items[i];
        s->n++;
        s->n_not_finite++;
        return;
    }
    int32_t guess = rt_score_row(d, logits, label, targets, &right, &s->top5);
    s->top1 += right;
    s->loss += (double)loss;
    s->n++;
    if (s->confusion && label >= 0)
        s->confusion[(int64_t)label * s->classes + guess]++;
    bool each = d->loss == HONE_LOSS_BCE && !d->binary;
    if (right < 1 || !each)
        rt_probabilities(d, logits, p);
    if (!each)
        add_sure(s, p[guess], right);
    if (right < 1) {
        add_mistake(s, &(RtMistake){f->items[i], label, guess, (double)loss, p[guess]});
    }
}

typedef struct Buffers {
    float *loss, *logits, *weight;
    double *p;
} Buffers;

static bool alloc_buffers(Buffers *b, const HoneTrainDesc *d, int64_t batch, RtErr *err) {
    size_t classes = (size_t)(d->binary ? 2 : d->classes);
    *b = (Buffers){rt_alloc_aligned((size_t)batch * sizeof(float)),
                   rt_alloc_aligned((size_t)batch * classes * sizeof(float)),
                   rt_alloc_aligned(classes * sizeof(float)), calloc(classes, sizeof(double))};
    if (!b->loss || !b->logits || !b->weight || !b->p)
        return rt_fail(err, "no memory");
    for (size_t i = 0; i < classes; i++)
        b->weight[i] = 1;
    return true;
}

static void free_buffers(Buffers *b) {
    free(b->loss);
    free(b->logits);
    free(b->weight);
    free(b->p);
}

static bool eval_batch(RtEngine *t, const RtFeed *f, const Buffers *b, RtScores *s, RtErr *err) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    RtEngineBatch batch = {.n = f->n,
                           .images = f->images,
                           .features = f->features,
                           .labels = f->labels,
                           .targets = f->targets,
                           .class_weight = b->weight,
                           .scale = 1,
                           .loss = b->loss,
                           .logits = b->logits};
    if (!rt_engine_eval(t, &batch, err))
        return false;
    int columns = rt_engine_logit_columns(t);
    for (int64_t i = 0; i < f->n; i++)
        add_row(s, d, f, i, b->loss[i], b->logits + i * columns, columns, b->p);
    return true;
}

static void take_means(RtScores *s) {
    double n = s->n ? (double)s->n : 1, finite = (double)(s->n - s->n_not_finite);
    s->loss = s->n_not_finite == s->n && s->n ? NAN : s->loss / (finite > 0 ? finite : 1);
    s->top1 /= n;
    s->top5 /= n;
}

RtClassScores rt_scores_of_class(const RtScores *s, int k) {
    int64_t n = s->classes, row = 0, column = 0, right = s->confusion[k * n + k];
    for (int64_t i = 0; i < n; i++) {
        row += s->confusion[k * n + i];
        column += s->confusion[i * n + k];
    }
    return (RtClassScores){.images = row,
                           .precision = column ? (double)right / (double)column : 0,
                           .recall = row ? (double)right / (double)row : 0,
                           .f1 = row + column ? 2 * (double)right / (double)(row + column) : 0};
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

bool rt_evaluate(RtEngine *t, RtSource *s, int64_t batch, RtScores *scores,
                 bool (*progress)(void *ctx, int64_t done, int64_t total), void *ctx, RtErr *err) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    *scores = (RtScores){.classes = d->binary ? 2 : d->classes};
    bool table = (d->loss == HONE_LOSS_CE || d->binary) && scores->classes <= RT_MAX_CONFUSION;
    if (table)
        scores->confusion =
            calloc((size_t)scores->classes * (size_t)scores->classes, sizeof *scores->confusion);
    Buffers b = {0};
    err->text[0] = 0;
    bool ok = alloc_buffers(&b, d, batch, err) && rt_source_seek(s, 0, 0, err);
    int64_t total = rt_source_batches(s), done = 0;
    for (const RtFeed *f; ok && (f = rt_source_next(s, err));) {
        ok = f->n == 0 || eval_batch(t, f, &b, scores, err);
        if (ok && progress)
            ok = progress(ctx, ++done, total);
    }
    free_buffers(&b);
    take_means(scores);
    return ok && !err->text[0];
}
