// The cache behind feature_cache.h. A file is a header, a checksum per row, then the rows; a row
// counts when its checksum is right, so that a run which was killed leaves nothing to repair.
#define _GNU_SOURCE
#include "runtime/train/feature_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MISSING, THERE, BAD };
static const char magic[16] = "hone features 1";

typedef struct Header {
    char magic[16], key[32];
    int64_t rows, row_floats;
} Header;

struct RtFeatureCache {
    int64_t rows, row_floats;
    uint8_t *state; // [rows]
    uint64_t *sums; // [rows] in the file, NULL in memory
    float *data;    // [rows][row_floats]
    void *map;      // anonymous or of the file
    size_t map_bytes;
    int fd; // of the file, held by a lock; -1: none
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

int64_t rt_memory_available(void) {
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (int64_t)kib * 1024;
}

static uint64_t row_sum(const RtFeatureCache *c, int64_t row) {
    return XXH3_64bits(c->data + row * c->row_floats, (size_t)c->row_floats * sizeof(float)) | 1;
}

// Rows that a former run left. Bad images are looked at again.
static void take_over(RtFeatureCache *c) {
    for (int64_t i = 0; i < c->rows; i++)
        if (c->sums[i] && c->sums[i] == row_sum(c, i))
            c->state[i] = THERE;
}

// Locked: another training would make the file anew under our map of it, or fill the same rows.
static int open_file(const char *path, RtErr *err) {
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

static bool map_file(RtFeatureCache *c, const char *folder, const char *key, size_t head,
                     RtErr *err) {
    char *path = NULL;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return rt_fail(err, "%s: cannot be written: %s", folder, strerror(errno));
    if (asprintf(&path, "%s/features-%.32s.bin", folder, key) < 0)
        return rt_fail(err, "no memory");
    int fd = c->fd = open_file(path, err);
    if (fd < 0) {
        free(path);
        return false;
    }
    Header want = {.rows = c->rows, .row_floats = c->row_floats}, had = {.rows = 0};
    memcpy(want.magic, magic, sizeof magic);
    memcpy(want.key, key, strnlen(key, sizeof want.key));
    bool same =
        pread(fd, &had, sizeof had, 0) == sizeof had && memcmp(&had, &want, sizeof had) == 0;
    bool ok = same || ftruncate(fd, 0) == 0;
    // Space is reserved now: a full disk is an error here and not a signal later.
    int full = ok ? posix_fallocate(fd, 0, (off_t)c->map_bytes) : 0;
    if (full)
        errno = full;
    ok = ok && !full && pwrite(fd, &want, sizeof want, 0) == sizeof want;
    if (ok)
        c->map = mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!ok || c->map == MAP_FAILED)
        rt_fail(err, "%s: cannot be written: %s", path, strerror(errno));
    if (!ok && !same)
        unlink(path); // half a file is of no use
    free(path);
    if (!ok || c->map == MAP_FAILED) {
        c->map = NULL;
        return false;
    }
    c->sums = (uint64_t *)((char *)c->map + sizeof(Header));
    c->data = (float *)((char *)c->map + head);
    take_over(c);
    return true;
}

static bool map_memory(RtFeatureCache *c, RtErr *err) {
    c->map = mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->map == MAP_FAILED) {
        c->map = NULL;
        return rt_fail(err, "no memory for %zu MB of cached features", c->map_bytes / 1000000);
    }
    c->data = c->map;
    return true;
}

RtFeatureCache *rt_feature_cache_open(const char *folder, const char *key, int64_t rows,
                                      int64_t row_floats, RtErr *err) {
    RtFeatureCache *c = calloc(1, sizeof *c);
    if (c) {
        c->fd = -1;
        c->state = calloc((size_t)rows + 1, 1);
    }
    if (!c || !c->state || rt_feature_cache_bytes(rows, row_floats) == INT64_MAX) {
        rt_fail(err, "no memory for cached features");
        rt_feature_cache_close(c);
        return NULL;
    }
    c->rows = rows;
    c->row_floats = row_floats;
    size_t head = folder ? round_page(sizeof(Header) + (size_t)rows * sizeof(uint64_t)) : 0;
    c->map_bytes = round_page(head + (size_t)(rows * row_floats) * sizeof(float)) + 4096;
    if (!(folder ? map_file(c, folder, key, head, err) : map_memory(c, err))) {
        rt_feature_cache_close(c);
        return NULL;
    }
    return c;
}

void rt_feature_cache_close(RtFeatureCache *c) {
    if (!c)
        return;
    if (c->map)
        munmap(c->map, c->map_bytes);
    if (c->fd >= 0)
        close(c->fd);
    free(c->state);
    free(c);
}

const float *rt_feature_cache_row(const RtFeatureCache *c, int64_t row) {
    return c->state[row] == THERE ? c->data + row * c->row_floats : NULL;
}

void rt_feature_cache_put(RtFeatureCache *c, int64_t row, const float *values) {
    if (c->state[row] == THERE)
        return;
    memcpy(c->data + row * c->row_floats, values, (size_t)c->row_floats * sizeof *values);
    if (c->sums)
        c->sums[row] = row_sum(c, row);
    c->state[row] = THERE;
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
