// A node's names and its refusal: what every other file here needs, and which needs none of them.
#include "frontend/import.h"

#include <stdarg.h>
#include <string.h>

enum { MAX_PREFIX = 120, MAX_NAME = 200 };

IrWhere fe_where(const FeNode *n) {
    const char *op = n->pb->op_type ? n->pb->op_type : "";
    int opset = n->fe->scope->opset;
    return (IrWhere){n->b.name, opset ? ir_sprintf(n->fe->arena, "%s, opset %d", op, opset) : op};
}

void fe_refuse(FeNode *n, const char *fmt, ...) {
    FeContext *fe = n->fe;
    if (n->refused) {
        return;
    }
    n->refused = true;
    char reason[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    const char *op = n->pb->op_type ? n->pb->op_type : "";
    FeReport *report = fe->refused;
    FeUnsupported u = {n->b.name, op, n->pb->domain ? n->pb->domain : "",
                       ir_strdup(fe->arena, reason), fe->scope->opset};
    IR_PUSH(fe->arena, report->v, report->n, report->cap, u);
}

// The length of a name's begin of at most `most` bytes that ends with a whole UTF-8 character.
static int length_within(const char *name, size_t most) {
    size_t n = strnlen(name, most + 1);
    for (n = n > most ? most : n; n > 0 && (name[n] & 0xc0) == 0x80; n--) {
    }
    return (int)n;
}

const char *fe_name_in(FeContext *fe, const FeScope *s, const char *name) {
    const char *prefix = s->prefix;
    return *prefix ? ir_sprintf(fe->arena, "%s%.*s", prefix, length_within(name, MAX_NAME), name)
                   : name;
}

const char *fe_full_name(FeContext *fe, const char *name) {
    return fe_name_in(fe, fe->scope, name);
}

const char *fe_scope_prefix(FeNode *n) {
    return ir_sprintf(n->fe->arena, "%.*s/", length_within(n->b.name, MAX_PREFIX), n->b.name);
}
