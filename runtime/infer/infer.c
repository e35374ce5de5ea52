// What the subcommands of an inference program share: complaints, the model, texts and sums of its
// descriptor.
#include "runtime/infer/infer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file/npz.h"

int rt_infer_usage(const RtInfer *in, const char *subcommand, const char *text) {
    fprintf(stderr, "%s: %s\nTry '%s %s%s--help'.\n", in->program, RT_SHOW(text), in->program,
            subcommand, *subcommand ? " " : "");
    return RT_EXIT_USAGE;
}

int rt_infer_complain(const char *text) {
    fprintf(stderr, "%s\n", RT_SHOW(text));
    return RT_EXIT_INPUT;
}

void rt_infer_left_out(const RtInfer *in, FILE *f, const char *head) {
    for (int i = 0; i < in->n_left_out; i++)
        fprintf(f, "%s%s%s", i ? ", " : head, in->left_out[i], i + 1 < in->n_left_out ? "" : "\n");
}

HoneModel *rt_infer_create(const RtInfer *in, int size, int threads) {
    char text[1024];
    HoneOptions options = {.threads = threads};
    const HoneModelDesc *d = in->n_sizes > 1 ? in->size[size] : NULL;
    HoneTensorInfo *inputs = calloc(d ? (size_t)d->n_inputs + 1 : 1, sizeof *inputs);
    for (int i = 0; inputs && d && i < d->n_inputs; i++) {
        inputs[i] = (HoneTensorInfo){.name = d->inputs[i].name, .rank = d->inputs[i].rank};
        for (int k = 0; k < d->inputs[i].rank && k < HONE_MAX_RANK; k++)
            inputs[i].dim[k] = d->inputs[i].dim[k].n ? -1 : d->inputs[i].dim[k].c;
    }
    options.n_inputs = inputs && d ? d->n_inputs : 0;
    options.inputs = inputs;
    HoneModel *m = hone_create(in->first, &options, text, sizeof text);
    free(inputs);
    if (!m)
        fprintf(stderr, "%s: %s\n", in->program, text);
    return m;
}

// Names may hold '=' themselves.
bool rt_infer_assign(const HoneTensorDesc *t, int n, const char *what, const RtCliList *given,
                     const char **file, RtErr *err) {
    for (int k = 0; k < given->n; k++) {
        const char *word = given->item[k], *path = NULL;
        int at = -1;
        for (int i = 0; i < n && at < 0; i++) {
            size_t length = strlen(t[i].name);
            if (strncmp(word, t[i].name, length) == 0 && word[length] == '=') {
                at = i;
                path = word + length + 1;
            }
        }
        if (at < 0 && n == 1 && !strchr(word, '=')) {
            at = 0;
            path = word;
        }
        if (at < 0 && strchr(word, '='))
            return rt_fail(err, "the model has no %s '%.*s'; see the subcommand info", what,
                           (int)strcspn(word, "="), word);
        if (at < 0)
            return rt_fail(err, "%s: which of the model's %d %ss? Write NAME=%s", word, n, what,
                           word);
        if (file[at])
            return rt_fail(err, "%s '%s' is given twice: %s and %s", what, t[at].name, file[at],
                           path);
        file[at] = path;
    }
    return true;
}

// "NAME=FILE" has its '=' in the last part: a folder may have one in its name.
static bool is_named(const char *word) {
    const char *slash = strrchr(word, '/');
    return strchr(slash ? slash : word, '=') != NULL;
}

bool rt_infer_archive(const HoneModelDesc *d, RtCliList *outputs, const char **path, RtErr *err) {
    int kept = 0;
    *path = NULL;
    for (int k = 0; k < outputs->n; k++) {
        const char *word = outputs->item[k];
        if (!rt_npz_is_name(word)) {
            outputs->item[kept++] = word;
            continue;
        }
        for (int i = 0; i < d->n_outputs; i++) {
            size_t n = strlen(d->outputs[i].name);
            if (strncmp(word, d->outputs[i].name, n) == 0 && word[n] == '=')
                return rt_fail(err, "%s: an .npz file holds all outputs: write -o %s", word,
                               word + n + 1);
        }
        if (is_named(word))
            return rt_fail(err, "%s: an .npz file holds all outputs: write -o FILE.npz", word);
        if (*path)
            return rt_fail(err, "all outputs go to one .npz file, not %s and %s", *path, word);
        *path = word;
    }
    outputs->n = kept;
    return true;
}

double rt_infer_dim_value(HoneDim d, int64_t batch) {
    return (double)d.c + (double)d.n * (double)batch;
}

double rt_infer_total_flops(const HoneModelDesc *d, int64_t batch) {
    double total = 0;
    for (int i = 0; i < d->n_nodes; i++)
        total += rt_infer_dim_value(d->nodes[i].flops, batch);
    return total;
}
