// Sums of products of words, as a machine makes them (ir_dot()). Private to codegen/.
//
// A word is 4 bytes of one pixel's channels: an f32, two bf16 or four bytes. A vector of weights
// has a word for each of its lanes, which are output channels. Input words are u8, weights s8:
//
//   acc[lane] += sum over k of (x[k] - less) * w[lane][k]
//
// where `less`, of ir_dot(), is 0 but where a machine multiplies signed bytes alone: then kernels
// start from what it takes away, as from a zero point's part.
// Sums are i32, exact, and wrap around; of f32 and bf16 they are f32. Operands are opened once for
// all products that they are in, which takes as many registers as ir_dot() says.
#ifndef CODEGEN_BUILD_DOT_H
#define CODEGEN_BUILD_DOT_H

#include "codegen/build/elem.h"

typedef struct CgDot { // an opened operand: its even and odd parts, where a machine takes them
                       // apart
    CgVal v[2];
} CgDot;

LLVMTypeRef cg_dot_words(CgFn *f, IrDtype t);    // a vector of words: of f32, or of i32
CgDot cg_dot_x(CgFn *f, IrDtype t, CgVal words); // of x, an input's type
CgDot cg_dot_w(CgFn *f, IrDtype t, CgVal words); // of weights for an input of type t
CgVal cg_dot(CgFn *f, IrDtype t, CgDot x, CgDot w, CgVal acc);

// A vector of f32 as bf16, in the bits of u16, by an instruction where the machine has one that
// belongs to its dots: NULL, it has none. Rounds to nearest even, subnormals are 0, as in dots.
CgVal cg_dot_round(CgFn *f, CgVal x);
// Two such vectors, of 16, lane beside lane in words, where cg_dot_round() has that instruction.
CgVal cg_dot_round_two(CgFn *f, CgVal lower, CgVal upper);
// As cg_elem_store_n() what dots are to read: bf16 by that instruction, where there is one.
void cg_dot_store_n(CgFn *f, IrDtype t, CgVal v, CgVal p, CgVal n);

CgDot cg_dot_load_x(CgFn *f, IrDtype t, CgVal p); // the word at p, in all lanes
// Where products take one lane of a register, the words of `steps` steps are loaded by rows, as
// many at a time as ir_dot() says, if they come out even: *row holds those that are under way. Step
// k's word is at p, behind that of the step before. row NULL: each by itself.
bool cg_dot_by_row(const CgFn *f, IrDtype t, int steps);
CgDot cg_dot_step_x(CgFn *f, IrDtype t, CgDot *row, int k, CgVal p);
CgDot cg_dot_load_w(CgFn *f, IrDtype t, CgVal p); // a vector of words from p on

#endif
