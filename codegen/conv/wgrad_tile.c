// The register tile of conv_wgrad: which terms share one, and its products along a row of pixels.
#include "codegen/conv/wgrad_tile.h"
#include "codegen/build/dot.h"

// ---------------------------------------------------------------- columns

// Output columns [lo, hi) whose tap kw is inside the image.
static void column_range(const CgWgrad *s, int kw, int *lo, int *hi) {
    int first = s->c.pl - kw * s->c.dw;
    *lo = cg_min_int(s->c.OW, cg_ceil_div(first, s->c.sw));
    *hi = cg_max_int(*lo, cg_min_int(s->c.OW, cg_ceil_div(first + s->c.W, s->c.sw)));
}

enum { MAX_EDGE_COLUMNS = 24 };

// Columns that some but not all kernel columns of a set reach are code of their own: with many of
// them each kernel column becomes a set.
static int count_edge_columns(const CgWgrad *s) {
    int lo0, hi0, lo1, hi1;
    column_range(s, 0, &lo0, &hi0);
    column_range(s, s->c.kw - 1, &lo1, &hi1);
    return (lo0 - lo1) + (hi0 - hi1);
}

void cg_conv_wgrad_find_sets(Kernel *k) {
    const CgWgrad *s = k->s;
    IrArena *a = k->f->arena;
    int n = k->u.part * s->c.kw, in_set = s->terms;
    bool apart = (s->bin > 1 && !s->lanewise) || count_edge_columns(s) > MAX_EDGE_COLUMNS;
    Term *term = ir_alloc_array(a, (size_t)n, sizeof *term);
    for (int i = 0; i < n; i++)
        term[i] = (Term){i % k->u.part, i / k->u.part};
    k->sets = ir_alloc_array(a, (size_t)n, sizeof *k->sets);
    int together = apart ? k->u.part : n;
    CgCut cut = cg_cut(together, in_set);
    for (int i = 0; i < n; i += together)
        for (int j = 0; j < cut.n; j++) {
            const Term *first = term + i + cg_cut_begin(cut, j);
            k->sets[k->n_sets++] = (Set){cut.size - (j >= cut.big), first};
        }
}

// ---------------------------------------------------------------- the register tile

static CgVal spread_channel(CgFn *f, const CgWgrad *s, CgVal x, int k) {
    int index[64], cg = cg_conv_wgrad_group_channels(s);
    if (cg == 1)
        return x;
    for (int i = 0; i < f->lanes; i++)
        index[i] = i / cg * cg + k;
    return cg_shuffle(f, x, NULL, f->lanes, index);
}

// Asks for what the next chunk has in the place of this pixel, to be in L2 by then.
static void prefetch_pixel(Kernel *k, Tile *t, CgVal xp, CgVal dp, int at) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    if (at * f->lanes % 16) // vectors that share a line
        return;
    if (t->x_ahead) {
        int64_t from = ((int64_t)at * s->c.sw + t->set->term[0].kw * s->c.dw) * s->bin;
        cg_prefetch(f, cg_fat(f, cg_fatc(f, xp, from), t->x_ahead), 2);
    }
    for (int v = 0; v < t->nv && t->dy_ahead; v++) {
        int64_t from = ((int64_t)v * s->c.OH * s->c.OW + at) * f->lanes;
        cg_prefetch(f, cg_fat(f, cg_fatc(f, dp, from), t->dy_ahead), 2);
    }
}

// Output column `at`, counted from dp; xp: where tap 0 of the column that dp points to is.
// `column`: the static column, to leave out terms outside; -1: all are inside.
static void emit_pixel(Kernel *k, Tile *t, CgVal xp, CgVal dp, int at, int column) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    IrDtype type = s->pairs ? IR_BF16 : IR_F32;
    CgDot dy[CG_MAX_CARRY] = {0};
    CgVal x = NULL;
    int last_kw = -1;
    if (!s->lanewise || !f->target->machine.broadcast || at % 4 == 0)
        cg_fence(f);
    for (int i = 0; i < t->set->n; i++) {
        Term term = t->set->term[i];
        int lo, hi;
        column_range(s, term.kw, &lo, &hi);
        if (column >= 0 && (column < lo || column >= hi))
            continue;
        int64_t from = ((int64_t)at * s->c.sw + term.kw * s->c.dw) * s->bin;
        CgDot value;
        if (s->lanewise) {
            if (term.kw != last_kw)
                x = cg_load_v(f, cg_fatc(f, xp, from));
            last_kw = term.kw;
            value = cg_dot_x(f, type, spread_channel(f, s, x, term.k));
        } else {
            from += s->bin == 1 ? (int64_t)term.k * s->c.H * s->c.W : term.k;
            value = cg_dot_load_x(f, type, cg_fatc(f, xp, from));
        }
        for (int v = 0; v < t->nv; v++) {
            CgVal *acc = &t->acc[i * t->nv + v];
            int64_t vector = ((int64_t)v * s->c.OH * s->c.OW + at) * f->lanes;
            if (!dy[v].v[0])
                dy[v] = cg_dot_load_w(f, type, cg_fatc(f, dp, vector));
            *acc = cg_dot(f, type, value, dy[v], *acc);
        }
    }
}

void cg_conv_wgrad_row(Kernel *k, Tile *t, CgVal xp, CgVal dp) {
    CgFn *f = k->f;
    const CgWgrad *s = k->s;
    int lo = 0, hi = s->c.OW, first = s->c.OW, end = 0;
    for (int i = 0; i < t->set->n; i++) { // [lo, hi): all terms inside; [first, end): some
        int a, b;
        column_range(s, t->set->term[i].kw, &a, &b);
        lo = cg_max_int(lo, a);
        hi = cg_min_int(hi, b);
        first = b > a ? cg_min_int(first, a) : first;
        end = b > a ? cg_max_int(end, b) : end;
    }
    hi = cg_max_int(hi, lo);
    for (int c = first; c < cg_min_int(lo, end); c++)
        emit_pixel(k, t, xp, dp, c, c);
    int u = k->unroll, main = hi - lo <= 2 * u ? 0 : (hi - lo) / u * u;
    if (main) {
        CgLoop loop;
        cg_for_carry(f, &loop, cg_i64(f, lo), cg_i64(f, lo + main), u, t->set->n * t->nv, t->acc);
        CgVal xi = cg_fat(f, xp, cg_imulc(f, loop.iv, (int64_t)s->c.sw * s->bin));
        CgVal di = cg_fat(f, dp, cg_imulc(f, loop.iv, f->lanes));
        for (int i = 0; i < u; i++) {
            emit_pixel(k, t, xi, di, i, -1);
            prefetch_pixel(k, t, xi, di, i);
        }
        cg_end_carry(f, &loop, t->acc);
    }
    for (int c = lo + main; c < hi; c++) {
        emit_pixel(k, t, xp, dp, c, -1);
        prefetch_pixel(k, t, xp, dp, c);
    }
    for (int c = cg_max_int(hi, first); c < end; c++)
        emit_pixel(k, t, xp, dp, c, c);
}
