// Links are followed here and not by open(): what a rename replaces must be the file at their end,
// and the links under /proc name descriptors, whose position and flags only a duplicate keeps.
#define _GNU_SOURCE
#include "runtime/file/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_LINKS = 40 }; // as the kernel

// "FOLDER/NAME", FOLDER without links. NULL and errno.
static char *real_path(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat st;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        if (stat(path, &st) == 0)
            errno = EISDIR;
        return NULL;
    }
    char *folder = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    char *real = folder ? realpath(folder, NULL) : NULL, *full = NULL;
    if (real && asprintf(&full, "%s/%s", strcmp(real, "/") ? real : "", name) < 0)
        full = NULL;
    free(folder);
    free(real);
    return full;
}

// What the link at `path` points to, as a path. NULL and errno.
static char *read_link(const char *path) {
    char text[PATH_MAX], *full = NULL;
    ssize_t n = readlink(path, text, sizeof text - 1);
    if (n < 0)
        return NULL;
    text[n] = 0;
    int folder = *text == '/' ? 0 : (int)(strrchr(path, '/') + 1 - path);
    return asprintf(&full, "%.*s%s", folder, path, text) < 0 ? NULL : full;
}

// N of /proc/PID/fd/N and /proc/PID/task/TID/fd/N where PID is this process; -1: it is neither.
static int own_descriptor(const char *path) {
    long pid;
    int fd = -1;
    char more;
    bool is = sscanf(path, "/proc/%ld/fd/%d%c", &pid, &fd, &more) == 2 ||
              sscanf(path, "/proc/%ld/task/%*d/fd/%d%c", &pid, &fd, &more) == 2;
    return is && pid == (long)getpid() ? fd : -1;
}

// p->path is no link that may be followed. True when it can be written to.
static bool classify(RtPlace *p) {
    p->exists = true;
    p->kind = S_ISREG(p->st.st_mode)    ? RT_PLACE_FILE
              : S_ISSOCK(p->st.st_mode) ? RT_PLACE_SOCKET
                                        : RT_PLACE_DEVICE;
    if (S_ISDIR(p->st.st_mode))
        errno = EISDIR;
    return !S_ISDIR(p->st.st_mode);
}

// One step of the way: *next is where a link leads, NULL at the end of it.
static bool look(RtPlace *p, char **next) {
    *next = NULL;
    p->descriptor = own_descriptor(p->path);
    if (p->descriptor >= 0) {
        p->kind = RT_PLACE_DESCRIPTOR;
        p->exists = fstat(p->descriptor, &p->st) == 0;
        return p->exists;
    }
    if (lstat(p->path, &p->st) != 0)
        return errno == ENOENT;
    if (S_ISLNK(p->st.st_mode) && strncmp(p->path, "/proc/", 6) != 0)
        return (*next = read_link(p->path)) != NULL;
    return classify(p);
}

bool rt_place_find(const char *path, RtPlace *p) {
    char *at = strdup(path);
    bool ok = at != NULL;
    *p = (RtPlace){.kind = RT_PLACE_FILE, .descriptor = -1};
    for (int links = 0; ok && at; links++) {
        free(p->path);
        p->path = links < MAX_LINKS ? real_path(at) : NULL;
        if (links == MAX_LINKS)
            errno = ELOOP;
        free(at);
        at = NULL;
        ok = p->path && look(p, &at);
    }
    if (ok)
        return true;
    free(p->path);
    p->path = NULL;
    return false;
}

static int connect_to(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

// One of the first three that closes on exec is not our caller's: rt_std_open() put it there.
static int duplicate(int fd) {
    int flags = fcntl(fd, F_GETFL), on_exec = fcntl(fd, F_GETFD);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (fd <= 2 && on_exec & FD_CLOEXEC)) {
        errno = EBADF;
        return -1;
    }
    fflush(NULL); // what was printed there stands before it
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

int rt_place_open(const RtPlace *p) {
    if (p->kind == RT_PLACE_DESCRIPTOR)
        return duplicate(p->descriptor);
    if (p->kind == RT_PLACE_SOCKET)
        return connect_to(p->path);
    return open(p->path, O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC);
}
