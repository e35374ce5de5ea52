// Tables from a hash to the numbers of items that have it; the items themselves stand in an array
// of the user's. Open addressing, at most half full.
#include "codegen/program/program.h"

#include <string.h>

uint64_t cg_hash(const void *data, size_t n) {
    const unsigned char *s = data;
    uint64_t h = 0xcbf29ce484222325u ^ n;
    for (; n > 0; s += 8, n = n > 8 ? n - 8 : 0) {
        uint64_t word = 0;
        memcpy(&word, s, n < 8 ? n : 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

int cg_table_find(const CgTable *t, uint64_t hash, size_t *probe) {
    if (!t->cap)
        return -1;
    for (;; ++*probe) {
        const CgTableSlot *s = &t->slot[(hash + *probe) % t->cap];
        if (!s->used)
            return -1;
        if (s->hash == hash) {
            ++*probe;
            return s->item;
        }
    }
}

static void put(CgTable *t, uint64_t hash, int item) {
    size_t i = hash % t->cap;
    while (t->slot[i].used)
        i = (i + 1) % t->cap;
    t->slot[i] = (CgTableSlot){hash, item, true};
}

void cg_table_add(CgTable *t, IrArena *a, uint64_t hash, int item) {
    if (2 * (t->n + 1) > t->cap) {
        CgTable old = *t;
        t->cap = old.cap ? 2 * old.cap : 256;
        t->slot = ir_alloc_array(a, t->cap, sizeof *t->slot);
        for (size_t i = 0; i < old.cap; i++)
            if (old.slot[i].used)
                put(t, old.slot[i].hash, old.slot[i].item);
    }
    put(t, hash, item);
    t->n++;
}
