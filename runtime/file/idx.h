// IDX files, the MNIST family's format. Private header.
#ifndef RUNTIME_FILE_IDX_H
#define RUNTIME_FILE_IDX_H

#include "runtime/file/npy.h"

// An IDX file of bytes, gzipped or not, as the array it holds (u8); nobody vouches for it: its size
// must be what the header says. False with err set. rt_npy_free() releases.
bool rt_idx_read(const char *path, RtNpy *a, RtErr *err);

#endif
