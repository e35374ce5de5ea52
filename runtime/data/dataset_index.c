// The list of a set's images as a file, so that a second run need not look at every one of a
// million.
//
// The file is mapped, not read: its pages belong to the system, come when they are asked for and go
// when memory is short, and processes on one machine share them. It holds for the same words and
// options, as long as every folder, list and shard that was read then is as it was (inode, size,
// time of change). A picture that is rewritten in place changes no folder and is not noticed.
// Numbers are as this machine has them; what a file claims is checked before it is believed.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/file/out.h"

static const char magic[16] = "hone data set 1";

typedef struct Header {
    char magic[16];
    uint64_t check; // XXH3 of what follows this number
    int64_t bytes;  // of the file
    char key[40], fingerprint[40];
    int64_t n_train, n_val, n_sources, n_stamps, n_tags, text_bytes, classes, named;
} Header;

typedef struct Source {
    int64_t kind, classes, name; // name: place in the text
} Source;

// Where each table lies, one behind the other from the header on; all numbers of 8 bytes come
// first.
typedef struct Layout {
    Header *head;
    RtItem *item;        // [n_train + n_val]
    Source *source;      // [n_sources]
    RtStamp *stamp;      // [n_stamps]
    int64_t *class_size; // [classes]
    int64_t *class_name; // [classes] places in the text
    int32_t *tag;        // [n_tags]
    char *text;          // [text_bytes]
    size_t bytes;
} Layout;

static bool place(char *base, size_t *at, int64_t n, size_t element, void *to) {
    size_t bytes;
    if (n < 0 || __builtin_mul_overflow((size_t)n, element, &bytes) ||
        bytes > (size_t)INT64_MAX / 2 - *at)
        return false;
    memcpy(to, &(char *){base + *at}, sizeof(char *));
    *at += bytes;
    return true;
}

// False: the counts cannot be.
static bool lay_out(const Header *h, char *base, Layout *l) {
    size_t at = sizeof *h;
    int64_t n;
    *l = (Layout){.head = (Header *)base};
    bool good = h->n_train >= 0 && h->n_val >= 0 &&
                !__builtin_add_overflow(h->n_train, h->n_val, &n) &&
                place(base, &at, n, sizeof *l->item, &l->item) &&
                place(base, &at, h->n_sources, sizeof *l->source, &l->source) &&
                place(base, &at, h->n_stamps, sizeof *l->stamp, &l->stamp) &&
                place(base, &at, h->classes, sizeof *l->class_size, &l->class_size) &&
                place(base, &at, h->classes, sizeof *l->class_name, &l->class_name) &&
                place(base, &at, h->n_tags, sizeof *l->tag, &l->tag) &&
                place(base, &at, h->text_bytes, 1, &l->text);
    l->bytes = at;
    return good;
}

static uint64_t sum_of(const Header *h, size_t bytes) {
    size_t from = offsetof(Header, bytes);
    return XXH3_64bits((const char *)h + from, bytes - from);
}

// ---- what it is of

static void add_text(XXH3_state_t *h, const char *text) {
    XXH3_128bits_update(h, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void make_key(const char *spec, const RtDataOptions *o, char key[40]) {
    XXH3_state_t *h = XXH3_createState();
    const int64_t numbers[] = {o->eval_only, o->classes, o->target, (int64_t)o->seed};
    char *folder = getcwd(NULL, 0);
    memset(key, 0, 40);
    if (h) {
        XXH3_128bits_reset(h);
        add_text(h, folder);
        add_text(h, spec);
        add_text(h, o->val);
        XXH3_128bits_update(h, numbers, sizeof numbers);
        XXH3_128bits_update(h, &o->val_fraction, sizeof o->val_fraction);
        for (int i = 0; o->labels && i < o->classes; i++)
            add_text(h, o->labels[i]);
        XXH128_hash_t x = XXH3_128bits_digest(h);
        snprintf(key, 40, "%016llx%016llx", (unsigned long long)x.high64,
                 (unsigned long long)x.low64);
    }
    XXH3_freeState(h);
    free(folder);
}

static RtStamp stamp_of(const struct stat *st) {
    return (RtStamp){.seconds = st->st_mtim.tv_sec,
                     .ns = st->st_mtim.tv_nsec,
                     .bytes = S_ISDIR(st->st_mode) ? 0 : st->st_size,
                     .inode = (int64_t)st->st_ino};
}

bool rt_build_stamp(RtBuild *b, const char *path) {
    enum { JUST_NOW = 2 }; // seconds: what changes again so soon may keep its time
    RtDataState *s = b->s;
    struct stat st;
    if (!b->o->index || stat(path, &st) != 0)
        return true; // who reads it says so
    RtStamp *grown = rt_build_grow(s->stamp, s->n_stamps, sizeof *grown);
    if (!grown)
        return rt_build_no_memory(b);
    s->stamp = grown;
    RtStamp x = stamp_of(&st);
    if (st.st_mtim.tv_sec + JUST_NOW > time(NULL))
        x.seconds = -1; // nothing is like it
    x.path = rt_build_text(b, path);
    grown[s->n_stamps] = x;
    s->n_stamps += x.path >= 0;
    return x.path >= 0;
}

// ---- reading

static bool is_text(const Header *h, int64_t at) {
    return at >= 0 && at < h->text_bytes;
}

static bool is_item(const Layout *l, const RtItem *item) {
    const Header *h = l->head;
    if (item->source < 0 || item->source >= h->n_sources || item->label < -1 ||
        item->label >= h->classes || !is_text(h, item->at) || item->bytes < 0 || item->offset < 0 ||
        item->tag < 0 || (item->tag > 0 && item->tag >= h->n_tags))
        return false;
    if (item->tag == 0)
        return item->label >= 0;
    int32_t n = l->tag[item->tag];
    bool good = n >= 0 && n <= h->n_tags - item->tag - 1;
    for (int32_t i = 0; good && i < n; i++)
        good = l->tag[item->tag + 1 + i] >= 0 && l->tag[item->tag + 1 + i] < h->classes;
    return good;
}

// Everything that is used as a place or a number of something.
static bool is_sound(const Layout *l) {
    const Header *h = l->head;
    bool good = h->text_bytes > 0 && l->text[h->text_bytes - 1] == 0;
    for (int64_t i = 0; good && i < h->n_sources; i++)
        good = is_text(h, l->source[i].name) &&
               (l->source[i].kind == RT_SOURCE_FILES || l->source[i].kind == RT_SOURCE_TAR);
    for (int64_t i = 0; good && i < h->n_stamps; i++)
        good = is_text(h, l->stamp[i].path);
    for (int64_t i = 0; good && i < h->classes; i++)
        good = is_text(h, l->class_name[i]) && l->class_size[i] >= 0;
    for (int64_t i = 0; good && i < h->n_train + h->n_val; i++)
        good = is_item(l, &l->item[i]);
    return good;
}

// The first of what was read then that is not as it was; NULL: there is none.
static const char *find_changed(const Layout *l) {
    for (int64_t i = 0; i < l->head->n_stamps; i++) {
        const RtStamp *s = &l->stamp[i];
        struct stat st;
        if (stat(l->text + s->path, &st) != 0)
            return l->text + s->path;
        RtStamp now = stamp_of(&st);
        if (now.seconds != s->seconds || now.ns != s->ns || now.bytes != s->bytes ||
            now.inode != s->inode)
            return l->text + s->path;
    }
    return NULL;
}

// *why: it is one, but does not hold. False: it was reported that it is none.
static bool check(RtBuild *b, const char *key, char *base, size_t bytes, Layout *l,
                  const char **why, const char **changed) {
    const Header *h = (const Header *)base;
    *why = *changed = NULL;
    if (bytes < sizeof magic || memcmp(h->magic, magic, sizeof magic) != 0)
        return rt_build_error(b, "%s: is no index of a data set, and stays as it is", b->o->index);
    if (bytes < sizeof *h || h->bytes != (int64_t)bytes || h->check != sum_of(h, bytes) ||
        !lay_out(h, base, l) || l->bytes != bytes || h->classes != b->classes || !is_sound(l))
        *why = "is damaged";
    else if (memcmp(h->key, key, sizeof h->key) != 0)
        *why = "is of other data or options";
    else if ((*changed = find_changed(l)) != NULL)
        *why = "is of before a change in ";
    return true;
}

static bool take_sources(RtDataState *s, const Layout *l) {
    s->source = calloc((size_t)l->head->n_sources + 1, sizeof *s->source);
    for (int64_t i = 0; s->source && i < l->head->n_sources; i++) {
        const Source *x = &l->source[i];
        RtSource *to = &s->source[s->n_sources++];
        *to = (RtSource){.kind = (RtSourceKind)x->kind, .classes = x->classes != 0};
        if (!(to->name = strdup(l->text + x->name)))
            return false;
    }
    return s->source != NULL;
}

static bool take(RtBuild *b, const Layout *l) {
    RtDataState *s = b->s;
    const Header *h = l->head;
    const char **names = calloc((size_t)h->classes + 1, sizeof *names);
    for (int64_t i = 0; names && i < h->classes; i++)
        names[i] = l->text + l->class_name[i];
    bool good = names && rt_build_set_names(b, names, h->named != 0) && take_sources(s, l);
    free(names);
    s->item = l->item;
    s->text = l->text;
    s->tag = l->tag;
    s->class_size = l->class_size;
    b->part[RT_PART_TRAIN].n = h->n_train;
    b->part[RT_PART_VAL].n = h->n_val;
    return good || rt_build_no_memory(b);
}

// Is the file's folder `data`, or below that? What lies in a data set changes it.
static bool lies_in(const char *file, const char *data) {
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
    char *at = folder ? realpath(folder, NULL) : NULL, *root = data ? realpath(data, NULL) : NULL;
    size_t n = root ? strlen(root) : 0;
    bool inside = at && root && strncmp(at, root, n) == 0 && (!at[n] || at[n] == '/');
    free(folder);
    free(at);
    free(root);
    return inside;
}

bool rt_dataset_index_read(RtBuild *b, const char *spec, char fingerprint[33], bool *found) {
    char key[40];
    const char *path = b->o->index, *why, *changed;
    struct stat st;
    Layout l;
    *found = false;
    if (lies_in(path, spec) || lies_in(path, b->o->val))
        return rt_build_error(b, "%s: an index lies outside of the data", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
        if (fd >= 0)
            close(fd);
        return true;
    }
    char *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (base == MAP_FAILED)
        return rt_build_no_memory(b);
    make_key(spec, b->o, key);
    bool good = check(b, key, base, (size_t)st.st_size, &l, &why, &changed);
    if (good && why)
        rt_build_note(b, "%s: %s%s; the data are read anew", path, why, changed ? changed : "");
    *found = good && !why;
    if (!*found) {
        munmap(base, (size_t)st.st_size);
        return good;
    }
    b->s->map = base;
    b->s->map_bytes = (size_t)st.st_size;
    memcpy(fingerprint, l.head->fingerprint, 32);
    fingerprint[32] = 0;
    return take(b, &l);
}

// ---- writing

static bool fill(RtDataState *s, Layout *l, RtBuild *b) {
    for (int64_t i = 0; i < s->n_sources; i++) {
        int64_t name = rt_build_text(b, s->source[i].name);
        if (name < 0)
            return false;
        l->source[i] = (Source){s->source[i].kind, s->source[i].classes, name};
    }
    for (int64_t i = 0; i < b->classes; i++)
        if ((l->class_name[i] = rt_build_text(b, s->name[i])) < 0)
            return false;
    return true;
}

static size_t names_bytes(const RtDataState *s, int64_t classes) {
    size_t bytes = 0;
    for (int64_t i = 0; i < s->n_sources; i++)
        bytes += strlen(s->source[i].name) + 1;
    for (int64_t i = 0; i < classes; i++)
        bytes += strlen(s->name[i]) + 1;
    return bytes;
}

// The whole file in memory; NULL: no memory. *bytes of it.
static char *compose(RtBuild *b, const RtDataset *d, const char *spec, size_t *bytes) {
    RtDataState *s = b->s;
    Header h = {.n_train = d->n_train,
                .n_val = d->n_val,
                .n_sources = s->n_sources,
                .n_stamps = s->n_stamps,
                .n_tags = s->n_tags,
                .text_bytes = s->text_bytes + (int64_t)names_bytes(s, d->classes),
                .classes = d->classes,
                .named = d->named};
    Layout l;
    memcpy(h.magic, magic, sizeof magic);
    make_key(spec, b->o, h.key);
    snprintf(h.fingerprint, sizeof h.fingerprint, "%s", d->fingerprint);
    if (!lay_out(&h, NULL, &l))
        return NULL;
    char *base = malloc(l.bytes);
    if (!base || !lay_out(&h, base, &l) || !fill(s, &l, b)) {
        free(base);
        return NULL;
    }
    h.bytes = (int64_t)l.bytes;
    memcpy(base, &h, sizeof h);
    memcpy(l.item, s->item, (size_t)(d->n_train + d->n_val) * sizeof *s->item);
    memcpy(l.class_size, s->class_size, (size_t)d->classes * sizeof *s->class_size);
    if (s->n_stamps)
        memcpy(l.stamp, s->stamp, (size_t)s->n_stamps * sizeof *s->stamp);
    if (s->n_tags)
        memcpy(l.tag, s->tag, (size_t)s->n_tags * sizeof *s->tag);
    memcpy(l.text, s->text, (size_t)s->text_bytes);
    l.head->check = sum_of(l.head, l.bytes);
    *bytes = l.bytes;
    return base;
}

bool rt_dataset_index_write(RtBuild *b, const RtDataset *d, const char *spec) {
    RtErr err;
    RtOutFile out = {0};
    size_t bytes = 0;
    for (int64_t i = 0; i < b->s->n_sources; i++)
        if (b->s->source[i].kind != RT_SOURCE_FILES && b->s->source[i].kind != RT_SOURCE_TAR)
            return rt_build_error(b, "%s: an index is of folders, shards and lists, not of arrays",
                                  b->o->index);
    char *data = compose(b, d, spec, &bytes);
    bool good = data || rt_fail(&err, "%s: no memory", b->o->index);
    good = good && rt_out_open(&out, b->o->outs, b->o->index, RT_OUT_WHOLE, &err) &&
           rt_out_begin(&out, &err);
    if (good && fwrite(data, 1, bytes, out.f) != bytes)
        good = rt_fail(&err, "%s: cannot be written", b->o->index);
    good = good && rt_out_commit(&out, &err);
    free(data);
    if (!good)
        rt_out_abort(&out);
    return good || rt_build_error(b, "%s", err.text);
}

void rt_dataset_index_close(RtDataState *s) {
    munmap(s->map, s->map_bytes);
    s->item = NULL;
    s->text = NULL;
    s->tag = NULL;
    s->class_size = NULL;
}
