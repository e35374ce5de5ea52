// See amx.h. Tiles are named by number, in LLVM's intrinsics too: nothing allocates them.
#include "codegen/build/amx.h"

static CgVal tile_number(CgFn *f, int tile) {
    return LLVMConstInt(f->i8, (unsigned)tile, 0);
}

enum { CONFIG_BYTES = 64, ROW_BYTES_AT = 16, ROWS_AT = 48 };

// The operand of ldtilecfg: palette, bytes of a row of each tile, rows of each.
static CgVal configuration(CgFn *f, const CgAmxShape *shape) {
    CgVal byte[CONFIG_BYTES];
    uint8_t bytes[CONFIG_BYTES] = {[0] = 1};
    for (int i = 0; i < CG_AMX_TILES; i++) {
        bytes[ROW_BYTES_AT + 2 * i] = (uint8_t)shape[i].bytes;
        bytes[ROWS_AT + i] = (uint8_t)shape[i].rows;
    }
    for (int i = 0; i < CONFIG_BYTES; i++)
        byte[i] = LLVMConstInt(f->i8, bytes[i], 0);
    return LLVMConstVector(byte, CONFIG_BYTES);
}

static CgVal constant_place(CgFn *f, CgVal config) {
    CgVal at = LLVMAddGlobal(f->mod, LLVMTypeOf(config), "tiles");
    LLVMSetInitializer(at, config);
    LLVMSetGlobalConstant(at, 1);
    LLVMSetLinkage(at, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(at, LLVMGlobalUnnamedAddr);
    LLVMSetAlignment(at, CONFIG_BYTES);
    return at;
}

// On the stack, with what is known when it runs
static CgVal place_with_rows(CgFn *f, CgVal config, const CgAmxShape *shape, CgVal rows) {
    CgVal at = cg_slot(f, LLVMTypeOf(config)), byte = LLVMBuildTrunc(f->b, rows, f->i8, "");
    cg_store(f, config, at, 1);
    for (int i = 0; i < CG_AMX_TILES; i++)
        if (shape[i].rows == CG_AMX_SOME)
            cg_store(f, byte, cg_at(f, f->i8, at, cg_i64(f, ROWS_AT + i)), 1);
    return at;
}

void cg_amx_begin(CgFn *f, IrDtype t, const CgAmxShape shape[CG_AMX_TILES], CgVal rows) {
    cg_use(f, cg_target_amx(t));
    CgVal config = configuration(f, shape);
    CgVal at = rows ? place_with_rows(f, config, shape, rows) : constant_place(f, config);
    cg_call_intrinsic(f, "llvm.x86.ldtilecfg", 0, NULL, 1, &at);
}

void cg_amx_end(CgFn *f) {
    cg_call_intrinsic(f, "llvm.x86.tilerelease", 0, NULL, 0, NULL);
}

void cg_amx_zero(CgFn *f, int tile) {
    CgVal k = tile_number(f, tile);
    cg_call_intrinsic(f, "llvm.x86.tilezero", 0, NULL, 1, &k);
}

void cg_amx_load(CgFn *f, int tile, CgVal p, CgVal stride) {
    CgVal args[] = {tile_number(f, tile), p, stride};
    cg_call_intrinsic(f, "llvm.x86.tileloadd64", 0, NULL, 3, args);
}

void cg_amx_store(CgFn *f, int tile, CgVal p, CgVal stride) {
    CgVal args[] = {tile_number(f, tile), p, stride};
    cg_call_intrinsic(f, "llvm.x86.tilestored64", 0, NULL, 3, args);
}

void cg_amx_dot(CgFn *f, IrDtype t, int sums, int x, int w) {
    CgVal args[] = {tile_number(f, sums), tile_number(f, x), tile_number(f, w)};
    cg_call_intrinsic(f, t == IR_BF16 ? "llvm.x86.tdpbf16ps" : "llvm.x86.tdpbusd", 0, NULL, 3,
                      args);
}

// ---------------------------------------------------------------- sums that are pending

CgAmxPending cg_amx_pending(CgFn *f) {
    CgVal zero = cg_i64(f, 0);
    return (CgAmxPending){cg_slot_of(f, zero), cg_slot_of(f, zero), cg_slot_of(f, zero)};
}

void cg_amx_take(CgFn *f, const CgAmxPending *p, int64_t share, CgVal *lo, CgVal *hi) {
    *lo = cg_get(f, p->row);
    *hi = cg_imin(f, cg_iaddc(f, *lo, share), cg_get(f, p->end));
    cg_set(f, p->row, *hi);
}

void cg_amx_leave(CgFn *f, const CgAmxPending *p, CgVal row, CgVal end, CgVal sums) {
    cg_set(f, p->row, row);
    cg_set(f, p->end, end);
    cg_set(f, p->sums, sums);
}

// ---------------------------------------------------------------- products of two by two tiles

enum { WORD = 4 };

static int count_tiles(int64_t rows) {
    return (int)((rows + CG_AMX_ROWS - 1) / CG_AMX_ROWS);
}

void cg_amx_begin_product(CgFn *f, IrDtype t, int64_t rows, int64_t piece, CgVal some) {
    CgAmxShape shape[CG_AMX_TILES] = {{0, 0}};
    for (int i = 0; i < (some ? CG_AMX_PAIR : count_tiles(rows)); i++) {
        int64_t left = rows - i * CG_AMX_ROWS;
        int here = some ? CG_AMX_SOME : (int)(left < CG_AMX_ROWS ? left : CG_AMX_ROWS);
        shape[cg_amx_row_tile(i)] = (CgAmxShape){here, (int)piece * WORD};
        for (int v = 0; v < CG_AMX_PAIR; v++)
            shape[cg_amx_sum_tile(i, v)] = (CgAmxShape){here, CG_AMX_ROW_BYTES};
    }
    for (int v = 0; v < CG_AMX_PAIR; v++)
        shape[cg_amx_column_tile(v)] = (CgAmxShape){(int)piece, CG_AMX_ROW_BYTES};
    cg_amx_begin(f, t, shape, some);
}

// One piece: left and right are its operands' places.
static void multiply_piece(CgFn *f, const CgAmxProduct *p, CgVal left, CgVal right) {
    CgVal step = cg_i64(f, p->step * WORD), row_step = cg_i64(f, p->row_step * WORD);
    for (int v = 0; v < p->vectors; v++)
        cg_amx_load(f, cg_amx_column_tile(v), cg_fatc(f, right, v * p->apart), step);
    for (int i = 0; i < count_tiles(p->rows); i++) {
        cg_amx_load(f, cg_amx_row_tile(i), cg_fatc(f, left, i * CG_AMX_ROWS * p->row_step),
                    row_step);
        for (int v = 0; v < p->vectors; v++)
            cg_amx_dot(f, p->type, cg_amx_sum_tile(i, v), cg_amx_row_tile(i),
                       cg_amx_column_tile(v));
    }
}

void cg_amx_multiply(CgFn *f, const CgAmxProduct *p) {
    CgLoop loop;
    for (int i = 0; i < count_tiles(p->rows); i++)
        for (int v = 0; v < p->vectors; v++)
            cg_amx_zero(f, cg_amx_sum_tile(i, v));
    cg_for(f, &loop, cg_i64(f, 0), p->n, p->piece);
    multiply_piece(f, p, cg_fat(f, p->left, loop.iv),
                   cg_fat(f, p->right, cg_imulc(f, loop.iv, p->step)));
    cg_end(f, &loop);
    for (int i = 0; i < count_tiles(p->rows); i++)
        for (int v = 0; v < p->vectors; v++)
            cg_amx_store(f, cg_amx_sum_tile(i, v),
                         cg_fatc(f, p->to, i * CG_AMX_ROWS * p->to_step + v * f->lanes),
                         cg_i64(f, p->to_step * WORD));
}
