// Names are data: what a file calls things, byte by byte. The one place that knows UTF-8 (RFC 3629)
// and what may not reach a terminal; the escapes of all sinks stand on it (diagnostics and tables:
// rt_clean() below; JSON, HTML, C, DOT and textual IR each in a function of their own). Nothing but
// inline functions, so that the compiler and its programs share it.
#ifndef RUNTIME_CORE_TEXT_H
#define RUNTIME_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// Length of the well-formed UTF-8 sequence at the beginning of [s, s + left), 0 if there is none.
static inline int rt_utf8_length_in(const unsigned char *s, size_t left) {
    static const struct {
        unsigned char first, last, low, high; // first byte, and the range of the second
        int length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; left && i < sizeof forms / sizeof *forms; i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last)
            continue;
        if (forms[i].length > 1 && (left < 2 || s[1] < forms[i].low || s[1] > forms[i].high))
            return 0;
        for (int k = 2; k < forms[i].length; k++)
            if (left < (size_t)k + 1 || s[k] < 0x80 || s[k] > 0xbf)
                return 0;
        return forms[i].length;
    }
    return 0;
}

// The same in a text that ends with a 0 byte.
static inline int rt_utf8_length(const unsigned char *s) {
    return rt_utf8_length_in(s, 4);
}

// The character of a well-formed sequence of that length.
static inline uint32_t rt_utf8_decode(const unsigned char *s, int length) {
    static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s[0] & lead[length];
    for (int k = 1; k < length; k++)
        c = c << 6 | (s[k] & 0x3f);
    return c;
}

// Length of the character at text (0-ended), 0 where its first byte must be escaped: malformed
// UTF-8, controls (C0, DEL, C1), ends of lines, and what is invisible or changes how others are
// shown: soft hyphens, fillers, spaces of no width, joiners, the direction of writing, byte order
// marks, annotations, tags.
static inline int rt_utf8_printable(const char *text) {
    static const uint32_t hidden[][2] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},
        {0x115f, 0x1160}, {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
        {0x3164, 0x3164}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
    };
    const unsigned char *s = (const unsigned char *)text;
    int n = rt_utf8_length(s);
    uint32_t c = n ? rt_utf8_decode(s, n) : 0;
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i][0] && c <= hidden[i][1])
            return 0;
    return n;
}

// Joiners are invisible, but Persian, Indic scripts and pictures of families are spelled with them.
static inline bool rt_utf8_is_joiner(const char *text) {
    return strncmp(text, "\xe2\x80\x8c", 3) == 0 || strncmp(text, "\xe2\x80\x8d", 3) == 0;
}

static inline bool rt_utf8_valid(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes;) {
        int n = rt_utf8_length_in((const unsigned char *)text + i, bytes - i);
        if (n == 0)
            return false;
        i += (size_t)n;
    }
    return true;
}

// Text as a terminal may have it: one line, bytes that may not be there as \xNN; what is longer
// than out[size] (at least 8) is cut between characters and ends in "...". Cleaning twice changes
// nothing. Returns out. NULL is "".
static inline const char *rt_clean(const char *text, char *out, size_t size) {
    size_t used = 0, fits = 0; // fits: what may stay if the rest does not
    for (const char *s = text ? text : ""; *s;) {
        int n = rt_utf8_printable(s), need = n ? n : 4;
        if (used + (size_t)need >= size) {
            strcpy(out + fits, "...");
            return out;
        }
        if (n)
            memcpy(out + used, s, (size_t)n);
        else
            snprintf(out + used, 5, "\\x%02x", (unsigned char)*s);
        used += (size_t)need;
        s += n ? n : 1;
        fits = used + 4 <= size ? used : fits;
    }
    out[used] = 0;
    return out;
}

// The same in place of the text in a call of printf(): lives as long as the block around it.
#define RT_SHOW(text) rt_clean((text), (char[RT_SHOWN]){0}, RT_SHOWN)
enum { RT_SHOWN = 4352 }; // the longest path, and more of a name than anybody reads

#endif
