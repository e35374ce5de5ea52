// Diagnostics as diag.h promises them: one line each, whatever bytes the names in it hold.
#include "ir/diag.h"
#include "runtime/core/text.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 200, REASON_BYTES = 2000, MAX_ERRORS = 100 };

// Copies s to out so that it is one line, at most `limit` bytes of it.
static void print_clean(FILE *out, const char *s, size_t limit) {
    const char *end = s + strnlen(s, limit + 1);
    bool cut = (size_t)(end - s) > limit;
    while (*s && s < end && (!cut || (size_t)(end - s) > 4)) {
        int n = rt_utf8_printable(s);
        if (n) {
            fwrite(s, 1, (size_t)n, out);
            s += n;
        } else {
            fprintf(out, "\\x%02x", (unsigned char)*s++);
        }
    }
    if (cut) {
        fputs("...", out);
    }
}

static void print_line(IrDiag *d, const char *kind, IrWhere w, const char *fmt, va_list ap) {
    FILE *out = d->out ? d->out : stderr;
    if (d->file) {
        print_clean(out, d->file, 4096);
        fputs(": ", out);
    }
    fputs(kind, out);
    if (w.node) {
        fputs("node '", out);
        print_clean(out, w.node, NAME_BYTES);
        fputs(w.op ? "' (" : "'", out);
    }
    if (w.op) {
        fputs(w.node ? "" : "operator ", out);
        print_clean(out, w.op, NAME_BYTES);
        fputs(w.node ? ")" : "", out);
    }
    fputs(w.node || w.op ? ": " : "", out);
    char reason[REASON_BYTES + 8];
    vsnprintf(reason, sizeof reason, fmt, ap);
    print_clean(out, reason, REASON_BYTES);
    fputc('\n', out);
    fflush(out);
}

static int max_lines(const IrDiag *d) {
    return d->max_errors > 0 ? d->max_errors : MAX_ERRORS;
}

void ir_diag_init(IrDiag *d, const char *file) {
    *d = (IrDiag){.file = file, .out = stderr};
}

static void tell(IrDiag *d, IrWhere where, const char *fmt, va_list ap) {
    char reason[REASON_BYTES + 8];
    if (!d->listener) {
        print_line(d, "", where, fmt, ap);
        return;
    }
    vsnprintf(reason, sizeof reason, fmt, ap);
    d->listener(d->listener_ctx, where, reason);
}

void ir_error(IrDiag *d, IrWhere where, const char *fmt, ...) {
    if (d->errors++ + d->warnings < max_lines(d)) {
        va_list ap;
        va_start(ap, fmt);
        tell(d, where, fmt, ap);
        va_end(ap);
    }
}

// FNV-1a, of 64 bits
static uint64_t hash_text(const char *text) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++) {
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    }
    return h;
}

static bool was_said(IrDiag *d, const char *fmt, va_list ap) {
    char reason[REASON_BYTES + 8];
    vsnprintf(reason, sizeof reason, fmt, ap);
    uint64_t last = d->last_warning;
    d->last_warning = hash_text(reason);
    return d->last_warning == last;
}

// The commands import a model more than once.
void ir_warn(IrDiag *d, IrWhere where, const char *fmt, ...) {
    va_list words;
    va_start(words, fmt);
    bool again = was_said(d, fmt, words);
    va_end(words);
    if (again || d->warned) {
        return;
    }
    if (d->errors + d->warnings++ < max_lines(d)) {
        va_list ap;
        va_start(ap, fmt);
        print_line(d, "warning: ", where, fmt, ap);
        va_end(ap);
    }
}

void ir_fatal(IrDiag *d, IrWhere where, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tell(d, where.node || where.op ? where : d->at, fmt, ap);
    va_end(ap);
    d->errors++;
    d->at = IR_NOWHERE; // which may be gone after this
    if (d->guard) {
        longjmp(*d->guard, 1);
    }
    exit(1);
}

void ir_diag_finish(IrDiag *d) {
    int held_back = d->errors + d->warnings - max_lines(d);
    if (held_back > 0) {
        fprintf(d->out ? d->out : stderr, "... and %d more\n", held_back);
    }
}

void ir_bug(const char *part, const char *node, const char *fmt, ...) {
    va_list ap;
    fflush(stdout);
    fputs("hone: a bug in hone, in ", stderr);
    print_clean(stderr, part, NAME_BYTES);
    if (node) {
        fputs(" at node '", stderr);
        print_clean(stderr, node, NAME_BYTES);
        fputs("'", stderr);
    }
    fputs(": ", stderr);
    char reason[REASON_BYTES + 8];
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    print_clean(stderr, reason, REASON_BYTES);
    fputs("\nPlease report it, with the command and the model.\n", stderr);
    exit(3);
}
