// Class names: what one is, and text files with one a line. The compiler and its programs read such
// files here alone.
#ifndef RUNTIME_FILE_NAMES_H
#define RUNTIME_FILE_NAMES_H

#include "runtime/core/rt.h"

// Why `name` is none: a name is one line of UTF-8 that shows what it is, without control characters
// and without those that nobody sees, so that it comes back from a line of text, from JSON and from
// a model's metadata as it went in. NULL: it is one.
const char *rt_name_fault(const char *name);

typedef struct RtNames {
    char *text;        // that the names lie in
    const char **name; // of line i + 1
    int64_t n;
} RtNames;

// The lines of a text, which is cut up in place: a byte order mark at its begin, which editors
// write in front of UTF-8, and empty lines at its end are none; a line ends in \n or \r\n. No name
// is checked. False: no memory.
bool rt_names_split(RtNames *names, char *text);
// A file of names. False with err set: it cannot be read, is no text, or a line is no name; an
// empty line is none unless all behind it are empty, since a name's place is the number of its
// class.
bool rt_names_load(RtNames *names, const char *path, RtErr *err);
// The first line, from 1, whose name an earlier line has, too; *earlier is that one's. 0: none.
int64_t rt_names_twice(const RtNames *names, int64_t *earlier);
void rt_names_free(RtNames *names); // after rt_names_split() the text as well; any state

#endif
