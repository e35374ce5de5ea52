// The mean over an image's pixels, done by a kernel on the way in: a global pool without a tensor
// of its own. Private to codegen/.
#ifndef CODEGEN_NN_MEAN_H
#define CODEGEN_NN_MEAN_H

#include "codegen/build/lower.h"

typedef struct CgMean { // plain data, part of a kernel's spec
    int64_t image;      // elements from image to image
    int64_t pixels;
    int32_t blocks, pad_; // of channels; 0: no mean
} CgMean;

// Of x, [N,C,H,W] in blocks with C, H and W fixed.
CgMean cg_mean(const CgTensor *x);
// Means of images [first, end) of x, in the order of additions of the reduce kernel: `blocks`
// vectors an image, one image behind the other. Lanes past the last channel hold any value.
void cg_mean_images(CgFn *f, const CgMean *m, CgVal x, CgVal first, CgVal end, CgVal to);

#endif
