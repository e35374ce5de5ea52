// See amx.h. Written from the manual's operations: a tile product is, for each row of the first
// operand and each of its words, a row of the second; all of bf16 are fused multiply-adds in f32,
// even and odd numbers of pairs summed apart and added at the end, denormals read and written as 0.
#define _GNU_SOURCE
#include "tests/codegen/rig/amx.h"

#include "runtime/core/cpu.h"
#include "runtime/core/cpu_features.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

// ---------------------------------------------------------------- tiles

static int colsb(const AmxTiles *t, int k) { // bytes of a row
    return t->config[16 + 2 * k] | t->config[17 + 2 * k] << 8;
}

static int rows(const AmxTiles *t, int k) {
    return t->config[48 + k];
}

static bool is_usable(const AmxTiles *t, int k) {
    return t->config[0] == 1 && rows(t, k) > 0 && colsb(t, k) > 0;
}

static const char *why_not_config(const AmxTiles *t) {
    static const int reserved[][2] = {{2, 16}, {32, 48}, {56, 64}};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        for (int k = reserved[i][0]; k < reserved[i][1]; k++)
            if (t->config[k])
                return "a reserved byte of the configuration is not 0";
    for (int k = 0; k < AMX_TILES; k++)
        if (rows(t, k) > AMX_ROWS || colsb(t, k) > AMX_ROW_BYTES ||
            (rows(t, k) == 0) != (colsb(t, k) == 0))
            return "a tile of a size that there is not";
    return t->config[0] > 1 ? "an unknown palette" : NULL;
}

static const char *load_config(AmxTiles *t, const uint8_t *from) {
    memset(t, 0, sizeof *t);
    if (from[0] == 0)
        return NULL;
    memcpy(t->config, from, sizeof t->config);
    return why_not_config(t);
}

static void load_tile(AmxTiles *t, int k, const uint8_t *p, int64_t stride) {
    memset(t->tile[k], 0, sizeof t->tile[k]);
    for (int r = 0; r < rows(t, k); r++)
        memcpy(t->tile[k][r], p + r * stride, (size_t)colsb(t, k));
}

static void store_tile(const AmxTiles *t, int k, uint8_t *p, int64_t stride) {
    for (int r = 0; r < rows(t, k); r++)
        memcpy(p + r * stride, t->tile[k][r], (size_t)colsb(t, k));
}

// ---------------------------------------------------------------- products

// A row of sums with a word of the first operand and a row of the second
typedef void MultiplyRow(int n, void *sums, const uint8_t *a, const uint8_t *b);

static int32_t as_int(uint8_t x, bool is_signed) {
    return is_signed ? (int8_t)x : x;
}

static inline void multiply_bytes(int n, void *sums, const uint8_t *a, const uint8_t *b,
                                  bool a_signed, bool b_signed) {
    uint32_t *sum = sums;
    for (int k = 0; k < 4 * n; k++)
        sum[k / 4] += (uint32_t)(as_int(a[k % 4], a_signed) * as_int(b[k], b_signed));
}

static void multiply_uu(int n, void *sums, const uint8_t *a, const uint8_t *b) {
    multiply_bytes(n, sums, a, b, false, false);
}
static void multiply_us(int n, void *sums, const uint8_t *a, const uint8_t *b) {
    multiply_bytes(n, sums, a, b, false, true);
}
static void multiply_su(int n, void *sums, const uint8_t *a, const uint8_t *b) {
    multiply_bytes(n, sums, a, b, true, false);
}
static void multiply_ss(int n, void *sums, const uint8_t *a, const uint8_t *b) {
    multiply_bytes(n, sums, a, b, true, true);
}

static inline float flush(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = bits & 0x7f800000u ? bits : bits & 0x80000000u;
    memcpy(&x, &bits, 4);
    return x;
}

static inline float from_bf16(const uint8_t *p) {
    uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 24;
    float x;
    memcpy(&x, &bits, 4);
    return flush(x);
}

static inline void multiply_pairs(int n, float *sums, const uint8_t *a, const uint8_t *b) {
    float x[2] = {from_bf16(a), from_bf16(a + 2)};
    for (int k = 0; k < 2 * n; k++)
        sums[k] = flush(__builtin_fmaf(x[k % 2], from_bf16(b + 2 * k), sums[k]));
}

static void sum_bytes(AmxTiles *t, int to, int a, int b, MultiplyRow *multiply) {
    for (int m = 0; m < rows(t, a); m++)
        for (int k = 0; k < colsb(t, a) / 4; k++)
            multiply(colsb(t, b) / 4, t->tile[to][m], t->tile[a][m] + 4 * k, t->tile[b][k]);
}

static void sum_pairs(AmxTiles *t, int to, int a, int b) {
    int n = colsb(t, b) / 4;
    for (int m = 0; m < rows(t, a); m++) {
        float sums[2 * AMX_ROW_BYTES / 4] = {0}, *out = (float *)(void *)t->tile[to][m];
        for (int k = 0; k < colsb(t, a) / 4; k++)
            multiply_pairs(n, sums, t->tile[a][m] + 4 * k, t->tile[b][k]);
        for (int i = 0; i < n; i++)
            out[i] = flush(flush(out[i]) + flush(sums[2 * i] + sums[2 * i + 1]));
    }
}

static const char *why_not_product(const AmxTiles *t, int to, int a, int b) {
    if (to == a || to == b || a == b)
        return "a product of tiles that are not three";
    if (!is_usable(t, to) || !is_usable(t, a) || !is_usable(t, b))
        return "a product of tiles that are not configured";
    if (rows(t, to) != rows(t, a) || colsb(t, to) != colsb(t, b) || colsb(t, a) != 4 * rows(t, b) ||
        colsb(t, a) % 4 || colsb(t, b) % 4)
        return "a product of tiles whose sizes do not match";
    return NULL;
}

static void clear_rest(AmxTiles *t, int k) { // what a write of a tile leaves beyond its size
    for (int r = 0; r < AMX_ROWS; r++) {
        int from = r < rows(t, k) ? colsb(t, k) : 0;
        memset(t->tile[k][r] + from, 0, (size_t)(AMX_ROW_BYTES - from));
    }
}

// ---------------------------------------------------------------- encodings

enum { PP_NONE, PP_66, PP_F3, PP_F2 };

typedef struct Instruction {
    int pp, opcode, reg, rm, vvvv, bytes;
    bool memory;
    uint64_t address; // without the index
    int64_t index;    // that stands beside it, scaled: the stride of tiles
} Instruction;

static int64_t displacement(const uint8_t *p, int bytes) {
    int32_t x = 0;
    if (bytes == 1)
        return (int8_t)*p;
    if (bytes == 4)
        memcpy(&x, p, 4);
    return x;
}

// ModRM from p on, and what follows it
static void decode_operand(Instruction *i, const uint8_t *p, int x, int b, const uint64_t reg[16]) {
    int mod = p[0] >> 6, used = 1, base = (p[0] & 7) | b << 3;
    i->reg = p[0] >> 3 & 7;
    i->rm = p[0] & 7;
    i->memory = mod != 3;
    int disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    if (i->memory && i->rm == 4) {
        int sib = p[used++], index = (sib >> 3 & 7) | x << 3;
        base = (sib & 7) | b << 3;
        i->index = index == 4 ? 0 : (int64_t)(reg[index] << (sib >> 6));
    }
    bool no_base = i->memory && mod == 0 && (base & 7) == 5;
    bool relative = no_base && i->rm == 5; // to the next instruction
    disp = no_base ? 4 : disp;
    i->bytes += used + (i->memory ? disp : 0);
    if (!i->memory)
        return;
    i->address = (uint64_t)displacement(p + used, disp);
    if (relative)
        i->address += (uint64_t)(uintptr_t)(p + used + disp);
    else if (!no_base)
        i->address += reg[base];
}

// A three-byte VEX prefix of the map 0F38, 128 bits, W 0, as all of AMX have one.
static bool decode(Instruction *i, const uint8_t *c, const uint64_t reg[16]) {
    if (c[0] != 0xc4 || (c[1] & 0x1f) != 2 || (c[2] & 0x84))
        return false;
    *i = (Instruction){.pp = c[2] & 3, .opcode = c[3], .vvvv = ~(c[2] >> 3) & 15, .bytes = 4};
    if (i->opcode != 0x49 && i->opcode != 0x4b && i->opcode != 0x5c && i->opcode != 0x5e)
        return false;
    decode_operand(i, c + 4, !(c[1] & 0x40), !(c[1] & 0x20), reg);
    return true;
}

static const char *run_product(AmxTiles *t, const Instruction *i) {
    static MultiplyRow *const bytes[] = {[PP_NONE] = multiply_uu,
                                         [PP_66] = multiply_us,
                                         [PP_F3] = multiply_su,
                                         [PP_F2] = multiply_ss};
    int to = i->reg, a = i->rm, b = i->vvvv;
    if (b >= AMX_TILES || i->memory || (i->opcode == 0x5c && i->pp != PP_F3))
        return "an unknown product";
    const char *why = why_not_product(t, to, a, b);
    if (!why && i->opcode == 0x5c)
        sum_pairs(t, to, a, b);
    else if (!why)
        sum_bytes(t, to, a, b, bytes[i->pp]);
    return why;
}

static const char *run_move(AmxTiles *t, const Instruction *i) {
    uint8_t *p = (uint8_t *)(uintptr_t)i->address;
    if (!i->memory || i->rm != 4 || i->pp == PP_NONE)
        return "an unknown load or store of a tile";
    if (!is_usable(t, i->reg))
        return "a tile that is not configured";
    if (i->pp == PP_F3)
        store_tile(t, i->reg, p, i->index);
    else
        load_tile(t, i->reg, p, i->index);
    return NULL;
}

static const char *run_config(AmxTiles *t, const Instruction *i) {
    uint8_t *p = (uint8_t *)(uintptr_t)(i->address + (uint64_t)i->index);
    if (i->memory && i->pp == PP_NONE && i->reg == 0)
        return load_config(t, p);
    if (i->memory && i->pp == PP_66 && i->reg == 0)
        memcpy(p, t->config, sizeof t->config);
    else if (!i->memory && i->pp == PP_NONE && i->reg == 0 && i->rm == 0)
        memset(t, 0, sizeof *t);
    else if (!i->memory && i->pp == PP_F2 && i->rm == 0)
        return is_usable(t, i->reg) ? (memset(t->tile[i->reg], 0, sizeof t->tile[0]), NULL)
                                    : "a tile that is not configured";
    else
        return "an unknown instruction beside ldtilecfg";
    return NULL;
}

int amx_execute(AmxTiles *t, const uint8_t *code, const uint64_t reg[16], const char **why) {
    Instruction i;
    if (!decode(&i, code, reg))
        return 0;
    bool product = i.opcode == 0x5c || i.opcode == 0x5e;
    *why = product ? run_product(t, &i) : i.opcode == 0x4b ? run_move(t, &i) : run_config(t, &i);
    if (product && !*why)
        clear_rest(t, i.reg);
    return *why ? -1 : i.bytes;
}

// ---------------------------------------------------------------- the trap

static _Thread_local AmxTiles tiles;

static void emulate(int sig, siginfo_t *info, void *context) {
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t reg[16];
    const char *why = NULL;
    (void)info;
    for (int i = 0; i < 16; i++)
        reg[i] = (uint64_t)g[order[i]];
    int n = amx_execute(&tiles, (const uint8_t *)(uintptr_t)g[REG_RIP], reg, &why);
    if (n == 0)
        signal(sig, SIG_DFL); // and trap again
    if (n < 0) {
        char line[160];
        int bytes = snprintf(line, sizeof line, "amx: a CPU would refuse %s\n", why);
        _exit(write(STDERR_FILENO, line, (size_t)bytes) < 0 ? 2 : 1);
    }
    g[REG_RIP] += n;
}

bool amx_is_native(void) {
    static const uint32_t all[] = {HONE_CPU_AMX_TILE, HONE_CPU_AMX_INT8, HONE_CPU_AMX_BF16, 0};
    return !rt_cpu_missing(all, RT_CPU_ALL);
}

void amx_enabled_needs(HoneModelDesc *desc, uint32_t *needs) {
    const uint32_t *from = desc->cpu_needs;
    int n = 0;
    for (; from && *from; from++)
        if (*from != HONE_CPU_AMX_TILE && *from != HONE_CPU_AMX_INT8 && *from != HONE_CPU_AMX_BF16)
            needs[n++] = *from;
    needs[n++] = 0;
    desc->cpu_needs = needs;
    desc->n_cpu_needs = n;
}

void amx_enable(void) {
    struct sigaction act = {.sa_sigaction = emulate, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (!amx_is_native())
        sigaction(SIGILL, &act, NULL);
}
