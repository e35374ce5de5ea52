// Tar shards in WebDataset's layout: a sample is the members of one shard that follow each other
// and share the part of their names before the first '.'; of them the .jpg, .jpeg, .png or .webp is
// the image, the .cls its label (or labels, as in a list), the .mask.png or .seg.png its mask,
// where pixels are labelled. Other members are left out and counted.
//
// Several shards are scanned at once, by their headers alone; images are read where they lie when
// they are fetched. Headers are ustar's with GNU's and pax's long names, and are not believed:
// every member must lie within the file, every header carry its checksum. What cannot be read where
// it lies (compressed or sparse files) is refused.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"
#include "runtime/image/image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { BLOCK = 512, MAX_NAME = 4096, MAX_LABEL = 4096, MAX_PAX = 1 << 16, MOST_PROBLEMS = 4 };

typedef struct Header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8];
    char type, link[100], magic[8], user[32], group[32], device[16], prefix[155], rest[12];
} Header;
_Static_assert(sizeof(Header) == BLOCK, "a tar header is a block");

typedef struct Sample {
    int64_t name, label; // places in the shard's text
    int64_t offset, bytes;
} Sample;

typedef struct Shard {
    const char *path;
    bool masks; // are what labels are: "OFFSET BYTES" in the shard
    int fd;
    int64_t size;
    Sample *sample;
    int64_t n;
    char *text;
    int64_t text_bytes, text_room;
    int64_t others; // members left out
    char *problem[MOST_PROBLEMS];
    int n_problems;
    bool no_memory;
    // while it is scanned
    char name[MAX_NAME]; // the next member's long name; "": its header's
    int64_t long_size;   // the next member's size by pax; -1: its header's
    char key[MAX_NAME];  // of the sample that is open
    char image[MAX_NAME], label[MAX_LABEL];
    int64_t offset, bytes; // of its image
    bool has_image, has_label;
} Shard;

__attribute__((format(printf, 2, 3))) static bool reject(Shard *s, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    if (s->n_problems < MOST_PROBLEMS && vasprintf(&text, fmt, args) >= 0)
        s->problem[s->n_problems++] = text;
    va_end(args);
    return false;
}

static bool lacks_memory(Shard *s) {
    s->no_memory = true;
    return false;
}

// ---- headers

// Octal digits, or, with the highest bit set, a number of 8 bytes as GNU writes it. -1: neither.
static int64_t read_number(const char *field, int size) {
    int64_t v = 0;
    int i = 0;
    if ((uint8_t)field[0] & 0x80) {
        for (i = size - 8; i < size; i++)
            v = (int64_t)((uint64_t)v << 8 | (uint8_t)field[i]);
        return v;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        v = v * 8 + (field[i] - '0');
    return i == size || field[i] == 0 || field[i] == ' ' ? v : -1;
}

static bool has_sum(const Header *h) {
    const uint8_t *p = (const uint8_t *)h;
    int64_t sum = 0, first = offsetof(Header, sum), last = first + (int64_t)sizeof h->sum;
    for (int64_t i = 0; i < BLOCK; i++)
        sum += i >= first && i < last ? ' ' : p[i];
    return sum == read_number(h->sum, sizeof h->sum);
}

static bool is_zero(const Header *h) {
    static const Header zero;
    return memcmp(h, &zero, sizeof zero) == 0;
}

static bool read_at(Shard *s, int64_t at, void *to, int64_t bytes) {
    ssize_t n = pread(s->fd, to, (size_t)bytes, at);
    return n == bytes || reject(s, "%s: %s", s->path, n < 0 ? strerror(errno) : "truncated");
}

static void take_name(const Header *h, char name[MAX_NAME]) {
    bool ustar = memcmp(h->magic, "ustar\0", 6) == 0;
    snprintf(name, MAX_NAME, "%.155s%s%.100s", ustar ? h->prefix : "",
             ustar && h->prefix[0] ? "/" : "", h->name);
}

static bool keep_name(Shard *s, const char *text) {
    size_t n = strlen(text);
    if (n >= sizeof s->name)
        return reject(s, "%s: damaged: a name of %zu bytes", s->path, n);
    memcpy(s->name, text, n + 1);
    return true;
}

// "27 path=a/b.jpg\n" again and again.
static bool take_pax(Shard *s, char *text, int64_t bytes) {
    for (char *p = text, *end = text + bytes; p < end;) {
        char *space;
        long n = strtol(p, &space, 10);
        if (n <= 0 || n > end - p || *space != ' ' || space + 1 >= p + n || p[n - 1] != '\n')
            return reject(s, "%s: damaged: an extended header that is none", s->path);
        p[n - 1] = 0;
        if (strncmp(space + 1, "path=", 5) == 0 && !keep_name(s, space + 6))
            return false;
        if (strncmp(space + 1, "size=", 5) == 0)
            s->long_size = strtoll(space + 6, NULL, 10);
        if (strncmp(space + 1, "GNU.sparse.", 11) == 0)
            return reject(s, "%s: holds a sparse file, which is not read", s->path);
        p += n;
    }
    return true;
}

// What says something of the next member.
static bool take_extension(Shard *s, char type, int64_t at, int64_t bytes) {
    char text[MAX_PAX + 1];
    if (bytes > MAX_PAX)
        return reject(s, "%s: damaged: a header of %lld bytes", s->path, (long long)bytes);
    if (!read_at(s, at, text, bytes))
        return false;
    text[bytes] = 0;
    if (type == 'x')
        return take_pax(s, text, bytes);
    return keep_name(s, text);
}

// ---- samples

// Place of the copy in the shard's text, -1: no memory.
static int64_t add_text(Shard *s, const char *text) {
    return rt_build_append(&s->text, &s->text_bytes, &s->text_room, text);
}

static bool end_sample(Shard *s) {
    bool image = s->has_image, label = s->has_label;
    s->has_image = s->has_label = false;
    if (!image && !label)
        return true;
    if (!image || !label) {
        static const char *const lacks[2][2] = {
            {"image, but a label", "label: a member .cls beside its image"},
            {"image, but a mask", "mask: a member .mask.png or .seg.png beside its image"}};
        reject(s, "%s: sample '%s' has no %s", s->path, s->key, lacks[s->masks][image]);
        return s->n_problems < MOST_PROBLEMS;
    }
    Sample *grown = rt_build_grow(s->sample, s->n, sizeof *grown);
    if (!grown)
        return lacks_memory(s);
    s->sample = grown;
    Sample x = {add_text(s, s->image), add_text(s, s->label), s->offset, s->bytes};
    if (x.name < 0 || x.label < 0)
        return lacks_memory(s);
    grown[s->n++] = x;
    return true;
}

static bool take_label(Shard *s, int64_t at, int64_t bytes) {
    if (bytes >= MAX_LABEL)
        return reject(s, "%s: sample '%s': a label of %lld bytes", s->path, s->key,
                      (long long)bytes);
    if (!read_at(s, at, s->label, bytes))
        return false;
    while (bytes > 0 && strchr(" \t\r\n", s->label[bytes - 1]))
        bytes--;
    s->label[bytes] = 0;
    s->has_label = true;
    return bytes > 0 || reject(s, "%s: sample '%s': the label is empty", s->path, s->key);
}

static bool is_mask(const char *ending) {
    return strcasecmp(ending, ".mask.png") == 0 || strcasecmp(ending, ".seg.png") == 0;
}

static bool take_mask(Shard *s, int64_t at, int64_t bytes) {
    snprintf(s->label, sizeof s->label, "%lld %lld", (long long)at, (long long)bytes);
    return s->has_label = true;
}

static bool take_member(Shard *s, const char *name, int64_t at, int64_t bytes) {
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    const char *dot = *base == '.' ? NULL : strchr(base, '.');
    size_t n = dot ? (size_t)(dot - name) : strlen(name);
    if (strncmp(s->key, name, n) != 0 || s->key[n]) {
        if (!end_sample(s))
            return false;
        memcpy(s->key, name, n);
        s->key[n] = 0;
    }
    if (dot && !s->has_label && s->masks && is_mask(dot))
        return take_mask(s, at, bytes);
    if (dot && !s->has_label && !s->masks && strcasecmp(dot, ".cls") == 0)
        return take_label(s, at, bytes);
    if (!dot || s->has_image || !rt_image_is_name(name) || strchr(dot + 1, '.')) {
        s->others++;
        return true;
    }
    snprintf(s->image, sizeof s->image, "%s", name);
    s->offset = at;
    s->bytes = bytes;
    return s->has_image = true;
}

static bool take_entry(Shard *s, const Header *h, int64_t at, int64_t bytes) {
    char name[MAX_NAME];
    if (h->type == 'x' || h->type == 'L')
        return take_extension(s, h->type, at, bytes);
    if (h->type == 'S')
        return reject(s, "%s: holds a sparse file, which is not read", s->path);
    take_name(h, name);
    if (*s->name)
        memcpy(name, s->name, sizeof name);
    bool is_file = h->type == '0' || h->type == 0 || h->type == '7';
    *s->name = 0;
    s->long_size = -1;
    return !is_file || take_member(s, name, at, bytes);
}

// One member, its extensions counted as members. *next: where the next one begins; -1: the
// archive's end. False: damage was reported.
static bool scan_member(Shard *s, int64_t at, int64_t *next) {
    Header h;
    if (s->size - at < BLOCK)
        return reject(s, "%s: truncated", s->path);
    if (!read_at(s, at, &h, BLOCK))
        return false;
    *next = -1;
    if (is_zero(&h))
        return true;
    if (!has_sum(&h))
        return reject(s, "%s: %s", s->path,
                      at ? "damaged" : "not a tar file (compressed ones are not read)");
    bool is_extension = h.type == 'x' || h.type == 'L';
    int64_t bytes =
        s->long_size >= 0 && !is_extension ? s->long_size : read_number(h.size, sizeof h.size);
    if (bytes < 0 || bytes > s->size - at - BLOCK)
        return reject(s, "%s: truncated", s->path);
    *next = at + BLOCK + (bytes + BLOCK - 1) / BLOCK * BLOCK;
    return take_entry(s, &h, at + BLOCK, bytes);
}

static void scan(Shard *s) {
    bool good = true;
    for (int64_t at = 0; good && at >= 0;)
        good = scan_member(s, at, &at);
    if (good)
        end_sample(s);
}

static void scan_shards(void *ctx, int64_t from, int64_t to) {
    Shard *all = ctx;
    for (Shard *s = all + from; s < all + to; s++) {
        RtErr err;
        s->long_size = -1;
        s->fd = rt_file_open(s->path, &s->size, &err);
        if (s->fd < 0) {
            reject(s, "%s", err.text);
            continue;
        }
        scan(s);
        close(s->fd);
    }
}

// ---- from shards to items

static bool report(RtBuild *b, const Shard *s) {
    for (int i = 0; i < s->n_problems; i++)
        rt_build_error(b, "%s", s->problem[i]);
    if (s->no_memory)
        rt_build_no_memory(b);
    else if (s->n_problems == 0 && s->n == 0)
        rt_build_error(b, "%s: there are no samples: an image beside a %s", s->path,
                       s->masks ? "mask name.mask.png" : "label name.cls");
    return s->n_problems == 0 && !s->no_memory && s->n > 0;
}

static bool settle_classes(RtBuild *b, const Shard *shard, int64_t n, const char *where) {
    RtLabels all = {0};
    bool good = true;
    if (n && shard->masks)
        return rt_build_numbered(b);
    for (int64_t k = 0; !b->settled && k < n; k++)
        for (int64_t i = 0; good && i < shard[k].n; i++)
            good = rt_build_add_labels(b, &all, shard[k].text + shard[k].sample[i].label);
    good = good && (b->settled || rt_build_settle_labels(b, &all, where));
    rt_build_free_labels(&all);
    return good;
}

typedef struct Labelled {
    RtBuild *b;
    const Shard *shard;
    const Sample *sample;
} Labelled;

static bool check_label(void *ctx, const char *text) {
    const Labelled *x = ctx;
    char names[400];
    if (rt_build_find_label(x->b, text) >= 0)
        return true;
    rt_build_join(x->b->s->name, x->b->classes, names, sizeof names);
    return rt_build_error(x->b, "%s/%s: '%s' is not one of the %lld classes: %s", x->shard->path,
                          x->shard->text + x->sample->name, text, (long long)x->b->classes, names);
}

static bool add_samples(RtBuild *b, const Shard *s, int part) {
    if (!rt_build_source(b, RT_SOURCE_TAR, s->path))
        return false;
    for (int64_t i = 0; i < s->n; i++) {
        const Sample *x = &s->sample[i];
        const char *label = s->text + x->label;
        RtItem item = {.bytes = x->bytes, .offset = x->offset};
        if (s->masks && !rt_build_pair(b, part, item, s->text + x->name, label))
            return false;
        if (s->masks)
            continue;
        if (!rt_build_each_label(b, label, check_label, &(Labelled){b, s, x}))
            continue;
        if (!rt_build_set_label(b, &item, label) ||
            !rt_build_item(b, part, item, s->text + x->name))
            return false;
    }
    return true;
}

static void free_shard(Shard *s) {
    for (int i = 0; i < s->n_problems; i++)
        free(s->problem[i]);
    free(s->sample);
    free(s->text);
    *s = (Shard){0};
}

static bool take_shards(RtBuild *b, const char *where, Shard *shard, int64_t n, int part) {
    int64_t errors = b->errors, others = 0;
    bool good = true, masks = b->o->target == RT_TARGET_MAP;
    for (int64_t k = 0; k < n; k++) {
        shard[k].masks = masks;
        if (!rt_build_stamp(b, shard[k].path))
            return false;
    }
    rt_build_each(b, "shards", n, 1, scan_shards, shard);
    for (int64_t k = 0; k < n; k++) {
        good = report(b, &shard[k]) && good;
        others += shard[k].others;
    }
    good = good && settle_classes(b, shard, n, where);
    for (int64_t k = 0; k < n; k++) {
        good = good && add_samples(b, &shard[k], part);
        free_shard(&shard[k]);
    }
    if (good && others)
        rt_build_note(b, "%s: %lld member%s left out, neither a sample's image nor its %s", where,
                      (long long)others, others == 1 ? "" : "s", masks ? "mask" : "label");
    return good && b->errors == errors;
}

bool rt_dataset_tar_read_one(RtBuild *b, const char *path, int part) {
    Shard *s = calloc(1, sizeof *s);
    if (!s)
        return rt_build_no_memory(b);
    s->path = path;
    bool good = take_shards(b, path, s, 1, part);
    free(s);
    return good;
}

// ---- folders of shards

static bool is_shard(const char *name) {
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".tar") == 0;
}

// The paths of the shards in a folder, sorted; *n 0: there are none. free() releases each and all.
static char **list_shards(RtBuild *b, const char *root, int64_t *n) {
    RtListing names;
    *n = 0;
    if (!rt_build_list_folder(b, root, &names))
        return NULL;
    char **path = calloc((size_t)names.n + 1, sizeof *path);
    for (int64_t i = 0; path && i < names.n; i++)
        if (is_shard(names.entry[i].name))
            path[(*n)++] = rt_build_join_path(root, names.entry[i].name);
    rt_build_free_names(&names);
    if (!path)
        rt_build_no_memory(b);
    return path;
}

static bool read_shards(RtBuild *b, const char *root, char *const *path, int64_t n, int part) {
    Shard *shard = calloc((size_t)n, sizeof *shard);
    bool good = shard != NULL;
    for (int64_t i = 0; good && i < n; i++)
        good = (shard[i].path = path[i]) != NULL;
    good = good ? take_shards(b, root, shard, n, part) : rt_build_no_memory(b);
    free(shard);
    return good;
}

static bool read_folder(RtBuild *b, const char *root, int part, bool *found) {
    int64_t n;
    char **path = list_shards(b, root, &n);
    bool good = path != NULL;
    *found = n > 0;
    if (n > 0)
        good = read_shards(b, root, path, n, part);
    for (int64_t i = 0; i < n; i++)
        free(path[i]);
    free(path);
    return good;
}

static bool read_part(RtBuild *b, const char *root, const char *name, int part, bool *found) {
    char *path = rt_build_join_path(root, name);
    bool good = path ? read_folder(b, path, part, found) : rt_build_no_memory(b);
    free(path);
    return good;
}

bool rt_dataset_tar_read(RtBuild *b, const char *root, RtTake take, bool *found) {
    bool has_train = rt_build_is_folder(root, "train");
    const char *val = rt_build_val_folder(root, has_train);
    int part = take == RT_TAKE_VAL ? RT_PART_VAL : RT_PART_TRAIN;
    bool in_val = false;
    if (take == RT_TAKE_VAL && val)
        return read_part(b, root, val, part, found);
    if (!has_train)
        return read_folder(b, root, part, found);
    bool good = read_part(b, root, "train", part, found);
    if (!good || !*found || take != RT_TAKE_BOTH || !val)
        return good;
    return read_part(b, root, val, RT_PART_VAL, &in_val) &&
           (in_val ||
            rt_build_error(b, "%s/%s: there are no .tar files, but in %s/train", root, val, root));
}
