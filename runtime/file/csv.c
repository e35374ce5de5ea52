// See csv.h.
#include "runtime/file/csv.h"

#include <string.h>

#include "runtime/core/text.h"

void rt_csv_text(FILE *f, const char *text, int first) {
    if (!first)
        fputc(',', f);
    const char *s = RT_SHOW(text);
    size_t n = strlen(s);
    int quoted = n && (s[strcspn(s, ",\"")] || s[0] == ' ' || s[n - 1] == ' ');
    if (quoted)
        fputc('"', f);
    for (; *s; s++) {
        if (*s == '"')
            fputc('"', f);
        fputc(*s, f);
    }
    if (quoted)
        fputc('"', f);
}
