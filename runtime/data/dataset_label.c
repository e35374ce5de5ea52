// Labels as text, in lists and shards: a class's name or its number; several for one image, with a
// ';' between them, where a program takes them.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, int64_t classes, int32_t *number) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *number = (int32_t)v;
    return *text >= '0' && *text <= '9' && !*end && !errno && v < classes;
}

bool rt_build_each_label(RtBuild *b, const char *text, bool (*visit)(void *ctx, const char *label),
                         void *ctx) {
    if (b->o->target != RT_TARGET_MULTI)
        return visit(ctx, text);
    char *copy = strdup(text), *rest = copy, *one;
    bool good = copy || rt_build_no_memory(b);
    while (good && (one = strsep(&rest, ";"))) {
        one = rt_build_trim(one);
        good = !*one || visit(ctx, one);
    }
    free(copy);
    return good;
}

int32_t rt_build_find_label(const RtBuild *b, const char *text) {
    int32_t c = rt_build_find_class(b, text);
    return c < 0 && !parse_number(text, b->classes, &c) ? -1 : c;
}

static bool add_tag(void *ctx, const char *text) {
    RtBuild *b = ctx;
    return rt_build_tag(b, rt_build_find_label(b, text));
}

bool rt_build_set_label(RtBuild *b, RtItem *item, const char *text) {
    if (b->o->target != RT_TARGET_MULTI) {
        item->label = rt_build_find_label(b, text);
        return true;
    }
    if (!rt_build_begin_tags(b, item) || !rt_build_each_label(b, text, add_tag, b))
        return false;
    const int32_t *tags = b->s->tag + item->tag;
    item->label = tags[0] ? tags[1] : -1;
    return true;
}

// ---- all labels of a set

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void drop_doubles(RtLabels *all) {
    int64_t kept = 0;
    if (all->n)
        qsort(all->name, (size_t)all->n, sizeof *all->name, compare_names);
    for (int64_t i = 0; i < all->n; i++)
        if (kept && strcmp(all->name[kept - 1], all->name[i]) == 0)
            free(all->name[i]);
        else
            all->name[kept++] = all->name[i];
    all->n = kept;
}

// Doubles go whenever the table is full, so that it is as large as its distinct labels ask for.
static bool make_room(RtLabels *all) {
    enum { FIRST_ROOM = 1024 };
    if (all->n < all->room)
        return true;
    drop_doubles(all);
    if (all->n < all->room / 2)
        return true;
    int64_t room = all->room ? 2 * all->room : FIRST_ROOM;
    char **grown = realloc(all->name, (size_t)room * sizeof *grown);
    if (!grown)
        return false;
    all->name = grown;
    all->room = room;
    return true;
}

static bool add_label(void *ctx, const char *text) {
    RtLabels *all = ctx;
    char *copy = *text && make_room(all) ? strdup(text) : NULL;
    if (copy)
        all->name[all->n++] = copy;
    return copy || !*text;
}

bool rt_build_add_labels(RtBuild *b, RtLabels *all, const char *text) {
    return rt_build_each_label(b, text, add_label, all) || rt_build_no_memory(b);
}

bool rt_build_settle_labels(RtBuild *b, RtLabels *all, const char *where) {
    bool numbers = true;
    int32_t number;
    drop_doubles(all);
    for (int64_t i = 0; i < all->n; i++)
        numbers &= parse_number(all->name[i], b->classes, &number);
    return numbers ? rt_build_numbered(b) : rt_build_classes(b, where, "labels", all->name, all->n);
}

void rt_build_free_labels(RtLabels *all) {
    for (int64_t i = 0; i < all->n; i++)
        free(all->name[i]);
    free(all->name);
}
