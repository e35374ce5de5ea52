// Files of the user: reading regular files whole, and writing files that are either complete
// under their name or not there at all.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int rt_file_open(const char *path, int64_t *size, RtErr *err) {
    // O_NONBLOCK: opening a FIFO must not wait for its writer.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        rt_fail(err, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        rt_fail(err, "%s: %s", path, S_ISDIR(st.st_mode) ? "is a directory" : "not a regular file");
    } else {
        *size = st.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

bool rt_file_read(int fd, const char *path, void *to, size_t bytes, RtErr *err) {
    for (size_t done = 0; done < bytes;) {
        size_t want = bytes - done < (1u << 30) ? bytes - done : 1u << 30;
        ssize_t n = read(fd, (char *)to + done, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rt_fail(err, "%s: %s", path, strerror(errno));
        if (n == 0)
            return rt_fail(err, "%s: the file ended while it was read", path);
        done += (size_t)n;
    }
    return true;
}

uint8_t *rt_file_load(const char *path, size_t max, size_t *size, RtErr *err) {
    int64_t bytes;
    int fd = rt_file_open(path, &bytes, err);
    if (fd < 0)
        return NULL;
    uint8_t *data = NULL;
    if ((uint64_t)bytes > max)
        rt_fail(err, "%s: %lld bytes, more than %zu", path, (long long)bytes, max);
    else if (!(data = malloc((size_t)bytes + 1)))
        rt_fail(err, "%s: no memory for %lld bytes", path, (long long)bytes);
    else if (!rt_file_read(fd, path, data, (size_t)bytes, err)) {
        free(data);
        data = NULL;
    }
    close(fd);
    if (data) {
        data[bytes] = 0;
        *size = (size_t)bytes;
    }
    return data;
}

// A new file next to o->path. A link is followed, so that the rename replaces what it points to.
static int create_temp(RtOutFile *o) {
    for (int i = 0; i < 1000; i++) {
        free(o->temp);
        if (asprintf(&o->temp, "%s.tmp-%ld-%d", o->path, (long)getpid(), i) < 0) {
            o->temp = NULL;
            return -1;
        }
        int fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

bool rt_out_open(RtOutFile *o, const char *path, RtErr *err) {
    *o = (RtOutFile){0};
    struct stat st;
    bool exists = stat(path, &st) == 0;
    int fd = -1;
    if (exists && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
    } else if (exists && !S_ISREG(st.st_mode)) {
        o->path = strdup(path);
        fd = open(path, O_WRONLY | O_CLOEXEC);
    } else if (exists && access(path, W_OK) != 0) {
        fd = -1; // renaming over a read-only file would work, but its owner said no
    } else {
        o->path = exists ? realpath(path, NULL) : strdup(path);
        fd = o->path ? create_temp(o) : -1;
    }
    if (fd >= 0 && (o->f = fdopen(fd, "wb")))
        return true;
    rt_fail(err, "%s: cannot be written: %s", path, strerror(errno));
    if (fd >= 0) {
        close(fd);
    } else {
        free(o->temp);
        o->temp = NULL;
    }
    rt_out_abort(o);
    return false;
}

bool rt_out_finish(RtOutFile *o, RtErr *err) {
    if (!o->f)
        return true;
    bool good = fflush(o->f) == 0 && !ferror(o->f);
    if (good && o->temp)
        good = fsync(fileno(o->f)) == 0;
    int why = errno;
    if (fclose(o->f) != 0 && good) {
        good = false;
        why = errno;
    }
    o->f = NULL;
    return good || rt_fail(err, "%s: cannot be written: %s", o->path, strerror(why));
}

bool rt_out_commit(RtOutFile *o, RtErr *err) {
    bool good = rt_out_finish(o, err);
    if (good && o->temp && rename(o->temp, o->path) != 0)
        good = rt_fail(err, "%s: cannot be written: %s", o->path, strerror(errno));
    if (good) {
        free(o->temp);
        o->temp = NULL;
    }
    rt_out_abort(o);
    return good;
}

void rt_out_abort(RtOutFile *o) {
    if (o->f)
        fclose(o->f);
    if (o->temp)
        unlink(o->temp);
    free(o->temp);
    free(o->path);
    *o = (RtOutFile){0};
}
