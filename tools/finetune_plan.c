// The table of what trains, as hone finetune prints it.
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

void tool_print_plan(const IrTrainProgram *p, FILE *out) {
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
}
