// Weights in the order in which the kernels read them. Lanes past the last channel, and channels
// that a panel covers but that belong to other groups, are left zero: the destination comes
// zeroed.
#include "codegen/conv/conv.h"

int64_t cg_conv_tap(const CgConv *s, int ic, int kh, int kw) {
    int u = cg_conv_unroll(s), b = ic / s->bin, c = ic % s->bin, left = s->C - b * s->bin;
    int channels = left < s->bin ? left : s->bin;
    int64_t row = (int64_t)b * s->bin * s->kh + kh * channels + c / u * u;
    return row * s->kw + kw * u + c % u;
}

void cg_conv_pack_direct(const CgConv *s, int lanes, const float *w, float *out) {
    int og = s->O / s->group, cg = s->C / s->group;
    int64_t vector = (int64_t)cg_conv_panel_k(s, lanes) * s->kh * s->kw * lanes;
    for (int o = 0; o < s->O; o++) {
        int lo = 0, hi;
        if (s->group > 1)
            cg_conv_ic_range(s, lanes, o / lanes, 1, &lo, &hi);
        CgConv panel = *s; // its channels are counted from its first block
        panel.C -= lo * s->bin;
        float *lane = out + o / lanes * vector + o % lanes;
        for (int i = 0; i < cg; i++)
            for (int kh = 0; kh < s->kh; kh++)
                for (int kw = 0; kw < s->kw; kw++) {
                    int ic = o / og * cg - lo * s->bin + i;
                    lane[cg_conv_tap(&panel, ic, kh, kw) * lanes] = *w++;
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
