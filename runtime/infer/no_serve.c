// In place of the server in a program that was compiled without.
#include "runtime/infer/infer.h"

bool rt_infer_is_no_serve(int (*run)(const RtInfer *, int, char **)) {
    return run == rt_infer_no_serve;
}

int rt_infer_no_serve(const RtInfer *in, int argc, char **argv) {
    (void)argc, (void)argv;
    RtErr err;
    rt_fail(&err, RT_LEFT_OUT, in->program, "serve", "serve");
    return rt_infer_complain(err.text);
}
