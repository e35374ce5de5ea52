// Constants in the form that kernels read (Winograd's filters, mostly): made of a unit's weights
// when the first instance of it is created, used by all instances in the process, and gone with the
// last. They do not depend on who made them, nor on how many threads.
//
// The list of them is the process's, beyond any instance. Whoever comes while they are being made
// waits; fork() waits, too, so that the child finds a list in order.
#define _GNU_SOURCE
#include "runtime/core/rt.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef struct List {
    pthread_mutex_t lock;
    pthread_once_t once;
    RtPrepared *first;
} List;
static List list = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void lock_list(void) {
    pthread_mutex_lock(&list.lock);
}

static void unlock_list(void) {
    pthread_mutex_unlock(&list.lock);
}

static void watch_forks(void) {
    pthread_atfork(lock_list, unlock_list, unlock_list); // goes when this library is unloaded
}

static RtPrepared *prepare(const HoneModelDesc *desc, void (*make)(void *, char *), void *ctx) {
    RtPrepared *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    *p = (RtPrepared){
        .made_by = desc->init.step, .bytes = (size_t)desc->prepared_bytes, .next = list.first};
    p->bytes += p->bytes == 0;
    p->space = rt_alloc_pages(&p->bytes);
    if (!p->space) {
        free(p);
        return NULL;
    }
    make(ctx, p->space);
    mprotect(p->space, p->bytes, PROT_READ); // who cannot, still has them right
    list.first = p;
    return p;
}

RtPrepared *rt_prepared_get(const HoneModelDesc *desc, void (*make)(void *ctx, char *space),
                            void *ctx, RtErr *err) {
    pthread_once(&list.once, watch_forks);
    lock_list();
    RtPrepared *p = list.first;
    while (p && p->made_by != desc->init.step)
        p = p->next;
    p = p ? p : prepare(desc, make, ctx);
    if (p)
        p->users++;
    unlock_list();
    if (!p)
        rt_fail(err, "no memory for %lld bytes of prepared weights",
                (long long)desc->prepared_bytes);
    return p;
}

void rt_prepared_release(RtPrepared *p) {
    lock_list();
    bool last = --p->users == 0;
    if (last) {
        RtPrepared **at = &list.first;
        while (*at != p)
            at = &(*at)->next;
        *at = p->next;
    }
    unlock_list();
    if (last) {
        munmap(p->space, p->bytes);
        free(p);
    }
}
