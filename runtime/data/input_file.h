// One file for a model's input: a picture, or an array that is the input or a picture's pixels.
// Private header.
#ifndef RUNTIME_DATA_INPUT_FILE_H
#define RUNTIME_DATA_INPUT_FILE_H

#include "runtime/file/npy.h"
#include "runtime/image/image.h"

typedef struct RtInputFile {
    RtImage image; // of an image file, or of an .npy file of u8 [H,W,3], [H,W,1] or [H,W]
    RtNpy array;   // of an .npy file
} RtInputFile;

// Is what array `a` holds behind its first `skip` axes what the network takes of an image? Axes of
// one entry do not count.
bool rt_input_is_like(const RtNpy *a, int skip, const HonePreprocess *p);
// "f32[8,3,224,224]", n images of that. Returns text.
const char *rt_input_text(const HonePreprocess *p, int64_t n, char *text, size_t size);

// Reads it; pictures in 3 channels or 1; 0: there are none, only arrays. False with err set.
// rt_input_file_close() releases, any state.
bool rt_input_file_open(const char *path, int channels, bool as_stored, RtInputFile *f, RtErr *err);
void rt_input_file_close(RtInputFile *f);
// Is it an array that this input takes as it is, of one image?
bool rt_input_file_fits(const RtInputFile *f, const HoneTensorDesc *input);
// One image of the input: the array where it fits, else the picture, preprocessed.
bool rt_input_file_fill(const RtInputFile *f, const char *path, const HonePreprocess *p,
                        const HoneTensorDesc *input, void *out, RtErr *err);

#endif
