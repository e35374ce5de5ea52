// Vector registers that are kept on the stack in the innermost loops of emitted objects, as
// objdump's text shows them.
#ifndef TESTS_CODEGEN_CONV_SPILLS_H
#define TESTS_CODEGEN_CONV_SPILLS_H

#include <stdbool.h>

// Prints and counts the innermost loops of the object that multiply and access vectors on the
// stack; adds the loops that multiply to *loops.
int spills_count(const char *object, int *loops);

// Lines of a disassembled object with `what`; -1: nothing disassembles.
int spills_lines_with(const char *object, const char *what);

// Is there a disassembler for objects of this CPU?
bool spills_can_read(const char *mcpu);

#endif
