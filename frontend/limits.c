// Limits on what a model may ask for: honest ones stay far below, hostile ones would take the
// machine's memory or its day. A user with an honest giant raises one by name, which is what every
// refusal says.
#include "frontend/import.h"
#include "ir/memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int64_t standard; // 0: depends on the file
} limits[FE_LIMIT_COUNT] = {
    [FE_LIMIT_MEMORY] = {"memory", 0},
    [FE_LIMIT_NODES] = {"nodes", 50000},
    [FE_LIMIT_TENSOR] = {"tensor", INT64_C(8) << 30},
    [FE_LIMIT_CONSTANTS] = {"constants", 0},
    [FE_LIMIT_ARENA] = {"arena", INT64_C(64) << 30},
};

int64_t fe_limit(const FeLimits *given, FeLimit which) {
    return given && given->v[which] ? given->v[which] : limits[which].standard;
}

const char *fe_limit_name(FeLimit which) {
    return limits[which].name;
}

bool fe_parse_size(const char *text, int64_t *out) {
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    bool ok = isdigit((unsigned char)*text) && !errno && *out > 0;
    const char *unit = ok && *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    for (const char *u = units; unit && u <= unit && ok; u++) {
        ok = !__builtin_mul_overflow(*out, 1024, out);
    }
    return ok && (unit ? end[1] == '\0' : *end == '\0');
}

const char *fe_parse_limit(IrArena *a, const char *text, FeLimits *out) {
    const char *eq = strchr(text, '=');
    int64_t size;
    if (!eq || !fe_parse_size(eq + 1, &size)) {
        return ir_sprintf(a, "'%s' is not of the form NAME=SIZE, such as tensor=16G", text);
    }
    for (int i = 0; i < FE_LIMIT_COUNT; i++) {
        if (strlen(limits[i].name) == (size_t)(eq - text) &&
            strncmp(limits[i].name, text, (size_t)(eq - text)) == 0) {
            if (out->v[i] && out->v[i] != size) {
                return ir_sprintf(a, "'%s' is given twice", limits[i].name);
            }
            out->v[i] = size;
            return NULL;
        }
    }
    return ir_sprintf(a, "'%s' names no limit; there are memory, nodes, tensor, constants, arena",
                      text);
}

// ---------------------------------------------------------------- what a graph asks for

static const int64_t CONST_BASE = INT64_C(128) << 20, CONST_PER_BYTE = 16;
static const double CONST_WORK = 1 << 26, WORK_PER_BYTE = 16; // elements looked at
enum { IR_NODES_PER_NODE = 8 }; // on average; the largest importers make some 30

int64_t fe_const_limit(const FeContext *fe) {
    int64_t given = fe_limit(&fe->opt->limits, FE_LIMIT_CONSTANTS), bytes;
    if (given) {
        return given;
    }
    return __builtin_add_overflow(fe->model_bytes, fe->external->bytes, &bytes) ||
                   __builtin_mul_overflow(bytes, CONST_PER_BYTE, &bytes) ||
                   __builtin_add_overflow(bytes, CONST_BASE, &bytes)
               ? INT64_MAX
               : bytes;
}

bool fe_check_arity(FeNode *n) {
    int64_t most = fe_limit(&n->fe->opt->limits, FE_LIMIT_NODES);
    if (n->n_in > most || n->n_out > most) {
        fe_refuse(n, "it has more than %lld inputs or outputs (--limit nodes=N raises it)",
                  (long long)most);
    } else if (n->fe->graph->n_nodes / IR_NODES_PER_NODE > most) {
        fe_refuse(n, "the graph has more than %lld nodes by now (--limit nodes=N raises it)",
                  (long long)most * IR_NODES_PER_NODE);
    }
    n->fe->prog->const_limit = fe_const_limit(n->fe);
    return !n->refused;
}

static const char *describe_tensor_limit(const FeContext *fe) {
    return ir_sprintf(fe->arena, "more than %s for one image (--limit tensor=SIZE raises it)",
                      IR_SIZE(fe_limit(&fe->opt->limits, FE_LIMIT_TENSOR)));
}

static bool fits_tensor_limit(const FeContext *fe, const IrType *t) {
    IrDim bytes;
    return ir_type_bytes(t, &bytes) &&
           ir_dim_at(bytes, 1) <= fe_limit(&fe->opt->limits, FE_LIMIT_TENSOR);
}

static const char *describe_const_limit(const FeContext *fe) {
    return ir_sprintf(fe->arena,
                      "makes the model's constants larger than %s (--limit constants=SIZE raises "
                      "it)",
                      IR_SIZE(fe->prog->const_limit));
}

const char *fe_check_fill(const FeContext *fe, const IrType *t) {
    IrDim bytes;
    bool fits = ir_type_bytes(t, &bytes) && bytes.c <= fe->prog->const_limit &&
                fe->prog->const_bytes <= fe->prog->const_limit - bytes.c;
    return fits ? NULL : describe_const_limit(fe);
}

bool fe_charge(FeNode *n, int64_t bytes) {
    IrProgram *p = n->fe->prog;
    if (__builtin_add_overflow(p->const_bytes, bytes, &p->const_bytes) ||
        p->const_bytes > p->const_limit) {
        p->const_bytes = p->const_limit;
        fe_refuse(n, "it %s", describe_const_limit(n->fe));
    }
    return !n->refused;
}

bool fe_spend(FeNode *n, double steps) {
    double work = n->fe->const_work + steps;
    if (!(work <= CONST_WORK + WORK_PER_BYTE * (double)n->fe->model_bytes)) {
        return false;
    }
    n->fe->const_work = work;
    return true;
}

const char *fe_check_type(const FeContext *fe, const IrType *t) {
    char text[512];
    if (!fits_tensor_limit(fe, t)) {
        return ir_sprintf(fe->arena, "%s is %s", ir_type_print(t, text, sizeof text),
                          describe_tensor_limit(fe));
    }
    return ir_check_type(fe->arena, t);
}

void fe_check_sizes(FeNode *n, IrNode *before) {
    IrNode *k = n->refused ? NULL : before ? before->next : n->fe->graph->first;
    for (; k && !n->refused; k = k->next) {
        for (int i = 0; i < k->n_out && !n->refused; i++) {
            const char *why = fe_check_type(n->fe, &k->out[i]->type);
            if (why) {
                fe_refuse(n, "its result %s", why);
            }
        }
    }
}
