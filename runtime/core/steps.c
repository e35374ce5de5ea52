// The walk over a program's steps, which are data: find each argument's address, meet where a
// kernel touches what another thread may have written, tell the observer, call the kernel. Every
// thread of one parallel region walks all of them; a kernel splits its own iteration space by the
// number of the share.
//
// What is computed depends on the share alone, not on the thread that does it: progress.c says who.
#include "runtime/core/rt.h"

typedef struct Walk {
    const HoneModelDesc *desc;
    const HoneSteps *steps;
    const HoneCall *call;
    int32_t thread, threads;
    char *base[HONE_AT_COUNT];
    char *scratch; // of the thread
    bool observe;
} Walk;

static inline char *find_place(const Walk *w, const HonePlace *p) {
    const HoneCall *c = w->call;
    char *b = p->at == HONE_AT_INPUT    ? (char *)c->inputs[p->index]
              : p->at == HONE_AT_OUTPUT ? (char *)c->outputs[p->index]
                                        : w->base[p->at];
    return b + p->offset.c + p->offset.n * c->N;
}

static void run_share(const Walk *w, int32_t first, int32_t end, int32_t share) {
    for (int32_t i = first; i < end; i++) {
        const HoneStep *s = &w->steps->step[i];
        char *args[HONE_MAX_ARGS];
        for (int32_t k = 0; k < s->n_args; k++)
            args[k] = find_place(w, &w->steps->args[s->first_arg + k]);
        if (w->observe) // waiting belongs to the step before it
            w->call->observe(w->call, i);
        w->desc->kernels[s->kernel](args, w->call->N, share, w->threads, w->scratch);
    }
}

static void take_share(const Walk *w, uint32_t phase, int32_t first, int32_t end, int32_t share) {
    RtProgress *p = w->call->progress;
    if (!rt_progress_begin(p, phase, share))
        return;
    run_share(w, first, end, share);
    rt_progress_finish(p, phase, w->threads);
}

// Whoever is observed does what is its own: what comes after a step waits for the observer.
static void run_phase(const Walk *w, uint32_t phase, int32_t first, int32_t end) {
    RtProgress *p = w->call->progress;
    take_share(w, phase, first, end, w->thread);
    if (rt_progress_wait_briefly(p, phase))
        return;
    for (int32_t k = 1; k < w->threads && !w->call->observe; k++)
        take_share(w, phase, first, end, (w->thread + k) % w->threads);
    rt_progress_wait(p, phase);
}

static int32_t find_end(const HoneSteps *steps, int32_t first) {
    int32_t end = first + 1;
    while (end < steps->n && !steps->step[end].barrier)
        end++;
    return end;
}

void rt_steps(const HoneModelDesc *desc, const HoneSteps *steps, const HoneCall *call,
              int32_t thread, int32_t threads) {
    Walk w = {.desc = desc,
              .steps = steps,
              .call = call,
              .thread = thread,
              .threads = threads,
              .base = {[HONE_AT_ARENA] = call->arena,
                       [HONE_AT_WEIGHTS] = (char *)call->weights,
                       [HONE_AT_PREPARED] = call->prepared},
              .scratch = call->scratch ? call->scratch + thread * desc->scratch_bytes : NULL,
              .observe = call->observe && thread == 0};
    uint32_t phase = 0;
    for (int32_t first = 0, end; first < steps->n && threads > 1; first = end, phase++) {
        end = find_end(steps, first);
        run_phase(&w, phase, first, end);
    }
    if (threads == 1)
        run_share(&w, 0, steps->n, 0);
    if (w.observe)
        call->observe(call, steps->n);
    if (threads > 1) { // nobody waits in OpenMP, whose ways of waiting are the host's
        rt_progress_finish(call->progress, phase, threads);
        rt_progress_wait(call->progress, phase);
    }
}
