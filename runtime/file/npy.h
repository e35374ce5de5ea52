// NumPy's .npy files, versions 1 to 3. Private header.
#ifndef RUNTIME_FILE_NPY_H
#define RUNTIME_FILE_NPY_H

#include "runtime/file/out.h"

typedef struct RtNpy {
    int dtype, rank; // HONE_F32 ...
    int64_t dim[HONE_MAX_RANK];
    int64_t count; // elements
    void *data;    // row-major, RT_ALIGN aligned
} RtNpy;

// Reads a file that nobody vouches for: its size must be what the header says, to the byte. Fortran
// order is turned into row-major. False with err set: "x.npy: reason". rt_npy_free() releases.
bool rt_npy_read(const char *path, RtNpy *a, RtErr *err);
void rt_npy_free(RtNpy *a);

// The same of `size` bytes that read() gives, one after the other; it returns false with err set.
typedef bool (*RtNpySource)(void *ctx, void *to, size_t bytes, RtErr *err);
bool rt_npy_stream(const char *name, int64_t size, RtNpySource read, void *ctx, RtNpy *a,
                   RtErr *err);

// The bytes in front of the data (little endian, row-major), how many, and how many data has. 0:
// the rank or type cannot be written.
enum { RT_NPY_HEAD = 512 };
size_t rt_npy_head(char head[RT_NPY_HEAD], int dtype, int rank, const int64_t *dim, int64_t *bytes);
// Writes header and data (little endian, row-major) to an open output file; a write error
// shows in rt_out_finish(). False: the rank or type cannot be written.
bool rt_npy_write(RtOutFile *out, int dtype, int rank, const int64_t *dim, const void *data);

#endif
