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
