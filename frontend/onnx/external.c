// Data that a tensor has in another file: which file that is, and what of it.
//
// The file lies below the model's folder; where the model's path is a link, below a folder that one
// of the links on its way leads to will do, too. A path is walked part by part from a folder held
// open, and links are read here, never followed by the kernel: that gives what
// openat2(RESOLVE_BENEATH) does on every kernel, and nobody can change the way between a look and
// an open.
//
// Links are for caches of files, such as Hugging Face's hub, where snapshots/REVISION/ holds links
// to ../../blobs/HASH. The rule: the nearest folder above the model's that holds folders `blobs`
// and `snapshots` is a cache, and links on the way may lead anywhere into these two. Elsewhere
// there may be none, unless the user says so (--follow-links).
//
// Invariants: a location in the file has no part "..", and does not begin with '/'; what is opened
// is a regular file with one name.
#define _GNU_SOURCE // strchrnul, O_PATH
#include "frontend/onnx/load.h"
#include "ir/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 64, MAX_LINKS = 16 };
static const char *const stores[] = {"blobs", "snapshots"}; // of a cache

// ---------------------------------------------------------------- the way to the file

// Folders from `root` down, each held open with its name; what is left of the path.
typedef struct Walk {
    const char *root; // a real path where links are allowed
    int n, links;
    int fd[MAX_DEPTH];
    char first[NAME_MAX + 1]; // name of what lies in the root
    char rest[2 * PATH_MAX];
} Walk;

// Cuts the first part off; "" at the end.
static bool next_part(Walk *w, char part[NAME_MAX + 1]) {
    char *p = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(p, "/");
    if (n > NAME_MAX) {
        return errno = ENAMETOOLONG, false;
    }
    memcpy(part, p, n);
    part[n] = 0;
    memmove(w->rest, p + n, strlen(p + n) + 1);
    return true;
}

// An absolute target, as a path from the root again, to which the walk goes back; NULL: it leads
// elsewhere. That path is walked like any other: it need not be trusted.
static const char *from_root(Walk *w, const char *target, char *real) {
    size_t n = strlen(w->root);
    if (!realpath(target, real)) {
        return NULL;
    }
    if (strncmp(real, w->root, n) != 0 || real[n] != '/') {
        return errno = EXDEV, NULL;
    }
    while (w->n > 1) {
        close(w->fd[--w->n]);
    }
    return real + n;
}

// The link `fd` leads on: its target takes its place before the rest of the path.
static bool take_link(Walk *w, int fd) {
    char text[PATH_MAX], real[PATH_MAX];
    ssize_t n = readlinkat(fd, "", text, sizeof text - 1);
    if (n <= 0) {
        return errno = ENOENT, false;
    }
    text[n] = 0;
    const char *target = text[0] == '/' ? from_root(w, text, real) : text;
    size_t bytes = target ? strlen(target) : 0, left = strlen(w->rest);
    if (!target || bytes + left >= sizeof w->rest) {
        return errno = target ? ENAMETOOLONG : errno, false;
    }
    memmove(w->rest + bytes, w->rest, left + 1);
    memcpy(w->rest, target, bytes);
    return true;
}

static bool is_same_file(int a, int b) {
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

enum { GO_ON = -1, FAILED = -2 }; // else the descriptor of the file at the end of the way

// `seen`, which is neither folder nor link, opened for reading.
static int open_last(const Walk *w, const char *part, int seen) {
    if (w->rest[0]) {
        return errno = ENOTDIR, FAILED;
    }
    int fd = openat(w->fd[w->n - 1], part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || is_same_file(fd, seen)) {
        return fd < 0 ? FAILED : fd;
    }
    close(fd);
    return errno = EXDEV, FAILED;
}

// `fd` is what is called `part`, of any kind; it belongs to this function.
static int enter(Walk *w, const char *part, int fd, int most_links) {
    struct stat st;
    int got = FAILED;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && w->n < MAX_DEPTH) {
        w->fd[w->n++] = fd;
        return GO_ON;
    }
    if (S_ISDIR(st.st_mode)) {
        errno = ENAMETOOLONG;
    } else if (!S_ISLNK(st.st_mode)) {
        got = open_last(w, part, fd);
    } else if (w->links++ == most_links) {
        errno = ELOOP;
    } else {
        got = take_link(w, fd) ? GO_ON : FAILED;
    }
    int why = errno;
    close(fd);
    errno = why;
    return got;
}

static int step(Walk *w, int most_links) {
    char part[NAME_MAX + 1];
    if (!next_part(w, part)) {
        return FAILED;
    }
    if (!*part) {
        return openat(w->fd[w->n - 1], ".", O_RDONLY | O_CLOEXEC);
    }
    if (strcmp(part, ".") == 0) {
        return GO_ON;
    }
    if (strcmp(part, "..") == 0) {
        if (w->n == 1) {
            return errno = EXDEV, FAILED;
        }
        close(w->fd[--w->n]);
        return GO_ON;
    }
    if (w->n == 1) {
        strcpy(w->first, part);
    }
    int fd = openat(w->fd[w->n - 1], part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? FAILED : enter(w, part, fd, most_links);
}

// Opens what `path` leads to from the folder `root`, never leaving it. With links on the way the
// end lies in one of a cache's stores. FAILED and errno.
static int walk(const char *root, const char *path, int most_links) {
    Walk w = {.root = root, .n = 1};
    if (strlen(path) >= sizeof w.rest) {
        return errno = ENAMETOOLONG, FAILED;
    }
    strcpy(w.rest, path);
    w.fd[0] = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int got = w.fd[0] < 0 ? FAILED : GO_ON;
    while (got == GO_ON) {
        got = step(&w, most_links);
    }
    int why = errno;
    bool stored = strcmp(w.first, stores[0]) == 0 || strcmp(w.first, stores[1]) == 0;
    if (got >= 0 && w.links > 0 && !stored) {
        close(got);
        got = FAILED;
        why = EXDEV;
    }
    for (int i = 0; i < w.n && w.fd[0] >= 0; i++) {
        close(w.fd[i]);
    }
    errno = why;
    return got;
}

// ---------------------------------------------------------------- the folders to look in

static bool is_folder(IrArena *a, const char *path, const char *name) {
    struct stat st;
    return lstat(ir_sprintf(a, "%s/%s", path, name), &st) == 0 && S_ISDIR(st.st_mode);
}

static const char *folder_of(IrArena *a, const char *path) {
    const char *slash = strrchr(path, '/');
    return !slash ? "." : slash == path ? "/" : ir_strndup(a, path, (size_t)(slash - path));
}

static const char *real_path(IrArena *a, const char *path) {
    char *real = realpath(path, NULL);
    const char *copy = real ? ir_strdup(a, real) : path;
    free(real);
    return copy;
}

// The cache that `folder`, a real path, is in: a prefix of it; NULL: none.
static const char *cache_of(IrArena *a, const char *folder) {
    for (size_t n = strlen(folder); n > 1; n--) {
        if (folder[n] && folder[n] != '/') {
            continue;
        }
        const char *root = ir_strndup(a, folder, n);
        if (is_folder(a, root, stores[0]) && is_folder(a, root, stores[1])) {
            return root;
        }
    }
    return NULL;
}

// In `folder`, by the rule above.
static int open_below(IrArena *a, const FeExternal *ext, const char *folder, const char *location) {
    int fd = walk(folder, location, 0);
    if (fd >= 0 || errno != ELOOP) {
        return fd;
    }
    if (ext->follow_links) {
        return open(ir_sprintf(a, "%s/%s", folder, location), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    const char *real = real_path(a, folder), *root = cache_of(a, real);
    if (!root) {
        return errno = ELOOP, FAILED;
    }
    return walk(root, ir_sprintf(a, "%s/%s", real + strlen(root), location), MAX_LINKS);
}

// Where the link `path` leads in one step; NULL: it is none.
static const char *link_target(IrArena *a, const char *path) {
    char text[PATH_MAX];
    ssize_t n = readlink(path, text, sizeof text - 1);
    if (n <= 0) {
        return NULL;
    }
    text[n] = 0;
    return text[0] == '/' ? ir_strdup(a, text) : ir_sprintf(a, "%s/%s", folder_of(a, path), text);
}

// Beside the model's path, else beside what that leads to: a link to a file of a cache leads to a
// link in `snapshots`, beside which the data are, then to `blobs`.
static int open_external(IrArena *a, const FeExternal *ext, const char *location) {
    const char *at = ext->path;
    for (int links = 0; at && links <= MAX_LINKS; links++) {
        int fd = open_below(a, ext, folder_of(a, at), location);
        if (fd >= 0 || errno != ENOENT) {
            return fd;
        }
        at = link_target(a, at);
    }
    return open_below(a, ext, folder_of(a, real_path(a, ext->path)), location);
}

// A path downwards: no "..", no empty part.
static bool is_downward(const char *location) {
    for (const char *p = location;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 2 && memcmp(p, "..", 2) == 0)) {
            return false;
        }
        p += n;
        if (!*p) {
            return true;
        }
    }
}

// ---------------------------------------------------------------- the file's bytes

static void unmap_external(void *arg) {
    FeFile *f = arg;
    munmap(f->bytes, f->size);
}

static const char *path_of(IrArena *a, int fd) {
    char path[PATH_MAX];
    ssize_t n = readlink(ir_sprintf(a, "/proc/self/fd/%d", fd), path, sizeof path);
    return n > 0 ? ir_strndup(a, path, (size_t)n) : "";
}

static const char *map_whole(IrArena *a, FeExternal *ext, const char *location, int fd,
                             const struct stat *st, FeFile *out) {
    *out = (FeFile){0};
    if (st->st_size == 0) {
        return NULL;
    }
    void *p = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        return ir_sprintf(a, "external data '%s': %s", location, strerror(errno));
    }
    FeFile *f = ir_alloc(a, sizeof *f);
    *f = (FeFile){.bytes = p, .size = (size_t)st->st_size, .stamp = fe_stamp(st)};
    ir_arena_defer(a, unmap_external, f);
    if (fe_is_lfs_pointer(*f)) {
        return ir_sprintf(a, "external data '%s' is %s", location, fe_describe_file("", *f));
    }
    *out = *f;
    struct FeExternalFile entry = {location, path_of(a, fd), *f};
    IR_PUSH(a, ext->v, ext->n, ext->cap, entry);
    ext->bytes += st->st_size;
    ir_memory_read(ir_arena_diag(a), st->st_size);
    return NULL;
}

static const char *map_external(IrArena *a, FeExternal *ext, const char *location, FeFile *out) {
    for (int i = 0; i < ext->n; i++) {
        if (strcmp(ext->v[i].location, location) == 0) {
            *out = ext->v[i].file;
            return NULL;
        }
    }
    bool down = is_downward(location);
    int fd = down ? open_external(a, ext, location) : FAILED;
    int why = errno;
    struct stat st;
    if (!down || (fd < 0 && why == ENOTDIR)) {
        return ir_sprintf(a, "external data '%s' must lie below the model's folder", location);
    }
    if (fd < 0 && (why == EXDEV || why == ELOOP)) {
        return ir_sprintf(a,
                          "external data '%s' must lie below the model's folder, with no link on "
                          "the way but into its cache's blobs (--follow-links allows any)",
                          location);
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        return ir_sprintf(a, "external data '%s': %s", location, strerror(why));
    }
    const char *wrong = NULL;
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
        wrong = ir_sprintf(a, "external data '%s' is not a regular file of its own", location);
    } else {
        wrong = map_whole(a, ext, location, fd, &st, out);
    }
    close(fd);
    return wrong;
}

// The `bytes` bytes of an external tensor. external_data's keys: location, offset, length.
const char *fe_external_find(IrArena *a, FeExternal *ext, const Onnx__TensorProto *t, size_t bytes,
                             const void **out) {
    const char *location = NULL;
    uint64_t offset = 0, length = bytes;
    if (!ext) {
        return "its data is in another file";
    }
    for (size_t i = 0; i < t->n_external_data; i++) {
        const Onnx__StringStringEntryProto *e = t->external_data[i];
        if (!e->key || !e->value) {
            continue;
        }
        bool is_offset = strcmp(e->key, "offset") == 0, is_length = strcmp(e->key, "length") == 0;
        if (strcmp(e->key, "location") == 0) {
            location = e->value;
        } else if (is_offset || is_length) {
            char *end;
            errno = 0;
            uint64_t x = strtoull(e->value, &end, 10);
            if (errno || *end || e->value[0] < '0' || e->value[0] > '9') {
                return ir_sprintf(a, "external data %s '%s' is not a number", e->key, e->value);
            }
            *(is_offset ? &offset : &length) = x;
        }
    }
    if (!location || !*location) {
        return "external data has no location";
    }
    if (length != bytes) {
        return ir_sprintf(a, "external data length %llu is not the %zu bytes of its shape",
                          (unsigned long long)length, bytes);
    }
    FeFile f = {0};
    const char *why = map_external(a, ext, location, &f);
    if (why) {
        return why;
    }
    if (offset > f.size || bytes > f.size - offset) {
        return ir_sprintf(a, "external data '%s' has %zu bytes, %zu at offset %llu are asked for",
                          location, f.size, bytes, (unsigned long long)offset);
    }
    *out = f.bytes + offset;
    return NULL;
}
