// What an emitted program and the runtime know of each other. The code generator writes these
// structures as constants; the runtime reads them. Any change of layout or meaning: HONE_ABI + 1.
#ifndef RUNTIME_CORE_ABI_H
#define RUNTIME_CORE_ABI_H

#include <stdint.h>

enum { HONE_ABI = 3, HONE_MAX_RANK = 8 };

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

enum { HONE_AT_NOWHERE, HONE_AT_ARENA, HONE_AT_OUTPUT };

typedef struct HoneNodeDesc { // one call of the entry function, for profiles
    const char *name;         // where it came from
    const char *op;
    const char *algo;     // kernel, "direct 2x7x4" for example
    HoneDim flops, bytes; // multiply and add count two; bytes read and written at least
    // Where its first result lies after the call, for checks; f32 and dense, else HONE_AT_NOWHERE.
    // block > 0: [N][ceil(channels / block)][..][block], lanes past the channels mean nothing.
    int32_t place, index; // HONE_AT_*; which output
    HoneDim offset, size; // bytes: in the arena; of the result
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

typedef struct HoneBarrier HoneBarrier;

typedef struct HoneCall {      // one inference; the same for all threads
    int64_t N;                 // batch size
    char *arena;               // arena_bytes at N, 64-byte aligned; then scratch_bytes per thread
    char *scratch;             // thread t's at scratch + t * scratch_bytes
    const char *weights;       // weights_bytes, 64-byte aligned
    const void *const *inputs; // in the order of the descriptor
    void *const *outputs;
    HoneBarrier *barrier;
    // NULL, or called by thread 0 before call 0, 1, ... n_nodes - 1 of the program and, with
    // n_nodes, after the last. Other threads may still be at earlier calls.
    void (*observe)(const struct HoneCall *call, int32_t node);
    char *prepared; // prepared_bytes, 64-byte aligned: written by init, read by run
} HoneCall;

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
    // Every thread of one parallel region calls this with its number.
    void (*run)(const HoneCall *call, int32_t thread, int32_t threads);
    const uint32_t *cpu_needs; // HONE_CPU_*, 0 ended; checked before the first run
    // Constants in the form that kernels read, made from `weights` once a model is created. Every
    // thread of one parallel region calls init before the first run; of the call only weights and
    // prepared are set. NULL: nothing to prepare.
    int64_t prepared_bytes;
    void (*init)(const HoneCall *call, int32_t thread, int32_t threads);
} HoneModelDesc;

// Called by emitted code.
void hone_rt_barrier(const HoneCall *call, int32_t thread, int32_t threads); // all threads meet
// Of the runtime
uint64_t hone_rt_now(void); // ns, monotonic

#endif
