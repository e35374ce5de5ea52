// matmul by a packed constant through one level of Strassen's multiplication, in Winograd's form:
// seven products of half the rows, columns and k where there were eight (codegen/conv/strassen.c
// has the sources, and the same for convolutions). With A11 and A12 the halves along k of a tile's
// first rows, A21 and A22 of its last ones, B11 and B21 those of one panel's columns, B12 and B22
// of the next one's:
//
//   S1 = A21 + A22   S2 = S1 - A11   S3 = A11 - A21   S4 = A12 - S2
//   T1 = B12 - B11   T2 = B22 - T1   T3 = B22 - B12   T4 = B21 - T2
//
//   P1  = A11 B11          C11 = P1 + A12 B21
//   U2  = P1 + S2 T2       U3  = U2 + S3 T3        C21 = U3 + A22 T4
//   P5  = S1 T1            C22 = U3 + P5           C12 = (U2 + P5) + S4 B22
//
// Nothing is prepared: a thread makes the T of two panels once for a band of tiles, and the S of
// the band's tiles once for all panels, in its scratch; weights come from memory as they are. T, S
// and weights stay in the second level cache together: long sums, which would have to go in pieces,
// are faster as they are. While a tile is made the weights of the next two panels come nearer.
//
// Panels of one vector of 16 in two registers each, as AVX2 has them, are small: half of one stays
// in the first level cache while each product of a run of tiles is made with it, next the other
// products. P1, U2 and U3 of the run's tiles are kept. The second level cache of CPUs with such
// vectors is half of others' or less (Zen 3: 512 KiB), and what it is to hold is.
//
// Tiles of CG_MATMUL_MOST_ROWS are on cores whose L2 is slow beside products: 384 by 1152 and 1536
// took .995 and 1.01 of the time there, 1536 by 384 1.12.
//
//   scratch  a tile's sums before its epilogue, or totals of long ones of the rows left over,
//            [T1 T2 T3 T4][vec][half of k][lanes],
//            [tile of the run][P1 U2 U3][row][vec][lanes],
//            [tile of the band][S1 S2 S3 S4][row][half of k]
//
// Tiles are cut within an image, which its result depends on alone; the rows that are left over at
// its end are made directly. Tasks are tiles, in the order images, bands, pairs of panels, tiles;
// each thread takes a contiguous piece.
#include "codegen/nn/matmul_tile.h"
#include "ir/conv.h"

enum {
    UNROLL = 4, // k to one step
    PARTS = 8,  // of a vector's weights in a panel, each fetched during one product
    AHEAD = 16, // k whose weights are asked for in the first level cache
    RUN = 4,    // tiles, of panels that stay there
};
enum { T1, T2, T3, T4 };
enum { S1, S2, S3, S4 };
enum { P1, U2, U3 };

typedef struct Strassen {
    CgFn *f;
    const CgMatmul *s;
    int rows, vecs;      // of a quarter
    int64_t half;        // of k
    int64_t tiles, rest; // of an image: whole tiles, rows behind them
    CgVal room, factors, kept, sums;
    CgVal image, first;             // first row of the image, first tile of the band
    CgVal panel[2][CG_ND_OPERANDS]; // the pair's offsets
    CgVal row, s0;                  // the tile: its first row, its sums
    CgVal nth;                      // in the band
    CgVal acc[CG_MAX_CARRY];
} Strassen;

typedef struct Rows { // a quarter of a tile's A, or a sum of some
    CgVal at;
    int64_t pitch;
} Rows;

typedef struct Columns { // a quarter of the weights, or a sum of some: [vec][half of k][lanes]
    CgVal at;
    int64_t vector; // from vector to vector
} Columns;

// ---------------------------------------------------------------- lowering

static int64_t factor_floats(const CgMatmul *s, int lanes) {
    return s->k.c / 2 * s->vectors * lanes;
}
static int64_t kept_floats(const CgMatmul *s, int lanes) {
    return (int64_t)s->rows * s->vectors * lanes;
}
static int64_t sum_floats(const CgMatmul *s) {
    return s->k.c / 2 * s->rows;
}

bool cg_matmul_use_strassen(CgMatmul *s, const IrMachine *m) {
    const CgNdDim *rows = &s->nd.dim[s->nd.rank - 1];
    bool plain = s->packed && s->nd.rank == 2 && !s->mean.blocks && s->dtype == IR_F32 &&
                 s->y_dtype == IR_F32 && ir_dim_is(s->a_k, 1) && rows->stride[CG_MATMUL_A].n == 0;
    int64_t image = rows->size.n ? rows->size.n : rows->size.c;
    bool narrow = ir_parts(m) == 2, wide = ir_parts(m) == 1 && s->vectors > 2;
    wide &= s->rows <= CG_MATMUL_TALL_ROWS;
    bool pairs = s->columns % (2 * s->vectors * IR_BLOCK) == 0;
    int64_t panels = 7 * s->k.c / 2 * s->vectors * IR_BLOCK * 4;
    int64_t weights = ir_budget(m, narrow ? IR_L2_SUMS : IR_L2_IMAGE);
    int64_t room = ir_budget(m, narrow ? IR_L2_INPUT : IR_L2_IMAGE);
    if (!plain || !pairs || !(narrow || wide) || (rows->size.n && rows->size.c) ||
        image < IR_STRASSEN_LEAST_ROWS || s->k.c < IR_STRASSEN_LEAST_K || s->k.c % 32 ||
        panels > weights) {
        return false;
    }
    s->image = image;
    s->ahead = 0;
    int64_t tiles = (image + 2 * s->rows - 1) / (2 * s->rows);
    int64_t most = room / (16 * sum_floats(s));
    most = most < 1 ? 1 : most;
    int64_t bands = (tiles + most - 1) / most;
    s->band = (tiles + bands - 1) / bands;
    s->run = narrow ? RUN : 1;
    return true;
}

int64_t cg_matmul_strassen_floats(const CgMatmul *s, int lanes) {
    return cg_matmul_totals(lanes) + 4 * factor_floats(s, lanes) +
           3 * s->run * kept_floats(s, lanes) + 4 * s->band * sum_floats(s);
}

// ---------------------------------------------------------------- factors and sums

static Columns weights(const Strassen *d, int column, int lower) {
    CgFn *f = d->f;
    CgVal at = cg_iaddc(f, d->panel[column][CG_MATMUL_B], lower ? d->half * f->lanes : 0);
    return (Columns){cg_fat(f, f->arg[CG_MATMUL_B], at), d->s->k.c * f->lanes};
}

static Columns factor(const Strassen *d, int which) {
    int lanes = d->f->lanes;
    CgVal at = cg_fatc(d->f, d->factors, which * factor_floats(d->s, lanes));
    return (Columns){at, d->half * lanes};
}

static CgVal column_at(const Strassen *d, Columns w, CgVal k, int v) {
    return cg_fat(d->f, w.at, cg_iaddc(d->f, cg_imulc(d->f, k, d->f->lanes), v * w.vector));
}
static CgVal load_column(const Strassen *d, Columns w, CgVal k, int v) {
    return cg_load_v(d->f, column_at(d, w, k, v));
}
static void store_factor(const Strassen *d, int which, CgVal k, int v, CgVal x) {
    cg_store_v(d->f, x, column_at(d, factor(d, which), k, v));
}

// A vector's columns at a time: caches follow few streams.
static void emit_factors(const Strassen *d) {
    CgFn *f = d->f;
    CgLoop loop;
    Columns b11 = weights(d, 0, 0), b21 = weights(d, 0, 1);
    Columns b12 = weights(d, 1, 0), b22 = weights(d, 1, 1);
    for (int v = 0; v < d->vecs; v++) {
        cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, d->half), 1);
        CgVal k = loop.iv, upper = load_column(d, b12, k, v), lower = load_column(d, b22, k, v);
        CgVal t1 = cg_fsub(f, upper, load_column(d, b11, k, v)), t2 = cg_fsub(f, lower, t1);
        store_factor(d, T1, k, v, t1);
        store_factor(d, T2, k, v, t2);
        store_factor(d, T3, k, v, cg_fsub(f, lower, upper));
        store_factor(d, T4, k, v, cg_fsub(f, load_column(d, b21, k, v), t2));
        cg_end(f, &loop);
    }
}

static Rows quarter(const Strassen *d, int lower, int right) {
    CgFn *f = d->f;
    const CgNd *nd = &d->s->nd;
    int64_t pitch = nd->dim[1].stride[CG_MATMUL_A].c;
    CgVal row = cg_imulc(f, cg_iaddc(f, d->row, lower ? d->rows : 0), pitch);
    CgVal at =
        cg_iadd(f, cg_iaddc(f, row, right ? d->half : 0), cg_dim(f, nd->offset[CG_MATMUL_A]));
    return (Rows){cg_fat(f, f->arg[CG_MATMUL_A], at), pitch};
}

static Rows sum_of(const Strassen *d, int which) {
    return (Rows){cg_fatc(d->f, d->s0, which * sum_floats(d->s)), d->half};
}

// Tile `nth` of the band: its first row, its sums.
static void set_tile(Strassen *d, CgVal nth) {
    CgFn *f = d->f;
    d->nth = nth;
    d->row = cg_iadd(f, d->image, cg_imulc(f, cg_iadd(f, d->first, nth), 2 * d->rows));
    d->s0 = cg_fat(f, d->sums, cg_imulc(f, nth, 4 * sum_floats(d->s)));
}

static CgVal load_row(const Strassen *d, Rows x, CgVal i, CgVal k) {
    return cg_load_v(d->f, cg_fat(d->f, x.at, cg_iadd(d->f, cg_imulc(d->f, i, x.pitch), k)));
}

static void store_sum(const Strassen *d, int which, CgVal i, CgVal k, CgVal y) {
    Rows x = sum_of(d, which);
    cg_store_v(d->f, y, cg_fat(d->f, x.at, cg_iadd(d->f, cg_imulc(d->f, i, x.pitch), k)));
}

static void emit_sums(Strassen *d, CgVal nth) {
    CgFn *f = d->f;
    CgLoop row, k;
    set_tile(d, nth);
    Rows a11 = quarter(d, 0, 0), a12 = quarter(d, 0, 1), a21 = quarter(d, 1, 0),
         a22 = quarter(d, 1, 1);
    cg_for(f, &row, cg_i64(f, 0), cg_i64(f, d->rows), 1);
    cg_for(f, &k, cg_i64(f, 0), cg_i64(f, d->half), f->lanes);
    CgVal upper = load_row(d, a11, row.iv, k.iv), lower = load_row(d, a21, row.iv, k.iv);
    CgVal s1 = cg_fadd(f, lower, load_row(d, a22, row.iv, k.iv)), s2 = cg_fsub(f, s1, upper);
    store_sum(d, S1, row.iv, k.iv, s1);
    store_sum(d, S2, row.iv, k.iv, s2);
    store_sum(d, S3, row.iv, k.iv, cg_fsub(f, upper, lower));
    store_sum(d, S4, row.iv, k.iv, cg_fsub(f, load_row(d, a12, row.iv, k.iv), s2));
    cg_end(f, &k);
    cg_end(f, &row);
}

// ---------------------------------------------------------------- a tile

static int count(const Strassen *d) {
    return d->rows * d->vecs;
}

static CgVal kept_at(const Strassen *d, int which, int i) {
    return cg_fatc(d->f, d->kept, ((int64_t)which * count(d) + i) * d->f->lanes);
}
static void keep(const Strassen *d, int which) {
    for (int i = 0; i < count(d); i++) {
        cg_store_v(d->f, d->acc[i], kept_at(d, which, i));
    }
}
static void begin_zero(Strassen *d) {
    for (int i = 0; i < count(d); i++) {
        d->acc[i] = cg_v(d->f, 0);
    }
}
static void begin_kept(Strassen *d, int which) {
    for (int i = 0; i < count(d); i++) {
        d->acc[i] = cg_load_v(d->f, kept_at(d, which, i));
    }
}
static void begin_both(Strassen *d, int x, int y) {
    for (int i = 0; i < count(d); i++) {
        CgVal a = cg_load_v(d->f, kept_at(d, x, i)), b = cg_load_v(d->f, kept_at(d, y, i));
        d->acc[i] = cg_fadd(d->f, a, b);
    }
}

// What product `number` of the tile fetches of the next pair's weights: *at + k * step.
static void find_ahead(const Strassen *d, int number, CgVal *at, CgVal *step) {
    CgFn *f = d->f;
    const CgMatmul *s = d->s;
    int64_t parts = 2 * PARTS * d->vecs, each = (parts + s->band - 1) / s->band;
    CgVal part = cg_iaddc(f, cg_imulc(f, d->nth, each), number), vector, piece, zero = cg_i64(f, 0);
    CgVal some = cg_icmp(f, LLVMIntSLT, part, cg_i64(f, number < each ? parts : 0));
    cg_divmod(f, cg_select(f, some, part, zero), cg_i64(f, PARTS), &vector, &piece);
    CgVal line = cg_iadd(f, cg_imulc(f, vector, s->k.c), cg_imulc(f, piece, s->k.c / PARTS));
    CgVal next = cg_iadd(f, d->panel[1][CG_MATMUL_B], cg_dim(f, s->nd.dim[0].stride[CG_MATMUL_B]));
    *at = cg_fat(f, f->arg[CG_MATMUL_B], cg_iadd(f, next, cg_imulc(f, line, f->lanes)));
    *step = cg_select(f, some, cg_i64(f, f->lanes / UNROLL), zero);
}

// acc += x w
static void emit_product(Strassen *d, Rows x, Columns w, int number) {
    CgFn *f = d->f;
    CgVal ahead, step, column[CG_MATMUL_VECTORS];
    CgLoop loop;
    find_ahead(d, number, &ahead, &step);
    cg_for_carry(f, &loop, cg_i64(f, 0), cg_i64(f, d->half), UNROLL, count(d), d->acc);
    cg_prefetch(f, cg_fat(f, ahead, cg_imul(f, loop.iv, step)), 2);
    for (int u = 0; u < UNROLL; u++) {
        CgVal k = cg_iaddc(f, loop.iv, u), *acc = d->acc;
        for (int v = 0; v < d->vecs; v++) {
            column[v] = load_column(d, w, k, v);
            if (d->s->run == 1) {
                cg_prefetch(f, column_at(d, w, cg_iaddc(f, k, AHEAD), v), 3);
            }
        }
        for (int i = 0; i < d->rows; i++) {
            CgVal at = cg_fat(f, x.at, cg_iaddc(f, k, i * x.pitch));
            CgVal a = cg_splat(f, cg_load(f, f->f32, at, 4));
            for (int v = 0; v < d->vecs; v++, acc++) {
                *acc = cg_fma(f, a, column[v], *acc);
            }
        }
    }
    cg_end_carry(f, &loop, d->acc);
}

// acc is a quarter of the result.
static void finish(Strassen *d, int lower, int column) {
    CgMatmulTile t = {.spec = d->s,
                      .off = d->panel[column],
                      .row = cg_iaddc(d->f, d->row, lower ? d->rows : 0),
                      .rows = d->rows,
                      .end = d->vecs};
    cg_matmul_finish_tile(d->f, &t, d->acc, d->room);
}

// A product of the tile, and what becomes of it. Where a panel stays in the first level cache for a
// run of tiles its sums come from what was kept and go there; else they stay in registers.
static void begin(Strassen *d, int which) {
    if (d->s->run > 1) {
        begin_kept(d, which);
    }
}

static void multiply_upper(Strassen *d) {
    begin_zero(d);
    emit_product(d, quarter(d, 0, 0), weights(d, 0, 0), 0);
    keep(d, P1);
}
static void multiply_lower(Strassen *d) {
    begin(d, P1);
    emit_product(d, quarter(d, 0, 1), weights(d, 0, 1), 1);
    finish(d, 0, 0);
}
static void multiply_u2(Strassen *d) {
    begin_kept(d, P1);
    emit_product(d, sum_of(d, S2), factor(d, T2), 2);
    keep(d, U2);
}
static void multiply_u3(Strassen *d) {
    begin(d, U2);
    emit_product(d, sum_of(d, S3), factor(d, T3), 3);
    keep(d, U3);
}
static void multiply_c21(Strassen *d) {
    begin(d, U3);
    emit_product(d, quarter(d, 1, 1), factor(d, T4), 4);
    finish(d, 1, 0);
}
static void multiply_c22(Strassen *d) {
    begin_zero(d);
    emit_product(d, sum_of(d, S1), factor(d, T1), 5);
    keep(d, P1);
    begin_both(d, U3, P1);
    finish(d, 1, 1);
}
static void multiply_c12(Strassen *d) {
    begin_both(d, U2, P1);
    emit_product(d, sum_of(d, S4), weights(d, 1, 1), 6);
    finish(d, 0, 1);
}

static void (*const products[])(Strassen *d) = {multiply_upper, multiply_lower, multiply_u2,
                                                multiply_u3,    multiply_c21,   multiply_c22,
                                                multiply_c12};
enum { PRODUCTS = sizeof products / sizeof *products };

// Tiles [first, end) of the band, product after product of each.
static void emit_tiles(Strassen *d, CgVal first, CgVal end) {
    CgFn *f = d->f;
    CgLoop tile;
    cg_for(f, &tile, first, end, 1);
    set_tile(d, tile.iv);
    for (int k = 0; k < PRODUCTS; k++) {
        products[k](d);
    }
    cg_end(f, &tile);
}

// The same in runs of tiles: each product of all its tiles, then the next.
static void emit_runs(Strassen *d, CgVal first, CgVal end) {
    CgFn *f = d->f;
    CgVal kept = d->kept;
    CgLoop run, tile;
    cg_for(f, &run, first, end, d->s->run);
    CgVal last = cg_imin(f, end, cg_iaddc(f, run.iv, d->s->run));
    for (int k = 0; k < PRODUCTS; k++) {
        cg_for(f, &tile, run.iv, last, 1);
        set_tile(d, tile.iv);
        CgVal nth = cg_isub(f, tile.iv, run.iv);
        d->kept = cg_fat(f, kept, cg_imulc(f, nth, 3 * kept_floats(d->s, f->lanes)));
        products[k](d);
        cg_end(f, &tile);
    }
    cg_end(f, &run);
    d->kept = kept;
}

// ---------------------------------------------------------------- bands

static void set_group(Strassen *d, CgVal group) {
    CgFn *f = d->f;
    const CgNd *nd = &d->s->nd;
    for (int c = 0; c < 2; c++) {
        CgVal panel = cg_iaddc(f, cg_imulc(f, group, 2), c);
        for (int k = 0; k < nd->n; k++) {
            CgVal at = cg_stride(f, panel, nd->dim[0].stride[k]);
            d->panel[c][k] = cg_iadd(f, at, cg_dim(f, nd->offset[k]));
        }
    }
}

// The rows behind the image's last tile, if tasks [from, to) of the band and pair have them: the
// one behind that tile.
static void emit_rest(Strassen *d, CgVal from, CgVal to) {
    CgFn *f = d->f;
    const CgNd *nd = &d->s->nd;
    if (!d->rest) {
        return;
    }
    CgVal at = cg_isub(f, cg_i64(f, d->tiles), d->first);
    CgVal mine =
        LLVMBuildAnd(f->b, cg_icmp(f, LLVMIntSLE, from, at), cg_icmp(f, LLVMIntSLT, at, to), "");
    CgIf some;
    cg_if(f, &some, mine);
    CgVal row = cg_iaddc(f, d->image, d->tiles * 2 * d->rows);
    for (int c = 0; c < 2; c++) {
        CgVal off[CG_ND_OPERANDS] = {NULL};
        for (int k = 0; k < nd->n; k++) {
            off[k] = cg_iadd(f, d->panel[c][k], cg_stride(f, row, nd->dim[1].stride[k]));
        }
        cg_matmul_emit_rows(f, d->s, off, cg_i64(f, d->rest));
    }
    cg_endif(f, &some);
}

// Tasks [from, to) of a band
static void emit_band(Strassen *d, CgVal from, CgVal to) {
    CgFn *f = d->f;
    CgLoop sums, group;
    int64_t band = d->s->band;
    CgVal zero = cg_i64(f, 0), left = cg_isub(f, cg_i64(f, d->tiles), d->first);
    CgVal tiles = cg_imax(f, zero, cg_imin(f, left, cg_i64(f, band)));
    cg_for(f, &sums, zero, tiles, 1);
    emit_sums(d, sums.iv);
    cg_end(f, &sums);
    cg_for(f, &group, cg_idivc(f, from, band),
           cg_iaddc(f, cg_idivc(f, cg_iaddc(f, to, -1), band), 1), 1);
    CgVal start = cg_imulc(f, group.iv, band);
    CgVal first = cg_imax(f, zero, cg_isub(f, from, start));
    CgVal end = cg_imin(f, cg_i64(f, band), cg_isub(f, to, start));
    set_group(d, group.iv);
    emit_factors(d);
    (d->s->run > 1 ? emit_runs : emit_tiles)(d, first, cg_imin(f, end, tiles));
    emit_rest(d, first, end);
    cg_end(f, &group);
}

static Strassen start(CgFn *f, const CgMatmul *s) {
    Strassen d = {.f = f, .s = s, .rows = s->rows, .vecs = s->vectors, .half = s->k.c / 2};
    d.tiles = s->image / (2 * s->rows);
    d.rest = s->image % (2 * s->rows);
    d.room = f->scratch;
    d.factors = cg_fatc(f, d.room, cg_matmul_totals(f->lanes));
    d.kept = cg_fatc(f, d.factors, 4 * factor_floats(s, f->lanes));
    d.sums = cg_fatc(f, d.kept, 3 * s->run * kept_floats(s, f->lanes));
    return d;
}

void cg_matmul_emit_strassen(CgFn *f, const void *spec) {
    const CgMatmul *s = spec;
    Strassen d = start(f, s);
    int64_t units = d.tiles + (d.rest > 0), bands = (units + s->band - 1) / s->band;
    int64_t tasks = s->columns / (2 * s->vectors * f->lanes) * s->band; // of a band
    CgVal images = s->nd.dim[1].size.n ? f->N : cg_i64(f, 1), lo, hi, image, band;
    CgIf some;
    CgLoop loop;
    cg_split(f, cg_imulc(f, images, bands * tasks), &lo, &hi);
    cg_if(f, &some, cg_icmp(f, LLVMIntSLT, lo, hi));
    CgVal end = cg_iaddc(f, cg_idivc(f, cg_iaddc(f, hi, -1), tasks), 1);
    cg_for(f, &loop, cg_idivc(f, lo, tasks), end, 1);
    cg_divmod(f, loop.iv, cg_i64(f, bands), &image, &band);
    d.image = cg_imulc(f, image, s->image);
    d.first = cg_imulc(f, band, s->band);
    CgVal start = cg_imulc(f, loop.iv, tasks);
    emit_band(&d, cg_imax(f, cg_isub(f, lo, start), cg_i64(f, 0)),
              cg_imin(f, cg_isub(f, hi, start), cg_i64(f, tasks)));
    cg_end(f, &loop);
    cg_endif(f, &some);
}
