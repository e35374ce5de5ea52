// From the model's outputs to a reply: JSON, behind it the tensors that are wanted in binary form.
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/serve/job.h"
#include "runtime/serve/tensor.h"

typedef struct Writer {
    const RtServeModel *m;
    RtServeJob *job;
    RtJson j;
    FILE *data; // the binary part
} Writer;

typedef struct Score {
    double value;
    int64_t index;
} Score;

// ---------------------------------------------------------------- the classification extension

static int by_value(const void *a, const void *b) { // the largest first
    const Score *x = a, *y = b;
    double u = x->value, v = y->value;
    return u < v ? 1 : u > v ? -1 : (x->index > y->index) - (x->index < y->index);
}

// "VALUE:INDEX:LABEL"; the label only where the output is the classifier's. free() releases.
static char *score_text(const Writer *w, const RtServeWant *want, const Score *s) {
    const HoneModelDesc *d = w->m->d;
    bool known =
        want->output == d->classifier && d->labels && s->index < d->n_labels && d->labels[s->index];
    char *text = NULL;
    int n = known
                ? asprintf(&text, "%f:%lld:%s", s->value, (long long)s->index, d->labels[s->index])
                : asprintf(&text, "%f:%lld", s->value, (long long)s->index);
    return n < 0 ? NULL : text;
}

static void write_text(Writer *w, const RtServeWant *want, const char *text) {
    if (!want->binary) {
        rt_json_text(&w->j, NULL, text);
        return;
    }
    uint32_t n = (uint32_t)strlen(text);
    fwrite(&n, 4, 1, w->data); // little-endian
    fwrite(text, 1, n, w->data);
}

// The best `top` of a row of `columns`
static bool write_row(Writer *w, const RtServeWant *want, Score *score, int64_t row,
                      int64_t columns, int64_t top) {
    const HoneTensorDesc *t = &w->m->d->outputs[want->output];
    const char *y = w->job->y[want->output];
    for (int64_t i = 0; i < columns; i++) {
        score[i] = (Score){rt_serve_load(t->dtype, y, row * columns + i), i};
        if (isnan(score[i].value)) // nothing is likelier than that
            return rt_fail(&w->job->err, "output '%s' is not finite", t->name);
    }
    qsort(score, (size_t)columns, sizeof *score, by_value);
    for (int64_t i = 0; i < top; i++) {
        char *text = score_text(w, want, &score[i]);
        if (!text)
            return false;
        write_text(w, want, text);
        free(text);
    }
    return true;
}

// ---------------------------------------------------------------- outputs

static void begin_output(Writer *w, const HoneTensorDesc *t, const char *type, int rank,
                         const int64_t *dim) {
    rt_json_begin(&w->j, NULL, '{');
    rt_json_text(&w->j, "name", t->name);
    rt_json_text(&w->j, "datatype", type);
    rt_json_begin(&w->j, "shape", '[');
    for (int i = 0; i < rank; i++)
        rt_json_int(&w->j, NULL, dim[i]);
    rt_json_end(&w->j, ']');
}

static void note_binary(Writer *w, int64_t bytes) {
    rt_json_begin(&w->j, "parameters", '{');
    rt_json_int(&w->j, "binary_data_size", bytes);
    rt_json_end(&w->j, '}');
}

static bool write_classes(Writer *w, const RtServeWant *want, int64_t count, int64_t rows) {
    const HoneTensorDesc *t = &w->m->d->outputs[want->output];
    int64_t columns = rows ? count / rows : 0, top = want->classes;
    top = top < columns ? top : columns;
    Score *score = calloc((size_t)columns + 1, sizeof *score);
    long start = ftell(w->data);
    begin_output(w, t, "BYTES", 2, (int64_t[]){rows, top});
    if (!want->binary)
        rt_json_begin(&w->j, "data", '[');
    bool good = score != NULL;
    for (int64_t r = 0; good && r < rows; r++)
        good = write_row(w, want, score, r, columns, top);
    if (want->binary)
        note_binary(w, ftell(w->data) - start);
    else
        rt_json_end(&w->j, ']');
    rt_json_end(&w->j, '}');
    free(score);
    return good;
}

// JSON has no NaN and no infinity, and null is no number of the tensor's type.
static bool write_numbers(Writer *w, const HoneTensorDesc *t, const char *y, int64_t count) {
    bool good = true;
    rt_json_begin(&w->j, "data", '[');
    for (int64_t i = 0; good && i < count; i++) {
        good = !rt_dtype(t->dtype)->load || isfinite(rt_serve_load(t->dtype, y, i));
        rt_serve_print(&w->j, t->dtype, y, i);
    }
    rt_json_end(&w->j, ']');
    return good || rt_fail(&w->job->err,
                           "output '%s' is not finite, which JSON cannot say; ask for it in binary "
                           "form",
                           t->name);
}

static bool write_output(Writer *w, const RtServeWant *want) {
    const HoneTensorDesc *t = &w->m->d->outputs[want->output];
    const int64_t *dim = w->job->dim[want->output];
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= dim[i];
    int64_t bytes = count * rt_dtype(t->dtype)->bytes;
    if (want->classes)
        return write_classes(w, want, count, t->rank ? dim[0] : 1);
    const char *y = w->job->y[want->output];
    bool good = true;
    begin_output(w, t, rt_serve_dtype(t->dtype), t->rank, dim);
    if (want->binary) {
        note_binary(w, bytes);
        fwrite(y, 1, (size_t)bytes, w->data);
    } else {
        good = write_numbers(w, t, y, count);
    }
    rt_json_end(&w->j, '}');
    return good;
}

static bool write_all(Writer *w) {
    rt_json_begin(&w->j, NULL, '{');
    rt_json_text(&w->j, "model_name", w->m->name);
    rt_json_text(&w->j, "model_version", "1");
    if (w->job->id)
        rt_json_text(&w->j, "id", w->job->id);
    rt_json_begin(&w->j, "outputs", '[');
    bool good = true;
    for (int i = 0; good && i < w->job->n_want; i++)
        good = write_output(w, &w->job->want[i]);
    rt_json_end(&w->j, ']');
    rt_json_end(&w->j, '}');
    return good;
}

void rt_serve_write(const RtServeModel *m, RtServeJob *job) {
    RtServeReply *reply = &job->reply;
    Writer w = {.m = m, .job = job};
    bool good = false;
    rt_fail(&job->err, "no memory for the reply"); // or what else there is to say
    w.j.f = open_memstream(&reply->text, &reply->text_bytes);
    w.data = open_memstream(&reply->data, &reply->data_bytes);
    if (w.j.f && w.data)
        good = write_all(&w);
    good = (!w.j.f || fclose(w.j.f) == 0) && good;
    good = (!w.data || fclose(w.data) == 0) && good;
    if (!good) {
        rt_serve_reply_error(reply, 500, job->err.text);
        return;
    }
    bool binary = false;
    for (int i = 0; i < job->n_want; i++)
        binary = binary || job->want[i].binary;
    if (!binary) {
        free(reply->data);
        reply->data = NULL;
        reply->data_bytes = 0;
    }
    reply->status = 200;
    reply->type = binary ? "application/octet-stream" : "application/json";
}
