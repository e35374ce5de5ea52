// What makes a run the run that it is: the program and the options that change its course, as texts
// that checkpoints carry.
#define _GNU_SOURCE
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/train/run.h"

static void add(XXH3_state_t *h, const void *data, size_t bytes) {
    XXH3_64bits_update(h, &bytes, sizeof bytes);
    XXH3_64bits_update(h, data, bytes);
}

static void add_text(XXH3_state_t *h, const char *text) {
    add(h, text ? text : "", text ? strlen(text) : 0);
}

// Where each tensor lies, under which name and in which shape, who trains it; of a new classifier
// the values as well, the others being the model's.
static void add_params(XXH3_state_t *h, const HoneTrainDesc *d) {
    for (int i = 0; i < d->n_params; i++) {
        const HoneParam *p = &d->params[i];
        const int64_t place[] = {p->rank, p->group, p->offset, p->count, p->trains, p->fresh};
        add_text(h, p->name);
        add(h, place, sizeof place);
        add(h, p->dim, sizeof p->dim);
        if (p->fresh)
            add(h, p->initial, (size_t)p->count * sizeof(float));
    }
    for (int i = 0; i < d->n_groups; i++) {
        const HoneParamGroup *g = &d->groups[i];
        const int64_t place[] = {g->offset, g->count, g->decays, g->trains};
        add(h, place, sizeof place);
        add(h, &g->lr_mult, sizeof g->lr_mult);
    }
}

// Some of its products are of bf16: what it computes is not what a program of f32 does.
static bool is_bf16(const HoneModelDesc *m) {
    for (int i = 0; m && i < m->n_nodes; i++)
        if (m->nodes[i].reads == HONE_BF16)
            return true;
    return false;
}

const char *rt_train_model_key(const HoneTrainDesc *d, char *text, size_t size) {
    const int32_t kind[] = {d->loss, d->binary, d->classes, d->n_stages};
    XXH3_state_t *h = XXH3_createState();
    if (!h) {
        snprintf(text, size, "no memory");
        return text;
    }
    XXH3_64bits_reset(h);
    add(h, kind, sizeof kind);
    add(h, &d->info->preprocess, sizeof d->info->preprocess);
    add_params(h, d);
    for (int i = 0; i < d->n_stages; i++) {
        const HoneTrainStage *stage = &d->stages[i];
        add_text(h, stage->spec);
        if (is_bf16(stage->features.model) || is_bf16(stage->train.model))
            add_text(h, "bf16");
    }
    for (int i = 0; d->info->labels && i < d->info->n_labels; i++)
        add_text(h, d->info->labels[i]);
    snprintf(text, size, "%.64s-%016llx", d->info->hash, (unsigned long long)XXH3_64bits_digest(h));
    XXH3_freeState(h);
    return text;
}

void rt_run_make_keys(RtRun *r) {
    const RtTrainSettings *s = r->set;
    char augment[RT_AUGMENT_TEXT];
    rt_train_model_key(r->d, r->key_model, sizeof r->key_model);
    int n = snprintf(r->key_options, sizeof r->key_options,
                     "seed=%llu batch=%d accumulate=%d head=%d sched=%s step=%g "
                     "gamma=%g momentum=%g beta2=%g eps=%g decay=%g smoothing=%g clip=%g "
                     "augment=%s variants=%d balanced=%d average=%g mix=%g:%g:%g:%g",
                     (unsigned long long)s->seed, s->batch, s->accumulate, s->head_solver,
                     rt_lr_schedule_name(s->lr_schedule), (double)s->step_epochs, (double)s->gamma,
                     (double)s->momentum, (double)s->beta2, (double)s->eps, (double)s->decay,
                     (double)s->smoothing, (double)s->clip, rt_augment_text(&s->augment, augment),
                     s->variants, s->balanced, (double)s->average, (double)s->mix.mixup,
                     (double)s->mix.cutmix, (double)s->mix.probability, (double)s->mix.switches);
    for (int i = 0; i < r->d->n_stages && n > 0 && n < (int)sizeof r->key_options; i++)
        n += snprintf(r->key_options + n, sizeof r->key_options - (size_t)n, " stage%d=%d:%g:%d:%g",
                      i, s->epochs[i], (double)s->lr[i], s->optimizer[i],
                      (double)s->warmup_epochs[i]);
    if (s->scaled_decode && n > 0 && n < (int)sizeof r->key_options)
        n += snprintf(r->key_options + n, sizeof r->key_options - (size_t)n, " scaled");
    if (s->k_fold && n > 0 && n < (int)sizeof r->key_options)
        n +=
            snprintf(r->key_options + n, sizeof r->key_options - (size_t)n, " folds=%d", s->k_fold);
    if (s->mask_values && n > 0 && n < (int)sizeof r->key_options)
        snprintf(r->key_options + n, sizeof r->key_options - (size_t)n, " values=%s",
                 s->mask_values);
}

RtCheckpointKey rt_run_key(const RtRun *r) {
    return (RtCheckpointKey){r->key_model, r->data->fingerprint, r->key_options, r->labels};
}
