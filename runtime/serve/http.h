// HTTP/1.1 requests as bytes: what they say, or why they are refused. No sockets here. Private
// header.
#ifndef RUNTIME_SERVE_HTTP_H
#define RUNTIME_SERVE_HTTP_H

#include "runtime/core/rt.h"

enum { RT_HTTP_MAX_HEAD = 16384, RT_HTTP_MAX_FIELDS = 64, RT_HTTP_MAX_CHUNK_LINE = 18 };

typedef struct RtHttpField {
    const char *name, *value; // the value without spaces around it
} RtHttpField;

typedef struct RtHttpHead {
    const char *method, *path, *query; // as sent; the query "" where there is none
    int minor;                         // of version 1.x
    bool chunked, close, expects;      // a chunked body; close after it; a 100 is waited for
    bool packed;                       // the body is compressed, by gzip or deflate
    int64_t length;                    // of a body that is not chunked
    int n;
    RtHttpField field[RT_HTTP_MAX_FIELDS];
    int status; // of a refused head,
    const char *reason;
} RtHttpHead;

// Bytes of the head at the beginning of text[n], its empty line included; 0: not all of it is
// there; -1: it has an end of line that is none, and never ends.
int64_t rt_http_head_size(const char *text, size_t n);
// Reads a whole head, in place: text[n] is a 0 byte. False: `status` and `reason` say why not. What
// two servers might read in two ways is refused: a second length, a length beside chunks, spaces
// before a colon, folded lines, and any encoding but chunked.
bool rt_http_read(char *text, size_t n, RtHttpHead *head);
const char *rt_http_field(const RtHttpHead *head, const char *name); // NULL: there is none
// The size that begins a chunk, a line without its end; -1: it is none. No extensions.
int64_t rt_http_chunk_size(const char *line);
// Undoes %XX in place; false: it is malformed, or hides a 0 byte.
bool rt_http_unescape(char *text);
// "Not Found"
const char *rt_http_reason(int status);

#endif
