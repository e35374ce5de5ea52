// The kernels of ir/conv_algos.def.
#include "codegen/conv/conv.h"

#define cg_conv_pack_none NULL
#define cg_conv_prepare_none NULL
#define cg_conv_scratch_none NULL

static const CgConvAlgo ALGOS[] = {
#define IR_CONV_ALGO(E, text, types, flags, tile, choose, words, kernel, pack, prepare, scratch,   \
                     tiles)                                                                        \
    [IR_CONV_##E] = {#pack,                                                                        \
                     cg_conv_emit_##kernel,                                                        \
                     cg_conv_fits_##kernel,                                                        \
                     cg_conv_pack_##pack,                                                          \
                     cg_conv_prepare_##prepare,                                                    \
                     cg_conv_scratch_##scratch,                                                    \
                     tiles},
#include "ir/conv_algos.def"
#undef IR_CONV_ALGO
};

const CgConvAlgo *cg_conv_algo(IrConvAlgo algo) {
    return &ALGOS[algo];
}
