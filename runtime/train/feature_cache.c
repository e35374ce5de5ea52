// The cache behind feature_cache.h. A file is a header, a checksum per row, then the rows; a row
// counts when its checksum is right, so that a run which was killed leaves nothing to repair.
//
// The file is read and written row by row, not mapped: who cuts it off or writes to it while we
// train gets us an error, by the checksum or the end of the file, and no signal or wrong value.
#define _GNU_SOURCE
#include "runtime/train/feature_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MISSING, THERE, BAD };
enum { DISK_SHARE = 2 }; // of a disk's free space, one in so many parts may be an unnamed file
const char *const rt_feature_cache_files[] = {"features-*.bin", NULL};

static const char magic[16] = "hone features 1";

typedef struct Header {
    char magic[16], key[32];
    int64_t rows, row_floats;
} Header;

struct RtFeatureCache {
    int64_t rows, row_floats;
    uint8_t *state; // [rows]
    // in memory:
    float *data; // [rows][row_floats], mapped
    size_t map_bytes;
    // in a file; path NULL: it is not
    char *path;     // of an unnamed one the folder
    bool named;     // others find it
    int fd;         // held by a lock
    off_t head;     // bytes in front of the rows
    uint64_t *sums; // [rows], as in a named file
    float *row;     // [row_floats] the last one that was read
};

static size_t round_page(size_t n) {
    return (n + 4095) / 4096 * 4096;
}

int64_t rt_feature_cache_bytes(int64_t rows, int64_t row_floats) {
    int64_t bytes;
    if (__builtin_mul_overflow(rows, row_floats, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)sizeof(float), &bytes) ||
        __builtin_add_overflow(bytes, rows * 9 + 8192, &bytes))
        return INT64_MAX;
    return bytes;
}

static size_t row_bytes(const RtFeatureCache *c) {
    return (size_t)c->row_floats * sizeof(float);
}

static uint64_t row_sum(const RtFeatureCache *c, const float *row) {
    return XXH3_64bits(row, row_bytes(c)) | 1;
}

// ---------------------------------------------------------------- the file

static bool read_at(int fd, void *to, size_t bytes, off_t at) {
    errno = 0;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, (char *)to + done, bytes - done, at + (off_t)done);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool write_at(int fd, const void *from, size_t bytes, off_t at) {
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pwrite(fd, (const char *)from + done, bytes - done, at + (off_t)done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static off_t place_of(const RtFeatureCache *c, int64_t row) {
    return c->head + (off_t)row * (off_t)row_bytes(c);
}

static bool read_row(const RtFeatureCache *c, int64_t row, float *to) {
    return read_at(c->fd, to, row_bytes(c), place_of(c, row)) && c->sums[row] == row_sum(c, to);
}

// Rows that a former run left. Bad images are looked at again.
static void take_over(RtFeatureCache *c) {
    if (!read_at(c->fd, c->sums, (size_t)c->rows * sizeof *c->sums, sizeof(Header)))
        memset(c->sums, 0, (size_t)c->rows * sizeof *c->sums);
    for (int64_t i = 0; i < c->rows; i++)
        if (c->sums[i] && read_row(c, i, c->row))
            c->state[i] = THERE;
}

// Locked: another training would fill the same rows. -1 with err set.
static int lock_file(const char *path, RtErr *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd < 0)
        rt_fail(err, "%s: cannot be written: %s", path, strerror(errno));
    else
        rt_fail(err, "%s: %s; give another --feature-cache FOLDER, or memory or off", path,
                errno == EWOULDBLOCK ? "another training uses it" : strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

// The file with its header and room for all rows: a full disk is an error here and not halfway.
static bool make_file(RtFeatureCache *c, const char *key) {
    Header want = {.rows = c->rows, .row_floats = c->row_floats}, had = {.rows = 0};
    memcpy(want.magic, magic, sizeof magic);
    memcpy(want.key, key, strnlen(key, sizeof want.key));
    bool same = read_at(c->fd, &had, sizeof had, 0) && memcmp(&had, &want, sizeof had) == 0;
    int why = same || ftruncate(c->fd, 0) == 0 ? 0 : errno;
    why = why ? why : posix_fallocate(c->fd, 0, place_of(c, c->rows) + 1);
    if (!why && !write_at(c->fd, &want, sizeof want, 0))
        why = errno;
    if (why && !same)
        unlink(c->path); // half a file is of no use
    errno = why;
    return !why;
}

static bool alloc_file(RtFeatureCache *c, RtErr *err) {
    c->sums = calloc((size_t)c->rows + 1, sizeof *c->sums);
    c->row = malloc(row_bytes(c) + 1);
    return (c->sums && c->row) || rt_fail(err, "no memory for cached features");
}

static bool open_file(RtFeatureCache *c, const char *folder, const char *key, RtErr *err) {
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return rt_fail(err, "%s: cannot be written: %s", folder, strerror(errno));
    if (asprintf(&c->path, "%s/features-%.32s.bin", folder, key) < 0) {
        c->path = NULL;
        return rt_fail(err, "no memory");
    }
    c->named = true;
    if (!alloc_file(c, err))
        return false;
    c->head = (off_t)round_page(sizeof(Header) + (size_t)c->rows * sizeof *c->sums);
    c->fd = lock_file(c->path, err);
    if (c->fd < 0)
        return false;
    if (!make_file(c, key))
        return rt_fail(err, "%s: cannot be written: %s", c->path, strerror(errno));
    take_over(c);
    return true;
}

// A file that no name leads to: nothing is left of it however the process ends.
static int make_unnamed(const char *folder) {
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    char *name = NULL;
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR) ||
        asprintf(&name, "%s/.features-XXXXXX", folder) < 0)
        return fd;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    free(name);
    return fd;
}

// False with err set: what lies in the folder lies in memory, or the file would take more than half
// of what is free there.
static bool has_room(const RtFeatureCache *c, RtErr *err) {
    struct statfs s;
    int64_t bytes = place_of(c, c->rows);
    if (fstatfs(c->fd, &s) != 0)
        return rt_fail(err, "%s: cannot be read: %s", c->path, strerror(errno));
    if ((unsigned long)s.f_type == TMPFS_MAGIC || (unsigned long)s.f_type == RAMFS_MAGIC)
        return rt_fail(err, "%s: files there lie in memory", c->path);
    double free_bytes = (double)s.f_bavail * (double)s.f_bsize;
    return (double)bytes <= free_bytes / DISK_SHARE ||
           rt_fail(err, "%s: %lld MB are free there", c->path, (long long)(free_bytes * 1e-6));
}

static bool open_unnamed(RtFeatureCache *c, const char *folder, RtErr *err) {
    c->path = strdup(folder);
    if (!c->path || !alloc_file(c, err))
        return rt_fail(err, "no memory for cached features");
    c->fd = make_unnamed(folder);
    if (c->fd < 0)
        return rt_fail(err, "%s: cannot be written: %s", folder, strerror(errno));
    if (!has_room(c, err))
        return false;
    int why = posix_fallocate(c->fd, 0, place_of(c, c->rows) + 1);
    return why == 0 || rt_fail(err, "%s: cannot be written: %s", folder, strerror(why));
}

// ---------------------------------------------------------------- open and close

static bool map_memory(RtFeatureCache *c, RtErr *err) {
    c->map_bytes = round_page((size_t)c->rows * row_bytes(c) + 1);
    void *p = mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return rt_fail(err, "no memory for %zu MB of cached features", c->map_bytes / 1000000);
    c->data = p;
    return true;
}

// Without rows yet. NULL with err set.
static RtFeatureCache *make(int64_t rows, int64_t row_floats, RtErr *err) {
    RtFeatureCache *c = calloc(1, sizeof *c);
    if (c) {
        *c = (RtFeatureCache){.rows = rows, .row_floats = row_floats, .fd = -1};
        c->state = calloc((size_t)rows + 1, 1);
    }
    if (c && c->state && rt_feature_cache_bytes(rows, row_floats) < INT64_MAX)
        return c;
    rt_fail(err, "no memory for cached features");
    rt_feature_cache_close(c);
    return NULL;
}

static RtFeatureCache *keep_if(RtFeatureCache *c, bool ok) {
    if (ok)
        return c;
    rt_feature_cache_close(c);
    return NULL;
}

RtFeatureCache *rt_feature_cache_open(const char *folder, const char *key, int64_t rows,
                                      int64_t row_floats, RtErr *err) {
    RtFeatureCache *c = make(rows, row_floats, err);
    return keep_if(c, c && (folder ? open_file(c, folder, key, err) : map_memory(c, err)));
}

RtFeatureCache *rt_feature_cache_open_unnamed(const char *folder, int64_t rows, int64_t row_floats,
                                              RtErr *err) {
    RtFeatureCache *c = make(rows, row_floats, err);
    return keep_if(c, c && open_unnamed(c, folder, err));
}

void rt_feature_cache_close(RtFeatureCache *c) {
    if (!c)
        return;
    if (c->data)
        munmap(c->data, c->map_bytes);
    if (c->fd >= 0)
        close(c->fd);
    free(c->path);
    free(c->sums);
    free(c->row);
    free(c->state);
    free(c);
}

// ---------------------------------------------------------------- rows

const float *rt_feature_cache_read(const RtFeatureCache *c, int64_t row, float *room, RtErr *err) {
    if (c->state[row] != THERE)
        return NULL;
    if (c->data)
        return c->data + row * c->row_floats;
    if (read_row(c, row, room))
        return room;
    rt_fail(err, "%s: cannot be read: %s", c->path,
            errno ? strerror(errno) : "it was changed or cut off meanwhile");
    return NULL;
}

const float *rt_feature_cache_row(const RtFeatureCache *c, int64_t row, RtErr *err) {
    return rt_feature_cache_read(c, row, c->row, err);
}

bool rt_feature_cache_put(RtFeatureCache *c, int64_t row, const float *values, RtErr *err) {
    if (c->state[row] == THERE)
        return true;
    if (c->data) {
        memcpy(c->data + row * c->row_floats, values, row_bytes(c));
    } else {
        c->sums[row] = row_sum(c, values);
        off_t at = (off_t)(sizeof(Header) + (size_t)row * sizeof *c->sums);
        if (!write_at(c->fd, values, row_bytes(c), place_of(c, row)) ||
            (c->named && !write_at(c->fd, &c->sums[row], sizeof *c->sums, at)))
            return rt_fail(err, "%s: cannot be written: %s", c->path, strerror(errno));
    }
    c->state[row] = THERE;
    return true;
}

void rt_feature_cache_put_bad(RtFeatureCache *c, int64_t row) {
    c->state[row] = BAD;
}

bool rt_feature_cache_complete(const RtFeatureCache *c, int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; i++)
        if (c->state[i] == MISSING)
            return false;
    return true;
}
