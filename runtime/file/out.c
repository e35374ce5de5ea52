// One output from its name to its place. See out.h.
#define _GNU_SOURCE
#include "runtime/file/out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file/place.h"

enum { MAX_TEMPS = 1000, MAX_BASE = 200 }; // of a temporary name: a file's may have 255 bytes

static bool fail(const RtOutFile *o, int why, RtErr *err) {
    return rt_fail(err, "%s: cannot be written: %s", o->path ? o->path : "", strerror(why));
}

// The folder's part of o->target, with its slash.
static int folder_length(const RtOutFile *o) {
    return (int)(strrchr(o->target, '/') + 1 - o->target);
}

// A new file next to o->target; its name is o->temp. -1 and errno.
static int create_temp(RtOutFile *o) {
    int folder = folder_length(o);
    mode_t mode = o->kind == RT_OUT_PROGRAM ? 0777 : 0666;
    for (int i = 0; i < MAX_TEMPS; i++) {
        char *name = NULL;
        if (asprintf(&name, "%.*s%.*s.tmp-%ld-%d", folder, o->target, MAX_BASE, o->target + folder,
                     (long)getpid(), i) < 0)
            return -1;
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        int why = errno;
        if (fd >= 0)
            o->temp = name;
        else
            free(name);
        errno = why;
        if (fd >= 0 || why != EEXIST)
            return fd;
    }
    return -1;
}

static void remove_temp(RtOutFile *o) {
    if (o->temp)
        unlink(o->temp);
    free(o->temp);
    o->temp = NULL;
}

// ---------------------------------------------------------------- open

static RtFileId id_of(const RtOutFile *o, const RtPlace *p) {
    RtFileId id = {.ino = 0};
    struct stat st;
    if (p->exists && S_ISREG(p->st.st_mode))
        return (RtFileId){.dev = p->st.st_dev, .ino = p->st.st_ino};
    if (p->exists || !o->target)
        return id;
    char *folder = strndup(o->target, (size_t)folder_length(o));
    if (folder && stat(folder, &st) == 0)
        id = (RtFileId){st.st_dev, st.st_ino, o->target + folder_length(o)};
    free(folder);
    return id;
}

// Could it be written, if it were now? A file that its owner made read-only stays as it is, though
// it could be replaced.
static bool can_write(RtOutFile *o) {
    if (o->mode && access(o->target, W_OK) != 0)
        return false;
    if (o->mode && (o->kind == RT_OUT_LOG || o->kind == RT_OUT_APPEND))
        return true;
    rt_outs_lock(o->outs);
    int fd = create_temp(o), why = errno;
    if (fd >= 0)
        close(fd);
    remove_temp(o);
    rt_outs_unlock(o->outs);
    errno = why;
    return fd >= 0;
}

static bool open_through(RtOutFile *o, const RtPlace *p) {
    int fd = rt_place_open(p);
    if (fd >= 0 && !(o->f = fdopen(fd, "wb")))
        close(fd);
    return o->f != NULL;
}

// Takes p->path over. False with err set, or empty where errno tells why.
static bool take_place(RtOutFile *o, RtOuts *outs, RtPlace *p, RtErr *err) {
    if (p->kind == RT_PLACE_FILE) {
        o->target = p->path;
        o->mode = p->exists ? p->st.st_mode & 0777 : 0;
    }
    o->id = id_of(o, p);
    bool ok = !outs || rt_outs_add(outs, o, err);
    ok = ok && (o->target ? can_write(o) : open_through(o, p));
    if (!o->target)
        free(p->path);
    return ok;
}

// What is printed from here on goes to standard error, if there is one.
static void yield_stdout(void) {
    fflush(stdout);
    dup2(STDERR_FILENO, STDOUT_FILENO);
}

bool rt_out_open(RtOutFile *o, RtOuts *outs, const char *path, RtOutKind kind, RtErr *err) {
    RtPlace p;
    bool std = strcmp(path, "-") == 0;
    path = std ? "/dev/stdout" : path;
    *o = (RtOutFile){.kind = kind, .path = strdup(path), .std = std};
    err->text[0] = 0;
    if (o->path && rt_place_find(path, &p) && take_place(o, outs, &p, err)) {
        if (std)
            yield_stdout();
        return true;
    }
    if (!err->text[0])
        fail(o, errno, err);
    rt_out_abort(o);
    return false;
}

bool rt_out_is_through(const RtOutFile *o) {
    return !o->target;
}

// ---------------------------------------------------------------- begin

static int open_in_place(const RtOutFile *o) {
    int how = o->kind == RT_OUT_LOG ? O_TRUNC : O_APPEND;
    return open(o->target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | how, 0666);
}

static void note_size(RtOutFile *o) {
    struct stat st;
    if (o->target && fstat(fileno(o->f), &st) == 0)
        o->bytes = st.st_size;
}

bool rt_out_begin(RtOutFile *o, RtErr *err) {
    if (o->f)
        return true;
    rt_outs_lock(o->outs);
    bool log = o->kind == RT_OUT_LOG || o->kind == RT_OUT_APPEND;
    int fd = log ? open_in_place(o) : create_temp(o);
    rt_outs_unlock(o->outs);
    if (fd >= 0 && !(o->f = fdopen(fd, "wb")))
        close(fd);
    if (log && o->f)
        note_size(o);
    return o->f || fail(o, errno, err);
}

bool rt_out_flush(RtOutFile *o, RtErr *err) {
    errno = 0;
    if (fflush(o->f) == 0 && !ferror(o->f)) {
        note_size(o);
        return true;
    }
    fail(o, errno ? errno : EIO, err);
    __fpurge(o->f);
    if (o->target && ftruncate(fileno(o->f), o->bytes) != 0)
        fail(o, errno, err);
    rt_out_abort(o);
    return false;
}

bool rt_out_hand_over(RtOutFile *o, RtErr *err) {
    int bad = o->temp ? fclose(o->f) : 0;
    if (o->temp)
        o->f = NULL;
    return !bad || fail(o, errno, err);
}

// ---------------------------------------------------------------- end

// What was replaced keeps its mode; a program is executable for those who may read it.
static bool set_mode(const RtOutFile *o, int fd, mode_t made) {
    mode_t mode = o->mode ? o->mode : made & 0777;
    if (o->kind == RT_OUT_PROGRAM)
        mode |= (mode & 0444) >> 2;
    return mode == (made & 0777) || fchmod(fd, mode) == 0;
}

// Pipes and their kind have nothing that could be synced.
static bool sync_all(int fd) {
    return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
}

// A write failed earlier. The next one fails for the same reason.
static int why_lost(const RtOutFile *o) {
    ssize_t n = write(fileno(o->f), "", 1);
    return n < 0 ? errno : EIO;
}

static bool complete(RtOutFile *o) {
    struct stat st;
    if (!o->f && !(o->f = fopen(o->temp, "r+be"))) // it was handed over
        return false;
    int fd = fileno(o->f);
    if (fflush(o->f) != 0 || fstat(fd, &st) != 0)
        return false;
    if (S_ISREG(st.st_mode))
        o->bytes = st.st_size;
    return (!o->temp || set_mode(o, fd, st.st_mode)) && sync_all(fd);
}

bool rt_out_finish(RtOutFile *o, RtErr *err) {
    if (!o->f && !o->temp)
        return true;
    bool good = complete(o);
    int why = errno;
    if (o->f && ferror(o->f)) {
        why = good ? why_lost(o) : why;
        good = false;
    }
    if (o->f && fclose(o->f) != 0 && good) {
        good = false;
        why = errno;
    }
    o->f = NULL;
    return good || fail(o, why, err);
}

static bool sync_folder(const RtOutFile *o) {
    char *folder = strndup(o->target, (size_t)folder_length(o));
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    bool good = fd >= 0 && sync_all(fd);
    if (fd >= 0)
        close(fd);
    return good;
}

// A single file that is mounted, as into a container, cannot be replaced: the bytes go into it.
static bool copy_into_place(const RtOutFile *o) {
    int from = open(o->temp, O_RDONLY | O_CLOEXEC);
    int to = from >= 0 ? open(o->target, O_WRONLY | O_TRUNC | O_CLOEXEC) : -1;
    char buf[1 << 16];
    ssize_t n = to >= 0 ? 1 : -1;
    while (n > 0 && (n = read(from, buf, sizeof buf)) > 0)
        for (ssize_t at = 0, k; at < n && n > 0; at += k)
            if ((k = write(to, buf + at, (size_t)(n - at))) < 0)
                n = -1;
    bool good = n == 0 && sync_all(to);
    int why = errno;
    if (from >= 0)
        close(from);
    if (to >= 0 && close(to) != 0 && good) {
        good = false;
        why = errno;
    }
    errno = why;
    return good;
}

// The temporary file gets the name of the target. False and errno.
static bool replace(RtOutFile *o) {
    if (rename(o->temp, o->target) != 0)
        return errno == EBUSY && o->mode && copy_into_place(o);
    free(o->temp);
    o->temp = NULL;
    return sync_folder(o);
}

bool rt_out_commit(RtOutFile *o, RtErr *err) {
    bool good = rt_out_finish(o, err);
    rt_outs_lock(o->outs);
    if (good && o->temp && !replace(o))
        good = fail(o, errno, err);
    rt_outs_unlock(o->outs);
    rt_out_abort(o);
    return good;
}

void rt_out_abort(RtOutFile *o) {
    if (o->f)
        fclose(o->f);
    rt_outs_lock(o->outs);
    rt_outs_remove(o->outs, o);
    remove_temp(o);
    rt_outs_unlock(o->outs);
    free(o->target);
    free(o->path);
    *o = (RtOutFile){0};
}
