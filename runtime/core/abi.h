// What an emitted program and the runtime know of each other. The code generator writes these
// structures as constants; the runtime reads them. Any change of layout or meaning: HONE_ABI + 1.
#ifndef RUNTIME_CORE_ABI_H
#define RUNTIME_CORE_ABI_H

#include <stdint.h>

enum { HONE_ABI = 4, HONE_MAX_RANK = 8, HONE_MAX_ARGS = 16 };

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

typedef struct HoneDim {
    int64_t c, n; // c + n * N, N the batch size
} HoneDim;

typedef struct HoneTensorDesc { // an input or output of the model: plain, row-major
    const char *name;
    int32_t dtype, rank;
    HoneDim dim[HONE_MAX_RANK];
} HoneTensorDesc;

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

typedef struct HonePlace {
    HoneDim offset;    // bytes
    int32_t at, index; // HONE_AT_*; which input or output
} HonePlace;

// A kernel does thread `tid`'s share, of `nth`, on the bytes at args[]. It never waits.
typedef void (*HoneKernel)(char *const *args, int64_t N, int64_t tid, int64_t nth, char *scratch);

typedef struct HoneStep {      // one call of a kernel
    int32_t kernel;            // of the model's kernels
    int32_t first_arg, n_args; // of the table of arguments; at most HONE_MAX_ARGS
    int32_t barrier;           // 1: all threads meet before it
} HoneStep;

// Every thread of one parallel region walks all steps in order.
typedef struct HoneSteps {
    int32_t n;
    const HoneStep *step;
    const HonePlace *args;
} HoneSteps;

typedef struct HoneNodeDesc { // what step number i of a run is, for profiles
    const char *name;         // where it came from
    const char *op;
    const char *algo;     // kernel, "direct 2x7x4" for example
    HoneDim flops, bytes; // multiply and add count two; bytes read and written at least
    // Where its first result lies after the call, for checks; f32 and dense, else HONE_AT_NOWHERE.
    // block > 0: [N][ceil(channels / block)][..][block], lanes past the channels mean nothing.
    HonePlace result;
    HoneDim size; // bytes
    int32_t block, channels;
} HoneNodeDesc;

typedef struct HonePreprocess { // of an image input; 0 filled: the model takes no image
    int32_t channels;           // 3 or 1 (grey)
    int32_t bgr;                // channel order of the model
    int32_t nhwc;
    int32_t height, width; // of the model's input
    int32_t resize;        // shorter side before the crop; 0: to height x width at once
    float scale;           // pixel value 0..255 is multiplied by this first (1/255)
    float mean[4], std[4]; // then (x - mean) / std per channel
} HonePreprocess;

typedef struct HoneModelDesc {
    uint32_t abi;
    const char *name;
    const char *producer;       // "hone 0.1.0"
    const char *cpu, *features; // compiled for
    const char *hash;           // of the model file: 32 hex digits
    int32_t n_inputs, n_outputs, n_nodes, n_labels;
    const HoneTensorDesc *inputs, *outputs;
    const HoneNodeDesc *nodes;
    const char *const *labels; // may be NULL
    HonePreprocess preprocess;
    int32_t softmax;        // the graph ends in a softmax or sigmoid: outputs are probabilities
    int32_t batch_symbolic; // 0: N is always 1 and dims are fixed
    HoneDim arena_bytes;
    int64_t scratch_bytes; // per thread
    int64_t weights_bytes;
    const char *weights;
    const HoneKernel *kernels;
    HoneSteps run;             // n_nodes
    const uint32_t *cpu_needs; // HONE_CPU_*, 0 ended; checked before the first run
    // Constants in the form that kernels read, made from `weights` once a model is created: the
    // steps of init write prepared space and read nothing but that and the weights.
    int64_t prepared_bytes;
    HoneSteps init;
} HoneModelDesc;

#endif
