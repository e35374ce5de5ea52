// A step has the images that --batch and --accumulate ask for. The batches that it is cut into are
// the leaves of the tree along which gradients are added (gradient.h), so that the cut decides the
// bits, and the number of processes does not: it is as the options say, as many batches as
// processes where those are fewer, and in a run that goes on as it was when the run began.
#include "runtime/train/cut.h"

#include <stdio.h>
#include <string.h>

// Images of each batch, the last of a step may have fewer.
static int64_t share_of(int64_t images, int64_t batches) {
    return (images + batches - 1) / batches;
}

bool rt_cut_step(RtRun *r) {
    RtTrainSettings *s = &r->own;
    int n = rt_ranks_n(r->ranks);
    r->step_images = (int64_t)s->batch * s->accumulate;
    if (n <= s->accumulate || s->lr_picture) // of a range test each takes whole batches
        return true;
    if (r->step_images < n)
        return rt_fail(&r->err,
                       "%d processes cannot share the images of a step, %lld: give --batch %d, or "
                       "more",
                       n, (long long)r->step_images, n);
    s->batch = (int)share_of(r->step_images, n);
    s->accumulate = n;
    rt_train_log_line(
        &r->log,
        "%d processes share the %lld images of a step, as --batch %d --accumulate %d, "
        "which gives the same bits on any number of them",
        n, (long long)s->batch * n, s->batch, n);
    return true;
}

void rt_cut_as_before(RtRun *r, const char *options) {
    RtTrainSettings *s = &r->own;
    const char *at = strstr(options, " batch=");
    int batch, batches;
    if (!at || sscanf(at, " batch=%d accumulate=%d", &batch, &batches) != 2 || batches < 1 ||
        share_of(r->step_images, batches) != batch ||
        (batch == s->batch && batches == s->accumulate))
        return;
    s->batch = batch;
    s->accumulate = batches;
    rt_run_make_keys(r);
    rt_train_log_line(&r->log, "steps are cut as the run began: --batch %d --accumulate %d", batch,
                      batches);
}
