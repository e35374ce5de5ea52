// Evaluation over a source of batches; see train/eval.h.
#include "runtime/train/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

void rt_scores_add_mistake(RtScores *s, const RtMistake *m) {
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

static bool row_is_finite(float loss, const float *logits, int64_t width) {
    bool ok = isfinite(loss);
    for (int64_t i = 0; i < width; i++)
        ok = ok && isfinite(logits[i]);
    return ok;
}

static void add_not_finite(RtScores *s, int64_t item) {
    if (s->n_not_finite < RT_WORST)
        s->not_finite[s->n_not_finite] = item;
    s->n++;
    s->n_not_finite++;
}

typedef struct Row { // of one image
    int64_t item;
    int32_t label;
    const float *targets, *logits;
    float loss;
    const float *views; // logits of each view, whose mean `logits` says
    int n_views;
} Row;

// Of classes by themselves the one whose probability is furthest from what it should be.
static int32_t most_wrong(const HoneTrainDesc *d, const float *targets, const double *p) {
    int32_t worst = 0;
    for (int32_t i = 1; i < d->classes; i++)
        if (fabs(p[i] - (double)targets[i]) > fabs(p[worst] - (double)targets[worst]))
            worst = i;
    return worst;
}

static void add_row(RtScores *s, const HoneTrainDesc *d, const Row *x, int width, double *p) {
    double right = 0;
    if (!row_is_finite(x->loss, x->logits, width)) {
        add_not_finite(s, x->item);
        return;
    }
    int32_t guess = rt_score_row(d, x->logits, x->label, x->targets, &right, &s->top5);
    s->top1 += right;
    s->loss += (double)x->loss;
    s->n++;
    if (s->confusion && x->label >= 0)
        s->confusion[(int64_t)x->label * s->classes + guess]++;
    bool each = d->loss == HONE_LOSS_BCE && !d->binary;
    if (right < 1 || !each)
        rt_probabilities(d, x->logits, p);
    if (!each)
        add_sure(s, p[guess], right);
    if (!each && s->temper)
        rt_temper_add(s->temper, d, x->views, x->n_views, x->label);
    if (right < 1) {
        guess = each ? most_wrong(d, x->targets, p) : guess;
        rt_scores_add_mistake(s, &(RtMistake){x->item, x->label, guess, (double)x->loss, p[guess]});
    }
}

// What a rank says of a batch: this, and behind it items [batch], losses [batch][views]; logits
// [batch][views][columns] of images, of maps, which have one view, confusion [classes][classes].
typedef struct Told {
    int64_t n;             // images
    int64_t stop;          // 1: it was told to end
    int64_t places, right; // of maps: those that count
} Told;

typedef struct Buffers {
    int64_t batch; // images, at most
    int columns, views;
    int64_t places;     // labels of an image
    float *maps;        // of maps: logits [batch][places][columns]
    size_t bytes;       // of Told and what follows
    size_t loss_at, at; // at: of logits, or of the confusion
    char *mine, *all;   // all: of every rank; the same memory as `mine` where there is one
    float *weight, *targets;
    double *p, *one;
    float *mean; // logits of an image's views
    float *pair; // of a map's place, logits of two views
    // Of each view of a batch's images, where there are several: what its image has.
    int32_t *labels;     // [batch][views]
    float *view_targets; // [batch][views][width]
} Buffers;

static int64_t *items_of(char *told) {
    return (int64_t *)(told + sizeof(Told));
}

static float *losses_of(const Buffers *b, char *told) {
    return (float *)(told + b->loss_at);
}

static float *logits_of(const Buffers *b, char *told) {
    return (float *)(told + b->at);
}

static int64_t *confusion_of(const Buffers *b, char *told) {
    return (int64_t *)(told + b->at);
}

static size_t round_up(size_t bytes) {
    return (bytes + RT_ALIGN - 1) / RT_ALIGN * RT_ALIGN;
}

static bool alloc_buffers(Buffers *b, const RtEngine *t, const RtRanks *ranks, const RtSource *s,
                          int64_t batch, RtErr *err) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    size_t classes = (size_t)(d->binary ? 2 : d->classes), n = (size_t)batch;
    size_t width = (size_t)rt_source_data(s)->target_width, rows;
    *b = (Buffers){.batch = batch,
                   .columns = rt_engine_logit_columns(t),
                   .views = rt_source_views(s),
                   .places = rt_engine_places(t)};
    rows = n * (size_t)b->views;
    b->loss_at = round_up(sizeof(Told) + n * sizeof(int64_t));
    bool map = b->places > 1;
    b->at = round_up(b->loss_at + rows * sizeof(float));
    b->bytes = round_up(
        b->at + (map ? classes * classes * sizeof(int64_t) : rows * classes * sizeof(float)));
    b->maps = map ? rt_alloc_aligned(rows * (size_t)b->places * classes * sizeof(float)) : NULL;
    b->mine = rt_alloc_aligned(b->bytes);
    b->all = ranks ? rt_alloc_aligned(b->bytes * (size_t)rt_ranks_n(ranks)) : b->mine;
    b->weight = rt_alloc_aligned(classes * sizeof(float));
    b->targets = calloc(classes, sizeof *b->targets);
    b->p = calloc(classes, sizeof *b->p);
    b->one = calloc(classes, sizeof *b->one);
    b->mean = calloc(classes, sizeof *b->mean);
    b->pair = calloc(2 * classes, sizeof *b->pair);
    b->labels = rt_alloc_aligned(rows * (size_t)b->places * sizeof *b->labels);
    b->view_targets = rt_alloc_aligned((rows * width + 1) * sizeof *b->view_targets);
    if (!b->mine || !b->all || !b->weight || !b->targets || !b->p || !b->one || !b->mean ||
        !b->pair || !b->labels || !b->view_targets || (map && !b->maps))
        return rt_fail(err, "no memory");
    for (size_t i = 0; i < classes; i++)
        b->weight[i] = 1;
    return true;
}

static void free_buffers(Buffers *b) {
    if (b->all != b->mine)
        free(b->all);
    free(b->mine);
    free(b->maps);
    free(b->weight);
    free(b->targets);
    free(b->p);
    free(b->one);
    free(b->mean);
    free(b->pair);
    free(b->labels);
    free(b->view_targets);
}

// Labels and targets for each view of the images. Of maps, those of the first: no loss of the
// others is looked at.
static void repeat_labels(const RtFeed *f, const Buffers *b, size_t width) {
    for (int64_t i = 0; i < f->n * b->views; i++) {
        int64_t image = i / b->views;
        memcpy(b->labels + i * b->places, f->labels + image * b->places,
               (size_t)b->places * sizeof *b->labels);
        for (size_t k = 0; f->targets && k < width; k++)
            b->view_targets[(size_t)i * width + k] = f->targets[(size_t)image * width + k];
    }
}

// Of an image's map: labels [places], logits [places][columns].
static void count_map(Told *told, int64_t *confusion, const int32_t *labels, const float *logits,
                      const Buffers *b) {
    for (int64_t i = 0; i < b->places; i++) {
        if (labels[i] < 0)
            continue;
        int32_t guess = largest(logits + i * b->columns, b->columns);
        confusion[(int64_t)labels[i] * b->columns + guess]++;
        told->right += guess == labels[i];
        told->places++;
    }
}

// Of a map and of the mirror image's: adds to s what their mean probabilities say.
static void count_mirrored(RtScores *s, const HoneTrainDesc *d, const int32_t *labels,
                           const float *logits, const Buffers *b) {
    size_t row = (size_t)b->columns * sizeof *logits;
    const float *mirrored = logits + b->places * b->columns;
    for (int64_t i = 0; i < b->places; i++) {
        if (labels[i] < 0)
            continue;
        memcpy(b->pair, logits + i * b->columns, row);
        memcpy(b->pair + b->columns, mirrored + rt_mirrored_place(d, i) * b->columns, row);
        rt_mean_probabilities(d, b->pair, 2, b->p, b->one);
        rt_logits_of(d, b->p, b->mean);
        int32_t guess = largest(b->mean, b->columns);
        s->confusion[(int64_t)labels[i] * s->classes + guess]++;
        s->loss += rt_loss_of(d, b->mean, labels[i], NULL);
        s->top5 += guess == labels[i];
        s->places++;
    }
    s->n++;
}

// Those of the batch. A loss that is no number says that an output of its image is none.
static void count_maps(const Buffers *b, const RtFeed *f) {
    int64_t numbers = b->places * b->columns;
    float *loss = losses_of(b, b->mine);
    memset(confusion_of(b, b->mine), 0,
           (size_t)(b->columns * b->columns) * sizeof *confusion_of(b, b->mine));
    for (int64_t i = 0; i < f->n; i++) {
        const float *logits = b->maps + i * b->views * numbers;
        loss[i] = loss[i * b->views];
        if (row_is_finite(loss[i], logits, numbers))
            count_map((Told *)b->mine, confusion_of(b, b->mine), f->labels + i * b->places, logits,
                      b);
        else
            loss[i] = NAN;
    }
}

// Of two views of each image, into the scores of this process.
static void count_mirrored_maps(RtScores *s, const HoneTrainDesc *d, const Buffers *b,
                                const RtFeed *f) {
    int64_t numbers = b->views * b->places * b->columns;
    for (int64_t i = 0; i < f->n; i++) {
        const float *logits = b->maps + i * numbers;
        if (row_is_finite(0, logits, numbers))
            count_mirrored(s, d, f->labels + i * b->places, logits, b);
        else
            add_not_finite(s, f->items[i]);
    }
}

static bool eval_batch(RtEngine *t, const RtFeed *f, const RtDataset *data, RtScores *of_views,
                       Buffers *b, RtErr *err) {
    bool many = b->views > 1;
    ((Told *)b->mine)->n = f->n;
    memcpy(items_of(b->mine), f->items, (size_t)f->n * sizeof *f->items);
    if (many)
        repeat_labels(f, b, (size_t)data->target_width);
    RtEngineBatch batch = {.n = f->n * b->views,
                           .images = f->images,
                           .features = f->features,
                           .labels = many ? b->labels : f->labels,
                           .targets = many && f->targets ? b->view_targets : f->targets,
                           .class_weight = b->weight,
                           .scale = 1,
                           .loss = losses_of(b, b->mine),
                           .logits = b->maps ? b->maps : logits_of(b, b->mine)};
    if (f->n && !rt_engine_eval(t, &batch, err))
        return false;
    if (b->maps)
        count_maps(b, f);
    if (b->maps && of_views)
        count_mirrored_maps(of_views, rt_engine_desc(t), b, f);
    return true;
}

// The row of all views of the image whose first view is x.
static Row mean_row(const HoneTrainDesc *d, const Row *x, const Buffers *b) {
    Row all = *x;
    all.n_views = b->views;
    all.logits = b->mean;
    all.loss = NAN;
    rt_mean_probabilities(d, x->views, b->views, b->p, b->one);
    rt_logits_of(d, b->p, b->mean);
    if (row_is_finite(0, x->views, b->columns * b->views))
        all.loss = (float)rt_loss_of(d, b->mean, x->label, x->targets);
    return all;
}

static void add_maps(RtScores *s, const Buffers *b, char *told) {
    const Told *t = (const Told *)told;
    const float *loss = losses_of(b, told);
    for (int64_t i = 0; i < t->n; i++) {
        if (!isfinite(loss[i])) {
            add_not_finite(s, items_of(told)[i]);
            continue;
        }
        s->loss += (double)loss[i];
        s->n++;
    }
    for (int64_t i = 0; t->n && i < (int64_t)s->classes * s->classes; i++)
        s->confusion[i] += confusion_of(b, told)[i];
    s->top5 += (double)t->right;
    s->places += t->places;
}

static void add_batch(RtScores *s, const HoneTrainDesc *d, const RtDataset *data, const Buffers *b,
                      char *told) {
    bool has_targets = data->target_width > 0;
    for (int64_t i = 0; i < ((Told *)told)->n; i++) {
        int64_t item = items_of(told)[i], first = i * b->views;
        const float *logits = logits_of(b, told) + first * b->columns;
        Row x = {.item = item,
                 .label = rt_dataset_label(data, item),
                 .targets = has_targets ? b->targets : NULL,
                 .logits = logits,
                 .loss = losses_of(b, told)[first],
                 .views = logits,
                 .n_views = 1};
        if (has_targets)
            rt_dataset_target(data, item, b->targets);
        add_row(s, d, &x, b->columns, b->p);
        if (s->of_views) {
            Row all = mean_row(d, &x, b);
            add_row(s->of_views, d, &all, b->columns, b->p);
        }
    }
}

typedef struct Evaluation {
    RtEngine *t;
    RtRanks *ranks;
    RtSource *s;
    RtScores *scores;
    Buffers b;
    bool (*progress)(void *ctx, int64_t done, int64_t total);
    void *ctx;
} Evaluation;

// A batch for each rank, as long as there are any; their rows are counted in the batches' order.
// *go false: some rank was told to end.
static bool eval_round(Evaluation *e, int64_t done, bool *go, RtErr *err) {
    int64_t total = rt_source_batches(e->s), mine = done + rt_ranks_me(e->ranks);
    Told *told = (Told *)e->b.mine;
    *told = (Told){0};
    if (mine < total) {
        const RtFeed *f = rt_source_next(e->s, err);
        if (!f || !eval_batch(e->t, f, rt_source_data(e->s), e->scores->of_views, &e->b, err))
            return false;
    }
    int64_t ends = done + rt_ranks_n(e->ranks) < total ? done + rt_ranks_n(e->ranks) : total;
    told->stop = e->progress && !e->progress(e->ctx, ends, total);
    if (e->ranks && !rt_ranks_gather(e->ranks, e->b.mine, e->b.bytes, e->b.all, err))
        return false;
    for (int k = 0; k < rt_ranks_n(e->ranks); k++) {
        char *of = e->b.all + (size_t)k * e->b.bytes;
        *go &= !((Told *)of)->stop;
        if (e->b.maps)
            add_maps(e->scores, &e->b, of);
        else
            add_batch(e->scores, rt_engine_desc(e->t), rt_source_data(e->s), &e->b, of);
    }
    return true;
}

static void take_means_of_maps(RtScores *s) {
    double n = s->places ? (double)s->places : 1;
    s->loss = s->places ? s->loss / n : NAN;
    s->top1 = s->places || s->n_not_finite ? rt_scores_mean_iou(s) : NAN;
    s->top5 = s->places || s->n_not_finite ? s->top5 / n : NAN;
}

static void take_means(RtScores *s) {
    double n = s->n ? (double)s->n : 1, finite = (double)(s->n - s->n_not_finite);
    s->loss = s->n_not_finite == s->n && s->n ? NAN : s->loss / (finite > 0 ? finite : 1);
    s->top1 /= n;
    s->top5 /= n;
}

void rt_scores_begin(RtScores *s, const HoneTrainDesc *d) {
    *s = (RtScores){
        .classes = d->binary ? 2 : d->classes, .temper = s->temper, .of_views = s->of_views};
    size_t n = (size_t)s->classes;
    if (d->map_height || ((d->loss == HONE_LOSS_CE || d->binary) && s->classes <= RT_MAX_CONFUSION))
        s->confusion = calloc(n * n, sizeof *s->confusion);
}

bool rt_evaluate(RtEngine *t, RtRanks *ranks, RtSource *s, int64_t batch, RtScores *scores,
                 bool (*progress)(void *ctx, int64_t done, int64_t total), void *ctx, RtErr *err) {
    rt_scores_begin(scores, rt_engine_desc(t));
    if (scores->of_views)
        rt_scores_begin(scores->of_views, rt_engine_desc(t));
    bool map = rt_engine_places(t) > 1;
    if (map && !scores->confusion)
        return rt_fail(err, "no memory for scores of %d classes", scores->classes);
    Evaluation e = {t, ranks, s, scores, {0}, progress, ctx};
    int64_t me = rt_ranks_me(ranks), n = rt_ranks_n(ranks), total = rt_source_batches(s);
    err->text[0] = 0;
    if (ranks)
        rt_source_share(s, &(RtLoaderShare){n, me, me + 1});
    bool go = true,
         ok = alloc_buffers(&e.b, t, ranks, s, batch, err) && rt_source_seek(s, 0, 0, err);
    for (int64_t done = 0; ok && go && done < total; done += n)
        ok = eval_round(&e, done, &go, err);
    free_buffers(&e.b);
    (map ? take_means_of_maps : take_means)(scores);
    if (scores->of_views)
        (map ? take_means_of_maps : take_means)(scores->of_views);
    return ok && go && !err->text[0];
}
