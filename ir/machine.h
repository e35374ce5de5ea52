// The machine that a program is compiled for, as far as passes and kernels choose by it: what its
// vectors hold, what its instructions can do, what its caches keep. A plain description: made in
// codegen/target/ from a CPU's name, read by passes and code generation, and nobody asks for
// anything else about the machine.
//
// Cache sizes are those of the machine's kind, not those of the machine that compiles, so that a
// program's bytes depend on --mcpu alone. Budgets are fractions of them: ir/budgets.def.
#ifndef IR_MACHINE_H
#define IR_MACHINE_H

#include "ir/ir.h"

// Channels of a block of the layout nChw16c, on every machine, and of a panel of packed weights: a
// program's constants do not depend on the machine. A kernel covers a block with as many vectors as
// it takes, ir_parts().
enum { IR_BLOCK = 16 };
enum { IR_LINE = 64 }; // bytes of a line of the caches

typedef enum IrIsa { IR_ISA_X86_64, IR_ISA_AARCH64 } IrIsa;

// Instructions that sum products of small numbers: sets of these.
enum {
    IR_DOT_I8_VNNI = 1 << 0,    // AVX-512 VNNI: four bytes to an i32 lane
    IR_DOT_I8_AVXVNNI = 1 << 1, // the same on vectors of 32 bytes
    IR_DOT_I8_AMX = 1 << 2,     // tiles
    IR_DOT_I8_NEON = 1 << 3,    // sdot, udot
    IR_DOT_I8_I8MM = 1 << 4,    // smmla and its kin: 2x8 by 8x2
};
enum {
    IR_DOT_BF16_AVX512 = 1 << 0, // two bf16 to an f32 lane
    IR_DOT_BF16_AMX = 1 << 1,
    IR_DOT_BF16_NEON = 1 << 2, // bfdot, bfmmla
};

typedef struct IrMachine {
    IrIsa isa;
    int vector_bytes;          // of the widest vectors: 64, 32 or 16
    int lanes[IR_DTYPE_COUNT]; // elements of a type in one of them
    int vector_registers;      // 32 or 16
    int products_a_cycle;      // multiply-adds of whole vectors that a core starts
    double pairs_a_cycle;      // likewise, of dots of two bf16, where there are such
    bool fma;                  // a multiply-add is one instruction, rounded once
    bool broadcast; // an operand of a product may be one float in memory, spread to all lanes
    bool masks;     // registers of masks: loads and stores of some lanes
    bool by_lane;   // an operand of a product may be one lane, of 4 bytes, of a register
    uint32_t dot_i8, dot_bf16; // IR_DOT_*
    int64_t l1d, l2, l3;       // bytes; l3: what one core may count on
    double l2_rate;            // bytes a cycle that one core reads from there beside products
    double l3_rate;            // likewise, from L3
    double memory_rate;        // likewise, from memory
} IrMachine;

typedef enum IrBudget {
#define IR_BUDGET(name, ...) IR_##name,
#include "ir/budgets.def"
#undef IR_BUDGET
} IrBudget;
int64_t ir_budget(const IrMachine *m, IrBudget b); // bytes

// Vectors of f32 that a block takes.
static inline int ir_parts(const IrMachine *m) {
    return m->lanes[IR_F32] < IR_BLOCK ? IR_BLOCK / m->lanes[IR_F32] : 1;
}

// Registers that a register tile may take, its sums and their operands: one is kept free. Without
// fused multiply-add a product needs one of its own until it is added.
static inline int ir_tile_registers(const IrMachine *m) {
    return m->vector_registers - (m->fma ? 1 : 2);
}

// The same of the products that Winograd's algorithms make, where, without fused multiply-add,
// three are on their way to their sums at a time.
static inline int ir_winograd_registers(const IrMachine *m) {
    return m->vector_registers - (m->fma ? 1 : 4);
}

// Tiles of a register tile of nv blocks of outputs there, with a register for what they all read,
// or one for each where products take it by lane.
static inline int ir_winograd_tiles(const IrMachine *m, int nv) {
    int v = nv * ir_parts(m), left = ir_winograd_registers(m) - v;
    return m->by_lane ? left / (v + 1) : (left - 1) / v;
}

// A dot is a sum of products: what kernels make of a word of an input, 4 bytes, and a word of
// weights, added to a lane of sums. A word of f32 is one product, of bf16 two, of bytes four.
static inline int ir_word(IrDtype t) {
    return ir_dtype_bytes(t) < 4 ? 4 / ir_dtype_bytes(t) : 1;
}

typedef enum IrDotKind {
    IR_DOT_PRODUCT, // a word is one product
    IR_DOT_SUM,     // one instruction multiplies and sums a word
    IR_DOT_HALVES,  // the two halves of a word, widened: bytes to products of 16 bits, bf16 to f32
} IrDotKind;
typedef struct IrDot {
    IrDotKind kind;
    bool memory;     // a word of x may be an operand in memory, spread to all lanes
    int steps;       // instructions for a vector of sums
    int x, w, spare; // registers that x takes, a vector of weights, and on the way
    int row;         // words of x that those of x hold, each of which a product takes by lane; or 1
    int less;        // products of bytes are of x - less: kernels give back less times the weights
} IrDot;
// Products of bf16 by matrix tiles, whose rows are those of a block
static inline bool ir_has_tiles_of_bf16(const IrMachine *m) {
    return m->dot_bf16 & IR_DOT_BF16_AMX && m->lanes[IR_F32] == IR_BLOCK;
}
// Products of bf16 by bf16, neither constant, have k in one sum on matrix tiles up to this: where
// there are more, or N decides how many, nothing may follow but f32 results.
enum { IR_MOST_PAIRS_K = 4096 };
// How m makes them of words of type t. Those of bytes are exact, of u8 and s8, and wrap around.
IrDot ir_dot(const IrMachine *m, IrDtype t);
// Registers for the x of `words` products with one vector of weights.
int ir_dot_x(const IrDot *d, int words);

// One line: "x86-64, vectors of 64 bytes, 32 registers, fma, ...".
const char *ir_machine_text(const IrMachine *m, IrArena *a);

#endif
