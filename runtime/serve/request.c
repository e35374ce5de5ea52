// From a request's body to the model's inputs: KServe v2's JSON, its binary extension, images.
//
// Nothing in the body is trusted: every size is checked against what is there, and against what the
// model takes, before memory is asked for.
#include <stdlib.h>
#include <string.h>

#include "runtime/core/unit.h"
#include "runtime/image/image.h"
#include "runtime/serve/job.h"
#include "runtime/serve/tensor.h"

typedef struct Reader {
    const RtServeModel *m;
    RtServeJob *job;
    const char *binary; // what no tensor has taken yet
    size_t left;
    bool binary_outputs; // by default
} Reader;

typedef struct Source { // of a tensor's elements: one of the two
    const json_t *data;
    const char *binary;
    size_t bytes;
} Source;

// ---------------------------------------------------------------- memory

static bool fail_memory(RtErr *err) {
    return rt_fail(err, "no memory for the request");
}

static bool allocate(void **tensor, const HoneTensorDesc *t, int n, int64_t N, RtErr *err) {
    for (int i = 0; i < n; i++) {
        int64_t bytes;
        if (!rt_tensor_bytes(&t[i], N, &bytes) || !(tensor[i] = rt_alloc_aligned((size_t)bytes)))
            return fail_memory(err);
    }
    return true;
}

static bool start_job(RtServeJob *job, const HoneModelDesc *d) {
    job->n_x = d->n_inputs;
    job->n_y = d->n_outputs;
    job->x = calloc((size_t)d->n_inputs + 1, sizeof *job->x);
    job->y = calloc((size_t)d->n_outputs + 1, sizeof *job->y);
    job->want = calloc((size_t)d->n_outputs + 1, sizeof *job->want);
    job->dim = calloc((size_t)d->n_outputs + 1, sizeof *job->dim);
    job->d = d;
    job->rows = -1;
    return (job->x && job->y && job->want && job->dim) || fail_memory(&job->err);
}

static bool check_rows(const RtServeModel *m, int64_t N, RtErr *err) {
    if (N < 1)
        return rt_fail(err, "a request has at least one row");
    return N <= m->max_batch || rt_fail(err, "a batch of %lld is larger than %d, the largest here",
                                        (long long)N, m->max_batch);
}

// ---------------------------------------------------------------- images

static void use_size(Reader *r, int size) {
    r->job->size = size;
    r->job->d = r->m->size[size];
}

// Image 0 says of what size the model is.
static bool take_image(Reader *r, int64_t i, const uint8_t *data, size_t bytes) {
    RtServeJob *job = r->job;
    const HonePreprocess *p = &job->d->preprocess; // but for sizes as of all
    int64_t all;
    char name[64];
    RtImage image;
    snprintf(name, sizeof name, "image %lld", (long long)i);
    if (!rt_image_decode(name, data, bytes, p->channels, p->as_stored, r->m->max_pixels, &image,
                         &job->err))
        return false;
    if (i == 0)
        use_size(r, rt_unit_nearest(r->m->size, r->m->n_sizes, image.width, image.height));
    const HoneTensorDesc *t = &job->d->inputs[0];
    bool good = i > 0 || allocate(job->x, t, 1, job->rows, &job->err);
    if (good) {
        rt_tensor_bytes(t, job->rows, &all);
        int64_t rows = t->dim[0].n ? job->rows : t->dim[0].c;
        char *row = (char *)job->x[0] + all / rows * i;
        good = rt_preprocess(&job->d->preprocess, t->dtype, &image, row, &job->err);
    }
    rt_image_free(&image);
    return good;
}

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

// RFC 4648; free() releases. NULL: it is none, or there is no memory.
static uint8_t *decode_base64(const char *text, size_t n, size_t *bytes) {
    uint8_t *out = n % 4 == 0 ? malloc(n / 4 * 3 + 1) : NULL;
    size_t end = n;
    while (end > 0 && n - end < 2 && text[end - 1] == '=')
        end--;
    *bytes = 0;
    uint32_t bits = 0;
    for (size_t i = 0; out && i < end; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0) {
            free(out);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4)
            out[(*bytes)++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return out;
}

static bool take_text_images(Reader *r, const json_t *data, int64_t n) {
    if (!json_is_array(data) || (int64_t)json_array_size(data) != n)
        return rt_fail(&r->job->err, "its data is no array of %lld texts", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(data, (size_t)i);
        size_t bytes = 0;
        uint8_t *file = json_is_string(v)
                            ? decode_base64(json_string_value(v), json_string_length(v), &bytes)
                            : NULL;
        bool good = file ? take_image(r, i, file, bytes)
                         : rt_fail(&r->job->err, "image %lld is no text in base64", (long long)i);
        free(file);
        if (!good)
            return false;
    }
    return true;
}

// Each is preceded by its size in 4 bytes, little-endian.
static bool take_binary_images(Reader *r, const Source *s, int64_t n) {
    size_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = (const uint8_t *)s->binary + at;
        size_t left = s->bytes - at;
        size_t size = left < 4 ? 0 : p[0] | p[1] << 8 | p[2] << 16 | (size_t)p[3] << 24;
        if (left < 4 || size > left - 4)
            return rt_fail(&r->job->err, "image %lld of its binary data is cut off", (long long)i);
        if (!take_image(r, i, p + 4, size))
            return false;
        at += 4 + size;
    }
    return at == s->bytes ||
           rt_fail(&r->job->err, "its binary data holds more than %lld images", (long long)n);
}

// Images [n] or [n, 1] in place of the tensor
static bool read_images(Reader *r, int rank, const int64_t *dim, const Source *s) {
    const HoneTensorDesc *t = &r->m->d->inputs[0];
    RtServeJob *job = r->job;
    int64_t n = rank ? dim[0] : 0, fixed = t->dim[0].n ? -1 : t->dim[0].c;
    if (rank < 1 || rank > 2 || (rank == 2 && dim[1] != 1))
        return rt_fail(&job->err, "a shape of images is [n] or [n, 1]");
    if (fixed >= 0 && n != fixed)
        return rt_fail(&job->err, "the model takes exactly %lld images", (long long)fixed);
    job->rows = fixed >= 0 ? 1 : n;
    if (!check_rows(r->m, job->rows, &job->err))
        return false;
    return s->binary ? take_binary_images(r, s, n) : take_text_images(r, s->data, n);
}

// ---------------------------------------------------------------- tensors

static bool read_shape(const json_t *shape, int *rank, int64_t dim[HONE_MAX_RANK], RtErr *err) {
    if (!json_is_array(shape) || json_array_size(shape) > HONE_MAX_RANK)
        return rt_fail(err, "its shape is no array of at most %d sizes", HONE_MAX_RANK);
    *rank = (int)json_array_size(shape);
    for (int i = 0; i < *rank; i++) {
        const json_t *v = json_array_get(shape, (size_t)i);
        dim[i] = json_is_integer(v) ? json_integer_value(v) : -1;
        if (dim[i] < 0 || dim[i] > INT32_MAX)
            return rt_fail(err, "size %d of its shape is no number from 0 to 2147483647", i);
    }
    return true;
}

static bool read_tensor(const Reader *r, int k, int rank, const int64_t *dim, const Source *s) {
    RtServeJob *job = r->job;
    const HoneTensorDesc *t = &job->d->inputs[k];
    int64_t N = job->rows, count, bytes;
    if (!rt_serve_solve(t, rank, dim, &N, &job->err))
        return false;
    if (job->rows < 0 && N >= 0 && !check_rows(r->m, N, &job->err))
        return false;
    job->rows = N;
    N = N < 0 ? 1 : N; // no dimension of it depends on N
    if (!rt_tensor_count(t, N, &count) || !rt_tensor_bytes(t, N, &bytes))
        return rt_fail(&job->err, "it is too large");
    if (s->binary && (int64_t)s->bytes != bytes)
        return rt_fail(&job->err, "its binary data has %zu bytes, its shape %lld", s->bytes,
                       (long long)bytes);
    if (s->binary && bytes && !job->packed && (uintptr_t)s->binary % RT_ALIGN == 0)
        job->x[k] = job->body + (s->binary - job->body);
    else if (!(job->x[k] = rt_alloc_aligned((size_t)bytes)))
        return fail_memory(&job->err);
    if (!s->binary)
        return rt_serve_store(s->data, t->dtype, count, job->x[k], &job->err);
    if (job->x[k] != s->binary)
        memcpy(job->x[k], s->binary, (size_t)bytes);
    for (int64_t i = 0; t->dtype == HONE_BOOL && i < bytes; i++)
        ((char *)job->x[k])[i] = ((char *)job->x[k])[i] != 0;
    return true;
}

// The next bytes of the binary part, or the data itself.
static bool find_source(Reader *r, const json_t *input, Source *s) {
    const json_t *size = json_object_get(json_object_get(input, "parameters"), "binary_data_size");
    *s = (Source){.data = json_object_get(input, "data")};
    if (!size)
        return true;
    int64_t bytes = json_is_integer(size) ? json_integer_value(size) : -1;
    if (s->data)
        return rt_fail(&r->job->err, "it has data and a binary_data_size");
    if (bytes < 0 || (size_t)bytes > r->left)
        return rt_fail(&r->job->err, "its binary_data_size is not what follows the JSON");
    *s = (Source){.binary = r->binary, .bytes = (size_t)bytes};
    r->binary += bytes;
    r->left -= (size_t)bytes;
    return true;
}

static int find_tensor(const HoneTensorDesc *t, int n, const json_t *name) {
    for (int i = 0; json_is_string(name) && i < n; i++)
        if (strcmp(t[i].name, json_string_value(name)) == 0)
            return i;
    return -1;
}

static bool name_error(RtErr *err, const char *what, const char *name) {
    RtErr why = *err;
    return rt_fail(err, "%s '%s': %s", what, name, why.text);
}

static bool read_input(Reader *r, const json_t *input) {
    const HoneModelDesc *d = r->m->d;
    RtErr *err = &r->job->err;
    const char *name = json_string_value(json_object_get(input, "name"));
    const char *type = json_string_value(json_object_get(input, "datatype"));
    int k = find_tensor(d->inputs, d->n_inputs, json_object_get(input, "name")), rank = 0;
    int64_t dim[HONE_MAX_RANK];
    Source s;
    if (!name)
        return rt_fail(err, "an input has no name");
    if (k < 0)
        return rt_fail(err, "unexpected inference input '%s' for model '%s'", name, r->m->name);
    if (r->job->x[k])
        return rt_fail(err, "input '%s' is there twice", name);
    bool images = type && r->m->takes_images && strcmp(type, "BYTES") == 0;
    if (!images && (!type || strcmp(type, rt_serve_dtype(d->inputs[k].dtype)) != 0))
        return rt_fail(err, "inference input '%s' data-type is '%s', but model '%s' expects '%s'",
                       name, type ? type : "", r->m->name, rt_serve_dtype(d->inputs[k].dtype));
    return (read_shape(json_object_get(input, "shape"), &rank, dim, err) &&
            find_source(r, input, &s) &&
            (images ? read_images(r, rank, dim, &s) : read_tensor(r, k, rank, dim, &s))) ||
           name_error(err, "input", name);
}

// ---------------------------------------------------------------- outputs

static void want_all(Reader *r) {
    for (int i = 0; i < r->m->d->n_outputs; i++)
        r->job->want[r->job->n_want++] = (RtServeWant){i, r->job->classes, r->binary_outputs};
}

static bool read_flag(const json_t *parameters, const char *key, bool *to, RtErr *err) {
    const json_t *v = json_object_get(parameters, key);
    *to = v ? json_is_true(v) : *to;
    return !v || json_is_boolean(v) ||
           rt_fail(err, "parameter '%s' is neither true nor false", key);
}

static bool read_want(Reader *r, const json_t *output) {
    const HoneModelDesc *d = r->m->d;
    RtErr *err = &r->job->err;
    const char *name = json_string_value(json_object_get(output, "name"));
    const json_t *parameters = json_object_get(output, "parameters");
    const json_t *classes = json_object_get(parameters, "classification");
    int64_t k = classes && json_is_integer(classes) ? json_integer_value(classes) : 0;
    RtServeWant w = {find_tensor(d->outputs, d->n_outputs, json_object_get(output, "name")), 0,
                     r->binary_outputs};
    if (w.output < 0)
        return rt_fail(err, "unexpected inference output '%s' for model '%s'", name ? name : "",
                       r->m->name);
    if (classes && (!json_is_integer(classes) || k < 0))
        return rt_fail(err, "output '%s': classification is no number of classes", name);
    w.classes = k < INT32_MAX ? (int)k : INT32_MAX;
    for (int i = 0; i < r->job->n_want; i++)
        if (r->job->want[i].output == w.output)
            return rt_fail(err, "output '%s' is asked for twice", name);
    if (!read_flag(parameters, "binary_data", &w.binary, err))
        return name_error(err, "output", name);
    r->job->want[r->job->n_want++] = w;
    return true;
}

static bool read_outputs(Reader *r, const json_t *root) {
    const json_t *outputs = json_object_get(root, "outputs");
    size_t i;
    json_t *v;
    if (!read_flag(json_object_get(root, "parameters"), "binary_data_output", &r->binary_outputs,
                   &r->job->err))
        return false;
    if (outputs && !json_is_array(outputs))
        return rt_fail(&r->job->err, "outputs is no array");
    if (!json_array_size(outputs))
        want_all(r);
    json_array_foreach(outputs, i, v) if (!read_want(r, v)) return false;
    return true;
}

// ---------------------------------------------------------------- bodies

// JSON takes up to a hundred times its size once it is read: no more values than the model has use
// for.
static bool check_values(const RtServeModel *m, const char *text, size_t n, RtErr *err) {
    int64_t most = 4096, values = 0;
    for (int i = 0; i < m->d->n_inputs * m->n_sizes; i++) {
        int64_t count;
        const HoneTensorDesc *t = &m->size[i % m->n_sizes]->inputs[i / m->n_sizes];
        if (!rt_tensor_count(t, m->max_batch, &count) || count > INT32_MAX)
            return true; // larger than any body
        most += 2 * count;
    }
    for (size_t i = 0; i < n; i++)
        values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    return values <= most || rt_fail(err, "the request has more values than the model's inputs");
}

static bool input_fits(const RtServeModel *m, int size, const json_t *input, int64_t *N) {
    RtErr why;
    int rank, k = find_tensor(m->d->inputs, m->d->n_inputs, json_object_get(input, "name"));
    int64_t dim[HONE_MAX_RANK];
    return k >= 0 && read_shape(json_object_get(input, "shape"), &rank, dim, &why) &&
           rt_serve_solve(&m->size[size]->inputs[k], rank, dim, N, &why);
}

// The first size that all inputs fit. Where none is, the first stays: what is wrong with it is
// told.
static bool find_size(Reader *r, const json_t *inputs) {
    size_t i;
    json_t *v;
    for (int k = 0; k < r->m->n_sizes; k++) {
        int64_t N = -1;
        bool fits = true;
        json_array_foreach(inputs, i, v) fits = fits && input_fits(r->m, k, v, &N);
        if (fits) {
            use_size(r, k);
            return true;
        }
    }
    return r->m->n_sizes == 1;
}

// Behind an error
static bool name_sizes(const Reader *r) {
    char sizes[640], why[384];
    snprintf(why, sizeof why, "%.380s", r->job->err.text);
    return rt_fail(&r->job->err, "%s; the sizes are %s", why,
                   rt_unit_sizes_text(r->m->first, sizes, sizeof sizes));
}

static bool read_root(Reader *r, const json_t *root) {
    const HoneModelDesc *d = r->m->d;
    RtServeJob *job = r->job;
    const json_t *inputs = json_object_get(root, "inputs"), *id = json_object_get(root, "id");
    size_t i;
    json_t *v;
    if (id && !json_is_string(id))
        return rt_fail(&job->err, "id is no text");
    if (id && !(job->id = strdup(json_string_value(id))))
        return fail_memory(&job->err);
    if (!json_is_array(inputs) || json_array_size(inputs) != (size_t)d->n_inputs)
        return rt_fail(&job->err, "expected %d inputs but got %zu inputs for model '%s'",
                       d->n_inputs, json_array_size(inputs), r->m->name);
    bool found = find_size(r, inputs);
    json_array_foreach(inputs, i, v) if (!read_input(r, v)) return !found && name_sizes(r);
    if (r->left)
        return rt_fail(&job->err, "%zu bytes behind the JSON belong to no input", r->left);
    return read_outputs(r, root);
}

static bool read_json(Reader *r) {
    RtServeJob *job = r->job;
    json_error_t e;
    if (!check_values(r->m, job->body, (size_t)job->json_bytes, &job->err))
        return false;
    json_t *root = json_loadb(job->body, (size_t)job->json_bytes, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return rt_fail(&job->err, "failed to parse the request JSON buffer: %s at %d", e.text,
                       e.position);
    bool good = read_root(r, root);
    json_decref(root);
    return good;
}

// The N of a tensor of so many bytes; -1: it is none.
static int64_t solve_bytes(const HoneTensorDesc *t, int64_t bytes) {
    int64_t one, none;
    if (!rt_tensor_bytes(t, 1, &one) || !rt_tensor_bytes(t, 0, &none) || bytes < none)
        return -1;
    if (one == none)
        return bytes == one ? 1 : -1;
    return (bytes - none) % (one - none) ? -1 : (bytes - none) / (one - none);
}

// Of bytes without a shape
static bool read_raw_tensor(Reader *r, const Source *s) {
    RtServeJob *job = r->job;
    int64_t N = -1, dim[HONE_MAX_RANK];
    int fitting = 0;
    for (int k = r->m->n_sizes - 1; k >= 0; k--) {
        int64_t of_size = solve_bytes(&r->m->size[k]->inputs[0], (int64_t)s->bytes);
        fitting += of_size >= 0;
        N = of_size >= 0 ? of_size : N;
        if (of_size >= 0)
            use_size(r, k);
    }
    const HoneTensorDesc *t = &job->d->inputs[0];
    char want[256];
    if (fitting > 1)
        return rt_fail(&job->err, "bytes alone could be of %d sizes of the model: send a shape",
                       fitting);
    if (!fitting) {
        rt_fail(&job->err, "%zu bytes are no %s", s->bytes, rt_tensor_text(t, want, sizeof want));
        return r->m->n_sizes > 1 && name_sizes(r);
    }
    for (int i = 0; i < t->rank; i++)
        rt_dim_at(t->dim[i], N, &dim[i]); // they fit, as their product does
    return read_tensor(r, 0, t->rank, dim, s);
}

// A body that is one tensor's bytes, or one image file
static bool read_raw(Reader *r) {
    const HoneModelDesc *d = r->m->d;
    RtServeJob *job = r->job;
    Source s = {.binary = job->body, .bytes = job->body_bytes};
    if (d->n_inputs != 1)
        return rt_fail(&job->err, "a body of bytes alone is for models with one input");
    want_all(r);
    const HoneTensorDesc *t = &d->inputs[0];
    if (r->m->takes_images && rt_image_is_file((const uint8_t *)job->body, job->body_bytes)) {
        job->rows = 1;
        if (!t->dim[0].n && t->dim[0].c != 1)
            return rt_fail(&job->err, "the model takes exactly %lld images",
                           (long long)t->dim[0].c);
        return take_image(r, 0, (const uint8_t *)job->body, job->body_bytes);
    }
    return read_raw_tensor(r, &s) || name_error(&job->err, "input", t->name);
}

static bool read_body(Reader *r) {
    RtServeJob *job = r->job;
    if (job->json_bytes < 0)
        job->json_bytes = (int64_t)job->body_bytes;
    if (job->json_bytes > (int64_t)job->body_bytes)
        return rt_fail(&job->err, "Inference-Header-Content-Length is no size within the body");
    if (job->json_bytes == 0)
        return read_raw(r);
    r->binary = job->body + job->json_bytes;
    r->left = job->body_bytes - (size_t)job->json_bytes;
    return read_json(r);
}

bool rt_serve_read(const RtServeModel *m, RtServeJob *job) {
    Reader r = {.m = m, .job = job};
    if (!start_job(job, m->d) || (job->packed && !rt_serve_unpack(job)) || !read_body(&r))
        return false;
    if (job->packed) { // nothing is part of it; what waits takes no more than its tensors
        free(job->memory);
        job->memory = job->body = NULL;
        job->body_bytes = 0;
    }
    job->rows = job->rows < 0 ? 1 : job->rows;
    return allocate(job->y, job->d->outputs, job->d->n_outputs, job->rows, &job->err);
}
