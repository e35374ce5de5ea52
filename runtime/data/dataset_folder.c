// Image folders: ROOT/train/CLASS/... with ROOT/val/CLASS/..., or ROOT/CLASS/...
//
// Directories are read in the order of their names (bytes, whatever the locale). Links are
// followed; a directory that lies in itself through a link is not entered again. Names that start
// with '.', and files that are no .jpg, .jpeg or .png, are left out; the latter are counted for a
// note.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"
#include "runtime/image/image.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64, MAX_FOLDERS = 1000000 }; // in a class, and in all: links can multiply them

typedef struct Names {
    char **name;
    int64_t n;
} Names;

typedef struct Walk {
    RtBuild *b;
    int part;
    int32_t label;
    const char *root; // the source's folder
    int64_t folders;  // read
    int64_t others;   // files of other kinds
    char first_other[256];
    struct {
        dev_t dev;
        ino_t ino;
    } above[MAX_DEPTH]; // the folders we are in
} Walk;

static void free_names(Names *names) {
    for (int64_t i = 0; i < names->n; i++)
        free(names->name[i]);
    free(names->name);
    *names = (Names){0};
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The names in a folder that are not hidden, sorted.
static bool list_folder(RtBuild *b, const char *path, Names *names) {
    *names = (Names){0};
    DIR *dir = opendir(path);
    if (!dir)
        return rt_build_error(b, "%s: %s", path, strerror(errno));
    bool good = true;
    struct dirent *e;
    while (good && (errno = 0, e = readdir(dir))) {
        if (e->d_name[0] == '.')
            continue;
        char **grown = rt_build_grow(names->name, names->n, sizeof *grown);
        char *copy = strdup(e->d_name);
        if (grown)
            names->name = grown;
        good = grown && copy;
        if (good)
            names->name[names->n++] = copy;
        else
            free(copy);
    }
    if (!good)
        rt_build_no_memory(b);
    else if (errno)
        good = rt_build_error(b, "%s: %s", path, strerror(errno));
    closedir(dir);
    if (names->n)
        qsort(names->name, (size_t)names->n, sizeof *names->name, compare_names);
    if (!good)
        free_names(names);
    return good;
}

// "a/b"; free() releases. NULL: no memory.
static char *join_path(const char *a, const char *b) {
    char *path;
    size_t n = strlen(a);
    return asprintf(&path, "%s%s%s", a, n && a[n - 1] != '/' ? "/" : "", b) < 0 ? NULL : path;
}

static bool is_folder(const char *root, const char *name) {
    struct stat st;
    char path[PATH_MAX + 256]; // no memory must not look like no folder
    int n = snprintf(path, sizeof path, "%s/%s", root, name);
    return n > 0 && n < (int)sizeof path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void count_other(Walk *w, const char *path) {
    if (w->others++ == 0)
        snprintf(w->first_other, sizeof w->first_other, "%s", path);
}

static bool add_file(Walk *w, const char *relative, const char *path, int64_t bytes) {
    if (!rt_image_is_name(path)) {
        count_other(w, relative);
        return true;
    }
    RtItem item = {.label = w->label, .bytes = bytes, .n_tags = 1, .tag = w->b->s->n_tags};
    if (w->b->o->target != RT_TARGET_MULTI)
        item.n_tags = 0;
    else if (!rt_build_tag(w->b, w->label))
        return false;
    return rt_build_item(w->b, w->part, item, relative);
}

// The folder `relative` of the root and all below it. False: an error was reported.
static bool walk_folder(Walk *w, const char *relative, int depth) {
    Names names;
    struct stat st;
    char *folder = join_path(w->root, relative);
    bool good = folder ? list_folder(w->b, folder, &names) : rt_build_no_memory(w->b);
    if (!good) {
        free(folder);
        return false;
    }
    if (stat(folder, &st) == 0) {
        w->above[depth].dev = st.st_dev;
        w->above[depth].ino = st.st_ino;
    }
    for (int64_t i = 0; i < names.n; i++) {
        char *inner = join_path(relative, names.name[i]);
        char *path = inner ? join_path(w->root, inner) : NULL;
        if (!path) {
            good = rt_build_no_memory(w->b);
        } else if (stat(path, &st) != 0) {
            count_other(w, inner); // a dangling link
        } else if (S_ISDIR(st.st_mode)) {
            bool inside = false;
            for (int d = 0; d <= depth; d++)
                inside |= w->above[d].dev == st.st_dev && w->above[d].ino == st.st_ino;
            if (!inside && depth + 1 == MAX_DEPTH)
                good = rt_build_error(w->b, "%s: folders are nested too deeply", path);
            else if (!inside && ++w->folders > MAX_FOLDERS)
                good = w->folders == MAX_FOLDERS + 1
                           ? rt_build_error(w->b, "%s: more than %d folders", w->root, MAX_FOLDERS)
                           : false;
            else if (!inside)
                good = walk_folder(w, inner, depth + 1) && good;
        } else if (S_ISREG(st.st_mode)) {
            good = add_file(w, inner, path, st.st_size) && good;
        }
        free(path);
        free(inner);
    }
    free_names(&names);
    free(folder);
    return good;
}

// Leaves only the folders of `names`; counts the rest.
static void keep_folders(Walk *w, Names *names) {
    int64_t kept = 0;
    for (int64_t i = 0; i < names->n; i++)
        if (is_folder(w->root, names->name[i])) {
            names->name[kept++] = names->name[i];
        } else {
            count_other(w, names->name[i]);
            free(names->name[i]);
        }
    names->n = kept;
}

// Names that are no class, and (if all classes must be there) classes without a folder.
static bool check_names(Walk *w, const Names *names, bool all) {
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

static bool read_classes(Walk *w, const Names *names, bool all) {
    RtBuild *b = w->b;
    int64_t errors = b->errors;
    RtSource *source =
        check_names(w, names, all) ? rt_build_source(b, RT_SOURCE_FILES, w->root) : NULL;
    if (!source)
        return false;
    source->classes = true;
    bool good = true;
    for (int64_t i = 0; i < names->n; i++) {
        int64_t before = b->part[w->part].n;
        w->label = rt_build_find_class(b, names->name[i]);
        bool walked = walk_folder(w, names->name[i], 0);
        good &= walked;
        if (walked && b->part[w->part].n == before && all)
            rt_build_error(b, "%s/%s: there are no .jpg, .jpeg or .png files", w->root,
                           names->name[i]);
    }
    return good && b->errors == errors;
}

// The folders of `root` are the classes. all: every class must be there and have images.
static bool read_class_root(RtBuild *b, const char *root, int part, bool all) {
    Walk w = {.b = b, .part = part, .root = root};
    Names names;
    if (!list_folder(b, root, &names))
        return false;
    keep_folders(&w, &names);
    bool good = names.n > 0;
    if (!good)
        rt_build_error(b, "%s: there are no class folders%s", root,
                       w.others ? "; images must lie in a folder named like their class" : "");
    good = good && rt_build_classes(b, root, "class folders", names.name, names.n) &&
           read_classes(&w, &names, all);
    free_names(&names);
    if (good && w.others)
        rt_build_note(b, "%s: %lld file%s left out that %s no .jpg, .jpeg or .png (%s%s)", root,
                      (long long)w.others, w.others == 1 ? "" : "s", w.others == 1 ? "is" : "are",
                      w.first_other, w.others == 1 ? "" : ", ...");
    return good;
}

// The folder of the validation part, NULL: there is none.
static const char *find_val(const char *root, bool has_train) {
    static const char *const names[] = {"val", "valid", "validation", "test"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((has_train || i < 3) && is_folder(root, names[i]))
            return names[i];
    return NULL;
}

static bool read_part(RtBuild *b, const char *root, const char *name, int part, bool all) {
    char *path = join_path(root, name);
    bool good = path ? read_class_root(b, path, part, all) : rt_build_no_memory(b);
    free(path);
    return good;
}

bool rt_dataset_folder_read(RtBuild *b, const char *root, RtTake take) {
    bool has_train = is_folder(root, "train");
    const char *val = find_val(root, has_train);
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
