// See cut.h.
#include "codegen/build/cut.h"

CgCut cg_cut(int total, int max) {
    int n = total > max ? (total + max - 1) / max : 1, size = (total + n - 1) / n;
    return (CgCut){n, size, n - (n * size - total)};
}

int cg_cut_begin(CgCut c, int part) {
    return part * c.size - (part > c.big ? part - c.big : 0);
}

CgVal cg_cut_at(CgFn *f, CgCut c, CgVal part) {
    CgVal at = cg_imulc(f, part, c.size);
    if (c.big == c.n)
        return at;
    return cg_isub(f, at, cg_imax(f, cg_iaddc(f, part, -c.big), cg_i64(f, 0)));
}
