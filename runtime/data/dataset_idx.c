// A folder of IDX files, the MNIST family: the names under which they lie there, as pairs of
// arrays.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS, N_ROLES };

typedef struct Family {
    RtBuild *b;
    const char *root;
    char *path[N_ROLES];
    bool twice;
} Family;

// "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte", "emnist-letters-test-labels-idx1-ubyte"
static int find_role(const char *name) {
    static const char *const role[N_ROLES] = {"train-images", "train-labels", "-images", "-labels"};
    static const char *const kind[N_ROLES] = {"idx3-ubyte", "idx1-ubyte", "idx3-ubyte",
                                              "idx1-ubyte"};
    bool test = strstr(name, "t10k-") || strstr(name, "test-");
    for (int i = test ? TEST_IMAGES : 0; i < (test ? N_ROLES : TEST_IMAGES); i++) {
        const char *end = strstr(name, kind[i]);
        if (strstr(name, role[i]) && end && (!end[10] || strcmp(end + 10, ".gz") == 0))
            return i;
    }
    return -1;
}

static bool find_files(Family *f) {
    DIR *dir = opendir(f->root);
    bool good = true;
    struct dirent *e;
    while (dir && good && (e = readdir(dir))) {
        int role = e->d_name[0] == '.' ? -1 : find_role(e->d_name);
        if (role < 0)
            continue;
        char *path;
        good = asprintf(&path, "%s/%s", f->root, e->d_name) >= 0;
        if (!good)
            break;
        // The same file packed and unpacked: the unpacked one is read.
        size_t n = f->path[role] ? strlen(f->path[role]) : 0, m = strlen(path);
        bool packs = m == n + 3 && strncmp(path, f->path[role], n) == 0;
        bool packed = n == m + 3 && strncmp(path, f->path[role], m) == 0;
        f->twice |= n && !packs && !packed;
        if (packs) {
            free(path);
        } else {
            free(f->path[role]);
            f->path[role] = path;
        }
    }
    if (dir)
        closedir(dir);
    return good || rt_build_no_memory(f->b);
}

static bool read_role(Family *f, int images, int part) {
    char **path = f->path + images;
    if (!path[0] || !path[1])
        return rt_build_error(f->b, "%s: of the IDX files, the %s %s are missing", f->root,
                              images == TRAIN_IMAGES ? "training" : "test",
                              path[0]   ? "labels"
                              : path[1] ? "images"
                                        : "images and labels");
    return rt_dataset_array_read(f->b, path[0], path[1], part);
}

// The files' names are no folder's and no list's: a k-fold gets them as a pair.
static bool refuse_test(const Family *f) {
    char *labels = NULL;
    if (asprintf(&labels, ",%s", f->path[TRAIN_LABELS]) < 0)
        return rt_build_no_memory(f->b);
    rt_build_refuse_val(f->b, f->root, f->path[TRAIN_IMAGES], labels);
    free(labels);
    return false;
}

bool rt_dataset_idx_read(RtBuild *b, const char *root, RtTake take, bool *found) {
    Family f = {.b = b, .root = root};
    bool good = find_files(&f);
    bool train = f.path[TRAIN_IMAGES] || f.path[TRAIN_LABELS];
    bool test = f.path[TEST_IMAGES] || f.path[TEST_LABELS];
    *found = good && (train || test);
    if (*found && f.twice)
        good = rt_build_error(
            b, "%s: there are several sets of IDX files; name one as IMAGES,LABELS", root);
    else if (*found && take == RT_TAKE_VAL)
        good = read_role(&f, test ? TEST_IMAGES : TRAIN_IMAGES, RT_PART_VAL);
    else if (*found) {
        good = read_role(&f, TRAIN_IMAGES, RT_PART_TRAIN);
        if (good && take == RT_TAKE_BOTH && test && b->o->folds)
            good = refuse_test(&f);
        else if (take == RT_TAKE_BOTH && test)
            good = read_role(&f, TEST_IMAGES, RT_PART_VAL) && good;
    }
    for (int i = 0; i < N_ROLES; i++)
        free(f.path[i]);
    return good;
}
