// What a run needs before its first step, and what it leaves behind: data, outputs, the state that
// it begins with, the trained model, the report.
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/core/text.h"
#include "runtime/train/beside.h"
#include "runtime/train/cut.h"
#include "runtime/train/export.h"
#include "runtime/train/folds.h"
#include "runtime/train/history.h"
#include "runtime/train/recipe.h"
#include "runtime/train/report.h"
#include "runtime/train/together.h"

typedef struct Opening {  // of a data set
    bool terminal, shown; // its progress
} Opening;

static void clear_progress(Opening *o) {
    if (o->shown)
        fprintf(stderr, "\r\033[K");
    o->shown = false;
}

static void say_line(void *ctx, bool is_error, const char *line) {
    (void)is_error;
    clear_progress(ctx);
    fprintf(stderr, "%s\n", line);
}

static void show_reading(void *ctx, const char *what, int64_t done, int64_t total) {
    Opening *o = ctx;
    clear_progress(o);
    if (!o->terminal || done == total)
        return;
    fprintf(stderr, "reading %s: %lld/%lld", what, (long long)done, (long long)total);
    fflush(stderr);
    o->shown = true;
}

RtDataset *rt_train_open_data(const RtEngine *t, const char *spec, const RtDataOptions *asked) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    Opening opening = {.terminal = isatty(STDERR_FILENO)};
    RtDataOptions o = *asked;
    o.classes = d->binary ? 2 : d->classes;
    o.labels = d->info->labels;
    o.target = d->map_height > 0          ? RT_TARGET_MAP
               : d->binary                ? RT_TARGET_BINARY
               : d->loss == HONE_LOSS_BCE ? RT_TARGET_MULTI
                                          : RT_TARGET_CLASS;
    o.prep = &d->info->preprocess;
    if (!o.say) {
        o.say = say_line;
        o.progress = show_reading;
        o.context = &opening;
    }
    return rt_dataset_open(spec, &o);
}

// ---------------------------------------------------------------- buffers

static size_t classes_of(const RtRun *r) {
    return (size_t)(r->d->binary ? 2 : r->d->classes);
}

bool rt_run_alloc_batch(RtRun *r) {
    r->batch = r->set->batch < r->data->n_train ? r->set->batch : r->data->n_train;
    r->loss = rt_alloc_aligned((size_t)r->batch * sizeof(float));
    r->logits = rt_alloc_aligned((size_t)r->batch * (size_t)rt_engine_places(r->engine) *
                                 classes_of(r) * sizeof(float));
    return (r->loss && r->logits) || rt_fail(&r->err, "no memory");
}

// Pixels of each class in the masks to train on; size: [classes], zeros. Returns those of all.
static int64_t count_pixels(RtRun *r, int64_t *size) {
    int64_t number[256], all = 0;
    uint64_t since = rt_now();
    int64_t masks = rt_dataset_count_pixels(r->data, r->data->n_train, number);
    for (int i = 0; i < 256; i++) {
        int k = r->data->mask_values.to[i];
        if (k < 0)
            continue;
        size[k] += number[i];
        all += number[i];
    }
    double seconds = (double)(rt_now() - since) * 1e-9;
    if (seconds > 1)
        rt_train_log_line(&r->log, "pixels of %lld masks counted in %.1f s", (long long)masks,
                          seconds);
    return all;
}

// balanced: images / (classes * images of the class), the mean over images being 1; of maps pixels.
static bool set_class_weights(RtRun *r) {
    int classes = (int)classes_of(r);
    bool map = r->d->map_height > 0, counts = r->set->balanced;
    int64_t *size = calloc((size_t)classes, sizeof *size), all = r->data->n_train;
    if (!size)
        return rt_fail(&r->err, "no memory");
    if (counts && map)
        all = count_pixels(r, size);
    for (int i = 0; i < classes; i++) {
        int64_t n = counts ? map ? size[i] : r->data->class_size[i] : 0;
        r->class_weight[i] = n > 0 ? (float)((double)all / ((double)classes * (double)n)) : 1;
    }
    free(size);
    return true;
}

// "a\nb\nc" of the data's class names, "" where they have none; free() releases.
static char *join_names(const RtDataset *data) {
    size_t size = 1;
    for (int i = 0; data->named && i < data->classes; i++)
        size += strlen(data->names[i]) + 1;
    char *text = calloc(size, 1), *to = text;
    for (int i = 0; text && data->named && i < data->classes; i++)
        to += sprintf(to, "%s%s", i ? "\n" : "", data->names[i]);
    return text;
}

static bool is_no_output(void *ctx, const char *path) {
    RtRun *r = ctx;
    return rt_outs_allow(r->set->outs, path, -1, &r->err);
}

// No output is a file that is in the folder, or that the run will make there.
static bool keeps(RtOuts *outs, const char *folder, const char *const *names, RtErr *err) {
    return rt_outs_allow(outs, folder, 0, err) && rt_outs_reserve(outs, folder, names, err);
}

// Hours of training must not end at a folder that is not there.
static bool open_outputs(RtRun *r) {
    const RtTrainSettings *s = r->set;
    const char *cache = s->cache == RT_CACHE_FOLDER ? s->cache_folder : NULL;
    char key[96];
    return (!s->out || !s->out_unnamed ||
            rt_export_is_own(rt_train_model_key(r->d, key, sizeof key), s->out, &r->err)) &&
           (!s->out || rt_out_open(&r->out, s->outs, s->out, RT_OUT_WHOLE, &r->err)) &&
           (!s->report || rt_out_open(&r->report, s->outs, s->report, RT_OUT_WHOLE, &r->err)) &&
           (!s->csv || rt_out_open(&r->csv, s->outs, s->csv, RT_OUT_WHOLE, &r->err)) &&
           (!s->lr_picture || rt_ranks_me(r->ranks) > 0 ||
            rt_out_open(&r->lr_picture, s->outs, s->lr_picture, RT_OUT_WHOLE, &r->err)) &&
           rt_train_log_open(&r->log, s->outs, s->log, s->resume || (s->folds && s->folds->logged),
                             s->quiet, &r->err) &&
           (!s->folder || keeps(s->outs, s->folder, rt_folder_files, &r->err)) &&
           (!cache || keeps(s->outs, cache, rt_feature_cache_files, &r->err));
}

// Of the shorter side, so that a crop of a part of the picture still has pixels enough.
static int twice_the_input(const HonePreprocess *p) {
    int side = p->height > p->width ? p->height : p->width;
    return 2 * (p->resize > side ? p->resize : side);
}

// Of another rank than 0, which tells all of it: the first error, should rank 0 have none.
static void keep_error(void *ctx, bool is_error, const char *line) {
    RtRun *r = ctx;
    if (is_error && !r->err.text[0])
        rt_fail(&r->err, "%s", line);
}

// Where reading took time, it is said how much there is.
static bool open_data(RtRun *r) {
    const RtTrainSettings *s = r->set;
    uint64_t since = rt_now();
    RtDataOptions asked = {.val = s->val,
                           .val_fraction = s->val_fraction,
                           .seed = s->seed,
                           .folds = s->folds && s->folds->part < s->folds->n ? s->folds->n : 0,
                           .fold = s->folds ? s->folds->part : 0,
                           .index = s->index,
                           .mask_values = s->mask_values,
                           .index_stays = rt_ranks_me(r->ranks) > 0,
                           .say = rt_ranks_me(r->ranks) > 0 ? keep_error : NULL,
                           .context = r,
                           .outs = s->outs};
    r->data = rt_train_open_data(r->engine, s->data, &asked);
    if (r->data && s->scaled_decode)
        r->data->least = twice_the_input(&r->d->info->preprocess);
    double seconds = (double)(rt_now() - since) * 1e-9;
    if (r->data && seconds > 1)
        rt_train_log_line(&r->log, "%lld images to train on, %lld for validation, read in %.1f s",
                          (long long)r->data->n_train, (long long)r->data->n_val, seconds);
    return r->data != NULL;
}

bool rt_run_try_outputs(const HoneTrainDesc *d, const RtTrainSettings *set, RtErr *err) {
    RtRun r = {.d = d, .set = set};
    bool ok = open_outputs(&r);
    *err = r.err;
    rt_run_close(&r);
    return ok;
}

static bool check_map(RtRun *r) {
    return !r->d->map_height || !r->set->scaled_decode ||
           rt_fail(&r->err, "--scaled-decode is not for networks that label pixels: a mask is as "
                            "large as its picture");
}

// Options that do nothing with the others, or with these data.
static void say_idle(RtRun *r) {
    const RtTrainSettings *s = r->set;
    if (*s->idle && r->fold <= 1)
        rt_train_log_line(&r->log, "without effect: %s", s->idle);
    if (s->early_stop > 0 && r->data->n_val == 0)
        rt_train_log_line(&r->log, "no stage ends early, there are no images for validation");
    if (r->data->tensors && (!rt_augment_is_none(&s->augment) || s->scaled_decode))
        rt_train_log_line(&r->log,
                          "without effect: --augment, --aa, --reprob, --scaled-decode (the arrays "
                          "are the network's inputs as they are, not pictures)");
}

bool rt_run_setup(RtRun *r) {
    const RtTrainSettings *s = r->set;
    r->open_stage = -1;
    r->d = rt_engine_desc(r->engine);
    if (!check_map(r) || !open_outputs(r))
        return false;
    if (!open_data(r)) {
        if (rt_ranks_me(r->ranks) == 0)
            r->err.text[0] = 0; // said already
        return false;
    }
    if (!is_no_output(r, s->data) || (s->val && !is_no_output(r, s->val)) ||
        (rt_outs_may_be_input(s->outs) && !rt_dataset_files(r->data, is_no_output, r)))
        return false;
    if (r->data->n_train == 0)
        return rt_fail(&r->err, "%s: no images to train on", s->data);
    r->class_weight = rt_alloc_aligned(classes_of(r) * sizeof(float));
    r->labels = join_names(r->data);
    r->bad_item = calloc((size_t)(r->data->n_train + r->data->n_val), sizeof *r->bad_item);
    if (!r->bad_item || !r->class_weight || !r->labels)
        return rt_fail(&r->err, "no memory");
    if (!rt_cut_step(r))
        return false;
    if (!set_class_weights(r))
        return false;
    rt_recipe_resolve(r);
    rt_recipe_say_balance(r);
    rt_run_make_keys(r);
    if (!rt_folds_enter(r))
        return false;
    say_idle(r);
    return rt_state_init(&r->state, r->d->param_floats, s->average > 0, &r->err);
}

// ---------------------------------------------------------------- the beginning

static void say_passed_over(void *ctx, const char *line) {
    RtRun *r = ctx;
    rt_train_log_line(&r->log, "%s; passed over", line);
}

// --epochs +N: epochs and warm-up are those that the run was begun with, as its options tell.
static void take_epochs(RtRun *r, const char *had) {
    char name[24];
    for (int i = 0; i < r->d->n_stages; i++) {
        snprintf(name, sizeof name, " stage%d=", i);
        const char *at = strstr(had, name);
        int epochs = 0;
        float warmup = 0;
        if (at && sscanf(at + strlen(name), "%d:%*[^:]:%*[^:]:%f", &epochs, &warmup) == 2) {
            r->own.epochs[i] = epochs;
            r->own.warmup_epochs[i] = warmup;
        }
    }
    rt_run_make_keys(r);
}

// What the run was begun with and is not given anew.
static void take_options(RtRun *r) {
    char *had = rt_checkpoint_options(&r->folder);
    if (had && r->set->more_epochs)
        take_epochs(r, had);
    if (had)
        rt_cut_as_before(r, had);
    free(had);
}

// A finished run goes on: its last stage gets a schedule more, or as many epochs more of one that
// does not end. The checkpoint of that is there before the run counts as unfinished.
static bool extend(RtRun *r) {
    int64_t *at = r->state.at;
    RtCheckpointKey key = rt_run_key(r);
    if (!r->folder.finished) {
        rt_train_log_line(&r->log, "the run was not finished: it goes on as it was begun");
        return true;
    }
    if (rt_lr_schedule_ends(r->set->lr_schedule)) {
        at[RT_AT_CYCLE_EPOCH] = at[RT_AT_STAGE_EPOCH];
        at[RT_AT_CYCLE_STEP] = at[RT_AT_STAGE_STEP];
    }
    at[RT_AT_CYCLE_LENGTH] = at[RT_AT_STAGE_EPOCH] - at[RT_AT_CYCLE_EPOCH] + r->set->more_epochs;
    at[RT_SINCE_BEST] = 0;
    r->folder.finished = false;
    rt_train_log_line(&r->log, "%d epochs more", r->set->more_epochs);
    return rt_checkpoint_save(&r->folder, r->engine, &r->state, &key, &r->err) &&
           rt_folder_write(&r->folder, &r->err);
}

static bool resume(RtRun *r, bool *found) {
    take_options(r);
    RtCheckpointKey key = rt_run_key(r);
    const int64_t *at = r->state.at;
    if (!rt_checkpoint_load(&r->folder, r->engine, &r->state, &key, say_passed_over, r, found,
                            &r->err))
        return false;
    if (!*found && r->set->more_epochs)
        return rt_fail(&r->err,
                       "%s holds no checkpoint of a run that could go on, as --epochs +%d asks for",
                       r->set->folder, r->set->more_epochs);
    if (!*found) {
        rt_train_log_line(&r->log, "%s holds no checkpoint; from the beginning", r->set->folder);
        return true;
    }
    r->open_stage = (int)at[RT_AT_STAGE];
    rt_train_log_line(&r->log, "resumed at step %lld, stage %lld, epoch %lld",
                      (long long)at[RT_AT_STEP], (long long)at[RT_AT_STAGE] + 1,
                      (long long)at[RT_AT_STAGE_EPOCH] + 1);
    return !r->set->more_epochs || extend(r);
}

static bool refuse_folder(RtRun *r) {
    const RtFolder *f = &r->folder;
    bool ours = strcmp(f->model, r->key_model) == 0;
    return rt_fail(&r->err,
                   "%s: holds the %s run %s of %s, begun %s; %s--overwrite begins anew over it, "
                   "--checkpoint FOLDER elsewhere",
                   f->path, f->finished ? "finished" : "unfinished", *f->run ? f->run : "?",
                   ours ? "this program" : "another program", *f->started ? f->started : "?",
                   ours && !f->finished ? "--resume goes on, " : "");
}

// A folder of ours, NULL: none, is no class of the next run.
static bool lies_apart(RtRun *r, const char *folder, const char *what, const char *option) {
    return !folder || !rt_dataset_takes(r->data, folder) ||
           rt_fail(&r->err,
                   "%s: %s there would lie among the data, where a folder is a class; give %s a "
                   "folder elsewhere",
                   folder, what, option);
}

// In a later part of a k-fold a full disk does not end what the others have found.
static bool spare(RtRun *r, bool good) {
    if (good || !r->set->folds || !r->set->folds->logged)
        return good;
    rt_beside_check(r, false, &r->err);
    return true;
}

static bool spare_folder(RtRun *r, bool good) {
    if (!good && !spare(r, false))
        return false;
    if (!good)
        r->own.folder = NULL;
    return true;
}

// Alone, or of rank 0.
static bool begin(RtRun *r) {
    const RtTrainSettings *s = r->set;
    bool found = false;
    if (!lies_apart(r, s->folder, "checkpoints", "--checkpoint") ||
        !lies_apart(r, s->cache == RT_CACHE_FOLDER ? s->cache_folder : NULL, "cached features",
                    "--feature-cache") ||
        !lies_apart(r, s->board, "TensorBoard's files", "--log-tensorboard") ||
        (s->board && !spare(r, rt_board_open(&r->board, s->outs, s->board, s->resume, &r->err))) ||
        (s->folder && !spare_folder(r, rt_folder_open(&r->folder, s->folder, &r->err))))
        return false;
    if (s->folder && !s->resume && !s->overwrite && rt_checkpoint_any(s->folder))
        return refuse_folder(r);
    if (s->folder && s->resume && !resume(r, &found))
        return false;
    r->folder.kept = found;
    if (found)
        return true;
    bool own_board = s->board && !s->folds; // the parts of a k-fold share one
    if (own_board && !s->overwrite && !rt_board_is_free(s->board, &r->err))
        return false;
    if (!rt_engine_open_stage(r->engine, 0, &r->err))
        return false;
    r->open_stage = 0;
    RtCheckpointKey key = rt_run_key(r); // its checkpoint says now whether they can be written
    r->folder.kept = s->folder && rt_folder_claim(&r->folder, r->key_model, &r->err) &&
                     rt_checkpoint_save(&r->folder, r->engine, &r->state, &key, &r->err);
    if (s->folder && !spare_folder(r, r->folder.kept))
        return false;
    if (own_board)
        rt_board_drop_parts(s->board);
    return true;
}

bool rt_run_begin(RtRun *r) {
    return rt_run_agree_well(r, rt_ranks_me(r->ranks) > 0 || begin(r)) && rt_run_share_state(r) &&
           rt_run_alloc_batch(r);
}

void rt_run_close(RtRun *r) {
    rt_folds_leave(r);
    rt_run_close_sources(r);
    rt_train_log_close(&r->log);
    rt_board_close(&r->board);
    rt_out_abort(&r->out);
    rt_out_abort(&r->report);
    rt_out_abort(&r->csv);
    rt_out_abort(&r->lr_picture);
    rt_folder_close(&r->folder);
    rt_state_free(&r->state);
    rt_dataset_close(r->data);
    free(r->loss);
    free(r->logits);
    free(r->class_weight);
    free(r->labels);
    free(r->bad_item);
    for (int i = 0; i < RT_BAD_LINES; i++)
        free(r->bad_line[i]);
}

// ---------------------------------------------------------------- the end

static bool export_model(RtRun *r) {
    bool names = !r->d->info->labels && *r->labels; // else they are in the model already
    RtExportMeta meta[] = {{"hone.labels", r->labels}};
    RtErr why;
    if (rt_export_onnx(r->d, r->key_model, rt_engine_buffer(r->engine, RT_ENGINE_P), meta,
                       names ? 1 : 0, &r->out, &why))
        return true;
    return rt_fail(&r->err, "%s%s%s", why.text,
                   r->set->folder ? "; --resume writes it, from the checkpoints in " : "",
                   r->set->folder ? r->set->folder : "");
}

static bool write_report(RtRun *r, uint64_t since_ns, RtErr *err) {
    RtScores scores = {.n = 0};
    if (r->ranks && r->val) // the others are done
        rt_source_share(r->val, &(RtLoaderShare){0});
    bool ok = r->set->folds ? rt_folds_pool(r, &scores, err)
                            : !r->val || rt_evaluate(r->engine, NULL, r->val, r->batch, &scores,
                                                     NULL, NULL, err);
    if (ok) {
        RtTrainResult result = {.set = r->set,
                                .data = r->data,
                                .engine = r->engine,
                                .state = &r->state,
                                .scores = &scores,
                                .seconds = (double)(rt_now() - since_ns) * 1e-9,
                                .bad_images = r->bad_images,
                                .bad_lines = r->bad_line};
        while (result.n_bad_lines < RT_BAD_LINES && r->bad_line[result.n_bad_lines])
            result.n_bad_lines++;
        ok = rt_report_html(&result, &r->report, err);
    }
    rt_scores_free(&scores);
    return ok;
}

// Of what is beside the model as much as can be.
bool rt_run_finish(RtRun *r, uint64_t since_ns) {
    const RtTrainSettings *s = r->set;
    RtErr why;
    bool whole = !s->out || export_model(r);
    if (s->out && whole)
        rt_train_log_line(&r->log, "%s written", s->out);
    if (s->csv)
        rt_beside_check(r, rt_history_csv(&r->state, rt_score_words(r->d), r->val, &r->csv, &why),
                        &why);
    bool told = s->report && write_report(r, since_ns, &why);
    if (told)
        rt_train_log_line(&r->log, "%s written", s->report);
    rt_beside_check(r, told || !s->report, &why);
    return whole;
}
