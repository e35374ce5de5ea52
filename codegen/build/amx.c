// See amx.h. Tiles are named by number, in LLVM's intrinsics too: nothing allocates them.
#include "codegen/build/amx.h"

static CgVal tile_number(CgFn *f, int tile) {
    return LLVMConstInt(f->i8, (unsigned)tile, 0);
}

// The operand of ldtilecfg: palette, bytes of a row of each tile from 16 on, rows from 48 on.
static CgVal configuration(CgFn *f, const CgAmxShape *shape) {
    uint8_t bytes[64] = {[0] = 1};
    CgVal byte[64];
    for (int i = 0; i < CG_AMX_TILES; i++) {
        bytes[16 + 2 * i] = (uint8_t)shape[i].bytes;
        bytes[48 + i] = (uint8_t)shape[i].rows;
    }
    for (int i = 0; i < 64; i++)
        byte[i] = LLVMConstInt(f->i8, bytes[i], 0);
    CgVal init = LLVMConstArray2(f->i8, byte, 64);
    CgVal at = LLVMAddGlobal(f->mod, LLVMTypeOf(init), "tiles");
    LLVMSetInitializer(at, init);
    LLVMSetGlobalConstant(at, 1);
    LLVMSetLinkage(at, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(at, LLVMGlobalUnnamedAddr);
    LLVMSetAlignment(at, 64);
    return at;
}

void cg_amx_begin(CgFn *f, IrDtype t, const CgAmxShape shape[CG_AMX_TILES]) {
    cg_use(f, cg_target_amx(t));
    CgVal at = configuration(f, shape);
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
