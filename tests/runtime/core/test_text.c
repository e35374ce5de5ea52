// What a terminal may have: every byte, every code point, every cut.
#include "runtime/core/text.h"
#include "tests/check.h"

#include <stdlib.h>

// UTF-8 by arithmetic alone: no table in common with the code under test.
static int encode(uint32_t c, char *out) {
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(n == 1 ? c : (0xff00u >> n & 0xff) | c);
    out[n] = 0;
    return n;
}

static void knows_every_code_point(void) {
    long wrong = 0, hidden = 0;
    for (uint32_t c = 1; c < 0x120000; c++) {
        char s[8];
        int n = encode(c, s), got = rt_utf8_length((unsigned char *)s);
        bool valid = (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
        wrong += got != (valid ? n : 0) || rt_utf8_valid(s, (size_t)n) != valid;
        wrong += valid && rt_utf8_decode((unsigned char *)s, n) != c;
        hidden += valid && !rt_utf8_printable(s);
    }
    CHECK_INT_EQ(wrong, 0);
    // C0 without NUL, DEL and C1, soft hyphen, U+034F, U+061C, fillers (4), U+180E, U+200B to 200F,
    // ends and turns, U+2060 to 206F, BOM, annotations, tags
    CHECK_INT_EQ(hidden, 31 + 33 + 1 + 1 + 1 + 4 + 1 + 5 + 7 + 16 + 1 + 3 + 128);
    CHECK(rt_utf8_is_joiner("\xe2\x80\x8c") && rt_utf8_is_joiner("\xe2\x80\x8dx"));
    CHECK(!rt_utf8_is_joiner("\xe2\x80\x8b") && !rt_utf8_is_joiner("\xe2\x80"));
    CHECK(!rt_utf8_length((unsigned char *)"\xc0\x80") &&
          !rt_utf8_length((unsigned char *)"\xe0\x80\x80"));
    CHECK(!rt_utf8_length((unsigned char *)"\xc3") &&
          !rt_utf8_length_in((unsigned char *)"\xc3\xa9", 1));
}

static bool is_clean(const char *s) {
    for (int n; *s; s += n)
        if (!(n = rt_utf8_printable(s)))
            return false;
    return true;
}

// All pairs of bytes, in buffers of every size: one clean line that is cleaned no further, and what
// was cut says so.
static void cleans_every_pair_of_bytes(void) {
    long wrong = 0;
    for (int a = 1; a < 256; a++)
        for (int b = 1; b < 256; b++) {
            char s[16] = {'x', (char)a, (char)b, 'y', (char)b, 0}, whole[64], part[64], again[64];
            rt_clean(s, whole, sizeof whole);
            wrong += !is_clean(whole) || whole[0] != 'x' ||
                     strcmp(rt_clean(whole, again, 64), whole) != 0;
            for (size_t size = 8; size < 24; size++) {
                rt_clean(s, part, size);
                bool cut = strlen(whole) >= size;
                size_t n = strlen(part);
                wrong += !is_clean(part) || n >= size || (!cut && strcmp(part, whole) != 0);
                wrong +=
                    cut && (strcmp(part + n - 3, "...") != 0 || strncmp(part, whole, n - 3) != 0);
            }
        }
    CHECK_INT_EQ(wrong, 0);
    CHECK_STR_EQ(RT_SHOW("a\x1b[31m\xc2\x9b"
                         "b\xe2\x80\xae\n\xff"),
                 "a\\x1b[31m\\xc2\\x9bb\\xe2\\x80\\xae\\x0a\\xff");
    CHECK_STR_EQ(RT_SHOW("Käse 猫 \\"), "Käse 猫 \\");
    CHECK_STR_EQ(RT_SHOW(NULL), "");
}

int main(void) {
    CHECK_RUN(knows_every_code_point);
    CHECK_RUN(cleans_every_pair_of_bytes);
    return check_done();
}
