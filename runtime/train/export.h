// The trained network as an ONNX file. Private header.
#ifndef RUNTIME_TRAIN_EXPORT_H
#define RUNTIME_TRAIN_EXPORT_H

#include "runtime/train/abi.h"
#include "runtime/file/out.h"

typedef struct RtExportMeta { // metadata_props that are appended
    const char *key, *value;
} RtExportMeta;

// d->onnx with the parameters' values from `params` (laid out as HoneParam says) and metadata_props
// appended, the last of them hone.program, the program's `key`; to an output that is open; commits
// it. False with err set.
bool rt_export_onnx(const HoneTrainDesc *d, const char *key, const float *params,
                    const RtExportMeta *meta, int n, RtOutFile *out, RtErr *err);
// False with err set: a file at `path` is there that the program of that key did not write, or not
// last.
bool rt_export_is_own(const char *key, const char *path, RtErr *err);

#endif
