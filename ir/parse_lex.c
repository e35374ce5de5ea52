// Words, numbers, strings, types and value names of textual IR. The text ends at l->end, with no
// NUL behind it that one could lean on; a NUL within it is an error like any other odd byte.
#include "ir/parse.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void print_place(IrLexer *l, const char *at, char *buf, size_t size) {
    int line = 1;
    const char *start = l->start;
    for (const char *p = l->start; p < at; p++) {
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    }
    snprintf(buf, size, "%s:%d:%d", l->file ? l->file : "", line, (int)(at - start) + 1);
}

bool ir_lex_fail(IrLexer *l, const char *at, const char *fmt, ...) {
    char place[4200], reason[2000];
    print_place(l, at, place, sizeof place);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    IrDiag *d = ir_arena_diag(l->arena);
    const char *file = d->file;
    d->file = place;
    ir_error(d, IR_NOWHERE, "%s", reason);
    d->file = file;
    return false;
}

void ir_lex_warn(IrLexer *l, const char *at, const char *text) {
    char place[4200];
    print_place(l, at, place, sizeof place);
    IrDiag *d = ir_arena_diag(l->arena);
    const char *file = d->file;
    d->file = place;
    ir_warn(d, IR_NOWHERE, "%s", text);
    d->file = file;
}

static int peek(const IrLexer *l, int ahead) {
    return l->end - l->at > ahead ? (unsigned char)l->at[ahead] : -1;
}

static bool is_blank(int c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
static bool is_digit(int c) {
    return c >= '0' && c <= '9';
}
static bool is_letter(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_word(int c) {
    return is_letter(c) || is_digit(c) || c == '.';
}

void ir_lex_skip(IrLexer *l) {
    for (;;) {
        while (is_blank(peek(l, 0))) {
            l->at++;
        }
        if (peek(l, 0) != ';' && !(peek(l, 0) == '/' && peek(l, 1) == '/')) {
            return;
        }
        while (l->at < l->end && *l->at != '\n') {
            l->at++;
        }
    }
}

bool ir_lex_accept(IrLexer *l, const char *text) {
    ir_lex_skip(l);
    size_t n = strlen(text);
    if ((size_t)(l->end - l->at) < n || memcmp(l->at, text, n) ||
        (is_word(text[n - 1]) && is_word(peek(l, (int)n)))) {
        return false;
    }
    l->at += n;
    return true;
}

// What stands at the place, for messages.
static const char *found(IrLexer *l) {
    int n = 0;
    while (n < 20 && is_word(peek(l, n))) {
        n++;
    }
    n = n ? n : peek(l, 0) >= 0;
    return n ? ir_sprintf(l->arena, "'%.*s'", n, l->at) : "the end of the text";
}

bool ir_lex_expect(IrLexer *l, const char *text) {
    return ir_lex_accept(l, text) ||
           ir_lex_fail(l, l->at, "expected '%s', found %s", text, found(l));
}

bool ir_lex_word(IrLexer *l, const char **out) {
    ir_lex_skip(l);
    int n = 0;
    while (is_letter(peek(l, 0)) && is_word(peek(l, n))) {
        n++;
    }
    if (!n) {
        return ir_lex_fail(l, l->at, "expected a word, found %s", found(l));
    }
    *out = ir_strndup(l->arena, l->at, (size_t)n);
    l->at += n;
    return true;
}

static int hex_digit(int c) {
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool ir_lex_string(IrLexer *l, const char **out) {
    if (!ir_lex_expect(l, "\"")) {
        return false;
    }
    const char *start = l->at;
    const char *close = start;
    while (close < l->end && *close != '"' && *close != '\n') {
        close += *close == '\\' ? 2 : 1;
    }
    if (close >= l->end || *close != '"') {
        return ir_lex_fail(l, start - 1, "the string does not end on its line");
    }
    char *text = ir_alloc(l->arena, (size_t)(close - start) + 1);
    size_t n = 0;
    while (l->at < close) {
        const char *at = l->at;
        int c = (unsigned char)*l->at++;
        if (c == '\\') {
            c = (unsigned char)*l->at++;
            int high = hex_digit(peek(l, 0)), low = high < 0 ? -1 : hex_digit(peek(l, 1));
            if (c == 'x' && low >= 0) {
                c = 16 * high + low;
                l->at += 2;
            } else if (c == 'n' || c == 't') {
                c = c == 'n' ? '\n' : '\t';
            } else if (c != '"' && c != '\\') {
                return ir_lex_fail(l, at, "the string has an unknown escape");
            }
        }
        if (!c) {
            return ir_lex_fail(l, at, "the string has a NUL byte");
        }
        text[n++] = (char)c;
    }
    l->at = close + 1;
    *out = text;
    return true;
}

bool ir_lex_name(IrLexer *l, const char **out) {
    ir_lex_skip(l);
    return peek(l, 0) == '"' ? ir_lex_string(l, out) : ir_lex_word(l, out);
}

// The characters of a number in buf. False, unreported: none, or too many of them.
static bool take_number(IrLexer *l, bool (*part)(int), char *buf, size_t size) {
    size_t n = 0;
    while (part(peek(l, (int)n)) && n + 1 < size) {
        buf[n] = l->at[n];
        n++;
    }
    buf[n] = 0;
    return n && !part(peek(l, (int)n));
}

static bool is_number_part(int c) {
    return is_word(c) || c == '+' || c == '-';
}

bool ir_lex_uint(IrLexer *l, uint64_t *out) {
    ir_lex_skip(l);
    const char *at = l->at;
    int base = peek(l, 0) == '0' && (peek(l, 1) == 'x') ? 16 : 10;
    l->at += base == 16 ? 2 : 0;
    uint64_t x = 0;
    int digits = 0;
    for (int d; (d = hex_digit(peek(l, 0))) >= 0 && d < base; digits++, l->at++) {
        if (__builtin_mul_overflow(x, (uint64_t)base, &x) ||
            __builtin_add_overflow(x, (uint64_t)d, &x)) {
            return ir_lex_fail(l, at, "the number is too large");
        }
    }
    *out = x;
    return digits || ir_lex_fail(l, at, "expected a whole number, found %s", found(l));
}

bool ir_lex_int(IrLexer *l, int64_t *out) {
    ir_lex_skip(l);
    const char *at = l->at;
    bool minus = peek(l, 0) == '-';
    l->at += minus;
    uint64_t x;
    if (!is_digit(peek(l, 0))) {
        return ir_lex_fail(l, at, "expected a whole number, found %s", found(l));
    }
    if (!ir_lex_uint(l, &x)) {
        return false;
    }
    if (x > (uint64_t)INT64_MAX + minus) {
        return ir_lex_fail(l, at, "the number is too large");
    }
    *out = minus ? (int64_t)(0 - x) : (int64_t)x;
    return true;
}

bool ir_lex_float(IrLexer *l, double *out) {
    ir_lex_skip(l);
    char buf[64], *rest = buf;
    bool plain = take_number(l, is_number_part, buf, sizeof buf) && !strpbrk(buf, "xXpP_(");
    if (plain) {
        *out = strtod(buf, &rest);
    }
    if (!plain || rest == buf || *rest) {
        return ir_lex_fail(l, l->at, "expected a number, found %s", found(l));
    }
    l->at += rest - buf;
    return true;
}

bool ir_lex_dim(IrLexer *l, IrDim *out) {
    ir_lex_skip(l);
    *out = (IrDim){0, 1};
    if (is_digit(peek(l, 0))) {
        if (!ir_lex_int(l, &out->c)) {
            return false;
        }
        if (peek(l, 0) != 'N') {
            out->n = 0;
            return true;
        }
        *out = (IrDim){0, out->c};
    }
    if (peek(l, 0) != 'N' || is_word(peek(l, 1))) {
        return ir_lex_fail(l, l->at, "expected a dimension, found %s", found(l));
    }
    l->at++;
    return !ir_lex_accept(l, "+") || ir_lex_int(l, &out->c);
}

bool ir_lex_dims(IrLexer *l, IrShape *out) {
    *out = (IrShape){0};
    if (!ir_lex_expect(l, "[")) {
        return false;
    }
    while (!ir_lex_accept(l, "]")) {
        if (out->rank && !ir_lex_expect(l, ",")) {
            return false;
        }
        if (out->rank == IR_MAX_RANK) {
            return ir_lex_fail(l, l->at, "more than %d dimensions", IR_MAX_RANK);
        }
        if (!ir_lex_dim(l, &out->dim[out->rank++])) {
            return false;
        }
    }
    return true;
}

bool ir_lex_type(IrLexer *l, IrType *out) {
    const char *word;
    int64_t block;
    ir_lex_skip(l);
    const char *at = l->at;
    *out = (IrType){0};
    if (!ir_lex_word(l, &word)) {
        return false;
    }
    if (!ir_dtype_parse(word, &out->dtype)) {
        return ir_lex_fail(l, at, "'%s' is no element type", word);
    }
    if (!ir_lex_dims(l, &out->shape)) {
        return false;
    }
    if (ir_lex_accept(l, "{")) {
        ir_lex_skip(l);
        const char *layout = l->at;
        if (l->end - l->at < 4 || memcmp(l->at, "nChw", 4)) {
            return ir_lex_fail(l, layout, "expected a layout such as nChw16c, found %s", found(l));
        }
        l->at += 4;
        if (!ir_lex_int(l, &block) || !ir_lex_expect(l, "c") || !ir_lex_expect(l, "}")) {
            return false;
        }
        out->block = block > 0 && block < 1 << 20 ? (int)block : 1 << 20;
    }
    const char *why = ir_check_type(l->arena, out);
    return !why || ir_lex_fail(l, at, "%s", why);
}

bool ir_lex_ref(IrLexer *l, IrRef *out) {
    ir_lex_skip(l);
    *out = (IrRef){.at = l->at};
    if (!ir_lex_expect(l, "%")) {
        return false;
    }
    int c = peek(l, 0);
    if (!is_word(c) && c != '"') {
        return ir_lex_fail(l, out->at, "expected a name behind %%");
    }
    if (!is_digit(c)) {
        return ir_lex_name(l, &out->name);
    }
    enum { MOST = (1 << 22) - 1 }; // passes keep arrays over the ids
    if (!ir_lex_int(l, &out->id)) {
        return false;
    }
    if (is_word(peek(l, 0))) {
        return ir_lex_fail(l, out->at, "a name that starts with a digit must be quoted");
    }
    return out->id <= MOST || ir_lex_fail(l, out->at, "values are numbered up to %d", MOST);
}
