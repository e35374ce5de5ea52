// A request for inference, from its body to its reply, and the model as requests see it. Private
// header.
#ifndef RUNTIME_SERVE_JOB_H
#define RUNTIME_SERVE_JOB_H

#include "runtime/core/rt.h"

typedef struct RtServeModel {
    const HoneModelDesc *first; // the chain of units
    int n_sizes;                // of the inputs, at least 1, in the order of hone_use_size();
    const HoneModelDesc *size[HONE_MAX_UNITS];
    const HoneModelDesc *d; // the first: names, types, ranks and the classifier are as of all
    const char *name;
    int max_batch;  // images of a request, and of a run
    int max_pixels; // of an image
    bool batches; // every tensor's first dimension is N, and no other: requests of a size may share
                  // a run
    bool takes_images; // JPEG, PNG and WebP files in place of its one input
} RtServeModel;

typedef struct RtServeReply {
    int status; // 0: there is none yet
    const char *type;
    char *text; // JSON and other texts; free() releases
    size_t text_bytes;
    char *data; // behind it: tensors in binary form; NULL: none
    size_t data_bytes;
    const char *allow; // of 405: the methods there are
    bool again;        // of 503: in a second
} RtServeReply;

typedef struct RtServeWant { // an output that was asked for
    int output;
    int classes; // the classification extension: the best so many; 0: the tensor
    bool binary;
} RtServeWant;

typedef struct RtServeJob {
    void *owner;  // who waits for the reply
    char *memory; // of the body; free() releases
    char *body;   // a 0 byte behind it
    size_t body_bytes;
    bool packed;        // the body is compressed
    size_t max_body;    // bytes that it may be then
    int64_t json_bytes; // of its beginning; what follows is binary. 0: all is one tensor; -1: all
    int classes;        // where nobody asks for outputs by name; 0: the tensors
    uint64_t arrived, queued, started, computed, deadline; // rt_now()

    // read from the body
    char *id;               // NULL: none
    int size;               // of the inputs,
    const HoneModelDesc *d; // as the model has it
    int64_t rows;           // N
    void **x; // [n_x] dense, RT_ALIGN: the model's inputs; parts of the body where they can be
    void **y; // [n_y] and outputs
    int n_x, n_y;
    int64_t (*dim)[HONE_MAX_RANK]; // [n_y] of the outputs, once they are computed
    RtServeWant *want;
    int n_want;

    RtErr err;
    bool too_large; // once it is unpacked
    RtServeReply reply;
    struct RtServeJob *next;
} RtServeJob;

void rt_serve_job_free(RtServeJob *job); // NULL: nothing
// Text for a person in a reply of JSON, {"error": text}.
void rt_serve_reply_error(RtServeReply *reply, int status, const char *text);
void rt_serve_reply_free(RtServeReply *reply);

// "FP32", by HONE_F32 and so on: KServe's names of element types.
const char *rt_serve_dtype(int dtype);
// The sizes that run here; do requests' shapes fit together; may it take images? False: nothing
// runs here, err says why.
bool rt_serve_model(RtServeModel *m, const HoneModelDesc *first, const char *name, int max_batch,
                    RtErr *err);

// Unpacks a compressed body (unpack.c). False: err says why not.
bool rt_serve_unpack(RtServeJob *job);
// From the body to x, with room for y (request.c). False: err says why not.
bool rt_serve_read(const RtServeModel *m, RtServeJob *job);
// From y to the reply (reply.c).
void rt_serve_write(const RtServeModel *m, RtServeJob *job);

#endif
