// Export is a copy: the pretrained model is in the executable, ready but for the parameters'
// values, which replace as many bytes; further metadata_props are appended, since a serialized
// message may go on with more elements of a repeated field (Protocol Buffers, encoding: "last one
// wins" and concatenation).
#include "runtime/train/export.h"

#include <stdlib.h>
#include <string.h>

enum { MODEL_METADATA_PROPS = 14, KEY = 1, VALUE = 2, LENGTH_DELIMITED = 2 };

static int by_place(const void *a, const void *b) {
    const HoneParam *x = *(const HoneParam *const *)a, *y = *(const HoneParam *const *)b;
    return (x->initial > y->initial) - (x->initial < y->initial);
}

// A write error shows in rt_out_finish().
static void write_model(FILE *f, const HoneTrainDesc *d, const float *params,
                        const HoneParam **order) {
    const uint8_t *at = d->onnx, *end = d->onnx + d->onnx_bytes;
    for (int i = 0; i < d->n_params; i++) {
        const HoneParam *p = order[i];
        const uint8_t *place = (const uint8_t *)p->initial;
        size_t gap = (size_t)(place - at), n = (size_t)p->count;
        fwrite(at, 1, gap, f);
        fwrite(params + p->offset, sizeof(float), n, f);
        at = place + n * sizeof(float);
    }
    fwrite(at, 1, (size_t)(end - at), f);
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

bool rt_export_onnx(const HoneTrainDesc *d, const float *params, const RtExportMeta *meta, int n,
                    RtOutFile *out, RtErr *err) {
    const HoneParam **order = calloc((size_t)d->n_params + 1, sizeof *order);
    if (!order)
        return rt_fail(err, "%s: no memory", out->path);
    for (int i = 0; i < d->n_params; i++)
        order[i] = &d->params[i];
    qsort(order, (size_t)d->n_params, sizeof *order, by_place);
    bool ok = rt_out_begin(out, err);
    if (ok) {
        write_model(out->f, d, params, order);
        for (int i = 0; i < n; i++)
            put_meta(out->f, &meta[i]);
    }
    free(order);
    return ok && rt_out_commit(out, err);
}
