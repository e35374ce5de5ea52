// Metadata, configuration, the index: what clients ask before they infer.
#include "runtime/serve/info.h"

#include <string.h>

#include "runtime/file/json.h"

void rt_serve_info_server(const RtServeModel *m, FILE *f) {
    static const char *const extensions[] = {"binary_tensor_data", "classification",
                                             "model_configuration", "statistics",
                                             "model_repository"};
    RtJson j = {.f = f};
    const char *version = strchr(m->d->producer, ' '); // of "hone 0.1.0"
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "name", "hone");
    rt_json_text(&j, "version", version ? version + 1 : m->d->producer);
    rt_json_begin(&j, "extensions", '[');
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        rt_json_text(&j, NULL, extensions[i]);
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
}

// -1: any, or as the size of the model
static int64_t shown_dim(const RtServeModel *m, bool outputs, int i, int k) {
    int64_t dim = 0;
    for (int size = 0; size < m->n_sizes; size++) {
        const HoneModelDesc *d = m->size[size];
        const HoneTensorDesc *t = outputs ? &d->outputs[i] : &d->inputs[i];
        bool other = size > 0 && t->dim[k].c != dim, counted = false;
        for (int c = 0; outputs && c < d->n_counts; c++)
            counted = counted || (d->counts[c].output == i && d->counts[c].axis == k);
        dim = t->dim[k].c;
        if (t->dim[k].n || other || counted)
            return -1;
    }
    return dim;
}

// `prefix` is before the type's name, `first` the dimension that is shown first.
static void write_tensors(RtJson *j, const char *key, const char *type_key, const char *prefix,
                          const char *shape_key, int first, const RtServeModel *m, bool outputs) {
    const HoneTensorDesc *t = outputs ? m->d->outputs : m->d->inputs;
    int n = outputs ? m->d->n_outputs : m->d->n_inputs;
    rt_json_begin(j, key, '[');
    for (int i = 0; i < n; i++) {
        char type[32];
        snprintf(type, sizeof type, "%s%s", prefix, rt_serve_dtype(t[i].dtype));
        rt_json_begin(j, NULL, '{');
        rt_json_text(j, "name", t[i].name);
        rt_json_text(j, type_key, type);
        rt_json_begin(j, shape_key, '[');
        for (int k = first; k < t[i].rank; k++)
            rt_json_int(j, NULL, shown_dim(m, outputs, i, k));
        rt_json_end(j, ']');
        rt_json_end(j, '}');
    }
    rt_json_end(j, ']');
}

void rt_serve_info_model(const RtServeModel *m, FILE *f) {
    RtJson j = {.f = f};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "name", m->name);
    rt_json_begin(&j, "versions", '[');
    rt_json_text(&j, NULL, "1");
    rt_json_end(&j, ']');
    rt_json_text(&j, "platform", "hone");
    write_tensors(&j, "inputs", "datatype", "", "shape", 0, m, false);
    write_tensors(&j, "outputs", "datatype", "", "shape", 0, m, true);
    rt_json_end(&j, '}');
}

void rt_serve_info_config(const RtServeModel *m, uint64_t delay_ns, int instances, FILE *f) {
    RtJson j = {.f = f};
    int first = m->batches; // Triton leaves the batch out where it makes batches
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "name", m->name);
    rt_json_text(&j, "platform", "hone");
    rt_json_text(&j, "backend", "hone");
    rt_json_int(&j, "max_batch_size", m->batches ? m->max_batch : 0);
    write_tensors(&j, "input", "data_type", "TYPE_", "dims", first, m, false);
    write_tensors(&j, "output", "data_type", "TYPE_", "dims", first, m, true);
    rt_json_begin(&j, "instance_group", '[');
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "kind", "KIND_CPU");
    rt_json_int(&j, "count", instances);
    rt_json_end(&j, '}');
    rt_json_end(&j, ']');
    if (m->batches) {
        rt_json_begin(&j, "dynamic_batching", '{');
        rt_json_int(&j, "max_queue_delay_microseconds", (int64_t)(delay_ns / 1000));
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, '}');
}

void rt_serve_info_index(const RtServeModel *m, FILE *f) {
    RtJson j = {.f = f};
    rt_json_begin(&j, NULL, '[');
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "name", m->name);
    rt_json_text(&j, "version", "1");
    rt_json_text(&j, "state", "READY");
    rt_json_text(&j, "reason", "");
    rt_json_end(&j, '}');
    rt_json_end(&j, ']');
}

void rt_serve_info_page(const RtServeModel *m, FILE *f) {
    static const char *const scores[HONE_SCORES_COUNT] = {
        [HONE_SCORES_LOGITS] = "logits",
        [HONE_SCORES_PROBABILITIES] = "probabilities",
        [HONE_SCORES_SIGMOID] = "probabilities",
        [HONE_SCORES_LOG_PROBABILITIES] = "log-probabilities",
        [HONE_SCORES_OTHER] = "other",
    };
    const HoneModelDesc *d = m->d;
    bool classifies = m->takes_images && d->classifier >= 0;
    RtJson j = {.f = f};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "name", m->name);
    rt_json_bool(&j, "classifies", classifies);
    rt_json_text(&j, "input", d->n_inputs ? d->inputs[0].name : NULL);
    rt_json_text(&j, "output", classifies ? d->outputs[d->classifier].name : NULL);
    rt_json_text(&j, "scores", scores[d->scores]);
    rt_json_begin(&j, "labels", '['); // of a model with one score
    for (int i = 0; i < d->n_labels && i < 2 && d->labels; i++)
        rt_json_text(&j, NULL, d->labels[i]);
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
}
