// The prologue of a convolution: elementwise work on its input, done on the way in.
//
//   conv %x, %w, _, %scale, %shift {pre=[mul(acc, 3), add(s0, 4), relu(s1)]}
//
// It belongs to 1x1 convolutions with stride 1 and no padding, whose pixels are one column. Before
// a band's tasks a thread reads the band's pixels of x once, all channels, and writes what the
// prologue makes of them to its scratch; the tiles of every output group then read them there:
//   scratch  [block of channels][pixel of the band][lanes]
// So a tensor that would be written to memory and read again stays in L2. Threads whose tasks meet
// in a band each do the pixels that they read. Lanes past the last channel hold any value, and no
// tile reads them.
#include "codegen/build/nd.h"
#include "codegen/conv/conv.h"

// A band's bytes, in L2 next to the weights. Where these are the larger part all pixels are one
// band, as far as they fit, so that threads share the weights among them.
static int count_blocks(const CgConv *s, int lanes) {
    return (s->C + lanes - 1) / lanes;
}

static int32_t choose_band(const CgConv *s, const IrMachine *m, int lanes) {
    CgCut rows = cg_cut(s->OH, s->tile.rows);
    if (cg_conv_oc(s, lanes).cut.n == 1)
        return 1; // a single group reads each pixel
    bool heavy = s->O >= s->OH;
    int64_t tile = (int64_t)rows.size * count_blocks(s, lanes) * lanes * 4;
    int64_t band = ir_budget(m, heavy ? IR_L2_INPUT : IR_L2_BAND) / tile;
    return (int32_t)(band < 1 ? 1 : band < rows.n ? band : rows.n);
}

bool cg_conv_prologue_init(CgConv *s, const IrMachine *m, int lanes) {
    bool column = s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->pt == 0 &&
                  s->pl == 0 && s->W == 1 && s->OW == 1 && s->H == s->OH;
    if (!column || s->group != 1 || s->bin != lanes || s->C == 0)
        return false;
    for (int i = 0; i < s->pre.n_in; i++) {
        int32_t *kind = &s->pre.in[i].kind;
        if (*kind == CG_OPERAND_FULL && s->H == 1)
            *kind = CG_OPERAND_CHANNEL; // of images of one pixel
        if (*kind == CG_OPERAND_FULL || *kind == CG_OPERAND_GENERAL)
            return false;
    }
    s->tile.band = choose_band(s, m, lanes);
    return true;
}

int64_t cg_conv_prologue_block(const CgConv *s, int lanes) {
    return (int64_t)s->tile.band * cg_cut(s->OH, s->tile.rows).size * lanes;
}

int64_t cg_conv_prologue_floats(const CgConv *s, int lanes) {
    return count_blocks(s, lanes) * cg_conv_prologue_block(s, lanes);
}

// One block of channels
typedef struct Block {
    const CgConv *s;
    CgVal from, to;                 // its pixels in x and in the scratch
    CgVal operand[CG_MAX_OPERANDS]; // the same for all pixels
} Block;

static CgVal load_operand(CgFn *f, const CgConv *s, int k, CgVal n, CgVal icb) {
    const CgOperand *in = &s->pre.in[k];
    CgVal p = f->arg[s->pre.first_arg + k];
    if (in->kind == CG_OPERAND_SCALAR)
        return cg_load_splat(f, p);
    CgVal c = cg_imulc(f, icb, f->lanes);
    if (in->t.image)
        p = cg_fat(f, p, cg_imulc(f, n, in->t.image));
    p = cg_fat(f, p, c);
    if (in->t.block || s->C % f->lanes == 0)
        return cg_load_v(f, p);
    CgVal left = cg_isub(f, cg_i64(f, s->C), c);
    return cg_load_n(f, p, cg_imin(f, left, cg_i64(f, f->lanes)));
}

static CgVal read_operand(void *ctx, CgFn *f, int k) {
    (void)f;
    return ((Block *)ctx)->operand[k];
}

static void emit_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    Block *b = ctx;
    CgVal at = cg_imulc(f, i, f->lanes), x = cg_load_v(f, cg_fat(f, b->from, at));
    cg_store_v(f, cg_body_emit(f, &b->s->pre, x, read_operand, b), cg_fat(f, b->to, at));
}

void cg_conv_prologue(CgFn *f, const CgConv *s, CgVal n, CgVal origin, CgVal first, CgVal end) {
    CgLoop loop;
    CgVal x = cg_fat(f, f->arg[CG_CONV_X], cg_imulc(f, n, s->x_image));
    x = cg_fat(f, x, cg_imulc(f, first, f->lanes));
    CgVal to = cg_fat(f, f->scratch, cg_imulc(f, cg_isub(f, first, origin), f->lanes));
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, count_blocks(s, f->lanes)), 1);
    Block b = {.s = s,
               .from = cg_fat(f, x, cg_imulc(f, loop.iv, (int64_t)s->H * f->lanes)),
               .to = cg_fat(f, to, cg_imulc(f, loop.iv, cg_conv_prologue_block(s, f->lanes)))};
    for (int k = 0; k < s->pre.n_in; k++)
        if (s->pre.in[k].kind != CG_OPERAND_IMM)
            b.operand[k] = load_operand(f, s, k, n, loop.iv);
    cg_nd_steps(f, cg_isub(f, end, first), 4, emit_pixel, &b);
    cg_end(f, &loop);
}
