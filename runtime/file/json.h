// Writing JSON. Private header.
#ifndef RUNTIME_FILE_JSON_H
#define RUNTIME_FILE_JSON_H

#include "runtime/core/rt.h"
#include "runtime/core/text.h"

// Everything goes to `f` in one line at once; commas are put where they belong. `key` is NULL
// inside arrays and at the top. Nesting is the caller's duty: each begin has its end.
typedef struct RtJson {
    FILE *f;
    bool comma; // the next value needs one before it
} RtJson;

void rt_json_begin(RtJson *j, const char *key, char bracket);     // '{' or '['
void rt_json_end(RtJson *j, char bracket);                        // '}' or ']'
void rt_json_text(RtJson *j, const char *key, const char *value); // NULL: null
void rt_json_int(RtJson *j, const char *key, int64_t value);
void rt_json_number(RtJson *j, const char *key, double value, int digits); // infinite, NaN: null
void rt_json_bool(RtJson *j, const char *key, bool value);

#endif
