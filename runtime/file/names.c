// Class names and the files that list them; see names.h.
#include "runtime/file/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/core/text.h"

enum { MAX_FILE = 16 << 20 }; // bytes

const char *rt_name_fault(const char *name) {
    for (const char *s = name; *s;) {
        const unsigned char *u = (const unsigned char *)s;
        int n = rt_utf8_length(u);
        if (n == 0)
            return "is not UTF-8";
        if (!rt_utf8_printable(s) && rt_utf8_decode(u, n) < 0xa0) // C0, DEL, C1
            return "has a control character (a line feed, a tab or the like)";
        if (!rt_utf8_printable(s) && !rt_utf8_is_joiner(s))
            return "has a character that nobody sees (a space of no width, a change of the "
                   "direction of writing, a byte order mark or the like)";
        s += n;
    }
    return NULL;
}

// ---------------------------------------------------------------- lines

static int64_t count_lines(const char *text) {
    int64_t n = 1;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

bool rt_names_split(RtNames *names, char *text) {
    *names = (RtNames){.text = text, .name = calloc((size_t)count_lines(text), sizeof(char *))};
    if (!names->name)
        return false;
    char *line = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
    for (int64_t i = 0; line; i++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        size_t length = strlen(line);
        if (end && length && line[length - 1] == '\r')
            line[--length] = 0;
        names->name[i] = line;
        names->n = length ? i + 1 : names->n;
        line = end ? end + 1 : NULL;
    }
    return true;
}

// All of a file, which may be a pipe, and a 0 byte. NULL with err set.
static char *read_text(const char *path, RtErr *err) {
    FILE *f = fopen(path, "re");
    char *text = f ? malloc(MAX_FILE + 2) : NULL;
    errno = f && !text ? ENOMEM : errno;
    size_t n = text ? fread(text, 1, MAX_FILE + 1, f) : 0;
    const char *why = !text || ferror(f)   ? strerror(errno)
                      : n > MAX_FILE       ? "it is larger than 16 MB"
                      : memchr(text, 0, n) ? "it has bytes 0 (UTF-16? save it as UTF-8)"
                                           : NULL;
    if (f)
        fclose(f);
    if (why) {
        rt_fail(err, "%s: %s", path, why);
        free(text);
        return NULL;
    }
    text[n] = 0;
    char *fits = realloc(text, n + 1);
    return fits ? fits : text;
}

bool rt_names_load(RtNames *names, const char *path, RtErr *err) {
    *names = (RtNames){0};
    char *text = read_text(path, err);
    if (!text)
        return false;
    bool ok = rt_names_split(names, text) || rt_fail(err, "%s: no memory", path);
    for (int64_t i = 0; ok && i < names->n; i++) {
        const char *name = names->name[i], *why = rt_name_fault(name);
        if (!*name)
            ok = rt_fail(err,
                         "%s, line %lld: it is empty, though names follow: which class has none?",
                         path, (long long)i + 1);
        else if (why)
            ok = rt_fail(err, "%s, line %lld: the name '%s' %s", path, (long long)i + 1, name, why);
    }
    if (!ok)
        rt_names_free(names);
    return ok;
}

void rt_names_free(RtNames *names) {
    free(names->name);
    free(names->text);
    *names = (RtNames){0};
}

// ---------------------------------------------------------------- the same twice

// Equal names in the order of their lines, which is that of their addresses.
static int by_name(const void *a, const void *b) {
    const char *x = **(const char **const *)a, *y = **(const char **const *)b;
    int order = strcmp(x, y);
    return order ? order : (x > y) - (x < y);
}

int64_t rt_names_twice(const RtNames *names, int64_t *earlier) {
    const char ***sorted = malloc(((size_t)names->n + 1) * sizeof *sorted);
    int64_t first = 0;
    for (int64_t i = 0; sorted && i < names->n; i++)
        sorted[i] = &names->name[i];
    if (sorted)
        qsort(sorted, (size_t)names->n, sizeof *sorted, by_name);
    for (int64_t i = 1; sorted && i < names->n; i++) {
        int64_t line = sorted[i] - names->name + 1;
        if (strcmp(*sorted[i - 1], *sorted[i]) == 0 && (!first || line < first)) {
            first = line;
            *earlier = sorted[i - 1] - names->name + 1;
        }
    }
    free(sorted);
    return first;
}
