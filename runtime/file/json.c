// A JSON writer: the few objects that programs print for other programs. Output is always valid
// UTF-8 whatever the labels and file names hold: bytes that are not UTF-8 become U+FFFD.
#include "runtime/file/json.h"

#include <math.h>
#include <string.h>

// RFC 3629: no surrogates, nothing overlong, at most U+10FFFF.
int rt_utf8_length(const unsigned char *s) {
    static const struct {
        unsigned char first, last, low, high; // first byte, and the range of the second
        int length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last)
            continue;
        if (forms[i].length > 1 && (s[1] < forms[i].low || s[1] > forms[i].high))
            return 0;
        for (int k = 2; k < forms[i].length; k++)
            if (s[k] < 0x80 || s[k] > 0xbf)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static void write_string(FILE *f, const char *text) {
    fputc('"', f);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        int n = rt_utf8_length(s);
        if (n == 0) {
            fputs("\\ufffd", f);
            n = 1;
        } else if (*s == '"' || *s == '\\') {
            fprintf(f, "\\%c", *s);
        } else if (*s < 0x20 || *s == 0x7f) {
            fprintf(f, "\\u%04x", *s);
        } else {
            fwrite(s, 1, (size_t)n, f);
        }
        s += n;
    }
    fputc('"', f);
}

static void start_value(RtJson *j, const char *key) {
    if (j->comma)
        fputs(", ", j->f);
    j->comma = true;
    if (key) {
        write_string(j->f, key);
        fputs(": ", j->f);
    }
}

void rt_json_begin(RtJson *j, const char *key, char bracket) {
    start_value(j, key);
    fputc(bracket, j->f);
    j->comma = false;
}

void rt_json_end(RtJson *j, char bracket) {
    fputc(bracket, j->f);
    j->comma = true;
}

void rt_json_text(RtJson *j, const char *key, const char *value) {
    start_value(j, key);
    if (value)
        write_string(j->f, value);
    else
        fputs("null", j->f);
}

void rt_json_int(RtJson *j, const char *key, int64_t value) {
    start_value(j, key);
    fprintf(j->f, "%lld", (long long)value);
}

void rt_json_number(RtJson *j, const char *key, double value, int digits) {
    start_value(j, key);
    if (isfinite(value))
        fprintf(j->f, "%.*g", digits, value);
    else
        fputs("null", j->f);
}

void rt_json_bool(RtJson *j, const char *key, bool value) {
    start_value(j, key);
    fputs(value ? "true" : "false", j->f);
}
