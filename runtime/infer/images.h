// Images of files as runs of the model: what subcommands on images share. Private to runtime/infer.
#ifndef RUNTIME_INFER_IMAGES_H
#define RUNTIME_INFER_IMAGES_H

#include "runtime/image/views.h"
#include "runtime/infer/infer.h"

typedef struct RtImageSettings { // of the command line
    const char *size;
    int batch, threads, resize, crop;
    float crop_pct, scale;
    bool bgr, rgb, as_stored;
    const char *interpolation, *fit;
    RtCliFloats mean, std;
    RtViews views; // of each picture, whose results stand one after the other
} RtImageSettings;
#define RT_IMAGE_SETTINGS                                                                          \
    { .resize = -1 }

// clang-format off
// Rows for a subcommand's option table.
#define RT_IMAGE_OPTIONS(s)                                                                        \
    {"--batch|-b|--batch-size", RT_CLI_INT, &(s)->batch, 1, RT_MAX_BATCH, "N",                     \
     "images a run (default 8)"},                                                                  \
    RT_THREADS_OPTION(&(s)->threads), RT_SIZE_OPTION(&(s)->size),                                  \
    {"--resize", RT_CLI_INT, &(s)->resize, 0, 65536, "N",                                          \
     "shorter side before the crop; 0: straight to the input's size"},                             \
    {"--crop|--img-size|--input-size", RT_CLI_INT, &(s)->crop, 1, 65536, "N",                      \
     "size of the centre crop; must be the model's, or one of its sizes"},                                              \
    {"--crop-pct", RT_CLI_FLOAT, &(s)->crop_pct, 0.01, 1, "F",                                     \
     "resize so that the crop is this share of the shorter side"},                                 \
    {"--scale", RT_CLI_FLOAT, &(s)->scale, 1e-9, 1e9, "F",                                         \
     "factor on pixel values 0..255, first of all"},                                               \
    {"--mean", RT_CLI_FLOATS, &(s)->mean, -1e9, 1e9, "R,G,B",                                      \
     "then subtracted, in the model's channel order"},                                             \
    {"--std", RT_CLI_FLOATS, &(s)->std, 1e-30, 1e9, "R,G,B", "then divided by"},                   \
    {"--bgr", RT_CLI_FLAG, &(s)->bgr, 0, 0, NULL, "the model wants blue first"},                   \
    {"--rgb", RT_CLI_FLAG, &(s)->rgb, 0, 0, NULL, "the model wants red first"},                    \
    RT_FIT_OPTION(&(s)->fit), {"--interpolation", RT_CLI_CHOICE, &(s)->interpolation, 0, 0, RT_RESIZE_NAMES,                 \
     "how images are resized"},                                                                    \
    {"--as-stored", RT_CLI_FLAG, &(s)->as_stored, 0, 0, NULL,                                      \
     "not turned upright as their EXIF orientation says"}
// clang-format on

typedef struct RtImages {
    const RtInfer *in;
    int n_sizes;                       // that the model was compiled for,
    const HoneModelDesc *const *sizes; // each with its unit
    int only;                          // the size of all images; -1: each image's own
    const HoneModelDesc *unit;         // of that size, or the first
    const HoneTensorDesc *input;       // of the unit
    HonePreprocess *prep;              // [n_sizes]
    HoneModel *model;                  // the caller's rt_images_create()
    size_t image_bytes;                // room for an image in the input, of any size
    int64_t slots;                     // images at a time
    int views;                         // of each
    int64_t rows;                      // that the model runs at once
    bool fixed;                        // exactly so many
    RtViews kind;                      // of views
    char *x;                           // [slots][views][image_bytes]
    char **y;                          // one buffer for each output, of [slots][views]
    int *size;                // [slots] of the images; where they have their own, or views:
    char *group_x, **group_y; // [rows] of one size, and their results; else NULL
    int64_t *place;           // [rows] of these among all
    RtErr *errors;            // [slots]; of the last run: why an image is not in it, or ""
    int *turned;              // [slots]; the EXIF orientation that was undone, or 0
} RtImages;

// Settings that exclude each other: what the usage error says; NULL: there are none.
const char *rt_images_conflict(const RtImageSettings *s);
// Does the model take images? Begins *m. False with err set.
bool rt_images_begin(RtImages *m, const RtInfer *in, RtErr *err);
// The model's preprocessing with the user's changes, and which sizes run.
bool rt_images_settle(RtImages *m, const RtImageSettings *s, RtErr *err);
// n_images: how many there will be; -1: nobody knows.
bool rt_images_allocate(RtImages *m, const RtImageSettings *s, int64_t n_images, RtErr *err);
// rt_infer_create() for a size that runs. NULL after a complaint.
HoneModel *rt_images_create(const RtImages *m, const RtImageSettings *s);
// Decodes files[0..n), n at most `slots`, in parallel and runs those that are good: the results of
// their views stand in y one after the other. False with err set: the model failed.
bool rt_images_run(RtImages *m, char *const *files, int n, RtErr *err);
// What a program of several sizes does with pictures, for help; else "".
const char *rt_images_rule(const RtInfer *in);
void rt_images_free(RtImages *m); // and the model; any state

#endif
