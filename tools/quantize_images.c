// The images of hone quantize: found in a folder, read ahead, made into inputs. Those that cannot
// be read are named, counted and left out.
#include "tools/quantize.h"

#include "runtime/image/image.h"
#include "runtime/image/inputs.h"

#include <stdlib.h>
#include <string.h>

// So many of n are kept, evenly spread; which is the i-th of them.
static int thin_out(int n, int most) {
    return n < most ? n : most;
}
static int thinned(int n, int kept, int i) {
    return (int)((int64_t)i * n / kept);
}

static bool set_images(Quantize *q, QuantImages *s, int n, int found) {
    if (n == 0) {
        ir_error(&q->tool->diag, IR_NOWHERE, "%s: there are no .jpg, .jpeg, .png or .webp files",
                 s->from);
        return false;
    }
    s->n = n;
    s->bad = ir_alloc_array(q->tool->arena, (size_t)n, sizeof *s->bad);
    if (found > n)
        fprintf(stderr, "%s: %d of its %d images, evenly spread (--max-images)\n", RT_SHOW(s->from),
                n, found);
    return true;
}

typedef struct Found {
    IrArena *arena;
    const char **path;
    int n, cap;
} Found;

static bool keep_path(void *ctx, const char *path, RtErr *err) {
    (void)err;
    Found *f = ctx;
    IR_PUSH(f->arena, f->path, f->n, f->cap, ir_strdup(f->arena, path));
    return true;
}

bool quant_images_find(Quantize *q, const char *folder, QuantImages *out) {
    Tool *t = q->tool;
    Found f = {.arena = t->arena};
    RtErr err;
    if (!rt_inputs_walk(folder, keep_path, &f, &err)) {
        ir_error(&t->diag, IR_NOWHERE, "%s", err.text);
        return false;
    }
    int n = f.n;
    const char **path = f.path;
    int kept = thin_out(n, q->max_images);
    *out = (QuantImages){.from = folder, .path = path};
    for (int i = 0; i < kept; i++) {
        path[i] = path[thinned(n, kept, i)];
        if (!tool_reads(t, path[i], 0))
            return false;
    }
    return set_images(q, out, kept, n);
}

// ---------------------------------------------------------------- with labels

typedef struct Said { // the first reason why there are no labels
    IrArena *arena;
    const char *why;
} Said;

static void hear(void *context, bool is_error, const char *line) {
    Said *s = context;
    if (is_error && !s->why)
        s->why = ir_strdup(s->arena, line);
}

static void close_data(void *data) {
    rt_dataset_close(data);
}

static bool is_allowed(void *tool, const char *path) {
    return tool_reads(tool, path, 0);
}

// f32 arrays are inputs as the model takes them: not one's of bytes.
static bool check_tensors(Quantize *q, const RtDataset *d, const char *spec) {
    if (!d->tensors || q->input == IR_F32)
        return true;
    ir_error(&q->tool->diag, IR_NOWHERE, "%s: arrays of f32, but the model takes u8 pixels", spec);
    return false;
}

bool quant_images_find_labelled(Quantize *q, const char *spec, QuantImages *out) {
    Tool *t = q->tool;
    Said said = {.arena = t->arena};
    bool named = q->reading.n_labels == q->classes;
    RtDataOptions o = {.eval_only = true,
                       .classes = (int)q->classes,
                       .labels = named ? q->reading.labels : NULL,
                       .prep = &q->reading.preprocess,
                       .say = hear,
                       .context = &said};
    RtDataset *d = rt_dataset_open(spec, &o);
    if (!d) {
        fprintf(stderr, "%s: no labels, agreement with the float model counts (%s)\n",
                RT_SHOW(spec), RT_SHOW(said.why ? said.why : ""));
        return quant_images_find(q, spec, out);
    }
    ir_arena_defer(t->arena, close_data, d);
    if (!check_tensors(q, d, spec) || !rt_dataset_files(d, is_allowed, t))
        return false;
    int found = d->n_val < INT32_MAX ? (int)d->n_val : INT32_MAX;
    int kept = thin_out(found, q->max_images);
    int64_t *item = ir_alloc_array(t->arena, (size_t)kept + 1, sizeof *item);
    for (int i = 0; i < kept; i++)
        item[i] = d->n_train + thinned(found, kept, i);
    *out = (QuantImages){.from = spec, .data = d, .item = item};
    return set_images(q, out, kept, found);
}

int32_t quant_images_label(const QuantImages *s, int i) {
    return s->data ? rt_dataset_label(s->data, s->item[i]) : -1;
}

// ---------------------------------------------------------------- reading

// All slots of a run hold the image.
static bool load(const Quantize *q, const QuantImages *s, int i, char *x, RtErr *err) {
    const HonePreprocess *p = &q->reading.preprocess;
    RtImage image;
    bool good;
    if (s->data && s->data->tensors) {
        good = rt_dataset_sample(s->data, s->item[i], p, (RtAugment){0}, 0, 0, (float *)x, err);
    } else {
        good = s->data ? rt_dataset_fetch(s->data, s->item[i], p->channels, &image, err)
                       : rt_image_load(s->path[i], p->channels, p->as_stored, &image, err);
        if (!good)
            return false;
        good = rt_preprocess(p, q->input == IR_U8 ? HONE_U8 : HONE_F32, &image, x, err);
        rt_image_free(&image);
    }
    for (int64_t k = 1; good && k < q->slots; k++)
        memcpy(x + (size_t)k * q->image_bytes, x, q->image_bytes);
    return good;
}

static void note_bad(QuantImages *s, int i, const RtErr *err) {
    fprintf(stderr, "left out: %s\n", RT_SHOW(err->text));
    s->bad[i] = true;
    s->n_bad++;
}

enum { AHEAD = 8 };

static size_t input_bytes(const Quantize *q) {
    return (q->image_bytes * (size_t)q->slots + RT_ALIGN - 1) / RT_ALIGN * RT_ALIGN;
}

void quant_images_keep(Quantize *q, QuantImages *s) {
    enum { MOST = 100 << 20 };
    int fit = (int)(MOST / input_bytes(q));
    s->n_kept = fit < s->n ? fit : s->n;
    s->kept = ir_alloc_array(q->tool->arena, (size_t)s->n_kept + 1, input_bytes(q));
    s->read = ir_alloc_array(q->tool->arena, (size_t)s->n_kept + 1, sizeof *s->read);
}

// Where image i's input is, or comes to: at `x` where it is not kept.
static char *input_at(const Quantize *q, const QuantImages *s, int i, char *x) {
    return i < s->n_kept ? s->kept + (size_t)i * input_bytes(q) : x;
}

static void load_once(const Quantize *q, QuantImages *s, int i, char *x, RtErr *err) {
    if (s->bad[i] || (i < s->n_kept && s->read[i])) {
        return;
    }
    bool good = load(q, s, i, input_at(q, s, i, x), err);
    if (i < s->n_kept) {
        s->read[i] = good;
    }
}

bool quant_images_walk(Quantize *q, QuantImages *s, int most, const char *what, QuantEach *each,
                       void *ctx) {
    Tool *t = q->tool;
    IrArena *a = ir_arena_new(&t->diag);
    size_t bytes = input_bytes(q);
    char *x = ir_alloc_array(a, AHEAD, bytes);
    RtErr *err = ir_alloc_array(a, AHEAD, sizeof *err);
    ToolProgress bar;
    bool good = true;
    int total = s->n < most ? s->n : most, done = 0;
    tool_progress_start(&bar, what);
    for (int i = 0; good && i < s->n && done < most; i += AHEAD) {
        int n = s->n - i < AHEAD ? s->n - i : AHEAD;
#pragma omp parallel for schedule(dynamic, 1)
        for (int k = 0; k < n; k++) {
            err[k].text[0] = 0;
            load_once(q, s, i + k, x + (size_t)k * bytes, &err[k]);
        }
        for (int k = 0; good && k < n && done < most; k++) {
            if (s->bad[i + k])
                continue;
            if (err[k].text[0]) {
                tool_progress_end(&bar);
                note_bad(s, i + k, &err[k]);
                continue;
            }
            good = each(q, ctx, i + k, input_at(q, s, i + k, x + (size_t)k * bytes));
            tool_progress(&bar, ++done, total);
        }
    }
    tool_progress_end(&bar);
    ir_arena_free(a);
    return good;
}
