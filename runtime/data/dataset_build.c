// A set while it is read: what readers of every kind call to report problems, to settle the class
// names and to append items. Knows no reader.
#include "runtime/data/dataset_build.h"

#include "runtime/file/names.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/text.h"

// ---- what the user reads

static void say_line(RtBuild *b, bool is_error, const char *fmt, va_list args) {
    char text[1024], line[1024];
    vsnprintf(text, sizeof text, fmt, args);
    rt_clean(text, line, sizeof line);
    if (b->o->say)
        b->o->say(b->o->context, is_error, line);
}

bool rt_build_error(RtBuild *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (b->errors++ < RT_BUILD_MAX_LINES)
        say_line(b, true, fmt, args);
    va_end(args);
    return false;
}

void rt_build_note(RtBuild *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    say_line(b, false, fmt, args);
    va_end(args);
}

bool rt_build_no_memory(RtBuild *b) {
    return rt_build_error(b, "no memory for the list of images");
}

bool rt_build_refuse_val(RtBuild *b, const char *spec, const char *first, const char *last) {
    return rt_build_error(b,
                          "%s: has images for validation, a k-fold makes its own: name what it has "
                          "for training, as %s%s",
                          spec, first, last);
}

void *rt_build_grow(void *p, int64_t n, size_t element) {
    if (p && (n & (n - 1)) != 0) // full at 0, 1, 2, 4, 8 ...
        return p;
    return realloc(p, (n > 0 ? (size_t)n * 2 : 1) * element);
}

void rt_build_join(char *const *names, int64_t n, char *text, size_t size) {
    size_t used = 0;
    int64_t i = 0;
    text[0] = 0;
    for (; i < n && used < size / 2 && i < 10; i++) {
        int k = snprintf(text + used, size - used, "%s%.60s", i ? ", " : "", names[i]);
        used += k > 0 ? (size_t)k : 0;
    }
    if (i < n && used < size)
        snprintf(text + used, size - used, " and %lld more", (long long)(n - i));
}

// ---- classes

typedef struct Named {
    const char *name;
    int32_t index;
} Named;

static int compare_named(const void *a, const void *b) {
    const Named *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

bool rt_build_set_names(RtBuild *b, const char *const *names, bool named) {
    size_t n = (size_t)b->classes;
    b->s->name = calloc(n, sizeof *b->s->name);
    b->by_name = calloc(n, sizeof *b->by_name);
    Named *sorted = calloc(n, sizeof *sorted);
    bool good = b->s->name && b->by_name && sorted;
    for (size_t i = 0; good && i < n; i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        b->s->name[i] = strdup(names ? names[i] : number);
        good = b->s->name[i] != NULL;
        sorted[i] = (Named){b->s->name[i], (int32_t)i};
    }
    if (good)
        qsort(sorted, n, sizeof *sorted, compare_named);
    for (size_t i = 0; good && i < n; i++)
        b->by_name[i] = sorted[i].index;
    free(sorted);
    b->settled = good;
    b->named = named;
    return good || rt_build_no_memory(b);
}

bool rt_build_numbered(RtBuild *b) {
    return b->settled || rt_build_set_names(b, NULL, false);
}

bool rt_build_classes(RtBuild *b, const char *where, const char *what, char *const *names,
                      int64_t n) {
    if (b->settled)
        return true;
    for (int64_t i = 0; i < n; i++) {
        const char *why = rt_name_fault(names[i]);
        if (why)
            return rt_build_error(b, "%s: the class name '%s' %s", where, names[i], why);
    }
    if (n == b->classes)
        return rt_build_set_names(b, (const char *const *)names, true);
    char text[400];
    rt_build_join(names, n, text, sizeof text);
    return rt_build_error(b, "%s: %lld %s%s%s%s, but this program was made for %lld classes", where,
                          (long long)n, what, n ? " (" : "", text, n ? ")" : "",
                          (long long)b->classes);
}

int32_t rt_build_find_class(const RtBuild *b, const char *name) {
    int64_t low = 0, high = b->classes;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(b->s->name[b->by_name[middle]], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < b->classes && strcmp(b->s->name[b->by_name[low]], name) == 0;
    return found ? b->by_name[low] : -1;
}

// ---- items

RtSource *rt_build_source(RtBuild *b, RtSourceKind kind, const char *name) {
    RtDataState *s = b->s;
    RtSource *grown = rt_build_grow(s->source, s->n_sources, sizeof *grown);
    char *copy = strdup(name);
    if (grown)
        s->source = grown;
    if (!grown || !copy) {
        free(copy);
        rt_build_no_memory(b);
        return NULL;
    }
    grown[s->n_sources] = (RtSource){.kind = kind, .name = copy};
    return &grown[s->n_sources++];
}

char *rt_build_trim(char *text) {
    char *end = text + strlen(text);
    while (*text == ' ' || *text == '\t')
        text++;
    while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = 0;
    return text;
}

int64_t rt_build_append(char **all, int64_t *used, int64_t *room, const char *text) {
    int64_t bytes = (int64_t)strlen(text) + 1, at = *used;
    if (at + bytes > *room) {
        char *grown = realloc(*all, (size_t)(at + bytes) * 2);
        if (!grown)
            return -1;
        *all = grown;
        *room = (at + bytes) * 2;
    }
    memcpy(*all + at, text, (size_t)bytes);
    *used += bytes;
    return at;
}

int64_t rt_build_text(RtBuild *b, const char *text) {
    RtDataState *s = b->s;
    int64_t at = rt_build_append(&s->text, &s->text_bytes, &s->text_room, text);
    if (at < 0)
        rt_build_no_memory(b);
    return at;
}

static bool add_tag_word(RtBuild *b, int32_t word) {
    RtDataState *s = b->s;
    int32_t *grown = rt_build_grow(s->tag, s->n_tags, sizeof *grown);
    if (!grown)
        return rt_build_no_memory(b);
    s->tag = grown;
    grown[s->n_tags++] = word;
    return true;
}

bool rt_build_begin_tags(RtBuild *b, RtItem *item) {
    RtDataState *s = b->s;
    if (s->n_tags == 0 && !add_tag_word(b, 0))
        return false;
    item->tag = s->open_tags = s->n_tags;
    return add_tag_word(b, 0);
}

bool rt_build_tag(RtBuild *b, int32_t label) {
    bool good = add_tag_word(b, label);
    b->s->tag[b->s->open_tags] += good;
    return good;
}

bool rt_build_item(RtBuild *b, int part, RtItem item, const char *path) {
    RtItems *p = &b->part[part];
    RtItem *grown = rt_build_grow(p->item, p->n, sizeof *grown);
    if (!grown)
        return rt_build_no_memory(b);
    p->item = grown;
    item.source = (int32_t)b->s->n_sources - 1;
    if (path && (item.at = rt_build_text(b, path)) < 0)
        return false;
    grown[p->n++] = item;
    return true;
}
