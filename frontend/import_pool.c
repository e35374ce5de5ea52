// Pools. 1-D pools are 2-D ones of height 1; global pools are reductions over the spatial axes.
#include "frontend/fe_import.h"

static void build_pool(FeNode *n, bool average) {
    IrValue *x = fe_operand(n, 0);
    FeWindow w;
    if (n->refused || !fe_window(n, &x->type.shape, NULL, &w)) {
        return;
    }
    IrAttr attrs[6] = {
        fe_ints_attr(n, IR_ATTR_KERNEL, 2, w.kernel),
        fe_ints_attr(n, IR_ATTR_STRIDE, 2, w.stride),
        fe_ints_attr(n, IR_ATTR_PAD, 4, w.pad),
        fe_ints_attr(n, IR_ATTR_DILATION, 2, w.dilation),
        ir_attr_i(IR_ATTR_CEIL, fe_attr_int(n, "ceil_mode", 0) != 0),
        ir_attr_i(IR_ATTR_COUNT_PAD, fe_attr_int(n, "count_include_pad", 0) != 0),
    };
    IrValue *y = fe_build(n, n->info->op, FE_IN(fe_to_2d(n, x)), average ? 6 : 5, attrs);
    fe_out(n, 0, fe_from_2d(n, y, w.rank));
}

// MaxPool-12. Output 1 (Indices, from version 8 on) is not supported.
void fe_import_max_pool(FeNode *n) {
    build_pool(n, false);
}

// AveragePool-19
void fe_import_average_pool(FeNode *n) {
    build_pool(n, true);
}

// GlobalAveragePool-1, GlobalMaxPool-1: [N,C,...] -> [N,C,1,...]
void fe_import_global_pool(FeNode *n) {
    IrValue *x = fe_operand(n, 0);
    if (n->refused) {
        return;
    }
    int rank = x->type.shape.rank;
    if (rank < 3) {
        fe_refuse(n, "input of rank %d has no spatial axes", rank);
        return;
    }
    fe_out(n, 0, fe_reduce(n, n->info->op, x, fe_range(n, 2, rank), true));
}
