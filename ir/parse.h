// Reading textual IR. parse_lex.c: words, numbers, strings, types. parse_node.c: nodes, their
// attributes and bodies. parse.c: programs, constants and graphs. Every function returns false
// after reporting an error; nothing recurses.
#ifndef IR_PARSE_H
#define IR_PARSE_H

#include "ir/ir_private.h"
#include "ir/map.h"

typedef struct IrLexer {
    IrArena *arena;
    const char *file;
    const char *start, *at, *end;
} IrLexer;

// A value as the text names it.
typedef struct IrRef {
    const char *at;   // where it stands
    const char *name; // NULL: it is a number
    int64_t id;
} IrRef;

// A view or an output may name a value before it is defined.
typedef struct IrPending {
    IrValue *view; // that is `in` ref + channel
    int64_t channel;
    IrRef ref;
    const char *as;
} IrPending;

typedef struct IrParser {
    IrLexer lex;
    IrProgram *prog;
    IrMap consts; // IrConst by name
    int n_refs;   // constants whose data the text lacks
    const char *first_ref;
    // of the graph being read
    IrGraph *graph;
    IrMap named, numbered; // IrValue by name, and by "id"
    int n_values, cap_values;
    IrValue **values; // those with a number in the text,
    int64_t *ids;     // and it
    int cap_ids;
    int n_views, cap_views, n_outputs, cap_outputs;
    IrPending *views, *outputs;
} IrParser;

// Prints FILE:LINE:COL for the place `at` and returns false.
bool ir_lex_fail(IrLexer *l, const char *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void ir_lex_warn(IrLexer *l, const char *at, const char *text);
void ir_lex_skip(IrLexer *l);                     // blanks and comments
bool ir_lex_accept(IrLexer *l, const char *text); // a mark, or a whole word
bool ir_lex_expect(IrLexer *l, const char *text);
bool ir_lex_word(IrLexer *l, const char **out);
bool ir_lex_string(IrLexer *l, const char **out);
bool ir_lex_name(IrLexer *l, const char **out); // a word or a string
bool ir_lex_int(IrLexer *l, int64_t *out);
bool ir_lex_uint(IrLexer *l, uint64_t *out); // decimal, or 0x hexadecimal
bool ir_lex_float(IrLexer *l, double *out);
bool ir_lex_dim(IrLexer *l, IrDim *out);
bool ir_lex_dims(IrLexer *l, IrShape *out); // [N,3,2N+1]
bool ir_lex_type(IrLexer *l, IrType *out);
bool ir_lex_ref(IrLexer *l, IrRef *out);

IrValue *ir_parse_find(IrParser *p, const IrRef *ref); // NULL, unreported, when there is none
bool ir_parse_define(IrParser *p, const IrRef *ref, IrValue *v);
const char *ir_ref_text(IrParser *p, const IrRef *ref);
bool ir_parse_storage(IrParser *p, IrValue *v); // [in %z+8] [at PLACE]
bool ir_parse_node(IrParser *p);                // one line of a graph

#endif
