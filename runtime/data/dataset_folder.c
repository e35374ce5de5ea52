// Image folders: ROOT/train/CLASS/... with ROOT/val/CLASS/..., or ROOT/CLASS/...
//
// Directories are read in the order of their names (bytes, whatever the locale). Links are
// followed, but not up: a directory that we are in, or that the classes lie in, is not entered
// through one. Names that start with '.', and files that are no .jpg, .jpeg, .png or .webp, are
// left out; the latter are counted for a note. So are links that lead nowhere; one that is named as
// an image is an item all the same, that cannot be read.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"
#include "runtime/image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_OUTER = 64,       // folders that the classes lie in, the nearest
    MAX_DEPTH = 64,       // in a class
    MAX_FOLDERS = 1000000 // in all: links can multiply them
};

typedef struct Folders { // of classes
    char **name;
    int64_t n;
} Folders;

typedef struct Left { // what was left out, for a note
    int64_t n;
    char first[256];
} Left;

typedef struct Walk {
    RtBuild *b;
    int part;
    int32_t label;
    const char *root; // the source's folder
    int64_t folders;  // read
    Left others;      // files of other kinds
    Left broken;      // links that lead nowhere
    int64_t lost;     // of them, items
    int outer;        // of above, those that the classes lie in
    struct {
        dev_t dev;
        ino_t ino;
    } above[MAX_OUTER + MAX_DEPTH]; // the folders we are in
} Walk;

static void count_left(Left *left, const char *path) {
    if (left->n++ == 0)
        snprintf(left->first, sizeof left->first, "%s", path);
}

static bool is_broken(const char *path) {
    struct stat st;
    return stat(path, &st) != 0 && lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

// Sizes of files that are known to be there come later, all at once: -1 until then.
static bool add_file(Walk *w, const char *relative, int64_t bytes) {
    if (!rt_image_is_name(relative)) {
        count_left(&w->others, relative);
        return true;
    }
    RtItem item = {.label = w->label, .bytes = bytes};
    if (w->b->o->target == RT_TARGET_MULTI &&
        !(rt_build_begin_tags(w->b, &item) && rt_build_tag(w->b, w->label)))
        return false;
    return rt_build_item(w->b, w->part, item, relative);
}

static bool add_broken(Walk *w, const char *relative) {
    bool image = rt_image_is_name(relative);
    count_left(&w->broken, relative);
    w->lost += image;
    return !image || add_file(w, relative, 0);
}

static bool walk_folder(Walk *w, const char *relative, int depth);

static bool enter_folder(Walk *w, const char *relative, const char *path, const struct stat *st,
                         int depth) {
    for (int d = 0; d < w->outer + depth; d++)
        if (w->above[d].dev == st->st_dev && w->above[d].ino == st->st_ino)
            return true;
    if (depth == MAX_DEPTH)
        return rt_build_error(w->b, "%s: folders are nested too deeply", path);
    if (++w->folders > MAX_FOLDERS)
        return w->folders == MAX_FOLDERS + 1
                   ? rt_build_error(w->b, "%s: more than %d folders", w->root, MAX_FOLDERS)
                   : false;
    return walk_folder(w, relative, depth);
}

// What may be a folder, a file or a link to either.
static bool visit_path(Walk *w, const char *relative, int depth) {
    struct stat st;
    char *path = rt_build_join_path(w->root, relative);
    bool good = true;
    if (!path)
        return rt_build_no_memory(w->b);
    if (is_broken(path))
        good = add_broken(w, relative);
    else if (stat(path, &st) != 0)
        good = rt_build_error(w->b, "%s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        good = enter_folder(w, relative, path, &st, depth);
    else if (S_ISREG(st.st_mode))
        good = add_file(w, relative, st.st_size);
    free(path);
    return good;
}

// The folder `relative` of the root and all below it. False: an error was reported.
static bool walk_folder(Walk *w, const char *relative, int depth) {
    RtListing names;
    struct stat st;
    char *folder = rt_build_join_path(w->root, relative);
    bool good = folder ? rt_build_list_folder(w->b, folder, &names) : rt_build_no_memory(w->b);
    if (!good) {
        free(folder);
        return false;
    }
    if (stat(folder, &st) == 0) {
        w->above[w->outer + depth].dev = st.st_dev;
        w->above[w->outer + depth].ino = st.st_ino;
    }
    for (int64_t i = 0; i < names.n; i++) {
        char *inner = rt_build_join_path(relative, names.entry[i].name);
        if (!inner)
            good = rt_build_no_memory(w->b);
        else if (names.entry[i].is_file)
            good = add_file(w, inner, -1) && good;
        else
            good = visit_path(w, inner, depth + 1) && good;
        free(inner);
    }
    rt_build_free_names(&names);
    free(folder);
    return good;
}

// ---- sizes

enum { SIZES_AT_ONCE = 256 };

typedef struct Sizes { // of the items from `first` on
    const char *text;
    RtItem *first;
    int root; // its descriptor
} Sizes;

static void take_sizes(void *ctx, int64_t from, int64_t to) {
    const Sizes *s = ctx;
    struct stat st;
    for (RtItem *i = s->first + from; i < s->first + to; i++)
        if (i->bytes < 0)
            i->bytes =
                fstatat(s->root, s->text + i->at, &st, 0) == 0 ? st.st_size : -(int64_t)errno;
}

static bool find_sizes(Walk *w, int64_t first) {
    RtBuild *b = w->b;
    RtItems *part = &b->part[w->part];
    Sizes s = {b->s->text, part->item + first, open(w->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (s.root < 0)
        return rt_build_error(b, "%s: %s", w->root, strerror(errno));
    rt_build_each(b, "files", part->n - first, SIZES_AT_ONCE, take_sizes, &s);
    close(s.root);
    bool good = true;
    for (int64_t i = first; i < part->n; i++)
        if (part->item[i].bytes < 0)
            good = rt_build_error(b, "%s/%s: %s", w->root, b->s->text + part->item[i].at,
                                  strerror((int)-part->item[i].bytes));
    return good;
}

// ---- classes

// The root of the classes and the folders it lies in, the nearest first.
static bool find_outer(Walk *w) {
    char *path = realpath(w->root, NULL);
    struct stat st;
    if (!path)
        return rt_build_error(w->b, "%s: %s", w->root, strerror(errno));
    for (char *end = path + strlen(path); end && w->outer < MAX_OUTER; end = strrchr(path, '/')) {
        *end = 0;
        if (stat(*path ? path : "/", &st) == 0) {
            w->above[w->outer].dev = st.st_dev;
            w->above[w->outer++].ino = st.st_ino;
        }
    }
    free(path);
    return true;
}

// The folders of `names`, which keeps the texts; counts the rest.
static bool keep_folders(Walk *w, const RtListing *names, Folders *kept) {
    *kept = (Folders){calloc((size_t)names->n + 1, sizeof *kept->name), 0};
    for (int64_t i = 0; kept->name && i < names->n; i++) {
        const RtEntry *e = &names->entry[i];
        char *path = e->is_file ? NULL : rt_build_join_path(w->root, e->name);
        if (!e->is_file && rt_build_is_folder(w->root, e->name))
            kept->name[kept->n++] = e->name;
        else
            count_left(path && is_broken(path) ? &w->broken : &w->others, e->name);
        free(path);
    }
    return kept->name || rt_build_no_memory(w->b);
}

// Names that are no class, and (if all classes must be there) classes without a folder.
static bool check_names(Walk *w, const Folders *names, bool all) {
    RtBuild *b = w->b;
    char text[400];
    int64_t known = 0;
    int64_t errors = b->errors;
    bool *seen = calloc((size_t)b->classes, sizeof *seen);
    if (!seen)
        return rt_build_no_memory(b);
    for (int64_t i = 0; i < names->n; i++) {
        int32_t c = rt_build_find_class(b, names->name[i]);
        known += c >= 0;
        if (c >= 0)
            seen[c] = true;
    }
    rt_build_join(b->s->name, b->classes, text, sizeof text);
    if (known == 0) {
        char found[400];
        rt_build_join(names->name, names->n, found, sizeof found);
        rt_build_error(b, "%s: none of the class folders (%s) is one of the %lld classes: %s",
                       w->root, found, (long long)b->classes, text);
    }
    for (int64_t i = 0; known && i < names->n; i++)
        if (rt_build_find_class(b, names->name[i]) < 0)
            rt_build_error(b, "%s/%s: '%s' is not one of the %lld classes: %s", w->root,
                           names->name[i], names->name[i], (long long)b->classes, text);
    for (int64_t c = 0; known && all && c < b->classes; c++)
        if (!seen[c])
            rt_build_error(b, "%s: there is no folder for class '%s'", w->root, b->s->name[c]);
    free(seen);
    return b->errors == errors;
}

static bool read_classes(Walk *w, const Folders *names, bool all) {
    RtBuild *b = w->b;
    int64_t errors = b->errors, first = b->part[w->part].n;
    RtSource *source =
        check_names(w, names, all) ? rt_build_source(b, RT_SOURCE_FILES, w->root) : NULL;
    if (!source)
        return false;
    source->classes = true;
    bool good = true;
    for (int64_t i = 0; i < names->n; i++) {
        int64_t before = b->part[w->part].n - w->lost;
        w->label = rt_build_find_class(b, names->name[i]);
        bool walked = visit_path(w, names->name[i], 0);
        good &= walked;
        if (walked && b->part[w->part].n - w->lost == before && all)
            rt_build_error(b, "%s/%s: there are no .jpg, .jpeg, .png or .webp files", w->root,
                           names->name[i]);
    }
    return good && b->errors == errors && find_sizes(w, first);
}

static bool read_folders(Walk *w, const RtListing *names, bool all) {
    Folders folders;
    bool good = keep_folders(w, names, &folders);
    if (good && folders.n == 0)
        good = rt_build_error(w->b, "%s: there are no class folders%s", w->root,
                              w->others.n ? "; images must lie in a folder named like their class"
                                          : "");
    good = good && rt_build_classes(w->b, w->root, "class folders", folders.name, folders.n) &&
           read_classes(w, &folders, all);
    free(folders.name);
    return good;
}

// The folders of `root` are the classes. all: every class must be there and have images.
static bool read_class_root(RtBuild *b, const char *root, int part, bool all) {
    Walk w = {.b = b, .part = part, .root = root};
    RtListing names;
    if (!rt_build_list_folder(b, root, &names) || !find_outer(&w)) {
        rt_build_free_names(&names);
        return false;
    }
    bool good = read_folders(&w, &names, all);
    rt_build_free_names(&names);
    bool one = w.others.n == 1;
    if (good && w.others.n)
        rt_build_note(b, "%s: %lld file%s left out that %s no .jpg, .jpeg, .png or .webp (%s%s)",
                      root, (long long)w.others.n, one ? "" : "s", one ? "is" : "are",
                      w.others.first, one ? "" : ", ...");
    if (w.broken.n) // where reading failed, too: they may be the reason
        rt_build_note(b, "%s: %lld broken link%s (%s%s)", root, (long long)w.broken.n,
                      w.broken.n == 1 ? "" : "s", w.broken.first, w.broken.n == 1 ? "" : ", ...");
    return good;
}

static bool read_part(RtBuild *b, const char *root, const char *name, int part, bool all) {
    char *path = rt_build_join_path(root, name);
    bool good = path ? read_class_root(b, path, part, all) : rt_build_no_memory(b);
    free(path);
    return good;
}

bool rt_dataset_folder_read(RtBuild *b, const char *root, RtTake take) {
    bool has_train = rt_build_is_folder(root, "train");
    const char *val = rt_build_val_folder(root, has_train);
    int part = take == RT_TAKE_VAL ? RT_PART_VAL : RT_PART_TRAIN;
    // A set for evaluation alone may lack some of the classes.
    bool all = take != RT_TAKE_VAL;
    if (take == RT_TAKE_VAL && val)
        return read_part(b, root, val, RT_PART_VAL, false);
    if (!has_train && val)
        return rt_build_error(b, "%s: there is a folder %s, but no folder train", root, val);
    if (!has_train)
        return read_class_root(b, root, part, all);
    // Even with errors in the first part the second is read: all problems at once.
    bool good = read_part(b, root, "train", part, all);
    if (take == RT_TAKE_BOTH && val && b->settled)
        good = read_part(b, root, val, RT_PART_VAL, false) && good;
    return good;
}
