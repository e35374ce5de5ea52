// The parser behind cli.h. It knows no option by name.
#include "runtime/core/cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Words {
    char **argv;
    int argc, at;
    uint64_t given[RT_CLI_MOST / 64]; // a bit for each row of the table
} Words;

// Is `name` (of `length` characters) one of "a|b|c"?
static bool match_name(const char *names, const char *name, size_t length) {
    for (const char *n = names; n; n = strchr(n, '|'), n = n ? n + 1 : NULL)
        if (strcspn(n, "|") == length && strncmp(n, name, length) == 0)
            return true;
    return false;
}

static const RtCliOption *find_option(const RtCliOption *options, int n, const char *name,
                                      size_t length) {
    for (int i = 0; i < n; i++)
        if (match_name(options[i].names, name, length))
            return &options[i];
    return NULL;
}

static bool add_item(RtCliList *list, const char *item, RtErr *err) {
    if ((list->n & (list->n - 1)) == 0) { // full at 0, 1, 2, 4, 8 ...
        size_t room = list->n ? (size_t)list->n * 2 : 1;
        const char **grown = realloc(list->item, room * sizeof *grown);
        if (!grown)
            return rt_fail(err, "no memory");
        list->item = grown;
    }
    list->item[list->n++] = item;
    return true;
}

double rt_cli_decimal(const char *text, char **end) {
    const char *s = text + (*text == '-');
    bool is = isdigit((unsigned char)s[*s == '.']) && !(*s == '0' && (s[1] == 'x' || s[1] == 'X'));
    *end = (char *)text;
    return is ? strtod(text, end) : 0;
}

bool rt_cli_number(const char *text, double *v) {
    char *end;
    *v = rt_cli_decimal(text, &end);
    return end != text && *end == 0 && isfinite(*v);
}

bool rt_cli_size(const char *text, int64_t *bytes) {
    static const char units[] = "KMGT";
    char *end;
    double v = rt_cli_decimal(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (!isdigit((unsigned char)*text) || (*end && (!unit || end[1])))
        return false;
    v *= pow(1024, unit ? (double)(unit - units + 1) : 0);
    *bytes = v >= 1 && v < 9e18 ? (int64_t)v : 0;
    return *bytes > 0;
}

static bool set_number(const RtCliOption *o, const char *name, const char *text, RtErr *err) {
    double v;
    bool whole = o->kind != RT_CLI_FLOAT;
    if (!rt_cli_number(text, &v) || (whole && v != floor(v)))
        return rt_fail(err, "%s wants a %snumber%s, not '%s'", name, whole ? "whole " : "",
                       o->kind == RT_CLI_AUTO ? " or auto" : "", text);
    if (v < o->min || v > o->max)
        return rt_fail(err, "%s must be from %g to %.10g, not %s", name, o->min, o->max, text);
    if (whole)
        *(int *)o->to = (int)v;
    else
        *(float *)o->to = (float)v;
    return true;
}

// "1,2,3", or "1" followed by words that are numbers, too.
static bool set_floats(const RtCliOption *o, const char *name, const char *text, Words *w,
                       RtErr *err) {
    RtCliFloats *to = o->to;
    bool commas = strchr(text, ',') != NULL;
    to->n = 0;
    while (text) {
        char *end;
        double v = rt_cli_decimal(text, &end);
        if (end == text || (*end && *end != ',') || !isfinite(v))
            return rt_fail(err, "%s wants numbers, not '%s'", name, text);
        if (v < o->min || v > o->max)
            return rt_fail(err, "%s must be from %g to %.10g, not %g", name, o->min, o->max, v);
        if (to->n == 4)
            return rt_fail(err, "%s wants at most 4 numbers", name);
        to->v[to->n++] = (float)v;
        text = *end ? end + 1 : NULL;
        if (!text && !commas && to->n < 4 && w->at < w->argc && rt_cli_number(w->argv[w->at], &v))
            text = w->argv[w->at++];
    }
    return true;
}

static bool set_seed(const RtCliOption *o, const char *name, const char *text, RtErr *err) {
    char *end;
    errno = 0;
    *(uint64_t *)o->to = strtoull(text, &end, 10);
    if (isdigit((unsigned char)*text) && *end == 0 && errno == 0)
        return true;
    return rt_fail(err, "%s wants a whole number from 0 to 18446744073709551615, not '%s'", name,
                   text);
}

static bool set_choice(const RtCliOption *o, const char *name, const char *text, RtErr *err) {
    *(const char **)o->to = text;
    return match_name(o->arg, text, strlen(text)) ||
           rt_fail(err, "%s wants one of %s, not '%s'", name, o->arg, text);
}

static bool set_option(const RtCliOption *o, const char *name, const char *text, Words *w,
                       RtErr *err) {
    switch (o->kind) {
    case RT_CLI_FLAG:
        *(bool *)o->to = true;
        return true;
    case RT_CLI_AUTO:
        if (strcmp(text, "auto") == 0) {
            *(int *)o->to = 0;
            return true;
        }
        return set_number(o, name, text, err);
    case RT_CLI_INT:
    case RT_CLI_FLOAT:
        return set_number(o, name, text, err);
    case RT_CLI_TEXT:
        *(const char **)o->to = text;
        return true;
    case RT_CLI_CHOICE:
        return set_choice(o, name, text, err);
    case RT_CLI_SEED:
        return set_seed(o, name, text, err);
    case RT_CLI_LIST:
        return add_item(o->to, text, err);
    case RT_CLI_FLOATS:
        return set_floats(o, name, text, w, err);
    }
    return false;
}

// One word that starts with '-': finds its option and value.
static bool parse_option(const RtCliOption *options, int n, char *word, Words *w, RtErr *err) {
    bool is_long = word[1] == '-';
    const char *equals = is_long ? strchr(word, '=') : NULL;
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const char *value = equals ? equals + 1 : NULL;
    const RtCliOption *o = find_option(options, n, word, length);
    if (!o && !is_long) { // "-b8"
        length = 2;
        o = find_option(options, n, word, length);
        value = o && o->kind != RT_CLI_FLAG ? word + 2 : NULL;
        if (o && !value)
            o = NULL;
    }
    if (!o)
        return rt_fail(err, "unknown option '%.*s'", (int)length, word);
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    if (o->kind == RT_CLI_FLAG && value)
        return rt_fail(err, "%s takes no value", name);
    if (o->kind != RT_CLI_FLAG && !value && w->at < w->argc)
        value = w->argv[w->at++];
    if (o->kind != RT_CLI_FLAG && (!value || !*value))
        return rt_fail(err, "%s wants a value", name);
    uint64_t bit = UINT64_C(1) << ((o - options) % 64), *given = &w->given[(o - options) / 64];
    if (o->kind != RT_CLI_FLAG && o->kind != RT_CLI_LIST && *given & bit)
        return rt_fail(err, "%s is given twice", name);
    *given |= bit;
    return set_option(o, name, value, w, err);
}

static bool parse(const RtCliOption *options, int n, Words *w, RtCliList *rest, RtErr *err) {
    bool options_over = false;
    while (w->at < w->argc) {
        char *word = w->argv[w->at++];
        if (!options_over && strcmp(word, "--") == 0)
            options_over = true;
        else if (options_over || word[0] != '-' || word[1] == 0) {
            if (!add_item(rest, word, err))
                return false;
        } else if (!parse_option(options, n, word, w, err)) {
            return false;
        }
    }
    return true;
}

bool rt_cli_parse(const RtCliOption *options, int n, int argc, char **argv, RtCliList *rest,
                  RtErr *err) {
    Words w = {argv, argc, 0, {0}};
    return parse(options, n, &w, rest, err);
}

void rt_cli_given(const RtCliOption *options, int n, int argc, char **argv, bool *given) {
    Words w = {argv, argc, 0, {0}};
    RtCliList rest = {0};
    RtErr err;
    parse(options, n, &w, &rest, &err); // once more: the same values go to the same places
    free(rest.item);
    for (int i = 0; i < n; i++)
        given[i] = w.given[i / 64] >> (i % 64) & 1;
}

void rt_cli_bind(const RtCliField *fields, int n, void *base, RtCliOption *options) {
    for (int i = 0; i < n; i++) {
        const RtCliField *f = &fields[i];
        options[i] =
            (RtCliOption){f->names, f->kind, (char *)base + f->at, f->min, f->max, f->arg, f->help};
    }
}

void rt_cli_help(FILE *f, const RtCliOption *options, int n) {
    for (int i = 0; i < n; i++) {
        const RtCliOption *o = &options[i];
        if (!o->help)
            continue;
        char left[128];
        int used = 0;
        for (const char *c = o->names; *c && used < 100; c++)
            used += snprintf(left + used, sizeof left - (size_t)used, *c == '|' ? ", " : "%c", *c);
        if (o->arg)
            snprintf(left + used, sizeof left - (size_t)used, " %s", o->arg);
        if (strlen(left) > 26)
            fprintf(f, "  %s\n  %-26s  %s\n", left, "", o->help);
        else
            fprintf(f, "  %-26s  %s\n", left, o->help);
    }
}
