// Compressed bodies: gzip's and zlib's forms, by zlib. What they unpack to is bounded as bodies
// are.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/serve/job.h"

enum { EITHER_FORM = 32 + MAX_WBITS, FIRST_ROOM = 1 << 16 };

static bool grow(char **text, size_t *room, size_t most) {
    size_t more = *room ? (*room > most / 2 ? most : 2 * *room) : FIRST_ROOM;
    more = more < most ? more : most;
    char *grown = more > *room ? realloc(*text, more + 1) : NULL;
    if (grown) {
        *text = grown;
        *room = more;
    }
    return grown != NULL;
}

// All of the stream z, one and no more; Z_BUF_ERROR: it is larger than that.
static int unpack(z_stream *z, size_t most, char **text, size_t *bytes) {
    size_t room = 0;
    int code = Z_OK;
    while (code == Z_OK) {
        if (z->total_out == room && !grow(text, &room, most))
            return room == most ? Z_BUF_ERROR : Z_MEM_ERROR;
        z->next_out = (Bytef *)*text + z->total_out;
        z->avail_out = (uInt)(room - z->total_out);
        code = inflate(z, Z_NO_FLUSH);
        if (code == Z_BUF_ERROR)
            return Z_DATA_ERROR; // cut off: there was room
    }
    *bytes = z->total_out;
    return code == Z_STREAM_END && z->avail_in == 0 ? Z_OK : Z_DATA_ERROR;
}

bool rt_serve_unpack(RtServeJob *job) {
    z_stream z = {.next_in = (Bytef *)job->body, .avail_in = (uInt)job->body_bytes};
    char *text = NULL;
    size_t bytes = 0;
    int code = inflateInit2(&z, EITHER_FORM);
    if (code == Z_OK) {
        code = unpack(&z, job->max_body, &text, &bytes);
        inflateEnd(&z);
    }
    free(code == Z_OK ? job->memory : text);
    job->too_large = code == Z_BUF_ERROR;
    if (code == Z_OK) {
        text[bytes] = 0;
        job->memory = job->body = text;
        job->body_bytes = bytes;
        return true;
    }
    return rt_fail(&job->err, code == Z_MEM_ERROR   ? "no memory for the request"
                              : code == Z_BUF_ERROR ? "the request is too large, unpacked"
                                                    : "the compressed body is damaged");
}
