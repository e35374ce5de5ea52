// The names that are nearest to one that nobody knows: for errors.
#ifndef IR_NEAR_H
#define IR_NEAR_H

#include "ir/arena.h"

enum { IR_NEAR = 5 };
typedef struct IrNear { // zeroed, with the arena and `what` set: nothing is near yet
    IrArena *arena;     // for copies and scratch
    const char *what;
    int n, distance[IR_NEAR];
    const char *name[IR_NEAR]; // the nearest first, each once
} IrNear;

void ir_near_offer(IrNear *near, const char *name, size_t len); // its first len bytes
const char *ir_near_list(const IrNear *near);                   // "'a', 'b'", or "there are none"

#endif
