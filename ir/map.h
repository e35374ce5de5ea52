// A table from strings to pointers, in an arena; for name lookup. A zeroed IrMap with its arena set
// is empty. Keys are not copied. Nothing is ever removed.
#ifndef IR_MAP_H
#define IR_MAP_H

#include "ir/arena.h"

typedef struct IrMap {
    IrArena *arena;
    size_t n; // keys
    struct IrMapNode *root;
} IrMap;

void *ir_map_get(const IrMap *m, const char *key); // NULL when absent
void **ir_map_put(IrMap *m, const char *key);      // the value's address, NULL there when new
uint64_t ir_hash(const void *data, size_t bytes);  // of contents; the same on every machine

#endif
