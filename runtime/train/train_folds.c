// The runs of a k-fold, one after the other: each part's scores are written down when its run is
// over, and then its folder of checkpoints goes. So a run that is killed goes on in the part where
// it was, and what stays at the end is the folder of the last run, with the scores beside it.
#define _GNU_SOURCE
#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/core/text.h"
#include "runtime/train/beside.h"
#include "runtime/train/folds.h"

static int run_one(const HoneTrainDesc *d, const RtTrainSettings *set) {
    RtErr err;
    RtEngine *t = rt_engine_open(d, set->threads, &err);
    int code = t ? rt_train(t, set) : 1;
    if (!t)
        fprintf(stderr, "%s\n", RT_SHOW(err.text));
    rt_engine_close(t);
    return code;
}

// ---------------------------------------------------------------- folders

static bool part_folder(const char *folder, int part, char **path, RtErr *err) {
    *path = NULL;
    if (!folder || asprintf(path, "%s/fold-%d", folder, part + 1) >= 0)
        return true;
    *path = NULL;
    return rt_fail(err, "no memory");
}

// With what a run keeps in it, and nothing else.
static void remove_folder(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        for (int i = 0; rt_folder_files[i]; i++)
            if (fnmatch(rt_folder_files[i], e->d_name, 0) == 0)
                unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(path);
}

// Parts that were begun, and scores: true if there are any. remove: they go.
static bool find_parts(const char *folder, bool remove) {
    DIR *dir = opendir(folder);
    bool any = false;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *path = NULL;
        bool part = fnmatch(RT_FOLD_FOLDERS, e->d_name, 0) == 0;
        if (!part && strcmp(e->d_name, RT_FOLDS_FILE) != 0)
            continue;
        any = true;
        if (remove && asprintf(&path, "%s/%s", folder, e->d_name) >= 0) {
            if (part)
                remove_folder(path);
            else
                unlink(path);
        }
        free(path);
    }
    if (dir)
        closedir(dir);
    return any;
}

// The folder of all of it is ours, and what is known of it.
static bool open_folder(RtFolds *f, RtFolder *folder, const RtTrainSettings *set, RtErr *err) {
    if (!set->folder)
        return true;
    if (!rt_folder_open(folder, set->folder, err))
        return false;
    if (set->resume)
        return rt_folds_read(f, set->folder, err);
    if (!set->overwrite && (rt_checkpoint_any(set->folder) || find_parts(set->folder, false)))
        return rt_fail(
            err,
            "%s: holds a run; --resume goes on with it, --overwrite begins anew over it, "
            "--checkpoint FOLDER elsewhere",
            set->folder);
    find_parts(set->folder, true);
    return true;
}

static bool take_board(const RtTrainSettings *set, RtErr *err) {
    if (!set->board || set->resume)
        return true;
    if (!set->overwrite && !rt_board_is_free(set->board, err))
        return false;
    rt_board_drop_parts(set->board);
    return true;
}

// ---------------------------------------------------------------- runs

// Of one part, whose scores are known then; or stopped, by --max-steps.
static int run_part(RtFolds *f, int part, const HoneTrainDesc *d, const RtTrainSettings *set) {
    RtTrainSettings s = *set;
    RtErr err;
    char *folder, *board = NULL;
    int code = 1;
    f->part = part;
    s.folds = f;
    s.out = s.report = s.csv = NULL;
    bool ok = part_folder(set->folder, part, &folder, &err) &&
              part_folder(set->board, part, &board, &err);
    s.folder = folder;
    s.board = board;
    if (ok)
        code = run_one(d, &s);
    if (code == 0 && folder && f->row[part].images) {
        if (rt_folds_write(f, set->folder, &err)) {
            remove_folder(folder);
        } else {
            fprintf(stderr, "%s; the k-fold goes on without it\n", RT_SHOW(err.text));
            f->lost = true;
        }
    }
    if (!ok)
        fprintf(stderr, "%s\n", RT_SHOW(err.text));
    free(folder);
    free(board);
    return ok ? code : 1;
}

// *all: every one of them is known.
static int run_parts(RtFolds *f, const HoneTrainDesc *d, const RtTrainSettings *set, bool *all) {
    int code = 0;
    *all = false;
    if (set->board)
        mkdir(set->board, 0777); // or it is there; what is wrong with it, a part's own tells
    for (int part = 0; part < f->n && code == 0; part++) {
        if (f->row[part].images)
            continue;
        code = run_part(f, part, d, set);
        if (code == 0 && f->row[part].images == 0 && !set->quiet)
            fprintf(stderr, "fold %d of %d ended with --max-steps; without it --resume goes on\n",
                    part + 1, f->n);
        if (f->row[part].images == 0)
            return code;
    }
    *all = code == 0;
    return code;
}

static int run_last(RtFolds *f, const HoneTrainDesc *d, const RtTrainSettings *set) {
    RtTrainSettings s = *set;
    f->part = f->n;
    s.folds = f;
    s.val_fraction = 0;
    return run_one(d, &s);
}

static bool is_alone(RtErr *err) {
    RtRanks *ranks;
    bool alone = rt_ranks_open(&ranks, err) &&
                 (!ranks || rt_fail(err, "NYI: --k-fold on several processes; one does that"));
    rt_ranks_close(ranks, false);
    return alone;
}

int rt_train_folds(const HoneTrainDesc *d, const RtTrainSettings *set) {
    RtErr err;
    if (!set->k_fold)
        return run_one(d, set);
    RtFolds *f = calloc(1, sizeof *f);
    RtFolder folder = {.lock = -1};
    bool all = false, ok = f || rt_fail(&err, "no memory");
    if (ok) {
        f->n = set->k_fold;
        ok = is_alone(&err) && rt_run_try_outputs(d, set, &err) &&
             open_folder(f, &folder, set, &err) && take_board(set, &err);
    }
    if (!ok)
        fprintf(stderr, "%s\n", RT_SHOW(err.text));
    int code = ok ? run_parts(f, d, set, &all) : 1;
    folder.kept = folder.path && find_parts(folder.path, false);
    rt_folder_close(&folder); // the last run opens it
    if (all)
        code = run_last(f, d, set);
    if (code == 0 && f && f->lost)
        code = rt_beside_say_lost();
    if (f)
        rt_folds_free(f);
    free(f);
    return code;
}
