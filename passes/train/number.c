// Single numbers: what tells a learned one from what a source is written with. A learned number of
// f32 is round to three digits, in one of the forms below, once in a thousand times; to the digits
// of f16 every number is, and names decide.
#include "passes/train/number.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static const double constants[] = {
    3.14159265358979,  // pi
    6.28318530717959,  // 2 pi
    0.693147180559945, // ln 2
    2.30258509299405,  // ln 10
    0.636619772367581, // 2 / pi, the square of GELU's factor
    1.702,             // GELU by a sigmoid,
    0.044715,          // by tanh,
    0.0356774081363,   // times the factor
    1.0507009873554805, 1.6732632423543772, 1.7580993408473766, // SELU, both, their product
    // one by the deviation of an activation's results (NFNet): relu, gelu, silu, elu, celu, tanh,
    // sigmoid, softplus, leaky relu, relu6
    1.7139588594436646, 1.7015043497085571, 1.7881293296813965, 1.2716004848480225,
    1.270926833152771, 1.5939117670059204, 4.803835391998291, 1.9203323125839233, 1.70590341091156,
    1.7131484746932983};

static bool is_near(double x, double y, double slack) {
    return fabs(x - y) <= slack * fabs(y);
}

static bool is_round(double x, double slack) {
    double scale = pow(10, 2 - floor(log10(x)));
    return (x < 65536.5 && is_near(x, round(x), slack)) ||
           is_near(x * scale, round(x * scale), slack);
}

static bool is_known(double x, double slack) {
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (is_near(x, constants[i], slack)) {
            return true;
        }
    }
    return false;
}

enum { HIGHEST = 4 }; // power: d ** -0.25

bool pass_is_written_number(IrProgram *p, IrConst *c) {
    PassNumbers t = pass_numbers(p, c);
    double x = t.n == 1 ? fabs((double)*t.v) : 0;
    if (!(x >= 1e-30 && x < 1e4)) { // what hides from a softmax, no bound
        return true;
    }
    double slack = 4 * t.unit;
    bool written = is_round(x, slack) || (x < 1 && is_round(1 - x, slack));
    for (int power = 1; power <= HIGHEST && !written; power *= 2) {
        double y = pow(x, power);
        written = is_round(y, slack * power) || is_round(1 / y, slack * power) ||
                  is_known(y, slack * power) || is_known(1 / y, slack * power);
    }
    return written;
}

bool pass_is_literal_name(const char *name) {
    return strstr(name, "onstant") || strncmp(name, "p2o.", 4) == 0;
}

// What no exporter calls a number of the source.
static bool ends_in_a_word(const char *name) {
    static const char *const words[] = {"gain",        "gamma", "beta",   "weight",   "bias",
                                        "temperature", "slope", "lambda", "resweight"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t k = strlen(words[i]);
        bool ends = n >= k && strcmp(name + n - k, words[i]) == 0;
        if (ends && (n == k || !isalnum((unsigned char)name[n - k - 1]))) {
            return true;
        }
    }
    return strcmp(name, "logit_scale") == 0;
}

bool pass_is_variable_name(const char *name) {
    if (pass_is_literal_name(name)) {
        return false;
    }
    const char *dot = strrchr(name, '.');
    bool path = dot && dot > name && isalpha((unsigned char)name[0]) &&
                (isalpha((unsigned char)dot[1]) || dot[1] == '_');
    return strstr(name, "ReadVariableOp") || ends_in_a_word(name) ||
           (path && !strpbrk(name, "/:") && !strstr(dot, "eps"));
}
