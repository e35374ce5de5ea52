// Command lines: options as a table, from which parsing and help text both come. Private header.
#ifndef RUNTIME_CORE_CLI_H
#define RUNTIME_CORE_CLI_H

#include "runtime/core/rt.h"

enum { RT_CLI_MOST = 128 }; // rows of a table

typedef enum RtCliKind {
    RT_CLI_FLAG,   // bool *: set to true
    RT_CLI_INT,    // int *, within min..max
    RT_CLI_AUTO,   // int *, within min..max, or "auto", which is 0
    RT_CLI_FLOAT,  // float *, within min..max
    RT_CLI_TEXT,   // const char **
    RT_CLI_CHOICE, // const char **: one of the words of `arg`, "sgd|adamw"
    RT_CLI_SEED,   // uint64_t *
    RT_CLI_LIST,   // RtCliList *: the option may be given several times
    RT_CLI_FLOATS, // RtCliFloats *: "0.5,0.5,0.5", or the numbers as separate words
} RtCliKind;

typedef struct RtCliOption {
    const char *names; // "--batch|-b|--batch-size"; help shows them in this order
    RtCliKind kind;
    void *to;
    double min, max;
    const char *arg;  // name of the argument in the help
    const char *help; // NULL: not shown
} RtCliOption;

// The row of a table that stands once, for a structure of which there may be many: `at` is the
// place of its member there.
typedef struct RtCliField {
    const char *names;
    RtCliKind kind;
    size_t at;
    double min, max;
    const char *arg, *help;
} RtCliField;

typedef struct RtCliList {
    const char **item; // grows as needed; free() releases
    int n;
} RtCliList;

typedef struct RtCliFloats {
    float v[4];
    int n; // 0: not given
} RtCliFloats;

// Parses argv[0..argc); what is no option goes to `rest` ("--" ends the options). Accepts
// "--batch 8", "--batch=8", "-b 8", "-b8". Values are checked here: neither empty nor out of range,
// and given once, lists excepted. False with err set: a usage error.
bool rt_cli_parse(const RtCliOption *options, int n, int argc, char **argv, RtCliList *rest,
                  RtErr *err);
// given[i]: row i's option is among words that were parsed without an error. No table with lists.
void rt_cli_given(const RtCliOption *options, int n, int argc, char **argv, bool *given);
// options[n]: the same rows, of the structure at `base`.
void rt_cli_bind(const RtCliField *fields, int n, void *base, RtCliOption *options);
// The decimal number that `text` begins with, as 12, -0.5, .5 or 1e-3: no spaces, no +, neither
// hexadecimal nor words; too large ones are infinite. *end: behind it; `text`: there is none.
double rt_cli_decimal(const char *text, char **end);
// All of `text` as one such number, finite.
bool rt_cli_number(const char *text, double *v);
// Of "4096", "500M", "8G" or "1.5T" the bytes, 1024 to a step.
bool rt_cli_size(const char *text, int64_t *bytes);
void rt_cli_help(FILE *f, const RtCliOption *options, int n);

// Of every command that computes.
#define RT_CLI_THREADS(to, help)                                                                   \
    {"--threads|-t", RT_CLI_AUTO, to, 1, RT_MAX_THREADS, "N|auto", help}

#endif
