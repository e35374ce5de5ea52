// Export is a copy: the pretrained model is in the executable, ready but for the parameters'
// values, which replace as many bytes; further metadata_props are appended, since a serialized
// message may go on with more elements of a repeated field (Protocol Buffers, encoding: "last one
// wins" and concatenation).
#define _GNU_SOURCE
#include "runtime/train/export.h"

#include "runtime/train/stored.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODEL_METADATA_PROPS = 14, KEY = 1, VALUE = 2, LENGTH_DELIMITED = 2 };

static int by_place(const void *a, const void *b) {
    const HoneParam *x = *(const HoneParam *const *)a, *y = *(const HoneParam *const *)b;
    return (x->initial > y->initial) - (x->initial < y->initial);
}

// As the file stores it. A write error shows in rt_out_finish().
static bool write_param(FILE *f, const HoneParam *p, const float *params, const char *path,
                        RtErr *err) {
    size_t n = rt_stored_bytes(p);
    if (p->stored == HONE_F32) {
        fwrite(params + p->offset, 1, n, f);
        return true;
    }
    void *packed = malloc(n + 1);
    if (!packed)
        return rt_fail(err, "%s: no memory", path);
    bool fits = rt_stored_pack(p, params + p->offset, packed);
    fwrite(packed, 1, n, f);
    free(packed);
    return fits ||
           rt_fail(err, "%s: '%s' has a value too large for the model's type of it", path, p->name);
}

static bool write_model(FILE *f, const HoneTrainDesc *d, const float *params,
                        const HoneParam **order, const char *path, RtErr *err) {
    const uint8_t *at = d->onnx, *end = d->onnx + d->onnx_bytes;
    for (int i = 0; i < d->n_params; i++) {
        const HoneParam *p = order[i];
        fwrite(at, 1, (size_t)(p->initial - at), f);
        if (!write_param(f, p, params, path, err))
            return false;
        at = p->initial + rt_stored_bytes(p);
    }
    fwrite(at, 1, (size_t)(end - at), f);
    return true;
}

static size_t varint_size(uint64_t x) {
    size_t n = 1;
    for (; x >= 128; x >>= 7)
        n++;
    return n;
}

static void put_varint(FILE *f, uint64_t x) {
    for (; x >= 128; x >>= 7)
        fputc((int)(x & 127) | 128, f);
    fputc((int)x, f);
}

static void put_bytes(FILE *f, int field, const char *text) {
    put_varint(f, (uint64_t)field << 3 | LENGTH_DELIMITED);
    put_varint(f, strlen(text));
    fputs(text, f);
}

static size_t bytes_size(const char *text) {
    return 1 + varint_size(strlen(text)) + strlen(text);
}

// A StringStringEntryProto.
static void put_meta(FILE *f, const RtExportMeta *m) {
    put_varint(f, MODEL_METADATA_PROPS << 3 | LENGTH_DELIMITED);
    put_varint(f, bytes_size(m->key) + bytes_size(m->value));
    put_bytes(f, KEY, m->key);
    put_bytes(f, VALUE, m->value);
}

// What the files of this program end with.
static void put_program(FILE *f, const char *key) {
    put_meta(f, &(RtExportMeta){"hone.program", key});
}

// Do the last bytes of the file say so?
static bool ends_with(const char *path, const char *end, size_t n) {
    RtErr ignored;
    int64_t size;
    char *last = malloc(n + 1);
    int fd = last ? rt_file_open(path, &size, &ignored) : -1;
    bool same = fd >= 0 && size >= (int64_t)n &&
                pread(fd, last, n, (off_t)(size - (int64_t)n)) == (ssize_t)n &&
                memcmp(last, end, n) == 0;
    if (fd >= 0)
        close(fd);
    free(last);
    return same;
}

bool rt_export_is_own(const char *key, const char *path, RtErr *err) {
    struct stat st;
    char *end = NULL;
    size_t n = 0;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return true; // nothing is lost
    FILE *f = open_memstream(&end, &n);
    if (!f)
        return rt_fail(err, "%s: no memory", path);
    put_program(f, key);
    bool own = fclose(f) == 0 && ends_with(path, end, n);
    free(end);
    return own || rt_fail(err,
                          "%s: is there already, and not of this program; -o FILE.onnx says where "
                          "the tuned model goes",
                          path);
}

bool rt_export_onnx(const HoneTrainDesc *d, const char *key, const float *params,
                    const RtExportMeta *meta, int n, RtOutFile *out, RtErr *err) {
    const HoneParam **order = calloc((size_t)d->n_params + 1, sizeof *order);
    if (!order)
        return rt_fail(err, "%s: no memory", out->path);
    for (int i = 0; i < d->n_params; i++)
        order[i] = &d->params[i];
    qsort(order, (size_t)d->n_params, sizeof *order, by_place);
    bool ok = rt_out_begin(out, err);
    if (ok) {
        ok = write_model(out->f, d, params, order, out->path, err);
        for (int i = 0; ok && i < n; i++)
            put_meta(out->f, &meta[i]);
        put_program(out->f, key);
    }
    free(order);
    return ok && rt_out_commit(out, err);
}
