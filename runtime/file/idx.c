// IDX files, the MNIST family's format: 0, 0, element type, rank, then sizes as big-endian 32-bit
// numbers, then elements. Often gzipped.
#include "runtime/file/idx.h"

#include <stdlib.h>
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
