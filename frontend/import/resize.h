// Private to resize*.c: what a Resize node asks for, and the tables of its axes.
#ifndef FRONTEND_IMPORT_RESIZE_H
#define FRONTEND_IMPORT_RESIZE_H

#include "frontend/import.h"

enum { FE_RESIZE_MAX_PIXELS = 1 << 22 }; // of an axis

typedef enum FeResizeMode {
    FE_RESIZE_NEAREST,
    FE_RESIZE_LINEAR,
    FE_RESIZE_CUBIC,
    FE_RESIZE_MODES
} FeResizeMode;
typedef enum FeResizeCoordinates {
    FE_RESIZE_HALF_PIXEL,
    FE_RESIZE_PYTORCH_HALF_PIXEL,
    FE_RESIZE_ALIGN_CORNERS,
    FE_RESIZE_ASYMMETRIC,
    FE_RESIZE_TF_HALF_PIXEL_FOR_NN,
    FE_RESIZE_TF_CROP_AND_RESIZE,
    FE_RESIZE_HALF_PIXEL_SYMMETRIC,
    FE_RESIZE_COORDINATES
} FeResizeCoordinates;
typedef enum FeResizeRounding {
    FE_RESIZE_PREFER_FLOOR,
    FE_RESIZE_PREFER_CEIL,
    FE_RESIZE_FLOOR,
    FE_RESIZE_CEIL,
    FE_RESIZE_SIMPLE,
    FE_RESIZE_ROUNDINGS
} FeResizeRounding;

typedef struct FeResizeAxis {
    IrDim dim; // of the input
    int64_t in, out;
    float scale, start, end; // start, end: the region of TF_CROP_AND_RESIZE
    bool changes, has_outside;
    int64_t taps;
    IrTensor index, weight; // [taps][out]; weight.data NULL: 1
    IrTensor inside;        // bool [out]
} FeResizeAxis;

typedef struct FeResize {
    FeResizeMode mode;
    FeResizeCoordinates coordinates;
    FeResizeRounding rounding;
    double cubic_a, outside; // outside: value of what lies there
    bool exclude_outside, antialias;
    IrDtype rounds_to; // antialias of integers: what each axis makes is rounded; F32: nothing is
    int rank;
    FeResizeAxis axis[IR_MAX_RANK];
} FeResize;

// The tables of an axis that may change (resize_axis.c); refuses those that are too large.
void fe_resize_fill_axis(FeNode *n, const FeResize *r, FeResizeAxis *a);

#endif
