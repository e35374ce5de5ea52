// Logs and checkpoints of a run, and what becomes of it when they cannot be written. See beside.h.
#include "runtime/train/beside.h"

#include <math.h>
#include <string.h>

#include "runtime/core/text.h"

static void say(RtRun *r, const RtErr *why, const char *what) {
    rt_train_log_clear(&r->log);
    fprintf(stderr, "%s; %s\n", RT_SHOW(why->text), what); // with --quiet, too
}

void rt_beside_check(RtRun *r, bool good, const RtErr *why) {
    if (good)
        return;
    say(r, why, "the run goes on without it");
    r->lost = true;
}

// ---------------------------------------------------------------- logs

void rt_beside_begin(RtRun *r) {
    RtErr why;
    const RtLogPlace at = {r->state.at[RT_AT_STEP], r->state.at[RT_AT_EPOCH], r->fold};
    r->saved_step = at.step;
    rt_beside_check(r, rt_train_log_begin(&r->log, &at, &why), &why);
    rt_beside_check(r, rt_board_begin(&r->board, &r->state, &why), &why);
}

void rt_beside_event(RtRun *r, const char *event, const RtLogField *fields, int n) {
    RtErr why;
    rt_beside_check(r, rt_train_log_event(&r->log, event, fields, n, &why), &why);
}

void rt_beside_step(RtRun *r, double loss, double lr, double norm) {
    RtErr why;
    const RtLogField fields[] = {{"step", (double)r->state.at[RT_AT_STEP], NULL},
                                 {"stage", (double)r->state.at[RT_AT_STAGE], NULL},
                                 {"epoch", (double)r->state.at[RT_AT_EPOCH], NULL},
                                 {"loss", loss, NULL},
                                 {"lr", lr, NULL},
                                 {"grad_norm", norm, NULL},
                                 {"overlapped", rt_gradient_early(r->gradient), NULL}};
    int n = sizeof fields / sizeof *fields;
    rt_beside_event(r, "step", fields, r->ranks ? n : n - 1);
    rt_beside_check(r, rt_board_step(&r->board, &r->state, loss, lr, norm, &why), &why);
}

void rt_beside_epoch(RtRun *r, const RtScores *v, const double *row) {
    const RtScoreWords *w = rt_score_words(r->d);
    RtErr why;
    char keys[3][24];
    snprintf(keys[0], sizeof keys[0], "train_%s", w->train_key);
    snprintf(keys[1], sizeof keys[1], "val_%s", w->first_key);
    snprintf(keys[2], sizeof keys[2], "val_%s", w->second_key);
    const RtLogField fields[] = {{"stage", row[RT_HIST_STAGE], NULL},
                                 {"epoch", row[RT_HIST_EPOCH], NULL},
                                 {"train_loss", row[RT_HIST_TRAIN_LOSS], NULL},
                                 {keys[0], row[RT_HIST_TRAIN_TOP1], NULL},
                                 {"val_loss", r->val ? v->loss : NAN, NULL},
                                 {keys[1], r->val ? v->top1 : NAN, NULL},
                                 {keys[2], r->val ? v->top5 : NAN, NULL},
                                 {"lr", row[RT_HIST_LR], NULL},
                                 {"seconds", row[RT_HIST_SECONDS], NULL},
                                 {"images_per_s", row[RT_HIST_IMAGES_PER_S], NULL},
                                 {"data_wait_s", row[RT_HIST_WAIT_SECONDS], NULL},
                                 {"bad_images", (double)r->bad_images, NULL},
                                 {"not_finite", (double)v->n_not_finite, NULL},
                                 {"fold", r->fold <= r->folds ? r->fold : NAN, NULL}};
    int n = sizeof fields / sizeof *fields - !r->folds;
    rt_beside_event(r, "epoch", fields, n);
    rt_beside_check(r, rt_board_epoch(&r->board, &r->state, w, row, r->val, &why), &why);
}

// ---------------------------------------------------------------- checkpoints

static bool save(RtRun *r, RtErr *why) {
    RtCheckpointKey key = rt_run_key(r);
    if (r->set->folder && !rt_checkpoint_save(&r->folder, r->engine, &r->state, &key, why))
        return false;
    r->saved_step = r->state.at[RT_AT_STEP];
    return true;
}

void rt_beside_save(RtRun *r) {
    RtErr why;
    char what[96];
    bool good = save(r, &why);
    snprintf(what, sizeof what, "that of step %lld stays, and the run goes on",
             (long long)r->saved_step);
    if (!good && !r->unsaved)
        say(r, &why, what);
    else if (good && r->unsaved)
        fprintf(stderr, "checkpoints are written again, as of step %lld\n",
                (long long)r->saved_step);
    r->unsaved = !good;
}

bool rt_beside_save_last(RtRun *r) {
    RtErr why;
    return save(r, &why) || rt_fail(&r->err, "%s; --resume goes on from step %lld", why.text,
                                    (long long)r->saved_step);
}

// ---------------------------------------------------------------- the end

void rt_beside_end(RtRun *r, bool whole) {
    RtErr why;
    rt_beside_check(r, rt_train_log_commit(&r->log, &why), &why);
    rt_beside_check(r, rt_board_commit(&r->board, &why), &why);
    if (whole && r->set->folder)
        rt_beside_check(r, rt_folder_write(&r->folder, &why), &why);
}

bool rt_beside_lost(const RtRun *r) {
    return r->lost || r->unsaved;
}

int rt_beside_say_lost(void) {
    fprintf(stderr, "not all that was asked for could be written, as said above\n");
    return 1;
}
