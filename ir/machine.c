// A machine's description as text; its dots; budgets of its caches.
#include "ir/machine.h"

typedef struct DotName {
    uint32_t bit;
    const char *name;
} DotName;
static const DotName i8_names[] = {{IR_DOT_I8_VNNI, "vnni"}, {IR_DOT_I8_AVXVNNI, "avx-vnni"},
                                   {IR_DOT_I8_AMX, "amx"},   {IR_DOT_I8_NEON, "dot"},
                                   {IR_DOT_I8_I8MM, "i8mm"}, {0, NULL}};
static const DotName bf16_names[] = {{IR_DOT_BF16_AVX512, "avx512-bf16"},
                                     {IR_DOT_BF16_AMX, "amx"},
                                     {IR_DOT_BF16_NEON, "neon"},
                                     {0, NULL}};

static const char *dot_text(IrArena *a, const char *type, uint32_t set, const DotName *names) {
    const char *text = "";
    for (const DotName *d = names; d->name; d++)
        if (set & d->bit)
            text = ir_sprintf(a, "%s %s", text, d->name);
    return set ? ir_sprintf(a, ", %s%s", type, text) : "";
}

const char *ir_machine_text(const IrMachine *m, IrArena *a) {
    static const char *const isa[] = {[IR_ISA_X86_64] = "x86-64", [IR_ISA_AARCH64] = "aarch64"};
    return ir_sprintf(
        a,
        "%s, vectors of %d bytes, %d registers%s%s%s%s%s%s, L1d %lld KiB, L2 %lld KiB, "
        "L3 %lld KiB",
        isa[m->isa], m->vector_bytes, m->vector_registers, m->fma ? ", fma" : "",
        m->broadcast ? ", broadcast" : "", m->masks ? ", masks" : "", m->by_lane ? ", lanes" : "",
        dot_text(a, "int8", m->dot_i8, i8_names), dot_text(a, "bf16", m->dot_bf16, bf16_names),
        (long long)m->l1d >> 10, (long long)m->l2 >> 10, (long long)m->l3 >> 10);
}

static IrDot dot_bytes(const IrMachine *m) {
    bool vnni = m->dot_i8 & (m->vector_bytes == 64 ? IR_DOT_I8_VNNI : IR_DOT_I8_AVXVNNI);
    if (vnni || m->dot_i8 & IR_DOT_I8_I8MM) // an operand of x86 in memory is the signed one
        return (IrDot){.kind = IR_DOT_SUM, .steps = 1, .x = 1, .w = 1};
    if (m->dot_i8 & IR_DOT_I8_NEON) // of two signed ones
        return (IrDot){.kind = IR_DOT_SUM, .steps = 1, .x = 1, .w = 1, .less = 128};
    return (IrDot){.kind = IR_DOT_HALVES, .steps = 4, .x = 2, .w = 2, .spare = 2};
}

static IrDot dot_bf16(const IrMachine *m) {
    if (m->dot_bf16 & (IR_DOT_BF16_AVX512 | IR_DOT_BF16_NEON))
        return (IrDot){.kind = IR_DOT_SUM, .memory = m->broadcast, .steps = 1, .x = 1, .w = 1};
    return (IrDot){.kind = IR_DOT_HALVES, .steps = 2, .x = 2, .w = 2};
}

static IrDot dot_f32(const IrMachine *m) {
    return (IrDot){.kind = IR_DOT_PRODUCT, .memory = m->broadcast, .steps = 1, .x = 1, .w = 1};
}

IrDot ir_dot(const IrMachine *m, IrDtype t) {
    int word = ir_word(t);
    IrDot d = word == 1 ? dot_f32(m) : word == 2 ? dot_bf16(m) : dot_bytes(m);
    d.row = m->by_lane ? m->vector_bytes / 4 : 1;
    return d;
}

int ir_dot_x(const IrDot *d, int words) {
    return d->row > 1 ? words * d->x : d->x; // else one after the other
}

int64_t ir_budget(const IrMachine *m, IrBudget b) {
    const int64_t bytes[] = {
#define IR_BUDGET(name, cache, n, d) [IR_##name] = m->cache * (n) / (d),
#include "ir/budgets.def"
#undef IR_BUDGET
    };
    return bytes[b];
}
