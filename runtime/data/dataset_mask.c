// Pictures with masks: a folder of pictures beside one of masks of the same names, whose pixels are
// classes.
//
//   ROOT/images/NAME.jpg  ROOT/masks/NAME.png      also JPEGImages and SegmentationClass (VOC),
//                                                  images and annotations (ADE20K), or labels
//   ROOT/train/images/... ROOT/train/masks/...     with ROOT/val/...
//   ROOT/images/train/... ROOT/masks/train/...     with .../val/...; or training, validation
//
// The masks say which pictures count: others are left out, for a note. An item's text is the
// picture's path and, behind its 0 byte, the mask's; its offset is the mask's size.
#include "runtime/data/dataset_build.h"
#include "runtime/image/image.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

typedef struct Pairs {
    RtBuild *b;
    const char *root; // the source's folder
    int part;
    char images[PATH_MAX], masks[PATH_MAX]; // folders in it
    RtListing pictures;
} Pairs;

static const char *find_folder(const char *root, const char *const *names) {
    for (; *names; names++)
        if (rt_build_is_folder(root, *names))
            return *names;
    return NULL;
}

static const char *find_images(const char *root) {
    static const char *const names[] = {"images", "JPEGImages", "image", "imgs", "img", NULL};
    return find_folder(root, names);
}

static const char *find_masks(const char *root) {
    static const char *const names[] = {
        "masks", "SegmentationClass", "mask", "annotations", "labels", NULL};
    return find_folder(root, names);
}

static int64_t stem(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot - name : (int64_t)strlen(name);
}

// The picture of a mask, whose name differs behind its last dot alone; NULL: there is none.
static const char *find_picture(const Pairs *p, const char *mask) {
    size_t n = (size_t)stem(mask) + 1; // with the dot
    int64_t low = 0, high = p->pictures.n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strncmp(p->pictures.entry[middle].name, mask, n) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < p->pictures.n && strncmp(p->pictures.entry[low].name, mask, n) == 0; low++) {
        const char *name = p->pictures.entry[low].name;
        if ((size_t)stem(name) + 1 == n && rt_image_is_name(name))
            return name;
    }
    return NULL;
}

// The size of a regular file in the root, -1 after an error.
static int64_t size_of(Pairs *p, const char *relative) {
    struct stat st;
    char *path = rt_build_join_path(p->root, relative);
    bool there = path && stat(path, &st) == 0;
    if (!path)
        rt_build_no_memory(p->b);
    else if (!there)
        rt_build_error(p->b, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rt_build_error(p->b, "%s: not a regular file", path);
    free(path);
    return there && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

bool rt_build_pair(RtBuild *b, int part, RtItem item, const char *picture, const char *mask) {
    return rt_build_item(b, part, item, picture) && rt_build_text(b, mask) >= 0;
}

static bool add_mask(Pairs *p, const char *name) {
    const char *picture = find_picture(p, name);
    if (!picture)
        return rt_build_error(p->b, "%s/%s/%s: there is no picture of this name in %s/%s", p->root,
                              p->masks, name, p->root, p->images);
    char *image = rt_build_join_path(p->images, picture),
         *mask = rt_build_join_path(p->masks, name);
    bool good = image && mask;
    RtItem item = {.bytes = good ? size_of(p, image) : 0, .offset = good ? size_of(p, mask) : 0};
    if (!good)
        rt_build_no_memory(p->b);
    else
        good =
            item.bytes >= 0 && item.offset >= 0 && rt_build_pair(p->b, p->part, item, image, mask);
    free(image);
    free(mask);
    return good;
}

static bool is_mask(const char *name) {
    size_t n = strlen(name);
    return n > 4 && strcasecmp(name + n - 4, ".png") == 0;
}

static bool add_masks(Pairs *p, const RtListing *masks) {
    int64_t before = p->b->part[p->part].n, pictures = 0;
    bool good = true;
    for (int64_t i = 0; i < masks->n; i++)
        if (is_mask(masks->entry[i].name))
            good = add_mask(p, masks->entry[i].name) && good;
    for (int64_t i = 0; i < p->pictures.n; i++)
        pictures += rt_image_is_name(p->pictures.entry[i].name);
    int64_t n = p->b->part[p->part].n - before;
    if (good && n == 0)
        return rt_build_error(p->b, "%s/%s: there are no masks, .png files", p->root, p->masks);
    if (good && pictures > n)
        rt_build_note(p->b, "%s/%s: %lld pictures have no mask and are left out", p->root,
                      p->images, (long long)(pictures - n));
    return good;
}

// The pictures of `images` and the masks of `masks`, folders in the root; inner: in both, or "".
static bool read_pairs(RtBuild *b, const char *root, const char *images, const char *masks,
                       const char *inner, int part) {
    Pairs p = {.b = b, .root = root, .part = part};
    const char *slash = *inner ? "/" : "";
    snprintf(p.images, sizeof p.images, "%s%s%s", images, slash, inner);
    snprintf(p.masks, sizeof p.masks, "%s%s%s", masks, slash, inner);
    RtListing found = {0};
    char *from = rt_build_join_path(root, p.images), *of = rt_build_join_path(root, p.masks);
    bool good = from && of ? rt_build_list_folder(b, from, &p.pictures) &&
                                 rt_build_list_folder(b, of, &found)
                           : rt_build_no_memory(b);
    good = good && rt_build_source(b, RT_SOURCE_FILES, root) && add_masks(&p, &found);
    rt_build_free_names(&p.pictures);
    rt_build_free_names(&found);
    free(from);
    free(of);
    return good;
}

// A folder of pictures and one of masks in `root`.
static bool read_root(RtBuild *b, const char *root, int part) {
    const char *images = find_images(root), *masks = find_masks(root);
    if (!images || !masks)
        return rt_build_error(b,
                              "%s: the network labels pixels: there must be a folder images and a "
                              "folder masks, PNG files of the same names whose pixels are classes",
                              root);
    return read_pairs(b, root, images, masks, "", part);
}

// ---- parts

typedef struct Parts { // of a set; NULL: there is none
    const char *train, *val;
} Parts;

static Parts find_parts(const char *folder) {
    static const char *const train[] = {"train", "training", NULL};
    static const char *const val[] = {"val", "valid", "validation", NULL};
    return (Parts){find_folder(folder, train), find_folder(folder, val)};
}

// ROOT/PART/images or, outer, ROOT/images/PART.
static bool read_part(RtBuild *b, const char *root, bool outer, const char *name, int part) {
    if (outer)
        return read_pairs(b, root, find_images(root), find_masks(root), name, part);
    char *inner = rt_build_join_path(root, name);
    bool good = inner ? read_root(b, inner, part) : rt_build_no_memory(b);
    free(inner);
    return good;
}

bool rt_dataset_has_masks(const char *root) {
    static const char *const parts[] = {"", "/train", "/training"};
    bool found = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char folder[PATH_MAX];
        snprintf(folder, sizeof folder, "%s%s", root, parts[i]);
        found = found || (find_images(folder) && find_masks(folder));
    }
    return found;
}

bool rt_dataset_mask_read(RtBuild *b, const char *root, RtTake take) {
    const char *images = find_images(root);
    char *folder = images ? rt_build_join_path(root, images) : NULL;
    if (!rt_build_numbered(b))
        return false;
    Parts inner = find_parts(root), outer = {NULL, NULL};
    if (folder && find_masks(root))
        outer = find_parts(folder);
    free(folder);
    bool is_outer = outer.train || outer.val;
    Parts p = is_outer ? outer : inner;
    if (take == RT_TAKE_VAL && p.val)
        return read_part(b, root, is_outer, p.val, RT_PART_VAL);
    if (!p.train)
        return read_root(b, root, take == RT_TAKE_VAL ? RT_PART_VAL : RT_PART_TRAIN);
    bool good =
        read_part(b, root, is_outer, p.train, take == RT_TAKE_VAL ? RT_PART_VAL : RT_PART_TRAIN);
    if (take == RT_TAKE_BOTH && p.val)
        good = read_part(b, root, is_outer, p.val, RT_PART_VAL) && good;
    return good;
}
