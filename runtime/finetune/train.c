// train: from the command line to settings.
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/finetune/train_options.h"

#define RT_MIN_RATE 1e-30
#define RT_MAX_RATE 1e6

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

// "+10": a finished run goes on.
static bool parse_more(const RtTrainWords *w, const char *text, int *more, RtErr *err) {
    double n;
    if (!rt_cli_number(text, &n) || n != floor(n) || n < 1 || n > RT_MAX_EPOCHS)
        return rt_fail(err, "--epochs +N wants a whole number from 1 to %d, not '+%s'",
                       RT_MAX_EPOCHS, text);
    *more = (int)n;
    return w->set.resume ||
           rt_fail(err, "--epochs +%s goes on with a finished run: --resume says that, too", text);
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

// A first stage that moves both.
static bool begins_new(const HoneTrainDesc *d, int s) {
    return s == 0 && moves(d, s, true) && moves(d, s, false);
}

// The program tells what a new classifier reads that moves with other layers: it can be solved.
static bool tells_input(const HoneTrainDesc *d) {
    const HoneTrainGraph *g = &d->stages[0].eval;
    for (int i = 0; i < g->n_out; i++)
        if (g->out[i].kind == HONE_BIND_HEAD_INPUT)
            return true;
    return false;
}

// A random classifier is mended at half of AdamW's usual rate, a solved one is not to be lost.
static float default_rate(const HoneTrainDesc *d, int s, bool adamw, RtHeadSolver solver) {
    bool random = begins_new(d, s) && (solver == RT_HEAD_STEPS || !tells_input(d));
    if (adamw && moves(d, s, false))
        return random ? 5e-4f : 1e-4f;
    return (adamw ? 1e-3f : 1e-2f) * (s ? 0.1f : 1);
}

// What the compiler was told, else: 10 epochs, the default rate, AdamW where pretrained layers
// move. There the rate rises over an epoch: moments begin at 0, and what was found before is not to
// be lost.
static bool set_stages(const RtFine *f, const RtTrainWords *w, RtTrainSettings *s, RtErr *err) {
    bool by_test = w->lr && strcmp(w->lr, "auto") == 0;
    for (int i = 0; i < f->d->n_stages; i++) {
        const HoneTrainStage *stage = &f->d->stages[i];
        bool open = !w->optimizer && !w->nesterov && (!w->lr || by_test) && stage->lr <= 0;
        if (open && moves(f->d, i, false))
            s->optimizer[i] = HONE_OPT_ADAMW;
        bool adamw = s->optimizer[i] == HONE_OPT_ADAMW;
        s->epochs[i] = stage->epochs > 0 ? stage->epochs : 10;
        s->lr[i] = stage->lr > 0 ? stage->lr : default_rate(f->d, i, adamw, s->head_solver);
        s->lr_open[i] = stage->lr <= 0 && (!w->lr || by_test);
        if (s->lr_open[i] &&
            (by_test || (i == 0 && s->head_solver == RT_HEAD_STEPS && w->head_solver)))
            s->lr[i] = 0;
    }
    bool more = w->epochs && *w->epochs == '+';
    if ((more && !parse_more(w, w->epochs + 1, &s->more_epochs, err)) ||
        (w->epochs && !more && !parse_epochs(f, w->epochs, s->epochs, err)) ||
        (w->lr && !by_test && !parse_rates(f, w->lr, s->lr, err)))
        return false;
    for (int i = 0; i < f->d->n_stages; i++) {
        bool adamw = s->optimizer[i] == HONE_OPT_ADAMW;
        bool rises = (i > 0 || (adamw && begins_new(f->d, i))) &&
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

static bool set_optimizer(const RtTrainWords *w, RtTrainSettings *s, RtErr *err) {
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

// Where one stage trains the classifier alone a rate or an optimizer can be meant for nothing else.
static bool set_head_solver(const RtFine *f, const RtTrainWords *w, RtTrainSettings *s,
                            RtErr *err) {
    if (!w->head_solver) {
        bool steps =
            f->d->n_stages == 1 && !moves(f->d, 0, false) && (w->lr || w->optimizer || w->nesterov);
        s->head_solver = steps ? RT_HEAD_STEPS : RT_HEAD_AUTO;
        return true;
    }
    if (strcmp(w->head_solver, "newton") == 0) {
        s->head_solver = RT_HEAD_NEWTON;
        return true;
    }
    s->head_solver = RT_HEAD_STEPS;
    int optimizer = find_optimizer(w->head_solver);
    if (optimizer < 0)
        return rt_fail(err, "--head-solver wants newton, sgd, nesterov or adamw, not '%s'",
                       w->head_solver);
    if (!w->optimizer || !moves(f->d, 0, false)) // more than the classifier goes by --opt
        s->optimizer[0] = optimizer;
    return true;
}

static void set_cache(const RtTrainWords *w, RtTrainSettings *s) {
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

// "a,b" of an option as two numbers in order; not given: zeros.
static bool take_range(const char *option, const RtCliFloats *given, double to[2], RtErr *err) {
    if (given->n && (given->n != 2 || given->v[0] > given->v[1]))
        return rt_fail(err, "%s wants two numbers, from and to", option);
    for (int i = 0; i < given->n; i++)
        to[i] = (double)given->v[i];
    return true;
}

static bool set_augment(const RtTrainWords *w, RtTrainSettings *s, RtErr *err) {
    static const char *const how[] = {"pixel", "rand", "const"};
    RtAugment *a = &s->augment;
    if (!rt_augment_parse(w->augment, &a->kind))
        return rt_fail(err, "--augment wants none, light or imagenet, not '%s'", w->augment);
    if (!take_range("--scale", &w->scale, a->scale, err) ||
        !take_range("--ratio", &w->ratio, a->ratio, err))
        return false;
    a->filter = w->filter ? rt_resize_filter(w->filter) + 1 : 0;
    if (w->filter && !a->filter)
        return rt_fail(err, "--train-interpolation: there is no '%s'", w->filter);
    if (a->kind != RT_AUGMENT_IMAGENET && (w->scale.n || w->ratio.n || w->filter))
        return rt_fail(err,
                       "--scale, --ratio and --train-interpolation are of the random crop that "
                       "--augment imagenet takes");
    RtErr why;
    if (!rt_policies_parse(w->policy, &a->policies, &why))
        return rt_fail(err, "--aa %s", why.text);
    for (int i = 0; i < 3; i++)
        a->how = strcmp(w->how, how[i]) == 0 ? (RtErase)i : a->how;
    return s->variants == 0 || !rt_augment_is_none(a) ||
           rt_fail(err, "--cache-variants wants --augment light or imagenet, or another change: "
                        "without, all variants are the same");
}

// What a range test has none of: a model, epochs.
static bool check_lr_find(const RtTrainSettings *s, RtErr *err) {
    const struct {
        const char *given, *text;
    } others[] = {
        {s->out_unnamed ? NULL : s->out, "--out"},
        {s->report, "--report"},
        {s->csv, "--csv"},
        {s->board, "--log-tensorboard"},
    };
    for (size_t i = 0; s->lr_picture && i < sizeof others / sizeof *others; i++)
        if (others[i].given)
            return rt_fail(err, "--lr-find and %s exclude each other: that trains nothing",
                           others[i].text);
    return true;
}

// --lr-find trains nothing, and has no folder either. Without checkpoints, --overwrite is of
// TensorBoard's files.
static bool set_folder(const RtTrainWords *w, RtTrainSettings *s, RtErr *err) {
    const char *without = s->lr_picture ? "--lr-find" : w->no_checkpoint ? "--no-checkpoint" : NULL;
    s->folder = without ? NULL : w->folder;
    if (without && (s->resume || (s->overwrite && !s->board)))
        return rt_fail(err, "%s and %s exclude each other", s->resume ? "--resume" : "--overwrite",
                       without);
    return !(s->resume && s->overwrite) ||
           rt_fail(err, "--resume and --overwrite exclude each other");
}

// Its last run has no images by which an epoch could be chosen, or training ended.
static bool check_folds(const RtTrainWords *w, const RtTrainSettings *s, RtErr *err) {
    const struct {
        bool given;
        const char *text, *why;
    } others[] = {
        {w->val, "--val", "a k-fold holds out images of DATA"},
        {w->val_fraction != RT_VAL_FRACTION, "--val-fraction", "each part is one of K"},
        {s->index, "--index", "the list would be cut another way in each run"},
        {s->lr_picture, "--lr-find", "that trains nothing"},
        {s->variants > 0, "--cache-variants", "runs share one feature of each image"},
        {s->more_epochs > 0, "--epochs +N", "a part's checkpoints go when it was measured"},
        {s->epochs[0] == RT_EPOCHS_AUTO, "--epochs auto",
         "that ends by held out images, which the last run has not: give the number of epochs"},
        {s->early_stop > 0, "--early-stop", "the last run has no images that could end it"},
    };
    for (size_t i = 0; s->k_fold && i < sizeof others / sizeof *others; i++)
        if (others[i].given)
            return rt_fail(err, "--k-fold and %s exclude each other: %s", others[i].text,
                           others[i].why);
    return true;
}

static bool resolve(const RtFine *f, RtTrainWords *w, RtTrainSettings *s, RtErr *err) {
    if (!set_optimizer(w, s, err) || !set_head_solver(f, w, s, err) || !set_stages(f, w, s, err))
        return false;
    if (!rt_lr_schedule_parse(w->lr_schedule, &s->lr_schedule))
        return rt_fail(err, "--lr-schedule wants cosine, step or constant, not '%s'",
                       w->lr_schedule);
    if (!set_augment(w, s, err))
        return false;
    s->average = w->average ? w->average_decay : 0;
    s->val_fraction = (double)w->val_fraction;
    if (s->balanced && rt_fine_train_given(w, "--class-weights") && strcmp(w->weights, "none") == 0)
        return rt_fail(err, "--balanced and --class-weights none exclude each other");
    s->balanced = s->balanced || strcmp(w->weights, "balanced") == 0;
    s->max_steps = w->max_steps;
    set_cache(w, s);
    if (!check_folds(w, s, err) || !check_lr_find(s, err))
        return false;
    if (w->feature_memory && !rt_cli_size(w->feature_memory, &s->feature_memory))
        return rt_fail(err, "--feature-memory wants a size such as 500M or 8G, not '%s'",
                       w->feature_memory);
    return set_folder(w, s, err);
}

static int train(const RtFine *f, const RtTrainSettings *s) {
    sigset_t set;
    rt_outs_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL); // taken between steps; threads made later inherit it
    signal(SIGPIPE, SIG_IGN);           // nobody reads what is said: training goes on
    return rt_train_folds(f->d, s);
}

int rt_fine_train(const RtFine *f, int argc, char **argv) {
    RtTrainWords w;
    RtTrainSettings *s = &w.set;
    RtErr err;
    int code;
    if (!rt_fine_train_parse(f, argc, argv, &w, &code))
        return code;
    s->out_unnamed = s->out == f->out;
    s->outs = f->outs;
    s->data = w.data;
    s->val = w.val;
    if (f->d->memory_limit && s->batch > f->d->batch)
        fprintf(stderr, "note: the program was compiled to keep its memory for batches of %d\n",
                f->d->batch);
    if (resolve(f, &w, s, &err)) {
        rt_fine_train_find_idle(f, &w);
        return train(f, s);
    }
    fprintf(stderr, "%s train: %s\n", f->program, err.text);
    return RT_EXIT_USAGE;
}
