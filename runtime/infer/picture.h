// A picture at a time through a model whose outputs have places in it: what detect and segment
// share.
#ifndef RUNTIME_INFER_PICTURE_H
#define RUNTIME_INFER_PICTURE_H

#include "runtime/file/json.h"
#include "runtime/file/names.h"
#include "runtime/image/draw.h"
#include "runtime/infer/infer.h"

typedef struct RtPicture {
    const RtInfer *in;
    const HoneModelDesc *d;
    HoneModel *model;
    const char *const *labels;
    int64_t n_labels;
    RtNames names;   // of --labels, or none
    RtOutFile drawn; // --draw
    const char *draw;
    char *x;
    char **y;        // [n_outputs]
    RtImage image;   // the last one, three channels
    RtWindow window; // of the model's input in it, resized
} RtPicture;

// What a command of this kind takes.
typedef struct RtPictureArgs {
    const char *labels, *draw;
    int threads;
    RtCliList files;
} RtPictureArgs;

// The command line of such a command; `about` is said by --help. False: it was that, or wrong, and
// *code is the exit code.
bool rt_picture_parse(const RtInfer *in, const char *name, const char *about,
                      const RtCliOption *options, int n, const bool *help, int argc, char **argv,
                      RtPictureArgs *args, int *code);
// The model, its labels, room for a picture; `kind`: HONE_TASK_* that it must have. False with err
// set.
bool rt_picture_open(RtPicture *p, const RtInfer *in, int kind, const RtPictureArgs *args,
                     RtErr *err);
// Decodes a file and runs the model on it.
bool rt_picture_run(RtPicture *p, const char *path, RtErr *err);
// A position in the model's input as one in the picture.
double rt_picture_x(const RtPicture *p, double x);
double rt_picture_y(const RtPicture *p, double y);
const char *rt_picture_label(const RtPicture *p, int64_t index, char *text, size_t size);
// Writes the picture, as it is now, where --draw says.
bool rt_picture_write(RtPicture *p, RtErr *err);
void rt_picture_close(RtPicture *p);

#endif
