// Diagnostics: the one way to report an error.
//
// A user's error is collected with ir_error() so that all problems of a kind come out at once;
// every line reads  FILE: node 'NAME' (Op): reason.  A bug of ours is ir_bug(): it names the pass
// and the node and ends the process with exit code 3. Running out of memory, and any other
// error that cannot be collected, is ir_fatal(): it unwinds to the point that ir_diag_guard() set.
#ifndef IR_DIAG_H
#define IR_DIAG_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct IrMemory IrMemory; // memory.h

// Where an error is: any field may be NULL.
typedef struct IrWhere {
    const char *node; // node name
    const char *op;   // operator as the user's file spells it
} IrWhere;

typedef struct IrDiag {
    const char *file; // what is being read, for the start of each line; not owned
    FILE *out;        // stderr unless a test wants the text
    int errors;
    int warnings;
    uint64_t last_warning; // its hash: one that comes again at once is not said twice
    bool warned;           // warnings are not said: the same file was read before
    int max_errors;        // lines printed before "... and K more"; 0 means 100
    jmp_buf *guard;        // where ir_fatal() goes; NULL: exit(1)
    IrWhere at;            // the node at hand: ir_fatal() names it where its caller knows none
    IrMemory *memory;      // of the compilation; not owned; NULL: no limit
    // Who is told of errors in place of d->out; NULL: nobody. Texts are the listener's to clean and
    // to copy; `reason` lives as long as the call.
    void (*listener)(void *ctx, IrWhere where, const char *reason);
    void *listener_ctx;
} IrDiag;

void ir_diag_init(IrDiag *d, const char *file);
// Prints one line "FILE: node 'NODE' (OP): reason" to d->out and counts it. Control characters in
// names are escaped, long names are cut: one line stays one line.
void ir_error(IrDiag *d, IrWhere where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void ir_warn(IrDiag *d, IrWhere where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
// Prints like ir_error, at d->at where `where` is IR_NOWHERE, then unwinds to d->guard (setjmp's
// value 1), or exits with 1.
_Noreturn void ir_fatal(IrDiag *d, IrWhere where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// Prints "... and K more" when lines were held back. Call once, before exiting.
void ir_diag_finish(IrDiag *d);
// A bug in hone: names part and node, asks for a report, exits with 3.
_Noreturn void ir_bug(const char *part, const char *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define IR_NOWHERE ((IrWhere){NULL, NULL})

#endif
