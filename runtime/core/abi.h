// What an emitted program and the runtime know of each other: the structures of abi.def, which the
// code generator writes as constants and the runtime reads. Any change of layout or meaning:
// HONE_ABI + 1.
#ifndef RUNTIME_CORE_ABI_H
#define RUNTIME_CORE_ABI_H

#include <stddef.h>
#include <stdint.h>

enum { HONE_ABI = 11, HONE_MAX_RANK = 8, HONE_MAX_ARGS = 16, HONE_MAX_UNITS = 64 };

enum { // element types, numbered as ir/dtypes.def
    HONE_F32,
    HONE_F64,
    HONE_F16,
    HONE_I8,
    HONE_I16,
    HONE_I32,
    HONE_I64,
    HONE_U8,
    HONE_U16,
    HONE_U32,
    HONE_U64,
    HONE_BOOL,
    HONE_BF16
};

// Where bytes lie in a run: space of the run's, prepared space or the weights, tensors of the
// caller's.
enum {
    HONE_AT_NOWHERE,
    HONE_AT_ARENA,
    HONE_AT_WEIGHTS,
    HONE_AT_PREPARED,
    HONE_AT_INPUT,
    HONE_AT_OUTPUT,
    HONE_AT_COUNT
};

enum { // what the numbers of the classifier's output are
    HONE_SCORES_LOGITS,
    HONE_SCORES_PROBABILITIES,     // of classes that exclude each other
    HONE_SCORES_SIGMOID,           // probabilities, each class by itself
    HONE_SCORES_LOG_PROBABILITIES, // logarithms of probabilities
    HONE_SCORES_OTHER,             // none of these; there is no probability to be told
    HONE_SCORES_COUNT
};

enum { // how pictures are resized: Pillow's filters
    HONE_RESIZE_BILINEAR,
    HONE_RESIZE_BICUBIC,
    HONE_RESIZE_LANCZOS,
    HONE_RESIZE_BOX,
    HONE_RESIZE_HAMMING,
    HONE_RESIZE_COUNT
};

enum {                 // what the outputs say of an image
    HONE_TASK_CLASS,   // its class, if anything that images are known for
    HONE_TASK_DETECT,  // where things are: boxes, their scores, their classes
    HONE_TASK_SEGMENT, // the class of each pixel
    HONE_TASK_COUNT
};

enum {                  // where a detector's boxes are
    HONE_BOXES_LISTS,   // as HoneTask's outputs say
    HONE_BOXES_SEVENS,  // [K,7]: number of the image, corners, class, score
    HONE_BOXES_MIDDLES, // [N, K, 6]: middle and size as shares of the picture, score, class
    // At each of K places one, of which many overlap:
    HONE_BOXES_COLUMNS, // [N, 4 + classes + others, K]: middle, size, scores
    HONE_BOXES_ROWS,    // [N, K, 5 + classes + others]: middle, size, if anything is there, scores
    HONE_BOXES_GRID,    // as rows, but a cell's own: middle from its corner, sizes as logarithms
    // [K,4] middle and size, shares of the picture, and [K, classes] scores in an output of their
    // own or, where `scores` is -1, behind the boxes:
    HONE_BOXES_QUERIES,
    HONE_BOXES_QUERY_LOGITS,  // of each class by itself
    HONE_BOXES_QUERY_SOFTMAX, // of classes and, behind them, of nothing
    HONE_BOXES_COUNT
};

enum {                // what it means that a check failed
    HONE_CHECK_MOST,  // more than the program has room for
    HONE_CHECK_EQUAL, // two sizes that must be one are not
    HONE_CHECK_COUNT
};

// A kernel does thread `tid`'s share, of `nth`, on the bytes at args[]. It never waits.
typedef void (*HoneKernel)(char *const *args, int64_t N, int64_t tid, int64_t nth, char *scratch);

#define HONE_TABLES "runtime/core/abi.def"
#include "runtime/core/abi_declare.h"

#endif
