// The file that keeps measured schedules: text, a line per entry, in the order of their keys:
//
//   KEY <tab> ALGO <tab> ROWS,COLUMNS,VECTORS,BAND <tab> MICROSECONDS
//
// Nothing in it is trusted: a line that does not parse is dropped with a warning, and a schedule
// that its kernel cannot run is measured again. Writers hold a lock on FILE.lock, read what is
// there, and rename a new file over the old one, so readers see one or the other.
#include "tools/autotune.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINE = 4096, MAX_ENTRIES = 1 << 20 };

static const char *default_path(Tool *t) {
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (xdg && *xdg == '/')
        return ir_sprintf(t->arena, "%s/hone/schedules", xdg);
    if (home && *home)
        return ir_sprintf(t->arena, "%s/.cache/hone/schedules", home);
    return NULL;
}

static bool is_word(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n > 0 && n < 32 && s[n] == 0;
}

// Splits and checks one line, in place.
static bool parse_line(char *line, AutotuneEntry *e) {
    char *field[4], *rest = line;
    for (int i = 0; i < 4; i++)
        if (!(field[i] = strsep(&rest, "\t")))
            return false;
    if (rest || !*field[0] || !is_word(field[1]))
        return false;
    char *at = field[2], *end;
    for (int i = 0; i < 4; i++) {
        errno = 0;
        e->tile[i] = strtoll(at, &end, 10);
        if (end == at || *end != (i < 3 ? ',' : 0) || errno || e->tile[i] < 0 ||
            e->tile[i] > 1 << 20)
            return false;
        at = end + 1;
    }
    e->us = strtod(field[3], &end);
    e->key = field[0];
    e->algo = field[1];
    return end != field[3] && *end == 0 && e->us >= 0;
}

static void read_file(Tool *t, AutotuneCache *c, bool warn) {
    FILE *f = fopen(c->path, "re");
    if (!f) {
        if (errno != ENOENT && warn)
            ir_warn(&t->diag, IR_NOWHERE, "cannot read %s: %s", c->path, strerror(errno));
        return;
    }
    char line[MAX_LINE];
    for (int k = 1; c->n < MAX_ENTRIES && fgets(line, sizeof line, f); k++) {
        size_t n = strcspn(line, "\n");
        bool whole = line[n] == '\n';
        line[n] = 0;
        AutotuneEntry e;
        if (whole && parse_line(line, &e)) {
            if (!autotune_cache_find(c, e.key)) // what this run measured is newer
                autotune_cache_add(t, c, &e);
        } else if (warn) {
            ir_warn(&t->diag, IR_NOWHERE, "%s:%d: damaged entry ignored", c->path, k);
        }
        while (!whole && fgets(line, sizeof line, f))
            whole = strchr(line, '\n') != NULL;
    }
    fclose(f);
}

void autotune_cache_read(Tool *t, AutotuneCache *c, const char *path) {
    *c = (AutotuneCache){.path = path ? path : default_path(t)};
    if (c->path)
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
    copy.algo = ir_strdup(t->arena, e->algo);
    if (i == c->n || strcmp(c->v[i].key, e->key) != 0) {
        IR_PUSH(t->arena, c->v, c->n, c->cap, copy);
        memmove(&c->v[i + 1], &c->v[i], (size_t)(c->n - 1 - i) * sizeof *c->v);
    }
    c->v[i] = copy;
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

static void print_entries(FILE *f, void *cache) {
    const AutotuneCache *c = cache;
    for (int i = 0; i < c->n; i++) {
        const AutotuneEntry *e = &c->v[i];
        fprintf(f, "%s\t%s\t%lld,%lld,%lld,%lld\t%.2f\n", e->key, e->algo, (long long)e->tile[0],
                (long long)e->tile[1], (long long)e->tile[2], (long long)e->tile[3], e->us);
    }
}

void autotune_cache_write(Tool *t, AutotuneCache *c) {
    if (!c->path)
        return;
    make_folders(c->path);
    int lock = open(ir_sprintf(t->arena, "%s.lock", c->path), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        ir_warn(&t->diag, IR_NOWHERE, "measured schedules are not kept: %s.lock: %s", c->path,
                strerror(errno));
    } else {
        read_file(t, c, false);
        tool_write_text(t, c->path, print_entries, c);
    }
    if (lock >= 0)
        close(lock);
}
