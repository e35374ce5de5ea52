// Sets of labelled images for training and evaluation. Private header.
//
// A set is named by one word:
//   ROOT                   with train/CLASS/... and val/CLASS/... (also valid, validation, test),
//   or
//                          with CLASS/... that is split by a seeded, stratified rule. JPEG, PNG
//                          and WebP files by extension in any case; folders in a class are walked;
//                          names that start with '.' are passed over; classes in sorted order
//   SHARDS.tar, FOLDER     tar files in WebDataset's layout, one or all of a folder, or of its
//                          train/ and val/: name.jpg (or .jpeg, .png, .webp) beside name.cls, which
//                          holds the label as in a list
//   LIST.csv               lines "path,label"; a header line may name the columns (path|file|
//                          filename|image and label|class|target) in any order; fields may be
//                          quoted; paths are relative to the list's folder; a label is a class's
//                          name or its number; several for one image: "cat;dog" (multi-label)
//   FOLDER                 with train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz] and the
//                          t10k-... pair for validation (the MNIST family)
//   IMAGES,LABELS          a pair of IDX files, or images.npy (u8 [N,H,W], [N,H,W,C] or [N,C,H,W];
//                          or f32 tensors exactly as the model takes them) and labels.npy
//                          (integers [N]; multi-label: anything from 0 to 1, [N,C])
// or, where each place of an image has a class (RT_TARGET_MAP), by
//   ROOT                   with images/ and masks/ (dataset_mask.c: other names, parts)
//   LIST.csv               lines "path,mask"; paths of both are relative to the list's folder
//   SHARDS.tar, FOLDER     as above, with name.mask.png or name.seg.png in place of name.cls
#ifndef RUNTIME_DATA_DATASET_H
#define RUNTIME_DATA_DATASET_H

#include "runtime/image/mask.h"
#include "runtime/image/views.h"

typedef enum RtTarget {
    RT_TARGET_CLASS,  // one class an image
    RT_TARGET_BINARY, // of two classes, as a number: 0 or 1
    RT_TARGET_MULTI,  // any number of classes an image
    RT_TARGET_MAP,    // a class for each place of an image, out of a mask
} RtTarget;

typedef struct RtDataOptions {
    const char *val;     // a separate set for validation (--val), or NULL
    double val_fraction; // 0 to below 1: share of validation where the set has none of its own
    uint64_t seed;       // of the split
    int folds, fold;     // of so many parts that are alike, which is for validation; 0: none
    bool eval_only;      // everything is validation; a set with its own: that part only
    int classes;         // that the data must have (2 for binary)
    const char *const *labels; // [classes] their names, or NULL: any names, in sorted order
    RtTarget target;
    const char *mask_values; // of RT_TARGET_MAP, as rt_mask_values() takes it, or NULL
    // A file that keeps the list of the images, or NULL: read where it holds, else written anew.
    const char *index;
    bool index_stays;           // it is only read
    struct RtOuts *outs;        // that heed it, or NULL
    const HonePreprocess *prep; // of the model: how f32 arrays must look, images are turned
    // Called for every line of text for the user while a set is opened: all errors (then opening
    // fails) and notes, as that files of other kinds are left out. May be NULL.
    void (*say)(void *context, bool is_error, const char *line);
    // Called a few times a second while much is read: `what` of it are done. May be NULL.
    void (*progress)(void *context, const char *what, int64_t done, int64_t total);
    void *context;
} RtDataOptions;

typedef struct RtDataset {
    int classes;
    const char *const *names; // [classes]; "0", "1" ... where nobody named them
    bool named;               // names come from labels or data
    RtTarget target;
    int target_width;          // floats a row of targets: 0, 1 (binary) or classes
    bool tensors;              // f32 arrays: no augmentation, no preprocessing
    RtMaskValues mask_values;  // of RT_TARGET_MAP
    int64_t n_train, n_val;    // items 0 to n_train - 1 are for training, then validation
    const int64_t *class_size; // [classes] training items of each class; multi-label: that have it
    int least;                 // rt_dataset_sample() of training items: see rt_image_load_small()
    const int64_t *place;      // [items] among all images before a k-fold cut them; else NULL
    char fingerprint[33];      // of all names, sizes, labels, of the split and the order
    char whole[33];            // the same whichever part of a k-fold is for validation
    struct RtDataState *state;
} RtDataset;

// NULL: every reason was given to o->say. What it reads now are names, sizes and labels, and
// arrays; image files when they are fetched. Everything after it is read only: any thread may
// fetch.
RtDataset *rt_dataset_open(const char *spec, const RtDataOptions *o);
void rt_dataset_close(RtDataset *d); // NULL is fine

// File name, or "images.npy[17]", for messages. Returns text.
const char *rt_dataset_item_name(const RtDataset *d, int64_t item, char *text, size_t size);
int32_t rt_dataset_label(const RtDataset *d, int64_t item); // multi-label: the first, -1: none
// row: target_width floats.
void rt_dataset_target(const RtDataset *d, int64_t item, float *row);

// Tells every file that items are read from. False when visit() returned false, which ends it.
bool rt_dataset_files(const RtDataset *d, bool (*visit)(void *ctx, const char *path), void *ctx);

// Whether a folder holds pictures and masks (RT_TARGET_MAP).
bool rt_dataset_has_masks(const char *root);
// Whether a folder at that path, there or not, is one of the data's or would be read as data.
bool rt_dataset_takes(const RtDataset *d, const char *folder);

// Decodes an image to 1 or 3 channels (not for tensors, which are no images). False with err set:
// "rose/7.jpg: reason". rt_image_free() releases.
bool rt_dataset_fetch(const RtDataset *d, int64_t item, int channels, RtImage *image, RtErr *err);

// One item as the model takes it: out has height * width * channels floats. augment with (seed,
// epoch, item) decides all random choices; it must be none for tensors.
bool rt_dataset_sample(const RtDataset *d, int64_t item, const HonePreprocess *p, RtAugment augment,
                       uint64_t seed, int64_t epoch, float *out, RtErr *err);

// The same of all its views, without augmentation; not for tensors, of which there is one.
bool rt_dataset_views(const RtDataset *d, int64_t item, const HonePreprocess *p, RtViews views,
                      float *out, RtErr *err);

// rt_dataset_sample(), and the class of each place of a map over it, to places: [height][width],
// -1: none. More than one view: augment is none, out as of rt_dataset_views(), the map the first's.
bool rt_dataset_sample_map(const RtDataset *d, int64_t item, const HonePreprocess *p,
                           RtAugment augment, RtViews views, uint64_t seed, int64_t epoch,
                           float *out, int height, int width, int32_t *places, RtErr *err);

// Pixels of each number in the masks of `most` training items (of validation, where there are
// none), at even distances; masks that cannot be read are left out. number: [256]. Returns how many
// masks were read.
int64_t rt_dataset_count_pixels(const RtDataset *d, int64_t most, int64_t *number);

// A JPEG of the image, its longer side at most `side` pixels (never enlarged). free() releases.
// NULL with err set.
uint8_t *rt_dataset_thumbnail(const RtDataset *d, int64_t item, const HonePreprocess *p, int side,
                              size_t *bytes, RtErr *err);

#endif
