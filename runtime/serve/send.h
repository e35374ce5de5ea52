// Replies to bytes. Private header.
#ifndef RUNTIME_SERVE_SEND_H
#define RUNTIME_SERVE_SEND_H

#include "runtime/serve/job.h"

struct evbuffer;

// The reply's head and, but for HEAD's, its body; the reply's memory is gone then. The caller frees
// it. NULL: no memory.
struct evbuffer *rt_serve_send(RtServeReply *reply, bool close, bool bodyless);

#endif
