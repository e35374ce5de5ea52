// Command lines as tables.
#include "tools/tool.h"

#include "frontend/frontend.h"
#include "runtime/core/cli.h"
#include "runtime/core/text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_option(const ToolOpt *o) {
    if (o->kind == TOOL_HEADING) {
        printf("\n%s\n", o->help);
        return;
    }
    char left[96];
    snprintf(left, sizeof left, "  %s%s%s%s%s", o->brief ? o->brief : "",
             o->brief && o->name ? ", " : "", o->name ? o->name : "", o->arg ? " " : "",
             o->arg ? o->arg : "");
    printf(strlen(left) < 28 ? "%-28s%s\n" : "%s\n                            %s\n", left, o->help);
}

static void print_help(const ToolOpt *opts, const ToolUsage *u) {
    bool titled = opts->kind == TOOL_HEADING; // which has an empty line before it
    printf("usage: %s\n\n%s%s", u->synopsis, u->about, titled ? "" : "\n");
    for (const ToolOpt *o = opts; o->help; o++)
        if (*o->help)
            print_option(o);
    printf("  -h, --help                this text\n");
    if (u->examples)
        printf("\n%s", u->examples);
}

static const ToolOpt *find_option(const ToolOpt *opts, const char *text, size_t n) {
    for (const ToolOpt *o = opts; o->help; o++) {
        if (o->name && strlen(o->name) == n && strncmp(o->name, text, n) == 0)
            return o;
        if (o->brief && strlen(o->brief) == n && strncmp(o->brief, text, n) == 0)
            return o;
    }
    return NULL;
}

static bool wrong(const ToolUsage *u, const char *what, const char *arg) {
    const char *end = strchr(u->synopsis, ' ');
    end = end ? strchr(end + 1, ' ') : NULL;
    int n = end ? (int)(end - u->synopsis) : (int)strlen(u->synopsis);
    fprintf(stderr, "%.*s: %s '%s'; see %.*s --help\n", n, u->synopsis, what, RT_SHOW(arg), n,
            u->synopsis);
    return false;
}

int tool_parse_numbers(const char *text, double min, double max, double *out, int most) {
    for (int n = 0; n < most; text++) {
        char *end;
        double x = rt_cli_decimal(text, &end);
        if (end == text || !(x >= min && x <= max))
            return 0;
        out[n++] = x;
        text = end;
        if (*text != ',')
            return *text ? 0 : n;
    }
    return 0;
}

// "--std takes numbers above 0 and at most 1e+09, not"
static bool out_of_range(const ToolOpt *o, const char *value, const ToolUsage *u) {
    const char *some = o->kind == TOOL_LIST_OF_NUMBERS ? "numbers, one for all or one a channel,"
                       : o->kind == TOOL_NUMBER        ? "a number"
                                                       : "a whole number";
    char what[160], least[48];
    snprintf(least, sizeof least, o->min == TOOL_ABOVE_0 ? "above 0 and at most" : "from %.9g to",
             o->min);
    snprintf(what, sizeof what, "%s takes %s %s %.10g, not", o->name, some, least, o->max);
    return wrong(u, what, value);
}

static bool store_numbers(const ToolOpt *o, const char *value, const ToolUsage *u) {
    ToolNumbers *to = o->to;
    to->n = tool_parse_numbers(value, o->min, o->max, to->v, 4);
    return to->n || out_of_range(o, value, u);
}

static bool store_number(const ToolOpt *o, const char *value, const ToolUsage *u) {
    double x;
    if (tool_parse_numbers(value, o->min, o->max, &x, 1) != 1 ||
        (o->kind != TOOL_NUMBER && x != floor(x)))
        return out_of_range(o, value, u);
    if (o->kind == TOOL_INT)
        *(int *)o->to = (int)x;
    else
        *(ToolNumber *)o->to = (ToolNumber){true, x};
    return true;
}

static bool store_size(const ToolOpt *o, const char *value, const ToolUsage *u) {
    char what[96];
    snprintf(what, sizeof what, "%s takes a size such as 512M or 4G, not", o->name);
    return fe_parse_size(value, o->to) || wrong(u, what, value);
}

static bool store(const ToolOpt *o, const char *value, const ToolUsage *u) {
    ToolList *list = o->to;
    switch (o->kind) {
    case TOOL_FLAG:
        *(bool *)o->to = true;
        return true;
    case TOOL_TEXT:
        *(const char **)o->to = value;
        return true;
    case TOOL_INT:
    case TOOL_NUMBER:
    case TOOL_WHOLE:
        return store_number(o, value, u);
    case TOOL_LIST_OF_NUMBERS:
        return store_numbers(o, value, u);
    case TOOL_SIZE:
        return store_size(o, value, u);
    case TOOL_LIST:
        if (list->n == (int)(sizeof list->v / sizeof *list->v))
            return wrong(u, "too many", o->name);
        list->v[list->n++] = value;
        return true;
    default:
        return true;
    }
}

// "-O2"
static bool is_level(const ToolOpt *opts, const char *arg) {
    if (arg[0] != '-' || arg[1] != 'O' || arg[2] < '0' || arg[2] > '3' || arg[3])
        return false;
    for (const ToolOpt *o = opts; o->help; o++) {
        if (o->kind == TOOL_LEVEL) {
            *(int *)o->to = arg[2] - '0';
            return true;
        }
    }
    return false;
}

// One option at argv[*i], with its value if it takes one. `given`: a bit for each row of opts.
static bool parse_option(char **argv, int *i, const ToolOpt *opts, uint64_t *given,
                         const ToolUsage *u) {
    const char *arg = argv[*i], *eq = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    const ToolOpt *o = find_option(opts, arg, eq ? (size_t)(eq - arg) : strlen(arg));
    if (!o || o->kind == TOOL_HEADING || o->kind == TOOL_LEVEL)
        return wrong(u, "unknown option", arg);
    if (!o->arg)
        return eq ? wrong(u, "this option takes no value:", arg) : store(o, NULL, u);
    const char *value = eq ? eq + 1 : argv[*i + 1]; // argv[argc] is NULL
    if (!value || !*value)
        return wrong(u, "a value is missing after", arg);
    *i += !eq;
    uint64_t bit = UINT64_C(1) << ((o - opts) & 63);
    if (o->kind != TOOL_LIST && *given & bit)
        return wrong(u, "given twice:", o->name ? o->name : arg);
    *given |= bit;
    return store(o, value, u);
}

ToolParse tool_parse(int argc, char **argv, const ToolOpt *opts, const ToolUsage *usage,
                     ToolList *rest) {
    memset(rest, 0, sizeof *rest);
    bool options_end = false;
    uint64_t given = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (options_end || arg[0] != '-' || !arg[1]) {
            if (rest->n == (int)(sizeof rest->v / sizeof *rest->v))
                return wrong(usage, "too many arguments, at", arg), TOOL_WRONG;
            rest->v[rest->n++] = arg;
        } else if (strcmp(arg, "--") == 0) {
            options_end = true;
        } else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
            return print_help(opts, usage), TOOL_HELP;
        } else if (strcmp(arg, "--help=man") == 0) {
            return tool_manual(TOOL_PRODUCER, opts, usage), TOOL_HELP;
        } else if (strcmp(arg, "--help=words") == 0) {
            return tool_option_words(opts), TOOL_HELP;
        } else if (!is_level(opts, arg) && !parse_option(argv, &i, opts, &given, usage)) {
            return TOOL_WRONG;
        }
    }
    return TOOL_OK;
}
