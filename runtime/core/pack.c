// Outputs as large as a run made them: a caller's buffer has the most that there may be, and what
// is meant stands in it with gaps.
#include "runtime/core/rt.h"

#include <string.h>

void rt_model_pack(const HoneModel *m, int i, int64_t *dim, void *y) {
    const HoneTensorDesc *t = &rt_model_desc(m)->outputs[i];
    for (int k = 0; k < t->rank; k++) {
        int64_t meant = t->dim[k].n ? dim[k] : hone_output_dim(m, i, k);
        if (meant < 0 || meant >= dim[k])
            continue;
        size_t run = (size_t)rt_dtype(t->dtype)->bytes, rows = 1;
        for (int a = 0; a < t->rank; a++)
            *(a < k ? &rows : &run) *= a == k ? 1 : (size_t)dim[a];
        for (size_t row = 0; row < rows; row++)
            memmove((char *)y + row * (size_t)meant * run, (char *)y + row * (size_t)dim[k] * run,
                    (size_t)meant * run);
        dim[k] = meant;
    }
}
