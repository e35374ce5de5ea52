// The table of what trains, as hone finetune prints it, and what of the file is no parameter.
#include "tools/finetune.h"

#include "ir/memory.h"

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

typedef struct Reason {
    const char *text, *names; // names: "attn_mask [4,4,4], other_mask [4,4]"
    int n_names;              // of all
    int64_t count;            // floats
} Reason;

typedef struct Floats { // of the file
    IrArena *arena;
    const IrTrainProgram *p;
    int64_t all, none; // none: no parameters
    int n, cap;
    Reason *v;
} Floats;

static const IrFloats *find_floats(const IrTrainProgram *p, const char *name) {
    for (int i = 0; i < p->n_floats; i++)
        if (strcmp(p->floats[i].konst->name, name) == 0)
            return &p->floats[i];
    return NULL;
}

static Reason *find_reason(Floats *f, const char *text) {
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->v[i].text, text) == 0)
            return &f->v[i];
    Reason r = {text, "", 0, 0};
    IR_PUSH(f->arena, f->v, f->n, f->cap, r);
    return &f->v[f->n - 1];
}

static const char *print_shape(IrArena *a, const IrConst *c) {
    const char *s = "";
    for (int i = 0; i < c->type.shape.rank; i++)
        s = ir_sprintf(a, "%s%s%lld", s, i ? "," : " [", (long long)c->type.shape.dim[i].c);
    return *s ? ir_sprintf(a, "%s]", s) : s;
}

static void add_tensor(void *ctx, const char *name, int64_t count) {
    Floats *f = ctx;
    const IrFloats *x = find_floats(f->p, name);
    const char *text = !x         ? "settings (bounds, scales), or not read for the loss"
                       : x->fresh ? "the old classifier"
                                  : x->reason;
    f->all += count;
    if (!text)
        return;
    Reason *r = find_reason(f, text);
    f->none += count;
    r->count += count;
    if (r->n_names++ < NAMES)
        r->names = ir_sprintf(f->arena, "%s%s%s%s", r->names, *r->names ? ", " : "", name,
                              x && !x->fresh ? print_shape(f->arena, x->konst) : "");
}

// 1,322 of the file's 78,330 floats are no parameters:
//          672  running statistics of a normalization: bn1.running_mean [16], and 17 more
static void print_floats(IrArena *a, const IrTrainProgram *p, const FeModel *file, FILE *out) {
    Floats f = {.arena = a, .p = p};
    fe_model_floats(file, add_tensor, &f);
    print_count(out, 0, f.none);
    fputs(" of the file's ", out);
    print_count(out, 0, f.all);
    fprintf(out, " floats are no parameters%s\n", f.n ? ":" : "");
    for (int i = 0; i < f.n; i++) {
        const Reason *r = &f.v[i];
        print_count(out, 12, r->count);
        fprintf(out, "  %s: %s", r->text, RT_SHOW(r->names));
        if (r->n_names > NAMES)
            fprintf(out, ", and %d more", r->n_names - NAMES);
        fputc('\n', out);
    }
}

// ---------------------------------------------------------------- the whole

void tool_print_plan(IrArena *a, const IrTrainProgram *p, const FeModel *file, FILE *out) {
    int node = widest(48, 4, p, false), params = widest(72, 10, p, true);
    fprintf(out, "%-*s  %-18s  %-*s  %12s\n", node, "node", "op", params, "parameters", "count");
    for (int i = 0; i < p->n_plan; i++) {
        const IrPlanRow *r = &p->plan[i];
        fprintf(out, "%-*s  %-18s  %-*s  ", node, RT_SHOW(r->node), RT_SHOW(r->op), params,
                RT_SHOW(r->params));
        print_count(out, 12, r->count);
        fputs("  ", out);
        print_trains(p, out, r->trains);
        if (r->trains && r->lr_mult != 1)
            fprintf(out, ", rate x %.3g", (double)r->lr_mult);
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
    print_floats(a, p, file, out);
}

void tool_print_reading(const IrTrainProgram *p, FILE *out) {
    bool sigmoid = p->end_op && strcmp(p->end_op, "Sigmoid") == 0;
    if (p->map[0])
        fprintf(out, "reading: a class for each of %lld x %lld places of an image\n",
                (long long)p->map[0], (long long)p->map[1]);
    if (p->loss == IR_LOSS_CE) {
        fprintf(out, "reading: classes that exclude each other (softmax)%s\n",
                sigmoid ? "; the model's sigmoid becomes a softmax, --multi-label keeps it" : "");
        return;
    }
    fprintf(out, "reading: %s (sigmoid)%s\n",
            p->binary ? "one number for two classes" : "each class by itself",
            sigmoid     ? ""
            : p->end_op ? "; the model's softmax becomes a sigmoid"
                        : "; the trained model ends in a sigmoid, this one in logits");
}

void tool_print_training_memory(const IrTrainProgram *p, FILE *out) {
    for (int s = 0; s < p->n_stages; s++) {
        const IrTrainStage *x = &p->stages[s];
        fputs("memory", out);
        if (p->n_stages > 1)
            fprintf(out, " of stage %d", s + 1);
        fprintf(out, ": %s for batches of %d", IR_SIZE(x->memory), p->batch);
        if (x->memory < x->memory_unlimited)
            fprintf(out, ", rather than %s: %.1f %% of a step's multiply-adds are made again",
                    IR_SIZE(x->memory_unlimited), 100 * (double)x->again);
        fputc('\n', out);
    }
}
