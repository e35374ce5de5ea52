// Which changes an image gets, and how strong they are: the tables of torchvision
// (transforms/autoaugment.py) and timm (data/auto_augment.py). Strengths are linear in a level. See
// policy.h.
#include "runtime/image/policy.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { // of a strength
    SIGNED = 1,
    OF_SIZE = 2,   // a share of the width or height
    TRUNCATED = 4, // what is added to the weakest is a whole number, towards 0
    ROUNDED = 8,   // the same, to the nearest
};

typedef struct Row {
    int op;
    double from, to; // at level 0, at the highest
    int how;
} Row;

static const Row ta_wide[] = {
    {RT_POLICY_IDENTITY, 0, 0, 0},           {RT_POLICY_SHEAR_X, 0, 0.99, SIGNED},
    {RT_POLICY_SHEAR_Y, 0, 0.99, SIGNED},    {RT_POLICY_TRANSLATE_X, 0, 32, SIGNED},
    {RT_POLICY_TRANSLATE_Y, 0, 32, SIGNED},  {RT_POLICY_ROTATE, 0, 135, SIGNED},
    {RT_POLICY_BRIGHTNESS, 0, 0.99, SIGNED}, {RT_POLICY_COLOR, 0, 0.99, SIGNED},
    {RT_POLICY_CONTRAST, 0, 0.99, SIGNED},   {RT_POLICY_SHARPNESS, 0, 0.99, SIGNED},
    {RT_POLICY_POSTERIZE, 8, 2, ROUNDED},    {RT_POLICY_SOLARIZE, 255, 0, 0},
    {RT_POLICY_AUTO_CONTRAST, 0, 0, 0},      {RT_POLICY_EQUALIZE, 0, 0, 0},
};

static const Row ra[] = {
    {RT_POLICY_IDENTITY, 0, 0, 0},
    {RT_POLICY_SHEAR_X, 0, 0.3, SIGNED},
    {RT_POLICY_SHEAR_Y, 0, 0.3, SIGNED},
    {RT_POLICY_TRANSLATE_X, 0, 150.0 / 331.0, SIGNED | OF_SIZE},
    {RT_POLICY_TRANSLATE_Y, 0, 150.0 / 331.0, SIGNED | OF_SIZE},
    {RT_POLICY_ROTATE, 0, 30, SIGNED},
    {RT_POLICY_BRIGHTNESS, 0, 0.9, SIGNED},
    {RT_POLICY_COLOR, 0, 0.9, SIGNED},
    {RT_POLICY_CONTRAST, 0, 0.9, SIGNED},
    {RT_POLICY_SHARPNESS, 0, 0.9, SIGNED},
    {RT_POLICY_POSTERIZE, 8, 4, ROUNDED},
    {RT_POLICY_SOLARIZE, 255, 0, 0},
    {RT_POLICY_AUTO_CONTRAST, 0, 0, 0},
    {RT_POLICY_EQUALIZE, 0, 0, 0},
};

static const Row rand_augment[] = {
    {RT_POLICY_AUTO_CONTRAST, 0, 0, 0},
    {RT_POLICY_EQUALIZE, 0, 0, 0},
    {RT_POLICY_INVERT, 0, 0, 0},
    {RT_POLICY_ROTATE, 0, 30, SIGNED},
    {RT_POLICY_SOLARIZE_ADD, 0, 110, TRUNCATED},
    {RT_POLICY_SHEAR_X, 0, 0.3, SIGNED},
    {RT_POLICY_SHEAR_Y, 0, 0.3, SIGNED},
    {RT_POLICY_TRANSLATE_X, 0, 0.45, SIGNED | OF_SIZE},
    {RT_POLICY_TRANSLATE_Y, 0, 0.45, SIGNED | OF_SIZE},
    {RT_POLICY_BRIGHTNESS, -0.9, 0.9, 0},
    {RT_POLICY_COLOR, -0.9, 0.9, 0},
    {RT_POLICY_CONTRAST, -0.9, 0.9, 0},
    {RT_POLICY_SHARPNESS, -0.9, 0.9, 0},
    {RT_POLICY_POSTERIZE, 0, 4, TRUNCATED},
    {RT_POLICY_SOLARIZE, 0, 256, TRUNCATED},
    // in place of those six, where all are to increase
    {RT_POLICY_BRIGHTNESS, 0, 0.9, SIGNED},
    {RT_POLICY_COLOR, 0, 0.9, SIGNED},
    {RT_POLICY_CONTRAST, 0, 0.9, SIGNED},
    {RT_POLICY_SHARPNESS, 0, 0.9, SIGNED},
    {RT_POLICY_POSTERIZE, 4, 0, TRUNCATED},
    {RT_POLICY_SOLARIZE, 256, 0, TRUNCATED},
};
enum { RAND_INSTEAD = 6, RAND_N = sizeof rand_augment / sizeof *rand_augment - RAND_INSTEAD };
// Of -tweights, in that order.
static const double rand_weights[RAND_N] = {0.25, 0.05, 0.05, 3,    0.05, 2,    2,   1,
                                            1,    0.05, 0.25, 0.05, 0.25, 0.05, 0.05};

typedef struct Table {
    const char *name;
    const Row *row;
    int n, instead;    // of them one is drawn; of its last, and others behind them for `increasing`
    double levels;     // the highest
    bool smooth;       // maps, and around them the mean
    const char *parts; // of its text
    double magnitude, probability; // where the text has no other
} Table;

#define ROWS(t) sizeof(t) / sizeof *(t)
static const Table tables[] = {
    [RT_POLICIES_NONE] = {.name = "none", .parts = ""},
    [RT_TA_WIDE] = {"ta_wide", ta_wide, ROWS(ta_wide), 0, 30, false, "", 0, 1},
    [RT_RA] = {"ra", ra, ROWS(ra), 0, 30, false, " m n mstd ", 9, 1},
    [RT_RAND] = {"rand", rand_augment, RAND_N, RAND_INSTEAD, 10, true, " m n mstd p inc mmax ", 10,
                 0.5},
};
enum { N_TABLES = ROWS(tables) };

// ---------------------------------------------------------------- text

static bool refuse(const char *text, RtErr *err) {
    return rt_fail(
        err,
        "wants none, ta_wide, ra or rand with parts, each once, as ra-m9-n2-mstd0.5 (torchvision's "
        "RandAugment: magnitude of 30, changes, deviation) or rand-m9-mstd0.5-inc1 "
        "(timm's: magnitude of 10, also n, p, mmax, tweights), not '%s'",
        text);
}

typedef struct Part {
    const char *name;
    double least, most;
    bool whole;
} Part;

// "mstd0.5" of those that t has. *taken: bits of the parts that were given, none of them twice.
static bool take_part(const Table *t, const char *part, unsigned *taken, RtPolicies *p) {
    const Part known[] = {{"m", 0, t->smooth ? 1e3 : t->levels, false}, // timm's may be cut off
                          {"n", 1, RT_MAX_POLICIES, true},
                          {"mstd", 0, 1e9, false},
                          {"p", 0, 1, false},
                          {"inc", 0, 1, true},
                          {"mmax", 0, 1e3, true}};
    char name[8] = " ", *end;
    size_t n = 0, k = 0;
    for (; n < 5 && isalpha((unsigned char)part[n]); n++)
        name[n + 1] = part[n];
    memcpy(name + n + 1, " ", 2);
    bool decimal = isdigit((unsigned char)part[n]) && !part[n + strspn(part + n, "0123456789.")];
    double v = decimal ? strtod(part + n, &end) : -1;
    if (v < 0 || *end || !strstr(t->parts, name))
        return false;
    while (strncmp(known[k].name, part, n) != 0 || known[k].name[n])
        k++;
    double whole,
        *numbers[] = {&p->magnitude, &whole, &p->deviation, &p->probability, &whole, &p->most};
    if (v < known[k].least || v > known[k].most || (known[k].whole && v != floor(v)) ||
        *taken >> k & 1)
        return false;
    *taken |= 1u << k;
    *numbers[k] = v;
    if (k == 1)
        p->n = (int)v;
    if (k == 4)
        p->increasing = v > 0;
    return true;
}

// timm's sets of changes.
static bool take_set(const Table *t, const char *part, const char *text, RtPolicies *p,
                     RtErr *err) {
    if (!t->smooth)
        return refuse(text, err);
    p->weighted = strcmp(part, "tweights") == 0;
    if (p->weighted)
        return true;
    bool timms = strcmp(part, "t3a") == 0 || strcmp(part, "t3aw") == 0;
    return rt_fail(err,
                   timms ? "NYI: '%s' of '%s': colours taken away, blur"
                         : "'%s' of '%s' is no set of changes; there is tweights",
                   part, text);
}

static bool take_any(const Table *t, const char *part, const char *text, unsigned *taken,
                     RtPolicies *p, RtErr *err) {
    if (*part == 't')
        return p->weighted ? refuse(text, err) : take_set(t, part, text, p, err);
    return take_part(t, part, taken, p) || refuse(text, err);
}

bool rt_policies_parse(const char *text, RtPolicies *p, RtErr *err) {
    char copy[RT_POLICIES_TEXT], *rest;
    int k = N_TABLES;
    if (snprintf(copy, sizeof copy, "%s", text) < (int)sizeof copy && strtok_r(copy, "-", &rest))
        for (k = 0; k < N_TABLES && strcmp(copy, tables[k].name) != 0;)
            k++;
    if (k == N_TABLES)
        return refuse(text, err);
    const Table *t = &tables[k];
    *p = (RtPolicies){.kind = (RtPolicyKind)k,
                      .n = k == RT_POLICIES_NONE ? 0
                           : k == RT_TA_WIDE     ? 1
                                                 : 2,
                      .magnitude = t->magnitude,
                      .probability = t->probability};
    unsigned taken = 0;
    for (char *part; (part = strtok_r(NULL, "-", &rest));)
        if (!take_any(t, part, text, &taken, p, err))
            return false;
    return !p->weighted || p->n <= RAND_N ||
           rt_fail(err, "'%s': -tweights draws no change twice, there are %d", text, RAND_N);
}

const char *rt_policies_text(const RtPolicies *p, char text[RT_POLICIES_TEXT]) {
    const Table *t = &tables[p->kind];
    int n = snprintf(text, RT_POLICIES_TEXT, "%s", t->name);
    if (*t->parts)
        n += snprintf(text + n, RT_POLICIES_TEXT - (size_t)n, "-m%g-n%d-mstd%g", p->magnitude, p->n,
                      p->deviation);
    if (p->kind == RT_RAND)
        n += snprintf(text + n, RT_POLICIES_TEXT - (size_t)n, "-p%g-inc%d", p->probability,
                      p->increasing);
    if (p->most > 0)
        n += snprintf(text + n, RT_POLICIES_TEXT - (size_t)n, "-mmax%g", p->most);
    if (p->weighted)
        snprintf(text + n, RT_POLICIES_TEXT - (size_t)n, "-tweights");
    return text;
}

// ---------------------------------------------------------------- draws

static double draw_level(const RtPolicies *p, const Table *t, RtRng *r) {
    double top = p->most > 0 ? p->most : t->levels;
    if (p->kind == RT_TA_WIDE)
        return (double)rt_rng_below(r, (int64_t)t->levels + 1);
    if (p->deviation > 100)
        return fmin(p->magnitude * rt_rng_uniform(r), top);
    double level = p->magnitude + (p->deviation > 0 ? p->deviation * rt_rng_normal(r) : 0);
    return fmin(fmax(level, 0), top);
}

// Beyond its table's levels a strength ends where timm ends it.
static double bound(int op, double v) {
    switch (op) {
    case RT_POLICY_BRIGHTNESS:
    case RT_POLICY_COLOR:
    case RT_POLICY_CONTRAST:
    case RT_POLICY_SHARPNESS:
        return fmax(v, -0.9);
    case RT_POLICY_POSTERIZE:
        return fmin(fmax(v, 0), 8);
    case RT_POLICY_SOLARIZE:
        return fmin(fmax(v, 0), 256);
    case RT_POLICY_SOLARIZE_ADD:
        return fmin(v, 128);
    default:
        return v;
    }
}

// By weights, without those that are taken, which it joins.
static int64_t draw_weighted(uint32_t *taken, RtRng *r) {
    double sum = 0, at = rt_rng_uniform(r);
    int64_t last = 0;
    for (int64_t k = 0; k < RAND_N; k++)
        sum += *taken >> k & 1 ? 0 : rand_weights[k];
    at *= sum;
    for (int64_t k = 0; k < RAND_N && at >= 0; k++) {
        if (*taken >> k & 1)
            continue;
        at -= rand_weights[k];
        last = k;
    }
    *taken |= UINT32_C(1) << last;
    return last;
}

static double strength_at(const Row *row, double level, double levels, int width, int height) {
    double size = row->op == RT_POLICY_TRANSLATE_X ? width : height;
    double more = (row->to - row->from) * level / levels;
    more = row->how & ROUNDED ? rint(more) : row->how & TRUNCATED ? trunc(more) : more;
    return (row->from + more) * (row->how & OF_SIZE ? size : 1);
}

int rt_policies_draw(const RtPolicies *p, int width, int height, const uint8_t mean[3], RtRng *r,
                     RtPolicy to[RT_MAX_POLICIES]) {
    const Table *t = &tables[p->kind];
    bool increasing = p->increasing || p->weighted;
    uint32_t taken = 0;
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        int64_t k = p->weighted ? draw_weighted(&taken, r) : rt_rng_below(r, t->n);
        const Row *row = &t->row[increasing && k >= t->n - t->instead ? k + t->instead : k];
        if (p->probability < 1 && rt_rng_uniform(r) >= p->probability)
            continue;
        double v = strength_at(row, draw_level(p, t, r), t->levels, width, height);
        bool back = rt_rng_uniform(r) < 0.5;
        v = row->how & SIGNED && back ? -v : v;
        to[n] = (RtPolicy){row->op, t->smooth ? bound(row->op, v) : v, t->smooth, {0}};
        if (t->smooth)
            memcpy(to[n].fill, mean, sizeof to[n].fill);
        n++;
    }
    return n;
}
