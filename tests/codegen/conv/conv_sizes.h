// Sizes of one convolution, as a test's table has them.
#ifndef TESTS_CODEGEN_CONV_CONV_SIZES_H
#define TESTS_CODEGEN_CONV_CONV_SIZES_H

typedef struct Conv {
    int C, H, W, O, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr;
    int group;
} Conv;

static inline int conv_out_height(const Conv *c) {
    return (c->H + c->pt + c->pb - (c->kh - 1) * c->dh - 1) / c->sh + 1;
}

static inline int conv_out_width(const Conv *c) {
    return (c->W + c->pl + c->pr - (c->kw - 1) * c->dw - 1) / c->sw + 1;
}

#endif
