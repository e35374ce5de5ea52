// The range of a tensor that is quantized: found from a histogram over all images, which takes the
// same memory for any number of them.
//
// Invariant: 0 is in every range, and quantized exactly: padding and what ReLU makes are zeros.
#include "frontend/quantize/quantize.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 256 };

static const char *const method_names[FE_QUANT_METHODS] = {[FE_QUANT_MINMAX] = "minmax",
                                                           [FE_QUANT_PERCENTILE] = "percentile",
                                                           [FE_QUANT_ENTROPY] = "entropy"};

const char *fe_quant_method_name(FeQuantMethod m) {
    return method_names[m];
}

bool fe_quant_method_parse(const char *name, FeQuantMethod *out) {
    for (int i = 0; i < FE_QUANT_METHODS; i++) {
        if (strcmp(name, method_names[i]) == 0) {
            *out = (FeQuantMethod)i;
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------- what was seen

bool fe_quant_see(FeQuantRange *r, const float *x, int64_t n) {
    float lo = (float)r->lo, hi = (float)r->hi;
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        finite &= isfinite(x[i]) != 0;
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    r->lo = (double)lo;
    r->hi = (double)hi;
    return finite;
}

void fe_quant_count(FeQuantRange *r, const float *x, int64_t n) {
    double scale = r->hi > r->lo ? FE_QUANT_BINS / (r->hi - r->lo) : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = (int64_t)(((double)x[i] - r->lo) * scale);
        if (x[i] == 0) {
            r->zeros++;
            continue;
        }
        r->bin[k < 0 ? 0 : k < FE_QUANT_BINS ? k : FE_QUANT_BINS - 1]++;
    }
}

// ---------------------------------------------------------------- the choice

// Where `share` of all numbers lies on the side of bin `end`, towards `step`; within a bin they
// are taken for spread evenly. Zeros count, but lie nowhere: 0 is in the range anyway.
static double cut(const FeQuantRange *r, double share, int end, int step) {
    double all = r->zeros, passed = 0, width = (r->hi - r->lo) / FE_QUANT_BINS;
    for (int i = 0; i < FE_QUANT_BINS; i++) {
        all += r->bin[i];
    }
    for (int i = end; i >= 0 && i < FE_QUANT_BINS; i += step) {
        double part = r->bin[i] > 0 ? (share * all - passed) / r->bin[i] : 1;
        passed += r->bin[i];
        if (passed >= share * all) {
            part = part < 0 ? 0 : part > 1 ? 1 : part;
            return r->lo + width * (step > 0 ? i + part : i + 1 - part);
        }
    }
    return step > 0 ? r->hi : r->lo;
}

static void choose_percentile(FeQuantRange *r, double percentile) {
    double share = (100 - percentile) / 200;
    r->from = cut(r, share, 0, 1);
    r->to = cut(r, share, FE_QUANT_BINS - 1, -1);
}

// Zeros, which ReLU makes most of many tensors, are exact whatever the range is, and left out.
//
// The Kullback-Leibler divergence between bins [first, last] with all outside at their ends, and
// the same numbers without these in LEVELS parts, each spread over its bins that hold any.
static double divergence(const double *bin, int first, int last, const double outside[2]) {
    double p[FE_QUANT_BINS], sum_p = 0, sum_q = 0, d = 0;
    int n = last - first + 1;
    double q[FE_QUANT_BINS];
    memcpy(p, bin + first, (size_t)n * sizeof *p);
    p[0] += outside[0];
    p[n - 1] += outside[1];
    for (int k = 0; k < LEVELS; k++) {
        int from = n * k / LEVELS, to = n * (k + 1) / LEVELS, used = 0;
        double sum = 0;
        for (int i = from; i < to; i++) {
            sum += bin[first + i];
            used += p[i] > 0;
        }
        for (int i = from; i < to; i++) {
            q[i] = p[i] > 0 ? sum / used : 0;
        }
    }
    for (int i = 0; i < n; i++) {
        sum_p += p[i];
        sum_q += q[i];
    }
    for (int i = 0; i < n; i++) {
        double least = 1e-9; // of a bin that only outliers fall into
        double is = p[i] / sum_p, says = sum_q > 0 ? q[i] / sum_q : 0;
        d += p[i] > 0 ? is * log(is / (says > least ? says : least)) : 0;
    }
    return d;
}

// Each bin's numbers over the bins around it, as many as a level of the whole range has: few
// images, or a constant background, make spikes, which no level of several bins resembles, however
// right it is for them.
static void smooth(const FeQuantRange *r, double *bin) {
    enum { REACH = FE_QUANT_BINS / LEVELS / 2 };
    memset(bin, 0, FE_QUANT_BINS * sizeof *bin);
    for (int i = 0; i < FE_QUANT_BINS; i++) {
        int from = i > REACH ? i - REACH : 0;
        int to = i < FE_QUANT_BINS - REACH ? i + REACH : FE_QUANT_BINS - 1;
        for (int k = from; k <= to; k++) {
            bin[k] += r->bin[i] / (to - from + 1);
        }
    }
}

static double sum_bins(const double *bin, int from, int to) {
    double sum = 0;
    for (int i = from; i < to; i++) {
        sum += bin[i];
    }
    return sum;
}

// The share of numbers that may lie outside, twice what least squared errors of 8 bits ask for with
// bells and with two-sided exponentials (Banner et al., Post-training 4-bit quantization, 2019):
// what the divergence says beyond that is about spikes.
static const double MOST_OUTSIDE = 2e-4;

// What lies beyond a threshold on either side of 0 is left out. (Migacz, 8-bit inference with
// TensorRT, 2017.)
static void choose_entropy(FeQuantRange *r) {
    enum { STEPS = 128 };
    double best = INFINITY, width = (r->hi - r->lo) / FE_QUANT_BINS, bin[FE_QUANT_BINS];
    double most = -r->lo > r->hi ? -r->lo : r->hi;
    smooth(r, bin);
    double all = sum_bins(bin, 0, FE_QUANT_BINS);
    for (int k = 1; k <= STEPS; k++) {
        double t = most * k / STEPS;
        double from = -t > r->lo ? -t : r->lo, to = t < r->hi ? t : r->hi;
        int first = (int)lrint((from - r->lo) / width);
        int last = (int)lrint((to - r->lo) / width) - 1;
        double outside[] = {sum_bins(bin, 0, first), sum_bins(bin, last + 1, FE_QUANT_BINS)};
        bool able = last - first + 1 >= LEVELS && outside[0] + outside[1] <= MOST_OUTSIDE * all;
        double d = able ? divergence(bin, first, last, outside) : INFINITY;
        if (d <= best) { // of two that are as good the wider one
            best = d;
            r->from = from;
            r->to = to;
        }
    }
}

void fe_quant_choose(FeQuantRange *r, FeQuantMethod m, double percentile) {
    r->from = r->lo;
    r->to = r->hi;
    if (r->hi > r->lo && m == FE_QUANT_PERCENTILE) {
        choose_percentile(r, percentile);
    } else if (r->hi > r->lo && m == FE_QUANT_ENTROPY) {
        choose_entropy(r);
    }
    r->from = r->from < 0 ? r->from : 0;
    r->to = r->to > 0 ? r->to : 0;
}

FeQuantParams fe_quant_params(const FeQuantRange *r) {
    float scale = (float)((r->to - r->from) / (LEVELS - 1));
    if (!(scale > 1e-30f)) { // nothing but zeros, or as good as that
        return (FeQuantParams){1, 0};
    }
    long zero = lrint(-r->from / (double)scale);
    return (FeQuantParams){scale, (int)(zero < 0 ? 0 : zero < LEVELS ? zero : LEVELS - 1)};
}
