// Names of classes: the user's, the model's own metadata_props (hone.labels, then what exporters
// write there), or those that networks of so many classes are known by.
#include "tools/literal.h"
#include "tools/tool.h"

#include <stdlib.h>
#include <string.h>

// Lines of text to labels.
static void split_labels(Tool *t, const char *text, CgOptions *cg) {
    RtNames names;
    char *copy = strdup(text);
    if (!copy || !rt_names_split(&names, copy)) {
        free(copy);
        ir_fatal(&t->diag, IR_NOWHERE, "no memory for labels");
    }
    cg->labels = tool_keep_names(t, &names);
    cg->n_labels = (int)names.n;
    rt_names_free(&names);
}

// A name that two classes have is told: ImageNet has cranes that fly and cranes that lift.
static bool read_labels(Tool *t, const char *path, CgOptions *cg) {
    RtNames names;
    if (!tool_load_names(t, path, &names))
        return false;
    int64_t earlier, line = rt_names_twice(&names, &earlier);
    if (line)
        ir_warn(&t->diag, IR_NOWHERE, "%s: '%s' stands there twice, in lines %lld and %lld", path,
                names.name[line - 1], (long long)earlier, (long long)line);
    cg->labels = tool_keep_names(t, &names);
    cg->n_labels = (int)names.n;
    rt_names_free(&names);
    return true;
}

// PaddleOCR's characters stand between a blank and, where it reads them, a space.
static void add_ctc_labels(Tool *t, int64_t classes, CgOptions *cg) {
    int n = cg->n_labels, more = (int)(classes - n);
    if (more < 1 || more > 2)
        return;
    const char **v = ir_alloc_array(t->arena, (size_t)n + 2, sizeof *v);
    v[0] = "blank";
    for (int i = 0; i < n; i++)
        v[i + 1] = cg->labels[i];
    v[n + 1] = " ";
    cg->labels = v;
    cg->n_labels = n + more;
}

// One score is two classes: no and yes.
static int64_t count_classes(const IrValue *output) {
    const IrShape *s = &output->type.shape;
    int64_t n = 1;
    for (int i = 1; i < s->rank; i++)
        n *= s->dim[i].n ? 0 : s->dim[i].c;
    return s->rank < 2 ? 0 : n == 1 ? 2 : n;
}

// Of a sequence of scores, [N,T,C].
static int64_t count_last(const IrValue *output) {
    const IrShape *s = &output->type.shape;
    return s->rank >= 2 && !s->dim[s->rank - 1].n ? s->dim[s->rank - 1].c : 0;
}

// Labels that other programs wrote, of an output with so many classes; -1: of any number.
static bool take_foreign_labels(Tool *t, const IrProgram *p, const IrValue *output, int64_t classes,
                                CgOptions *cg) {
    static const char *const keys[] = {"names",       "labels",   "classes",  "class_names",
                                       "label_names", "id2label", "character"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = ir_meta(p, keys[i]);
        int64_t want = classes;
        ToolTexts list;
        if (!text)
            continue;
        if (tool_literal_texts(t->arena, text, &list)) {
            cg->labels = list.v;
            cg->n_labels = list.n;
        } else {
            split_labels(t, text, cg);
        }
        if (strcmp(keys[i], "character") == 0) {
            want = count_last(output);
            add_ctc_labels(t, want, cg);
        }
        if (cg->n_labels == want || want < 0)
            return true;
        ir_warn(&t->diag, IR_NOWHERE,
                "metadata '%s' has %d labels, the output %lld classes: ignored", keys[i],
                cg->n_labels, (long long)want);
    }
    return false;
}

bool tool_image_told_labels(Tool *t, const ToolImage *im, const IrProgram *p, CgOptions *cg) {
    const char *own = ir_meta(p, "hone.labels");
    if (im->labels)
        return read_labels(t, im->labels, cg);
    if (own)
        split_labels(t, own, cg);
    return true;
}

bool tool_image_labels(Tool *t, const ToolImage *im, const IrProgram *p, const IrValue *output,
                       CgOptions *cg) {
    int64_t classes = count_classes(output);
    const char *own = ir_meta(p, "hone.labels");
    if (im->labels) {
        if (cg->n_labels != classes) {
            ir_error(&t->diag, IR_NOWHERE, "%s has %d labels, the model's output '%s' %lld classes",
                     im->labels, cg->n_labels, output->name, (long long)classes);
            return false;
        }
        return true;
    }
    if (own) {
        if (cg->n_labels == classes)
            return true;
        ir_warn(&t->diag, IR_NOWHERE,
                "metadata 'hone.labels' has %d labels, the output %lld classes: ignored",
                cg->n_labels, (long long)classes);
    } else if (take_foreign_labels(t, p, output, classes, cg)) {
        return true;
    }
    cg->labels = NULL;
    cg->n_labels = 0;
    if (classes == 1000 && !own)
        split_labels(t, tool_lib_text(t, "imagenet-labels.txt"), cg);
    return true;
}

// The names that there are, one after the other: of 91 numbers some have none, and 0 is nothing.
static void keep_named(Tool *t, CgOptions *cg) {
    const char **v = ir_alloc_array(t->arena, (size_t)cg->n_labels + 1, sizeof *v);
    int n = 0;
    for (int i = 1; i < cg->n_labels; i++)
        if (*cg->labels[i])
            v[n++] = cg->labels[i];
    cg->labels = v;
    cg->n_labels = n;
}

// Names of what is found: of as many classes as the network is known to tell apart.
bool tool_image_task_labels(Tool *t, const ToolImage *im, const IrProgram *p, const PassTask *task,
                            const IrValue *output, CgOptions *cg) {
    bool detects = task->kind == PASS_TASK_DETECT;
    if (im->labels || ir_meta(p, "hone.labels"))
        return true;
    if (take_foreign_labels(t, p, output, task->classes ? task->classes : -1, cg))
        return true;
    cg->labels = NULL;
    cg->n_labels = 0;
    if (detects && (task->classes == 91 || task->classes == 80))
        split_labels(t, tool_lib_text(t, "coco-labels.txt"), cg);
    else if (!detects && task->classes == 21)
        split_labels(t, tool_lib_text(t, "voc-labels.txt"), cg);
    if (detects && task->classes == 80)
        keep_named(t, cg);
    return true;
}
