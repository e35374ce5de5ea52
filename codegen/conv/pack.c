// Weights in the order in which the kernels read them. Lanes past the last channel, and channels
// that a panel covers but that belong to other groups, are left zero: the destination comes
// zeroed.
#include "codegen/conv/conv.h"

#include <string.h>

// One element of `size` bytes.
static void put(void *to, int64_t at, const void *from, int64_t i, int size) {
    if (size == 4)
        memcpy((char *)to + 4 * at, (const char *)from + 4 * i, 4);
    else
        memcpy((char *)to + size * at, (const char *)from + size * i, (size_t)size);
}

// Where the weights go of one channel of a vector's panel, which has `C` channels, in words; a word
// is in it for each lane, and the channel has one place in a word.
// out: [input block][kh][words of the block / u][kw][u][lanes]
typedef struct Place {
    int64_t first, row; // of tap (0, 0); from kernel row to kernel row
    int in_word, u;
} Place;

static Place place_channel(const CgConv *s, int C, int ic) {
    int block = cg_conv_block_words(s), b = ic / s->bin, c = ic % s->bin / cg_conv_word(s);
    int u = cg_conv_unroll(s), words = cg_min_int(cg_conv_words(s, C - b * s->bin), block);
    return (Place){.first = ((int64_t)b * block * s->kh + c / u * u) * s->kw + c % u,
                   .row = (int64_t)words * s->kw,
                   .in_word = ic % cg_conv_word(s),
                   .u = u};
}

// One output channel's weights, [kh][kw] from element `from` of w on.
static void pack_channel(const CgConv *s, int lanes, const Place *p, int lane, const void *w,
                         int64_t from, void *out) {
    int word = cg_conv_word(s), size = 4 / word;
    for (int kh = 0; kh < s->kh; kh++)
        for (int kw = 0; kw < s->kw; kw++, from++) {
            int64_t at = p->first + kh * p->row + (int64_t)kw * p->u;
            put(out, (at * lanes + lane) * word + p->in_word, w, from, size);
        }
}

static void pack_vector(const CgConv *s, int lanes, int v, const void *w, void *out) {
    int og = s->O / s->group, cg = s->C / s->group, lo = 0, hi;
    if (s->group > 1)
        cg_conv_ic_range(s, lanes, v, 1, &lo, &hi);
    for (int i = 0; i < cg; i++) {
        int last = -1;
        Place p;
        for (int o = v * lanes; o < (v + 1) * lanes && o < s->O; o++) {
            int ic = o / og * cg - lo * s->bin + i;
            if (ic != last)
                p = place_channel(s, s->C - lo * s->bin, ic);
            last = ic;
            pack_channel(s, lanes, &p, o % lanes, w, ((int64_t)o * cg + i) * s->kh * s->kw, out);
        }
    }
}

// One output vector after the other
void cg_conv_pack_direct(const CgConv *s, const CgTarget *t, const void *w, void *out) {
    int lanes = t->lanes;
    int64_t vector = (int64_t)cg_conv_panel_words(s, lanes) * s->kh * s->kw * lanes * 4;
#pragma omp parallel for
    for (int v = 0; v < (s->O + lanes - 1) / lanes; v++)
        pack_vector(s, lanes, v, w, (char *)out + v * vector);
}

// out: [O / lanes][kh][channels of a group][kw][lanes]
void cg_conv_pack_lanewise(const CgConv *s, const CgTarget *t, const void *w, void *out) {
    int lanes = t->lanes;
    int cg = s->C / s->group, size = ir_dtype_bytes(cg_conv_weight(s));
    for (int o = 0; o < s->O; o++)
        for (int c = 0; c < cg; c++)
            for (int kh = 0; kh < s->kh; kh++)
                for (int kw = 0; kw < s->kw; kw++) {
                    int64_t tap = ((int64_t)(o / lanes * s->kh + kh) * cg + c) * s->kw + kw;
                    put(out, tap * lanes + o % lanes, w,
                        (((int64_t)o * cg + c) * s->kh + kh) * s->kw + kw, size);
                }
}
