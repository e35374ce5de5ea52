// What a command's table of options says, for other readers than a terminal: a manual page, and the
// words that shells complete. Both follow from the table that parses.
#include "tools/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

// Text of a manual page: in roff a hyphen is a minus sign only when it is escaped, and a line that
// starts with a dot or an apostrophe is a request.
static void put_roff(const char *s, size_t n, bool at_line) {
    for (size_t i = 0; i < n; i++) {
        if (at_line && (s[i] == '.' || s[i] == '\''))
            fputs("\\&", stdout);
        at_line = s[i] == '\n';
        if (s[i] == '\\')
            fputs("\\e", stdout);
        else if (s[i] == '-')
            fputs("\\-", stdout);
        else
            putchar(s[i]);
    }
}

static void put_line(const char *s) {
    put_roff(s, strlen(s), true);
    putchar('\n');
}

// "hone compile" of "hone compile MODEL.onnx -o OUT [options]", "hone" of "hone COMMAND ...".
static int name_length(const ToolUsage *u) {
    const char *first = strchr(u->synopsis, ' ');
    const char *end = !first || isupper((unsigned char)first[1]) ? first : strchr(first + 1, ' ');
    return end ? (int)(end - u->synopsis) : (int)strlen(u->synopsis);
}

static void put_option(const ToolOpt *o) {
    const char *names[] = {o->brief, o->name};
    if (o->kind == TOOL_HEADING) {
        printf(".SS ");
        put_line(o->help);
        return;
    }
    printf(".TP\n");
    for (int i = 0; i < 2; i++) {
        if (!names[i])
            continue;
        printf(i == 1 && names[0] ? ", \\fB" : "\\fB");
        put_roff(names[i], strlen(names[i]), false);
        printf("\\fR");
    }
    if (o->arg) {
        printf(" \\fI");
        put_roff(o->arg, strlen(o->arg), false);
        printf("\\fR");
    }
    putchar('\n');
    put_line(o->help);
}

// `about` may hold lines that are set as they are: those that begin with a space.
static void put_about(const char *s) {
    bool set = false;
    for (const char *end; *s; s = *end ? end + 1 : end) {
        end = s + strcspn(s, "\n");
        if ((*s == ' ') != set) {
            set = *s == ' ';
            printf(set ? ".nf\n" : ".fi\n");
        }
        if (end == s)
            printf("%s", *end ? ".PP\n" : "");
        else
            put_roff(s, (size_t)(end - s), true), putchar('\n');
    }
    printf(set ? ".fi\n" : "");
}

// The first sentence of `about`, on one line.
static void put_purpose(const char *s) {
    size_t n = 0;
    while (s[n] && s[n] != ':' && !(s[n] == '.' && (s[n + 1] == ' ' || s[n + 1] == '\n')))
        n++;
    for (size_t i = 0; i < n; i++)
        put_roff(s[i] == '\n' ? " " : s + i, 1, false);
    putchar('\n');
}

// What stands below the options: lines "Examples:" are headings, others are set as they are.
static void put_notes(const char *s) {
    printf(".SH NOTES\n.nf\n");
    for (const char *end; *s; s = *end ? end + 1 : end) {
        end = s + strcspn(s, "\n");
        bool heading = *s != ' ' && end > s && end[-1] == ':';
        if (heading)
            printf(".fi\n.SS ");
        put_roff(s, (size_t)(end - s) - heading, !heading);
        printf(heading ? "\n.nf\n" : "\n");
    }
    printf(".fi\n");
}

// hone's own page names the commands' pages, and those name it.
static void put_see_also(const ToolOpt *opts) {
    bool commands = false;
    printf(".SH SEE ALSO\n");
    for (const ToolOpt *o = opts; o->help; o++)
        if (o->name && o->name[0] != '-') {
            printf("%s.BR hone\\-%s (1)", commands ? ",\n" : "", o->name);
            commands = true;
        }
    printf(commands ? "\n" : ".BR hone (1)\n");
}

void tool_manual(const char *producer, const ToolOpt *opts, const ToolUsage *u) {
    int n = name_length(u);
    printf(".TH \"");
    for (int i = 0; i < n; i++)
        putchar(u->synopsis[i] == ' ' ? '-' : toupper((unsigned char)u->synopsis[i]));
    printf("\" 1 \"\" \"%s\" \"User Commands\"\n.nh\n.SH NAME\n", producer);
    for (int i = 0; i < n; i++)
        printf("%s", u->synopsis[i] == ' ' ? "\\-" : (char[]){u->synopsis[i], 0});
    printf(" \\- ");
    put_purpose(u->about);
    printf(".SH SYNOPSIS\n.B ");
    put_roff(u->synopsis, (size_t)n, false);
    printf("\n");
    put_line(u->synopsis[n] ? u->synopsis + n + 1 : "");
    printf(".SH DESCRIPTION\n");
    put_about(u->about);
    printf(".SH OPTIONS\n");
    for (const ToolOpt *o = opts; o->help; o++)
        if (*o->help)
            put_option(o);
    printf(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nthis text\n");
    if (u->examples)
        put_notes(u->examples);
    printf(".SH EXIT STATUS\n0: fine; 1: the input is wrong; 2: usage; 3: a bug in hone.\n");
    put_see_also(opts);
}

void tool_option_words(const ToolOpt *opts) {
    for (const ToolOpt *o = opts; o->help; o++) {
        const char *name = o->name ? o->name : o->brief;
        if (*o->help && o->kind != TOOL_HEADING && o->kind != TOOL_LEVEL)
            printf("%s\t%s\t%s\n", name, o->arg ? o->arg : "", o->help);
    }
    printf("--help\t\tthis text\n");
}
