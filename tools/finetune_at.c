// --head-at: the classifier goes on an earlier layer. What is read far from the end of a network
// knows less of the classes that it was made for, and more of what pictures have in common.
//
//   NODE   the file is cut off behind the node, and a linear classifier put there
//   auto   places are what the classifier reads and what each fully connected layer in front of it
//          reads; on each a classifier is solved for the images of --classes FOLDER, and the one of
//          the least loss on held out images is taken
#include "tools/compiled.h"
#include "ir/map.h"
#include "tools/finetune.h"

#include "runtime/data/dataset.h"
#include "runtime/solve/solve.h"

#include <string.h>

enum { MOST_PLACES = 8, MOST_IMAGES = 1000 };

typedef struct Place {
    const IrValue *value; // of the inference graph
    const char *node;     // of the file, that makes it
    int64_t features;     // of one image
    float *rows;          // [images][features]
    double loss;          // of held out images
} Place;

typedef struct Places {
    Place v[MOST_PLACES];
    int n; // the last is what the classifier of the file reads
} Places;

// ---------------------------------------------------------------- places

static bool is_flat(const IrValue *v) { // numbers for each image, no picture
    const IrShape *s = &v->type.shape;
    bool flat = s->rank >= 2 && s->dim[0].n == 1 && s->dim[0].c == 0;
    for (int i = 2; i < s->rank; i++)
        flat = flat && ir_dim_is(s->dim[i], 1);
    return flat && v->type.dtype == IR_F32;
}

static int64_t features_of(const IrValue *v) {
    return v->type.shape.dim[1].c;
}

// The only operand that depends on the image; NULL: several do, or none.
static IrValue *read_by(const IrNode *n, const bool *varies) {
    IrValue *v = NULL;
    for (int i = 0; i < n->n_in; i++) {
        if (!ir_in(n, i) || !varies[ir_in(n, i)->id])
            continue;
        if (v)
            return NULL;
        v = ir_in(n, i);
    }
    return v;
}

static bool *find_varying(IrArena *a, const IrGraph *g) {
    bool *varies = ir_alloc_array(a, g->next_id, sizeof *varies);
    for (int i = 0; i < g->n_inputs; i++)
        varies[g->inputs[i]->id] = true;
    for (const IrNode *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_in; i++)
            for (int k = 0; ir_in(n, i) && k < n->n_out; k++)
                varies[n->out[k]->id] |= varies[ir_in(n, i)->id];
    return varies;
}

static bool is_product(const IrNode *n) {
    return n->op == IR_OP_MATMUL || n->op == IR_OP_CONV;
}

static void add_place(Places *p, const IrValue *v) {
    if (!v->def || p->n == MOST_PLACES)
        return;
    memmove(&p->v[1], &p->v[0], (size_t)p->n++ * sizeof *p->v);
    p->v[0] = (Place){.value = v, .node = v->def->name, .features = features_of(v)};
}

// From the classifier up, as long as there are numbers and no picture.
static void find_places(IrArena *a, IrGraph *g, const IrNode *head, Places *p) {
    const bool *varies = find_varying(a, g);
    const IrValue *v = read_by(head, varies);
    *p = (Places){.n = 0};
    if (!v || !is_flat(v))
        return;
    add_place(p, v);
    for (const IrNode *n = v->def; n; n = v->def) {
        const IrValue *up = read_by(n, varies);
        if (!up || !is_flat(up))
            return;
        if (is_product(n))
            add_place(p, up);
        v = up;
    }
}

// ---------------------------------------------------------------- features of images

static void hear(void *context, bool is_error, const char *line) {
    Tool *t = context;
    if (is_error)
        ir_error(&t->diag, IR_NOWHERE, "--head-at auto: %s", line);
}

static bool is_allowed(void *t, const char *path) {
    return tool_reads(t, path, 0);
}

static void close_data(void *d) {
    rt_dataset_close(d);
}

static RtDataset *open_data(Finetune *f, const HonePreprocess *prep) {
    RtDataOptions o = {.classes = f->train.classes,
                       .labels = f->labels,
                       .target = f->train.binary ? RT_TARGET_BINARY : RT_TARGET_CLASS,
                       .prep = prep,
                       .say = hear,
                       .context = f->tool};
    RtDataset *d = rt_dataset_open(f->classes_text, &o);
    if (d)
        ir_arena_defer(f->tool->arena, close_data, d);
    return d && rt_dataset_files(d, is_allowed, f->tool) ? d : NULL;
}

typedef struct Images {
    RtDataset *data;
    int n; // whose features are there
    int32_t *label;
} Images;

// One image through all that is in front of the places.
static bool run_image(Finetune *f, Compiled *c, Places *p, Images *im, const float *x) {
    const void *in[] = {x};
    void *out[MOST_PLACES];
    for (int i = 0; i < p->n; i++)
        out[i] = p->v[i].rows + (int64_t)im->n * p->v[i].features;
    if (hone_run(c->model, 1, in, out) == 0)
        return true;
    ir_error(&f->tool->diag, IR_NOWHERE, "--head-at auto: %s", hone_error(c->model));
    return false;
}

// Of at most MOST_IMAGES images, evenly spread. What cannot be read is left out.
static bool run_images(Finetune *f, Compiled *c, Places *p, Images *im,
                       const HonePreprocess *prep) {
    IrArena *a = f->tool->arena;
    int64_t all = im->data->n_train, kept = all < MOST_IMAGES ? all : MOST_IMAGES;
    float *x = ir_alloc_array(
        a, (size_t)prep->height * (size_t)prep->width * (size_t)prep->channels, sizeof *x);
    ToolProgress bar;
    im->label = ir_alloc_array(a, (size_t)kept + 1, sizeof *im->label);
    for (int i = 0; i < p->n; i++)
        p->v[i].rows = ir_alloc_array(a, (size_t)(kept * p->v[i].features) + 1, sizeof(float));
    tool_progress_start(&bar, "features");
    bool ok = true;
    for (int64_t i = 0; ok && i < kept; i++) {
        RtErr err;
        int64_t item = i * all / kept;
        if (!rt_dataset_sample(im->data, item, prep, (RtAugment){0}, 0, 0, x, &err))
            continue;
        ok = run_image(f, c, p, im, x);
        im->label[im->n] = rt_dataset_label(im->data, item);
        im->n += ok;
        tool_progress(&bar, (int)i + 1, (int)kept);
    }
    tool_progress_end(&bar);
    return ok;
}

static bool load_places(Finetune *f, IrGraph *g, const Places *p, Compiled *c) {
    IrValue *out[MOST_PLACES];
    for (int i = 0; i < p->n; i++)
        out[i] = (IrValue *)p->v[i].value;
    IrGraph *features = ir_extract(g, "places", 0, NULL, p->n, out);
    for (int i = 0; i < p->n; i++)
        features->outputs[i]->name = ir_sprintf(f->tool->arena, "place.%d", i);
    ToolModel here = f->model;
    return tool_runs_here(f->tool, &here) &&
           compiled_load(f->tool, &here, features, f->threads, "places", c);
}

// ---------------------------------------------------------------- the best

static const float *row_of(void *ctx, int64_t i, float *room, RtErr *err) {
    const Place *p = ctx;
    (void)room, (void)err;
    return p->rows + i * p->features;
}

static bool solve(Finetune *f, Place *p, const Images *im) {
    bool one = f->train.binary;
    float *target = ir_alloc_array(f->tool->arena, (size_t)im->n, sizeof *target);
    for (int i = 0; i < im->n; i++)
        target[i] = (float)im->label[i];
    RtSolveInput in = {.n = im->n,
                       .d = p->features,
                       .columns = one ? 1 : f->train.classes,
                       .exclusive = !one,
                       .labels = im->label,
                       .targets = target,
                       .strata = im->label,
                       .seed = 1,
                       .threads = 1,
                       .row = row_of,
                       .ctx = p};
    RtSolved s;
    RtErr err;
    bool ok = rt_solve(&in, &s, &err);
    if (ok)
        p->loss = s.path[s.best].held;
    else
        ir_error(&f->tool->diag, (IrWhere){p->node, ""}, "--head-at auto: %s", err.text);
    rt_solved_free(&s);
    return ok;
}

static void tell(const Finetune *f, const Places *p, const Place *best, int images) {
    for (int i = 0; i < p->n; i++)
        printf("head at '%s', %lld numbers: loss %.4f on held out images%s%s\n",
               RT_SHOW(p->v[i].node), (long long)p->v[i].features, p->v[i].loss,
               i == p->n - 1 ? ", the file's own place" : "", &p->v[i] == best ? "  *" : "");
    printf("head: taken by %d images of %s\n", images, RT_SHOW(f->classes_text));
}

static const Place *choose(Finetune *f, IrGraph *g, Places *p, const HonePreprocess *prep) {
    Compiled c;
    Images im = {.data = open_data(f, prep)};
    if (!im.data || !load_places(f, g, p, &c) || !run_images(f, &c, p, &im, prep))
        return NULL;
    if (im.n < RT_SOLVE_FOLDS) {
        ir_error(&f->tool->diag, IR_NOWHERE, "--head-at auto: %s has %d images that can be read",
                 f->classes_text, im.n);
        return NULL;
    }
    const Place *best = NULL;
    for (int i = p->n - 1; i >= 0; i--) {
        if (!solve(f, &p->v[i], &im))
            return NULL;
        best = !best || p->v[i].loss < best->loss ? &p->v[i] : best;
    }
    tell(f, p, best, im.n);
    return best;
}

// ---------------------------------------------------------------- the file

static bool cut(Finetune *f, const char *node, const IrValue *v) {
    Tool *t = f->tool;
    FeHeadAt at = {.node = node, .output = f->infer->outputs[0]->name};
    FeOptions opt;
    at.features = features_of(v);
    at.pools = !is_flat(v);
    FeNewModel *m = fe_model_head_at(t->arena, f->onnx, &at);
    if (!m || !tool_import_options(t, &f->model, &opt))
        return false;
    opt.model = &f->onnx;
    f->prog = fe_new_model_import(t->arena, m, &opt);
    if (!f->prog)
        return false;
    f->prog->name = f->name;
    f->infer = tool_infer_graph(f->prog);
    f->n_outputs = 1;
    f->train.head = NULL;
    return true;
}

static bool refuse(Finetune *f, const char *why) {
    ir_error(&f->tool->diag, IR_NOWHERE, "--head-at '%s': %s", f->head_at, why);
    return false;
}

// What the last node called so makes, of f's network.
static bool cut_at_node(Finetune *f) {
    const IrNode *found = NULL;
    for (const IrNode *n = f->infer->first; n; n = n->next)
        found = strcmp(n->name, f->head_at) == 0 ? n : found;
    if (!found)
        return refuse(f, fe_model_has_node(f->onnx, f->head_at)
                             ? "nothing is left of it: it works on constants alone, changes "
                               "nothing, or the output does not depend on it"
                             : "no node is called so");
    const IrShape *s = &found->out[0]->type.shape;
    bool fits = s->rank >= 2 && s->dim[0].n == 1 && s->dim[0].c == 0;
    for (int i = 1; i < s->rank; i++)
        fits = fits && s->dim[i].n == 0;
    if (!fits || (s->rank != 4 && !is_flat(found->out[0])))
        return refuse(f, "it makes neither a row of numbers nor a picture [N,C,H,W] of each image");
    return cut(f, f->head_at, found->out[0]);
}

// The network as it classifies, with its output alone; NULL after an error.
static IrGraph *inference(Finetune *f, const PassOptions *po) {
    ToolModel m = f->model;
    const FeModel *read = NULL;
    const char *name = f->infer->outputs[0]->name;
    m.to_train = false;
    m.onnx = &read;
    IrProgram *p = tool_import(f->tool, &m, NULL);
    IrGraph *g = p ? tool_infer_graph(p) : NULL;
    for (int i = 0; g && i < g->n_outputs; i++)
        if (strcmp(g->outputs[i]->name, name) == 0)
            g = ir_extract(g, "places", 0, NULL, 1, &g->outputs[i]);
    if (g)
        passes_run(g->prog, g, po, PASS_HEAD);
    return g;
}

static bool cut_at_best(Finetune *f, const PassOptions *po, const HonePreprocess *prep) {
    if (!f->n_labels || !tool_is_folder(f->classes_text))
        return refuse(f, "it takes images: --classes FOLDER, with a folder for each class");
    if (f->train.multi_label)
        return refuse(f, "NYI for --multi-label: a folder for each class says one for each image");
    IrGraph *g = inference(f, po);
    const IrNode *head = g ? pass_head_above(g, 0, f->train.head) : NULL;
    Places p = {.n = 0};
    if (head)
        find_places(f->tool->arena, g, head, &p);
    if (!g || p.n < 2) {
        if (g)
            printf("head: no fully connected layer stands in front of the classifier\n");
        return g;
    }
    const Place *best = choose(f, g, &p, prep);
    return best && (best == &p.v[p.n - 1] || cut(f, best->node, best->value));
}

// Where there are other places and images to choose by, the user hears of it.
static void advise(Finetune *f, const PassOptions *po) {
    if (!f->n_labels || !tool_is_folder(f->classes_text) || f->train.keep_head ||
        f->train.multi_label)
        return;
    IrGraph *g = ir_extract(f->infer, "seen", 0, NULL, 1, f->infer->outputs);
    passes_run(g->prog, g, po, PASS_HEAD);
    const IrNode *head = pass_head_above(g, 0, f->train.head);
    Places p = {.n = 0};
    if (head)
        find_places(f->tool->arena, g, head, &p);
    if (p.n > 1)
        printf("head: it reads %lld numbers of '%s', and fully connected layers stand in front of "
               "it; --head-at auto tries those\n",
               (long long)p.v[p.n - 1].features, RT_SHOW(p.v[p.n - 1].node));
}

bool tool_place_head(Finetune *f, const PassOptions *po, CgOptions *o) {
    if (!f->head_at) {
        advise(f, po);
        return true;
    }
    if (f->train.keep_head)
        return refuse(f, "--keep-head keeps the classifier where it is");
    if (!(strcmp(f->head_at, "auto") == 0 ? cut_at_best(f, po, &o->preprocess) : cut_at_node(f)))
        return false;
    const char *node = f->infer->outputs[0]->def->name;
    o->model_hash = ir_sprintf(f->tool->arena, "%s-%016llx", o->model_hash,
                               (unsigned long long)ir_hash(node, strlen(node)));
    return true;
}
