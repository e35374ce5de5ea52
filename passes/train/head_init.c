// Numbers for a new classifier: a function of the seed and the element alone.
#include "passes/train/head_init.h"

#include "ir/random.h"
#include <math.h>

static double draw_uniform(uint64_t key, uint64_t i) { // (0, 1)
    return (ir_random_u32(key, i) + 0.5) / 4294967296.0;
}

// Normal numbers by Box and Muller 1958.
void pass_head_fill(float *data, int64_t n, PassInit init) {
    uint64_t key = ir_random_key(init.seed);
    for (int64_t i = 0; i < n; i++) {
        double u = draw_uniform(key, 2 * (uint64_t)i);
        double v = draw_uniform(key, 2 * (uint64_t)i + 1);
        double x = init.normal ? sqrt(-2 * log(u)) * cos(2 * M_PI * v) : 2 * u - 1;
        data[i] = (float)(init.offset + init.scale * x);
    }
}
