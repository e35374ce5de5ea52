// Lowering of conv_wgrad where the schedule says Winograd's algorithm: cuts channels into pieces
// whose sums, and blocks of tiles that fit beside them, stay in L2. The kernel: wgrad_winograd.c.
#include "codegen/conv/wgrad_winograd.h"
#include "ir/conv.h"

#include <string.h>

enum {
    MOST_X_BLOCKS = 8, // of a piece
    MOST_DY_BLOCKS = 4,
    LEAST_PIECES = 4, // to share among threads
    LEAST_TILES = 8,  // of a block
    MOST_TILES = 24,
    MANY_REGISTERS = 24, // for a register tile of 8 by 2 vectors; else 4 by 2
};

static bool applies(const CgTarget *t, const IrNode *n, const IrConv *c, int *m) {
    IrConvAlgo algo;
    if (!ir_conv_algo(n, &algo) || (algo != IR_CONV_WINOGRAD2 && algo != IR_CONV_WINOGRAD4))
        return false;
    *m = algo == IR_CONV_WINOGRAD4 ? 4 : 2;
    return t->lanes == IR_BLOCK && ir_conv_wgrad_serves(algo, n, c);
}

// Time of all pieces for a tile, in products of vectors: these, transforms of both operands, and
// sums that come and go.
static double cost(const CgWgradWino *s, int64_t pieces) {
    double points = (s->m + 2) * (s->m + 2), sums = points * s->c_blocks * s->o_blocks * IR_BLOCK;
    double each = sums + 6 * points * (s->c_blocks + s->o_blocks) + 4 * sums / s->block;
    return each * (double)pieces * (pieces < LEAST_PIECES ? (double)LEAST_PIECES / pieces : 1);
}

// The piece's blocks of tiles fit beside its sums. False: too few do.
static bool choose_block(CgWgradWino *s, const IrMachine *m) {
    int64_t points = (s->m + 2) * (s->m + 2), vector = IR_BLOCK * 4;
    int64_t room =
        ir_budget(m, IR_L2_PIECE) - points * s->c_blocks * s->o_blocks * IR_BLOCK * vector;
    int64_t tiles = room / (points * (s->c_blocks + s->o_blocks) * vector) / 4 * 4;
    s->block = (int32_t)ir_max(LEAST_TILES, ir_min(MOST_TILES, tiles));
    return tiles >= LEAST_TILES;
}

static void choose_piece(CgWgradWino *s, const IrMachine *m) {
    int all_x = s->c.C / IR_BLOCK, all_dy = s->c.O / IR_BLOCK;
    CgWgradWino best = *s;
    double least = 0;
    s->terms = ir_tile_registers(m) >= MANY_REGISTERS ? 8 : 4;
    for (int x = 1; x <= all_x && x <= MOST_X_BLOCKS; x++)
        for (int dy = 1; dy <= all_dy && dy <= MOST_DY_BLOCKS; dy++) {
            s->c_blocks = x;
            s->o_blocks = dy;
            s->vecs = dy % 2 ? 1 : 2;
            bool fits = choose_block(s, m) || (x == 1 && dy == 1);
            double now = cost(s, (int64_t)(all_x / x) * (all_dy / dy));
            if (all_x % x || all_dy % dy || !fits || (least > 0 && now >= least))
                continue;
            least = now;
            best = *s;
        }
    *s = best;
}

bool cg_conv_wgrad_by_winograd(CgProgram *p, const IrNode *n, const IrConv *c) {
    const CgTarget *t = cg_target(p);
    CgWgradWino s;
    int m;
    memset(&s, 0, sizeof s);
    if (!applies(t, n, c, &m) || !cg_conv_wgrad_sizes(n, c, &s.c))
        return false;
    s.m = m;
    choose_piece(&s, &t->machine);
    CgWgradWinoShape w = cg_conv_wgrad_winograd_shape(&s);
    cg_scratch(p, (w.v_floats + w.u_floats + w.m_floats + IR_BLOCK) * 4);
    CgArg args[] = {cg_write(n->out[0]), cg_read(ir_in(n, 0)), cg_read(ir_in(n, 1))};
    int kernel = cg_kernel(p, "conv_wgrad_winograd", cg_conv_wgrad_winograd, &s, sizeof s, 3,
                           s.terms * s.vecs * 16 + 6 * w.points * 16);
    int64_t flops = 2 * ir_conv_products(c);
    const char *name = ir_sprintf(cg_arena(p), "winograd%d %dx%d", m, s.c_blocks, s.o_blocks);
    cg_call(p, n, kernel, 3, args, name, (IrDim){flops * s.c.N.c, flops * s.c.N.n});
    return true;
}
