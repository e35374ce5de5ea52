// Who owns a folder of checkpoints. See folder.h.
//
// A run begun over another writes run.json first, naming the other, then its first checkpoint, and
// only then the other's checkpoints go: killed at any moment, one of the two is there and known.
#define _GNU_SOURCE
#include "runtime/train/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

const char *const rt_folder_files[] = {"lock", "run.json", "step-*.safetensors", NULL};

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

static bool make_folder(const char *path, RtErr *err) {
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return true;
    int why = errno;
    if (why == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return true;
    return fail(path, why == EEXIST ? ENOTDIR : why, err);
}

static bool take_lock(RtFolder *f, RtErr *err) {
    char who[32] = "";
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        if (why != EWOULDBLOCK)
            return rt_fail(err, "%s: cannot be locked: %s", f->path, strerror(why));
        ssize_t n = pread(f->lock, who, sizeof who - 1, 0);
        who[n > 0 ? strspn(who, "0123456789") : 0] = 0;
        return rt_fail(err,
                       "%s: another training runs in it%s%s%s; give this one --checkpoint "
                       "FOLDER",
                       f->path, *who ? " (process " : "", who, *who ? ")" : "");
    }
    int n = snprintf(who, sizeof who, "%ld\n", (long)getpid());
    return (ftruncate(f->lock, 0) == 0 && pwrite(f->lock, who, (size_t)n, 0) == n) ||
           fail(f->path, errno, err);
}

// Of a process that was killed while it wrote: nobody else writes here.
static void remove_temporaries(const char *folder) {
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        bool ours = strncmp(e->d_name, "step-", 5) == 0 || strncmp(e->d_name, "run.json", 8) == 0;
        if (ours && strstr(e->d_name, ".tmp-"))
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

bool rt_folder_open(RtFolder *f, const char *path, RtErr *err) {
    *f = (RtFolder){.lock = -1};
    if (!make_folder(path, err))
        return false;
    char *file = join(path, "lock", err);
    int lock = file ? open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    bool ok = lock >= 0 || (file && fail(file, errno, err));
    free(file);
    if (!ok)
        return false;
    *f = (RtFolder){.path = strdup(path), .lock = lock};
    if (!f->path)
        return rt_fail(err, "%s: no memory", path);
    if (!take_lock(f, err))
        return false;
    remove_temporaries(path);
    free(f->path);
    ok = rt_folder_read(f, path, err);
    f->lock = lock;
    return ok;
}

void rt_folder_close(RtFolder *f) {
    if (f->path && f->lock >= 0)
        close(f->lock);
    free(f->path);
    *f = (RtFolder){.lock = -1};
}
