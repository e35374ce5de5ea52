// What the kernels of conv_wgrad know of a convolution, out of its node.
#include "codegen/conv/wgrad.h"

bool cg_conv_wgrad_sizes(const IrNode *n, const IrConv *c, CgWgradSizes *s) {
    const IrWindow *w = &c->w;
    const int64_t v[] = {w->sh, w->sw,    w->kh * w->dh,      w->kw * w->dw,       w->pt,
                         w->pl, w->group, c->H * c->W * c->C, c->OH * c->OW * c->O};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (v[i] < 0 || v[i] > INT32_MAX / 16)
            return false;
#define CG_CONV_SIZE(field, from) s->field = (int32_t)c->from;
#include "codegen/conv/sizes.def"
#undef CG_CONV_SIZE
    s->x_image = cg_tensor(ir_in(n, 0)).image;
    s->dy_image = cg_tensor(ir_in(n, 1)).image;
    s->N = c->N;
    return true;
}
