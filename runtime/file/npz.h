// NumPy's .npz files: a zip of .npy members, stored or deflated. Private header.
#ifndef RUNTIME_FILE_NPZ_H
#define RUNTIME_FILE_NPZ_H

#include "runtime/file/npy.h"

typedef struct RtNpz {
    int n;
    char **name; // [n] of the arrays, without .npy
    RtNpy *array;
} RtNpz;

// Reads a file that nobody vouches for: directory, sizes and checksums must hold. False with err
// set: "x.npz: reason". rt_npz_free() releases, any state.
bool rt_npz_read(const char *path, RtNpz *z, RtErr *err);
void rt_npz_free(RtNpz *z);
// Writes them, stored, to an open output file; a write error shows in rt_out_finish(). False with
// err set: one cannot be written.
bool rt_npz_write(RtOutFile *out, const RtNpz *z, RtErr *err);
// Does a file's name end in .npz?
bool rt_npz_is_name(const char *path);

#endif
