// A picture at a time through a model whose outputs have places in it: what detect and segment
// share.
#ifndef RUNTIME_INFER_PICTURE_H
#define RUNTIME_INFER_PICTURE_H

#include "runtime/core/tally.h"
#include "runtime/file/csv.h"
#include "runtime/file/json.h"
#include "runtime/file/names.h"
#include "runtime/image/draw.h"
#include "runtime/image/inputs.h"
#include "runtime/infer/infer.h"
#include "runtime/infer/picture_out.h"

typedef struct RtPicture {
    const RtInfer *in;
    const HoneModelDesc *d;
    HoneModel *model;
    const char *const *labels;
    int64_t n_labels;
    RtNames names;      // of --labels, or none
    RtPictureOut drawn; // --draw
    RtPictureOut mask;  // --mask
    char *x;
    char **y;        // [n_outputs]
    RtImage image;   // the last one, three channels
    RtWindow window; // of the model's input in it, resized
    HonePreprocess prep;
    RtInputs *inputs;
    RtTally tally;
} RtPicture;

// What a command of this kind takes.
typedef struct RtPictureArgs {
    const char *labels, *draw, *mask, *fit; // mask: of segment
    int threads;
    bool json, csv, as_stored;
    RtCliList files;
} RtPictureArgs;

// The command line of such a command; `about` is said by --help. False: it was that, or wrong, and
// *code is the exit code.
bool rt_picture_parse(const RtInfer *in, const char *name, const char *about,
                      const RtCliOption *options, int n, const bool *help, int argc, char **argv,
                      RtPictureArgs *args, int *code);
// The model, its labels, room for a picture. False with err set (empty: it was told).
bool rt_picture_open(RtPicture *p, const RtInfer *in, const RtPictureArgs *args, RtErr *err);
// Decodes each file, runs the model on it and has each() say what it gave, or false with err set.
// Returns the exit code.
int rt_picture_each(RtPicture *p, void *ctx, bool (*each)(void *ctx, const char *path, RtErr *err));
// A position in the model's input as one in the picture.
double rt_picture_x(const RtPicture *p, double x);
double rt_picture_y(const RtPicture *p, double y);
const char *rt_picture_label(const RtPicture *p, int64_t index, char *text, size_t size);
// Writes the picture, which is that of `path` as it is now, where --draw says.
bool rt_picture_write(RtPicture *p, const char *path, RtErr *err);
void rt_picture_close(RtPicture *p);

// Rows for a command's option table; `what` is drawn.
#define RT_PICTURE_OPTIONS(a, what, csv_columns)                                                   \
    {"--draw", RT_CLI_TEXT, &(a)->draw, 0, 0, "OUT.png|FOLDER/", what},                            \
        {"--json", RT_CLI_FLAG, &(a)->json, 0, 0, NULL, "one JSON object a line for each image"},  \
        {"--csv", RT_CLI_FLAG, &(a)->csv, 0, 0, NULL, csv_columns},                                \
        {"--labels", RT_CLI_TEXT, &(a)->labels, 0, 0, "FILE", "class names, one a line"},          \
        {"--as-stored",                                                                            \
         RT_CLI_FLAG,                                                                              \
         &(a)->as_stored,                                                                          \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         "not turned upright as their EXIF orientation says"},                                     \
        RT_FIT_OPTION(&(a)->fit), RT_THREADS_OPTION(&(a)->threads)

#endif
