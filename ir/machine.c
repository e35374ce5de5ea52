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
    return ir_sprintf(a,
                      "%s, vectors of %d bytes, %d registers%s%s%s%s%s, L1d %lld KiB, L2 %lld KiB, "
                      "L3 %lld KiB",
                      isa[m->isa], m->vector_bytes, m->vector_registers, m->fma ? ", fma" : "",
                      m->broadcast ? ", broadcast" : "", m->masks ? ", masks" : "",
                      dot_text(a, "int8", m->dot_i8, i8_names),
                      dot_text(a, "bf16", m->dot_bf16, bf16_names), (long long)m->l1d >> 10,
                      (long long)m->l2 >> 10, (long long)m->l3 >> 10);
}

IrDot ir_dot(const IrMachine *m, IrDtype t) {
    bool vnni = m->dot_i8 & (m->vector_bytes == 64 ? IR_DOT_I8_VNNI : IR_DOT_I8_AVXVNNI);
    if (ir_word(t) == 1)
        return (IrDot){IR_DOT_PRODUCT, m->broadcast, 1, 1, 1, 0};
    if (ir_word(t) == 2)
        return m->dot_bf16 & IR_DOT_BF16_AVX512 ? (IrDot){IR_DOT_SUM, m->broadcast, 1, 1, 1, 0}
                                                : (IrDot){IR_DOT_HALVES, false, 2, 2, 2, 0};
    if (vnni) // whose operand in memory is the signed one: the weights
        return (IrDot){IR_DOT_SUM, false, 1, 1, 1, 0};
    return m->isa == IR_ISA_X86_64 ? (IrDot){IR_DOT_HALVES, false, 4, 2, 2, 2}
                                   : (IrDot){IR_DOT_PLAIN, false, 16, 1, 1, 4};
}

int64_t ir_budget(const IrMachine *m, IrBudget b) {
    const int64_t bytes[] = {
#define IR_BUDGET(name, cache, n, d) [IR_##name] = m->cache * (n) / (d),
#include "ir/budgets.def"
#undef IR_BUDGET
    };
    return bytes[b];
}
