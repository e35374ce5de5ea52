// What the files of dataset*.c share: a set while it is read, and what stays of it. Private to
// them.
//
// Readers append items to two parts, training and validation, and report every problem by
// rt_build_error() and go on, so that the user sees all of them at once. Before items come, the
// class names must be settled (rt_build_classes).
#ifndef RUNTIME_DATA_DATASET_BUILD_H
#define RUNTIME_DATA_DATASET_BUILD_H

#include "runtime/data/dataset.h"
#include "runtime/file/npy.h"

typedef enum RtSourceKind { RT_SOURCE_FILES, RT_SOURCE_U8, RT_SOURCE_F32 } RtSourceKind;

typedef struct RtSource {
    RtSourceKind kind;
    char *name;   // files: the folder that paths are relative to; arrays: the images' file
    char *labels; // arrays: the labels' file
    RtNpy array;  // arrays: the images
    int height, width, channels;
    bool classes;   // files: the folders in that one are classes
    bool planar;    // [N,C,H,W]
    float *targets; // [N][classes] where labels are rows, else NULL
} RtSource;

typedef struct RtItem {
    int32_t source, label; // label -1: none
    int64_t at;            // files: the path's place in `text`; arrays: the row
    int64_t bytes;         // files: size
    int64_t tag;           // multi-label: the labels are tag[tag] .. tag[tag + n_tags - 1]
    int64_t n_tags;
} RtItem;

enum { RT_PART_TRAIN, RT_PART_VAL, RT_N_PARTS };

typedef struct RtItems {
    RtItem *item;
    int64_t n;
} RtItems;

typedef struct RtDataState {
    RtSource *source;
    int64_t n_sources;
    RtItem *item; // training, then validation
    char *text;   // paths, each ended by a 0 byte
    int64_t text_bytes, text_room;
    int32_t *tag;
    int64_t n_tags;
    char **name; // of classes
    int64_t *class_size;
} RtDataState;

typedef struct RtBuild {
    const RtDataOptions *o;
    RtDataState *s;
    RtItems part[RT_N_PARTS];
    int64_t classes;
    bool settled, named; // class names
    int32_t *by_name;    // classes in the order of their names
    int64_t errors;
} RtBuild;

enum { RT_BUILD_MAX_LINES = 20 }; // errors that are told; the rest is counted

// One line of the user's text; the first kind makes opening fail. Returns false.
bool rt_build_error(RtBuild *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rt_build_note(RtBuild *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool rt_build_no_memory(RtBuild *b);

// Room for one more element behind n: p, or a larger copy of it. NULL: no memory, p as it was.
void *rt_build_grow(void *p, int64_t n, size_t element);

// Settles the class names with those that data uses, sorted and distinct; `where` is for messages,
// `what` they are ("class folders"). Names that are settled already stay. False: their number is
// wrong.
bool rt_build_classes(RtBuild *b, const char *where, const char *what, char *const *names,
                      int64_t n);
// The names whatever there was before, copied; NULL: "0", "1" ... False: no memory.
bool rt_build_set_names(RtBuild *b, const char *const *names, bool named);
bool rt_build_numbered(RtBuild *b);                              // the same with "0", "1" ...
int32_t rt_build_find_class(const RtBuild *b, const char *name); // -1: none
// "daisy, rose, tulip and 7 more"
void rt_build_join(char *const *names, int64_t n, char *text, size_t size);

// A new source, filled in by the caller; NULL: no memory.
RtSource *rt_build_source(RtBuild *b, RtSourceKind kind, const char *name);
// Appends; path (of files, relative to the last source) is copied. False: no memory.
bool rt_build_item(RtBuild *b, int part, RtItem item, const char *path);
bool rt_build_tag(RtBuild *b, int32_t label); // the next item's labels

// What to take of a set that has a validation part of its own; of one that has not, everything is
// for training, or validation with RT_TAKE_VAL.
typedef enum RtTake { RT_TAKE_BOTH, RT_TAKE_TRAIN, RT_TAKE_VAL } RtTake;

// The readers. False when they reported an error.
bool rt_dataset_folder_read(RtBuild *b, const char *root, RtTake take);
bool rt_dataset_list_read(RtBuild *b, const char *path, int part);
bool rt_dataset_array_read(RtBuild *b, const char *images, const char *labels, int part);
// The MNIST family in a folder. *found: there are such files at all.
bool rt_dataset_idx_read(RtBuild *b, const char *root, RtTake take, bool *found);

#endif
