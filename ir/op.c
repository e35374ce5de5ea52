// The op table and the attribute keys, made from ops.def and attrs.def.
#include "ir/ir_private.h"
#include <string.h>

enum {
    E = IR_FLAG_E,
    C = IR_FLAG_C,
    R = IR_FLAG_R,
    B = IR_FLAG_B,
    W = IR_FLAG_W,
    Y2 = IR_FLAG_Y2,
    Y3 = IR_FLAG_Y3
};

static const IrOpInfo OPS[] = {
#define IR_OP(ENUM, text, min_in, max_in, flags, attrs, shape, eval, grad, lower)                  \
    [IR_OP_##ENUM] = {#text,                                                                       \
                      min_in,                                                                      \
                      max_in,                                                                      \
                      flags,                                                                       \
                      attrs,                                                                       \
                      (flags) & Y3   ? 3                                                           \
                      : (flags) & Y2 ? 2                                                           \
                                     : 1},
#include "ir/ops.def"
#undef IR_OP
};

typedef struct AttrInfo {
    const char *text;
    IrAttrKind kind;
} AttrInfo;

static const AttrInfo ATTRS[] = {
#define IR_ATTR(ENUM, text, kind) [IR_ATTR_##ENUM] = {#text, IR_KIND_##kind},
#include "ir/attrs.def"
#undef IR_ATTR
};

const IrOpInfo *ir_op_info(IrOp op) {
    return &OPS[op];
}

bool ir_op_parse(const char *text, IrOp *out) {
    for (int i = 0; i < IR_OP_COUNT; i++) {
        if (!strcmp(text, OPS[i].text)) {
            *out = (IrOp)i;
            return true;
        }
    }
    return false;
}

const char *ir_attr_name(IrAttrKey key) {
    return ATTRS[key].text;
}

IrAttrKind ir_attr_kind(IrAttrKey key) {
    return ATTRS[key].kind;
}

bool ir_attr_parse(const char *text, IrAttrKey *out) {
    for (int i = 0; i < IR_ATTR_COUNT; i++) {
        if (!strcmp(text, ATTRS[i].text)) {
            *out = (IrAttrKey)i;
            return true;
        }
    }
    return false;
}

bool ir_takes_epilogue(IrOp op) {
    return OPS[op].attrs & IR_BIT(THEN);
}

static bool equal_bodies(const IrBody *a, const IrBody *b) {
    bool same = a->n == b->n;
    for (int i = 0; same && i < a->n; i++) {
        const IrStep *s = &a->step[i], *t = &b->step[i];
        same = s->op == t->op && memcmp(s->arg, t->arg, sizeof s->arg) == 0 &&
               memcmp(s->p, t->p, sizeof s->p) == 0;
    }
    return same;
}

bool ir_attr_eq(const IrAttr *a, const IrAttr *b) {
    if (a->key != b->key) {
        return false;
    }
    switch (ir_attr_kind(a->key)) {
    case IR_KIND_INT:
        return a->i == b->i;
    case IR_KIND_FLOAT:
        return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case IR_KIND_INTS:
        return a->ints.n == b->ints.n &&
               (!a->ints.n ||
                memcmp(a->ints.v, b->ints.v, (size_t)a->ints.n * sizeof *a->ints.v) == 0);
    case IR_KIND_DIMS:
        return ir_shape_eq(&a->dims, &b->dims);
    case IR_KIND_STR:
        return strcmp(a->s, b->s) == 0;
    case IR_KIND_BODY:
        return equal_bodies(&a->body, &b->body);
    case IR_KIND_ALGO:
        return a->algo == b->algo;
    case IR_KIND_TILE:
        return memcmp(&a->tile, &b->tile, sizeof a->tile) == 0;
    }
    return false;
}
