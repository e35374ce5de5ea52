// lrn_grad: with s_o = bias + alpha/size * the squares of the window around channel o,
//   dx_c = dy_c s_c^-beta - 2 alpha/size beta x_c * sum over o whose window has c of
//          dy_o x_o s_o^(-beta - 1)
// Blocked, a vector's sums over channels come out of the two blocks on each side.
#include "codegen/nn/norm_grad.h"

enum { L_DX, L_X, L_DY, L_ARGS };

// s^-beta
static CgVal inverse_power(CgFn *f, const CgNormGrad *s, CgVal sum) {
    CgVal one = cg_v(f, 1), root = cg_intrinsic(f, "llvm.sqrt", 1, &sum);
    if (s->beta == 0.75) {
        CgVal fourth = cg_intrinsic(f, "llvm.sqrt", 1, &root);
        return cg_fdiv(f, one, cg_fmul(f, root, fourth));
    }
    if (s->beta == 0.5) {
        return cg_fdiv(f, one, root);
    }
    return s->beta == 1 ? cg_fdiv(f, one, sum) : cg_pow(f, sum, cg_v(f, -s->beta));
}

static CgVal scale_sum(CgFn *f, const CgNormGrad *s, CgVal squares) {
    return cg_fma(f, squares, cg_v(f, s->alpha), cg_v(f, s->bias));
}

// dy * power - 2 beta alpha x * sum
static CgVal lrn_gradient(CgFn *f, const CgNormGrad *s, CgVal x, CgVal dy, CgVal power, CgVal sum) {
    CgVal factor = cg_fmul(f, x, cg_v(f, -2 * s->beta * s->alpha));
    return cg_fma(f, factor, sum, cg_fmul(f, dy, power));
}

enum { AROUND = 2, BLOCKS = 2 * AROUND + 1 }; // blocks on each side; all

typedef struct LrnRow {
    const CgNormGrad *spec;
    CgVal x, dy, dx;                   // of this block's row of pixels
    CgVal step[BLOCKS], lanes[BLOCKS]; // to block cb - 2 + k, and how many of its lanes count
} LrnRow;

// Lane l: sum over channels l - below .. l + above, out of three neighbouring blocks.
static CgVal window_sum(CgFn *f, const CgVal *blocks, int below, int above) {
    CgVal sum = blocks[1];
    int lane[64];
    for (int k = -below; k <= above; k++) {
        for (int l = 0; l < f->lanes; l++) { // of the pair (before, here) or (here, behind)
            lane[l] = k < 0 ? f->lanes + l + k : l + k;
        }
        if (k != 0) {
            CgVal a = k < 0 ? blocks[0] : blocks[1], b = k < 0 ? blocks[1] : blocks[2];
            sum = cg_fadd(f, sum, cg_shuffle(f, a, b, f->lanes, lane));
        }
    }
    return sum;
}

static void lrn_pixel(void *ctx, CgFn *f, CgVal i, CgVal n) {
    (void)n;
    const LrnRow *r = ctx;
    const CgNormGrad *s = r->spec;
    int below = (int)((s->size - 1) / 2), above = (int)(s->size / 2);
    CgVal x[BLOCKS], squares[BLOCKS], term[3], zero = cg_v(f, 0), dy_here = NULL, power_here = NULL;
    for (int k = 0; k < BLOCKS; k++) {
        x[k] = cg_norm_grad_load(f, &r->spec->x, cg_fat(f, r->x, r->step[k]), i);
        x[k] = cg_select(f, cg_lane_mask(f, r->lanes[k]), x[k], zero);
        squares[k] = cg_fmul(f, x[k], x[k]);
    }
    for (int k = 0; k < 3; k++) {
        CgVal dy = cg_norm_grad_load(f, &r->spec->dy, cg_fat(f, r->dy, r->step[k + 1]), i);
        dy = cg_select(f, cg_lane_mask(f, r->lanes[k + 1]), dy, zero);
        CgVal sum = scale_sum(f, s, window_sum(f, squares + k, below, above));
        CgVal power = inverse_power(f, s, sum);
        term[k] = cg_fdiv(f, cg_fmul(f, cg_fmul(f, dy, x[k + 1]), power), sum);
        term[k] = cg_select(f, cg_lane_mask(f, r->lanes[k + 1]), term[k], zero);
        dy_here = k == 1 ? dy : dy_here;
        power_here = k == 1 ? power : power_here;
    }
    CgVal sum = window_sum(f, term, above, below);
    CgVal dx = lrn_gradient(f, s, x[AROUND], dy_here, power_here, sum);
    cg_store_v(f, dx, cg_norm_grad_pixel(f, &r->spec->y, r->dx, i));
}

static void emit_lrn_grad(CgFn *f, const void *spec) {
    const CgNormGrad *s = spec;
    LrnRow r = {.spec = s};
    int64_t blocks = cg_norm_grad_blocks(f, s), H = s->x.dim[2].c, W = s->x.dim[3].c;
    CgVal lo, hi, zero = cg_i64(f, 0);
    CgLoop loop;
    cg_split(f, cg_imulc(f, cg_dim(f, s->x.dim[0]), blocks * H), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    CgVal plane = cg_idivc(f, loop.iv, H), row = cg_imulc(f, cg_iremc(f, loop.iv, H), W);
    CgVal n = cg_idivc(f, plane, blocks), cb = cg_iremc(f, plane, blocks);
    for (int k = 0; k < BLOCKS; k++) {
        CgVal b = cg_iaddc(f, cb, k - AROUND), lanes = cg_norm_grad_lanes(f, s, b);
        CgVal is_block = cg_icmp(f, LLVMIntULT, b, cg_i64(f, blocks));
        r.lanes[k] = cg_select(f, is_block, lanes, zero);
        r.step[k] = cg_select(f, is_block, cg_i64(f, (k - AROUND) * H * W * f->lanes), zero);
    }
    r.x = cg_norm_grad_pixel(f, &s->x, cg_norm_grad_plane(f, L_X, &s->x, n, cb), row);
    r.dy = cg_norm_grad_pixel(f, &s->dy, cg_norm_grad_plane(f, L_DY, &s->dy, n, cb), row);
    r.dx = cg_norm_grad_pixel(f, &s->y, cg_norm_grad_plane(f, L_DX, &s->y, n, cb), row);
    cg_nd_steps(f, cg_i64(f, W), 1, lrn_pixel, &r);
    cg_end(f, &loop);
}

typedef struct LrnPlain {
    const CgNormGrad *spec;
    CgVal image, c, inner; // offset of the image, channel
} LrnPlain;

static CgVal channel_at(CgFn *f, const LrnPlain *r, CgVal c, CgVal i) {
    return cg_iadd(f, cg_iadd(f, r->image, cg_imul(f, c, r->inner)), i);
}

// bias + alpha/size * squares around channel o
static CgVal plain_sum(CgFn *f, const LrnPlain *r, CgVal o, CgVal i, CgVal n) {
    const CgNormGrad *s = r->spec;
    CgVal lo = cg_imax(f, cg_iaddc(f, o, -((s->size - 1) / 2)), cg_i64(f, 0));
    CgVal hi = cg_imin(f, cg_iaddc(f, o, s->size / 2 + 1), cg_dim(f, s->x.dim[1]));
    CgVal sum[] = {cg_v(f, 0)};
    CgLoop loop;
    cg_for_carry(f, &loop, lo, hi, 1, 1, sum);
    CgVal x = cg_load_n(f, cg_fat(f, f->arg[L_X], channel_at(f, r, loop.iv, i)), n);
    sum[0] = cg_fma(f, x, x, sum[0]);
    cg_end_carry(f, &loop, sum);
    return scale_sum(f, s, sum[0]);
}

static void lrn_plain_at(void *ctx, CgFn *f, CgVal i, CgVal n) {
    const LrnPlain *r = ctx;
    const CgNormGrad *s = r->spec;
    CgVal lo = cg_imax(f, cg_iaddc(f, r->c, -(s->size / 2)), cg_i64(f, 0)), term[] = {cg_v(f, 0)};
    CgVal hi = cg_imin(f, cg_iaddc(f, r->c, (s->size - 1) / 2 + 1), cg_dim(f, s->x.dim[1]));
    CgLoop loop;
    cg_for_carry(f, &loop, lo, hi, 1, 1, term);
    CgVal at = channel_at(f, r, loop.iv, i), sum = plain_sum(f, r, loop.iv, i, n);
    CgVal x = cg_load_n(f, cg_fat(f, f->arg[L_X], at), n);
    CgVal dy = cg_load_n(f, cg_fat(f, f->arg[L_DY], at), n);
    CgVal product = cg_fmul(f, cg_fmul(f, dy, x), inverse_power(f, s, sum));
    term[0] = cg_fadd(f, term[0], cg_fdiv(f, product, sum));
    cg_end_carry(f, &loop, term);
    at = channel_at(f, r, r->c, i);
    CgVal power = inverse_power(f, s, plain_sum(f, r, r->c, i, n));
    x = cg_load_n(f, cg_fat(f, f->arg[L_X], at), n);
    dy = cg_load_n(f, cg_fat(f, f->arg[L_DY], at), n);
    cg_store_n(f, lrn_gradient(f, s, x, dy, power, term[0]), cg_fat(f, f->arg[L_DX], at), n);
}

static void emit_plain_lrn_grad(CgFn *f, const void *spec) {
    const CgNormGrad *s = spec;
    LrnPlain r = {.spec = s, .inner = cg_i64(f, 1)};
    CgVal C = cg_dim(f, s->x.dim[1]), lo, hi, image;
    CgLoop loop;
    for (int i = 2; i < s->x.rank; i++) {
        r.inner = cg_imul(f, r.inner, cg_dim(f, s->x.dim[i]));
    }
    cg_split(f, cg_imul(f, cg_dim(f, s->x.dim[0]), C), &lo, &hi);
    cg_for(f, &loop, lo, hi, 1);
    cg_divmod(f, loop.iv, C, &image, &r.c);
    r.image = cg_imul(f, cg_imul(f, image, C), r.inner);
    cg_nd_vectors(f, r.inner, 1, lrn_plain_at, &r);
    cg_end(f, &loop);
}

// ---------------------------------------------------------------- lowering

void cg_lower_lrn_grad(CgProgram *p, const IrNode *n) {
    CgNormGrad s;
    if (!cg_norm_grad_read(p, n, ir_in(n, 1), &s)) {
        return;
    }
    s.size = ir_int(n, IR_ATTR_SIZE, 1);
    s.alpha = ir_float(n, IR_ATTR_ALPHA, 1e-4) / (double)s.size;
    s.beta = ir_float(n, IR_ATTR_BETA, 0.75);
    s.bias = ir_float(n, IR_ATTR_BIAS, 1);
    if (s.x.block && s.size / 2 > s.x.block) {
        cg_nyi(p, n, "lrn_grad over %lld channels in blocks of %d", (long long)s.size, s.x.block);
        return;
    }
    if (cg_channels(&s.x) > 0 && !(s.x.block && cg_spatial(&s.x) == 0)) {
        cg_norm_grad_call(p, n, &s, s.x.block ? emit_lrn_grad : emit_plain_lrn_grad);
    }
}
