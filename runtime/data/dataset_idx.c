// IDX files, the MNIST family's format: 0, 0, element type, rank, then sizes as big-endian 32-bit
// numbers, then elements. Often gzipped. And the names under which they lie in a folder.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

enum { IDX_U8 = 8, IDX_MAX_RANK = 4, DEFLATE_MAX_RATIO = 1032 };

static bool read_exactly(gzFile f, const char *path, void *to, int64_t bytes, RtErr *err) {
    for (int64_t done = 0; done < bytes;) {
        unsigned want = bytes - done < (1 << 30) ? (unsigned)(bytes - done) : 1u << 30;
        int n = gzread(f, (char *)to + done, want), code;
        if (n < 0)
            return rt_fail(err, "%s: %s", path, gzerror(f, &code));
        if (n == 0)
            return rt_fail(err, "%s: truncated IDX file", path);
        done += n;
    }
    return true;
}

// Reads the header; file_bytes limits what it may claim.
static bool read_header(gzFile f, const char *path, int64_t file_bytes, RtNpy *a, RtErr *err) {
    uint8_t head[4], size[4];
    if (!read_exactly(f, path, head, 4, err))
        return false;
    if (head[0] || head[1] || head[3] < 1 || head[3] > IDX_MAX_RANK)
        return rt_fail(err, "%s: not an IDX file", path);
    if (head[2] != IDX_U8)
        return rt_fail(err, "%s: IDX elements of type 0x%02x are not supported, only bytes", path,
                       head[2]);
    a->dtype = HONE_U8;
    a->rank = head[3];
    a->count = 1;
    for (int i = 0; i < a->rank; i++) {
        if (!read_exactly(f, path, size, 4, err))
            return false;
        a->dim[i] =
            (int64_t)size[0] << 24 | (int64_t)size[1] << 16 | (int64_t)size[2] << 8 | size[3];
        if (__builtin_mul_overflow(a->count, a->dim[i], &a->count))
            return rt_fail(err, "%s: the IDX header's sizes are too large", path);
    }
    int64_t most = gzdirect(f) ? file_bytes : file_bytes * DEFLATE_MAX_RATIO;
    return a->count <= most || rt_fail(err, "%s: truncated IDX file", path);
}

static bool read_elements(gzFile f, const char *path, RtNpy *a, RtErr *err) {
    char more;
    a->data = rt_alloc_aligned((size_t)a->count);
    if (!a->data)
        return rt_fail(err, "%s: no memory for %lld bytes", path, (long long)a->count);
    if (!read_exactly(f, path, a->data, a->count, err))
        return false;
    int n = gzread(f, &more, 1), code = Z_OK; // also checks the checksum at the end
    const char *text = gzerror(f, &code);
    if (n > 0)
        return rt_fail(err, "%s: the IDX file is longer than its header says", path);
    return (n == 0 && (code == Z_OK || code == Z_STREAM_END)) || rt_fail(err, "%s: %s", path, text);
}

bool rt_idx_read(const char *path, RtNpy *a, RtErr *err) {
    *a = (RtNpy){0};
    int64_t bytes;
    int fd = rt_file_open(path, &bytes, err);
    if (fd < 0)
        return false;
    gzFile f = gzdopen(fd, "rb");
    if (!f) {
        close(fd);
        return rt_fail(err, "%s: no memory", path);
    }
    gzbuffer(f, 1 << 17);
    bool good = read_header(f, path, bytes, a, err) && read_elements(f, path, a, err);
    gzclose(f);
    if (!good)
        rt_npy_free(a);
    return good;
}

// ---- folders

enum { TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS, N_ROLES };

typedef struct Family {
    RtBuild *b;
    const char *root;
    char *path[N_ROLES];
    bool twice;
} Family;

// "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte"
static int find_role(const char *name) {
    static const char *const role[N_ROLES] = {"train-images", "train-labels", "-images", "-labels"};
    static const char *const kind[N_ROLES] = {"idx3-ubyte", "idx1-ubyte", "idx3-ubyte",
                                              "idx1-ubyte"};
    bool test = strstr(name, "t10k-") || strstr(name, "test-");
    for (int i = test ? TEST_IMAGES : 0; i < (test ? N_ROLES : TEST_IMAGES); i++) {
        const char *end = strstr(name, kind[i]);
        if (strstr(name, role[i]) && end && (!end[10] || strcmp(end + 10, ".gz") == 0))
            return i;
    }
    return -1;
}

static bool find_files(Family *f) {
    DIR *dir = opendir(f->root);
    bool good = true;
    struct dirent *e;
    while (dir && good && (e = readdir(dir))) {
        int role = e->d_name[0] == '.' ? -1 : find_role(e->d_name);
        if (role < 0)
            continue;
        char *path;
        good = asprintf(&path, "%s/%s", f->root, e->d_name) >= 0;
        if (!good)
            break;
        // The same file packed and unpacked: the unpacked one is read.
        size_t n = f->path[role] ? strlen(f->path[role]) : 0, m = strlen(path);
        bool packs = m == n + 3 && strncmp(path, f->path[role], n) == 0;
        bool packed = n == m + 3 && strncmp(path, f->path[role], m) == 0;
        f->twice |= n && !packs && !packed;
        if (packs) {
            free(path);
        } else {
            free(f->path[role]);
            f->path[role] = path;
        }
    }
    if (dir)
        closedir(dir);
    return good || rt_build_no_memory(f->b);
}

static bool read_role(Family *f, int images, int part) {
    char **path = f->path + images;
    if (!path[0] || !path[1])
        return rt_build_error(f->b, "%s: of the IDX files, the %s %s are missing", f->root,
                              images == TRAIN_IMAGES ? "training" : "test",
                              path[0]   ? "labels"
                              : path[1] ? "images"
                                        : "images and labels");
    return rt_arrays_read(f->b, path[0], path[1], part);
}

bool rt_idx_folder_read(RtBuild *b, const char *root, RtTake take, bool *found) {
    Family f = {.b = b, .root = root};
    bool good = find_files(&f);
    bool train = f.path[TRAIN_IMAGES] || f.path[TRAIN_LABELS];
    bool test = f.path[TEST_IMAGES] || f.path[TEST_LABELS];
    *found = good && (train || test);
    if (*found && f.twice)
        good = rt_build_error(
            b, "%s: there are several sets of IDX files; name one as IMAGES,LABELS", root);
    else if (*found && take == RT_TAKE_VAL)
        good = read_role(&f, test ? TEST_IMAGES : TRAIN_IMAGES, RT_PART_VAL);
    else if (*found) {
        good = read_role(&f, TRAIN_IMAGES, RT_PART_TRAIN);
        if (take == RT_TAKE_BOTH && test)
            good = read_role(&f, TEST_IMAGES, RT_PART_VAL) && good;
    }
    for (int i = 0; i < N_ROLES; i++)
        free(f.path[i]);
    return good;
}
