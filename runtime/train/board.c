// One file of events in a folder of its own, which a run that is resumed goes on with: steps that
// it takes once more are cut off first, so that none is there twice. See board.h.
#define _GNU_SOURCE
#include "runtime/train/board.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/file/events.h"

#define EVENTS "events.out.tfevents.hone"

static const char first_of_epoch[] = "loss/train"; // of the scalars of an epoch's end

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Are there events in such a part's folder? drop: they go, and so does the folder if it then is
// empty.
static bool find_part(const char *folder, const char *part, bool drop) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s/" EVENTS, folder, part) >= (int)sizeof path ||
        access(path, F_OK) != 0)
        return false;
    if (drop && unlink(path) == 0) {
        *strrchr(path, '/') = 0;
        rmdir(path);
    }
    return true;
}

static bool find_parts(const char *folder, bool drop) {
    DIR *dir = opendir(folder);
    bool any = false;
    for (struct dirent *e; dir && (e = readdir(dir));)
        any |= fnmatch(RT_FOLD_FOLDERS, e->d_name, 0) == 0 && find_part(folder, e->d_name, drop);
    if (dir)
        closedir(dir);
    return any;
}

bool rt_board_is_free(const char *folder, RtErr *err) {
    return (!find_part(folder, ".", false) && !find_parts(folder, false)) ||
           rt_fail(err,
                   "%s: holds an earlier run's events; --overwrite begins anew over them, "
                   "--log-tensorboard FOLDER elsewhere",
                   folder);
}

void rt_board_drop_parts(const char *folder) {
    find_parts(folder, true);
}

bool rt_board_open(RtBoard *b, RtOuts *outs, const char *folder, bool resume, RtErr *err) {
    char *path = NULL;
    b->made = mkdir(folder, 0777) == 0;
    if (!b->made && errno != EEXIST)
        return rt_fail(err, "%s: cannot be made: %s", folder, strerror(errno));
    b->folder = strdup(folder);
    if (!b->folder || asprintf(&path, "%s/" EVENTS, folder) < 0)
        return rt_fail(err, "no memory");
    b->wanted = rt_out_open(&b->file, outs, path, resume ? RT_OUT_APPEND : RT_OUT_LOG, err);
    free(path);
    return b->wanted;
}

// An epoch that is not over yet is validated once more.
static bool is_before(void *ctx, int64_t step, const char *tag) {
    const RtTrainState *s = ctx;
    bool ends_epoch = strcmp(tag, first_of_epoch) == 0;
    return step < s->at[RT_AT_STEP] ||
           (step == s->at[RT_AT_STEP] && !(ends_epoch && s->at[RT_AT_BATCH] > 0));
}

static bool flush(RtBoard *b, RtErr *err) {
    return b->wanted = rt_out_flush(&b->file, err);
}

bool rt_board_begin(RtBoard *b, const RtTrainState *s, RtErr *err) {
    bool empty = true, wanted = b->wanted;
    if (!wanted)
        return true;
    b->wanted = false; // unless all goes well
    if (b->file.kind == RT_OUT_APPEND && b->file.target &&
        !rt_events_cut(b->file.target, is_before, (void *)s, &empty, err))
        return false;
    if (!rt_out_begin(&b->file, err))
        return false;
    b->made = false;
    if (empty)
        rt_events_begin(b->file.f, now());
    return flush(b, err);
}

bool rt_board_step(RtBoard *b, const RtTrainState *s, double loss, double lr, double norm,
                   RtErr *err) {
    const RtScalar scalars[] = {{"step/loss", loss}, {"step/lr", lr}, {"step/grad_norm", norm}};
    if (!b->wanted)
        return true;
    rt_events_put(b->file.f, now(), s->at[RT_AT_STEP], scalars, sizeof scalars / sizeof *scalars);
    return flush(b, err);
}

bool rt_board_epoch(RtBoard *b, const RtTrainState *s, const RtScoreWords *w, const double *row,
                    bool val, RtErr *err) {
    char train[32], first[32], second[32];
    snprintf(train, sizeof train, "%s/train", w->train_key);
    snprintf(first, sizeof first, "%s/val", w->first_key);
    snprintf(second, sizeof second, "%s/val", w->second_key);
    const RtScalar scalars[] = {{first_of_epoch, row[RT_HIST_TRAIN_LOSS]},
                                {"loss/val", val ? row[RT_HIST_VAL_LOSS] : NAN},
                                {train, row[RT_HIST_TRAIN_TOP1]},
                                {first, val ? row[RT_HIST_VAL_TOP1] : NAN},
                                {second, val ? row[RT_HIST_VAL_TOP5] : NAN},
                                {"epoch/lr", row[RT_HIST_LR]},
                                {"epoch/images_per_s", row[RT_HIST_IMAGES_PER_S]}};
    if (!b->wanted)
        return true;
    rt_events_put(b->file.f, now(), s->at[RT_AT_STEP], scalars, sizeof scalars / sizeof *scalars);
    return flush(b, err);
}

bool rt_board_commit(RtBoard *b, RtErr *err) {
    bool ok = !b->wanted || rt_out_commit(&b->file, err);
    b->wanted = false;
    return ok;
}

void rt_board_close(RtBoard *b) {
    rt_out_abort(&b->file);
    if (b->made)
        rmdir(b->folder);
    free(b->folder);
    *b = (RtBoard){0};
}
