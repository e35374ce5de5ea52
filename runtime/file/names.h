// Class names: what one is, and text files with one a line.
#ifndef RUNTIME_FILE_NAMES_H
#define RUNTIME_FILE_NAMES_H

// Why `name` is none: a name is one line of UTF-8 without control characters, so that it comes back
// from a line of text, from JSON and from a model's metadata as it went in. NULL: it is one.
const char *rt_name_fault(const char *name);
// Past a byte order mark at the begin of a file, which editors write in front of UTF-8.
char *rt_names_begin(char *text);
// Cuts the line at *rest, which ends in \n, \r\n or the text's end, and moves *rest behind it.
// NULL: no line is left.
char *rt_names_line(char **rest);

#endif
