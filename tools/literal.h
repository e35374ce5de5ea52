// Lists and dictionaries that exporters write into a model's metadata, in JSON or as Python prints
// them. Private to tools/.
#ifndef TOOLS_LITERAL_H
#define TOOLS_LITERAL_H

#include "ir/arena.h"

#include <stdbool.h>

typedef struct ToolTexts {
    int n;
    const char **v; // arena; never NULL
} ToolTexts;

// "{0: 'cat', 1: 'dog'}", "{\"0\": \"cat\"}", "['cat', 'dog']" or "('cat', 'dog')" to texts; those
// of a dictionary stand at their keys, which are numbers. Controls stay as they are escaped there.
// False: it is none of these.
bool tool_literal_texts(IrArena *a, const char *text, ToolTexts *out);
// "0.485, 0.456", with or without brackets around, to at most `most` numbers in min..max. Their
// count; 0: it is something else.
int tool_literal_numbers(IrArena *a, const char *text, double min, double max, double *out,
                         int most);

#endif
