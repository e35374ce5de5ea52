// Files of the user, read: regular ones, whole. Written ones are out.c's.
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
