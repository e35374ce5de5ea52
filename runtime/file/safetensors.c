// Reading and writing safetensors files; see safetensors.h. JSON is read by jansson.
#define _GNU_SOURCE
#include "runtime/file/safetensors.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/file/json.h"
#include "runtime/file/out.h"

enum { DIGITS = 16, MAX_HEADER = 64 << 20 };
static const char check_key[] = "\"hone.xxh3\": \"";
static const char zeros[] = "0000000000000000";

struct RtSafetensors {
    char *path;
    uint8_t *file;
    size_t size;
    const uint8_t *data; // behind the header
    size_t data_size;
    json_t *header;
};

static const struct {
    const char *name;
    int dtype, bytes;
} dtypes[] = {{"F32", HONE_F32, 4}, {"F64", HONE_F64, 8}, {"I64", HONE_I64, 8}};

static int find_dtype(int dtype) {
    for (int i = 0; i < (int)(sizeof dtypes / sizeof *dtypes); i++)
        if (dtypes[i].dtype == dtype)
            return i;
    return -1;
}

static bool tensor_bytes(const RtNamedTensor *t, uint64_t *bytes) {
    int k = find_dtype(t->dtype);
    if (k < 0 || t->rank < 0 || t->rank > HONE_MAX_RANK)
        return false;
    uint64_t n = (uint64_t)dtypes[k].bytes;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] < 0 || __builtin_mul_overflow(n, (uint64_t)t->dim[i], &n))
            return false;
    *bytes = n;
    return n < INT64_MAX;
}

// ---------------------------------------------------------------- a tensor's hash

typedef struct Digits {
    char text[DIGITS + 1];
} Digits;

// Of what it is called, what it is, and what it holds.
static bool hash_tensor(const RtNamedTensor *t, const void *data, Digits *to) {
    XXH3_state_t *hash = XXH3_createState();
    uint64_t bytes = 0;
    if (!hash || !tensor_bytes(t, &bytes))
        return XXH3_freeState(hash), false;
    XXH3_64bits_reset(hash);
    XXH3_64bits_update(hash, t->name, strlen(t->name) + 1);
    XXH3_64bits_update(hash, &t->dtype, sizeof t->dtype);
    XXH3_64bits_update(hash, &t->rank, sizeof t->rank);
    XXH3_64bits_update(hash, t->dim, (size_t)t->rank * sizeof *t->dim);
    XXH3_64bits_update(hash, data, bytes);
    snprintf(to->text, sizeof to->text, "%016llx", (unsigned long long)XXH3_64bits_digest(hash));
    XXH3_freeState(hash);
    return true;
}

// "hone.xxh3/NAME"; free() releases. NULL: no memory.
static char *hash_key(const char *name) {
    char *key = NULL;
    return asprintf(&key, "hone.xxh3/%s", name) < 0 ? NULL : key;
}

// ---------------------------------------------------------------- writing

static bool add_hash(RtJson *j, const RtNamedTensor *t) {
    Digits digits;
    char *key = hash_tensor(t, t->data, &digits) ? hash_key(t->name) : NULL;
    if (key)
        rt_json_text(j, key, digits.text);
    bool good = key != NULL;
    free(key);
    return good;
}

// The header's text without padding; free() releases. NULL: no memory.
static char *make_header(const RtMeta *meta, int n_meta, const RtNamedTensor *t, int n,
                         size_t *size) {
    char *text = NULL;
    FILE *f = open_memstream(&text, size);
    if (!f)
        return NULL;
    RtJson j = {.f = f};
    uint64_t at = 0, bytes = 0;
    bool good = true;
    rt_json_begin(&j, NULL, '{');
    rt_json_begin(&j, "__metadata__", '{');
    rt_json_text(&j, "hone.xxh3", zeros);
    for (int i = 0; i < n_meta; i++)
        rt_json_text(&j, meta[i].key, meta[i].text);
    for (int i = 0; i < n; i++)
        good &= add_hash(&j, &t[i]);
    rt_json_end(&j, '}');
    for (int i = 0; i < n; i++) {
        tensor_bytes(&t[i], &bytes);
        rt_json_begin(&j, t[i].name, '{');
        rt_json_text(&j, "dtype", dtypes[find_dtype(t[i].dtype)].name);
        rt_json_begin(&j, "shape", '[');
        for (int k = 0; k < t[i].rank; k++)
            rt_json_int(&j, NULL, t[i].dim[k]);
        rt_json_end(&j, ']');
        rt_json_begin(&j, "data_offsets", '[');
        rt_json_int(&j, NULL, (int64_t)at);
        rt_json_int(&j, NULL, (int64_t)(at + bytes));
        rt_json_end(&j, ']');
        rt_json_end(&j, '}');
        at += bytes;
    }
    rt_json_end(&j, '}');
    while (ftell(f) % 8)
        fputc(' ', f);
    good &= fclose(f) == 0;
    if (!good) {
        free(text);
        return NULL;
    }
    return text;
}

static bool put(FILE *f, XXH3_state_t *hash, const void *data, size_t bytes) {
    XXH3_64bits_update(hash, data, bytes);
    return fwrite(data, 1, bytes, f) == bytes;
}

static bool put_all(FILE *f, const char *header, size_t size, const RtNamedTensor *t, int n) {
    XXH3_state_t *hash = XXH3_createState();
    if (!hash)
        return false;
    XXH3_64bits_reset(hash);
    uint64_t length = size, bytes = 0;
    bool ok = put(f, hash, &length, sizeof length) && put(f, hash, header, size);
    for (int i = 0; ok && i < n; i++) {
        tensor_bytes(&t[i], &bytes);
        ok = put(f, hash, t[i].data, bytes);
    }
    char digits[DIGITS + 1];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)XXH3_64bits_digest(hash));
    XXH3_freeState(hash);
    long at = (long)(strstr(header, check_key) - header) + (long)strlen(check_key) + 8;
    return ok && fseek(f, at, SEEK_SET) == 0 && fwrite(digits, 1, DIGITS, f) == DIGITS;
}

bool rt_safetensors_write(const char *path, const RtMeta *meta, int n_meta,
                          const RtNamedTensor *tensors, int n_tensors, RtErr *err) {
    uint64_t bytes;
    for (int i = 0; i < n_tensors; i++)
        if (!tensor_bytes(&tensors[i], &bytes))
            return rt_fail(err, "%s: tensor '%s' cannot be stored", path, tensors[i].name);
    size_t size = 0;
    char *header = make_header(meta, n_meta, tensors, n_tensors, &size);
    if (!header)
        return rt_fail(err, "%s: no memory", path);
    RtOutFile out = {0};
    bool ok = rt_out_open(&out, NULL, path, RT_OUT_WHOLE, err) && rt_out_begin(&out, err);
    if (ok && !put_all(out.f, header, size, tensors, n_tensors))
        ok = rt_fail(err, "%s: cannot be written: %s", path, strerror(errno));
    free(header);
    if (ok)
        return rt_out_commit(&out, err);
    rt_out_abort(&out);
    return false;
}

// ---------------------------------------------------------------- reading

static bool check_sum(const RtSafetensors *s, size_t header_size, RtErr *err) {
    char *text = (char *)s->file + 8;
    char *key = memmem(text, header_size, check_key, strlen(check_key));
    if (!key || (size_t)(key - text) + strlen(check_key) + DIGITS > header_size)
        return rt_fail(err, "%s: damaged: no checksum", s->path);
    char *digits = key + strlen(check_key), stored[DIGITS + 1] = "", made[DIGITS + 1];
    memcpy(stored, digits, DIGITS);
    memcpy(digits, zeros, DIGITS);
    snprintf(made, sizeof made, "%016llx", (unsigned long long)XXH3_64bits(s->file, s->size));
    memcpy(digits, stored, DIGITS);
    return strcmp(stored, made) == 0 || rt_fail(err, "%s: damaged: wrong checksum", s->path);
}

static bool parse_file(RtSafetensors *s, RtErr *err) {
    uint64_t length = 0;
    if (s->size >= 8)
        memcpy(&length, s->file, 8);
    if (s->size < 8 || length > s->size - 8 || length > MAX_HEADER)
        return rt_fail(err, "%s: not a checkpoint, or cut off", s->path);
    if (!check_sum(s, length, err))
        return false;
    json_error_t why;
    s->header = json_loadb((char *)s->file + 8, length, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(s->header))
        return rt_fail(err, "%s: damaged header: %s", s->path, why.text);
    s->data = s->file + 8 + length;
    s->data_size = s->size - 8 - length;
    return true;
}

RtSafetensors *rt_safetensors_open(const char *path, RtErr *err) {
    RtSafetensors *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        rt_fail(err, "%s: no memory", path);
        free(s);
        return NULL;
    }
    s->file = rt_file_load(path, SIZE_MAX / 2, &s->size, err);
    if (!s->file || !parse_file(s, err)) {
        rt_safetensors_close(s);
        return NULL;
    }
    return s;
}

void rt_safetensors_close(RtSafetensors *s) {
    if (!s)
        return;
    json_decref(s->header);
    free(s->file);
    free(s->path);
    free(s);
}

int rt_safetensors_count(const RtSafetensors *s) {
    bool meta = json_object_get(s->header, "__metadata__") != NULL;
    return (int)json_object_size(s->header) - meta;
}

const char *rt_safetensors_meta(const RtSafetensors *s, const char *key) {
    return json_string_value(json_object_get(json_object_get(s->header, "__metadata__"), key));
}

static bool take_shape(json_t *shape, RtNamedTensor *like) {
    if (!json_is_array(shape) || json_array_size(shape) != (size_t)like->rank)
        return false;
    for (int i = 0; i < like->rank; i++) {
        json_t *d = json_array_get(shape, (size_t)i);
        if (!json_is_integer(d) || json_integer_value(d) < 0 ||
            (like->dim[i] >= 0 && json_integer_value(d) != like->dim[i]))
            return false;
        like->dim[i] = json_integer_value(d);
    }
    return true;
}

static bool has_hash(const RtSafetensors *s, const RtNamedTensor *t, const void *data, RtErr *err) {
    Digits digits;
    char *key = hash_tensor(t, data, &digits) ? hash_key(t->name) : NULL;
    const char *stored = key ? rt_safetensors_meta(s, key) : NULL;
    bool had = key != NULL;
    free(key);
    return (stored && strcmp(stored, digits.text) == 0) ||
           rt_fail(err, had ? "%s: damaged: tensor '%s' has another hash" : "%s: '%s': no memory",
                   s->path, t->name);
}

const void *rt_safetensors_get(const RtSafetensors *s, RtNamedTensor *like, RtErr *err) {
    json_t *t = json_object_get(s->header, like->name);
    json_t *offsets = json_object_get(t, "data_offsets");
    const char *dtype = json_string_value(json_object_get(t, "dtype"));
    int k = find_dtype(like->dtype);
    if (!t) {
        rt_fail(err, "%s: no tensor '%s'", s->path, like->name);
        return NULL;
    }
    uint64_t bytes = 0;
    if (!dtype || strcmp(dtype, dtypes[k].name) != 0 ||
        !take_shape(json_object_get(t, "shape"), like) || !tensor_bytes(like, &bytes)) {
        rt_fail(err, "%s: tensor '%s' has another type or shape", s->path, like->name);
        return NULL;
    }
    json_int_t begin = json_integer_value(json_array_get(offsets, 0));
    json_int_t end = json_integer_value(json_array_get(offsets, 1));
    if (json_array_size(offsets) != 2 || begin < 0 || end < begin || (uint64_t)end > s->data_size ||
        (uint64_t)(end - begin) != bytes) {
        rt_fail(err, "%s: tensor '%s' lies outside the file", s->path, like->name);
        return NULL;
    }
    return has_hash(s, like, s->data + begin, err) ? s->data + begin : NULL;
}
