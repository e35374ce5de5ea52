// What the runs of a k-fold share and leave behind. See folds.h.
#define _GNU_SOURCE
#include "runtime/train/folds.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/core/text.h"
#include "runtime/train/beside.h"
#include "runtime/train/fold_row.h"
#include "runtime/train/options_diff.h"

enum { MAX_FILE = 1 << 28 };

// ---------------------------------------------------------------- what runs share

static RtFoldKey key_of(const RtRun *r) {
    RtFoldKey k;
    memset(&k, 0, sizeof k);
    snprintf(k.model, sizeof k.model, "%s", r->key_model);
    snprintf(k.data, sizeof k.data, "%s", r->data->whole);
    snprintf(k.options, sizeof k.options, "%s", r->key_options);
    return k;
}

static bool check_key(RtRun *r, const RtFoldKey *had) {
    RtFoldKey now = key_of(r);
    char text[600];
    const char *advice = "give the same, or begin anew with --overwrite";
    if (strcmp(had->model, now.model) != 0)
        return rt_fail(&r->err, "parts of the k-fold were measured by another program; %s", advice);
    if (strcmp(had->options, now.options) != 0)
        return rt_fail(&r->err, "parts of the k-fold were measured with other options: %s; %s",
                       rt_options_diff(had->options, now.options, text, sizeof text), advice);
    return strcmp(had->data, now.data) == 0 ||
           rt_fail(&r->err, "parts of the k-fold were measured on other data; %s", advice);
}

bool rt_folds_enter(RtRun *r) {
    RtFolds *f = r->set->folds;
    if (!f)
        return true;
    r->fold = f->part + 1;
    r->folds = f->n;
    if (f->bad_item) {
        free(r->bad_item);
        r->bad_item = f->bad_item;
        r->bad_images = f->bad_images;
        memcpy(r->bad_line, f->bad_line, sizeof r->bad_line);
        f->bad_item = NULL;
    }
    return !*f->key.model || check_key(r, &f->key);
}

void rt_folds_leave(RtRun *r) {
    RtFolds *f = r->set ? r->set->folds : NULL;
    if (!f || f->bad_item) // which this run did not come to take
        return;
    f->bad_item = r->bad_item;
    f->bad_images = r->bad_images;
    memcpy(f->bad_line, r->bad_line, sizeof f->bad_line);
    memset(r->bad_line, 0, sizeof r->bad_line);
    r->bad_item = NULL;
}

RtFeatureCache *rt_folds_find(const RtFolds *f, int s, const char *key) {
    return f->kept[s].cache && strcmp(f->kept[s].key, key) == 0 ? f->kept[s].cache : NULL;
}

void rt_folds_keep(RtFolds *f, int s, const char *key, RtFeatureCache *cache) {
    rt_feature_cache_close(f->kept[s].cache);
    f->kept[s].cache = cache;
    snprintf(f->kept[s].key, sizeof f->kept[s].key, "%s", key);
}

void rt_folds_free(RtFolds *f) {
    for (int s = 0; s < HONE_MAX_STAGES; s++)
        rt_feature_cache_close(f->kept[s].cache);
    for (int i = 0; i < f->n; i++)
        json_decref(f->told[i]);
    free(f->bad_item);
    for (int i = 0; i < RT_BAD_LINES; i++)
        free(f->bad_line[i]);
}

// ---------------------------------------------------------------- scores

static double value_of(const RtFoldScores *row, size_t field) {
    double v;
    memcpy(&v, (const char *)row + field, sizeof v);
    return v;
}

RtFoldMean rt_folds_mean(const RtFolds *f, size_t field) {
    RtFoldMean m = {0};
    for (int i = 0; i < f->n; i++)
        m.mean += value_of(&f->row[i], field) / f->n;
    for (int i = 0; i < f->n; i++)
        m.deviation += pow(value_of(&f->row[i], field) - m.mean, 2) / (f->n - 1);
    m.deviation = sqrt(m.deviation);
    return m;
}

bool rt_folds_lost(const RtRun *r) {
    if (r->set->folds)
        r->set->folds->lost = true;
    return r->set->folds;
}

void rt_folds_begin(RtRun *r) {
    RtFolds *f = r->set->folds;
    if (!f)
        return;
    f->logged = true;
    if (f->part < f->n) {
        rt_train_log_line(&r->log, "fold %d of %d: %lld images to train on, %lld are held out",
                          f->part + 1, f->n, (long long)r->data->n_train,
                          (long long)r->data->n_val);
        return;
    }
    RtFoldMean top1 = rt_folds_mean(f, offsetof(RtFoldScores, top1));
    RtFoldMean loss = rt_folds_mean(f, offsetof(RtFoldScores, loss));
    const RtLogField fields[] = {{"folds", f->n, NULL},
                                 {"top1", top1.mean, NULL},
                                 {"top1_deviation", top1.deviation, NULL},
                                 {"loss", loss.mean, NULL},
                                 {"loss_deviation", loss.deviation, NULL}};
    rt_train_log_line(&r->log, "%d folds: %s %.2f%%, standard deviation %.2f%%; loss %.4f, %.4f",
                      f->n, rt_score_words(r->d)->first, top1.mean * 100, top1.deviation * 100,
                      loss.mean, loss.deviation);
    rt_train_log_line(&r->log,
                      "the model is trained on all %lld images as each fold was; its last epoch "
                      "counts, as theirs did",
                      (long long)r->data->n_train);
    if (r->state.at[RT_AT_STEP] == 0 && r->state.at[RT_AT_EPOCH] == 0) // else it is in the log
        rt_beside_event(r, "folds", fields, sizeof fields / sizeof *fields);
}

bool rt_folds_record(RtRun *r, const RtScores *s) {
    RtFolds *f = r->set->folds;
    RtFoldScores *row = &f->row[f->part];
    if (s->n == 0 || !isfinite(s->loss))
        return rt_fail(&r->err, "fold %d of %d: no image that was held out has a finite output",
                       f->part + 1, f->n);
    f->told[f->part] = rt_fold_row_make(s, f->part, r->data->place);
    if (!f->told[f->part])
        return rt_fail(&r->err, "no memory");
    *row = (RtFoldScores){s->n, s->loss, s->top1, s->top5};
    f->key = key_of(r);
    const RtLogField fields[] = {{"fold", f->part + 1, NULL},
                                 {"images", (double)row->images, NULL},
                                 {"loss", row->loss, NULL},
                                 {"top1", row->top1, NULL},
                                 {"top5", row->top5, NULL}};
    rt_train_log_line(&r->log, "fold %d of %d: %s %.2f%%, loss %.4f", f->part + 1, f->n,
                      rt_score_words(r->d)->first, row->top1 * 100, row->loss);
    rt_beside_event(r, "fold", fields, sizeof fields / sizeof *fields);
    return true;
}

bool rt_folds_pool(const RtRun *r, RtScores *all, RtErr *err) {
    const RtFolds *f = r->set->folds;
    bool good = true, map = r->d->map_height > 0;
    rt_scores_begin(all, r->d);
    for (int i = 0; good && i < f->n; i++)
        good = rt_fold_row_add(f->told[i], map, all, r->data->n_train);
    double n = (double)(map ? all->places : all->n);
    all->loss /= n > 0 ? n : 1;
    all->top1 = map ? rt_scores_mean_iou(all) : all->top1 / (n > 0 ? n : 1);
    all->top5 /= n > 0 ? n : 1;
    return good || rt_fail(err, "%s/" RT_FOLDS_FILE ": damaged; --overwrite begins anew",
                           r->set->folder ? r->set->folder : "");
}

// ---------------------------------------------------------------- the file

static char *path_of(const char *folder, RtErr *err) {
    char *path = NULL;
    if (asprintf(&path, "%s/" RT_FOLDS_FILE, folder) >= 0)
        return path;
    rt_fail(err, "%s: no memory", folder);
    return NULL;
}

static bool take_row(json_t *row, RtFolds *f) {
    json_int_t part, images;
    RtFoldScores s;
    if (json_unpack(row, "{s:I,s:I,s:F,s:F,s:F}", "fold", &part, "images", &images, "loss", &s.loss,
                    "top1", &s.top1, "top5", &s.top5) != 0 ||
        part < 1 || part > f->n || images < 1 || f->told[part - 1])
        return false;
    s.images = images;
    f->row[part - 1] = s;
    f->told[part - 1] = json_incref(row);
    return true;
}

// Rows of another number of parts are left where they are: their key tells that.
static bool take_all(json_t *all, RtFolds *f) {
    const char *model, *data, *options;
    json_t *rows, *row;
    int n;
    size_t i;
    if (json_unpack(all, "{s:i,s:s,s:s,s:s,s:o}", "folds", &n, "model", &model, "data", &data,
                    "options", &options, "rows", &rows) != 0)
        return false;
    snprintf(f->key.model, sizeof f->key.model, "%s", model);
    snprintf(f->key.data, sizeof f->key.data, "%s", data);
    snprintf(f->key.options, sizeof f->key.options, "%s", options);
    json_array_foreach(rows, i, row) {
        if (n == f->n && !take_row(row, f))
            return false;
    }
    return *model != 0;
}

bool rt_folds_read(RtFolds *f, const char *folder, RtErr *err) {
    size_t size;
    char *path = path_of(folder, err);
    if (!path || access(path, F_OK) != 0) {
        free(path);
        return path != NULL;
    }
    char *text = (char *)rt_file_load(path, MAX_FILE, &size, err);
    json_t *all = text ? json_loadb(text, size, 0, NULL) : NULL;
    bool good = text && ((all && take_all(all, f)) ||
                         rt_fail(err, "%s: damaged; --overwrite begins anew", path));
    json_decref(all);
    free(text);
    free(path);
    return good;
}

bool rt_folds_write(const RtFolds *f, const char *folder, RtErr *err) {
    RtOutFile out = {0};
    char *path = path_of(folder, err);
    bool ok = path && rt_out_open(&out, NULL, path, RT_OUT_WHOLE, err) && rt_out_begin(&out, err);
    free(path);
    if (!ok) {
        rt_out_abort(&out);
        return false;
    }
    json_t *rows = json_array();
    for (int i = 0; i < f->n; i++)
        if (f->told[i])
            json_array_append(rows, f->told[i]);
    json_t *all = json_pack("{s:i,s:s,s:s,s:s,s:o}", "folds", f->n, "model", f->key.model, "data",
                            f->key.data, "options", f->key.options, "rows", rows);
    ok = all && json_dumpf(all, out.f, 0) == 0;
    json_decref(all);
    if (!ok) {
        rt_fail(err, "%s: cannot be written", out.path);
        rt_out_abort(&out);
        return false;
    }
    fputc('\n', out.f);
    return rt_out_commit(&out, err);
}
