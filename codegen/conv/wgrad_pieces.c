// How the work of conv_wgrad is cut into pieces; conv/wgrad_kernel.c says what they are.
#include "codegen/conv/wgrad.h"

int cg_conv_wgrad_group_channels(const CgWgrad *s) {
    return s->c.C / s->c.group;
}

CgWgradPairing cg_conv_wgrad_pairing(const CgWgrad *s, int lanes) {
    if (s->lanewise)
        return CG_PAIR_SAME;
    bool whole = s->c.O / s->c.group % lanes == 0 && cg_conv_wgrad_group_channels(s) % s->bin == 0;
    return s->c.group == 1 || whole ? CG_PAIR_ALL : CG_PAIR_RANGES;
}

// Blocks of x that output vector `ob` needs: [lo, hi)
static void block_range(const CgWgrad *s, int lanes, int ob, int *lo, int *hi) {
    int og = s->c.O / s->c.group, ig = cg_conv_wgrad_group_channels(s);
    int last = cg_min_int((ob + 1) * lanes, s->c.O) - 1;
    *lo = ob * lanes / og * ig / s->bin;
    *hi = cg_ceil_div((last / og + 1) * ig, s->bin);
}

static int most_blocks(const CgWgrad *s, int lanes) {
    int most = 0, lo, hi;
    for (int ob = 0; ob < cg_ceil_div(s->c.O, lanes); ob++) {
        block_range(s, lanes, ob, &lo, &hi);
        most = cg_max_int(most, hi - lo);
    }
    return most;
}

CgWgradPieces cg_conv_wgrad_pieces(const CgWgrad *s, int lanes) {
    CgWgradPieces u = {
        .pairing = cg_conv_wgrad_pairing(s, lanes), .sets = 1, .taps = s->c.kh * s->c.kw};
    u.o_blocks = cg_ceil_div(s->c.O, lanes);
    u.i_blocks = s->bin == 1 ? 1 : cg_ceil_div(s->c.C, s->bin);
    u.part = s->bin == 1 ? s->c.C : s->lanewise ? cg_conv_wgrad_group_channels(s) : s->part;
    u.parts = s->bin == 1 || s->lanewise ? 1 : cg_ceil_div(cg_min_int(s->bin, s->c.C), s->part);
    if (u.pairing == CG_PAIR_ALL && s->c.group > 1) {
        u.sets = s->c.group;
        u.o_blocks /= s->c.group;
        u.i_blocks /= s->c.group;
    } else if (u.pairing == CG_PAIR_SAME) {
        u.i_blocks = 1;
    } else if (u.pairing == CG_PAIR_RANGES) {
        u.i_blocks = most_blocks(s, lanes);
    }
    u.cut = cg_cut(u.o_blocks, s->vecs);
    u.o_tiles = u.sets * u.cut.n;
    u.n = (int64_t)u.o_tiles * u.i_blocks;
    u.rows = cg_ceil_div(u.part * u.parts * u.taps, lanes) * lanes;
    u.floats = (int64_t)u.rows * u.cut.size * lanes;
    return u;
}
