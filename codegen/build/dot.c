// See dot.h. Instructions work on a register: vectors that take several are cut into them here,
// which LLVM would otherwise do with all others.
#include "codegen/build/dot.h"
#include "ir/machine.h"

#include <string.h>

enum { MAX_PIECES = 4 };

// An instruction by the bytes of a register
typedef struct Instruction {
    const char *name[3]; // of 16, 32, 64 bytes
} Instruction;
static const Instruction sum_bytes = {
    {NULL, "llvm.x86.avx512.vpdpbusd.256", "llvm.x86.avx512.vpdpbusd.512"}};
static const Instruction sum_bf16 = {{NULL, NULL, "llvm.x86.avx512bf16.dpbf16ps.512"}};
static const Instruction round_bf16 = {{NULL, NULL, "llvm.x86.avx512bf16.cvtneps2bf16.512"}};
static const Instruction multiply_halves = {
    {"llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512"}};

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

// Calls it with x as its parameters want them: LLVM's versions do not agree on their element types.
static CgVal call_instruction(CgFn *f, const char *name, int n, CgVal *x) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef type = LLVMIntrinsicGetType(f->ctx, id, NULL, 0), param[3];
    LLVMGetParamTypes(type, param);
    for (int i = 0; i < n; i++)
        x[i] = LLVMBuildBitCast(f->b, x[i], param[i], "");
    return cg_call_intrinsic(f, name, 0, NULL, n, x);
}

// A register that LLVM knows nothing of. Left alone it would add products of several words to each
// other before they meet their sums, of which then too many are live.
static CgVal hide(CgFn *f, CgVal x) {
    static const char constraint[] = "=v,0";
    LLVMTypeRef type = LLVMTypeOf(x), fn = LLVMFunctionType(type, &type, 1, 0);
    CgVal nothing = LLVMGetInlineAsm(fn, "", 0, constraint, sizeof constraint - 1, 0, 0,
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
    const char *name = what->name[lanes * 4 / 32];
    CgVal piece[MAX_PIECES], operand[3];
    for (int k = 0; k < pieces; k++) {
        for (int i = 0; i < n; i++)
            operand[i] = pieces == 1 ? x[i] : take_lanes(f, x[i], k * lanes, lanes);
        piece[k] = call_instruction(f, name, n - add, operand + add);
        if (add)
            piece[k] = hide(f, LLVMBuildAdd(f->b, operand[0], piece[k], ""));
    }
    return join_pieces(f, piece, pieces, lanes);
}

// ---------------------------------------------------------------- operands

static CgVal shift(CgFn *f, CgVal x, LLVMOpcode op, int bits) {
    return LLVMBuildBinOp(f->b, op, x, cg_int_like(x, (uint64_t)bits), "");
}

static CgVal as_floats(CgFn *f, CgVal x) {
    return LLVMBuildBitCast(f->b, x, f->vec, "");
}

static CgVal mask(CgFn *f, CgVal x, uint32_t bits) {
    return LLVMBuildAnd(f->b, x, cg_int_like(x, bits), "");
}

// Lower bf16 of each word and upper, as floats
static CgDot open_bf16(CgFn *f, CgVal words) {
    return (CgDot){{as_floats(f, shift(f, words, LLVMShl, 16)),
                    as_floats(f, mask(f, words, UINT32_C(0xffff0000)))}};
}

static LLVMTypeRef halves_of(CgFn *f) {
    return LLVMVectorType(LLVMInt16TypeInContext(f->ctx), 2 * (unsigned)f->lanes);
}

// Even and odd bytes, each in 16 bits: u8
static CgDot open_u8(CgFn *f, CgVal words) {
    CgVal x = LLVMBuildBitCast(f->b, words, halves_of(f), "");
    return (CgDot){{mask(f, x, 255), shift(f, x, LLVMLShr, 8)}};
}

// The same: s8
static CgDot open_s8(CgFn *f, CgVal words) {
    CgVal x = LLVMBuildBitCast(f->b, words, halves_of(f), "");
    CgVal even = shift(f, shift(f, x, LLVMShl, 8), LLVMAShr, 8);
    return (CgDot){{even, shift(f, x, LLVMAShr, 8)}};
}

static bool takes_halves(CgFn *f, IrDtype t) {
    return ir_dot(&f->target->machine, t).kind == IR_DOT_HALVES;
}

CgDot cg_dot_x(CgFn *f, IrDtype t, CgVal words) {
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

CgDot cg_dot_load_w(CgFn *f, IrDtype t, CgVal p) {
    return cg_dot_w(f, t, cg_load(f, cg_dot_words(f, t), p, 4));
}

CgVal cg_dot_round(CgFn *f, CgVal x) {
    int lanes = register_lanes(f);
    if (ir_dot(&f->target->machine, IR_BF16).kind != IR_DOT_SUM || lanes != f->lanes ||
        !round_bf16.name[lanes * 4 / 32])
        return NULL;
    cg_use(f, cg_target_dot(f->target, IR_BF16));
    x = call_instruction(f, round_bf16.name[lanes * 4 / 32], 1, &x);
    LLVMTypeRef bits = LLVMVectorType(LLVMInt16TypeInContext(f->ctx), (unsigned)lanes);
    return LLVMBuildBitCast(f->b, x, bits, "");
}

// ---------------------------------------------------------------- products

static CgVal dot_product(CgFn *f, IrDtype t, const CgDot *x, const CgDot *w, CgVal acc) {
    (void)t;
    return cg_fma(f, x->v[0], w->v[0], acc);
}

static CgVal dot_sum(CgFn *f, IrDtype t, const CgDot *x, const CgDot *w, CgVal acc) {
    bool bytes = ir_word(t) == 4;
    cg_use(f, cg_target_dot(f->target, t));
    CgVal operand[] = {acc, bytes ? x->v[0] : w->v[0], bytes ? w->v[0] : x->v[0]};
    return run_instruction(f, bytes ? &sum_bytes : &sum_bf16, 3, operand, false);
}

static CgVal as_words(CgFn *f, CgVal x) {
    return LLVMBuildBitCast(f->b, x, f->ivec, "");
}

static CgVal dot_halves(CgFn *f, IrDtype t, const CgDot *x, const CgDot *w, CgVal acc) {
    for (int i = 0; i < 2; i++) {
        CgVal operand[] = {acc, as_words(f, x->v[i]), as_words(f, w->v[i])};
        acc = ir_word(t) == 2 ? cg_fma(f, x->v[i], w->v[i], acc)
                              : run_instruction(f, &multiply_halves, 3, operand, true);
    }
    return acc;
}

static CgVal dot_plain(CgFn *f, IrDtype t, const CgDot *x, const CgDot *w, CgVal acc) {
    (void)t;
    for (int k = 0; k < 4; k++) {
        CgVal a = mask(f, shift(f, x->v[0], LLVMLShr, 8 * k), 255);
        CgVal b = shift(f, shift(f, w->v[0], LLVMShl, 24 - 8 * k), LLVMAShr, 24);
        acc = LLVMBuildAdd(f->b, acc, LLVMBuildMul(f->b, a, b, ""), "");
    }
    return acc;
}

CgVal cg_dot(CgFn *f, IrDtype t, CgDot x, CgDot w, CgVal acc) {
    static CgVal (*const kinds[])(CgFn *, IrDtype, const CgDot *, const CgDot *, CgVal) = {
        [IR_DOT_PRODUCT] = dot_product,
        [IR_DOT_SUM] = dot_sum,
        [IR_DOT_HALVES] = dot_halves,
        [IR_DOT_PLAIN] = dot_plain,
    };
    return kinds[ir_dot(&f->target->machine, t).kind](f, t, &x, &w, acc);
}
