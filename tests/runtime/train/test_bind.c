// Bindings of a training graph are checked before it runs: what fits passes, and a wrong type,
// shape, direction, number or kind is named.
#include "runtime/train/bind.h"
#include "tests/check.h"

#include <string.h>

enum { CLASSES = 5 };

static const HoneParam params[] = {{.name = "w", .rank = 2, .dim = {CLASSES, 7}},
                                   {.name = "b", .rank = 1, .dim = {CLASSES}}};
static const HoneTrainDesc classifier = {.classes = CLASSES, .n_params = 2, .params = params};
static const HoneTrainDesc binary = {.classes = 2, .binary = 1, .n_params = 2, .params = params};

typedef struct Case {
    HoneBind bind;
    bool output, binary, fits;
    HoneTensorDesc tensor;
} Case;

#define T(type, ...)                                                                               \
    { "t", HONE_##type, __VA_ARGS__ }
#define N_                                                                                         \
    { 0, 1 }
#define D_(n)                                                                                      \
    { n, 0 }
static const Case cases[] = {
    {{HONE_BIND_IMAGE, 0}, false, false, true, T(F32, 4, {N_, D_(3), D_(8), D_(8)})},
    {{HONE_BIND_IMAGE, 0}, false, false, false, T(U8, 4, {N_, D_(3), D_(8), D_(8)})},
    {{HONE_BIND_IMAGE, 0}, true, false, false, T(F32, 4, {N_, D_(3), D_(8), D_(8)})},
    {{HONE_BIND_IMAGE, 0}, false, false, false, T(F32, 4, {D_(1), D_(3), D_(8), D_(8)})},
    {{HONE_BIND_FEATURE, 3}, true, false, true, T(F32, 2, {N_, D_(9)})},
    {{HONE_BIND_FEATURE, -1}, true, false, false, T(F32, 2, {N_, D_(9)})},
    {{HONE_BIND_LABEL, 0}, false, false, true, T(I32, 1, {N_})},
    {{HONE_BIND_LABEL, 0}, false, false, false, T(I64, 1, {N_})},
    {{HONE_BIND_LABEL, 0}, false, false, false, T(I32, 2, {N_, D_(1)})},
    {{HONE_BIND_TARGET, 0}, false, false, true, T(F32, 2, {N_, D_(CLASSES)})},
    {{HONE_BIND_TARGET, 0}, false, true, true, T(F32, 2, {N_, D_(1)})},
    {{HONE_BIND_TARGET, 0}, false, true, false, T(F32, 2, {N_, D_(2)})},
    {{HONE_BIND_CLASS_WEIGHT, 0}, false, false, true, T(F32, 1, {D_(CLASSES)})},
    {{HONE_BIND_CLASS_WEIGHT, 0}, false, false, false, T(F32, 1, {N_})},
    {{HONE_BIND_SEED, 0}, false, false, true, T(I64, 0, {N_})},
    {{HONE_BIND_SEED, 0}, false, false, false, T(I64, 1, {D_(1)})},
    {{HONE_BIND_PARAM, 0}, false, false, true, T(F32, 2, {D_(CLASSES), D_(7)})},
    {{HONE_BIND_PARAM, 0}, true, false, true, T(F32, 2, {D_(CLASSES), D_(7)})},
    {{HONE_BIND_PARAM, 1}, false, false, false, T(F32, 2, {D_(CLASSES), D_(7)})},
    {{HONE_BIND_PARAM, 2}, false, false, false, T(F32, 2, {D_(CLASSES), D_(7)})},
    {{HONE_BIND_GRAD, 1}, true, false, true, T(F32, 1, {D_(CLASSES)})},
    {{HONE_BIND_GRAD, 1}, false, false, false, T(F32, 1, {D_(CLASSES)})},
    {{HONE_BIND_LOSS, 0}, true, false, true, T(F32, 1, {N_})},
    {{HONE_BIND_LOGITS, 0}, true, false, false, T(F32, 2, {N_, D_(4)})},
    {{HONE_BIND_P, 0}, true, false, true, T(F32, 2, {N_, D_(1024)})},
    {{HONE_BIND_P, 0}, true, false, false, T(F32, 2, {N_, D_(1000)})},
    {{HONE_BIND_LR, 0}, false, false, true, T(F32, 0, {N_})},
    {{HONE_BIND_COUNT, 0}, false, false, false, T(F32, 0, {N_})},
    {{-1, 0}, false, false, false, T(F32, 0, {N_})},
};

int main(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        HoneModelDesc m = {.name = "train.0",
                           .n_inputs = !c->output,
                           .n_outputs = c->output,
                           .inputs = &c->tensor,
                           .outputs = &c->tensor};
        HoneTrainGraph g = {
            .model = &m, .n_in = !c->output, .n_out = c->output, .in = &c->bind, .out = &c->bind};
        RtErr err = {{0}};
        bool fits = rt_bind_check(c->binary ? &binary : &classifier, &g, &err);
        if (fits != c->fits)
            fprintf(stderr, "case %zu: kind %d %s\n", i, c->bind.kind, fits ? "passes" : "fails");
        CHECK(fits == c->fits);
        CHECK(fits || strstr(err.text, c->output ? "train.0: its output 't' is not"
                                                 : "train.0: its input 't' is not"));
    }
    return check_done();
}
