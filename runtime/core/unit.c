// Which units of a model run here, and for which sizes of its inputs. A unit is a graph, compiled
// for one machine and one size; a model is a chain of them, in which the better machine comes
// first. So a size is served by the first unit of it whose needs are met, and a model has as many
// sizes as there are such units.
#include "runtime/core/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool rt_unit_runs(const HoneModelDesc *d, uint64_t allowed) {
    return !rt_cpu_missing(d->cpu_needs, allowed);
}

bool rt_unit_same_size(const HoneModelDesc *a, const HoneModelDesc *b) {
    for (int i = 0; i < a->n_inputs; i++)
        for (int k = 0; k < a->inputs[i].rank && k < HONE_MAX_RANK; k++)
            if (a->inputs[i].dim[k].c != b->inputs[i].dim[k].c ||
                a->inputs[i].dim[k].n != b->inputs[i].dim[k].n)
                return false;
    return true;
}

// Is size[n] another one than those before it?
static bool is_new(const HoneModelDesc *const *size, int n) {
    for (int i = 0; i < n; i++)
        if (rt_unit_same_size(size[i], size[n]))
            return false;
    return true;
}

int rt_unit_sizes(const HoneModelDesc *first, const uint64_t *allowed, const HoneModelDesc **size) {
    int n = 0;
    for (const HoneModelDesc *d = first; d && n < HONE_MAX_UNITS; d = d->next) {
        size[n] = d;
        n += (!allowed || rt_unit_runs(d, *allowed)) && is_new(size, n);
    }
    return n;
}

// ---------------------------------------------------------------- the unit that is asked for

static bool input_fits(const HoneTensorDesc *t, const HoneTensorInfo *asked) {
    bool fits = t->rank == asked->rank;
    for (int i = 0; fits && i < t->rank && i < HONE_MAX_RANK; i++)
        fits = asked->dim[i] < 0 || t->dim[i].n || t->dim[i].c == asked->dim[i];
    return fits;
}

bool rt_unit_fits(const HoneModelDesc *d, int n_inputs, const HoneTensorInfo *inputs) {
    for (int k = 0; k < n_inputs; k++)
        for (int i = 0; i < d->n_inputs; i++)
            if (strcmp(d->inputs[i].name, inputs[k].name) == 0 &&
                !input_fits(&d->inputs[i], &inputs[k]))
                return false;
    return true;
}

// "x f32[N,3,224,224], y f32[4]"
static size_t print_inputs(const HoneModelDesc *d, char *text, size_t size) {
    char type[160];
    size_t n = 0;
    for (int i = 0; i < d->n_inputs && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s %s", i ? ", " : "", d->inputs[i].name,
                              rt_tensor_text(&d->inputs[i], type, sizeof type));
    return n;
}

const char *rt_unit_sizes_text(const HoneModelDesc *first, char *text, size_t size) {
    enum { SHOWN = 6 };
    const HoneModelDesc *sizes[HONE_MAX_UNITS];
    int count = rt_unit_sizes(first, NULL, sizes);
    size_t n = 0;
    *text = 0;
    for (int i = 0; i < count && i < SHOWN && n < size; i++) {
        n += (size_t)snprintf(text + n, size - n, "%s", i ? "; " : "");
        n += n < size ? print_inputs(sizes[i], text + n, size - n) : 0;
    }
    if (count > SHOWN && n < size)
        snprintf(text + n, size - n, "; and %d more", count - SHOWN);
    return text;
}

#if defined(__aarch64__)
#define ANY_CPU "--mcpu aarch64, or this CPU's name" // hone makes such programs on other machines
#else
#define ANY_CPU "--mcpu generic or on this machine"
#endif

static void say_what_is_missing(const HoneModelDesc *d, uint64_t allowed, RtErr *err) {
    const char *cpu = d->cpu ? d->cpu : "another CPU";
    const char *missing = rt_cpu_missing(d->cpu_needs, RT_CPU_ALL);
    if (missing)
        rt_fail(err,
                "the model was compiled for %s and needs %s, which this %s; "
                "compile it with " ANY_CPU,
                cpu, missing,
                rt_cpu_is_forbidden(d->cpu_needs) ? "system does not permit" : "CPU lacks");
    else
        rt_fail(err, "the model was compiled for %s and needs %s, which HONE_CPU=%s hides", cpu,
                rt_cpu_missing(d->cpu_needs, allowed), getenv("HONE_CPU"));
}

int rt_unit_nearest(const HoneModelDesc *const *size, int n, int width, int height) {
    double best[2] = {INFINITY, INFINITY}, x = width, y = height;
    int nearest = 0;
    for (int k = 0; k < n; k++) {
        double w = size[k]->preprocess.width, h = size[k]->preprocess.height;
        double off[2] = {fabs(log(w / h) - log(x / y)), fabs(log(w * h) - log(x * y))};
        if (off[0] < best[0] || (off[0] == best[0] && off[1] < best[1])) {
            nearest = k;
            best[0] = off[0];
            best[1] = off[1];
        }
    }
    return nearest;
}

const HoneModelDesc *rt_unit_find(const HoneModelDesc *first, int n_inputs,
                                  const HoneTensorInfo *inputs, RtErr *err) {
    uint64_t allowed;
    if (!rt_cpu_allowed(&allowed, err))
        return NULL;
    const HoneModelDesc *last = NULL; // whose inputs fit
    for (const HoneModelDesc *d = first; d; d = d->next) {
        if (!rt_unit_fits(d, n_inputs, inputs))
            continue;
        if (rt_unit_runs(d, allowed))
            return d;
        last = d;
    }
    char text[640];
    if (last)
        say_what_is_missing(last, allowed, err);
    else
        rt_fail(err, "the model was compiled for inputs of other shapes: %s",
                rt_unit_sizes_text(first, text, sizeof text));
    return NULL;
}
