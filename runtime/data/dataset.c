// A data set as one list of items: finds out what kind of set a word names, settles the class
// names, splits what has no validation part, and takes the fingerprint. The readers of each kind
// are in dataset_folder.c, dataset_list.c and dataset_array.c, the split in dataset_split.c; pixels
// in dataset_sample.c.
//
// Invariants: the items' order depends on names and contents alone, not on the file system's order;
// items are never added or removed after opening, so that their numbers mean the same in every run
// on the same data, which the fingerprint tells.
#include "runtime/data/dataset_build.h"
#include "runtime/data/input_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// ---- the fingerprint

typedef struct Hash {
    uint64_t lane[2];
} Hash;

static void hash_word(Hash *h, uint64_t word) {
    static const uint64_t odd[2] = {0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u};
    for (int i = 0; i < 2; i++) {
        h->lane[i] = (h->lane[i] ^ word) * odd[i];
        h->lane[i] ^= h->lane[i] >> 29;
    }
}

static void hash_bytes(Hash *h, const void *data, size_t bytes) {
    const uint8_t *p = data;
    hash_word(h, bytes);
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, p + i, bytes - i < 8 ? bytes - i : 8);
        hash_word(h, word);
    }
}

static void hash_item(Hash *h, const RtDataState *s, RtTarget target, const RtItem *item) {
    const RtSource *source = &s->source[item->source];
    hash_word(h, (uint64_t)(uint32_t)item->source << 32 | (uint32_t)item->label);
    if (source->kind == RT_SOURCE_FILES || source->kind == RT_SOURCE_TAR)
        hash_bytes(h, s->text + item->at, strlen(s->text + item->at));
    else
        hash_word(h, (uint64_t)item->at);
    if (source->kind == RT_SOURCE_TAR)
        hash_word(h, (uint64_t)item->offset);
    hash_word(h, (uint64_t)item->bytes);
    if (target == RT_TARGET_MAP) {
        const char *picture = s->text + item->at, *mask = picture + strlen(picture) + 1;
        hash_bytes(h, mask, strlen(mask));
        hash_word(h, (uint64_t)item->offset);
    }
    const int32_t *tags = item->tag > 0 ? s->tag + item->tag : NULL;
    if (tags && tags[0])
        hash_bytes(h, tags + 1, (size_t)tags[0] * sizeof *tags);
}

// What all items come from; and how many of them are for what.
static Hash hash_sources(const RtDataset *d, int64_t n_train, int64_t n_val) {
    const RtDataState *s = d->state;
    Hash h = {{1, 2}};
    hash_word(&h, (uint64_t)d->classes << 8 | (uint64_t)d->target);
    hash_word(&h, (uint64_t)n_train);
    hash_word(&h, (uint64_t)n_val);
    for (int i = 0; i < d->classes; i++)
        hash_bytes(&h, d->names[i], strlen(d->names[i]));
    for (int64_t i = 0; i < s->n_sources; i++) {
        const RtSource *source = &s->source[i];
        const RtNpy *a = &source->array;
        if (source->kind == RT_SOURCE_FILES || source->kind == RT_SOURCE_TAR)
            continue;
        hash_bytes(&h, a->dim, (size_t)a->rank * sizeof *a->dim);
        hash_bytes(&h, a->data, (size_t)a->count * (size_t)rt_dtype(a->dtype)->bytes);
        if (source->targets)
            hash_bytes(&h, source->targets,
                       (size_t)a->dim[0] * (size_t)d->classes * sizeof *source->targets);
    }
    return h;
}

static void write_hash(const Hash *h, char text[33]) {
    snprintf(text, 33, "%016llx%016llx", (unsigned long long)h->lane[0],
             (unsigned long long)h->lane[1]);
}

// Of a part of a k-fold: that of the whole set, as it is without parts, and which item is where.
static bool take_fingerprint(RtBuild *b, RtDataset *d) {
    const RtDataState *s = d->state;
    int64_t n = d->n_train + d->n_val,
            *back = d->place ? malloc(((size_t)n + 1) * sizeof *back) : NULL;
    if (d->place && !back)
        return rt_build_no_memory(b);
    for (int64_t i = 0; back && i < n; i++)
        back[d->place[i]] = i;
    Hash h = back ? hash_sources(d, n, 0) : hash_sources(d, d->n_train, d->n_val);
    for (int64_t i = 0; i < n; i++)
        hash_item(&h, s, d->target, &s->item[back ? back[i] : i]);
    write_hash(&h, d->whole);
    for (int64_t i = 0; back && i <= n; i++)
        hash_word(&h, (uint64_t)(i < n ? d->place[i] : d->n_train));
    write_hash(&h, d->fingerprint);
    free(back);
    return true;
}

// ---- opening

// "a,b" that is no file itself and whose halves are not empty.
static bool split_pair(const char *spec, char **first, char **second) {
    const char *comma = strchr(spec, ',');
    struct stat st;
    if (!comma || comma == spec || !comma[1] || strchr(comma + 1, ',') || stat(spec, &st) == 0)
        return false;
    *first = strndup(spec, (size_t)(comma - spec));
    *second = strdup(comma + 1);
    return *first && *second;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), k = strlen(end);
    return n > k && strcmp(text + n - k, end) == 0;
}

static bool is_packed_tar(const char *spec) {
    static const char *const ends[] = {".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(spec, ends[i]))
            return true;
    return false;
}

static bool read_folder(RtBuild *b, const char *root, RtTake take) {
    bool found = false;
    if (b->o->target == RT_TARGET_MAP)
        return rt_dataset_tar_read(b, root, take, &found) &&
               (found || rt_dataset_mask_read(b, root, take));
    return rt_dataset_idx_read(b, root, take, &found) &&
           (found || rt_dataset_tar_read(b, root, take, &found)) &&
           (found || rt_dataset_folder_read(b, root, take));
}

// Reads the set that `spec` names.
static bool read_set(RtBuild *b, const char *spec, RtTake take) {
    char *first = NULL, *second = NULL;
    int part = take == RT_TAKE_VAL ? RT_PART_VAL : RT_PART_TRAIN;
    struct stat st;
    bool good;
    bool pair = split_pair(spec, &first, &second);
    if (b->o->target == RT_TARGET_MAP && pair)
        good = rt_build_error(b, "NYI: %s: masks are read of folders, lists and shards", spec);
    else if (pair)
        good = rt_dataset_array_read(b, first, second, part);
    else if (stat(spec, &st) != 0)
        good = rt_build_error(b, "%s: %s", spec, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        good = read_folder(b, spec, take);
    else if (ends_with(spec, ".tar"))
        good = rt_dataset_tar_read_one(b, spec, part);
    else if (is_packed_tar(spec))
        good = rt_build_error(b, "%s: compressed shards are not read; unpack it to a .tar", spec);
    else if (ends_with(spec, ".npy"))
        good = rt_build_error(b, "%s: labels are needed, too: images.npy,labels.npy", spec);
    else
        good = rt_dataset_list_read(b, spec, part);
    free(first);
    free(second);
    return good;
}

static bool count_classes(RtBuild *b) {
    RtDataState *s = b->s;
    s->class_size = calloc((size_t)b->classes, sizeof *s->class_size);
    if (!s->class_size)
        return rt_build_no_memory(b);
    for (int64_t i = 0; b->o->target != RT_TARGET_MAP && i < b->part[RT_PART_TRAIN].n; i++) {
        const RtItem *item = &b->part[RT_PART_TRAIN].item[i];
        const float *row = s->source[item->source].targets;
        if (row)
            for (int64_t c = 0; c < b->classes; c++)
                s->class_size[c] += row[item->at * b->classes + c] >= 0.5f;
        else if (b->o->target == RT_TARGET_MULTI)
            for (int32_t k = 0; item->tag > 0 && k < s->tag[item->tag]; k++)
                s->class_size[s->tag[item->tag + 1 + k]]++;
        else
            s->class_size[item->label]++;
    }
    return true;
}

static bool join_parts(RtBuild *b) {
    RtItems *train = &b->part[RT_PART_TRAIN], *val = &b->part[RT_PART_VAL];
    RtItem *all = malloc(((size_t)train->n + (size_t)val->n + 1) * sizeof *all);
    if (!all)
        return rt_build_no_memory(b);
    if (train->n)
        memcpy(all, train->item, (size_t)train->n * sizeof *all);
    if (val->n)
        memcpy(all + train->n, val->item, (size_t)val->n * sizeof *all);
    b->s->item = all;
    return true;
}

static bool read_all(RtBuild *b, const char *spec) {
    const RtDataOptions *o = b->o;
    if (o->labels && !rt_build_set_names(b, o->labels, true))
        return false;
    RtTake take = o->eval_only ? RT_TAKE_VAL : o->val ? RT_TAKE_TRAIN : RT_TAKE_BOTH;
    bool good = read_set(b, spec, take);
    if (!o->eval_only && o->val && b->settled)
        good = read_set(b, o->val, RT_TAKE_VAL) && good;
    if (!good || b->errors)
        return false;
    if (b->part[take == RT_TAKE_VAL ? RT_PART_VAL : RT_PART_TRAIN].n == 0)
        return rt_build_error(b, "%s: there are no images", spec);
    if (o->folds && b->part[RT_PART_VAL].n > 0)
        return rt_build_refuse_val(b, spec, spec, "/train");
    if (!o->eval_only && (o->val_fraction > 0 || o->folds) && b->part[RT_PART_VAL].n == 0 &&
        !rt_dataset_split(b, spec))
        return false;
    return !b->errors && count_classes(b) && join_parts(b);
}

// What the network takes is in the set.
static bool check_kind(RtBuild *b, const RtDataset *d, const char *spec) {
    const HonePreprocess *p = b->o->prep;
    char want[256];
    return d->tensors || !p || rt_takes_pictures(p) ||
           rt_build_error(b,
                          "%s: the network takes arrays, %s in .npy files beside their labels, not "
                          "pictures",
                          spec, rt_input_text(p, d->n_train + d->n_val, want, sizeof want));
}

// Arrays of f32 have their own way to the model: they do not mix with images.
static bool set_kind(RtBuild *b, RtDataset *d) {
    int64_t f32 = 0;
    for (int64_t i = 0; i < d->state->n_sources; i++)
        f32 += d->state->source[i].kind == RT_SOURCE_F32;
    d->tensors = f32 > 0;
    return f32 == 0 || f32 == d->state->n_sources ||
           rt_build_error(b, "f32 arrays and images cannot be mixed in one run");
}

static void describe(RtDataset *d, const RtBuild *b) {
    const RtDataOptions *o = b->o;
    d->classes = o->classes;
    d->names = (const char *const *)b->s->name;
    d->named = b->named;
    d->target = o->target;
    d->target_width = o->target == RT_TARGET_CLASS || o->target == RT_TARGET_MAP ? 0
                      : o->target == RT_TARGET_BINARY                            ? 1
                                                                                 : o->classes;
    d->n_train = b->part[RT_PART_TRAIN].n;
    d->n_val = b->part[RT_PART_VAL].n;
    d->class_size = b->s->class_size;
    d->place = b->s->place;
    b->s->as_stored = o->prep && o->prep->as_stored;
}

static void count_more_errors(RtBuild *b, const char *spec) {
    int64_t more = b->errors - RT_BUILD_MAX_LINES;
    if (more <= 0)
        return;
    b->errors = 0;
    rt_build_error(b, "%s: %lld more problem%s", spec, (long long)more, more == 1 ? "" : "s");
}

// From the index, or from the data, of which one is made.
static bool open_set(RtDataset *d, RtBuild *b, const char *spec) {
    bool found = false;
    if (b->o->index && !rt_dataset_index_read(b, spec, d->fingerprint, &found))
        return false;
    if (!found && !(read_all(b, spec) && set_kind(b, d)))
        return false;
    describe(d, b);
    if (!check_kind(b, d, spec))
        return false;
    if (!found && !take_fingerprint(b, d))
        return false;
    if (found)
        memcpy(d->whole, d->fingerprint, sizeof d->whole);
    return found || !b->o->index || b->o->index_stays || rt_dataset_index_write(b, d, spec);
}

static bool take_mask_values(RtDataset *d, RtBuild *b) {
    const RtDataOptions *o = b->o;
    RtErr err;
    if (o->target != RT_TARGET_MAP)
        return !o->mask_values ||
               rt_build_error(b, "--mask-values is of networks that label pixels");
    return rt_mask_values(o->mask_values, o->classes, &d->mask_values, &err) ||
           rt_build_error(b, "%s", err.text);
}

// Masks of two colours, whose object is not to be lost for what 255 means elsewhere.
static void note_void(RtBuild *b, const RtDataset *d, const char *spec) {
    enum { LOOKS = 32, OFTEN = 100 };
    int64_t number[256], all = 0, classes = 0;
    if (d->target != RT_TARGET_MAP || d->mask_values.named)
        return;
    int64_t masks = rt_dataset_count_pixels(d, LOOKS, number);
    for (int i = 0; i < 256; i++)
        all += number[i];
    for (int i = 1; i < RT_MASK_NONE; i++)
        classes += number[i];
    if (classes == 0 && number[0] > 0 && number[RT_MASK_NONE] * OFTEN >= all)
        rt_build_note(b,
                      "%s: masks (%lld looked at) are of 0 and 255 alone, and 255 does not count: "
                      "all that does is '%s'. If 255 is '%s', say --mask-values 0,255",
                      spec, (long long)masks, d->names[0], d->names[1]);
}

// A class without a training image is no error here (folders were stricter), but worth a line.
// size: images of each class, for what `use` says.
static void note_unseen(RtBuild *b, const char *spec, const char *use, const int64_t *size) {
    char text[400];
    int64_t n = 0;
    char **unseen = calloc((size_t)b->classes, sizeof *unseen);
    for (int64_t c = 0; unseen && c < b->classes; c++)
        if (size[c] == 0)
            unseen[n++] = b->s->name[c];
    if (n > 0) {
        rt_build_join(unseen, n, text, sizeof text);
        rt_build_note(b, "%s: no %s images of class%s %s", spec, use, n == 1 ? "" : "es", text);
    }
    free(unseen);
}

// What is measured on images for validation tells nothing of these.
static void note_unmeasured(RtBuild *b, const RtDataset *d, const char *spec) {
    int64_t *size = calloc((size_t)b->classes, sizeof *size);
    for (int64_t i = d->n_train; size && i < d->n_train + d->n_val; i++) {
        int32_t label = rt_dataset_label(d, i);
        if (label >= 0)
            size[label]++;
    }
    if (size && d->n_val)
        note_unseen(b, spec, "validation", size);
    free(size);
}

static void note_classes(RtBuild *b, const RtDataset *d, const char *spec) {
    const RtDataOptions *o = b->o;
    if (!o->eval_only && o->target != RT_TARGET_MAP)
        note_unseen(b, spec, "training", d->class_size);
    if (!o->eval_only && !o->folds && o->target < RT_TARGET_MULTI)
        note_unmeasured(b, d, o->val ? o->val : spec);
}

RtDataset *rt_dataset_open(const char *spec, const RtDataOptions *o) {
    RtDataset *d = calloc(1, sizeof *d);
    RtBuild b = {.o = o, .classes = o->classes};
    if (d)
        d->state = b.s = calloc(1, sizeof *b.s);
    bool good =
        d && d->state ? take_mask_values(d, &b) && open_set(d, &b, spec) : rt_build_no_memory(&b);
    if (good) {
        note_classes(&b, d, spec);
        note_void(&b, d, spec);
    }
    free(b.part[RT_PART_TRAIN].item);
    free(b.part[RT_PART_VAL].item);
    free(b.by_name);
    if (good)
        return d;
    count_more_errors(&b, spec);
    if (d && d->state)
        d->classes = b.s->name ? o->classes : 0;
    rt_dataset_close(d);
    return NULL;
}

void rt_dataset_close(RtDataset *d) {
    RtDataState *s = d ? d->state : NULL;
    for (int64_t i = 0; s && i < s->n_sources; i++) {
        free(s->source[i].name);
        free(s->source[i].labels);
        free(s->source[i].targets);
        rt_npy_free(&s->source[i].array);
    }
    for (int i = 0; s && s->name && i < d->classes; i++)
        free(s->name[i]);
    if (s && s->map)
        rt_dataset_index_close(s);
    if (s) {
        free(s->stamp);
        free(s->source);
        free(s->item);
        free(s->place);
        free(s->text);
        free(s->tag);
        free(s->name);
        free(s->class_size);
    }
    free(s);
    free(d);
}
