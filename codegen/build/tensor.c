// How values lie in memory, and what lowerings ask about it.
#include "codegen/build/lower.h"

#include <string.h>

int64_t cg_channels(const CgTensor *t) {
    return t->rank > 1 ? t->dim[1].c : 1;
}

int64_t cg_spatial(const CgTensor *t) {
    int64_t n = 1;
    for (int i = 2; i < t->rank; i++)
        n *= t->dim[i].c;
    return n;
}

// Elements between images of a value that is its own storage.
static int64_t own_image(const CgTensor *t) {
    int64_t c = cg_channels(t);
    if (t->block)
        c = (c + t->block - 1) / t->block * t->block;
    return c * cg_spatial(t);
}

CgTensor cg_tensor(const IrValue *v) {
    CgTensor t;
    memset(&t, 0, sizeof t);
    t.dtype = (int32_t)v->type.dtype;
    t.rank = v->type.shape.rank;
    t.block = v->type.block;
    for (int i = 0; i < t.rank; i++)
        t.dim[i] = v->type.shape.dim[i];
    const IrValue *root = v;
    while (root->view_of)
        root = root->view_of;
    if (t.block && root != v && root->type.block) {
        CgTensor r = cg_tensor(root);
        t.image = r.image;
    } else {
        t.image = own_image(&t);
    }
    return t;
}

bool cg_static_dims(const CgTensor *t, int from) {
    for (int i = from; i < t->rank; i++) {
        if (t->dim[i].n) {
            return false;
        }
    }
    return true;
}

bool cg_need_plain(CgProgram *p, const IrNode *n) {
    bool plain = n->out[0]->type.block == 0;
    for (int i = 0; i < n->n_in; i++) {
        plain = plain && (!ir_in(n, i) || ir_in(n, i)->type.block == 0);
    }
    if (!plain) {
        cg_nyi(p, n, "%s on blocked tensors", ir_op_info(n->op)->text);
    }
    return plain;
}
