// The shape rules, driven through the text form: inputs, a node, and the type it must have or,
// after
// `!`, the reason it must be refused for.
#include "tests/check.h"
#include "tests/ir/ir_text.h"

typedef struct Case {
    const char *inputs, *node, *want;
} Case;

#define BIG "4611686018427387904"

static const Case CONV[] = {
    {"%x: f32[N,3,224,224], %w: f32[64,3,7,7]", "conv %x, %w {stride=[2,2], pad=[3,3,3,3]}",
     "f32[N,64,112,112]"},
    {"%x: f32[N,3,224,224], %w: f32[64,3,7,7], %b: f32[64]", "conv %x, %w, %b",
     "f32[N,64,218,218]"},
    {"%x: f32[2N+3,4,5,5], %w: f32[4,1,3,3]", "conv %x, %w {group=4}", "f32[2N+3,4,3,3]"},
    {"%x: f64[1,4,9,9], %w: f64[6,2,3,3]", "conv %x, %w {dilation=[2,4], group=2}", "f64[1,6,5,1]"},
    {"%x: f32[N,3,1,9], %w: f32[2,3,1,5]", "conv %x, %w {pad=[0,1,0,2], stride=[1,3]}",
     "f32[N,2,1,3]"},
    {"%x: f32[0,3,4,4], %w: f32[2,3,3,3]", "conv %x, %w", "f32[0,2,2,2]"},
    {"%x: f32[N,3,0,4], %w: f32[2,3,3,3]", "conv %x, %w", "f32[N,2,0,2]"},
    {"%x: f32[N,3,0,4], %w: f32[2,3,1,3]", "conv %x, %w {pad=[1,0,1,0]}", "f32[N,2,2,2]"},
    {"%x: f32[N,3,4,4], %w: f32[0,3,3,3]", "conv %x, %w", "f32[N,0,2,2]"},
    {"%x: f32[N,3,3,3], %w: f32[8,3,5,5]", "conv %x, %w",
     "!kernel 5x5 is larger than the padded input 3x3"},
    {"%x: f32[N,3,3,3], %w: f32[8,3,3,3]", "conv %x, %w {dilation=[1,2]}",
     "!kernel 3x5 is larger than the padded input 3x3"},
    {"%x: f32[N,3,N,3], %w: f32[8,3,3,3]", "conv %x, %w",
     "!f32[N,3,N,3] is too large, or its size is not affine in N"},
    {"%x: f32[1,3,N,3], %w: f32[8,3,3,3]", "conv %x, %w",
     "!dimension 2 of operand 0, f32[1,3,N,3], must not depend on N"},
    {"%x: f32[1,N,3,3], %w: f32[8,3,3,3]", "conv %x, %w",
     "!dimension 1 of operand 0, f32[1,N,3,3], must not depend on N"},
    {"%x: f32[N,3,9], %w: f32[8,3,3]", "conv %x, %w",
     "!operand 0 is f32[N,3,9], its rank must be 4"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3]", "conv %x, %w",
     "!operand 1 is f32[8,3,3], its rank must be 4"},
    {"%x: f32[N,3,9,9], %w: f64[8,3,3,3]", "conv %x, %w", "!operand 0 is f32 and operand 1 is f64"},
    {"%x: i16[N,3,9,9], %w: i16[8,3,3,3]", "conv %x, %w",
     "!operand 0 is i16[N,3,9,9], it must be of floating point"},
    // of integers
    {"%x: u8[N,3,9,9], %w: i8[8,3,3,3], %b: i32[8]", "conv %x, %w, %b {zero=255}", "i32[N,8,7,7]"},
    {"%x: i8[N,3,9,9], %w: i8[8,3,3,3]", "conv %x, %w {zero=-128}", "i32[N,8,7,7]"},
    {"%x: u8[N,3,9,9], %w: i8[8,3,3,3]", "conv %x, %w {then=[cast(acc, to=f32)]}", "f32[N,8,7,7]"},
    {"%x: u8[N,3,9,9], %w: u8[8,3,3,3]", "conv %x, %w",
     "!operand 0 is u8[N,3,9,9], it must be of floating point"},
    {"%x: u8[N,3,9,9], %w: i8[8,3,3,3]", "conv %x, %w {zero=256}",
     "!zero is 256, which is no number of u8"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {zero=1}",
     "!zero is 1, which is no number of a product of integers"},
    {"%x: u8[N,3,9,9], %w: i8[8,3,3,3], %b: f32[8]", "conv %x, %w, %b",
     "!operand 2 is f32[8], sums are i32"},
    {"%x: u8[N,3,9,9], %w: i8[8,3,3,3], %s: f32[]", "conv %x, %w, _, %s {then=[mul(acc, 3)]}",
     "!mul of i32 and f32: the types must agree"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %b: f32[7]", "conv %x, %w, %b",
     "!operand 2 is f32[7], it must be f32[8]"},
    {"%x: f32[N,4,9,9], %w: f32[8,3,3,3]", "conv %x, %w",
     "!weights f32[8,3,3,3] are for 3 input channels a group, the input has 4"},
    {"%x: f32[N,4,9,9], %w: f32[8,2,3,3]", "conv %x, %w {group=3}",
     "!group 3 does not divide 4 input and 8 output channels"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {group=0}",
     "!group is 0, it must be at least 1"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {group=-1}",
     "!group is -1, it must be at least 1"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {stride=[0,1]}",
     "!stride[0] is 0, it must be at least 1"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {stride=[1,1,1]}",
     "!stride has 3 values, it must have 2"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {dilation=[1,-1]}",
     "!dilation[1] is -1, it must be at least 1"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {pad=[0,0,-9,0]}",
     "!pad[2] is -9, it must be at least 0"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {pad=[" BIG "," BIG "," BIG "," BIG "]}",
     "!kernel, dilation and pad are too large"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {dilation=[" BIG "," BIG "]}",
     "!kernel, dilation and pad are too large"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,0,3]", "conv %x, %w",
     "!kernel of weights f32[8,4,0,3] is empty"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]",
     "conv %x, %w {pad=[2000000000,2000000000,2000000000,2000000000]}",
     "!f32[N,8,4000000007,4000000007] is too large, or its size is not affine in N"},
    {"%x: f32[N,4,9,9], %w: f32[8,4,3,3]", "conv %x, %w {axis=1}", "!conv has no attribute axis"},
    {"%x: f32[N,4,9,9]", "conv %x", "!conv takes at least 2 operands, not 1"},
    {"%x: f32[N,4,9,9]", "conv %x, _", "!operand 1 is missing"},
    // epilogues
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %r: f32[N,8,7,7]",
     "conv %x, %w, _, %r {then=[add(acc, 3), relu(s0)]}", "f32[N,8,7,7]"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %r: f32[8,1,1]",
     "conv %x, %w, _, %r {then=[mul(acc, 3), less(s0, acc)]}", "bool[N,8,7,7]"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %r: f32[N,8,7,7]", "conv %x, %w, _, %r", "!operand 3 has no use: there is no epilogue"},
    {"%x: f32[1,3,9,9], %w: f32[8,3,3,3], %r: f32[5,8,7,7]",
     "conv %x, %w, _, %r {then=[add(acc, 3)]}",
     "!operand 3 is f32[5,8,7,7], it does not broadcast to f32[1,8,7,7]"},
    {"%x: f32[1,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {then=[add(acc, 0)]}", "!step 0 uses operand 0, a body has those from 3 on"},
    {"%x: f32[1,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {then=[add(acc, s0)]}", "!step 0 uses s0, which is not before it"},
    {"%x: f32[1,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {then=[add(acc, 3)]}", "!step 0 uses operand 3 of 2"},
    {"%x: f32[1,3,9,9], %w: f32[8,3,3,3], %r: f64[]", "conv %x, %w, _, %r {then=[add(acc, 3)]}",
     "!add of f32 and f64: the types must agree"},
    // packed weights
    {"%x: f32[N,4,9,9], %w: f32[200]", "conv %x, %w {group=2, filter=[8,2,3,3]}", "f32[N,8,7,7]"},
    {"%x: f32[N,3,9,9], %w: f32[200]", "conv %x, %w {filter=[8,3,3,3]}", "!200 elements do not hold weights of 216"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {filter=[8,3,3,3]}", "!operand 1 is f32[8,3,3,3], its rank must be 1"},
    {"%x: f32[N,3,9,9], %w: f32[N]", "conv %x, %w {filter=[8,3,3,3]}", "!dimension 0 of operand 1, f32[N], must not depend on N"},
    {"%x: f32[N,3,9,9], %w: f32[216]", "conv %x, %w {filter=[N,3,3,3]}", "!the weights have no fixed shape of rank 4"},
    {"%x: f32[N,3,9,9], %w: f32[216]", "conv %x, %w {filter=[72,3]}", "!the weights have no fixed shape of rank 4"},
    {"%w: f32[8,3,3,3]", "pack_filter %w {shape=[216]}", "f32[216]"},
    {"%w: f32[8,3,3,3]", "pack_filter %w {shape=[215]}", "!215 elements do not hold weights of 216"},
    {"%w: f32[8,3,3,3]", "pack_filter %w {shape=[216], to=bf16}", "bf16[216]"},
    {"%w: bf16[8,3,3,3]", "pack_filter %w {shape=[216], to=f32}", "!weights of bf16 to 'f32'"},
    {"%w: f32[8,3,3,3], %s: f32[8,1,1,1]", "pack_filter %w, %s {shape=[216]}", "f32[216]"},
    {"%w: f32[8,3,3,3], %s: f32[3,1,1,1]", "pack_filter %w, %s {shape=[216]}",
     "!operand 1 is f32[3,1,1,1], it must be a factor of weights f32[8,3,3,3]"},
    {"%w: f32[8,3,3,3]", "pack_filter %w {shape=[216], to=b16}", "!weights of f32 to 'b16'"},
    {"%w: f32[8,3,3,3]", "pack_filter %w", "!attribute shape must be [size]"},
    {"%w: f32[8,3,3]", "pack_filter %w {shape=[216]}", "!the weights have no fixed shape of rank 4"},
    {"%w: i32[8,3,3,3]", "pack_filter %w {shape=[216]}", "!operand 0 is i32[8,3,3,3], it must be of floating point"},
    // prologues: their operands come last and broadcast to operand 0
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %s: f32[3,1,1]", "conv %x, %w, _, %s {pre=[mul(acc, 3), relu(s0)]}", "f32[N,8,7,7]"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %r: f32[N,8,7,7], %s: f32[3,1,1]",
     "conv %x, %w, _, %r, %s {pre=[mul(acc, 4)], then=[add(acc, 3)]}", "f32[N,8,7,7]"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {pre=[relu(acc)]}", "f32[N,8,7,7]"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %r: f32[N,8,7,7], %s: f32[3,1,1]",
     "conv %x, %w, _, %r, %s {pre=[mul(acc, 4)]}", "!operand 3 has no use: there is no epilogue"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %s: f32[N,8,7,7]",
     "conv %x, %w, _, %s {pre=[mul(acc, 3)]}",
     "!operand 3 is f32[N,8,7,7], it does not broadcast to f32[N,3,9,9]"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3], %s: f32[]",
     "conv %x, %w, _, %s {pre=[mul(acc, 3)], then=[add(acc, 3)]}",
     "!step 0 uses operand 3, the prologue has those from 3 on"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {pre=[mul(acc, 0)]}", "!step 0 uses operand 0, a body has those from 3 on"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {pre=[mul(acc, 3)]}",
     "!step 0 uses operand 3 of 2"},
    {"%x: f32[N,3,9,9], %w: f32[8,3,3,3]", "conv %x, %w {pre=[less(acc, acc)]}",
     "!the prologue makes bool of f32"},
    {"%x: f32[2,3], %w: f32[3,4]", "matmul %x, %w {pre=[relu(acc)]}",
     "!matmul has no attribute pre"},
};

// Sizes as ONNX MaxPool and AveragePool 22 have them.
static const Case POOL[] = {
    {"%x: f32[N,64,112,112]", "max_pool %x {kernel=[3,3], stride=[2,2], pad=[1,1,1,1]}",
     "f32[N,64,56,56]"},
    {"%x: f32[N,64,112,112]", "max_pool %x {kernel=[3,3], stride=[2,2], ceil=1}",
     "f32[N,64,56,56]"},
    {"%x: f32[N,64,112,112]", "max_pool %x {kernel=[3,3], stride=[2,2]}", "f32[N,64,55,55]"},
    {"%x: f32[1,1,4,4]", "max_pool %x {kernel=[3,3], stride=[2,2], ceil=1}", "f32[1,1,2,2]"},
    // the window that would start at 3, behind the input of 2 and its begin padding of 1, is left
    // out
    {"%x: f32[1,1,2,2]", "max_pool %x {kernel=[1,1], stride=[2,2], ceil=1}", "f32[1,1,1,1]"},
    {"%x: f32[1,1,2,2]", "avg_pool %x {kernel=[3,3], stride=[3,3], pad=[1,1,1,1], ceil=1}",
     "f32[1,1,1,1]"},
    {"%x: f32[1,1,3,3]", "avg_pool %x {kernel=[3,3], stride=[3,3], pad=[1,1,1,1], ceil=1}",
     "f32[1,1,2,2]"},
    {"%x: f32[1,1,2,2]", "max_pool %x {kernel=[3,3], stride=[2,2], ceil=1}", "f32[1,1,1,1]"},
    {"%x: f32[1,1,7,7]", "max_pool %x {kernel=[2,2], dilation=[3,6]}", "f32[1,1,4,1]"},
    {"%x: u8[N,4,8,8]", "max_pool %x {kernel=[2,2], stride=[2,2]}", "u8[N,4,4,4]"},
    {"%x: u8[N,4,8,8]", "avg_pool %x {kernel=[2,2], to=f32, then=[cast(acc, to=u8)]}",
     "u8[N,4,7,7]"},
    {"%x: u8[N,4,8,8]", "avg_pool %x {kernel=[2,2]}",
     "!operand 0 is u8[N,4,8,8], it must be of floating point"},
    {"%x: u8[N,4,8,8]", "reduce_mean %x {axes=[2,3], to=f32}", "f32[N,4,1,1]"},
    {"%x: u8[N,4,8,8]", "reduce_sum %x {axes=[2,3], to=f31}", "!reduce_sum of u8 to 'f31'"},
    {"%x: f32[N,0,8,8]", "max_pool %x {kernel=[2,2]}", "f32[N,0,7,7]"},
    {"%x: f32[N,4,0,8]", "max_pool %x {kernel=[2,2]}", "f32[N,4,0,7]"},
    {"%x: bool[N,4,8,8]", "max_pool %x {kernel=[2,2]}",
     "!operand 0 is bool[N,4,8,8], it must be a number"},
    {"%x: i32[N,4,8,8]", "avg_pool %x {kernel=[2,2]}",
     "!operand 0 is i32[N,4,8,8], it must be of floating point"},
    {"%x: f32[N,4,8,8]", "max_pool %x", "!attribute kernel is missing"},
    {"%x: f32[N,4,8,8]", "max_pool %x {kernel=[0,2]}", "!kernel[0] is 0, it must be at least 1"},
    {"%x: f32[N,4,2,2]", "max_pool %x {kernel=[3,3]}",
     "!kernel 3x3 is larger than the padded input 2x2"},
    {"%x: f32[N,4,8,8]", "max_pool %x {kernel=[2,2], pad=[0,2,0,0]}",
     "!pad 0x2 must be smaller than kernel 2x2"},
};

static const Case PRODUCT[] = {
    {"%x: u8[N,5], %w: i8[5,7], %b: i32[7]", "matmul %x, %w, %b {zero=3}", "i32[N,7]"},
    {"%x: i8[N,5], %w: i8[5,7]", "matmul %x, %w", "i32[N,7]"},
    {"%x: u8[N,5], %w: u8[5,7]", "matmul %x, %w", "u8[N,7]"},
    {"%x: u8[N,5], %w: u8[5,7]", "matmul %x, %w {zero=3}",
     "!zero is 3, which is no number of a product of integers"},
    {"%x: u8[N,5,2,2], %w: i8[5,7]", "matmul %x, %w {mean=1}",
     "!operand 0 is u8[N,5,2,2], it must be of floating point"},
    {"%a: f32[N,512], %b: f32[512,10]", "matmul %a, %b", "f32[N,10]"},
    {"%a: f32[512,N], %b: f32[10,512], %c: f32[10]", "matmul %a, %b, %c {trans_a=1, trans_b=1}",
     "f32[N,10]"},
    {"%a: f32[5,N], %b: f32[N,7]", "matmul %a, %b", "f32[5,7]"},
    {"%a: f32[N,1,3,4], %b: f32[6,4,5]", "matmul %a, %b", "f32[N,6,3,5]"},
    {"%a: f32[N,4,3,2], %b: f32[4,5]", "matmul %a, %b {mean=1}", "f32[N,5]"},
    {"%a: f32[N,4,3,2], %b: f32[5,4]", "matmul %a, %b {trans_b=1, mean=1}", "f32[N,5]"},
    {"%a: f32[N,4], %b: f32[4,5]", "matmul %a, %b {mean=1}",
     "!operand 0 is f32[N,4], its rank must be 4"},
    {"%a: f32[N,4,3,2], %b: f32[4,5]", "matmul %a, %b {trans_a=1, mean=1}",
     "!trans_a does not go with mean"},
    {"%a: i64[2,0], %b: i64[0,3]", "matmul %a, %b", "i64[2,3]"},
    {"%a: f32[2,3], %b: f32[3,4], %c: f32[2,1], %r: f32[4]",
     "matmul %a, %b, %c, %r {then=[add(acc, 3)]}", "f32[2,4]"},
    {"%a: f32[2,3], %b: f32[4,5]", "matmul %a, %b",
     "!f32[2,3] by f32[4,5]: the inner dimensions differ"},
    {"%a: f32[2,3], %b: f32[3,5]", "matmul %a, %b {trans_b=1}",
     "!f32[2,3] by f32[3,5] transposed: the inner dimensions differ"},
    {"%a: f32[2,2,3], %b: f32[3,3,5]", "matmul %a, %b",
     "!f32[2,2,3] by f32[3,3,5]: the leading dimensions do not broadcast"},
    {"%a: f32[3], %b: f32[3,5]", "matmul %a, %b",
     "!operand 0 is f32[3], its rank must be at least 2"},
    {"%a: f32[N,3], %b: f32[3,N]", "matmul %a, %b",
     "!f32[N,N] is too large, or its size is not affine in N"},
    {"%a: f32[2,3], %b: f32[3,4], %c: f32[3]", "matmul %a, %b, %c",
     "!operand 2 is f32[3], it does not broadcast to f32[2,4]"},
    {"%x: f32[N,8,3], %s: f32[8]", "batch_norm %x, %s, %s, %s, %s {eps=1e-05}", "f32[N,8,3]"},
    {"%x: f32[N,8,3], %s: f32[3]", "batch_norm %x, %s, %s, %s, %s",
     "!operand 1 is f32[3], it must be f32[8]"},
    {"%x: f32[N,8,3], %s: f32[8]", "batch_norm %x, %s, %s", "!batch_norm takes 5 operands, not 3"},
    {"%x: f32[8,N], %s: f32[8]", "batch_norm %x, %s, %s, %s, %s",
     "!dimension 1 of operand 0, f32[8,N], must not depend on N"},
};

static const Case ELEMENTWISE[] = {
    {"%x: f32[N,5], %s: f32[5], %z: u8[5]", "quantize %x, %s, %z {to=u8}", "u8[N,5]"},
    {"%x: f32[N,5], %s: f32[]", "quantize %x, %s {to=i16}", "i16[N,5]"},
    {"%x: f32[N,5], %s: f32[]", "quantize %x, %s",
     "!quantize to '', which is no integer of 8 or 16 bits"},
    {"%x: f64[N,5], %s: f32[]", "quantize %x, %s {to=u8}",
     "!operand 0 is f64[N,5], it must be f32"},
    {"%x: f32[N,5], %s: f32[4]", "quantize %x, %s {to=u8}",
     "!operand 1 is f32[4], it does not broadcast to f32[N,5]"},
    {"%x: f32[N,5], %s: f32[], %z: i8[]", "quantize %x, %s, %z {to=u8}",
     "!operand 2 is i8[], the integers are u8"},
    {"%x: i32[N,5], %s: f32[5], %z: i32[]", "dequantize %x, %s, %z", "f32[N,5]"},
    {"%x: i64[N,5], %s: f32[5]", "dequantize %x, %s", "!dequantize of i64"},
    {"%x: i8[N,5], %s: f64[5]", "dequantize %x, %s", "!operand 1 is f64[5], a scale is f32"},
    {"%x: u8[N,5], %s: f32[]", "map %x, %s {body=[cast(0, to=f32), mul(s0, 1), cast(s1, to=i8)]}",
     "i8[N,5]"},
    {"%x: u8[N,5]", "map %x {body=[cast(0, to=q8)]}", "!'q8' is no element type"},
    {"%a: f32[N,1,5], %b: f32[4,1]", "add %a, %b", "f32[N,4,5]"},
    {"%a: f32[1], %b: f32[N]", "mul %a, %b", "f32[N]"},
    {"%a: f32[N], %b: f32[N]", "mul %a, %b", "f32[N]"},
    {"%a: f32[], %b: f32[N]", "mul %a, %b", "f32[N]"},
    {"%a: f32[0], %b: f32[1]", "mul %a, %b", "f32[0]"},
    {"%a: f32[N], %b: f32[3]", "mul %a, %b", "!operands f32[N] and f32[3] do not broadcast"},
    {"%a: f32[0], %b: f32[3]", "mul %a, %b", "!operands f32[0] and f32[3] do not broadcast"},
    {"%a: f32[N,1], %b: f32[1,N]", "mul %a, %b",
     "!f32[N,N] is too large, or its size is not affine in N"},
    {"%a: f32[3], %b: i32[3]", "add %a, %b", "!add of f32 and i32: the types must agree"},
    {"%a: bool[3], %b: bool[3]", "add %a, %b", "!add of bool: it works on numbers"},
    {"%a: bool[3], %b: bool[3]", "equal %a, %b", "bool[3]"},
    {"%a: f32[3], %b: f32[3]", "less %a, %b", "bool[3]"},
    {"%a: f32[3], %b: f32[3]", "and %a, %b", "!and of f32: it works on bool"},
    {"%a: bool[3]", "not %a", "bool[3]"},
    {"%a: i32[3]", "relu %a", "i32[3]"},
    {"%a: i32[3]", "exp %a", "!exp of i32: it works on floating point"},
    {"%a: f32[3], %b: f32[2,3]", "prelu %a, %b",
     "!operand 1 is f32[2,3], it does not broadcast to f32[3]"},
    {"%c: bool[N,1], %a: f32[3], %b: f32[]", "where %c, %a, %b", "f32[N,3]"},
    {"%c: f32[N,1], %a: f32[3], %b: f32[]", "where %c, %a, %b",
     "!the condition of where is f32, it must be bool"},
    {"%a: f32[3]", "cast %a {to=i64}", "i64[3]"},
    {"%a: f32[3]", "cast %a {to=f31}", "!cast to 'f31', which is no element type"},
    {"%a: f32[3]", "cast %a", "!cast to '', which is no element type"},
    {"%a: f32[N,3]", "bitcast %a {to=u32}", "u32[N,3]"},
    {"%a: f32[3]", "bitcast %a {to=i64}", "!bits of f32 cannot be i64"},
    {"%a: f32[3], %b: f32[N,1]", "map %a, %b {body=[mul(0, 1), clip(s0, min=0, max=6)]}",
     "f32[N,3]"},
    {"%a: f32[3], %b: bool[3]", "map %a, %b {body=[neg(0), where(1, s0, 0)]}", "f32[3]"},
    {"%a: f32[3]", "map %a {body=[exp(0), greater(s0, 0)]}", "bool[3]"},
    {"%a: f32[3]", "map %a {body=[]}", "!a map needs at least one step"},
    {"%a: f32[3]", "map %a", "!a map needs at least one step"},
    {"%a: f32[3]", "map %a {body=[relu(acc)]}", "!step 0 uses acc, which map does not have"},
    {"%a: f32[3]", "map %a {body=[relu(1)]}", "!step 0 uses operand 1 of 1"},
    {"%a: f32[3]", "map %a {body=[relu(0), add(s0, s1)]}",
     "!step 1 uses s1, which is not before it"},
    {"%a: f32[3]", "map _ {body=[relu(0)]}", "!operand 0 is missing"},
    {"%a: f32[N,7]", "softmax %a {axis=1}", "f32[N,7]"},
    {"%a: f32[N,7]", "softmax %a {axis=2}", "!axis 2 is out of range for rank 2"},
    {"%a: f32[N,7]", "softmax %a {axis=-1}", "!axis -1 is out of range for rank 2"},
    {"%a: f32[N,7]", "softmax %a", "!attribute axis is missing"},
    {"%a: f32[N,7]", "lrn %a {size=5}", "f32[N,7]"},
    {"%a: f32[N,7]", "lrn %a {size=0}", "!size is 0, it must be at least 1"},
    {"%a: f32[7,N]", "lrn %a {size=1}",
     "!dimension 1 of operand 0, f32[7,N], must not depend on N"},
    {"%a: f32[7]", "lrn %a {size=1}", "!operand 0 is f32[7], its rank must be at least 2"},
    {"%a: f32[7]", "dropout %a {ratio=1.5}", "!ratio is 1.5, it must be in 0..1"},
    {"%a: f32[7]", "dropout %a {ratio=nan}", "!ratio is nan, it must be in 0..1"},
};

static const Case REDUCE[] = {
    {"%x: f32[N,8,7,7]", "reduce_mean %x {axes=[2,3]}", "f32[N,8,1,1]"},
    {"%x: f32[N,8,7,7]", "reduce_mean %x {axes=[2,3], keepdims=0}", "f32[N,8]"},
    {"%x: f32[N,8,7,7]", "reduce_sum %x {axes=[0,2,3], keepdims=0}", "f32[8]"},
    {"%x: f32[N,8], %y: f32[N,8]", "reduce_sum %x, %y {axes=[1], pre=[mul(acc, 1)]}", "f32[N,1]"},
    {"%x: f32[N,8], %y: f32[N,9]", "reduce_sum %x, %y {axes=[1], pre=[mul(acc, 1)]}",
     "!operand 1 is f32[N,9], it does not broadcast to f32[N,8]"},
    {"%x: f32[N,8]", "reduce_sum %x {axes=[0,1], keepdims=0}", "f32[]"},
    {"%x: f32[]", "reduce_sum %x", "f32[]"},
    {"%x: f32[N,0]", "reduce_sum %x {axes=[1]}", "f32[N,1]"},
    {"%x: f32[N,8], %s: f32[N,1]", "reduce_max %x, %s {axes=[1], then=[sub(acc, 1)]}", "f32[N,1]"},
    {"%x: f32[N,8]", "reduce_max %x {axes=[1,0]}", "!axes are not ascending: 0 after 1"},
    {"%x: f32[N,8]", "reduce_max %x {axes=[1,1]}", "!axes are not ascending: 1 after 1"},
    {"%x: f32[N,8]", "reduce_max %x {axes=[-1]}", "!axis -1 is out of range for rank 2"},
    {"%x: bool[N,8]", "reduce_max %x {axes=[1]}", "!operand 0 is bool[N,8], it must be a number"},
};

static const Case MOVE[] = {
    {"%a: f32[N,3,2], %b: f32[N,5,2]", "concat %a, %b {axis=1}", "f32[N,8,2]"},
    {"%a: f32[N,2], %b: f32[2N+1,2]", "concat %a, %b {axis=0}", "f32[3N+1,2]"},
    {"%a: f32[N,2]", "concat {axis=0}", "!concat takes at least 1 operands, not 0"},
    {"%a: f32[N,2], %b: f32[N,2,1]", "concat %a, %b {axis=0}",
     "!operand 0 is f32[N,2] and operand 1 is f32[N,2,1]: they may differ in axis 0 only"},
    {"%a: f32[N,2], %b: f32[N,3]", "concat %a, %b {axis=0}",
     "!operand 0 is f32[N,2] and operand 1 is f32[N,3]: they may differ in axis 0 only"},
    {"%a: f32[N,2], %b: i32[N,2]", "concat %a, %b {axis=0}",
     "!operand 0 is f32 and operand 1 is i32"},
    {"%a: f32[N,2]", "concat %a {axis=2}", "!axis 2 is out of range for rank 2"},
    {"%a: u8[9000000000000000000], %b: u8[9000000000000000000]", "concat %a, %b {axis=0}",
     "!the result's axis 0 is too large"},
    {"%a: f32[N,3,2], %b: f32[N,5,2]", "shuffle %a, %b {channels=[7,0,7]}", "f32[N,3,2]"},
    {"%a: f32[N,3], %b: f32[N,5]", "shuffle %a, %b {channels=[8]}",
     "!channel 0 of the result is channel 8 of 8"},
    {"%a: f32[N,3]", "shuffle %a {channels=[0,-1]}", "!channel 1 of the result is channel -1 of 3"},
    {"%a: f32[N,3]", "shuffle %a", "!attribute channels is missing"},
    {"%a: f32[N]", "shuffle %a {channels=[0]}",
     "!operand 0 is f32[N], its rank must be at least 2"},
    {"%a: f32[3,N]", "shuffle %a {channels=[0]}",
     "!dimension 1 of operand 0, f32[3,N], must not depend on N"},
    {"%a: f32[N,3,2], %b: f32[N,3,4]", "shuffle %a, %b {channels=[0]}",
     "!operand 0 is f32[N,3,2] and operand 1 is f32[N,3,4]: they may differ in axis 1 only"},
    {"%x: f32[N,8,6]", "slice %x {start=[0,2,5], step=[1,2,-2], shape=[N,3,3]}", "f32[N,3,3]"},
    {"%x: f32[N,8]", "slice %x {start=[0,8], step=[1,1], shape=[N,0]}", "f32[N,0]"},
    {"%x: f32[2N+5]", "slice %x {start=[1], step=[1], shape=[N+4]}", "f32[N+4]"},
    {"%x: f32[N,8]", "slice %x {start=[0,8], step=[1,1], shape=[N,1]}",
     "!axis 1: 1 elements from 8 on by step 1 are not within 8"},
    {"%x: f32[N,8]", "slice %x {start=[0,2], step=[1,-1], shape=[N,4]}",
     "!axis 1: 4 elements from 2 on by step -1 are not within 8"},
    {"%x: f32[N,8]", "slice %x {start=[0,0], step=[1,1], shape=[1,8]}",
     "!axis 0: 1 elements from 0 on by step 1 are not within N"},
    {"%x: f32[N,8]", "slice %x {start=[0,0], step=[1,0], shape=[N,1]}",
     "!axis 1: 1 elements from 0 on by step 0 are not within 8"},
    {"%x: f32[N,8]", "slice %x {start=[0,1], step=[1,9223372036854775807], shape=[N,3]}",
     "!axis 1: 3 elements from 1 on by step 9223372036854775807 are not within 8"},
    {"%x: f32[N,8]", "slice %x {start=[0,7], step=[1,-9223372036854775808], shape=[N,2]}",
     "!axis 1: 2 elements from 7 on by step -9223372036854775808 are not within 8"},
    {"%x: f32[N,8]", "slice %x {start=[0,-1], step=[1,1], shape=[N,1]}",
     "!axis 1: 1 elements from -1 on by step 1 are not within 8"},
    {"%x: f32[N,8]", "slice %x {start=[0], step=[1,1], shape=[N,1]}",
     "!start has 1 values, it must have 2"},
    {"%x: f32[N,8]", "slice %x {start=[0,0], shape=[N,1]}", "!attribute step is missing"},
    {"%x: f32[N,8]", "slice %x {start=[0,0], step=[1,1]}", "!attribute shape is missing"},
    {"%x: f32[N,3,5]", "pad %x {pad=[0,1,2,0,3,4], mode=constant, value=0}", "f32[N,7,11]"},
    {"%x: f32[N,3,5]", "pad %x {pad=[1,0,0,0,0,-5]}", "f32[N+1,3,0]"},
    {"%x: f32[N,3,5]", "pad %x {pad=[0,-1,2,0,-1,-4]}", "f32[N,1,3]"},
    {"%x: f32[N,3]", "pad %x {pad=[0,2,0,2], mode=reflect}", "f32[N,7]"},
    {"%x: f32[N,3]", "pad %x {pad=[0,3,0,0], mode=reflect}",
     "!axis 1 of size 3 is too small to reflect 3 and 0 elements"},
    {"%x: f32[N,0]", "pad %x {pad=[0,3,0,0], mode=edge}",
     "!axis 1 of size 0 is too small to repeat 3 and 0 elements"},
    {"%x: f32[N,3]", "pad %x {pad=[1,0,0,0], mode=edge}",
     "!axis 0 of size N is too small to repeat 1 and 0 elements"},
    {"%x: f32[N,3]", "pad %x {pad=[0,-2,0,-2]}", "!axis 1 of size 3 cannot be padded by -2 and -2"},
    {"%x: f32[N,3]", "pad %x {pad=[0,-4,0,9]}", "!axis 1 of size 3 cannot be padded by -4 and 9"},
    {"%x: f32[N,3]", "pad %x {pad=[-1,0,0,0]}", "!axis 0 of size N cannot be padded by -1 and 0"},
    {"%x: f32[N,3]", "pad %x {pad=[0,9223372036854775807,0,1]}",
     "!axis 1 of size 3 cannot be padded by 9223372036854775807 and 1"},
    {"%x: f32[N,3]", "pad %x {pad=[0,0,0,0], mode=wrap}",
     "!mode 'wrap' is none of constant, edge, reflect"},
    {"%x: f32[N,3]", "pad %x {pad=[0,0]}", "!pad has 2 values, it must have 4"},
    {"%x: f32[N,3,4,5]", "transpose %x {perm=[0,2,3,1]}", "f32[N,4,5,3]"},
    {"%x: f32[N,3]", "transpose %x {perm=[1,0]}", "f32[3,N]"},
    {"%x: f32[N,3]", "transpose %x {perm=[0,0]}", "!axis 0 stands twice in perm"},
    {"%x: f32[N,3]", "transpose %x {perm=[0,2]}", "!axis 2 is out of range for rank 2"},
    {"%x: f32[N,3]", "transpose %x {perm=[0]}", "!perm has 1 values, it must have 2"},
    {"%x: f32[N,8,2]", "reshape %x {shape=[N,16]}", "f32[N,16]"},
    {"%x: f32[N,8]", "reshape %x {shape=[2N,4]}", "f32[2N,4]"},
    {"%x: f32[N,0]", "reshape %x {shape=[0,5]}", "f32[0,5]"},
    {"%x: f32[1]", "reshape %x {shape=[]}", "f32[]"},
    {"%x: f32[N,8]", "reshape %x {shape=[8]}", "!f32[N,8] and f32[8] do not have as many elements"},
    {"%x: f32[N,8]", "reshape %x {shape=[N,8,N]}",
     "!f32[N,8,N] is too large, or its size is not affine in N"},
    {"%x: f32[N,8]", "reshape %x", "!attribute shape is missing"},
    {"%x: f32[1,8]", "expand %x {shape=[N,3,8]}", "f32[N,3,8]"},
    {"%x: f32[1,8]", "expand %x {shape=[N,8]}", "f32[N,8]"},
    {"%x: f32[3,8]", "expand %x {shape=[3,1]}",
     "!operand 0 is f32[3,8], it does not broadcast to f32[3,1]"},
    {"%x: f32[N,8,3], %i: i64[2,5]", "gather %x, %i {axis=1}", "f32[N,2,5,3]"},
    {"%x: f32[N,8,3], %i: i32[]", "gather %x, %i {axis=2}", "f32[N,8]"},
    {"%x: f32[8], %i: i64[N]", "gather %x, %i", "f32[N]"},
    {"%x: f32[N,8,3], %i: i64[2]", "gather %x, %i {axis=0}", "f32[2,8,3]"},
    {"%x: f32[N,8,3], %i: f32[2]", "gather %x, %i {axis=1}",
     "!indices are f32, they must be i32 or i64"},
    {"%x: f32[1,2,3,4,5], %i: i64[1,1,1,1,1]", "gather %x, %i {axis=1}",
     "!the result has rank 9, the most is 8"},
    {"%x: f32[3]", "gather %x, %last {axis=0}", "f32[2]"},
    {"%x: f32[0]", "gather %x, %last {axis=0}", "!axis 0 of operand 0, f32[0], is empty"},
    {"%x: f32[0,3], %i: i64[0]", "gather %x, %i {axis=0}", "f32[0,3]"},
    {"%x: f32[N,3]", "copy %x", "f32[N,3]"},
    {"%x: f32[3]", "reorder %x", "!operand 0 is f32[3], its rank must be at least 2"},
};

static void check_case(const Case *c) {
    TextCase t;
    text_open(&t);
    char text[1000], want[1000];
    snprintf(text, sizeof text,
             "const %%last: i64[2] = [0, -3]\n"
             "graph g(%s) -> (%%r_) {\n%%r_ = %s\n}",
             c->inputs, c->node);
    IrProgram *p = text_parse(&t, text);
    bool fine;
    if (*c->want == '!') {
        snprintf(want, sizeof want, ": %s", c->want + 1);
        const char *log = text_log(&t);
        size_t n = strlen(log), m = strlen(want);
        fine = CHECK(!p) && CHECK(t.diag.errors == 1);
        fine = fine && CHECK_STR_EQ(n > m ? log + n - m : log, want);
    } else {
        fine = CHECK_STR_EQ(text_log(&t), "") && CHECK(p != NULL);
        if (fine) {
            IrNode *node = p->graphs[0]->first;
            fine = CHECK_STR_EQ(ir_type_print(&node->out[0]->type, want, sizeof want), c->want);
            node->out[0]->type = (IrType){0};
            fine = fine && CHECK(!ir_infer(node));
            fine = fine &&
                   CHECK_STR_EQ(ir_type_print(&node->out[0]->type, want, sizeof want), c->want);
        }
    }
    if (!fine) {
        fprintf(stderr, "  in: (%s) %s\n", c->inputs, c->node);
    }
    text_close(&t);
}

#define TABLE(name, table)                                                                         \
    static void name(void) {                                                                       \
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {                                \
            check_case(&table[i]);                                                                 \
        }                                                                                          \
    }
TABLE(convolutions, CONV)
TABLE(pools, POOL)
TABLE(products_and_norms, PRODUCT)
TABLE(elementwise_and_maps, ELEMENTWISE)
TABLE(reductions, REDUCE)
TABLE(movement, MOVE)

// ---------------------------------------------------------------- types

static void dims_are_affine(void) {
    IrDim d;
    CHECK(ir_dim_mul((IrDim){2, 3}, ir_dim(5), &d) && ir_dim_eq(d, (IrDim){10, 15}));
    CHECK(ir_dim_mul(ir_dim(5), (IrDim){2, 3}, &d) && ir_dim_eq(d, (IrDim){10, 15}));
    CHECK(!ir_dim_mul((IrDim){0, 1}, (IrDim){0, 1}, &d));
    CHECK(!ir_dim_mul(ir_dim(INT64_MAX), ir_dim(2), &d));
    CHECK(!ir_dim_mul((IrDim){0, INT64_MAX}, ir_dim(2), &d));
    CHECK_INT_EQ(ir_dim_at((IrDim){3, 2}, 5), 13);
    CHECK_INT_EQ(ir_dim_at((IrDim){3, INT64_MAX}, 2), INT64_MAX);
    IrShape nothing = {.rank = 3, .dim = {{0, 1}, {0, 1}, {0, 0}}};
    CHECK(ir_shape_elems(&nothing, &d) && ir_dim_is(d, 0));
}

static void bytes_count_block_padding(void) {
    IrDim d;
    IrType t = {IR_F32, {.rank = 4, .dim = {{0, 1}, {3, 0}, {2, 0}, {2, 0}}}, 16};
    CHECK(ir_type_bytes(&t, &d) && ir_dim_eq(d, (IrDim){0, 16 * 4 * 4}));
    t.block = 0;
    CHECK(ir_type_bytes(&t, &d) && ir_dim_eq(d, (IrDim){0, 3 * 4 * 4}));
    t.shape.dim[0] = (IrDim){5, 2}; // counts as 7N
    CHECK(ir_type_bytes(&t, &d) && ir_dim_eq(d, (IrDim){0, 7 * 3 * 4 * 4}));
    t.shape.dim[2] = (IrDim){0, 1};
    CHECK(!ir_type_bytes(&t, &d));
}

static void dtypes_have_names(void) {
    IrDtype t;
    for (int i = 0; i < IR_DTYPE_COUNT; i++) {
        CHECK(ir_dtype_parse(ir_dtype_name((IrDtype)i), &t) && (int)t == i);
        CHECK(ir_dtype_bytes(t) >= 1 && ir_dtype_bytes(t) <= 8);
    }
    CHECK(!ir_dtype_parse("float", &t));
    CHECK(ir_dtype_is_float(IR_F16) && ir_dtype_is_float(IR_BF16) && !ir_dtype_is_float(IR_I8));
}

int main(void) {
    CHECK_RUN(convolutions);
    CHECK_RUN(pools);
    CHECK_RUN(products_and_norms);
    CHECK_RUN(elementwise_and_maps);
    CHECK_RUN(reductions);
    CHECK_RUN(movement);
    CHECK_RUN(dims_are_affine);
    CHECK_RUN(bytes_count_block_padding);
    CHECK_RUN(dtypes_have_names);
    return check_done();
}
