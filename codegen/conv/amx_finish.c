// What a convolution on matrix tiles makes of its sums. They pass through the scratch, where those
// of two strips have room, not at a multiple of 4 KiB from each other: rows of one are finished,
// vector by vector, between the products of the next, whose tiles need few of the instructions that
// a core issues. Or at once, as the schedule says (IrConvTile.at_once).
#include "codegen/conv/amx.h"

enum {
    SUMS = CG_CONV_AMX_SUMS * CG_AMX_ROWS + 1, // vectors of a strip's sums
    ASKED_TOO_LATE = 4, // what a strip of so few pieces asks for is not there when it is finished
};

bool cg_conv_amx_in_order(const Amx *a) {
    if (a->in_place)
        return a->cut.positions >= cg_conv_amx_rows(a);
    return a->cut.per_row ? a->cut.per_row * a->cut.rows == a->s->OW : a->copy.width == a->s->OW;
}

CgVal cg_conv_amx_pixel(const Amx *a, CgVal first) {
    CgVal pixel = cg_imulc(a->f, first, a->cut.rows);
    if (!a->in_place)
        return pixel;
    return cg_imin(a->f, pixel, cg_i64(a->f, a->cut.positions - cg_conv_amx_rows(a)));
}

int64_t cg_conv_amx_scratch(void) {
    return 2 * SUMS * CG_AMX_ROW_BYTES;
}

void cg_conv_amx_begin(Amx *a) {
    AmxPending *last = &a->last;
    CgVal *slot[] = {&last->n, &last->ocb, &last->vecs, &last->first, &last->pixel};
    for (size_t i = 0; i < sizeof slot / sizeof *slot; i++)
        *slot[i] = cg_slot_of(a->f, cg_i64(a->f, 0));
    last->sums = cg_amx_pending(a->f);
}

// One that the program computes
static CgVal add_bias(Amx *a, CgVal acc, CgVal ocb) {
    CgVal bias = cg_conv_bias(a->f, a->s, ocb);
    return a->s->sum == IR_I32 ? LLVMBuildAdd(a->f->b, acc, bias, "") : cg_fadd(a->f, acc, bias);
}

// Where in the scratch the sums of vector v in row `row` of a strip begin
static CgVal sums_at(Amx *a, CgVal sums, int v, CgVal row) {
    CgFn *f = a->f;
    CgVal at = cg_iadd(f, cg_imulc(f, sums, SUMS), row);
    return cg_fat(f, f->scratch, cg_imulc(f, cg_iaddc(f, at, v * cg_conv_amx_rows(a)), f->lanes));
}

// A row of a strip: its sums and place, pixel `pixel` of image n from output vector `ocb` on.
typedef struct Row {
    CgVal sums, row, n, ocb, pixel;
} Row;

static CgVal load_sum(Amx *a, const Row *r, int v) {
    const CgConv *c = a->s;
    CgVal acc = cg_elem_load_n(a->f, (IrDtype)c->sum, sums_at(a, r->sums, v, r->row), NULL);
    return c->bias == CG_CONV_BIAS_PLAIN ? add_bias(a, acc, cg_iaddc(a->f, r->ocb, v)) : acc;
}

static void finish_vector(Amx *a, const Row *r, int v) {
    CgFn *f = a->f;
    CgVal ocb = cg_iaddc(f, r->ocb, v);
    CgVal y = cg_conv_then(f, a->s, load_sum(a, r, v), r->n, ocb, r->pixel);
    cg_conv_store(f, a->s, y, cg_conv_result(f, a->s, r->n, ocb, r->pixel));
}

// n vectors, whose bytes lie side by side, as one
static void finish_packed(Amx *a, const Row *r, int v, int n, const CgNarrow *how) {
    CgFn *f = a->f;
    CgVal x[CG_CONV_AMX_SUMS];
    for (int i = 0; i < n; i++) {
        CgVal ocb = cg_iaddc(f, r->ocb, v + i);
        x[i] = cg_conv_then_float(f, a->s, load_sum(a, r, v + i), r->n, ocb, r->pixel);
    }
    CgVal y = cg_conv_result(f, a->s, r->n, cg_iaddc(f, r->ocb, v), r->pixel);
    cg_store(f, cg_elem_pack(f, how, x, n), y, 1);
}

// Vectors [v, v + n), of which any can be packed that are bytes of whole pixels
static void finish_vectors(Amx *a, const Row *r, int v, int n) {
    CgNarrow how;
    bool packs = a->s->bout > IR_BLOCK && cg_body_packs(&a->s->then, &how);
    for (int end = v + n, step; v < end; v += step) {
        step = !packs || end - v < 2 ? 1 : end - v < 4 ? 2 : 4;
        if (step > 1)
            finish_packed(a, r, v, step, &how);
        else
            finish_vector(a, r, v);
    }
}

// The pixel that row `row` of a strip from tile `first` on is, where they are not in order; *some:
// whether it is one of the result that no other row is.
static CgVal find_pixel(Amx *a, CgVal first, CgVal row, CgVal *some) {
    CgFn *f = a->f;
    const CgConv *c = a->s;
    CgVal tile = cg_iadd(f, first, cg_idivc(f, row, a->cut.rows)), column;
    row = cg_iremc(f, row, a->cut.rows);
    if (a->cut.per_row) {
        column = cg_imulc(f, cg_iremc(f, tile, a->cut.per_row), a->cut.rows);
        column = cg_iadd(f, column, row);
        *some = cg_icmp(f, LLVMIntSLT, column, cg_i64(f, c->OW));
        return cg_iadd(f, cg_imulc(f, cg_idivc(f, tile, a->cut.per_row), c->OW), column);
    }
    CgVal at = cg_iadd(f, cg_imulc(f, tile, a->cut.rows), row);
    if (a->in_place) {
        CgVal begin = cg_imulc(f, tile, a->cut.rows);
        CgVal read = cg_imin(f, begin, cg_i64(f, a->cut.positions - a->cut.rows));
        at = cg_iadd(f, read, row);
        *some = cg_icmp(f, LLVMIntSGE, at, begin);
        return at;
    }
    column = cg_iremc(f, at, a->copy.width);
    *some = cg_icmp(f, LLVMIntSLT, column, cg_i64(f, c->OW));
    return cg_iadd(f, cg_imulc(f, cg_idivc(f, at, a->copy.width), c->OW), column);
}

// Row `row` of what is pending
static void finish_row(Amx *a, CgVal row) {
    CgFn *f = a->f;
    const AmxPending *last = &a->last;
    CgIf inside, has;
    CgVal some = NULL;
    CgVal pixel = cg_conv_amx_in_order(a) ? cg_iadd(f, cg_get(f, last->pixel), row)
                                          : find_pixel(a, cg_get(f, last->first), row, &some);
    if (some)
        cg_if(f, &inside, some);
    Row r = {cg_get(f, last->sums.sums), row, cg_get(f, last->n), cg_get(f, last->ocb), pixel};
    int all = a->oc.big == a->oc.n ? a->oc.size : a->oc.size - 1;
    finish_vectors(a, &r, 0, all);
    if (all < a->oc.size) {
        cg_if(f, &has, cg_icmp(f, LLVMIntSGT, cg_get(f, last->vecs), cg_i64(f, all)));
        finish_vectors(a, &r, all, 1);
        cg_endif(f, &has);
    }
    if (some)
        cg_endif(f, &inside);
}

// Asks for what finishing row `row` of a strip that is being computed will read and write, where
// its tiles are pixels in their order.
static void ask_row(Amx *a, const AmxStrip *s, CgVal row) {
    CgFn *f = a->f;
    CgVal pixel = cg_iadd(f, cg_conv_amx_pixel(a, s->first), row);
    if (cg_conv_amx_pieces(a) <= ASKED_TOO_LATE) // the strip after it
        pixel = cg_iaddc(f, pixel, cg_conv_amx_rows(a));
    for (int v = 0; cg_conv_amx_in_order(a) && v < s->nv; v += 2)
        cg_conv_ask_vector(f, a->s, a->n, cg_iaddc(f, s->ocb, v), pixel);
}

void cg_conv_amx_finish(Amx *a, const AmxStrip *s, int64_t share) {
    CgFn *f = a->f;
    CgLoop loop;
    CgVal lo, hi;
    cg_amx_take(f, &a->last.sums, share, &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    if (s)
        ask_row(a, s, loop.iv);
    finish_row(a, loop.iv);
    cg_end(f, &loop);
}

void cg_conv_amx_leave(Amx *a, const AmxStrip *s) {
    CgFn *f = a->f;
    const AmxPending *last = &a->last;
    CgVal zero = cg_i64(f, 0);
    CgVal sums = a->s->tile.at_once ? zero : cg_isub(f, cg_i64(f, 1), cg_get(f, last->sums.sums));
    CgVal first = cg_imulc(f, s->first, a->cut.rows), pixel = cg_conv_amx_pixel(a, s->first);
    CgVal end = cg_i64(f, cg_conv_amx_rows(a));
    int64_t rows = a->cut.per_row ? a->cut.tiles * a->cut.rows : a->cut.positions;
    for (int i = 0; i < a->cut.count; i++)
        for (int v = 0; v < s->nv; v++)
            cg_amx_store(f, cg_conv_amx_sums(a, i, v),
                         sums_at(a, sums, v, cg_i64(f, i * a->cut.rows)),
                         cg_i64(f, CG_AMX_ROW_BYTES));
    cg_set(f, last->n, a->n);
    cg_set(f, last->ocb, s->ocb);
    cg_set(f, last->vecs, cg_i64(f, s->nv));
    cg_set(f, last->first, s->first);
    cg_set(f, last->pixel, pixel);
    CgVal row = a->in_place && cg_conv_amx_in_order(a) ? cg_isub(f, first, pixel) : zero;
    if (!a->in_place)
        end = cg_imin(f, end, cg_isub(f, cg_i64(f, rows), first));
    cg_amx_leave(f, &last->sums, row, end, sums);
}
