// See dot.h. Instructions work on a register: vectors that take several are cut into them here,
// which LLVM would otherwise do with all others.
#include "codegen/build/dot.h"
#include "ir/machine.h"

#include <string.h>

enum { MAX_PIECES = 4 };

// An instruction by the bytes of a register
typedef struct Instruction {
    const char *name[3]; // of 16, 32, 64 bytes
    int bits; // of an operand's elements, where LLVM wants to know them: those of 32 are sums
    bool floats;
} Instruction;
static const Instruction sum_bytes = {
    .name = {NULL, "llvm.x86.avx512.vpdpbusd.256", "llvm.x86.avx512.vpdpbusd.512"}};
static const Instruction sum_bf16 = {.name = {NULL, NULL, "llvm.x86.avx512bf16.dpbf16ps.512"}};
static const Instruction round_bf16 = {
    .name = {NULL, NULL, "llvm.x86.avx512bf16.cvtneps2bf16.512"}};
static const Instruction round_two_bf16 = {
    .name = {NULL, NULL, "llvm.x86.avx512bf16.cvtne2ps2bf16.512"}};
static const Instruction multiply_halves = {
    .name = {"llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512"}};
static const Instruction arm_sum_bytes = {{"llvm.aarch64.neon.usdot"}, 8, false};
static const Instruction arm_sum_signed = {{"llvm.aarch64.neon.sdot"}, 8, false};
static const Instruction arm_sum_bf16 = {{"llvm.aarch64.neon.bfdot"}, 16, true};
static const Instruction arm_add_pairs = {{"llvm.aarch64.neon.saddlp"}, 16, false};

static bool is_arm(CgFn *f) {
    return f->target->machine.isa == IR_ISA_AARCH64;
}

LLVMTypeRef cg_dot_words(CgFn *f, IrDtype t) {
    return ir_word(t) == 1 ? f->vec : f->ivec;
}

// ---------------------------------------------------------------- registers

// Lanes [first, first + n) of x
static CgVal take_lanes(CgFn *f, CgVal x, int first, int n) {
    int index[64];
    for (int i = 0; i < n; i++)
        index[i] = first + i;
    return cg_shuffle(f, x, NULL, n, index);
}

// n pieces of `lanes` lanes behind each other; n is a power of two.
static CgVal join_pieces(CgFn *f, CgVal *piece, int n, int lanes) {
    int index[64];
    for (; n > 1; n /= 2, lanes *= 2) {
        for (int i = 0; i < 2 * lanes; i++)
            index[i] = i;
        for (int i = 0; i < n / 2; i++)
            piece[i] = cg_shuffle(f, piece[2 * i], piece[2 * i + 1], 2 * lanes, index);
    }
    return piece[0];
}

// Types that an instruction on `bytes` is overloaded on: its sums, its operands. How many.
static int overloads(CgFn *f, const Instruction *what, int bytes, LLVMTypeRef type[2]) {
    if (!what->bits)
        return 0;
    LLVMTypeRef elem = what->floats ? LLVMBFloatTypeInContext(f->ctx)
                                    : LLVMIntTypeInContext(f->ctx, (unsigned)what->bits);
    type[0] = LLVMVectorType(what->floats ? f->f32 : f->i32, (unsigned)bytes / 4);
    type[1] = LLVMVectorType(elem, (unsigned)(8 * bytes / what->bits));
    return 2;
}

// Calls it with x as its parameters want them: LLVM's versions do not agree on their element types.
static CgVal call_instruction(CgFn *f, const Instruction *what, int bytes, int n, CgVal *x) {
    const char *name = what->name[bytes / 32];
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef over[2], param[3];
    int n_over = overloads(f, what, bytes, over);
    LLVMGetParamTypes(LLVMIntrinsicGetType(f->ctx, id, over, (size_t)n_over), param);
    for (int i = 0; i < n; i++)
        x[i] = LLVMBuildBitCast(f->b, x[i], param[i], "");
    return cg_call_intrinsic(f, name, n_over, over, n, x);
}

// A register that LLVM knows nothing of. Left alone it would add products of several words to each
// other before they meet their sums, of which then too many are live.
static CgVal hide(CgFn *f, CgVal x) {
    const char *constraint = is_arm(f) ? "=w,0" : "=v,0";
    LLVMTypeRef type = LLVMTypeOf(x), fn = LLVMFunctionType(type, &type, 1, 0);
    CgVal nothing = LLVMGetInlineAsm(fn, "", 0, constraint, strlen(constraint), 0, 0,
                                     LLVMInlineAsmDialectATT, 0);
    return LLVMBuildCall2(f->b, fn, nothing, &x, 1, "");
}

// Lanes of a register, of `f->lanes` at most
static int register_lanes(CgFn *f) {
    int most = f->target->machine.vector_bytes / 4;
    return f->lanes < most ? f->lanes : most;
}

// An instruction on n vectors of f->lanes words, register by register. `add`: to the first of them
// is added what it makes of the others, else the instruction does so.
static CgVal run_instruction(CgFn *f, const Instruction *what, int n, const CgVal *x, bool add) {
    int lanes = register_lanes(f), pieces = f->lanes / lanes;
    CgVal piece[MAX_PIECES], operand[3];
    for (int k = 0; k < pieces; k++) {
        for (int i = 0; i < n; i++)
            operand[i] = pieces == 1 ? x[i] : take_lanes(f, x[i], k * lanes, lanes);
        piece[k] = call_instruction(f, what, 4 * lanes, n - add, operand + add);
        if (add)
            piece[k] = hide(f, LLVMBuildAdd(f->b, operand[0], piece[k], ""));
    }
    return join_pieces(f, piece, pieces, lanes);
}

// ---------------------------------------------------------------- operands

static CgVal shift(CgFn *f, CgVal x, LLVMOpcode op, int bits) {
    return LLVMBuildBinOp(f->b, op, x, cg_int_like(x, (uint64_t)bits), "");
}

// Words as so many elements of a type each
static CgVal cast_words(CgFn *f, CgVal words, LLVMTypeRef elem, unsigned n) {
    unsigned lanes = LLVMGetVectorSize(LLVMTypeOf(words));
    return LLVMBuildBitCast(f->b, words, LLVMVectorType(elem, n * lanes), "");
}

static CgVal mask(CgFn *f, CgVal x, uint32_t bits) {
    return LLVMBuildAnd(f->b, x, cg_int_like(x, bits), "");
}

// Lower bf16 of each word and upper, as floats
static CgDot open_bf16(CgFn *f, CgVal words) {
    return (CgDot){{cast_words(f, shift(f, words, LLVMShl, 16), f->f32, 1),
                    cast_words(f, mask(f, words, UINT32_C(0xffff0000)), f->f32, 1)}};
}

static CgVal halves_of(CgFn *f, CgVal words) {
    return cast_words(f, words, LLVMInt16TypeInContext(f->ctx), 2);
}

static CgVal cast_halves(CgFn *f, CgVal halves) { // to words again
    unsigned n = LLVMGetVectorSize(LLVMTypeOf(halves)) / 2;
    return LLVMBuildBitCast(f->b, halves, LLVMVectorType(f->i32, n), "");
}

// Even and odd bytes, each in 16 bits: u8
static CgDot open_u8(CgFn *f, CgVal words) {
    CgVal x = halves_of(f, words);
    return (CgDot){{mask(f, x, 255), shift(f, x, LLVMLShr, 8)}};
}

// The same: s8
static CgDot open_s8(CgFn *f, CgVal words) {
    CgVal x = halves_of(f, words);
    CgVal even = shift(f, shift(f, x, LLVMShl, 8), LLVMAShr, 8);
    return (CgDot){{even, shift(f, x, LLVMAShr, 8)}};
}

static bool takes_halves(CgFn *f, IrDtype t) {
    return ir_dot(&f->target->machine, t).kind == IR_DOT_HALVES;
}

CgDot cg_dot_x(CgFn *f, IrDtype t, CgVal words) {
    if (ir_dot(&f->target->machine, t).less) // 128 less is the upper bit flipped
        words = LLVMBuildXor(f->b, words, cg_int_like(words, UINT32_C(0x80808080)), "");
    if (!takes_halves(f, t))
        return (CgDot){{words, NULL}};
    return ir_word(t) == 2 ? open_bf16(f, words) : open_u8(f, words);
}

CgDot cg_dot_w(CgFn *f, IrDtype t, CgVal words) {
    if (!takes_halves(f, t))
        return (CgDot){{words, NULL}};
    return ir_word(t) == 2 ? open_bf16(f, words) : open_s8(f, words);
}

CgDot cg_dot_load_x(CgFn *f, IrDtype t, CgVal p) {
    LLVMTypeRef word = ir_word(t) == 1 ? f->f32 : f->i32;
    return cg_dot_x(f, t, cg_splat(f, cg_load(f, word, p, (unsigned)ir_dtype_bytes(t))));
}

static CgDot load_row(CgFn *f, IrDtype t, CgVal p) {
    IrDot dot = ir_dot(&f->target->machine, t);
    unsigned n = (unsigned)dot.row;
    // LLVM knows lanes by the type of the sums.
    LLVMTypeRef word = ir_word(t) == 4 || dot.kind == IR_DOT_HALVES ? f->i32 : f->f32;
    return cg_dot_x(f, t, cg_load(f, LLVMVectorType(word, n), p, (unsigned)ir_dtype_bytes(t)));
}

static CgDot take_word(CgFn *f, const CgDot *row, int k) {
    CgDot x = *row;
    int index[64];
    for (int i = 0; i < f->lanes; i++)
        index[i] = k;
    for (int i = 0; i < 2 && row->v[i]; i++) {
        LLVMTypeRef elem = LLVMGetElementType(LLVMTypeOf(row->v[i]));
        bool halves = elem == LLVMInt16TypeInContext(f->ctx); // which go in words
        CgVal words = halves ? cast_halves(f, row->v[i]) : row->v[i];
        words = cg_shuffle(f, words, NULL, f->lanes, index);
        x.v[i] = halves ? halves_of(f, words) : words;
    }
    return x;
}

bool cg_dot_by_row(const CgFn *f, IrDtype t, int steps) {
    int n = ir_dot(&f->target->machine, t).row;
    return n > 1 && steps % n == 0;
}

CgDot cg_dot_step_x(CgFn *f, IrDtype t, CgDot *row, int k, CgVal p) {
    if (!row)
        return cg_dot_load_x(f, t, p);
    k %= ir_dot(&f->target->machine, t).row;
    if (k == 0)
        *row = load_row(f, t, p);
    return take_word(f, row, k);
}

CgDot cg_dot_load_w(CgFn *f, IrDtype t, CgVal p) {
    return cg_dot_w(f, t, cg_load(f, cg_dot_words(f, t), p, 4));
}

static CgVal round_on_arm(CgFn *f, CgVal x) {
    unsigned lanes = LLVMGetVectorSize(LLVMTypeOf(x));
    uint32_t feature = cg_target_dot(f->target, IR_BF16);
    if (!feature)
        return NULL;
    cg_use(f, feature);
    x = LLVMBuildFPTrunc(f->b, x, LLVMVectorType(LLVMBFloatTypeInContext(f->ctx), lanes), "");
    return LLVMBuildBitCast(f->b, x, LLVMVectorType(LLVMInt16TypeInContext(f->ctx), lanes), "");
}

CgVal cg_dot_round(CgFn *f, CgVal x) {
    int lanes = register_lanes(f);
    if (is_arm(f))
        return round_on_arm(f, x);
    if (ir_dot(&f->target->machine, IR_BF16).kind != IR_DOT_SUM || lanes != f->lanes ||
        !round_bf16.name[lanes * 4 / 32])
        return NULL;
    cg_use(f, cg_target_dot(f->target, IR_BF16));
    x = call_instruction(f, &round_bf16, 4 * lanes, 1, &x);
    LLVMTypeRef bits = LLVMVectorType(LLVMInt16TypeInContext(f->ctx), (unsigned)lanes);
    return LLVMBuildBitCast(f->b, x, bits, "");
}

CgVal cg_dot_round_two(CgFn *f, CgVal lower, CgVal upper) {
    enum { LANES = 16 };
    int index[2 * LANES];
    CgVal x[] = {upper, lower};
    for (int i = 0; i < 2 * LANES; i++)
        index[i] = i / 2 + i % 2 * LANES;
    cg_use(f, cg_target_dot(f->target, IR_BF16));
    CgVal halves = call_instruction(f, &round_two_bf16, 4 * LANES, 2, x);
    LLVMTypeRef bits = LLVMVectorType(LLVMInt16TypeInContext(f->ctx), 2 * LANES);
    halves = LLVMBuildBitCast(f->b, halves, bits, "");
    return LLVMBuildBitCast(f->b, cg_shuffle(f, halves, NULL, 2 * LANES, index), f->ivec, "");
}

void cg_dot_store_n(CgFn *f, IrDtype t, CgVal v, CgVal p, CgVal n) {
    CgVal rounded = t == IR_BF16 ? cg_dot_round(f, v) : NULL;
    if (rounded)
        cg_elem_store_n(f, IR_U16, rounded, p, n);
    else
        cg_elem_store_n(f, t, v, p, n);
}

// ---------------------------------------------------------------- products

static CgVal dot_product(CgFn *f, IrDtype t, const CgDot *x, const CgDot *w, CgVal acc) {
    (void)t;
    return cg_fma(f, x->v[0], w->v[0], acc);
}

// x stands where the instruction takes the unsigned operand, or a lane
static CgVal dot_sum(CgFn *f, IrDtype t, const CgDot *x, const CgDot *w, CgVal acc) {
    bool bytes = ir_word(t) == 4, arm = is_arm(f);
    bool less = ir_dot(&f->target->machine, t).less;
    const Instruction *what = !bytes ? arm ? &arm_sum_bf16 : &sum_bf16
                              : !arm ? &sum_bytes
                              : less ? &arm_sum_signed
                                     : &arm_sum_bytes;
    bool x_first = bytes && !less;
    cg_use(f, cg_target_dot(f->target, t));
    CgVal operand[] = {acc, x_first ? x->v[0] : w->v[0], x_first ? w->v[0] : x->v[0]};
    return run_instruction(f, what, 3, operand, false);
}

static CgVal as_words(CgFn *f, CgVal x) {
    return LLVMBuildBitCast(f->b, x, f->ivec, "");
}

// acc + products of halves, each two summed
static CgVal add_halves(CgFn *f, CgVal x, CgVal w, CgVal acc) {
    if (is_arm(f)) { // 255 times -128 is within 16 bits
        CgVal operand[] = {acc, as_words(f, LLVMBuildMul(f->b, x, w, ""))};
        return run_instruction(f, &arm_add_pairs, 2, operand, true);
    }
    CgVal operand[] = {acc, as_words(f, x), as_words(f, w)};
    return run_instruction(f, &multiply_halves, 3, operand, true);
}

static CgVal dot_halves(CgFn *f, IrDtype t, const CgDot *x, const CgDot *w, CgVal acc) {
    for (int i = 0; i < 2; i++)
        acc = ir_word(t) == 2 ? cg_fma(f, x->v[i], w->v[i], acc)
                              : add_halves(f, x->v[i], w->v[i], acc);
    return acc;
}

CgVal cg_dot(CgFn *f, IrDtype t, CgDot x, CgDot w, CgVal acc) {
    static CgVal (*const kinds[])(CgFn *, IrDtype, const CgDot *, const CgDot *, CgVal) = {
        [IR_DOT_PRODUCT] = dot_product,
        [IR_DOT_SUM] = dot_sum,
        [IR_DOT_HALVES] = dot_halves,
    };
    return kinds[ir_dot(&f->target->machine, t).kind](f, t, &x, &w, acc);
}
