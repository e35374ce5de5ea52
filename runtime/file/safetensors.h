// Files of named tensors: safetensors (huggingface/safetensors, format of version 0.3), with a
// checksum over the whole file in its __metadata__. Private header.
//
//   u64 little-endian: bytes of the header; the header, a JSON object, padded with spaces so that
//   data starts at a multiple of 8; data. header: {"__metadata__": {"hone.xxh3": "16 hex digits",
//   "hone.xxh3/NAME": "16 hex digits", KEY: TEXT, ...}, NAME: {"dtype": "F32", "shape": [..],
//   "data_offsets": [begin, end]}, ...}
//   hone.xxh3 is XXH3-64 of the file with the 16 digits as '0'; hone.xxh3/NAME is that of a tensor:
//   name, type and shape as in the header, then the data, so that none passes for another.
#ifndef RUNTIME_FILE_SAFETENSORS_H
#define RUNTIME_FILE_SAFETENSORS_H

#include "runtime/core/rt.h"

typedef struct RtNamedTensor {
    const char *name;
    int dtype; // HONE_F32, HONE_F64 or HONE_I64
    int rank;
    int64_t dim[HONE_MAX_RANK];
    const void *data;
} RtNamedTensor;

typedef struct RtMeta {
    const char *key, *text;
} RtMeta;

// Writes the file whole or not at all: a temporary file next to it, fsync, rename, fsync of the
// folder. False with err set.
bool rt_safetensors_write(const char *path, const RtMeta *meta, int n_meta,
                          const RtNamedTensor *tensors, int n_tensors, RtErr *err);

typedef struct RtSafetensors RtSafetensors;
// Reads and checks everything: sizes, header, offsets, checksum. NULL with err set.
RtSafetensors *rt_safetensors_open(const char *path, RtErr *err);
void rt_safetensors_close(RtSafetensors *s);                              // NULL is fine
int rt_safetensors_count(const RtSafetensors *s);                         // of tensors
const char *rt_safetensors_meta(const RtSafetensors *s, const char *key); // NULL: none
// The tensor's data, 8-byte aligned, valid until close. NULL with err set: it is missing, has
// another type, shape (dim[i] < 0 of `like` takes any size and returns it) or hash.
const void *rt_safetensors_get(const RtSafetensors *s, RtNamedTensor *like, RtErr *err);

#endif
