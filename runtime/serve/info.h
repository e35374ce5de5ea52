// Documents about the server and its model, in KServe's and Triton's shapes. Private header.
#ifndef RUNTIME_SERVE_INFO_H
#define RUNTIME_SERVE_INFO_H

#include "runtime/serve/job.h"

void rt_serve_info_server(const RtServeModel *m, FILE *f);
void rt_serve_info_model(const RtServeModel *m, FILE *f);
void rt_serve_info_config(const RtServeModel *m, uint64_t delay_ns, int instances, FILE *f);
void rt_serve_info_index(const RtServeModel *m, FILE *f); // of the repository
// What the page must know: model.json.
void rt_serve_info_page(const RtServeModel *m, FILE *f);
extern const char rt_serve_page[]; // page.c: the page at /

#endif
