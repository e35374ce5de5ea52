// Comma-separated values, as RFC 4180 has them, of texts that nobody vouches for. Private header.
#ifndef RUNTIME_FILE_CSV_H
#define RUNTIME_FILE_CSV_H

#include <stdio.h>

// A field: a comma in front unless it begins the line, quotes where it needs them. What a terminal
// may not have, line breaks too, is written as \xNN. NULL is an empty one.
void rt_csv_text(FILE *f, const char *text, int first);

#endif
