// Conv. 1-D convolutions are 2-D ones of height 1.
#include "frontend/fe_import.h"

// Conv-11: x [N,C,H,W], w [O,C/group,KH,KW], b [O]
void fe_import_conv(FeNode *n) {
    IrValue *x = fe_operand(n, 0), *w = fe_operand(n, 1), *b = fe_operand_or_null(n, 2);
    if (n->refused) {
        return;
    }
    const IrShape *xs = &x->type.shape, *ws = &w->type.shape;
    if (xs->rank != ws->rank || (xs->rank != 3 && xs->rank != 4)) {
        fe_refuse(n, "input of rank %d with weights of rank %d; only 1-D and 2-D are supported",
                  xs->rank, ws->rank);
        return;
    }
    int64_t kernel[2] = {ws->dim[2].c, ws->dim[ws->rank - 1].c};
    FeWindow win;
    if (!fe_window(n, xs, kernel, &win)) {
        return;
    }
    IrValue *y = fe_build(n, IR_OP_CONV, FE_IN(fe_to_2d(n, x), fe_to_2d(n, w), b),
                          FE_WITH(fe_ints_attr(n, IR_ATTR_STRIDE, 2, win.stride),
                                  fe_ints_attr(n, IR_ATTR_PAD, 4, win.pad),
                                  fe_ints_attr(n, IR_ATTR_DILATION, 2, win.dilation),
                                  ir_attr_i(IR_ATTR_GROUP, fe_attr_int(n, "group", 1))));
    fe_out(n, 0, fe_from_2d(n, y, win.rank));
}
