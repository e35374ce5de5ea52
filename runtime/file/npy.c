// .npy: magic "\x93NUMPY", version, header length, a Python dict literal, raw elements.
//
// The reader accepts exactly the three keys of the format in any order, caps the header before it
// reads it and checks the element count against the file's size before it allocates.
#include "runtime/file/npy.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PREFIX = 8, MAX_HEADER = 1 << 16 };

typedef struct Parser {
    RtNpySource read;
    void *ctx;
    const char *p, *end;
    const char *path;
    RtErr *err;
    RtNpy *a;
    bool fortran, seen_descr, seen_order, seen_shape;
} Parser;

static void skip_space(Parser *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
}

static bool take(Parser *s, char c) {
    skip_space(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool take_word(Parser *s, const char *word) {
    skip_space(s);
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool take_string(Parser *s, char *text, size_t size) {
    skip_space(s);
    if (s->p == s->end || (*s->p != '\'' && *s->p != '"'))
        return false;
    char quote = *s->p++;
    size_t n = 0;
    while (s->p < s->end && *s->p != quote && *s->p != '\\' && n + 1 < size)
        text[n++] = *s->p++;
    text[n] = 0;
    return take(s, quote);
}

static bool reject(Parser *s, const char *reason) {
    return rt_fail(s->err, "%s: %s", s->path, reason);
}

// "<f4", "|b1", "=i8" ...
static bool parse_descr(Parser *s) {
    char text[32];
    if (!take_string(s, text, sizeof text))
        return reject(s, "structured arrays are not supported");
    if (text[0] == '>' && strcmp(text + 1, "i1") && strcmp(text + 1, "u1") &&
        strcmp(text + 1, "b1"))
        return rt_fail(s->err, "%s: big-endian elements ('%s') are not supported", s->path, text);
    for (int d = 0; d < RT_N_DTYPES; d++)
        if (text[0] && strchr("<>|=", text[0]) && strcmp(rt_dtype(d)->npy + 1, text + 1) == 0) {
            s->a->dtype = d;
            s->seen_descr = true;
            return true;
        }
    return rt_fail(s->err, "%s: element type '%s' is not supported", s->path, text);
}

static bool parse_order(Parser *s) {
    s->fortran = take_word(s, "True");
    s->seen_order = s->fortran || take_word(s, "False");
    return s->seen_order || reject(s, "damaged .npy header (fortran_order)");
}

static bool parse_shape(Parser *s) {
    RtNpy *a = s->a;
    a->rank = 0;
    if (!take(s, '('))
        return reject(s, "damaged .npy header (shape)");
    while (!take(s, ')')) {
        int64_t dim = 0;
        int digits = 0;
        skip_space(s);
        for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++, digits++)
            if (__builtin_mul_overflow(dim, 10, &dim) ||
                __builtin_add_overflow(dim, *s->p - '0', &dim))
                return reject(s, "a dimension is too large");
        if (a->rank == HONE_MAX_RANK)
            return rt_fail(s->err, "%s: more than %d dimensions", s->path, HONE_MAX_RANK);
        if (!digits)
            return reject(s, "damaged .npy header (shape)");
        take(s, 'L'); // Python 2 wrote long integers so
        a->dim[a->rank++] = dim;
        bool last = !take(s, ',');
        if (last && (a->rank == 1 || s->p == s->end || *s->p != ')')) // "(3)" is no tuple
            return reject(s, "damaged .npy header (shape)");
    }
    s->seen_shape = true;
    return true;
}

static bool parse_header(Parser *s) {
    static const struct {
        const char *key;
        bool (*parse)(Parser *);
    } keys[] = {{"descr", parse_descr}, {"fortran_order", parse_order}, {"shape", parse_shape}};
    if (!take(s, '{'))
        return reject(s, "damaged .npy header");
    while (!take(s, '}')) {
        char key[32];
        if (!take_string(s, key, sizeof key) || !take(s, ':'))
            return reject(s, "damaged .npy header");
        size_t k = 0;
        while (k < 3 && strcmp(keys[k].key, key) != 0)
            k++;
        if (k == 3)
            return rt_fail(s->err, "%s: unknown key '%s' in the .npy header", s->path, key);
        if (!keys[k].parse(s))
            return false;
        if (!take(s, ',') && (s->p == s->end || *s->p != '}'))
            return reject(s, "damaged .npy header");
    }
    if (!s->seen_descr || !s->seen_order || !s->seen_shape)
        return reject(s, "the .npy header lacks a key");
    return true;
}

// Reads magic, version and header; *offset: where the elements start.
static bool read_header(Parser *s, int64_t size, int64_t *offset) {
    uint8_t head[PREFIX + 4];
    if (size < PREFIX + 2)
        return reject(s, "not an .npy file (too short)");
    if (!s->read(s->ctx, head, PREFIX + 2, s->err))
        return false;
    if (memcmp(head, "\x93NUMPY", 6) != 0)
        return reject(s, "not an .npy file");
    int major = head[6];
    if (major < 1 || major > 3)
        return rt_fail(s->err, "%s: .npy version %d is not supported", s->path, major);
    uint32_t length = (uint32_t)head[8] | (uint32_t)head[9] << 8;
    *offset = PREFIX + 2;
    if (major >= 2) {
        if (size < PREFIX + 4)
            return reject(s, "truncated .npy header");
        if (!s->read(s->ctx, head + 10, 2, s->err))
            return false;
        length |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
        *offset += 2;
    }
    if (length > MAX_HEADER)
        return reject(s, "the .npy header is too long");
    if (*offset + length > size)
        return reject(s, "truncated .npy header");
    char *text = malloc(length + 1);
    if (!text)
        return reject(s, "no memory");
    s->p = text;
    s->end = text + length;
    *offset += length;
    bool good = s->read(s->ctx, text, length, s->err) && parse_header(s);
    free(text);
    return good;
}

// Reorders column-major elements of `bytes` bytes each.
static void *transpose_fortran(const RtNpy *a, int bytes) {
    char *to = rt_alloc_aligned((size_t)a->count * (size_t)bytes);
    const char *from = a->data;
    int64_t stride[HONE_MAX_RANK], index[HONE_MAX_RANK] = {0}, at = 0, s = 1;
    for (int i = 0; i < a->rank; i++) {
        stride[i] = s;
        s *= a->dim[i];
    }
    for (int64_t k = 0; to && k < a->count; k++) {
        memcpy(to + k * bytes, from + at * bytes, (size_t)bytes);
        for (int i = a->rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < a->dim[i])
                break;
            at -= index[i] * stride[i];
            index[i] = 0;
        }
    }
    return to;
}

static bool read_elements(Parser *s, int64_t size) {
    RtNpy *a = s->a;
    int bytes = rt_dtype(a->dtype)->bytes;
    int64_t total;
    a->count = 1;
    for (int i = 0; i < a->rank; i++)
        if (__builtin_mul_overflow(a->count, a->dim[i], &a->count))
            return reject(s, "the shape is too large");
    if (__builtin_mul_overflow(a->count, (int64_t)bytes, &total))
        return reject(s, "the shape is too large");
    if (total != size) {
        char shape[256];
        rt_shape_text(a->dtype, a->rank, a->dim, shape, sizeof shape);
        return rt_fail(s->err, "%s: %s: %s needs %lld bytes of data, the file has %lld", s->path,
                       size < total ? "truncated" : "too long", shape, (long long)total,
                       (long long)size);
    }
    a->data = rt_alloc_aligned((size_t)total);
    if (!a->data)
        return rt_fail(s->err, "%s: no memory for %lld bytes", s->path, (long long)total);
    if (!s->read(s->ctx, a->data, (size_t)total, s->err))
        return false;
    if (s->fortran && a->rank > 1 && a->count > 0) {
        void *rows = transpose_fortran(a, bytes);
        if (!rows)
            return rt_fail(s->err, "%s: no memory for %lld bytes", s->path, (long long)total);
        free(a->data);
        a->data = rows;
    }
    if (a->dtype == HONE_BOOL)
        for (uint8_t *b = a->data, *end = b + total; b < end; b++)
            *b = *b != 0;
    return true;
}

bool rt_npy_stream(const char *name, int64_t size, RtNpySource read, void *ctx, RtNpy *a,
                   RtErr *err) {
    *a = (RtNpy){0};
    int64_t offset = 0;
    Parser s = {.read = read, .ctx = ctx, .path = name, .err = err, .a = a};
    bool good = read_header(&s, size, &offset) && read_elements(&s, size - offset);
    if (!good)
        rt_npy_free(a);
    return good;
}

typedef struct File {
    int fd;
    const char *path;
} File;

static bool read_file(void *ctx, void *to, size_t bytes, RtErr *err) {
    const File *f = ctx;
    return rt_file_read(f->fd, f->path, to, bytes, err);
}

bool rt_npy_read(const char *path, RtNpy *a, RtErr *err) {
    *a = (RtNpy){0};
    int64_t size;
    File f = {rt_file_open(path, &size, err), path};
    bool good = f.fd >= 0 && rt_npy_stream(path, size, read_file, &f, a, err);
    if (f.fd >= 0)
        close(f.fd);
    return good;
}

void rt_npy_free(RtNpy *a) {
    free(a->data);
    *a = (RtNpy){0};
}

size_t rt_npy_head(char head[RT_NPY_HEAD], int dtype, int rank, const int64_t *dim,
                   int64_t *bytes) {
    const RtDtype *type = rt_dtype(dtype);
    if (!type || rank < 0 || rank > HONE_MAX_RANK)
        return 0;
    memcpy(head, "\x93NUMPY\x01", 8);
    *bytes = type->bytes;
    int n = 10 + snprintf(head + 10, RT_NPY_HEAD - 10,
                          "{'descr': '%s', 'fortran_order': False, 'shape': (", type->npy);
    for (int i = 0; i < rank; i++) {
        n += snprintf(head + n, (size_t)(RT_NPY_HEAD - n), "%s%lld", i ? ", " : "",
                      (long long)dim[i]);
        if (dim[i] < 0 || __builtin_mul_overflow(*bytes, dim[i], bytes))
            return 0;
    }
    n += snprintf(head + n, (size_t)(RT_NPY_HEAD - n), "%s), }", rank == 1 ? "," : "");
    do // the elements start at a multiple of 64
        head[n++] = ' ';
    while ((n + 1) % 64);
    head[n++] = '\n';
    head[8] = (char)((n - 10) & 255);
    head[9] = (char)((n - 10) >> 8);
    return (size_t)n;
}

bool rt_npy_write(RtOutFile *out, int dtype, int rank, const int64_t *dim, const void *data) {
    char head[RT_NPY_HEAD];
    int64_t bytes;
    size_t n = rt_npy_head(head, dtype, rank, dim, &bytes);
    fwrite(head, 1, n, out->f);
    if (n)
        fwrite(data, 1, (size_t)bytes, out->f);
    return n > 0;
}
