// A JSON writer: the few objects that programs print for other programs. Output is always valid
// UTF-8 whatever the labels and file names hold: bytes that are not UTF-8 become U+FFFD.
#include "runtime/file/json.h"

#include <math.h>

// Characters that a terminal may not have are escaped, too: what is printed may be looked at.
static void write_escaped(FILE *f, uint32_t c) {
    if (c > 0xffff)
        fprintf(f, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                0xdc00 + ((c - 0x10000) & 0x3ff));
    else
        fprintf(f, "\\u%04x", c);
}

static void write_string(FILE *f, const char *text) {
    fputc('"', f);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        int n = rt_utf8_length(s);
        if (n == 0)
            write_escaped(f, 0xfffd);
        else if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if (!rt_utf8_printable((const char *)s))
            write_escaped(f, rt_utf8_decode(s, n));
        else
            fwrite(s, 1, (size_t)n, f);
        s += n ? n : 1;
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
