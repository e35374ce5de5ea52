// Command lines as tables: each command lists its options once; parsing, --help and errors
// follow from the list. Private to tools/.
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum ToolOptKind {
    TOOL_FLAG,            // bool *
    TOOL_TEXT,            // const char **
    TOOL_INT,             // int *, min..max
    TOOL_NUMBER,          // ToolNumber *, min..max
    TOOL_WHOLE,           // ToolNumber *, a whole one
    TOOL_LIST_OF_NUMBERS, // ToolNumbers *: "0.5" or "0.4,0.5,0.6", each min..max
    TOOL_SIZE,            // int64_t *: bytes, "4G"
    TOOL_LIST,            // ToolList *: may be given several times
    TOOL_LEVEL,           // int *: -O0..-O3
    TOOL_HEADING          // a line of --help
} ToolOptKind;

typedef struct ToolList {
    int n;
    const char *v[64];
} ToolList;

typedef struct ToolNumber {
    bool given;
    double v;
} ToolNumber;

typedef struct ToolNumbers {
    int n; // 0: not given
    double v[4];
} ToolNumbers;

// As min of a number that is above 0; what is below is none in single precision.
#define TOOL_ABOVE_0 1e-30

typedef struct ToolOpt {
    const char *name;  // "--mean"; NULL: short only
    const char *brief; // "-o" or NULL
    const char *arg;   // "R,G,B" as --help shows it; NULL for flags
    ToolOptKind kind;
    void *to;
    const char *help; // or TOOL_OLD
    double min, max;
} ToolOpt;

// In place of help: an old spelling, which works for one version more and is not shown.
#define TOOL_OLD ""

typedef struct ToolUsage {
    const char *synopsis; // "hone compile MODEL.onnx -o OUT [options]"
    const char *about;    // paragraphs above the options
    const char *examples; // below them
} ToolUsage;

typedef enum ToolParse { TOOL_OK, TOOL_HELP, TOOL_WRONG } ToolParse;

// Parses argv[1..]; what is no option goes to `rest`. `opts` ends with a zero row. Values are
// checked here, before anything is done; options with one are given once, lists excepted.
// TOOL_HELP: --help, --help=man or --help=words was
// printed. TOOL_WRONG: one line about it went to stderr; exit code 2.
ToolParse tool_parse(int argc, char **argv, const ToolOpt *opts, const ToolUsage *usage,
                     ToolList *rest);

// Reads all of `text` as numbers with commas between, at most `most` of them, each finite and in
// min..max. Their count; 0: it is something else.
int tool_parse_numbers(const char *text, double min, double max, double *out, int most);

// manual.c, to standard output. The command's manual page (--help=man), and its options for shells
// (--help=words): a line each, name, what it takes, help, with tabs between.
void tool_manual(const char *producer, const ToolOpt *opts, const ToolUsage *usage);
void tool_option_words(const ToolOpt *opts);

#endif
