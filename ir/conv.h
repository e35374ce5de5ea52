// A convolution's geometry, read once from its node. Whoever chooses, costs or emits kernels takes
// it from here.
//
// For conv: x [N,C,H,W], w [O,cg,KH,KW] -> [N,O,OH,OW], then the pool, where the node has one. For
// conv_wgrad the same convolution, of which it makes the gradient: its operands are x and dy, of
// the shape [N,O,OH,OW].
#ifndef IR_CONV_H
#define IR_CONV_H

#include "ir/ir.h"

typedef struct IrConv {
    IrDtype dtype;        // of x
    IrDim N;              // images
    int64_t C, O;         // channels
    int64_t H, W, OH, OW; // pixels of x and of the result, before a pool
    int64_t cg, og;       // channels of a group: of x, of the result
    IrWindow w;           // kernel, strides, dilations, padding, groups
    IrWindow pool;        // maximum over windows of the result; kh == 0: none
    int x_block, y_block; // layouts, as IrType.block
    // 1x1 with stride 1 and no padding: which pixels stand side by side does not matter.
    bool flat;
} IrConv;

IrConv ir_conv(const IrNode *n); // conv, conv_wgrad
// The convolution that pack_filter packs weights for, as far as its attributes and operand say:
// what ir_conv_column() and kernels' sizes need of C, O, groups, kernel and x_block.
IrConv ir_conv_of_filter(const IrNode *pack_filter);
// A flat convolution whose images are one column of pixels: W = OW = 1.
void ir_conv_to_column(IrConv *c);
// Products of one image
int64_t ir_conv_products(const IrConv *c);

#endif
