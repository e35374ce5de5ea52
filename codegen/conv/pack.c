// Weights in the order in which the kernels read them. Lanes past the last channel, and channels
// that a panel covers but that belong to other groups, are left zero: the destination comes
// zeroed.
#include "codegen/conv/conv.h"

// One output channel's weights of input channel `ic` of its vector's panel, which has `C` channels.
// out: [input block][kh][channels of the block / u][kw][u][lanes], at the output channel's lane
static void pack_channel(const CgConv *s, int lanes, int u, int C, int ic, const float *w,
                         float *out) {
    int b = ic / s->bin, c = ic % s->bin, left = C - b * s->bin;
    int channels = left < s->bin ? left : s->bin;
    int64_t at = ((int64_t)b * s->bin * s->kh + c / u * u) * s->kw + c % u;
    for (int kh = 0; kh < s->kh; kh++, at += (int64_t)channels * s->kw)
        for (int kw = 0; kw < s->kw; kw++)
            out[(at + (int64_t)kw * u) * lanes] = *w++;
}

static void pack_vector(const CgConv *s, int lanes, int v, const float *w, float *out) {
    int og = s->O / s->group, cg = s->C / s->group, u = cg_conv_unroll(s), lo = 0, hi;
    if (s->group > 1)
        cg_conv_ic_range(s, lanes, v, 1, &lo, &hi);
    for (int i = 0; i < cg; i++)
        for (int o = v * lanes; o < (v + 1) * lanes && o < s->O; o++)
            pack_channel(s, lanes, u, s->C - lo * s->bin, o / og * cg - lo * s->bin + i,
                         w + ((int64_t)o * cg + i) * s->kh * s->kw, out + o % lanes);
}

// One output vector after the other
void cg_conv_pack_direct(const CgConv *s, int lanes, const float *w, float *out) {
    int64_t vector = (int64_t)cg_conv_panel_k(s, lanes) * s->kh * s->kw * lanes;
#pragma omp parallel for
    for (int v = 0; v < (s->O + lanes - 1) / lanes; v++)
        pack_vector(s, lanes, v, w, out + v * vector);
}

// out: [O / lanes][kh][channels of a group][kw][lanes]
void cg_conv_pack_lanewise(const CgConv *s, int lanes, const float *w, float *out) {
    int cg = s->C / s->group;
    for (int o = 0; o < s->O; o++)
        for (int c = 0; c < cg; c++)
            for (int kh = 0; kh < s->kh; kh++)
                for (int kw = 0; kw < s->kw; kw++) {
                    int64_t tap = ((int64_t)(o / lanes * s->kh + kh) * cg + c) * s->kw + kw;
                    out[tap * lanes + o % lanes] =
                        w[(((int64_t)o * cg + c) * s->kh + kh) * s->kw + kw];
                }
}
