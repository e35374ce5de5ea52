// The file that a fine-tune program carries and export fills in: the user's, with the classifier
// and the initializers of the network that trains, and how its images are read.
#include "tools/finetune.h"

#include <string.h>

// What others wrote of the old classes goes.
static int make_meta(Finetune *f, const IrTrainProgram *p, const CgOptions *cg, IrMeta *m) {
    static const char *const old[] = {"names",       "labels",   "classes",  "class_names",
                                      "label_names", "id2label", "character"};
    int n = 0;
    for (size_t i = 0; i < sizeof old / sizeof *old && !f->train.keep_head; i++)
        m[n++] = (IrMeta){old[i], NULL};
    m[n++] = (IrMeta){"hone.program", NULL}; // that wrote the file it was tuned to
    m[n++] = (IrMeta){TOOL_OUTPUT_KEY, f->n_outputs > 1 ? p->output : NULL};
    return n + tool_image_meta(f->tool->arena, cg, m + n);
}

// ---------------------------------------------------------------- the file

static void write_file(void *model, void *to) {
    fe_new_model_write(model, to);
}

static int64_t find_in_file(void *model, const char *initializer, IrDtype *stored) {
    return fe_new_model_find(model, initializer, stored);
}

bool tool_train_file(Finetune *f, const IrTrainProgram *p, const CgOptions *cg, CgTrainFile *out) {
    Tool *t = f->tool;
    IrMeta meta[10 + TOOL_IMAGE_META];
    FeRetarget r = {.train = p,
                    .keep_training_mode = f->model.keep_training_mode,
                    .n_meta = make_meta(f, p, cg, meta),
                    .meta = meta};
    FeNewModel *m = fe_retarget(t->arena, f->onnx, &r);
    if (!m)
        return false;
    for (int i = 0; i < p->n_params; i++) {
        const char *name = p->params[i].konst->name;
        IrDtype stored;
        if (fe_new_model_find(m, name, &stored) < 0) {
            ir_error(&t->diag, IR_NOWHERE,
                     "NYI: '%s' is to be trained, and no initializer of floats", name);
            return false;
        }
    }
    *out = (CgTrainFile){fe_new_model_bytes(m), write_file, find_in_file, m};
    return true;
}
