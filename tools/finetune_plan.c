// The table of what trains, as hone finetune prints it, and what of the file is no parameter.
#include "tools/finetune.h"

#include <string.h>

static void print_count(FILE *out, int width, int64_t n) { // 25,557,032
    char digits[32], text[48];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    fprintf(out, "%*s", width, text);
}

static void print_trains(const IrTrainProgram *p, FILE *out, uint32_t trains) {
    const char *sep = "";
    if (!trains)
        fputs("frozen", out);
    else if (p->n_stages == 1)
        fputs("trains", out);
    for (int s = 0; p->n_stages > 1 && s < p->n_stages; s++) {
        if (trains >> s & 1) {
            fprintf(out, "%s%d", *sep ? sep : "trains in stage ", s + 1);
            sep = ", ";
        }
    }
}

static int widest(int limit, int least, const IrTrainProgram *p, bool params) {
    int w = least;
    for (int i = 0; i < p->n_plan; i++) {
        int n = (int)strlen(params ? p->plan[i].params : p->plan[i].node);
        w = n > w ? n : w;
    }
    return w < limit ? w : limit;
}

// ---------------------------------------------------------------- what is no parameter

enum { NAMES = 6 }; // of a reason's tensors that are named

// Why tensor i of the file is no parameter; NULL: it is one, or the old classifier's.
static const char *reason_of(const IrTrainProgram *p, int i) {
    return p->floats[i].fresh ? NULL : p->floats[i].reason;
}

// The first tensor of its reason is i.
static bool is_first(const IrTrainProgram *p, int i) {
    for (int k = 0; k < i; k++)
        if (reason_of(p, k) == reason_of(p, i))
            return false;
    return reason_of(p, i) != NULL;
}

static void print_shape(FILE *out, const IrConst *c) {
    for (int i = 0; i < c->type.shape.rank; i++)
        fprintf(out, "%s%lld", i ? "," : " [", (long long)c->type.shape.dim[i].c);
    fputs(c->type.shape.rank ? "]" : "", out);
}

// "       64  masks: attn_mask [4,4,4], other_mask [4,4], and 3 more"
static void print_reason(const IrTrainProgram *p, int first, FILE *out) {
    const char *reason = reason_of(p, first);
    int n = 0;
    int64_t count = 0;
    for (int i = first; i < p->n_floats; i++)
        count += reason_of(p, i) == reason ? p->floats[i].count : 0;
    print_count(out, 12, count);
    fprintf(out, "  %s: ", reason);
    for (int i = first; i < p->n_floats; i++) {
        if (reason_of(p, i) != reason)
            continue;
        if (n++ < NAMES) {
            fprintf(out, "%s%s", n > 1 ? ", " : "", p->floats[i].konst->name);
            print_shape(out, p->floats[i].konst);
        }
    }
    if (n > NAMES)
        fprintf(out, ", and %d more", n - NAMES);
    fputc('\n', out);
}

typedef struct Count { // of the floats in the file
    const IrTrainProgram *p;
    int64_t all, no_parameter, old_head, no_way; // no_way: from them to the loss
} Count;

static void count_floats(void *ctx, const char *name, int64_t n) {
    Count *c = ctx;
    const IrFloats *f = NULL;
    for (int i = 0; i < c->p->n_floats && !f; i++)
        f = strcmp(c->p->floats[i].konst->name, name) == 0 ? &c->p->floats[i] : NULL;
    c->all += n;
    c->no_parameter += f && !f->reason && !f->fresh ? 0 : n;
    c->old_head += f && f->fresh ? n : 0;
    c->no_way += f ? 0 : n;
}

static void print_floats(const IrTrainProgram *p, const FeModel *file, FILE *out) {
    Count c = {.p = p};
    fe_model_floats(file, count_floats, &c);
    print_count(out, 0, c.no_parameter);
    fputs(" of the file's ", out);
    print_count(out, 0, c.all);
    fputs(" floats are no parameters", out);
    fputs(c.no_parameter ? ":\n" : "\n", out);
    for (int i = 0; i < p->n_floats; i++)
        if (is_first(p, i))
            print_reason(p, i, out);
    const struct {
        int64_t count;
        const char *what;
    } rest[] = {{c.old_head, "the old classifier"},
                {c.no_way, "the loss does not depend on them, or not with a slope"}};
    for (int i = 0; i < 2; i++) {
        if (rest[i].count) {
            print_count(out, 12, rest[i].count);
            fprintf(out, "  %s\n", rest[i].what);
        }
    }
}

// ---------------------------------------------------------------- the whole

void tool_print_plan(const IrTrainProgram *p, const FeModel *file, FILE *out) {
    int node = widest(48, 4, p, false), params = widest(72, 10, p, true);
    fprintf(out, "%-*s  %-18s  %-*s  %12s\n", node, "node", "op", params, "parameters", "count");
    for (int i = 0; i < p->n_plan; i++) {
        const IrPlanRow *r = &p->plan[i];
        fprintf(out, "%-*s  %-18s  %-*s  ", node, RT_SHOW(r->node), RT_SHOW(r->op), params,
                RT_SHOW(r->params));
        print_count(out, 12, r->count);
        fputs("  ", out);
        print_trains(p, out, r->trains);
        fputc('\n', out);
    }
    for (int s = 0; s < p->n_stages; s++) {
        const IrTrainStage *x = &p->stages[s];
        if (p->n_stages > 1)
            fprintf(out, "stage %d, ", s + 1);
        fprintf(out, "%s: ", RT_SHOW(x->spec));
        print_count(out, 0, x->n_trained);
        fputs(" parameters train, ", out);
        print_count(out, 0, x->n_frozen);
        fputs(" are frozen", out);
        if (x->epochs)
            fprintf(out, "; %d epoch%s", x->epochs, x->epochs == 1 ? "" : "s");
        if (x->lr > 0)
            fprintf(out, "; rate %g", (double)x->lr);
        fputc('\n', out);
    }
    print_floats(p, file, out);
}
