// The C interface of one model, hone_NAME_create() and its like, made from the text of hone.h: the
// one place where it stands. The functions are those behind HONE_TYPES_ONLY, each written `TYPE
// hone_WHAT(TYPE NAME, ...);`. For a model their prefix is its symbol, and the descriptor, where
// they take one, is its own.
#include "tools/tool.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "hone_", desc[] = "const HoneModelDesc *desc, ";

static bool is_name(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

// The declarations with their comments: [*end - returned] characters of hone.h.
static const char *find_functions(const char *text, const char **end) {
    const char *mark = strstr(text, "#ifndef HONE_TYPES_ONLY"),
               *begin = mark ? strchr(mark, '\n') : 0;
    *end = begin ? strstr(begin, "\n#endif") : NULL;
    if (!*end)
        ir_bug("api", NULL, "hone.h has no functions");
    return begin + 1;
}

// "hone_" at s, as the beginning of a function's name
static bool names_function(const char *begin, const char *s) {
    size_t n = strlen(prefix);
    if (strncmp(s, prefix, n) != 0 || (s > begin && is_name(s[-1])))
        return false;
    while (is_name(s[n]))
        n++;
    return s[n] == '(';
}

void tool_api_declare(FILE *f, const char *text, const char *symbol) {
    const char *end, *begin = find_functions(text, &end);
    for (const char *s = begin; s < end; s++) {
        if (strncmp(s, desc, strlen(desc)) == 0) {
            s += strlen(desc) - 1;
        } else if (names_function(begin, s)) {
            fprintf(f, "%s_", symbol);
            s += strlen(prefix) - 1;
        } else {
            fputc(*s, f);
        }
    }
    fputc('\n', f);
}

// What a declaration's parameters are called: "desc, opt, err"; that of the descriptor is the
// model's.
static void print_args(FILE *f, const char *params, const char *end, const char *symbol) {
    const char *comma = "";
    for (const char *s = params; s < end; s++) {
        const char *last = s + 1;
        while (last < end && *last != ',')
            last++;
        const char *name = last;
        while (name > s && is_name(name[-1]))
            name--;
        if (strncmp(s, desc, strlen(desc)) == 0)
            fprintf(f, "&%s_desc", symbol);
        else if (last - name != 4 || strncmp(name, "void", 4) != 0)
            fprintf(f, "%s%.*s", comma, (int)(last - name), name);
        comma = ", ";
        s = last;
    }
}

// One declaration [s, end), without its semicolon
static void define(FILE *f, const char *s, const char *end, const char *symbol) {
    const char *open = memchr(s, '(', (size_t)(end - s)), *name = open;
    while (name > s && is_name(name[-1]))
        name--;
    const char *what = name + strlen(prefix), *params = open + 1;
    bool returns = strncmp(s, "void ", 5) != 0;
    bool own = strncmp(params, desc, strlen(desc)) == 0;
    fprintf(f, "__attribute__((visibility(\"default\"))) %.*s%s_%.*s(%.*s\n{ %s%.*s(",
            (int)(name - s), s, symbol, (int)(open - what), what,
            (int)(end - params - (own ? (int)strlen(desc) : 0)), params + (own ? strlen(desc) : 0),
            returns ? "return " : "", (int)(open - name), name);
    print_args(f, params, end - 1, symbol);
    fprintf(f, "); }\n");
}

void tool_api_define(FILE *f, const char *text, const char *symbol) {
    const char *end, *s = find_functions(text, &end);
    fprintf(f, "%s\nextern __attribute__((visibility(\"hidden\"))) const HoneModelDesc %s_desc;\n",
            text, symbol);
    while (s < end) {
        const char *line = strchr(s, '\n');
        if (isspace((unsigned char)*s)) {
            s++;
        } else if (strncmp(s, "//", 2) == 0) {
            s = line;
        } else {
            const char *stop = strchr(s, ';');
            define(f, s, stop, symbol);
            s = stop + 1;
        }
    }
}
