// Lists and dictionaries as text; see literal.h. Flat ones, as exporters write: no nesting, so no
// recursion.
#include "tools/literal.h"

#include "runtime/core/text.h"
#include "tools/options.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>

enum { MAX_TEXTS = 1 << 20 };

typedef struct Reader {
    IrArena *arena;
    const char *at;
} Reader;

static bool accept(Reader *r, const char *one_of) {
    r->at += strspn(r->at, " \t\r\n");
    if (!*r->at || !strchr(one_of, *r->at))
        return false;
    r->at++;
    return true;
}

static int encode_utf8(uint32_t c, char *out) {
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
    return n;
}

// `digits` hexadecimal digits at s; -1: there are none.
static int64_t read_hex(const char *s, int digits) {
    int64_t x = 0;
    for (int i = 0; i < digits; i++) {
        if (!isxdigit((unsigned char)s[i]))
            return -1;
        x = 16 * x + (isdigit((unsigned char)s[i]) ? s[i] - '0' : tolower(s[i]) - 'a' + 10);
    }
    return x;
}

// The character behind a backslash; the two are left as they are where it would be a control.
static char *read_escape(Reader *r, char *to) {
    static const struct {
        char letter;
        int digits;
    } codes[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    char letter = *r->at++;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        int64_t c = codes[i].letter == letter ? read_hex(r->at, codes[i].digits) : -1;
        const char *low = r->at + codes[i].digits;
        if (c >= 0xd800 && c < 0xdc00 && letter == 'u' && low[0] == '\\' && low[1] == 'u') {
            int64_t d = read_hex(low + 2, 4); // JSON writes what is above U+FFFF as two
            if (d >= 0xdc00 && d < 0xe000) {
                r->at += 6;
                c = 0x10000 + ((c - 0xd800) << 10) + (d - 0xdc00);
            }
        }
        if (c >= 0xa0 && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)) {
            r->at += codes[i].digits;
            return to + encode_utf8((uint32_t)c, to);
        }
        if (c >= 0x20 && c < 0x7f) {
            r->at += codes[i].digits;
            *to = (char)c;
            return to + 1;
        }
    }
    if (!strchr("\"'\\/", letter))
        *to++ = '\\';
    *to++ = letter;
    return to;
}

// A string in quotes of either kind, or a number as it stands.
static const char *read_text(Reader *r) {
    r->at += strspn(r->at, " \t\r\n");
    char quote = *r->at;
    if (quote != '"' && quote != '\'') {
        size_t n = strspn(r->at, "+-.0123456789eE");
        const char *number = n ? ir_strndup(r->arena, r->at, n) : NULL;
        r->at += n;
        return number;
    }
    char *text = ir_alloc(r->arena, strlen(r->at) + 1),
         *to = text; // no escape is shorter than its character
    for (r->at++; *r->at && *r->at != quote;) {
        if (*r->at == '\\' && r->at[1]) {
            r->at++;
            to = read_escape(r, to);
        } else {
            *to++ = *r->at++;
        }
    }
    *to = 0;
    return *r->at++ == quote ? text : NULL;
}

// Room for a text at `index`.
static bool put(Reader *r, ToolTexts *out, int *cap, long index, const char *text) {
    if (!text || index < 0 || index >= MAX_TEXTS)
        return false;
    while (out->n <= index)
        IR_PUSH(r->arena, out->v, out->n, *cap, "");
    out->v[index] = text;
    return true;
}

static bool read_items(Reader *r, bool keyed, const char *close, ToolTexts *out) {
    int cap = 0;
    for (long index = 0; !accept(r, close); index++) {
        if (keyed) {
            const char *key = read_text(r);
            char *end = NULL;
            index = key ? strtol(key, &end, 10) : -1;
            if (!key || end == key || *end || !accept(r, ":"))
                return false;
        }
        if (!put(r, out, &cap, index, read_text(r)))
            return false;
        if (!accept(r, ",")) { // what follows the last one
            r->at += strspn(r->at, " \t\r\n");
            if (!*r->at || !strchr(close, *r->at))
                return false;
        }
    }
    r->at += strspn(r->at, " \t\r\n");
    return !*r->at && out->n > 0;
}

bool tool_literal_texts(IrArena *a, const char *text, ToolTexts *out) {
    Reader r = {a, text};
    *out = (ToolTexts){0};
    if (accept(&r, "{"))
        return read_items(&r, true, "}", out);
    if (accept(&r, "["))
        return read_items(&r, false, "]", out);
    return accept(&r, "(") && read_items(&r, false, ")", out);
}

int tool_literal_numbers(IrArena *a, const char *text, double min, double max, double *out,
                         int most) {
    char *plain = ir_strdup(a, text), *to = plain;
    for (const char *s = text; *s; s++)
        if (!strchr("[]() \t\r\n", *s))
            *to++ = *s;
    *to = 0;
    return tool_parse_numbers(plain, min, max, out, most);
}
