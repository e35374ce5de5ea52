// The AMX of amx.h: what each instruction does, against definitions written element by element, and
// cases worked out by hand for bf16. Where the CPU has AMX the instructions below are its own, and
// amx.c is compared with them bit for bit; elsewhere they are amx.c's, by way of the trap.
#include "runtime/core/rng.h"
#include "tests/check.h"
#include "tests/codegen/rig/amx.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

// Each a function (rdi, rsi), and bytes to decode.
#define CODE(name, text)                                                                           \
    __asm__(".text\n" #name ": " text "\n ret\n");                                                 \
    extern const uint8_t name[];
CODE(ld_config, "ldtilecfg (%rdi)")
CODE(st_config, "sttilecfg (%rdi)")
CODE(release, "tilerelease")
CODE(zero_0, "tilezero %tmm0")
CODE(load_0, "tileloadd (%rdi,%rsi), %tmm0")
CODE(load_1, "tileloadd (%rdi,%rsi), %tmm1")
CODE(load_7, "tileloaddt1 (%rdi,%rsi), %tmm7")
CODE(store_0, "tilestored %tmm0, (%rdi,%rsi)")
CODE(dot_ss, "tdpbssd %tmm7, %tmm1, %tmm0")
CODE(dot_su, "tdpbsud %tmm7, %tmm1, %tmm0")
CODE(dot_us, "tdpbusd %tmm7, %tmm1, %tmm0")
CODE(dot_uu, "tdpbuud %tmm7, %tmm1, %tmm0")
CODE(dot_bf16, "tdpbf16ps %tmm7, %tmm1, %tmm0")
// Every kind of address: scales, displacements of both sizes, high registers, the next instruction
CODE(load_far, "push %r12; push %r13; push %rbp; mov %rdi, %r13; mov %rsi, %r12; shr $1, %r12\n"
               "sub $0x1234, %r13; tileloadd 0x1234(%r13,%r12,2), %tmm0\n"
               "lea 64(%rdi), %rbp; mov %rsi, %r11; tilestored %tmm0, -64(%rbp,%r11)\n"
               "pop %rbp; pop %r13; pop %r12")
CODE(load_here, "ldtilecfg 1f(%rip); jmp 2f\n .balign 64\n 1: .byte 1\n .zero 15\n .short 8\n"
                ".zero 30\n .byte 3\n .zero 15\n 2:")

static AmxTiles shadow; // amx.c's, beside the CPU's
static bool native;

static void run(const uint8_t *code, void *p, int64_t stride) {
    const char *why = NULL;
    uint64_t reg[16] = {[7] = (uint64_t)(uintptr_t)p, [6] = (uint64_t)stride};
    if (native && code != store_0 && code != st_config)
        CHECK(amx_execute(&shadow, code, reg, &why) > 0);
    ((void (*)(void *, int64_t))(uintptr_t)code)(p, stride);
}

// What tile 0 holds; both must.
static void read_tile(void *out, int rows, int bytes) {
    run(store_0, out, bytes);
    for (int r = 0; native && r < rows; r++)
        CHECK(memcmp((char *)out + r * bytes, shadow.tile[0][r], (size_t)bytes) == 0);
}

// Tile 0: m x n sums; tile 1: m rows of k words; tile 7: k rows of n words
static void configure(int m, int n, int k) {
    uint8_t config[64] = {[0] = 1};
    const struct { int tile, rows, words; } sizes[] = {{0, m, n}, {1, m, k}, {7, k, n}};
    for (int i = 0; i < 3; i++) {
        config[16 + 2 * sizes[i].tile] = (uint8_t)(4 * sizes[i].words);
        config[48 + sizes[i].tile] = (uint8_t)sizes[i].rows;
    }
    run(ld_config, config, 0);
}

typedef struct Product {
    int m, n, k;
    uint8_t a[16 * 64], b[16 * 64];
    int32_t c[16 * 16];
} Product;

static Product random_product(uint64_t seed) {
    Product p = {
        .m = 1 + (int)(seed % 16), .n = 1 + (int)(seed / 2 % 16), .k = 1 + (int)(seed * 5 % 16)};
    RtRng r = rt_rng(seed, 0, 0, RT_RNG_SYNTHETIC);
    for (int i = 0; i < 16 * 64; i++) {
        p.a[i] = (uint8_t)rt_rng_u32(&r);
        p.b[i] = (uint8_t)rt_rng_u32(&r);
    }
    for (int i = 0; i < 16 * 16; i++)
        p.c[i] = (int32_t)rt_rng_u32(&r);
    return p;
}

static void multiply(const uint8_t *dot, const Product *p, void *out) {
    configure(p->m, p->n, p->k);
    run(load_0, (void *)p->c, 4 * p->n);
    run(load_1, (void *)p->a, 4 * p->k);
    run(load_7, (void *)p->b, 4 * p->n);
    run(dot, NULL, 0);
    read_tile(out, p->m, 4 * p->n);
    run(release, NULL, 0);
}

static void sums_bytes(void) {
    static const struct {
        const uint8_t *code;
        bool a_signed, b_signed;
    } kinds[] = {
        {dot_ss, true, true}, {dot_su, true, false}, {dot_us, false, true}, {dot_uu, false, false}};
    for (uint64_t seed = 0; seed < 48; seed++) {
        Product p = random_product(seed);
        int32_t got[16 * 16];
        bool as = kinds[seed % 4].a_signed, bs = kinds[seed % 4].b_signed;
        multiply(kinds[seed % 4].code, &p, got);
        for (int m = 0; m < p.m; m++)
            for (int n = 0; n < p.n; n++) {
                int64_t want = p.c[m * p.n + n];
                for (int k = 0; k < 4 * p.k; k++) {
                    uint8_t a = p.a[m * 4 * p.k + k], b = p.b[(k / 4 * p.n + n) * 4 + k % 4];
                    want += (as ? (int8_t)a : a) * (bs ? (int8_t)b : b);
                }
                CHECK_INT_EQ((int32_t)(uint32_t)want, got[m * p.n + n]);
            }
    }
}

// ---------------------------------------------------------------- bf16

static uint16_t bf16(double x) { // of a number that is one
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return (uint16_t)(bits >> 16);
}

static double from_bf16(const uint8_t *p) {
    uint32_t bits = (uint32_t)(p[0] | p[1] << 8) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// Random numbers of moderate size: within what f32 sums may be off, of the sum of magnitudes.
static void sums_pairs(void) {
    for (uint64_t seed = 0; seed < 24; seed++) {
        Product p = random_product(seed);
        float got[16 * 16], c[16 * 16];
        for (int i = 1; i < 16 * 64; i += 2) { // exponents -7 to 0
            p.a[i] = (uint8_t)((p.a[i] & 0x83) | 0x3c);
            p.b[i] = (uint8_t)((p.b[i] & 0x83) | 0x3c);
        }
        for (int i = 0; i < 16 * 16; i++)
            c[i] = (float)p.c[i] / 2e9f;
        memcpy(p.c, c, sizeof c);
        multiply(dot_bf16, &p, got);
        for (int i = 0; i < p.m * p.n; i++) {
            double want = c[i], size = fabs(want);
            for (int k = 0; k < 2 * p.k; k++) {
                double x = from_bf16(&p.a[i / p.n * 4 * p.k + 2 * k]) *
                           from_bf16(&p.b[(k / 2 * p.n + i % p.n) * 4 + k % 2 * 2]);
                want += x;
                size += fabs(x);
            }
            CHECK(fabs(got[i] - want) <= size * 2e-6);
        }
    }
}

typedef struct Sum {
    float start;
    double a[4], b[4]; // two words
    float want;
} Sum;

// Even and odd numbers apart, a rounding for each product and sum; start comes last.
static const Sum sums[] = {
    {0, {1, 2, 3, 4}, {10, 20, 30, 40}, 300},
    {0, {0x1p30, 1, -0x1p30, 1}, {1, 1, 1, 1}, 2},  // one after the other it would be 1
    {0x1p30f, {1, 0, 1, 0}, {1, 1, 1, 1}, 0x1p30f}, // 2 is lost beside start
    {-0x1p30f, {0x1p30, 3, 5, 0}, {1, 1, 1, 1}, 0}, // 2^30 + 5 rounds to 2^30, + 3 too
    {0, {1, 0, 0x1p-12, 0}, {1, 1, 0x1p-12, 0}, 1}, // halfway: to even
    {0, {1, 0, 0x1.8p-12, 0}, {1, 1, 0x1p-11, 0}, 0x1.000004p0f}, // 1.5 ulp: to even, up
    {0, {0x1p-64, 0, 0, 0}, {0x1p-64, 0, 0, 0}, 0},      // a product that is no normal number
    {0, {0x1p-130, 0, 0, 0}, {1, 0, 0, 0}, 0},           // an operand that is none
    {0x1p-130f, {0, 0, 0, 0}, {0, 0, 0, 0}, 0},          // a start that is none
    {0, {0x1p-126, 0, -0x1.8p-126, 0}, {1, 0, 1, 0}, 0}, // a sum that is none
    {0x1p-126f, {0x1p-126, 0, 0, 0}, {1, 0, 0, 0}, 0x1p-125f},
    {0, {0x1p100, 0, 0, 0}, {0x1p100, 0, 0, 0}, INFINITY},
};

static void rounds_as_the_manual_says(void) {
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        Product p = {.m = 1, .n = 1, .k = 2};
        float got = -1;
        memcpy(p.c, &sums[i].start, 4);
        for (int k = 0; k < 4; k++) {
            uint16_t a = bf16(sums[i].a[k]), b = bf16(sums[i].b[k]);
            memcpy(p.a + 2 * k, &a, 2);
            memcpy(p.b + 2 * k, &b, 2);
        }
        multiply(dot_bf16, &p, &got);
        if (!CHECK(got == sums[i].want))
            fprintf(stderr, "  sum %zu: %a, not %a\n", i, (double)got, (double)sums[i].want);
    }
}

// ---------------------------------------------------------------- tiles

// Rows backwards, side by side in others' memory: nothing but the tile is read or written.
static void moves_tiles(void) {
    uint8_t from[16 * 100], to[16 * 100], want[16 * 100];
    for (int i = 0; i < 16 * 100; i++)
        from[i] = (uint8_t)(i * 7);
    memset(to, 0xee, sizeof to);
    memset(want, 0xee, sizeof want);
    configure(5, 9, 3);
    run(load_0, from + 4 * 100, -100);
    run(store_0, to + 10, 100);
    for (int r = 0; r < 5; r++)
        memcpy(want + 10 + 100 * r, from + 100 * (4 - r), 36);
    CHECK(memcmp(to, want, sizeof to) == 0);
    run(zero_0, NULL, 0);
    read_tile(to, 5, 36);
    for (int i = 0; i < 5 * 36; i++)
        CHECK(to[i] == 0);
    run(release, NULL, 0);
}

static void finds_addresses(void) {
    uint8_t x[16 * 64], want[16 * 64];
    for (int i = 0; i < 16 * 64; i++)
        x[i] = want[i] = (uint8_t)(i * 3);
    configure(7, 16, 1);
    ((void (*)(void *, int64_t))(uintptr_t)load_far)(x, 64); // and back to where it was
    CHECK(memcmp(x, want, sizeof x) == 0);
    uint8_t config[64];
    ((void (*)(void))(uintptr_t)load_here)();
    ((void (*)(void *))(uintptr_t)st_config)(config);
    CHECK(config[0] == 1 && config[16] == 8 && config[48] == 3 && config[49] == 0);
    run(release, NULL, 0);
    ((void (*)(void *))(uintptr_t)st_config)(config);
    for (int i = 0; i < 64; i++)
        CHECK(config[i] == 0);
}

static void refuses_what_a_cpu_refuses(void) {
    AmxTiles t = {.config = {0}};
    uint8_t config[64] = {
        [0] = 1, [16] = 64, [18] = 64, [30] = 64, [48] = 16, [49] = 16, [55] = 15};
    uint64_t reg[16] = {[7] = (uint64_t)(uintptr_t)config};
    const char *why = NULL;
    CHECK(amx_execute(&t, dot_us, reg, &why) < 0 && strstr(why, "not configured"));
    CHECK(amx_execute(&t, ld_config, reg, &why) == 5);
    CHECK(amx_execute(&t, dot_us, reg, &why) < 0 && strstr(why, "do not match"));
    config[48] = 17;
    CHECK(amx_execute(&t, ld_config, reg, &why) < 0 && strstr(why, "a size"));
    config[48] = 0;
    CHECK(amx_execute(&t, ld_config, reg, &why) < 0 && strstr(why, "a size"));
    config[48] = 16;
    config[2] = 1;
    CHECK(amx_execute(&t, ld_config, reg, &why) < 0 && strstr(why, "reserved"));
    CHECK(amx_execute(&t, (const uint8_t[]){0x0f, 0x0b, 0, 0, 0, 0}, reg, &why) == 0);
}

// Threads have tiles of their own.
static void *count_up(void *arg) {
    int32_t *x = arg, one[64];
    for (int i = 0; i < 64; i++)
        one[i] = 1;
    uint8_t config[64] = {[0] = 1, [16] = 4, [18] = 4, [30] = 4, [48] = 1, [49] = 1, [55] = 1};
    ((void (*)(void *))(uintptr_t)ld_config)(config);
    ((void (*)(void *, int64_t))(uintptr_t)load_0)(x, 4);
    ((void (*)(void *, int64_t))(uintptr_t)load_1)(one, 4);
    ((void (*)(void *, int64_t))(uintptr_t)load_7)(one, 4);
    for (int i = 0; i < 500; i++)
        ((void (*)(void))(uintptr_t)dot_ss)();
    ((void (*)(void *, int64_t))(uintptr_t)store_0)(x, 4);
    ((void (*)(void))(uintptr_t)release)();
    return NULL;
}

static void keeps_threads_apart(void) {
    int32_t x[3] = {0, 100000, -7};
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread[i], NULL, count_up, &x[i]) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    CHECK(x[0] == 500 && x[1] == 100500 && x[2] == 493);
}

int main(void) {
    amx_enable();
    native = amx_is_native();
    if (!native)
        fprintf(stderr, "skipped: no amx: the emulator beside the CPU's own instructions\n");
    CHECK_RUN(sums_bytes);
    CHECK_RUN(sums_pairs);
    CHECK_RUN(rounds_as_the_manual_says);
    CHECK_RUN(moves_tiles);
    CHECK_RUN(finds_addresses);
    CHECK_RUN(refuses_what_a_cpu_refuses);
    CHECK_RUN(keeps_threads_apart);
    return check_done();
}
