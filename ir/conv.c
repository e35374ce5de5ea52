// Convolutions: their geometry, and the algorithms of conv_algos.def. See conv.h.
#include "ir/conv.h"
#include "ir/machine.h"

#include <stddef.h>
#include <string.h>

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
        c.constant = ir_in(n, 1)->konst != NULL;
        c.with = (ir_body(n, IR_ATTR_PRE).n ? IR_CONV_FLAG_PRE : 0) |
                 (ir_body(n, IR_ATTR_THEN).n ? IR_CONV_FLAG_THEN : 0) |
                 (c.pool.kh ? IR_CONV_FLAG_POOL : 0);
    }
    derive(&c);
    return c;
}

IrConv ir_conv_of_filter(const IrNode *n) {
    const IrType *w = &ir_in(n, 0)->type;
    IrInts stride = ir_ints(n, IR_ATTR_STRIDE), dilation = ir_ints(n, IR_ATTR_DILATION);
    int64_t block = ir_int(n, IR_ATTR_BLOCK, 1), group = ir_int(n, IR_ATTR_GROUP, 1);
    bool reverse = ir_int(n, IR_ATTR_REVERSE, 0);
    IrConv c = {.dtype = ir_own_dtype(n),
                .C = w->shape.dim[!reverse].c * group,
                .O = w->shape.dim[reverse].c,
                .w = {.kh = w->shape.dim[2].c,
                      .kw = w->shape.dim[3].c,
                      .sh = stride.n == 2 ? stride.v[0] : 1,
                      .sw = stride.n == 2 ? stride.v[1] : 1,
                      .dh = dilation.n == 2 ? dilation.v[0] : 1,
                      .dw = dilation.n == 2 ? dilation.v[1] : 1,
                      .group = group},
                .x_block = block > 1 ? (int)block : 0};
    derive(&c);
    return c;
}

void ir_conv_to_column(IrConv *c) {
    c->OH = c->H = c->H * c->W;
    c->OW = c->W = 1;
}

bool ir_conv_is_empty(const IrConv *c) {
    return c->O * c->OH * c->OW == 0;
}

int64_t ir_conv_products(const IrConv *c) {
    return c->O * c->OH * c->OW * c->cg * c->w.kh * c->w.kw;
}

// ---------------------------------------------------------------- algorithms

enum {
    F32 = 1 << IR_F32,
    F64 = 1 << IR_F64,
    F16 = 1 << IR_F16,
    BF16 = 1 << IR_BF16,
    I8 = 1 << IR_I8,
    U8 = 1 << IR_U8
};
enum {
    FEWER = IR_CONV_FLAG_FEWER,
    CONST = IR_CONV_FLAG_CONST,
    PLAIN = IR_CONV_FLAG_PLAIN,
    COLUMN = IR_CONV_FLAG_COLUMN,
    PRE = IR_CONV_FLAG_PRE,
    THEN = IR_CONV_FLAG_THEN,
    POOL = IR_CONV_FLAG_POOL,
    FILLS = IR_CONV_FLAG_FILLS,
    SCALES = IR_CONV_FLAG_SCALES,
    PIXELS = IR_CONV_FLAG_PIXELS
};

typedef enum Field {
#define IR_CONV_TILE(E, field) FIELD_##E,
#include "ir/conv_algos.def"
#undef IR_CONV_TILE
    N_FIELDS
} Field;
enum {
#define IR_CONV_TILE(E, field) E = 1 << FIELD_##E,
#include "ir/conv_algos.def"
#undef IR_CONV_TILE
};
static const struct {
    const char *name;
    size_t offset;
} FIELDS[] = {
#define IR_CONV_TILE(E, field) {#field, offsetof(IrConvTile, field)},
#include "ir/conv_algos.def"
#undef IR_CONV_TILE
};

#define ir_conv_words_none NULL
static const IrConvAlgoInfo ALGOS[] = {
#define IR_CONV_ALGO(E, text, types, flags, tile, choose, words, ...)                              \
    [IR_CONV_##E] = {#text, types, flags, tile, ir_conv_words_##words},
#include "ir/conv_algos.def"
#undef IR_CONV_ALGO
};
#undef ir_conv_words_none

const IrConvAlgoInfo *ir_conv_algo_info(IrConvAlgo algo) {
    return &ALGOS[algo];
}

bool ir_conv_algo_parse(const char *text, IrConvAlgo *out) {
    for (int i = 0; i < IR_CONV_ALGO_COUNT; i++) {
        if (!strcmp(text, ALGOS[i].text)) {
            *out = (IrConvAlgo)i;
            return true;
        }
    }
    return false;
}

// A blocked x: its blocks are y's, or hold all its channels and whole words of them. f32 may be
// plain. Channels that fill up a word have weights of 0, with which only bytes are sure to make 0,
// and what is 0 itself, as in the small blocks of a few channels.
static bool has_blocks(const IrConv *c) {
    if (!c->y_block || !c->x_block)
        return c->y_block && c->dtype == IR_F32;
    bool whole = c->dtype != IR_BF16 || c->C % ir_word(c->dtype) == 0 || c->x_block < c->y_block;
    bool few = c->C <= c->x_block && c->x_block % ir_word(c->dtype) == 0 && c->w.group == 1;
    return whole && (c->x_block == c->y_block || (few && c->dtype != IR_F32));
}

// What a kernel of whole pixels reads and writes: these, or blocks.
static bool has_pixels(const IrConv *c) {
    IrConv blocks = *c;
    if (ir_conv_is_whole(c->x_block, c->C))
        blocks.x_block = IR_BLOCK;
    if (ir_conv_is_whole(c->y_block, c->O))
        blocks.y_block = IR_BLOCK;
    return has_blocks(&blocks);
}

bool ir_conv_serves(IrConvAlgo algo, const IrConv *c) {
    const IrConvAlgoInfo *a = &ALGOS[algo];
    bool plain = a->flags & PLAIN;
    return a->types >> c->dtype & 1 && !(c->with & ~a->flags) &&
           (c->constant || !(a->flags & CONST)) &&
           (plain               ? !c->x_block && !c->y_block
            : a->flags & PIXELS ? has_pixels(c)
                                : c->y_block <= IR_BLOCK && has_blocks(c));
}

// ---- gradients of weights

enum { MOST_PLANES = 16, MOST_PLAIN = 4, MOST_WEIGHTS = INT32_MAX / 16 };

// Of a 3x3 between whole blocks of channels
static bool wgrad_has_transforms(const IrConv *c) {
    const IrWindow *w = &c->w;
    return c->dtype == IR_F32 && w->kh == 3 && w->kw == 3 && w->sh == 1 && w->sw == 1 &&
           w->dh == 1 && w->dw == 1 && c->x_block == IR_BLOCK && c->C % IR_BLOCK == 0 &&
           c->O % IR_BLOCK == 0;
}

// Each place of a stride that a tap meets is a plane of the copy of x; a plain x, of bf16, has few
// channels.
static bool wgrad_has_planes(const IrConv *c) {
    const IrWindow *w = &c->w;
    int64_t rows = ir_min(w->sh, (w->kh - 1) * w->dh + 1);
    int64_t columns = ir_min(w->sw, (w->kw - 1) * w->dw + 1);
    bool plain = c->dtype == IR_BF16 && !c->x_block && c->C <= MOST_PLAIN;
    return (c->dtype == IR_BF16 || c->dtype == IR_F32) && rows * columns <= MOST_PLANES &&
           w->kh * w->kw * c->C <= MOST_WEIGHTS && (c->x_block == IR_BLOCK || plain);
}

bool ir_conv_wgrad_serves(IrConvAlgo algo, const IrNode *n, const IrConv *c) {
    bool tiles = algo == IR_CONV_DIRECT_BF16_AMX;
    bool transforms = algo == IR_CONV_WINOGRAD2 || algo == IR_CONV_WINOGRAD4;
    return c->w.group == 1 && c->y_block == IR_BLOCK && !n->out[0]->type.block &&
           !ir_conv_is_empty(c) &&
           ((tiles && wgrad_has_planes(c)) || (transforms && wgrad_has_transforms(c)));
}

IrConv ir_conv_seen_by(IrConvAlgo algo, const IrConv *c) {
    IrConv seen = *c;
    if (c->flat && !c->pool.kh && ALGOS[algo].flags & COLUMN) {
        ir_conv_to_column(&seen);
    }
    return seen;
}

// ---------------------------------------------------------------- what a node says

static const int32_t *field_of(const IrConvTile *t, int k) {
    return (const int32_t *)((const char *)t + FIELDS[k].offset);
}

bool ir_conv_tile_is_of(const IrConvTile *t, IrConvAlgo algo) {
    bool own = true;
    for (int k = 0; k < N_FIELDS; k++) {
        own &= *field_of(t, k) == 0 || ALGOS[algo].tile >> k & 1;
    }
    return own;
}

int32_t *ir_conv_tile_field(IrConvTile *t, const char *name) {
    for (int k = 0; k < N_FIELDS; k++) {
        if (!strcmp(name, FIELDS[k].name)) {
            return (int32_t *)field_of(t, k);
        }
    }
    return NULL;
}

char *ir_conv_tile_print(const IrConvTile *t, char *buf) {
    int n = 0;
    buf[0] = 0;
    for (int k = 0; k < N_FIELDS; k++) {
        int32_t x = *field_of(t, k);
        if (x) {
            n += snprintf(buf + n, (size_t)(IR_CONV_TILE_TEXT - n), "%s%s=%d", n ? "," : "",
                          FIELDS[k].name, x);
        }
    }
    return buf;
}

bool ir_conv_algo(const IrNode *n, IrConvAlgo *out) {
    const IrAttr *a = ir_attr(n, IR_ATTR_ALGO);
    if (a) {
        *out = a->algo;
    }
    return a != NULL;
}

IrConvTile ir_conv_tile(const IrNode *n) {
    const IrAttr *a = ir_attr(n, IR_ATTR_TILE);
    return a ? a->tile : (IrConvTile){0};
}

void ir_conv_set(IrNode *n, IrConvAlgo algo, const IrConvTile *tile) {
    ir_set_attr(n, ir_attr_algo(algo));
    if (ALGOS[algo].tile) {
        ir_set_attr(n, ir_attr_tile(tile));
    } else {
        ir_del_attr(n, IR_ATTR_TILE);
    }
}
