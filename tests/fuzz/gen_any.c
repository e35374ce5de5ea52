// The maker of graph_gen.h that draws an op of the table, its operands and attributes blindly;
// mostly they do not fit, and are drawn again.
#include "tests/fuzz/graph_gen.h"

static IrAttr draw_attr(Gen *m, IrAttrKey key, const IrValue *x) {
    static const char *const words[] = {"constant", "edge", "reflect", "f32", "i64", "row"};
    int64_t v[2 * IR_MAX_RANK];
    int r = x->type.shape.rank,
        n = key == IR_ATTR_PAD ? 4
            : key == IR_ATTR_STRIDE || key == IR_ATTR_KERNEL || key == IR_ATTR_DILATION
                ? 2
                : (int)gen_draw(m, (uint64_t)r + 1);
    IrShape s = x->type.shape;
    IrBody none = {0};
    for (int i = 0; i < 2 * IR_MAX_RANK; i++)
        v[i] = gen_int(m, 0, 3);
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = gen_chance(m, 30) ? ir_dim(gen_int(m, 0, 4)) : s.dim[i];
    switch (ir_attr_kind(key)) {
    case IR_KIND_INT:
        return ir_attr_i(key, gen_int(m, 0, 3));
    case IR_KIND_FLOAT:
        return ir_attr_f(key, 0.25 * (double)gen_int(m, 0, 4));
    case IR_KIND_INTS:
        return ir_attr_ints(m->prog->arena, key, n, v);
    case IR_KIND_DIMS:
        return ir_attr_dims(key, &s);
    case IR_KIND_STR:
        return ir_attr_s(key, words[gen_draw(m, sizeof words / sizeof *words)]);
    default:
        return ir_attr_body(m->prog->arena, key, &none);
    }
}

IrValue *gen_make_any(Gen *m) {
    IrOp op = (IrOp)gen_draw(m, IR_OP_COUNT);
    const IrOpInfo *info = ir_op_info(op);
    if (info->flags & IR_FLAG_R || op == IR_OP_REORDER || op == IR_OP_PACK_FILTER ||
        op == IR_OP_PAIR_IMAGES)
        return NULL; // random, or what passes alone make
    for (int tries = 0; tries < 40; tries++) {
        IrValue *in[8];
        IrAttr attrs[16];
        int most = info->max_in < 4 ? info->max_in : 4, n_attrs = 0;
        int n = info->max_in == info->min_in ? info->min_in : (int)gen_int(m, info->min_in, most);
        for (int i = 0; i < n && i < 8; i++)
            in[i] =
                i == 0 || gen_chance(m, 40) ? gen_pick(m) : gen_like(m, in[0], in[0]->type.dtype);
        for (int key = 0; key < IR_ATTR_COUNT && n > 0 && n_attrs < 16; key++)
            if (info->attrs >> key & 1 && ir_attr_kind((IrAttrKey)key) != IR_KIND_BODY &&
                key != IR_ATTR_FILTER && key != IR_ATTR_ALGO && key != IR_ATTR_TILE &&
                key != IR_ATTR_IN_PLACE && gen_chance(m, 80))
                attrs[n_attrs++] = draw_attr(m, (IrAttrKey)key, in[0]);
        IrValue *y = n > 0 && n <= 8 ? gen_build(m, op, n, in, n_attrs, attrs) : NULL;
        if (y)
            return y;
    }
    return NULL;
}
