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
#include "runtime/train/together.h"

typedef struct Runs {
    const HoneTrainDesc *d;
    RtTrainSettings set;
    bool well; // no error ended the last one
} Runs;

static int complain(const RtRanks *ranks, const RtErr *err) {
    if (!err->text[0])
        return 1;
    if (ranks)
        fprintf(stderr, "rank %d: ", rt_ranks_me(ranks));
    fprintf(stderr, "%s\n", RT_SHOW(err->text));
    return 1;
}

static int run_one(Runs *x, const RtTrainSettings *set) {
    RtErr err;
    x->well = false;
    RtEngine *t = rt_engine_open(x->d, set->threads, &err);
    int code = t ? rt_train(t, set, &x->well) : complain(set->ranks, &err);
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
static int run_part(RtFolds *f, int part, Runs *x) {
    const RtTrainSettings *set = &x->set;
    RtTrainSettings s = *set;
    RtErr err;
    char *folder, *board = NULL;
    int code = 1;
    f->part = part;
    s.folds = f;
    s.out = s.report = s.csv = NULL;
    x->well = part_folder(set->folder, part, &folder, &err) &&
              part_folder(set->board, part, &board, &err);
    s.folder = folder;
    s.board = board;
    code = x->well ? run_one(x, &s) : complain(set->ranks, &err);
    if (code == 0 && folder && f->row[part].images) {
        if (rt_folds_write(f, set->folder, &err)) {
            remove_folder(folder);
        } else {
            fprintf(stderr, "%s; the k-fold goes on without it\n", RT_SHOW(err.text));
            f->lost = true;
        }
    }
    free(folder);
    free(board);
    return code;
}

// *all: every one of them is known.
static int run_parts(RtFolds *f, Runs *x, bool *all) {
    int code = 0;
    *all = false;
    if (x->set.board)
        mkdir(x->set.board, 0777); // or it is there; what is wrong with it, a part's own tells
    for (int part = 0; part < f->n && code == 0; part++) {
        if (f->row[part].images)
            continue;
        code = run_part(f, part, x);
        if (code == 0 && f->row[part].images == 0 && !x->set.quiet)
            fprintf(stderr, "fold %d of %d ended with --max-steps; without it --resume goes on\n",
                    part + 1, f->n);
        if (f->row[part].images == 0)
            return code;
    }
    *all = code == 0;
    return code;
}

static int run_last(RtFolds *f, Runs *x) {
    RtTrainSettings s = x->set;
    f->part = f->n;
    s.folds = f;
    s.val_fraction = 0;
    return run_one(x, &s);
}

// What is known already, which rank 0 has read.
static bool share_known(RtFolds *f, RtRanks *ranks, RtErr *err) {
    return !ranks || (rt_ranks_share(ranks, f->row, sizeof f->row, err) &&
                      rt_ranks_share(ranks, &f->key, sizeof f->key, err));
}

static int run_folds(Runs *x) {
    const RtTrainSettings *set = &x->set;
    RtFolds f = {.n = set->k_fold};
    RtFolder folder = {.lock = -1};
    RtErr err;
    bool all = false;
    x->well = rt_run_try_outputs(x->d, set, &err) && open_folder(&f, &folder, set, &err) &&
              take_board(set, &err) && share_known(&f, set->ranks, &err);
    int code = x->well ? run_parts(&f, x, &all) : complain(set->ranks, &err);
    folder.kept = folder.path && find_parts(folder.path, false);
    rt_folder_close(&folder); // the last run opens it
    if (all)
        code = run_last(&f, x);
    rt_folds_free(&f);
    return code == 0 && f.lost ? rt_beside_say_lost() : code;
}

int rt_train_folds(const HoneTrainDesc *d, const RtTrainSettings *set) {
    Runs x = {.d = d, .set = *set};
    RtErr err;
    if (!rt_ranks_open(&x.set.ranks, &err)) {
        complain(NULL, &err);
        rt_ranks_linger();
        return 1;
    }
    rt_together_take_rank(&x.set);
    int code = set->k_fold ? run_folds(&x) : run_one(&x, &x.set);
    if (!x.well)
        rt_ranks_linger();
    rt_ranks_close(x.set.ranks, x.well);
    return code;
}
