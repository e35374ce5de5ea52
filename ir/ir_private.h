// What the files of ir/ share beyond ir.h.
#ifndef IR_PRIVATE_H
#define IR_PRIVATE_H

#include "ir/ir.h"

enum {
    IR_TYPE_TEXT = 512,   // enough for the text of any type
    IR_CONST_IN_TEXT = 64 // elements of a constant that are printed one by one
};

// Arity, attributes and shape rule, on a node that need not be linked in yet; writes the results'
// types (plain). NULL, or why not.
const char *ir_compute_types(IrNode *n);

IrValue *ir_value_new(IrGraph *g, const char *name, IrType type);
void ir_make_name(IrGraph *g, IrValue *v); // for a value that must have one; nothing when it has
void ir_link_node(IrNode *n,
                  IrNode *before); // into its graph, with its uses; before NULL: at the end
bool ir_takes_epilogue(IrOp op);

#endif
