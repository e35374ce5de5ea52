// A convolution's geometry: see conv.h.
#include "ir/conv.h"

// What follows from the window and the channels
static void derive(IrConv *c) {
    const IrWindow *w = &c->w;
    c->cg = c->C / w->group;
    c->og = c->O / w->group;
    c->flat = w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && !w->pt && !w->pl && !w->pb &&
              !w->pr;
}

IrConv ir_conv(const IrNode *n) {
    bool wgrad = n->op == IR_OP_CONV_WGRAD;
    if (!wgrad && n->op != IR_OP_CONV) {
        ir_bug("ir_conv", n->name, "%s is no convolution", ir_op_info(n->op)->text);
    }
    const IrType *x = &ir_in(n, 0)->type, *y = wgrad ? &ir_in(n, 1)->type : &n->out[0]->type;
    IrShape own = wgrad ? y->shape : ir_conv_shape(n);
    IrConv c = {.dtype = x->dtype,
                .N = x->shape.dim[0],
                .C = x->shape.dim[1].c,
                .O = own.dim[1].c,
                .H = x->shape.dim[2].c,
                .W = x->shape.dim[3].c,
                .OH = own.dim[2].c,
                .OW = own.dim[3].c,
                .w = ir_window(n),
                .x_block = x->block,
                .y_block = y->block};
    if (!wgrad) {
        c.pool = ir_conv_pool(n);
    }
    derive(&c);
    return c;
}

IrConv ir_conv_of_filter(const IrNode *n) {
    const IrType *w = &ir_in(n, 0)->type;
    int64_t block = ir_int(n, IR_ATTR_BLOCK, 1), group = ir_int(n, IR_ATTR_GROUP, 1);
    IrConv c = {.dtype = w->dtype,
                .C = w->shape.dim[1].c * group,
                .O = w->shape.dim[0].c,
                .w = {.kh = w->shape.dim[2].c,
                      .kw = w->shape.dim[3].c,
                      .sh = 1,
                      .sw = 1,
                      .dh = 1,
                      .dw = 1,
                      .group = group},
                .x_block = block > 1 ? (int)block : 0};
    derive(&c);
    return c;
}

void ir_conv_to_column(IrConv *c) {
    c->OH = c->H = c->H * c->W;
    c->OW = c->W = 1;
}

int64_t ir_conv_products(const IrConv *c) {
    return c->O * c->OH * c->OW * c->cg * c->w.kh * c->w.kw;
}
