// top_k (TopK-11): the first elements of each line in order, and where they were. A stable merge
// sort from the bottom up, in this thread's scratch, of which no run grows beyond the elements that
// are wanted: n log k steps, none of which depends on a branch. Of equals the lower position stays
// first.
#include "codegen/index/index.h"

#include <string.h>

typedef struct SortSpec {
    CgLines lines; // operands: values, positions, x
    int64_t k;     // elements wanted of each line
    int32_t dtype, ascending;
} SortSpec;

typedef struct SortBuffer {
    CgVal key, at; // [size]
} SortBuffer;

static LLVMTypeRef key_type(CgFn *f, const SortSpec *s) {
    return cg_elem_type(f, (IrDtype)s->dtype);
}

enum { KEY_BYTES = 8 }; // at most

// Two buffers of keys and positions: number `which`, an i1.
static SortBuffer pick_buffer(CgFn *f, const SortSpec *s, CgVal which) {
    int64_t n = s->lines.size.c, bytes = n * KEY_BYTES;
    CgVal offset = cg_imulc(f, LLVMBuildZExt(f->b, which, f->i64, ""), 2 * bytes);
    CgVal base = cg_at(f, f->i8, f->scratch, offset);
    return (SortBuffer){base, cg_at(f, f->i8, base, cg_i64(f, bytes))};
}

static CgVal load_key(CgFn *f, const SortSpec *s, const SortBuffer *b, CgVal i) {
    LLVMTypeRef t = key_type(f, s);
    return cg_load(f, t, cg_at(f, t, b->key, i), (unsigned)ir_dtype_bytes((IrDtype)s->dtype));
}

static void store_entry(CgFn *f, const SortSpec *s, const SortBuffer *b, CgVal i, CgVal key,
                        CgVal at) {
    LLVMTypeRef t = key_type(f, s);
    cg_store(f, key, cg_at(f, t, b->key, i), (unsigned)ir_dtype_bytes((IrDtype)s->dtype));
    cg_store(f, at, cg_at(f, f->i64, b->at, i), 8);
}

static void load_line(CgFn *f, const SortSpec *s, CgVal from) {
    SortBuffer b = pick_buffer(f, s, LLVMConstInt(f->i1, 0, 0));
    CgLoop loop;
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->lines.size.c), 1);
    CgVal at = cg_iadd(f, from, cg_stride(f, loop.iv, s->lines.step[2]));
    store_entry(f, s, &b, loop.iv, cg_elem_load(f, (IrDtype)s->dtype, f->arg[2], at), loop.iv);
    cg_end(f, &loop);
}

// Runs [lo, a_end) and [mid, b_end) of `from` into `to` from lo on, at most k elements.
static void merge_runs(CgFn *f, const SortSpec *s, const SortBuffer *to, const SortBuffer *from,
                       CgVal lo, CgVal a_end, CgVal mid, CgVal b_end) {
    CgVal last = cg_i64(f, s->lines.size.c - 1), zero = cg_i64(f, 0), one = cg_i64(f, 1);
    CgVal count = cg_iadd(f, cg_isub(f, a_end, lo), cg_isub(f, b_end, mid));
    CgVal at[] = {lo, mid};
    CgLoop loop;
    cg_for_carry(f, &loop, zero, cg_imin(f, count, cg_i64(f, s->k)), 1, 2, at);
    CgVal a = load_key(f, s, from, cg_imin(f, at[0], last));
    CgVal b = load_key(f, s, from, cg_imin(f, at[1], last));
    bool up = s->ascending;
    CgVal before = cg_precedes(f, (IrDtype)s->dtype, up, up, b, a);
    before = LLVMBuildAnd(f->b, before, cg_icmp(f, LLVMIntSLT, at[1], b_end), "");
    CgVal right = LLVMBuildOr(f->b, before, cg_icmp(f, LLVMIntSGE, at[0], a_end), "");
    CgVal source = cg_select(f, right, at[1], at[0]);
    CgVal position = cg_load(f, f->i64, cg_at(f, f->i64, from->at, source), 8);
    store_entry(f, s, to, cg_iadd(f, lo, loop.iv), cg_select(f, right, b, a), position);
    at[0] = cg_iadd(f, at[0], cg_select(f, right, zero, one));
    at[1] = cg_iadd(f, at[1], cg_select(f, right, one, zero));
    cg_end_carry(f, &loop, at);
}

static int count_levels(int64_t n) {
    int levels = 0;
    while ((INT64_C(1) << levels) < n) {
        levels++;
    }
    return levels;
}

static void sort_line(CgFn *f, const SortSpec *s) {
    int64_t n = s->lines.size.c;
    CgVal end = cg_i64(f, n), zero = cg_i64(f, 0), k = cg_i64(f, s->k);
    CgLoop level, pair;
    cg_for(f, &level, zero, cg_i64(f, count_levels(n)), 1);
    CgVal odd = LLVMBuildTrunc(f->b, level.iv, f->i1, "");
    SortBuffer from = pick_buffer(f, s, odd), to = pick_buffer(f, s, LLVMBuildNot(f->b, odd, ""));
    CgVal width = LLVMBuildShl(f->b, cg_i64(f, 1), level.iv, ""), both = cg_imulc(f, width, 2);
    CgVal pairs = LLVMBuildUDiv(f->b, cg_iaddc(f, cg_iadd(f, end, both), -1), both, "");
    CgVal run = cg_imin(f, width, k);
    cg_for(f, &pair, zero, pairs, 1);
    CgVal lo = cg_imul(f, pair.iv, both), mid = cg_imin(f, cg_iadd(f, lo, width), end);
    merge_runs(f, s, &to, &from, lo, cg_imin(f, cg_iadd(f, lo, run), mid), mid,
               cg_imin(f, cg_iadd(f, mid, run), end));
    cg_end(f, &pair);
    cg_end(f, &level);
}

static void emit_sorted_lines(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    const SortSpec *s = ctx;
    const IrDim *stride = s->lines.nd.dim[s->lines.nd.rank - 1].stride;
    CgLoop line, loop;
    CgVal at[3];
    cg_for(f, &line, cg_i64(f, 0), len, 1);
    for (int k = 0; k < 3; k++) {
        at[k] = cg_iadd(f, off[k], cg_stride(f, line.iv, stride[k]));
    }
    load_line(f, s, at[2]);
    sort_line(f, s);
    SortBuffer b = pick_buffer(f, s, LLVMConstInt(f->i1, count_levels(s->lines.size.c) & 1, 0));
    cg_for(f, &loop, cg_i64(f, 0), cg_i64(f, s->k), 1);
    cg_elem_store(f, (IrDtype)s->dtype, load_key(f, s, &b, loop.iv), f->arg[0],
                   cg_iadd(f, at[0], cg_stride(f, loop.iv, s->lines.step[0])));
    CgVal position = cg_load(f, f->i64, cg_at(f, f->i64, b.at, loop.iv), 8);
    CgVal to = cg_iadd(f, at[1], cg_stride(f, loop.iv, s->lines.step[1]));
    cg_store(f, position, cg_at(f, f->i64, f->arg[1], to), 8);
    cg_end(f, &loop);
    cg_end(f, &line);
}

static void emit_top_k(CgFn *f, const void *spec) {
    const SortSpec *s = spec;
    cg_nd_for(f, &s->lines.nd, 1, 1, emit_sorted_lines, (void *)spec);
}

void cg_lower_top_k(CgProgram *p, const IrNode *n) {
    SortSpec s;
    memset(&s, 0, sizeof s);
    s.k = ir_int(n, IR_ATTR_SIZE, 0);
    if (!cg_need_plain(p, n) || !cg_lines(n, (int)ir_int(n, IR_ATTR_AXIS, 0), &s.lines) ||
        s.k == 0) {
        return;
    }
    int64_t scratch;
    if (__builtin_mul_overflow(s.lines.size.c, 4 * KEY_BYTES, &scratch)) {
        cg_nyi(p, n, "an axis of %lld elements", (long long)s.lines.size.c);
        return;
    }
    cg_scratch(p, scratch);
    s.lines.nd.cost *= 4 * (1 + count_levels(s.k));
    s.dtype = (int32_t)ir_in(n, 0)->type.dtype;
    s.ascending = ir_int(n, IR_ATTR_REVERSE, 0) != 0;
    CgArg args[] = {cg_write(n->out[0]), cg_write(n->out[1]), cg_read(ir_in(n, 0))};
    int k = cg_kernel(p, "top_k", emit_top_k, &s, sizeof s, 3, 300);
    cg_call(p, n, k, 3, args, "top_k", (IrDim){0, 0});
}
