// The file that keeps measured schedules: text, a line that says which form this is, then a line
// per entry, in the order of their keys:
//
//   KEY <tab> ALGO <tab> rows=1,cols=14,vecs=2 <tab> MICROSECONDS
//
// Nothing in it is trusted: a file of another form is ignored and replaced, a line that does not
// parse is dropped with a warning, and a schedule that its kernel cannot run is measured again.
// Writers hold a lock on FILE.lock, read what is there, and rename a new file over the old one, so
// readers see one or the other.
#include "tools/autotune.h"

#include "ir/conv.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINE = 4096, MAX_ENTRIES = 1 << 20, MOST = 1 << 20 }; // MOST: of a tile
static const char form[] = "hone autotune cache 2\n"; // counts up with every change of form

static const char *default_path(Tool *t) {
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (xdg && *xdg == '/')
        return ir_sprintf(t->arena, "%s/hone/autotune", xdg);
    if (home && *home)
        return ir_sprintf(t->arena, "%s/.cache/hone/autotune", home);
    return NULL;
}

// "rows=1,cols=14", in place
static bool parse_tile(char *text, IrConvTile *tile) {
    *tile = (IrConvTile){0};
    for (char *part = strsep(&text, ","); part; part = strsep(&text, ",")) {
        char *name = strsep(&part, "="), *end;
        int32_t *field = ir_conv_tile_field(tile, name);
        long x = part ? strtol(part, &end, 10) : 0;
        if (!field || !part || end == part || *end || x < 1 || x > MOST)
            return false;
        *field = (int32_t)x;
    }
    return true;
}

// Splits and checks one line, in place.
static bool parse_line(char *line, AutotuneEntry *e) {
    char *field[4], *rest = line;
    for (int i = 0; i < 4; i++)
        if (!(field[i] = strsep(&rest, "\t")))
            return false;
    if (rest || !*field[0] || !ir_conv_algo_parse(field[1], &e->algo) ||
        !parse_tile(field[2], &e->tile))
        return false;
    char *end;
    e->us = strtod(field[3], &end);
    e->key = field[0];
    return end != field[3] && *end == 0 && e->us >= 0;
}

static void read_entries(Tool *t, AutotuneCache *c, FILE *f, bool warn) {
    char line[MAX_LINE];
    for (int k = 2; c->n < MAX_ENTRIES && fgets(line, sizeof line, f); k++) {
        size_t n = strcspn(line, "\n");
        bool whole = line[n] == '\n';
        line[n] = 0;
        AutotuneEntry e;
        if (whole && parse_line(line, &e)) {
            if (!autotune_cache_find(c, e.key)) // what this run measured is newer
                autotune_cache_add(t, c, &e);
        } else if (warn) {
            ir_warn(&t->diag, IR_NOWHERE, "%s:%d: damaged entry ignored", c->file->path, k);
        }
        while (!whole && fgets(line, sizeof line, f))
            whole = strchr(line, '\n') != NULL;
    }
}

static void read_file(Tool *t, AutotuneCache *c, bool warn) {
    const char *path = c->file->path;
    FILE *f =
        rt_out_is_through(c->file) ? NULL : fopen(path, "re"); // else there is nothing to read
    char line[sizeof form];
    if (!f) {
        if (!rt_out_is_through(c->file) && errno != ENOENT && warn)
            ir_warn(&t->diag, IR_NOWHERE, "cannot read %s: %s", path, strerror(errno));
        return;
    }
    if (fgets(line, sizeof line, f)) {
        if (strcmp(line, form) == 0)
            read_entries(t, c, f, warn);
        else if (warn)
            ir_warn(&t->diag, IR_NOWHERE, "%s was made by another version of hone: ignored", path);
    }
    fclose(f);
}

void autotune_cache_read(Tool *t, AutotuneCache *c, RtOutFile *file) {
    *c = (AutotuneCache){.file = file};
    if (file)
        read_file(t, c, true);
}

// The place of `key`, or where it would be inserted.
static int find_place(const AutotuneCache *c, const char *key) {
    int lo = 0, hi = c->n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (strcmp(c->v[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const AutotuneEntry *autotune_cache_find(const AutotuneCache *c, const char *key) {
    int i = find_place(c, key);
    return i < c->n && strcmp(c->v[i].key, key) == 0 ? &c->v[i] : NULL;
}

void autotune_cache_add(Tool *t, AutotuneCache *c, const AutotuneEntry *e) {
    int i = find_place(c, e->key);
    AutotuneEntry copy = *e;
    copy.key = ir_strdup(t->arena, e->key);
    if (i == c->n || strcmp(c->v[i].key, e->key) != 0) {
        IR_PUSH(t->arena, c->v, c->n, c->cap, copy);
        memmove(&c->v[i + 1], &c->v[i], (size_t)(c->n - 1 - i) * sizeof *c->v);
    }
    c->v[i] = copy;
}

static void print_entries(FILE *f, void *cache) {
    const AutotuneCache *c = cache;
    fputs(form, f);
    for (int i = 0; i < c->n; i++) {
        const AutotuneEntry *e = &c->v[i];
        char tile[IR_CONV_TILE_TEXT];
        fprintf(f, "%s\t%s\t%s\t%.2f\n", e->key, ir_conv_algo_info(e->algo)->text,
                ir_conv_tile_print(&e->tile, tile), e->us);
    }
}

static void make_folders(const char *path) {
    char dir[PATH_MAX];
    for (size_t i = 1; path[i] && i < sizeof dir; i++)
        if (path[i] == '/') {
            snprintf(dir, i + 1, "%s", path);
            if (mkdir(dir, 0777) != 0 && errno != EEXIST)
                return; // opening the file says why
        }
}

bool autotune_cache_open(Tool *t, const char *path, RtOutFile **file) {
    const char *own = path ? path : default_path(t);
    RtErr err;
    *file = NULL;
    if (!own)
        return true;
    make_folders(own);
    if (path)
        return tool_out_if(t, path, file);
    *file = ir_alloc(t->arena, sizeof **file);
    if (rt_out_open(*file, &t->outs, own, RT_OUT_WHOLE, &err))
        return true;
    ir_warn(&t->diag, IR_NOWHERE, "measured schedules are not kept: %s", err.text);
    *file = NULL;
    return true;
}

bool autotune_cache_write(Tool *t, AutotuneCache *c) {
    const char *target = c->file->target, *name = NULL;
    int lock = -1;
    if (target) {
        name = ir_sprintf(t->arena, "%s.lock", target);
        lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (lock < 0 || flock(lock, LOCK_EX) != 0)
            ir_warn(&t->diag, IR_NOWHERE, "cannot lock %s: %s", name, strerror(errno));
    }
    read_file(t, c, false);
    bool ok = tool_print_out(t, c->file, print_entries, c) && tool_out_commit(t, &c->file, 1) >= 0;
    if (lock >= 0)
        close(lock);
    return ok;
}
