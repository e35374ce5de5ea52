// The walk over a program's steps, which are data: find each argument's address, meet where a
// kernel touches what another thread may have written, tell the observer, call the kernel. Every
// thread of one parallel region walks all of them; a kernel splits its own iteration space.
#include "runtime/core/rt.h"

static inline char *find_place(const HoneCall *c, char *const *base, const HonePlace *p) {
    char *b = p->at == HONE_AT_INPUT    ? (char *)c->inputs[p->index]
              : p->at == HONE_AT_OUTPUT ? (char *)c->outputs[p->index]
                                        : base[p->at];
    return b + p->offset.c + p->offset.n * c->N;
}

void rt_steps(const HoneModelDesc *desc, const HoneSteps *steps, const HoneCall *call,
              int32_t thread, int32_t threads) {
    char *const base[HONE_AT_COUNT] = {[HONE_AT_ARENA] = call->arena,
                                       [HONE_AT_WEIGHTS] = (char *)call->weights,
                                       [HONE_AT_PREPARED] = call->prepared};
    char *scratch = call->scratch ? call->scratch + thread * desc->scratch_bytes : NULL;
    bool observe = call->observe && thread == 0;
    for (int32_t i = 0; i < steps->n; i++) {
        const HoneStep *s = &steps->step[i];
        char *args[HONE_MAX_ARGS];
        for (int32_t k = 0; k < s->n_args; k++)
            args[k] = find_place(call, base, &steps->args[s->first_arg + k]);
        if (s->barrier)
            rt_barrier_wait(call->barrier, threads);
        if (observe) // waiting at the barrier belongs to the step before it
            call->observe(call, i);
        desc->kernels[s->kernel](args, call->N, thread, threads, scratch);
    }
    if (observe)
        call->observe(call, steps->n);
}
