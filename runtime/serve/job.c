// A job's memory, replies that are errors, and what a model is to a server.
#include "runtime/serve/job.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/core/unit.h"
#include "runtime/file/json.h"
#include "runtime/image/image.h"

static void free_tensors(const RtServeJob *job, void **tensor, int n) {
    for (int i = 0; tensor && i < n; i++) {
        const char *p = tensor[i];
        if (p < job->body || p >= job->body + job->body_bytes)
            free(tensor[i]);
    }
    free(tensor);
}

void rt_serve_reply_free(RtServeReply *reply) {
    free(reply->text);
    free(reply->data);
    *reply = (RtServeReply){0};
}

void rt_serve_job_free(RtServeJob *job) {
    if (!job)
        return;
    free_tensors(job, job->x, job->n_x);
    free_tensors(job, job->y, job->n_y);
    free(job->want);
    free(job->dim);
    free(job->id);
    free(job->memory);
    rt_serve_reply_free(&job->reply);
    free(job);
}

void rt_serve_reply_error(RtServeReply *reply, int status, const char *text) {
    rt_serve_reply_free(reply);
    reply->status = status;
    reply->type = "application/json";
    reply->again = status == 503;
    RtJson j = {.f = open_memstream(&reply->text, &reply->text_bytes)};
    if (!j.f)
        return;
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "error", text);
    rt_json_end(&j, '}');
    fclose(j.f);
}

const char *rt_serve_dtype(int dtype) {
    static const char *const names[RT_N_DTYPES] = {
        [HONE_F32] = "FP32",  [HONE_F64] = "FP64",   [HONE_F16] = "FP16",   [HONE_BF16] = "BF16",
        [HONE_I8] = "INT8",   [HONE_I16] = "INT16",  [HONE_I32] = "INT32",  [HONE_I64] = "INT64",
        [HONE_U8] = "UINT8",  [HONE_U16] = "UINT16", [HONE_U32] = "UINT32", [HONE_U64] = "UINT64",
        [HONE_BOOL] = "BOOL",
    };
    return dtype >= 0 && dtype < RT_N_DTYPES ? names[dtype] : "?";
}

// [N, ...] with nothing else that depends on N
static bool is_rows(const HoneTensorDesc *t) {
    bool rows = t->rank > 0 && t->dim[0].n == 1 && t->dim[0].c == 0;
    for (int i = 1; rows && i < t->rank; i++)
        rows = t->dim[i].n == 0;
    return rows;
}

static bool has_rows(const HoneModelDesc *d) {
    bool rows = d->batch_symbolic && d->n_inputs > 0;
    for (int i = 0; i < d->n_inputs; i++)
        rows = rows && is_rows(&d->inputs[i]);
    for (int i = 0; i < d->n_outputs; i++)
        rows = rows && is_rows(&d->outputs[i]);
    for (int i = 0; i < d->n_counts; i++) // of all rows together
        rows = rows && d->counts[i].output < 0;
    return rows;
}

static bool takes_images(const HoneModelDesc *d) {
    RtErr err;
    return d->n_inputs == 1 && rt_preprocess_check(&d->preprocess, &d->inputs[0], &err) &&
           (d->inputs[0].dim[0].n == 0 || is_rows(&d->inputs[0]));
}

bool rt_serve_model(RtServeModel *m, const HoneModelDesc *first, const char *name, int max_batch,
                    RtErr *err) {
    uint64_t allowed;
    const HoneModelDesc *d = rt_model_unit(first, NULL, err);
    if (!d || !rt_cpu_allowed(&allowed, err))
        return false;
    *m = (RtServeModel){.first = first, .name = name ? name : d->name, .max_batch = max_batch};
    m->n_sizes = rt_unit_sizes(first, &allowed, m->size);
    m->d = m->size[0];
    m->batches = m->takes_images = true;
    for (int k = 0; k < m->n_sizes; k++) {
        const HoneModelDesc *of = m->size[k];
        m->batches = m->batches && has_rows(of);
        m->takes_images = m->takes_images && takes_images(of) &&
                          of->inputs[0].dim[0].c == m->d->inputs[0].dim[0].c;
    }
    return true;
}
