// Differences between tensors: the one measure of hone verify.
#include "tools/diff.h"

#include <math.h>

Diff diff_of(const IrTensor *got, const IrTensor *want) {
    Diff d = {0, 0, 0, 0};
    int64_t n = ir_tensor_elems(want);
    if (n != ir_tensor_elems(got))
        return (Diff){INFINITY, INFINITY, 0, 0};
    for (int64_t i = 0; i < n; i++) {
        double a = ir_tensor_get(got, i), b = ir_tensor_get(want, i);
        if (a == b || (isnan(a) && isnan(b)))
            continue;
        double e = fabs(a - b);
        d.diff = e > d.diff || isnan(e) ? (isnan(e) ? INFINITY : e) : d.diff;
        d.rms += isnan(e) ? INFINITY : e * e;
    }
    d.rms = n ? sqrt(d.rms / (double)n) : 0;
    for (int64_t i = 0; i < n; i++) {
        double b = fabs(ir_tensor_get(want, i));
        d.magnitude = b > d.magnitude && isfinite(b) ? b : d.magnitude;
        d.not_finite += !isfinite(b);
    }
    return d;
}

double diff_relative_to(double x, Diff d) {
    return x == 0 ? 0 : x / (d.magnitude > 0 ? d.magnitude : 1);
}
double diff_relative(Diff d) {
    return diff_relative_to(d.diff, d);
}
