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

typedef enum RtSourceKind {
    RT_SOURCE_FILES,
    RT_SOURCE_TAR, // a shard
    RT_SOURCE_U8,
    RT_SOURCE_F32
} RtSourceKind;

typedef struct RtSource {
    RtSourceKind kind;
    char *name;   // files: the folder that paths are relative to; tar, arrays: the images' file
    char *labels; // arrays: the labels' file
    RtNpy array;  // arrays: the images
    int height, width, channels;
    bool classes;   // files: the folders in that one are classes
    bool planar;    // [N,C,H,W]
    float *targets; // [N][classes] where labels are rows, else NULL
} RtSource;

typedef struct RtItem {
    int32_t source, label; // label -1: none
    int64_t at;     // files, tar: the path's place in `text`, behind it, of maps, the mask's (tar:
                    // "OFFSET BYTES");
                    // arrays: the row
    int64_t bytes;  // files, tar: size
    int64_t offset; // tar: where it begins in the shard; else, of maps: the mask's size
    int64_t tag;    // multi-label: tag[tag] labels, from tag[tag + 1] on; 0: none
} RtItem;

enum { RT_PART_TRAIN, RT_PART_VAL, RT_N_PARTS };

typedef struct RtItems {
    RtItem *item;
    int64_t n;
} RtItems;

typedef struct RtStamp { // of a folder, list or shard that was read, as it was before that
    int64_t path;        // place in `text`
    int64_t seconds, ns, bytes, inode;
} RtStamp;

typedef struct RtDataState {
    RtSource *source;
    int64_t n_sources;
    RtItem *item;   // training, then validation
    int64_t *place; // of a k-fold, as of RtDataset; else NULL
    char *text;     // paths, each ended by a 0 byte
    int64_t text_bytes, text_room;
    int32_t *tag;              // runs of labels, each behind their number; tag[0] is none's
    int64_t n_tags, open_tags; // open_tags: where the last run begins
    char **name;               // of classes
    int64_t *class_size;
    RtStamp *stamp; // where an index is wanted
    int64_t n_stamps;
    void *map; // of an index, which item, text, tag and class_size lie in; NULL: they are our own
    size_t map_bytes;
    bool as_stored; // images, whatever their EXIF orientation
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
// A k-fold of what has images for validation; the name of those for training: first, then last.
bool rt_build_refuse_val(RtBuild *b, const char *spec, const char *first, const char *last);

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
char *rt_build_trim(char *text); // without the spaces around it, in place
// Place of a copy in `all`, of whose `room` bytes `used` are; -1: no memory.
int64_t rt_build_append(char **all, int64_t *used, int64_t *room, const char *text);
// The same in the set's text.
int64_t rt_build_text(RtBuild *b, const char *text);
// Appends; path (of files, relative to the last source) is copied. False: no memory.
bool rt_build_item(RtBuild *b, int part, RtItem item, const char *path);
// The item's labels follow, one by one.
bool rt_build_begin_tags(RtBuild *b, RtItem *item);
bool rt_build_tag(RtBuild *b, int32_t label);

// ---- labels as text (dataset_label.c)

typedef struct RtLabels { // {0}: none yet
    char **name;
    int64_t n, room;
} RtLabels;

// Calls visit with each label of the text. False: it returned false, or there is no memory.
bool rt_build_each_label(RtBuild *b, const char *text, bool (*visit)(void *ctx, const char *label),
                         void *ctx);
int32_t rt_build_find_label(const RtBuild *b, const char *text); // -1: no class's name or number
// The item's label or labels, of which all are known. False: no memory.
bool rt_build_set_label(RtBuild *b, RtItem *item, const char *text);
// Notes the text's labels; settles the class names by all that were noted: numbers if all labels
// are numbers of classes, else the labels.
bool rt_build_add_labels(RtBuild *b, RtLabels *all, const char *text);
bool rt_build_settle_labels(RtBuild *b, RtLabels *all, const char *where);
void rt_build_free_labels(RtLabels *all);

// ---- many files (dataset_scan.c)

typedef struct RtEntry {
    char *name;
    bool is_file; // for certain, and no link
} RtEntry;

typedef struct RtListing {
    RtEntry *entry;
    int64_t n;
} RtListing;

// The names in a folder that are not hidden, sorted by their bytes. False: an error was reported.
bool rt_build_list_folder(RtBuild *b, const char *path, RtListing *names);
void rt_build_free_names(RtListing *names);
char *rt_build_join_path(const char *a, const char *b); // "a/b"; free() releases. NULL: no memory
bool rt_build_is_folder(const char *root, const char *name);
// The folder of the validation part of a set in `root`, NULL: there is none.
const char *rt_build_val_folder(const char *root, bool has_train);
// Calls visit over 0 to n - 1, `grain` at a time, on several threads; `what` is for progress.
void rt_build_each(RtBuild *b, const char *what, int64_t n, int64_t grain,
                   void (*visit)(void *ctx, int64_t from, int64_t to), void *ctx);

// Of the items for training those that b->o holds out go to validation; with folds b->s->place says
// where each was. False when it reported an error.
bool rt_dataset_split(RtBuild *b, const char *spec);

// ---- the list as a file (dataset_index.c)

// Notes a folder, list or shard that is going to be read. False: no memory.
bool rt_build_stamp(RtBuild *b, const char *path);
// The set from b->o->index, where that holds. False: the file is something else, or no memory.
bool rt_dataset_index_read(RtBuild *b, const char *spec, char fingerprint[33], bool *found);
bool rt_dataset_index_write(RtBuild *b, const RtDataset *d, const char *spec);
void rt_dataset_index_close(RtDataState *s); // the tables in s->map go

// What to take of a set that has a validation part of its own; of one that has not, everything is
// for training, or validation with RT_TAKE_VAL.
typedef enum RtTake { RT_TAKE_BOTH, RT_TAKE_TRAIN, RT_TAKE_VAL } RtTake;

// The readers. False when they reported an error.
bool rt_dataset_folder_read(RtBuild *b, const char *root, RtTake take);
bool rt_dataset_list_read(RtBuild *b, const char *path, int part);
bool rt_dataset_array_read(RtBuild *b, const char *images, const char *labels, int part);
// Pictures and masks.
bool rt_dataset_mask_read(RtBuild *b, const char *root, RtTake take);
// Appends a picture and its mask, relative to the last source. False: no memory.
bool rt_build_pair(RtBuild *b, int part, RtItem item, const char *picture, const char *mask);
// Shards in a folder, or one alone. *found: there are any.
bool rt_dataset_tar_read(RtBuild *b, const char *root, RtTake take, bool *found);
bool rt_dataset_tar_read_one(RtBuild *b, const char *path, int part);
// The MNIST family in a folder. *found: there are such files at all.
bool rt_dataset_idx_read(RtBuild *b, const char *root, RtTake take, bool *found);

#endif
