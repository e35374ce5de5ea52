// Weights in the order in which the kernels read them. Lanes past the last channel, and channels
// that a panel covers but that belong to other groups, are left zero: the destination comes
// zeroed.
#include "codegen/conv/conv.h"

// Channel `o` of a panel of nv vectors that starts at vector ocb and input block lo.
// out: [block][kh][channels of the block / unroll][kw][unroll][nv][lanes]
static void pack_channel(const CgConv *s, int lanes, int lo, int nv, int unroll, int lane,
                         const float *w, int first_ic, int n_ic, float *out) {
    int step = nv * lanes, taps = s->kh * s->kw;
    for (int i = 0; i < n_ic; i++) {
        int ic = first_ic + i - lo * s->bin, b = ic / s->bin, c = ic % s->bin;
        int left = s->C - (lo + b) * s->bin, channels = left < s->bin ? left : s->bin;
        float *block = out + (int64_t)b * s->bin * taps * step + lane;
        for (int kh = 0; kh < s->kh; kh++)
            for (int kw = 0; kw < s->kw; kw++) {
                int64_t tap = (int64_t)(kh * channels + c / unroll * unroll) * s->kw + kw * unroll +
                              c % unroll;
                block[tap * step] = w[(int64_t)i * taps + kh * s->kw + kw];
            }
    }
}

void cg_conv_pack_direct(const CgConv *s, int lanes, const float *w, float *out) {
    CgConvOc oc = cg_conv_oc(s, lanes);
    int unroll = cg_conv_unroll(s), taps = s->kh * s->kw;
    int og = s->O / s->group, cg = s->C / s->group;
    int64_t block = (int64_t)cg_conv_panel_k(s, lanes) * taps * lanes;
    for (int part = 0; part < oc.sets * oc.cut.n; part++) {
        int nv = oc.cut.size - (part % oc.cut.n >= oc.cut.big), lo = 0, hi;
        int ocb = part / oc.cut.n * oc.blocks + cg_conv_cut_begin(oc.cut, part % oc.cut.n);
        if (s->group > 1)
            cg_conv_ic_range(s, lanes, ocb, nv, &lo, &hi);
        for (int lane = 0; lane < nv * lanes && ocb * lanes + lane < s->O; lane++) {
            int o = ocb * lanes + lane;
            pack_channel(s, lanes, lo, nv, unroll, lane, w + (int64_t)o * cg * taps, o / og * cg,
                         cg, out + ocb * block);
        }
    }
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

int64_t cg_conv_vectors_floats(const CgConv *s, int lanes) {
    int64_t vectors = (s->O + lanes - 1) / lanes;
    return vectors * lanes * (s->C / s->group) * s->kh * s->kw;
}

void cg_conv_pack_vectors(const CgConv *s, int lanes, const float *w, float *out) {
    int64_t row = (int64_t)(s->C / s->group) * s->kh * s->kw;
    for (int o = 0; o < s->O; o++)
        for (int64_t i = 0; i < row; i++)
            out[(o / lanes * row + i) * lanes + o % lanes] = w[o * row + i];
}
