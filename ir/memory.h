// How much a compilation takes of the machine's memory. What a file claims (a dimension, a count, a
// channel) is no reason to allocate: whatever grows with such claims is an arena's or the
// evaluator's, both come here before they ask the system, and what is over the budget is ir_fatal()
// with the node at hand (IrDiag.at), what was asked for, and the option that raises it.
#ifndef IR_MEMORY_H
#define IR_MEMORY_H

#include "ir/diag.h"
#include <stddef.h>
#include <stdint.h>

// The budget where the user gives none: this, for each byte that was read so many, and what limits
// on memory were raised to.
enum { IR_MEMORY_BASE = 192 << 20, IR_MEMORY_PER_BYTE = 16 };

struct IrMemory {   // bytes; shared by the threads and diags of a compilation
    int64_t used;   // now
    int64_t read;   // of files: there, not claimed
    int64_t raised; // by --limit: who lets a model have it means it to be had
    int64_t budget; // the user's for all; 0: none
};

// "300 bytes", "12 KB", "1.5 MB", "8192 MB", of 1024 each. Returns text.
const char *ir_size_text(int64_t bytes, char *text, size_t size);
#define IR_SIZE(bytes)                                                                             \
    ir_size_text((bytes), (char[32]){0}, 32) // lives as long as the block around it

void ir_memory_read(IrDiag *d, int64_t bytes);
void ir_memory_take(IrDiag *d, size_t bytes);
bool ir_memory_try(IrDiag *d, size_t bytes); // false: it is too much, and nothing is taken
void ir_memory_give(IrDiag *d, size_t bytes);

#endif
