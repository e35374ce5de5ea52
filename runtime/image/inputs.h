// The images that somebody names: files, folders, patterns, a list on standard input. Private
// header.
#ifndef RUNTIME_IMAGE_INPUTS_H
#define RUNTIME_IMAGE_INPUTS_H

#include "runtime/core/rt.h"

// For help texts.
#define RT_INPUTS_RULE                                                                             \
    "Of a folder, all .jpg, .jpeg, .png and .webp files below it in the order of their names; a\n" \
    "quoted pattern such as 'photos/*.jpg' is what it matches; - is a list of files and folders\n" \
    "on standard input, one a line, each answered when it is read.\n"

typedef bool (*RtInputVisit)(void *ctx, const char *path, RtErr *err);

// Visits all files below a folder whose names end as images' do, in the order of their names
// (bytes, whatever the locale); hidden ones are left out, links are followed. What cannot be looked
// at, a broken link or a closed folder, is visited, too: who reads it says why. False with err set:
// what visit() said, or that there are none.
bool rt_inputs_walk(const char *folder, RtInputVisit visit, void *ctx, RtErr *err);

typedef struct RtInputs RtInputs;

// What n words name: a file; a folder, walked; a pattern (* ? [) that is no file, in a shell's
// meaning; "-", once: a name a line, of a file or a folder, read when it is asked for. NULL with
// err set: a folder without an image, no memory.
RtInputs *rt_inputs_open(const char *const *words, int n, RtErr *err);
void rt_inputs_close(RtInputs *in); // NULL is fine
// Files that are known now and not yet taken.
int64_t rt_inputs_known(const RtInputs *in);
bool rt_inputs_listed(const RtInputs *in); // is a list among the words?
// Visits those that are known now.
bool rt_inputs_visit(const RtInputs *in, RtInputVisit visit, void *ctx, RtErr *err);
// The next files, at most `most`, for the caller to free() each; 0: that were all; -1: err is set.
// It waits for the first alone: whoever writes the list may wait for an answer to each line.
int rt_inputs_take(RtInputs *in, char **path, int most, RtErr *err);

#endif
