// What the kernels of conv_wgrad know of a convolution, out of its node.
#include "codegen/conv/wgrad.h"

bool cg_conv_wgrad_sizes(const IrNode *n, const IrConv *c, CgWgradSizes *s) {
    const IrWindow *w = &c->w;
    const int64_t v[] = {w->sh, w->sw,    w->kh * w->dh,      w->kw * w->dw,       w->pt,
                         w->pl, w->group, c->H * c->W * c->C, c->OH * c->OW * c->O};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (v[i] < 0 || v[i] > INT32_MAX / 16)
            return false;
    s->C = (int32_t)c->C;
    s->O = (int32_t)c->O;
    s->H = (int32_t)c->H;
    s->W = (int32_t)c->W;
    s->OH = (int32_t)c->OH;
    s->OW = (int32_t)c->OW;
    s->kh = (int32_t)w->kh;
    s->kw = (int32_t)w->kw;
    s->sh = (int32_t)w->sh;
    s->sw = (int32_t)w->sw;
    s->dh = (int32_t)w->dh;
    s->dw = (int32_t)w->dw;
    s->pt = (int32_t)w->pt;
    s->pl = (int32_t)w->pl;
    s->group = (int32_t)w->group;
    s->x_image = cg_tensor(ir_in(n, 0)).image;
    s->dy_image = cg_tensor(ir_in(n, 1)).image;
    s->N = c->N;
    return true;
}
