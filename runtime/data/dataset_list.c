// Lists of images: lines "path,label" as spreadsheets write them (RFC 4180: fields may be quoted,
// "" is a quote). Two passes over the rows: the labels settle the class names, then come the items.
#define _GNU_SOURCE
#include "runtime/data/dataset_build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LIST = 1 << 30, MAX_FIELDS = 16, SIZES_AT_ONCE = 256, NOT_REGULAR = INT32_MIN };

typedef struct Row {
    char *path, *label;
    int64_t line, bytes; // size; below 0: -errno, or NOT_REGULAR
} Row;

typedef struct List {
    RtBuild *b;
    const char *path; // of the list
    char *folder;     // it lies in
    int root;         // its descriptor, while sizes are asked for
    char *p, *end;    // the text not yet read; fields are cut out of it in place
    int64_t line;
    int columns, path_column, label_column;
    Row *row;
    int64_t n;
} List;

static bool reject_line(List *l, int64_t line, const char *reason) {
    return rt_build_error(l->b, "%s:%lld: %s", l->path, (long long)line, reason);
}

// Cuts out one field. *more: a comma follows. NULL: a quote without its end.
static char *read_field(List *l, bool *more) {
    char *text = l->p, *to = text, *p = text;
    bool quoted = *p == '"';
    if (quoted) {
        for (p++; p < l->end && (*p != '"' || p[1] == '"'); p++) {
            p += *p == '"';
            l->line += *p == '\n';
            *to++ = *p;
        }
        if (p == l->end)
            return NULL;
        p++;
    }
    while (p < l->end && *p != ',' && *p != '\n')
        *to++ = *p++;
    *more = p < l->end && *p == ',';
    l->p = p < l->end ? p + 1 : p;
    while (!*more && to > text && to[-1] == '\r')
        to--;
    *to = 0;
    return quoted ? text : rt_build_trim(text);
}

// The fields of a line; the last ones are lost where there are more than MAX_FIELDS. -1: error.
static int read_row(List *l, char **field) {
    bool more = true;
    int n = 0;
    while (more) {
        char *text = read_field(l, &more);
        if (!text)
            return -1;
        if (n < MAX_FIELDS)
            field[n] = text;
        n++;
    }
    return n;
}

static int find_column(char **field, int n, const char *const *names) {
    for (int i = 0; i < n && i < MAX_FIELDS; i++)
        for (const char *const *name = names; *name; name++)
            if (strcasecmp(field[i], *name) == 0)
                return i;
    return -1;
}

// Is the first line a header? Then it says where path and label are.
static bool take_header(List *l, char **field, int n) {
    static const char *const paths[] = {"path",  "file",       "filename", "file_name",
                                        "image", "image_path", "filepath", NULL};
    static const char *const labels[] = {"label",  "labels", "class", "classes",
                                         "target", "mask",   NULL};
    int path = find_column(field, n, paths), label = find_column(field, n, labels);
    if (path < 0 || label < 0)
        return false;
    l->path_column = path;
    l->label_column = label;
    l->columns = n;
    return true;
}

static bool read_rows(List *l) {
    char *field[MAX_FIELDS];
    l->columns = 2;
    l->label_column = 1;
    bool first = true;
    while (l->p < l->end) {
        int64_t line = ++l->line;
        int n = read_row(l, field);
        if (n < 0)
            return reject_line(l, line, "a quoted field does not end");
        if (n == 1 && !*field[0])
            continue;
        bool header = first && take_header(l, field, n);
        first = false;
        if (header)
            continue;
        if (n != l->columns || l->path_column >= MAX_FIELDS || !*field[l->path_column]) {
            rt_build_error(l->b, "%s:%lld: %d field%s, expected path,label", l->path,
                           (long long)line, n, n == 1 ? "" : "s");
            continue;
        }
        Row *grown = rt_build_grow(l->row, l->n, sizeof *grown);
        if (!grown)
            return rt_build_no_memory(l->b);
        l->row = grown;
        grown[l->n++] = (Row){field[l->path_column], field[l->label_column], line, 0};
    }
    return true;
}

static bool settle_classes(List *l) {
    RtLabels all = {0};
    bool good = true;
    if (l->b->o->target == RT_TARGET_MAP)
        return rt_build_numbered(l->b);
    for (int64_t i = 0; !l->b->settled && good && i < l->n; i++)
        good = rt_build_add_labels(l->b, &all, l->row[i].label);
    good = good && (l->b->settled || rt_build_settle_labels(l->b, &all, l->path));
    rt_build_free_labels(&all);
    return good;
}

// ---- items

// Whoever meant several labels for one image.
static const char *hint_of_several(RtTarget target, const char *text) {
    if (target == RT_TARGET_MULTI)
        return strpbrk(text, " |/+") ? "; several labels for one image have ';' between them" : "";
    return strchr(text, ';')
               ? "; several labels for one image are for programs made with --multi-label"
               : "";
}

static bool reject_label(List *l, const Row *row, const char *text) {
    char names[400];
    if (!*text)
        return reject_line(l, row->line, "the label is empty");
    rt_build_join(l->b->s->name, l->b->classes, names, sizeof names);
    return rt_build_error(l->b, "%s:%lld: '%s' is not one of the %lld classes: %s%s", l->path,
                          (long long)row->line, text, (long long)l->b->classes, names,
                          hint_of_several(l->b->o->target, text));
}

typedef struct Labelled {
    List *l;
    const Row *row;
} Labelled;

static bool check_label(void *ctx, const char *text) {
    const Labelled *x = ctx;
    return rt_build_find_label(x->l->b, text) >= 0 || reject_label(x->l, x->row, text);
}

// The label is the path of a mask.
static bool add_pair(List *l, const Row *row, int part) {
    struct stat st;
    RtItem item = {.bytes = row->bytes};
    if (fstatat(l->root, row->label, &st, 0) != 0) {
        rt_build_error(l->b, "%s:%lld: %s: %s", l->path, (long long)row->line, row->label,
                       strerror(errno));
        return true;
    }
    item.offset = (int64_t)st.st_size;
    return rt_build_pair(l->b, part, item, row->path, row->label);
}

static bool add_row(List *l, const Row *row, int part) {
    RtItem item = {.bytes = row->bytes};
    bool good = row->bytes >= 0;
    if (row->bytes == NOT_REGULAR)
        rt_build_error(l->b, "%s:%lld: %s: not a regular file", l->path, (long long)row->line,
                       row->path);
    else if (!good)
        rt_build_error(l->b, "%s:%lld: %s: %s", l->path, (long long)row->line, row->path,
                       strerror((int)-row->bytes));
    if (l->b->o->target == RT_TARGET_MAP)
        return !good || add_pair(l, row, part);
    if (!rt_build_each_label(l->b, row->label, check_label, &(Labelled){l, row}) || !good)
        return true; // reported; the other rows may have problems, too
    return rt_build_set_label(l->b, &item, row->label) &&
           rt_build_item(l->b, part, item, row->path);
}

static void take_sizes(void *ctx, int64_t from, int64_t to) {
    const List *l = ctx;
    struct stat st;
    for (Row *row = l->row + from; row < l->row + to; row++)
        if (fstatat(l->root, row->path, &st, 0) != 0)
            row->bytes = -(int64_t)errno;
        else
            row->bytes = S_ISREG(st.st_mode) ? (int64_t)st.st_size : NOT_REGULAR;
}

static bool find_sizes(List *l) {
    l->root = open(l->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->root < 0)
        return rt_build_error(l->b, "%s: %s", l->folder, strerror(errno));
    rt_build_each(l->b, "files", l->n, SIZES_AT_ONCE, take_sizes, l);
    return true;
}

static bool add_rows(List *l, int part) {
    bool good = find_sizes(l);
    for (int64_t i = 0; good && i < l->n; i++)
        good = add_row(l, &l->row[i], part);
    if (l->root >= 0)
        close(l->root);
    return good;
}

static bool read_list(List *l, int part) {
    int64_t errors = l->b->errors;
    if (!read_rows(l))
        return false;
    if (l->n == 0 && l->b->errors == errors)
        return rt_build_error(l->b, "%s: there are no lines path,label", l->path);
    return l->b->errors == errors && settle_classes(l) &&
           rt_build_source(l->b, RT_SOURCE_FILES, l->folder) && add_rows(l, part) &&
           l->b->errors == errors;
}

bool rt_dataset_list_read(RtBuild *b, const char *path, int part) {
    RtErr err;
    size_t size;
    if (!rt_build_stamp(b, path))
        return false;
    char *text = (char *)rt_file_load(path, MAX_LIST, &size, &err);
    if (!text)
        return rt_build_error(b, "%s", err.text);
    const char *slash = strrchr(path, '/');
    bool marked = strncmp(text, "\xef\xbb\xbf", 3) == 0; // a byte order mark
    List l = {.b = b, .path = path, .p = text + (marked ? 3 : 0), .end = text + size};
    l.folder = !slash          ? strdup(".")
               : slash == path ? strdup("/")
                               : strndup(path, (size_t)(slash - path));
    bool good;
    if (!l.folder)
        good = rt_build_no_memory(b);
    else if (memchr(text, 0, size) || (size >= 2 && memcmp(text, "\xff\xd8", 2) == 0))
        good = rt_build_error(b, "%s: neither a folder nor a text file of lines path,label", path);
    else
        good = read_list(&l, part);
    free(l.row);
    free(l.folder);
    free(text);
    return good;
}
