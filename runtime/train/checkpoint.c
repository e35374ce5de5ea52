// Checkpoints: which tensors, which file, which one is the newest. See checkpoint.h.
#define _GNU_SOURCE
#include "runtime/train/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/file/safetensors.h"
#include "runtime/train/options_diff.h"

enum { MAX_FILES = 4096 };

bool rt_state_init(RtTrainState *s, int64_t param_floats, bool averages, RtErr *err) {
    size_t bytes = (size_t)(param_floats ? param_floats : 1) * sizeof(float);
    *s = (RtTrainState){0};
    s->at[RT_BEST_EPOCH] = -1;
    s->best = rt_alloc_aligned(bytes);
    s->average = averages ? rt_alloc_aligned(bytes) : NULL;
    if (!s->best || (averages && !s->average))
        return rt_fail(err, "no memory for %lld parameters", (long long)param_floats);
    memset(s->best, 0, bytes);
    if (s->average)
        memset(s->average, 0, bytes);
    return true;
}

void rt_state_free(RtTrainState *s) {
    free(s->history);
    free(s->best);
    free(s->average);
    *s = (RtTrainState){0};
}

double *rt_state_add_history(RtTrainState *s) {
    if (s->n_history == s->cap_history) {
        int64_t cap = s->cap_history ? 2 * s->cap_history : 16;
        double *grown = realloc(s->history, (size_t)cap * RT_HIST_COLUMNS * sizeof *grown);
        if (!grown)
            return NULL;
        s->history = grown;
        s->cap_history = cap;
    }
    double *row = s->history + s->n_history++ * RT_HIST_COLUMNS;
    memset(row, 0, RT_HIST_COLUMNS * sizeof *row);
    return row;
}

// ---------------------------------------------------------------- contents

typedef struct Contents { // the list of tensors of a checkpoint
    RtNamedTensor *t;
    int n;
    char *names; // of the parameters' tensors, one after the other
} Contents;

static const char *const prefixes[] = {"param/", "best/", "moment1/", "moment2/", "average/"};
enum { N_PREFIXES = sizeof prefixes / sizeof *prefixes, N_FIXED = 4 };

static void free_contents(Contents *c) {
    free(c->t);
    free(c->names);
}

// Position, sums and history first: their elements have 8 bytes.
static bool list_contents(Contents *c, RtEngine *t, const RtTrainState *s, RtErr *err) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    size_t room = 1;
    for (int i = 0; i < d->n_params; i++)
        room += N_PREFIXES * (strlen(d->params[i].name) + 16);
    *c = (Contents){.t = calloc((size_t)d->n_params * N_PREFIXES + N_FIXED, sizeof *c->t),
                    .names = malloc(room)};
    if (!c->t || !c->names) {
        free_contents(c);
        return rt_fail(err, "no memory");
    }
    c->t[0] = (RtNamedTensor){"position", HONE_I64, 1, {RT_N_AT}, s->at};
    c->t[1] = (RtNamedTensor){"sums", HONE_F64, 1, {RT_N_SUMS}, s->sum};
    c->t[2] = (RtNamedTensor){
        "history", HONE_F64, 2, {s->n_history, RT_HIST_COLUMNS}, s->history ? s->history : s->sum};
    c->t[3] = (RtNamedTensor){"ridges", HONE_F64, 2, {RT_SOLVE_PATH, RT_RIDGE_COLUMNS}, s->ridge};
    c->n = N_FIXED;
    const float *from[N_PREFIXES] = {rt_engine_buffer(t, RT_ENGINE_P), s->best,
                                     rt_engine_buffer(t, RT_ENGINE_M),
                                     rt_engine_buffer(t, RT_ENGINE_V), s->average};
    char *name = c->names;
    for (int k = 0; k < N_PREFIXES; k++)
        for (int i = 0; from[k] && i < d->n_params; i++) {
            const HoneParam *p = &d->params[i];
            RtNamedTensor *to = &c->t[c->n++];
            *to = (RtNamedTensor){name, HONE_F32, p->rank, {0}, from[k] + p->offset};
            memcpy(to->dim, p->dim, sizeof to->dim);
            name += sprintf(name, "%s%s", prefixes[k], p->name) + 1;
        }
    return true;
}

// ---------------------------------------------------------------- files

static bool is_checkpoint(const char *name) {
    size_t n = strlen(name), suffix = strlen(".safetensors");
    return strncmp(name, "step-", 5) == 0 && n > suffix &&
           strcmp(name + n - suffix, ".safetensors") == 0;
}

typedef struct Found {
    char *path;
    int64_t step; // inside; -1: damaged
    char run[RT_RUN_ID];
} Found;

static int by_step(const void *a, const void *b) {
    int64_t x = ((const Found *)a)->step, y = ((const Found *)b)->step;
    return (x < y) - (x > y); // the newest first
}

// Fills step and run in from what the file holds.
static void look_inside(Found *f, RtErr *err) {
    RtSafetensors *s = rt_safetensors_open(f->path, err);
    const char *step = s ? rt_safetensors_meta(s, "step") : NULL;
    const char *run = s ? rt_safetensors_meta(s, "run") : NULL;
    f->step = step ? strtoll(step, NULL, 10) : -1;
    snprintf(f->run, sizeof f->run, "%s", run ? run : "");
    rt_safetensors_close(s);
}

// The folder's checkpoints, newest first, damaged ones last. Returns their number; -1 with err
// set. A folder that does not exist holds none.
static int list_files(const char *folder, Found **list, void (*say)(void *, const char *),
                      void *ctx, RtErr *err) {
    int n = 0;
    *list = NULL;
    DIR *dir = opendir(folder);
    if (!dir) {
        if (errno == ENOENT)
            return 0;
        rt_fail(err, "%s: %s", folder, strerror(errno));
        return -1;
    }
    Found *found = calloc(MAX_FILES, sizeof *found);
    for (struct dirent *e; found && n < MAX_FILES && (e = readdir(dir));) {
        RtErr why;
        if (!is_checkpoint(e->d_name) || asprintf(&found[n].path, "%s/%s", folder, e->d_name) < 0)
            continue;
        look_inside(&found[n], &why);
        if (found[n].step < 0 && say)
            say(ctx, why.text);
        n++;
    }
    closedir(dir);
    if (!found) {
        rt_fail(err, "no memory");
        return -1;
    }
    qsort(found, (size_t)n, sizeof *found, by_step);
    *list = found;
    return n;
}

static void free_files(Found *list, int n) {
    for (int i = 0; i < n; i++)
        free(list[i].path);
    free(list);
}

bool rt_checkpoint_any(const char *folder) {
    DIR *dir = opendir(folder);
    bool any = false;
    for (struct dirent *e; dir && !any && (e = readdir(dir));)
        any = is_checkpoint(e->d_name);
    if (dir)
        closedir(dir);
    return any;
}

// By name alone: files are named after their step, and reading each one at every save is slow. Of
// other runs there is only the one that this one was begun over: its steps are later ones.
static void remove_old(const char *folder, const char *newest) {
    struct dirent **e;
    int n = scandir(folder, &e, NULL, alphasort), kept = 0;
    for (int i = n - 1; i >= 0; i--) {
        char *path = NULL;
        int order = strcmp(e[i]->d_name, newest);
        bool old = is_checkpoint(e[i]->d_name) && (order > 0 || ++kept > RT_CHECKPOINTS_KEPT);
        if (old && asprintf(&path, "%s/%s", folder, e[i]->d_name) >= 0)
            unlink(path);
        free(path);
        free(e[i]);
    }
    if (n >= 0)
        free(e);
}

bool rt_checkpoint_save(const RtFolder *folder, RtEngine *t, const RtTrainState *s,
                        const RtCheckpointKey *key, RtErr *err) {
    Contents c;
    char step[32], format[16], name[64], *path = NULL;
    snprintf(step, sizeof step, "%lld", (long long)s->at[RT_AT_STEP]);
    snprintf(format, sizeof format, "%d", RT_CHECKPOINT_FORMAT);
    snprintf(name, sizeof name, "step-%010lld.safetensors", (long long)s->at[RT_AT_STEP]);
    const RtMeta meta[] = {{"format", format},     {"run", folder->run}, {"step", step},
                           {"model", key->model},  {"data", key->data},  {"options", key->options},
                           {"labels", key->labels}};
    if (!list_contents(&c, t, s, err))
        return false;
    bool ok = asprintf(&path, "%s/%s", folder->path, name) >= 0;
    if (!ok)
        path = NULL;
    ok = ok ? rt_safetensors_write(path, meta, sizeof meta / sizeof *meta, c.t, c.n, err)
            : rt_fail(err, "no memory");
    if (ok)
        remove_old(folder->path, name);
    free(path);
    free_contents(&c);
    return ok;
}

// ---------------------------------------------------------------- reading

// What to do then: of who would write into the folder, and of who only reads it.
static const char go_on[] =
    "give the same, or begin anew with --overwrite or in another --checkpoint FOLDER";
static const char read_on[] = "name the folder of its own run with --checkpoint";

static bool check_one(const RtSafetensors *f, const char *path, const char *meta, const char *now,
                      const char *what, const char *advice, RtErr *err) {
    const char *had = rt_safetensors_meta(f, meta);
    if (had && strcmp(had, now) == 0)
        return true;
    return rt_fail(err, "%s: made with %s (%s; now %s); %s", path, what, had ? had : "none", now,
                   advice);
}

static bool check_format(const RtSafetensors *f, const char *path, const char *advice, RtErr *err) {
    char format[16];
    snprintf(format, sizeof format, "%d", RT_CHECKPOINT_FORMAT);
    return check_one(f, path, "format", format, "another format", advice, err);
}

static bool check_options(const RtSafetensors *f, const char *path, const char *now, RtErr *err) {
    const char *had = rt_safetensors_meta(f, "options");
    char text[600];
    return (had && strcmp(had, now) == 0) ||
           rt_fail(err, "%s: made with other options: %s; %s", path,
                   rt_options_diff(had ? had : "", now, text, sizeof text), go_on);
}

static bool check_key(const RtSafetensors *f, const char *path, const RtCheckpointKey *key,
                      RtErr *err) {
    return check_format(f, path, go_on, err) &&
           check_one(f, path, "model", key->model, "another program", go_on, err) &&
           check_options(f, path, key->options, err) && // before the data, which a seed splits
           check_one(f, path, "data", key->data, "other data, --val or --val-fraction", go_on, err);
}

static bool take(const RtSafetensors *f, RtNamedTensor like, void *to, size_t bytes, RtErr *err) {
    const void *data = rt_safetensors_get(f, &like, err);
    if (data)
        memcpy(to, data, bytes);
    return data != NULL;
}

static bool take_history(const RtSafetensors *f, RtTrainState *s, RtErr *err) {
    RtNamedTensor like = {"history", HONE_F64, 2, {-1, RT_HIST_COLUMNS}, NULL};
    const double *rows = rt_safetensors_get(f, &like, err);
    if (!rows)
        return false;
    s->n_history = 0;
    for (int64_t i = 0; i < like.dim[0]; i++) {
        double *row = rt_state_add_history(s);
        if (!row)
            return rt_fail(err, "no memory");
        memcpy(row, rows + i * RT_HIST_COLUMNS, RT_HIST_COLUMNS * sizeof *row);
    }
    return true;
}

// By name and shape; what no stage trains must be what the program brought.
static bool take_params(const RtSafetensors *f, const char *path, RtEngine *t, RtTrainState *s,
                        RtErr *err) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    Contents c;
    if (!list_contents(&c, t, s, err))
        return false;
    bool ok = rt_safetensors_count(f) == c.n || rt_fail(err, "%s: %d tensors, this program has %d",
                                                        path, rt_safetensors_count(f), c.n);
    for (int i = N_FIXED; ok && i < c.n; i++) {
        const HoneParam *p = &d->params[(i - N_FIXED) % d->n_params];
        size_t bytes = (size_t)p->count * sizeof(float);
        ok = take(f, c.t[i], (void *)c.t[i].data, bytes, err);
        if (ok && i < N_FIXED + d->n_params && !p->trains &&
            memcmp(c.t[i].data, p->initial, bytes) != 0)
            ok = rt_fail(err, "%s: '%s' is not this network's, though nothing trains it", path,
                         p->name);
    }
    free_contents(&c);
    return ok;
}

// Whether a run can stand there, as far as is known without its data: how many batches an epoch
// has, whoever reads the data says.
static bool is_position(const RtTrainState *s, int stages) {
    const int64_t *at = s->at, most = INT64_C(1) << 53;
    bool good = at[RT_AT_STAGE] < stages && at[RT_BEST_STAGE] < stages &&
                at[RT_AT_STAGE_EPOCH] <= at[RT_AT_EPOCH] &&
                at[RT_AT_CYCLE_EPOCH] <= at[RT_AT_STAGE_EPOCH] &&
                at[RT_AT_CYCLE_STEP] <= at[RT_AT_STAGE_STEP] &&
                at[RT_AT_STAGE_STEP] <= at[RT_AT_STEP] && at[RT_BEST_EPOCH] <= at[RT_AT_EPOCH] &&
                s->n_history == at[RT_AT_EPOCH];
    for (int i = 0; i < RT_N_AT; i++)
        good &= at[i] >= -(i == RT_BEST_EPOCH) && at[i] < most;
    return good;
}

static bool take_state(const RtSafetensors *f, const char *path, RtEngine *t, RtTrainState *s,
                       RtErr *err) {
    RtNamedTensor at = {"position", HONE_I64, 1, {RT_N_AT}, NULL};
    RtNamedTensor sums = {"sums", HONE_F64, 1, {RT_N_SUMS}, NULL};
    RtNamedTensor ridges = {"ridges", HONE_F64, 2, {RT_SOLVE_PATH, RT_RIDGE_COLUMNS}, NULL};
    if (!take(f, at, s->at, sizeof s->at, err) || !take(f, sums, s->sum, sizeof s->sum, err) ||
        !take(f, ridges, s->ridge, sizeof s->ridge, err) || !take_history(f, s, err))
        return false;
    int stages = rt_engine_desc(t)->n_stages;
    return (is_position(s, stages) || rt_fail(err, "%s: damaged: its position is none", path)) &&
           rt_engine_open_stage(t, (int)s->at[RT_AT_STAGE], err) && take_params(f, path, t, s, err);
}

// The newest whole checkpoint of the folder's run. A run that was killed before its first leaves
// the one that it was begun over. NULL with err set: there is none, or one of yet another run.
static const Found *find_newest(const RtFolder *folder, const Found *list, int n, RtErr *err) {
    const char *ids[] = {folder->run, folder->replaces};
    const Found *newest = NULL;
    if (n == 0 || list[0].step < 0) {
        rt_fail(err, "%s: no checkpoint in it is whole", folder->path);
        return NULL;
    }
    for (int k = 0; k < 2 && !newest; k++)
        for (int i = 0; i < n && list[i].step >= 0 && !newest; i++)
            if (*ids[k] && strcmp(list[i].run, ids[k]) == 0)
                newest = &list[i];
    if (!*folder->run) // run.json is gone
        newest = &list[0];
    for (int i = 0; i < n && list[i].step >= 0; i++)
        if (!newest ||
            (strcmp(list[i].run, newest->run) != 0 && strcmp(list[i].run, folder->replaces) != 0)) {
            rt_fail(err, "%s: is of the run %s, its folder of the run %s", list[i].path,
                    list[i].run, newest ? newest->run : folder->run);
            return NULL;
        }
    return newest;
}

// The folder's run is the one that goes on; what is left of another goes.
static bool settle(RtFolder *folder, const char *run, const Found *list, int n, RtErr *err) {
    for (int i = 0; i < n; i++)
        if (list[i].step >= 0 && strcmp(list[i].run, run) != 0)
            unlink(list[i].path);
    if (strcmp(folder->run, run) == 0)
        return true;
    memcpy(folder->run, run, sizeof folder->run);
    folder->replaces[0] = 0;
    return rt_folder_write(folder, err);
}

bool rt_checkpoint_load(RtFolder *folder, RtEngine *t, RtTrainState *s, const RtCheckpointKey *key,
                        void (*say)(void *, const char *), void *ctx, bool *found, RtErr *err) {
    Found *list;
    int n = list_files(folder->path, &list, say, ctx, err);
    const Found *newest = n > 0 ? find_newest(folder, list, n, err) : NULL;
    *found = newest != NULL;
    bool ok = n == 0 || newest;
    if (newest) {
        RtSafetensors *f = rt_safetensors_open(newest->path, err);
        ok = f && check_key(f, newest->path, key, err) && take_state(f, newest->path, t, s, err) &&
             settle(folder, newest->run, list, n, err);
        rt_safetensors_close(f);
    }
    if (n >= 0)
        free_files(list, n);
    return ok;
}

char *rt_checkpoint_options(const RtFolder *folder) {
    Found *list;
    RtErr err;
    int n = list_files(folder->path, &list, NULL, NULL, &err);
    const Found *newest = n > 0 ? find_newest(folder, list, n, &err) : NULL;
    RtSafetensors *f = newest ? rt_safetensors_open(newest->path, &err) : NULL;
    const char *had = f ? rt_safetensors_meta(f, "options") : NULL;
    char *copy = had ? strdup(had) : NULL;
    rt_safetensors_close(f);
    if (n >= 0)
        free_files(list, n);
    return copy;
}

static bool take_best(const RtSafetensors *f, RtEngine *t, RtErr *err) {
    const HoneTrainDesc *d = rt_engine_desc(t);
    int64_t at[RT_N_AT];
    RtNamedTensor position = {"position", HONE_I64, 1, {RT_N_AT}, NULL};
    if (!take(f, position, at, sizeof at, err))
        return false;
    const char *prefix = at[RT_BEST_EPOCH] < 0 ? "param/" : "best/";
    for (int i = 0; i < d->n_params; i++) {
        const HoneParam *p = &d->params[i];
        char *name = NULL;
        if (asprintf(&name, "%s%s", prefix, p->name) < 0)
            return rt_fail(err, "no memory");
        RtNamedTensor like = {name, HONE_F32, p->rank, {0}, NULL};
        memcpy(like.dim, p->dim, sizeof like.dim);
        bool ok = take(f, like, rt_engine_buffer(t, RT_ENGINE_P) + p->offset,
                       (size_t)p->count * sizeof(float), err);
        free(name);
        if (!ok)
            return false;
    }
    return true;
}

bool rt_checkpoint_load_best(const char *folder, RtEngine *t, const char *model, char **labels,
                             RtErr *err) {
    RtFolder run;
    Found *list = NULL;
    *labels = NULL;
    int n = rt_folder_read(&run, folder, err) ? list_files(folder, &list, NULL, NULL, err) : -1;
    if (n == 0)
        rt_fail(err,
                "%s: no valid checkpoint; train first, without --no-checkpoint, or name its "
                "folder with --checkpoint",
                folder);
    const Found *newest = n > 0 ? find_newest(&run, list, n, err) : NULL;
    RtSafetensors *f = newest ? rt_safetensors_open(newest->path, err) : NULL;
    bool ok = f && check_format(f, newest->path, read_on, err) &&
              check_one(f, newest->path, "model", model, "another program", read_on, err) &&
              take_best(f, t, err);
    const char *had = ok ? rt_safetensors_meta(f, "labels") : NULL;
    if (had && *had)
        *labels = strdup(had);
    rt_safetensors_close(f);
    if (n >= 0)
        free_files(list, n);
    rt_folder_close(&run);
    return ok;
}
