// See inputs.h. What is named by words is found at once, so that a mistake is told before any work;
// a list is read as it comes.
#define _GNU_SOURCE
#include "runtime/image/inputs.h"

#include <errno.h>
#include <fts.h>
#include <glob.h>
#include <poll.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/image/image.h"

enum { LINE = 4096 }; // bytes of a name at most

struct RtInputs {
    char **path; // [n]; NULL: the list's place
    int64_t n, capacity, next;
    bool listed, ended;     // a list is among the words; it was read to its end
    struct RtInputs *below; // files of what the list named last, or NULL
    char text[LINE];        // read of it and not yet taken
    size_t from, bytes;     // of text
    long line;              // its number
};

// ---------------------------------------------------------------- folders

static int by_name(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

// Could it not be looked at? Nobody knows then whether images are lost with it.
static bool is_unread(const FTSENT *e) {
    return e->fts_info == FTS_ERR || e->fts_info == FTS_DNR || e->fts_info == FTS_NS ||
           e->fts_info == FTS_SLNONE;
}

typedef struct Ways { // by how many paths a walk came to a folder, in a tree of tsearch()
    dev_t dev;
    ino_t ino;
    int n;
} Ways;

static int compare_ways(const void *a, const void *b) {
    const Ways *x = a, *y = b;
    return x->dev != y->dev ? (x->dev > y->dev) - (x->dev < y->dev)
                            : (x->ino > y->ino) - (x->ino < y->ino);
}

// A few folders whose links lead to one another twice each hold more paths than anybody has time
// for.
static bool count_way(void **seen, const FTSENT *e, RtErr *err) {
    enum { MOST = 64 };
    Ways *w = malloc(sizeof *w);
    if (!w)
        return rt_fail(err, "no memory");
    *w = (Ways){.dev = e->fts_statp->st_dev, .ino = e->fts_statp->st_ino};
    Ways **in_tree = tsearch(w, seen, compare_ways);
    Ways *found = in_tree ? *in_tree : NULL;
    if (found != w)
        free(w);
    if (!found)
        return rt_fail(err, "no memory");
    return found->n++ < MOST ||
           rt_fail(err, "%s: links lead to this folder by more than %d ways", e->fts_path, MOST);
}

bool rt_inputs_walk(const char *folder, RtInputVisit visit, void *ctx, RtErr *err) {
    FTS *walk = fts_open((char *[]){(char *)folder, NULL}, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    bool good = walk || rt_fail(err, "%s: %s", folder, strerror(errno)), found = false;
    void *seen = NULL;
    for (FTSENT *e; good && (e = fts_read(walk));) {
        if (e->fts_level > 0 && e->fts_name[0] == '.')
            fts_set(walk, e, FTS_SKIP);
        else if (e->fts_info == FTS_D)
            good = count_way(&seen, e, err);
        else if (is_unread(e) && (e->fts_level == 0 || e->fts_info == FTS_ERR))
            good = rt_fail(err, "%s: %s", e->fts_path, strerror(e->fts_errno));
        else if (is_unread(e) || (e->fts_info == FTS_F && rt_image_is_name(e->fts_name)))
            good = found = visit(ctx, e->fts_path, err);
    }
    if (walk)
        fts_close(walk);
    tdestroy(seen, free);
    if (good && !found)
        good = rt_fail(err, "%s: there are no .jpg, .jpeg, .png or .webp files", folder);
    return good;
}

// ---------------------------------------------------------------- words

static bool add(void *ctx, const char *path, RtErr *err) {
    RtInputs *in = ctx;
    if (in->n == in->capacity) {
        int64_t room = in->capacity ? 2 * in->capacity : 64;
        char **grown = realloc(in->path, (size_t)room * sizeof *grown);
        if (!grown)
            return rt_fail(err, "no memory");
        in->path = grown;
        in->capacity = room;
    }
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy)
        return rt_fail(err, "no memory");
    in->path[in->n++] = copy;
    return true;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool add_path(RtInputs *in, const char *path, RtErr *err) {
    return is_folder(path) ? rt_inputs_walk(path, add, in, err) : add(in, path, err);
}

// One that nothing matches is a name, as in a shell: who reads it says that there is no such file.
static bool add_pattern(RtInputs *in, const char *pattern, RtErr *err) {
    glob_t g = {0};
    int code = glob(pattern, 0, NULL, &g);
    bool good = code == 0              ? true
                : code == GLOB_NOMATCH ? add(in, pattern, err)
                : code == GLOB_NOSPACE
                    ? rt_fail(err, "no memory")
                    : rt_fail(err, "%s: a folder on the way cannot be read", pattern);
    for (size_t i = 0; good && i < g.gl_pathc; i++)
        good = add_path(in, g.gl_pathv[i], err);
    globfree(&g);
    return good;
}

static bool add_word(RtInputs *in, const char *word, RtErr *err) {
    if (strcmp(word, "-") == 0) {
        if (in->listed)
            return rt_fail(err, "-: standard input is given twice");
        in->listed = true;
        return add(in, NULL, err);
    }
    bool pattern = word[strcspn(word, "*?[")] && access(word, F_OK) != 0;
    return (pattern ? add_pattern : add_path)(in, word, err);
}

RtInputs *rt_inputs_open(const char *const *words, int n, RtErr *err) {
    RtInputs *in = calloc(1, sizeof *in);
    bool good = in || rt_fail(err, "no memory");
    for (int i = 0; good && i < n; i++)
        good = add_word(in, words[i], err);
    if (good)
        return in;
    rt_inputs_close(in);
    return NULL;
}

void rt_inputs_close(RtInputs *in) {
    for (int64_t i = in ? in->next : 0; in && i < in->n; i++)
        free(in->path[i]);
    if (in) {
        rt_inputs_close(in->below);
        free(in->path);
    }
    free(in);
}

int64_t rt_inputs_known(const RtInputs *in) {
    return in->n - in->next - (in->listed && !in->ended);
}

bool rt_inputs_listed(const RtInputs *in) {
    return in->listed;
}

bool rt_inputs_visit(const RtInputs *in, RtInputVisit visit, void *ctx, RtErr *err) {
    for (int64_t i = in->next; i < in->n; i++)
        if (in->path[i] && !visit(ctx, in->path[i], err))
            return false;
    return true;
}

// ---------------------------------------------------------------- the list

// More of it at the end of the text: its bytes, 0: that was all, -1: err is set.
static ssize_t read_more(RtInputs *in, RtErr *err) {
    memmove(in->text, in->text + in->from, in->bytes);
    in->from = 0;
    ssize_t n;
    do
        n = read(STDIN_FILENO, in->text + in->bytes, sizeof in->text - in->bytes);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        rt_fail(err, "standard input: %s", strerror(errno));
    in->bytes += n > 0 ? (size_t)n : 0;
    return n;
}

// A whole line of the text in place, "" where it is empty; NULL: there is none yet.
static char *cut_line(RtInputs *in, bool last) {
    char *line = in->text + in->from, *end = memchr(line, '\n', in->bytes);
    if (!end && (!last || in->bytes == 0 || in->bytes == sizeof in->text))
        return NULL;
    size_t length = end ? (size_t)(end - line) : in->bytes, taken = length + (end != NULL);
    line[length] = 0; // of the last one, without an end, there is room behind
    if (length > 0 && line[length - 1] == '\r')
        line[length - 1] = 0;
    in->from += taken;
    in->bytes -= taken;
    in->line++;
    return line;
}

static bool is_readable_now(void) {
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

// Who sends a picture instead of its name is told so, and who ends names as find -print0 does.
static bool reads_as_list(const RtInputs *in, RtErr *err) {
    if (in->line == 0 && rt_image_is_file((const uint8_t *)in->text, in->bytes))
        return rt_fail(err, "standard input is no list of names, which - reads, but an image");
    return !memchr(in->text, 0, in->bytes) ||
           rt_fail(err,
                   "standard input: bytes 0 behind line %ld; names stand one a line, in UTF-8 "
                   "(find -print, not -print0)",
                   in->line);
}

// The next name of the list: 1; 0: it has ended, or none is there yet and `wait` is false.
static int next_name(RtInputs *in, bool wait, char **line, RtErr *err) {
    for (;;) {
        while ((*line = cut_line(in, in->ended)))
            if (**line)
                return 1;
        if (in->ended || (!wait && !is_readable_now()))
            return 0;
        if (in->bytes == sizeof in->text) {
            rt_fail(err, "standard input: line %ld has more than %d bytes", in->line + 1, LINE - 1);
            return -1;
        }
        ssize_t n = read_more(in, err);
        if (n < 0 || !reads_as_list(in, err))
            return -1;
        in->ended = n == 0;
    }
}

// The list's next file: 1; 0: it has ended, or none is there yet; -1. What is wrong with a folder
// of it is told when somebody reads that as a file.
static int take_listed(RtInputs *in, bool wait, char **path, RtErr *err) {
    RtInputs *b = in->below;
    if (!b && !(b = in->below = calloc(1, sizeof *b)))
        return rt_fail(err, "no memory") - 1;
    if (b->next == b->n) {
        char *line;
        int code = next_name(in, wait, &line, err);
        if (code <= 0)
            return code;
        b->next = b->n = 0;
        RtErr why;
        bool walked = is_folder(line) && rt_inputs_walk(line, add, b, &why);
        if (!walked && b->n == 0 && !add(b, line, err))
            return -1;
    }
    *path = b->path[b->next++];
    return 1;
}

int rt_inputs_take(RtInputs *in, char **path, int most, RtErr *err) {
    int n = 0;
    while (n < most && in->next < in->n) {
        if (in->path[in->next]) {
            path[n++] = in->path[in->next++];
            continue;
        }
        int code = take_listed(in, n == 0, &path[n], err);
        if (code == 0 && !in->ended)
            break;
        n += code > 0;
        in->next += code == 0; // the list's place goes with its end
        if (code >= 0)
            continue;
        while (n > 0)
            free(path[--n]);
        return -1;
    }
    return n;
}
