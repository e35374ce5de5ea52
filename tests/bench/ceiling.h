// GFLOP/s that one core reaches with nothing but fused multiply-adds, GOP/s with nothing but sums
// of four products of bytes: what the benches of convolutions compare with.
#ifndef TESTS_BENCH_CEILING_H
#define TESTS_BENCH_CEILING_H

#include "runtime/core/rt.h"
#include "tests/codegen/rig/amx.h"

enum { CEILING_ROUNDS = 20000, CHAINS = 12 };

typedef float Vec8 __attribute__((vector_size(32)));
typedef float Vec16 __attribute__((vector_size(64)));

__attribute__((target("avx512f"), noinline)) static void multiply_16(Vec16 *a, int n) {
    for (int i = 0; i < n; i++)
        __asm__ volatile("vfmadd231ps %0, %0, %%zmm0\n vfmadd231ps %0, %0, %%zmm1\n"
                         "vfmadd231ps %0, %0, %%zmm2\n vfmadd231ps %0, %0, %%zmm3\n"
                         "vfmadd231ps %0, %0, %%zmm4\n vfmadd231ps %0, %0, %%zmm5\n"
                         "vfmadd231ps %0, %0, %%zmm6\n vfmadd231ps %0, %0, %%zmm7\n"
                         "vfmadd231ps %0, %0, %%zmm8\n vfmadd231ps %0, %0, %%zmm9\n"
                         "vfmadd231ps %0, %0, %%zmm10\n vfmadd231ps %0, %0, %%zmm11\n"
                         :
                         : "v"(*a)
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11");
}

__attribute__((target("avx2,fma"), noinline)) static void multiply_8(Vec8 *a, int n) {
    for (int i = 0; i < n; i++)
        __asm__ volatile("vfmadd231ps %0, %0, %%ymm0\n vfmadd231ps %0, %0, %%ymm1\n"
                         "vfmadd231ps %0, %0, %%ymm2\n vfmadd231ps %0, %0, %%ymm3\n"
                         "vfmadd231ps %0, %0, %%ymm4\n vfmadd231ps %0, %0, %%ymm5\n"
                         "vfmadd231ps %0, %0, %%ymm6\n vfmadd231ps %0, %0, %%ymm7\n"
                         "vfmadd231ps %0, %0, %%ymm8\n vfmadd231ps %0, %0, %%ymm9\n"
                         "vfmadd231ps %0, %0, %%ymm10\n vfmadd231ps %0, %0, %%ymm11\n"
                         :
                         : "x"(*a)
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11");
}

// Twelve sums that do not wait for each other
#define SUM_REGISTERS                                                                              \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"
#define SUM_TWELVE(op)                                                                             \
    op " %0, %0, %%zmm0\n" op " %0, %0, %%zmm1\n" op " %0, %0, %%zmm2\n" op " %0, %0, %%zmm3\n" op \
       " %0, %0, %%zmm4\n" op " %0, %0, %%zmm5\n" op " %0, %0, %%zmm6\n" op " %0, %0, %%zmm7\n" op \
       " %0, %0, %%zmm8\n" op " %0, %0, %%zmm9\n" op " %0, %0, %%zmm10\n" op " %0, %0, %%zmm11\n"

__attribute__((target("avx512vnni"), noinline)) static void sum_bytes(Vec16 *a, int n) {
    for (int i = 0; i < n; i++)
        __asm__ volatile(SUM_TWELVE("vpdpbusd") : : "v"(*a) : SUM_REGISTERS);
}

__attribute__((target("avx512bf16"), noinline)) static void sum_bf16(Vec16 *a, int n) {
    for (int i = 0; i < n; i++)
        __asm__ volatile(SUM_TWELVE("vdpbf16ps") : : "v"(*a) : SUM_REGISTERS);
}

static double measure_dots(void (*sum)(Vec16 *, int), int products) {
    Vec16 a = {0};
    double best = 1e30;
    for (int i = 0; i < 8; i++) {
        uint64_t t = rt_now();
        sum(&a, CEILING_ROUNDS);
        t = rt_now() - t;
        best = (double)t < best ? (double)t : best;
    }
    return 2.0 * CEILING_ROUNDS * CHAINS * products / best;
}

// The same of bytes and of bf16, 0 without the instruction
__attribute__((unused)) static double measure_ceiling_of_bytes(void) {
    return __builtin_cpu_supports("avx512vnni") ? measure_dots(sum_bytes, 64) : 0;
}
__attribute__((unused)) static double measure_ceiling_of_bf16(void) {
    return __builtin_cpu_supports("avx512bf16") ? measure_dots(sum_bf16, 32) : 0;
}

// The same by AMX, two tiles by two in registers; 0 without it.
#define AMX_FOUR(op)                                                                               \
    op " %%tmm6, %%tmm4, %%tmm0\n" op " %%tmm7, %%tmm4, %%tmm1\n" op                               \
       " %%tmm6, %%tmm5, %%tmm2\n" op " %%tmm7, %%tmm5, %%tmm3\n"

__attribute__((target("amx-int8"), noinline)) static void tile_bytes(int n) {
    for (int i = 0; i < n; i++)
        __asm__ volatile(AMX_FOUR("tdpbusd")::);
}

__attribute__((target("amx-bf16"), noinline)) static void tile_bf16(int n) {
    for (int i = 0; i < n; i++)
        __asm__ volatile(AMX_FOUR("tdpbf16ps")::);
}

__attribute__((target("amx-tile"))) static double measure_tiles(void (*multiply)(int), int words) {
    enum { TILES = 8, PRODUCTS = 4, LANES = AMX_ROWS * AMX_ROWS };
    uint8_t config[64] = {[0] = 1};
    double best = 1e30;
    if (!amx_is_native())
        return 0;
    for (int i = 0; i < TILES; i++) {
        config[16 + 2 * i] = AMX_ROW_BYTES;
        config[48 + i] = AMX_ROWS;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
    for (int i = 0; i < 8; i++) {
        uint64_t t = rt_now();
        multiply(CEILING_ROUNDS);
        t = rt_now() - t;
        best = (double)t < best ? (double)t : best;
    }
    __asm__ volatile("tilerelease");
    return 2.0 * CEILING_ROUNDS * PRODUCTS * LANES * words * AMX_ROWS / best;
}

__attribute__((unused)) static double measure_tiles_of_bytes(void) {
    return measure_tiles(tile_bytes, 4);
}
__attribute__((unused)) static double measure_tiles_of_bf16(void) {
    return measure_tiles(tile_bf16, 2);
}

// GFLOP/s of one core that does nothing but multiply and add, in the widest vectors of the CPU.
static double measure_ceiling(void) {
    bool wide = __builtin_cpu_supports("avx512f");
    if (!wide && !__builtin_cpu_supports("fma"))
        return 0;
    Vec16 a16 = {0};
    Vec8 a8 = {0};
    double best = 1e30;
    for (int i = 0; i < 8; i++) {
        uint64_t t = rt_now();
        if (wide)
            multiply_16(&a16, CEILING_ROUNDS);
        else
            multiply_8(&a8, CEILING_ROUNDS);
        t = rt_now() - t;
        if ((double)t < best)
            best = (double)t;
    }
    return 2.0 * CEILING_ROUNDS * CHAINS * (wide ? 16 : 8) / best;
}

#endif
