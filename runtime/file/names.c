// Class names and the files that list them; see names.h.
#include "runtime/file/names.h"

#include <string.h>

#include "runtime/core/text.h"

const char *rt_name_fault(const char *name) {
    for (const unsigned char *s = (const unsigned char *)name; *s;) {
        int n = rt_utf8_length(s);
        if (n == 0)
            return "is not UTF-8";
        if (*s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] < 0xa0)) // C0, DEL, C1
            return "has a control character (a line feed, a tab or the like)";
        s += n;
    }
    return NULL;
}

char *rt_names_begin(char *text) {
    return strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
}

char *rt_names_line(char **rest) {
    char *line = *rest;
    if (!*line)
        return NULL;
    char *end = line + strcspn(line, "\n");
    *rest = *end ? end + 1 : end;
    *end = 0;
    if (end > line && end[-1] == '\r')
        end[-1] = 0;
    return line;
}
