// Options of train that do nothing beside the others: who gives one believes that it works, and is
// told. What excludes another option is refused in train.c.
#include <string.h>

#include "runtime/finetune/train_options.h"

typedef struct Asked { // a command line, resolved
    const HoneTrainDesc *d;
    const RtTrainWords *w;
    const RtTrainSettings *s;
} Asked;

static bool never_steps(const Asked *a) {
    return a->s->lr_schedule != RT_LR_STEP;
}

static bool never_adamw(const Asked *a) {
    for (int i = 0; i < a->d->n_stages; i++)
        if (a->s->optimizer[i] == HONE_OPT_ADAMW)
            return false;
    return true;
}

static bool never_averages(const Asked *a) {
    return !a->w->average;
}

static bool never_erases(const Asked *a) {
    return a->s->augment.erase <= 0;
}

static bool never_mixes(const Asked *a) {
    return rt_mix_is_none(&a->s->mix);
}

static bool never_switches(const Asked *a) {
    return a->s->mix.mixup <= 0 || a->s->mix.cutmix <= 0;
}

static bool has_val(const Asked *a) {
    return a->s->val;
}

static bool never_saves(const Asked *a) {
    return !a->s->folder;
}

static bool never_caches(const Asked *a) {
    return a->s->cache == RT_CACHE_OFF || !never_mixes(a);
}

static bool only_finds(const Asked *a) {
    return a->s->lr_picture;
}

typedef struct Idle {
    const char *option;
    bool (*is)(const Asked *a);
    const char *why;
} Idle;

static const char trains_nothing[] = "--lr-find trains nothing";
static const Idle idle[] = {
    {"--epochs", only_finds, trains_nothing},
    {"--lr-schedule", only_finds, trains_nothing},
    {"--sched", only_finds, trains_nothing},
    {"--warmup-epochs", only_finds, trains_nothing},
    {"--model-ema", only_finds, trains_nothing},
    {"--accumulate", only_finds, "--lr-find takes a step for each batch"},
    {"--early-stop", only_finds, trains_nothing},
    {"--max-steps", only_finds, trains_nothing},
    {"--checkpoint", only_finds, trains_nothing},
    {"--checkpoint-every", only_finds, trains_nothing},
    {"--no-checkpoint", only_finds, trains_nothing},
    {"--decay-epochs", never_steps, "it is of --lr-schedule step"},
    {"--decay-rate", never_steps, "it is of --lr-schedule step"},
    {"--beta2", never_adamw, "no stage is trained by AdamW"},
    {"--eps", never_adamw, "no stage is trained by AdamW"},
    {"--model-ema-decay", never_averages, "it is of --model-ema"},
    {"--remode", never_erases, "it is of --reprob"},
    {"--mixup-prob", never_mixes, "it is of --mixup and --cutmix"},
    {"--mixup-switch-prob", never_switches, "it is of --mixup and --cutmix together"},
    {"--val-fraction", has_val, "--val names the images for validation"},
    {"--checkpoint", never_saves, "none are written"},
    {"--checkpoint-every", never_saves, "none are written"},
    {"--cache-variants", never_caches, "no features are cached"},
};

// What a solved classifier knows nothing of. (--opt and --lr ask for steps, where --head-solver
// does not say otherwise.)
static const char *const of_steps[] = {
    "--epochs",        "--lr",           "--opt",          "--nesterov",         "--momentum",
    "--beta2",         "--eps",          "--weight-decay", "--lr-schedule",      "--sched",
    "--warmup-epochs", "--decay-epochs", "--decay-rate",   "--label-smoothing",  "--clip-grad",
    "--model-ema",     "--accumulate",   "--early-stop",   "--checkpoint-every",
};

static void add(char *list, size_t size, const char *option, const char *why) {
    size_t at = strlen(list);
    const char *form = why ? "%s%s (%s)" : "%s%s";
    snprintf(list + at, size - at, form, at ? ", " : "", option, why);
}

void rt_fine_train_find_idle(const RtFine *f, RtTrainWords *w) {
    const Asked a = {f->d, w, &w->set};
    const char *told = "";
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        const Idle *x = &idle[i];
        if (!rt_fine_train_given(w, x->option) || !x->is(&a) || strcmp(told, x->option) == 0)
            continue;
        told = x->option;
        add(w->idle, sizeof w->idle, x->option, x->why);
    }
    for (size_t i = 0; i < sizeof of_steps / sizeof *of_steps; i++)
        if (rt_fine_train_given(w, of_steps[i]))
            add(w->of_steps, sizeof w->of_steps, of_steps[i], NULL);
    w->set.idle = w->idle;
    w->set.of_steps = w->of_steps;
}
