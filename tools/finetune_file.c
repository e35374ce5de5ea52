// The file that a fine-tune program carries and export fills in: the user's, with the classifier
// and the initializers of the network that trains, and how its images are read.
#include "tools/finetune.h"

#include <string.h>

// ---------------------------------------------------------------- metadata

static const char *join_floats(IrArena *a, const float *v, int n) {
    const char *s = "";
    for (int i = 0; i < n; i++)
        s = ir_sprintf(a, "%s%s%.9g", s, i ? "," : "", (double)v[i]);
    return s;
}

static const char *join_labels(IrArena *a, const CgOptions *cg) {
    size_t bytes = 1;
    for (int i = 0; i < cg->n_labels; i++)
        bytes += strlen(cg->labels[i]) + 1;
    char *s = ir_alloc(a, bytes), *end = s;
    for (int i = 0; i < cg->n_labels; i++) {
        end = stpcpy(end, cg->labels[i]);
        *end++ = '\n';
    }
    return s;
}

// As tools/image_options.c reads them.
static int make_meta(Tool *t, const CgOptions *cg, IrMeta *m) {
    IrArena *a = t->arena;
    const HonePreprocess *x = &cg->preprocess;
    int n = 0;
    m[n++] = (IrMeta){"hone.labels", cg->n_labels ? join_labels(a, cg) : NULL};
    m[n++] = (IrMeta){"hone.mean", join_floats(a, x->mean, x->channels)};
    m[n++] = (IrMeta){"hone.std", join_floats(a, x->std, x->channels)};
    m[n++] = (IrMeta){"hone.scale", join_floats(a, &x->scale, 1)};
    m[n++] = (IrMeta){"hone.resize", ir_sprintf(a, "%d", x->resize)};
    m[n++] = (IrMeta){"hone.bgr", x->bgr ? "1" : "0"};
    return n;
}

// ---------------------------------------------------------------- the file

static void write_file(void *model, void *to) {
    fe_new_model_write(model, to);
}

static int64_t find_in_file(void *model, const char *initializer) {
    return fe_new_model_find(model, initializer);
}

bool tool_train_file(Tool *t, const FeModel *from, const IrTrainProgram *p, bool sigmoid,
                     const CgOptions *cg, CgTrainFile *out) {
    IrMeta meta[8];
    const IrConst **trained = ir_alloc_array(t->arena, (size_t)p->n_params + 1, sizeof *trained);
    const IrConst **fixed = ir_alloc_array(t->arena, (size_t)p->n_floats + 1, sizeof *fixed);
    for (int i = 0; i < p->n_params; i++)
        trained[i] = p->params[i].konst;
    for (int i = 0; i < p->n_floats; i++)
        fixed[i] = p->floats[i].konst;
    FeRetarget r = {.old_classes = p->old_logits,
                    .classes = p->logits,
                    .sigmoid = sigmoid,
                    .n_swaps = p->n_swaps,
                    .swaps = p->swaps,
                    .n_trained = p->n_params,
                    .n_fixed = p->n_floats,
                    .trained = trained,
                    .fixed = fixed,
                    .n_meta = make_meta(t, cg, meta),
                    .meta = meta};
    FeNewModel *m = fe_retarget(t->arena, from, &r);
    if (!m)
        return false;
    for (int i = 0; i < p->n_params; i++) {
        const char *name = p->params[i].konst->name;
        if (fe_new_model_find(m, name) < 0) {
            ir_error(&t->diag, IR_NOWHERE,
                     "NYI: '%s' is to be trained, and no initializer of 32-bit floats", name);
            return false;
        }
    }
    *out = (CgTrainFile){fe_new_model_bytes(m), write_file, find_in_file, m};
    return true;
}
