// How a model's images are read, as metadata_props of a file that we write: image_options.c finds
// it there again.
#include "tools/tool.h"

#include "runtime/image/image.h"

#include <string.h>

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

int tool_image_meta(IrArena *a, const CgOptions *cg, IrMeta *m) {
    const HonePreprocess *x = &cg->preprocess;
    int n = 0;
    m[n++] = (IrMeta){"hone.labels", cg->n_labels ? join_labels(a, cg) : NULL};
    if (!rt_takes_pictures(x))
        return n;
    m[n++] = (IrMeta){"hone.mean", join_floats(a, x->mean, x->channels)};
    m[n++] = (IrMeta){"hone.std", join_floats(a, x->std, x->channels)};
    m[n++] = (IrMeta){"hone.scale", join_floats(a, &x->scale, 1)};
    m[n++] = (IrMeta){"hone.resize", ir_sprintf(a, "%d", x->resize)};
    m[n++] = (IrMeta){"hone.bgr", x->bgr ? "1" : "0"};
    m[n++] = (IrMeta){"hone.interpolation", rt_resize_name(x->interpolation)};
    m[n++] = (IrMeta){"hone.as_stored", x->as_stored ? "1" : NULL};
    m[n++] = (IrMeta){"hone.letterbox", x->letterbox ? "1" : NULL};
    return n;
}
