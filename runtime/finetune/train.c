// train: from the command line to settings.
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/finetune/finetune.h"

#define RT_MIN_RATE 1e-30
#define RT_MAX_RATE 1e6

typedef struct Words { // options that are texts first
    const char *data, *val, *epochs, *lr, *optimizer, *head_solver, *lr_schedule, *augment, *cache,
        *folder, *out;
    bool help, nesterov, no_checkpoint;
    const char *weights;
    float val_fraction, warmup;
    int max_steps;
} Words;

// "5" for all, or "5,10,3" one a stage, each from min to max. Their count; 0: it is something else.
static int parse_list(const char *text, double min, double max, double v[HONE_MAX_STAGES]) {
    for (int n = 0; n < HONE_MAX_STAGES; text++) {
        char word[32];
        size_t length = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)(length < 32 ? length : 0), text);
        if (!rt_cli_number(word, &v[n]) || v[n] < min || v[n] > max)
            return 0;
        n++;
        text += length;
        if (!*text)
            return n;
    }
    return 0;
}

static bool parse_epochs(const RtFine *f, const char *text, int *epochs, RtErr *err) {
    double v[HONE_MAX_STAGES];
    if (strcmp(text, "auto") == 0) {
        for (int i = 0; i < f->d->n_stages; i++)
            epochs[i] = RT_EPOCHS_AUTO;
        return true;
    }
    int n = parse_list(text, 0, RT_MAX_EPOCHS, v);
    for (int i = 0; i < n; i++)
        n = v[i] == floor(v[i]) ? n : 0;
    if (!n)
        return rt_fail(err, "--epochs wants auto or whole numbers from 0 to %d, not '%s'",
                       RT_MAX_EPOCHS, text);
    if (n != 1 && n != f->d->n_stages)
        return rt_fail(err, "--epochs wants 1 or %d numbers, one a stage", f->d->n_stages);
    for (int i = 0; i < f->d->n_stages; i++)
        epochs[i] = (int)v[i < n ? i : 0];
    return true;
}

static bool parse_rates(const RtFine *f, const char *text, float *lr, RtErr *err) {
    double v[HONE_MAX_STAGES];
    int n = parse_list(text, RT_MIN_RATE, RT_MAX_RATE, v);
    if (!n)
        return rt_fail(err, "--lr wants rates from %g to %g, not '%s'", RT_MIN_RATE, RT_MAX_RATE,
                       text);
    if (n != 1 && n != f->d->n_stages)
        return rt_fail(err, "--lr wants 1 or %d numbers, one a stage", f->d->n_stages);
    for (int i = 0; i < f->d->n_stages; i++)
        lr[i] = i < n ? (float)v[i] : (float)v[0] * 0.1f;
    return true;
}

// Stage s moves parameters of a new classifier, or of the file.
static bool moves(const HoneTrainDesc *d, int s, bool fresh) {
    for (int i = 0; i < d->n_params; i++)
        if (d->params[i].trains >> s & 1 && (d->params[i].fresh != 0) == fresh)
            return true;
    return false;
}

// A first stage that moves both has a random classifier to mend, at half of AdamW's usual rate.
static bool begins_random(const HoneTrainDesc *d, int s) {
    return s == 0 && moves(d, s, true) && moves(d, s, false);
}

static float default_rate(const HoneTrainDesc *d, int s, bool adamw) {
    if (adamw && moves(d, s, false))
        return begins_random(d, s) ? 5e-4f : 1e-4f;
    return (adamw ? 1e-3f : 1e-2f) * (s ? 0.1f : 1);
}

// What the compiler was told, else: 10 epochs, the default rate, AdamW where pretrained layers
// move. There the rate rises over an epoch: moments begin at 0, and what was found before is not to
// be lost.
static bool set_stages(const RtFine *f, const Words *w, RtTrainSettings *s, RtErr *err) {
    for (int i = 0; i < f->d->n_stages; i++) {
        const HoneTrainStage *stage = &f->d->stages[i];
        bool open = !w->optimizer && !w->nesterov && !w->lr && stage->lr <= 0;
        if (open && moves(f->d, i, false))
            s->optimizer[i] = HONE_OPT_ADAMW;
        bool adamw = s->optimizer[i] == HONE_OPT_ADAMW;
        s->epochs[i] = stage->epochs > 0 ? stage->epochs : 10;
        s->lr[i] = stage->lr > 0 ? stage->lr : default_rate(f->d, i, adamw);
    }
    if ((w->epochs && !parse_epochs(f, w->epochs, s->epochs, err)) ||
        (w->lr && !parse_rates(f, w->lr, s->lr, err)))
        return false;
    for (int i = 0; i < f->d->n_stages; i++) {
        bool adamw = s->optimizer[i] == HONE_OPT_ADAMW;
        bool rises = (i > 0 || (adamw && begins_random(f->d, i))) &&
                     (s->epochs[i] > 2 || s->epochs[i] == RT_EPOCHS_AUTO);
        s->warmup_epochs[i] = w->warmup >= 0 ? w->warmup : rises;
    }
    return true;
}

// HONE_OPT_*; -1: there is none of that name.
static int find_optimizer(const char *name) {
    static const char *const names[] = {
#define OPTIMIZER(NAME, name, title) name,
#include "runtime/train/bind.def"
    };
    int i = HONE_OPT_COUNT - 1;
    while (i >= 0 && strcmp(name, names[i]) != 0)
        i--;
    return i;
}

static bool set_optimizer(const Words *w, RtTrainSettings *s, RtErr *err) {
    int kind = find_optimizer(w->optimizer ? w->optimizer : "sgd");
    if (kind < 0)
        return rt_fail(err, "--opt wants sgd, nesterov or adamw, not '%s'", w->optimizer);
    if (w->nesterov && kind == HONE_OPT_SGD)
        kind = HONE_OPT_NESTEROV;
    for (int i = 0; i < HONE_MAX_STAGES; i++)
        s->optimizer[i] = kind;
    return !w->nesterov || kind == HONE_OPT_NESTEROV ||
           rt_fail(err, "--nesterov is for --opt sgd, not %s", w->optimizer);
}

// A rate or an optimizer can be meant for nothing else where there is one stage.
static bool set_head_solver(const RtFine *f, const Words *w, RtTrainSettings *s, RtErr *err) {
    if (!w->head_solver) {
        bool steps = f->d->n_stages == 1 && (w->lr || w->optimizer || w->nesterov);
        s->head_solver = steps ? RT_HEAD_STEPS : RT_HEAD_AUTO;
        return true;
    }
    if (strcmp(w->head_solver, "newton") == 0) {
        s->head_solver = RT_HEAD_NEWTON;
        return true;
    }
    s->head_solver = RT_HEAD_STEPS;
    s->optimizer[0] = find_optimizer(w->head_solver);
    return s->optimizer[0] >= 0 ||
           rt_fail(err, "--head-solver wants newton, sgd, nesterov or adamw, not '%s'",
                   w->head_solver);
}

static void set_cache(const Words *w, RtTrainSettings *s) {
    static const struct {
        const char *name;
        RtCacheMode mode;
    } modes[] = {{"auto", RT_CACHE_AUTO}, {"memory", RT_CACHE_MEMORY}, {"off", RT_CACHE_OFF}};
    s->cache = RT_CACHE_FOLDER;
    s->cache_folder = w->cache;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(w->cache, modes[i].name) == 0)
            s->cache = modes[i].mode;
}

static bool resolve(const RtFine *f, const Words *w, RtTrainSettings *s, RtErr *err) {
    if (!set_optimizer(w, s, err) || !set_head_solver(f, w, s, err) || !set_stages(f, w, s, err))
        return false;
    if (!rt_lr_schedule_parse(w->lr_schedule, &s->lr_schedule))
        return rt_fail(err, "--lr-schedule wants cosine, step or constant, not '%s'",
                       w->lr_schedule);
    if (!rt_augment_parse(w->augment, &s->augment))
        return rt_fail(err, "--augment wants none, light or imagenet, not '%s'", w->augment);
    if (s->variants > 0 && s->augment == RT_AUGMENT_NONE)
        return rt_fail(err,
                       "--cache-variants wants --augment light or imagenet: without, all variants "
                       "are the same");
    s->val_fraction = (double)w->val_fraction;
    s->balanced = s->balanced || strcmp(w->weights, "balanced") == 0;
    s->max_steps = w->max_steps;
    set_cache(w, s);
    s->folder = w->no_checkpoint ? NULL : w->folder;
    if (s->resume && !s->folder)
        return rt_fail(err, "--resume and --no-checkpoint exclude each other");
    if (s->overwrite && !s->folder)
        return rt_fail(err, "--overwrite and --no-checkpoint exclude each other");
    if (s->resume && s->overwrite)
        return rt_fail(err, "--resume and --overwrite exclude each other");
    return true;
}

static int train(const RtFine *f, const RtTrainSettings *s) {
    RtErr err;
    sigset_t set;
    rt_outs_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL); // taken between steps; threads made later inherit it
    signal(SIGPIPE, SIG_IGN);           // nobody reads what is said: training goes on
    RtEngine *t = rt_engine_open(f->d, s->threads, &err);
    int code = t ? rt_train(t, s) : rt_fine_complain(err.text);
    rt_engine_close(t);
    return code;
}

static int train_on(const RtFine *f, const Words *w, RtTrainSettings *s, const char *data) {
    RtErr err;
    s->outs = f->outs;
    s->data = data;
    s->val = w->val;
    if (resolve(f, w, s, &err))
        return train(f, s);
    fprintf(stderr, "%s train: %s\n", f->program, err.text);
    return RT_EXIT_USAGE;
}

int rt_fine_train(const RtFine *f, int argc, char **argv) {
    Words w = {.lr_schedule = "cosine",
               .augment = "none",
               .cache = "auto",
               .folder = f->folder,
               .weights = "none",
               .warmup = -1,
               .val_fraction = 0.2f};
    RtTrainSettings s = {.batch = 16,
                         .accumulate = 1,
                         .momentum = 0.9f,
                         .beta2 = 0.999f,
                         .eps = 1e-8f,
                         .decay = 1e-4f,
                         .gamma = 0.1f,
                         .step_epochs = 3,
                         .seed = 1,
                         .early_stop = -1,
                         .out = f->out};
    const RtCliOption options[] = {
        {"--epochs", RT_CLI_TEXT, &w.epochs, 0, 0, "N[,N...]",
         "passes over the images, for all stages or one number a stage (default 10); auto: by "
         "their "
         "number, ended by --early-stop 5"},
        {"--lr", RT_CLI_TEXT, &w.lr, 0, 0, "R[,R...]",
         "learning rate; one number: a tenth of it from the second stage on (default 0.01, adamw "
         "0.001, of pretrained layers 0.0001, with a random classifier 0.0005)"},
        {"--batch|-b|--batch-size", RT_CLI_INT, &s.batch, 1, RT_MAX_BATCH, "N",
         "images a batch (default 16)"},
        {"--accumulate", RT_CLI_INT, &s.accumulate, 1, RT_MAX_BATCH, "K",
         "batches a step: gradients of K batches are averaged (default 1)"},
        {"--opt", RT_CLI_TEXT, &w.optimizer, 0, 0, "NAME",
         "sgd, nesterov or adamw (default: sgd; adamw for pretrained layers where no rate is "
         "given)"},
        {"--head-solver", RT_CLI_TEXT, &w.head_solver, 0, 0, "NAME",
         "what a first stage does that trains a new classifier alone: newton (default) solves it, "
         "without rate and epochs; sgd, nesterov, adamw: steps, as --lr or --opt ask for where "
         "there is one stage"},
        {"--nesterov", RT_CLI_FLAG, &w.nesterov, 0, 0, NULL, NULL},
        {"--momentum", RT_CLI_FLOAT, &s.momentum, 0, 0.99999, "M",
         "of SGD; AdamW's beta1 (default 0.9)"},
        {"--beta2", RT_CLI_FLOAT, &s.beta2, 0, 0.9999999, "B", "of AdamW (default 0.999)"},
        {"--eps", RT_CLI_FLOAT, &s.eps, 1e-20, 1, "E", "of AdamW (default 1e-8)"},
        {"--weight-decay", RT_CLI_FLOAT, &s.decay, 0, 10, "D",
         "not of biases and normalisation (default 0.0001)"},
        {"--sched", RT_CLI_TEXT, &w.lr_schedule, 0, 0, "NAME", NULL}, // old spelling
        {"--lr-schedule", RT_CLI_TEXT, &w.lr_schedule, 0, 0, "NAME",
         "cosine (default), step or constant, over each stage"},
        {"--warmup-epochs", RT_CLI_FLOAT, &w.warmup, 0, RT_MAX_EPOCHS, "E",
         "epochs of each stage in which the rate rises (default 0; 1 from the second stage on, and "
         "where AdamW moves pretrained layers with a random classifier)"},
        {"--decay-epochs", RT_CLI_FLOAT, &s.step_epochs, 0, RT_MAX_EPOCHS, "E",
         "--lr-schedule step: epochs between two decays (default 3)"},
        {"--decay-rate", RT_CLI_FLOAT, &s.gamma, 0, 1, "G",
         "--lr-schedule step: their factor (default 0.1)"},
        {"--label-smoothing|--smoothing", RT_CLI_FLOAT, &s.smoothing, 0, 0.99, "S",
         "share of every label spread over all classes (default 0)"},
        {"--balanced", RT_CLI_FLAG, &s.balanced, 0, 0, NULL,
         "rare classes weigh more: images / (classes * images of the class)"},
        {"--class-weights", RT_CLI_CHOICE, &w.weights, 0, 0, "balanced|none", "the same"},
        {"--clip-grad", RT_CLI_FLOAT, &s.clip, 0, 1e9, "NORM",
         "gradients are shortened to this norm (default: never)"},
        {"--augment", RT_CLI_TEXT, &w.augment, 0, 0, "KIND",
         "none (default), light: flip and crop, imagenet: random crop, flip, colours"},
        {"--feature-cache", RT_CLI_TEXT, &w.cache, 0, 0, "WHERE",
         "results of frozen layers: auto (default: in memory where they fit), memory, off, or a "
         "folder"},
        {"--cache-variants", RT_CLI_INT, &s.variants, 0, 1000, "K",
         "with --augment: that many variants of each image, whose features are cached"},
        {"--val", RT_CLI_TEXT, &w.val, 0, 0, "DATA", "images for validation"},
        {"--val-fraction", RT_CLI_FLOAT, &w.val_fraction, 0, 0.99, "F",
         "share of the images for validation where there are none (default 0.2)"},
        {"--early-stop", RT_CLI_INT, &s.early_stop, 0, RT_MAX_EPOCHS, "N",
         "a stage ends after N epochs without a better one"},
        {"--seed", RT_CLI_SEED, &s.seed, 0, 0, "S", "of order, augmentation, dropout (default 1)"},
        {"--max-steps", RT_CLI_INT, &w.max_steps, 0, 1e9, "N", "ends after N steps"},
        RT_FINE_THREADS(&s.threads),
        {"--workers|-j", RT_CLI_INT, &s.workers, 0, 256, "N",
         "threads that decode images (default: half of the CPUs)"},
        {"--out|--output|-o", RT_CLI_TEXT, &s.out, 0, 0, "FILE.onnx",
         "the tuned model (default: the program's name and -tuned.onnx, where no other program's "
         "is)"},
        {"--report", RT_CLI_TEXT, &s.report, 0, 0, "FILE.html",
         "curves, confusion matrix, plan and worst mistakes as one page"},
        {"--log", RT_CLI_TEXT, &s.log, 0, 0, "FILE.jsonl",
         "a JSON object for every step and epoch"},
        RT_FINE_CHECKPOINT(&w.folder),
        {"--checkpoint-every", RT_CLI_INT, &s.checkpoint_every, 0, 1e9, "N",
         "steps between checkpoints (default: at the end of every epoch)"},
        {"--no-checkpoint", RT_CLI_FLAG, &w.no_checkpoint, 0, 0, NULL, "none are written"},
        {"--resume", RT_CLI_FLAG, &s.resume, 0, 0, NULL,
         "go on from the newest checkpoint, bit for bit as if never stopped"},
        {"--overwrite", RT_CLI_FLAG, &s.overwrite, 0, 0, NULL,
         "begin anew over the checkpoints of an earlier run, which go"},
        {"--quiet|-q", RT_CLI_FLAG, &s.quiet, 0, 0, NULL, "errors only"},
        RT_FINE_HELP(&w.help),
    };
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(
            f, "train",
            "[OPTION...] DATA\n\nDATA is a folder (train/CLASS/*.jpg and val/CLASS/*.jpg, "
            "or CLASS/*.jpg, which is\nsplit), tar shards as WebDataset makes them (one, a folder of "
            "them, or of train/ and\nval/), a list of lines 'path,label', a folder of IDX files "
            "(the MNIST family), or\nimages.npy,labels.npy.",
            options, sizeof options / sizeof *options, &w.help, argc, argv, &rest, 1, 1, &code)) {
        s.out_unnamed = s.out == f->out;
        code = train_on(f, &w, &s, rest.item[0]);
    }
    free(rest.item);
    return code;
}
