// Who owns a folder of checkpoints. See folder.h.
//
// A run begun over another writes run.json first, naming the other, then its first checkpoint, and
// only then the other's checkpoints go: killed at any moment, one of the two is there and known.
#define _GNU_SOURCE
#include "runtime/train/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/file/json.h"
#include "runtime/file/out.h"

enum { MAX_RUN_FILE = 1 << 16 };

const char *const rt_folder_files[] = {"lock",        "run.json",      "step-*.safetensors",
                                       RT_FOLDS_FILE, RT_FOLD_FOLDERS, NULL};

static bool fail(const char *path, int why, RtErr *err) {
    return rt_fail(err, "%s: cannot be written: %s", path, strerror(why));
}

static char *join(const char *folder, const char *name, RtErr *err) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) >= 0)
        return path;
    rt_fail(err, "%s: no memory", folder);
    return NULL;
}

// ---------------------------------------------------------------- run.json

static void take_text(const json_t *run, const char *key, char *to, size_t size) {
    const char *text = json_string_value(json_object_get(run, key));
    snprintf(to, size, "%s", text ? text : "");
}

// A file that is not there, or damaged, tells nothing.
static void read_run(RtFolder *f, const char *path) {
    RtErr ignored;
    size_t size;
    char *text = (char *)rt_file_load(path, MAX_RUN_FILE, &size, &ignored);
    json_t *run = text ? json_loadb(text, size, 0, NULL) : NULL;
    take_text(run, "run", f->run, sizeof f->run);
    take_text(run, "replaces", f->replaces, sizeof f->replaces);
    take_text(run, "model", f->model, sizeof f->model);
    take_text(run, "started", f->started, sizeof f->started);
    f->finished = json_is_true(json_object_get(run, "finished"));
    json_decref(run);
    free(text);
}

bool rt_folder_read(RtFolder *f, const char *path, RtErr *err) {
    *f = (RtFolder){.path = strdup(path), .lock = -1};
    char *file = f->path ? join(path, "run.json", err) : NULL;
    if (!file)
        return rt_fail(err, "%s: no memory", path);
    read_run(f, file);
    free(file);
    return true;
}

bool rt_folder_write(const RtFolder *f, RtErr *err) {
    RtOutFile out = {0};
    char *file = join(f->path, "run.json", err);
    bool ok = file && rt_out_open(&out, NULL, file, RT_OUT_WHOLE, err) && rt_out_begin(&out, err);
    free(file);
    if (!ok) {
        rt_out_abort(&out);
        return false;
    }
    RtJson j = {.f = out.f};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "run", f->run);
    rt_json_text(&j, "replaces", f->replaces);
    rt_json_text(&j, "model", f->model);
    rt_json_text(&j, "started", f->started);
    rt_json_bool(&j, "finished", f->finished);
    rt_json_end(&j, '}');
    fputc('\n', out.f);
    return rt_out_commit(&out, err);
}

bool rt_folder_claim(RtFolder *f, const char *model, RtErr *err) {
    uint64_t id;
    time_t now = time(NULL);
    struct tm utc;
    if (getrandom(&id, sizeof id, 0) != sizeof id)
        return rt_fail(err, "%s: no random number for the run: %s", f->path, strerror(errno));
    memcpy(f->replaces, f->run, sizeof f->run);
    snprintf(f->run, sizeof f->run, "%016llx", (unsigned long long)id);
    snprintf(f->model, sizeof f->model, "%s", model);
    strftime(f->started, sizeof f->started, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    f->finished = false;
    return rt_folder_write(f, err);
}

// ---------------------------------------------------------------- the lock

// Is it a file that a run keeps? `which` is the first of rt_folder_files that counts.
static bool is_ours(const char *name, int which) {
    const char *const *pattern = &rt_folder_files[which];
    while (*pattern && fnmatch(*pattern, name, 0) != 0)
        pattern++;
    return *pattern != NULL;
}

static bool is_temporary(const char *name) {
    return (strncmp(name, "step-", 5) == 0 || strncmp(name, "run.json", 8) == 0) &&
           strstr(name, ".tmp-");
}

// A folder that is there holds a run, or nothing but what does no harm: hidden files, a lock, what
// a killed process left, and what a disk of its own begins with.
static bool check_folder(const char *path, RtErr *err) {
    DIR *dir = opendir(path);
    char foreign[256] = "";
    bool run = false;
    if (!dir)
        return fail(path, errno, err);
    for (struct dirent *e; !run && (e = readdir(dir));) {
        const char *name = e->d_name;
        run = is_ours(name, 1); // but the lock
        if (*name != '.' && !is_ours(name, 0) && !is_temporary(name) &&
            strcmp(name, "lost+found") != 0)
            snprintf(foreign, sizeof foreign, "%s", name);
    }
    closedir(dir);
    return run || !*foreign ||
           rt_fail(err,
                   "%s: is no folder of checkpoints: it holds '%s' and no run; give --checkpoint a "
                   "folder of its own",
                   path, foreign);
}

static bool make_folder(RtFolder *f, RtErr *err) {
    struct stat st;
    f->made = mkdir(f->path, 0777) == 0;
    if (f->made)
        return true;
    int why = errno;
    if (why == EEXIST && stat(f->path, &st) == 0 && S_ISDIR(st.st_mode))
        return check_folder(f->path, err);
    return fail(f->path, why == EEXIST ? ENOTDIR : why, err);
}

// Opens the file, makes it where it is not there. -1 and errno.
static int open_lock(const char *file, bool *made) {
    int how = O_RDWR | O_CLOEXEC | O_NOFOLLOW, lock = open(file, how);
    *made = lock < 0 && errno == ENOENT;
    return *made ? open(file, how | O_CREAT, 0666) : lock;
}

// Who held the lock may have removed the file: what is locked then is nobody's.
static bool is_there(int lock, const char *file) {
    struct stat mine, there;
    return fstat(lock, &mine) == 0 && stat(file, &there) == 0 && mine.st_ino == there.st_ino &&
           mine.st_dev == there.st_dev;
}

static bool refuse_lock(const RtFolder *f, int why, RtErr *err) {
    char who[32] = "";
    if (why != EWOULDBLOCK)
        return rt_fail(err, "%s: cannot be locked: %s", f->path, strerror(why));
    ssize_t n = pread(f->lock, who, sizeof who - 1, 0);
    who[n > 0 ? strspn(who, "0123456789") : 0] = 0;
    return rt_fail(err, "%s: another training runs in it%s%s%s; give this one --checkpoint FOLDER",
                   f->path, *who ? " (process " : "", who, *who ? ")" : "");
}

static bool take_lock(RtFolder *f, const char *file, RtErr *err) {
    bool made = false;
    char who[32];
    do {
        if (f->lock >= 0)
            close(f->lock);
        f->lock = open_lock(file, &made);
        if (f->lock < 0)
            return fail(file, errno, err);
        if (flock(f->lock, LOCK_EX | LOCK_NB) != 0)
            return refuse_lock(f, errno, err);
    } while (!is_there(f->lock, file));
    f->made_lock = made;
    int n = snprintf(who, sizeof who, "%ld\n", (long)getpid());
    return (ftruncate(f->lock, 0) == 0 && pwrite(f->lock, who, (size_t)n, 0) == n) ||
           fail(f->path, errno, err);
}

// Of a process that was killed while it wrote: nobody else writes here.
static void remove_temporaries(const char *folder) {
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (is_temporary(e->d_name))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

bool rt_folder_open(RtFolder *f, const char *path, RtErr *err) {
    *f = (RtFolder){.path = strdup(path), .lock = -1};
    char *file = f->path ? join(path, "lock", err) : NULL, *run;
    if (!file)
        return rt_fail(err, "%s: no memory", path);
    bool ok = make_folder(f, err) && take_lock(f, file, err);
    free(file);
    if (!ok)
        return false;
    remove_temporaries(path);
    run = join(path, "run.json", err);
    if (!run)
        return false;
    read_run(f, run);
    free(run);
    return true;
}

static void remove_file(const RtFolder *f, const char *name) {
    RtErr ignored;
    char *file = join(f->path, name, &ignored);
    if (file)
        unlink(file);
    free(file);
}

// Where no run goes on, what this process made goes: the lock while it is held.
static void undo(const RtFolder *f) {
    if (f->made_lock)
        remove_file(f, "lock");
    if (f->made) {
        remove_file(f, "run.json");
        rmdir(f->path); // which leaves one that is not empty
    }
}

void rt_folder_close(RtFolder *f) {
    if (f->path && !f->kept)
        undo(f);
    if (f->path && f->lock >= 0)
        close(f->lock);
    free(f->path);
    *f = (RtFolder){.lock = -1};
}
