// Open addressing with linear probing, at most half full.
#include "ir/map.h"
#include <string.h>

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

uint64_t ir_hash(const void *data, size_t bytes) {
    const unsigned char *p = data;
    uint64_t h = mix(bytes + UINT64_C(0x9e3779b97f4a7c15));
    for (; bytes >= 8; p += 8, bytes -= 8) {
        uint64_t w = 0;
        for (int i = 0; i < 8; i++) {
            w |= (uint64_t)p[i] << (8 * i);
        }
        h = mix(h ^ w) + UINT64_C(0x9e3779b97f4a7c15);
    }
    for (; bytes; p++, bytes--) {
        h = mix(h ^ *p) + UINT64_C(0x9e3779b97f4a7c15);
    }
    return h;
}

static IrMapSlot *find_slot(const IrMap *m, const char *key) {
    for (size_t i = ir_hash(key, strlen(key)) & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        if (!m->slot[i].key || !strcmp(m->slot[i].key, key)) {
            return &m->slot[i];
        }
    }
}

void *ir_map_get(const IrMap *m, const char *key) {
    return m->cap ? find_slot(m, key)->value : NULL;
}

void **ir_map_put(IrMap *m, const char *key) {
    if (2 * (m->n + 1) > m->cap) {
        IrMap bigger = {m->arena, m->n, m->cap ? 2 * m->cap : 64, NULL};
        bigger.slot = ir_alloc_array(m->arena, bigger.cap, sizeof *bigger.slot);
        for (size_t i = 0; i < m->cap; i++) {
            if (m->slot[i].key) {
                *find_slot(&bigger, m->slot[i].key) = m->slot[i];
            }
        }
        *m = bigger;
    }
    IrMapSlot *s = find_slot(m, key);
    if (!s->key) {
        s->key = key;
        m->n++;
    }
    return &s->value;
}
