// info: what trains in which stage, preprocessing, classes.
#include "runtime/finetune/finetune.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/data/input_file.h"
#include "runtime/file/json.h"

void rt_fine_print_plan(const HoneTrainDesc *d, FILE *f) {
    int wide = 4, op = 2;
    for (int i = 0; i < d->n_plan; i++) {
        int n = (int)strlen(d->plan[i].node), m = (int)strlen(d->plan[i].op);
        wide = n > wide && n <= 40 ? n : wide;
        op = m > op ? m : op;
    }
    fprintf(f, "%-*s  %-*s %12s  %s\n", wide, "node", op, "op", "parameters", "trains in stage");
    for (int i = 0; i < d->n_plan; i++) {
        const HonePlanRow *r = &d->plan[i];
        const char *between = "";
        fprintf(f, "%-*s  %-*s %12lld  ", wide, RT_SHOW(r->node), op, RT_SHOW(r->op),
                (long long)r->count);
        for (int s = 0; s < d->n_stages; s++)
            if (r->trains >> s & 1) {
                fprintf(f, "%s%d", between, s + 1);
                between = ", ";
            }
        fputs(r->trains ? "\n" : "none, frozen\n", f);
    }
    for (int s = 0; s < d->n_stages; s++)
        fprintf(f, "stage %d, %s: %lld parameters train, %lld are frozen\n", s + 1,
                RT_SHOW(d->stages[s].spec), (long long)d->stages[s].n_trained,
                (long long)d->stages[s].n_frozen);
}

static double megabytes(int64_t bytes) {
    return (double)bytes / (1 << 20);
}

static void print_memory(const HoneTrainDesc *d) {
    for (int s = 0; s < d->n_stages; s++) {
        const HoneTrainStage *x = &d->stages[s];
        printf("memory of stage %d: %.1f MB for batches of %d", s + 1, megabytes(x->memory),
               d->batch);
        if (x->memory < x->memory_unlimited)
            printf(", rather than %.1f: %.1f %% of a step's multiply-adds are made again",
                   megabytes(x->memory_unlimited), 100 * (double)x->again);
        putchar('\n');
    }
}

static const char *const losses[] = {
#define LOSS(NAME, name) [HONE_LOSS_##NAME] = name,
#include "runtime/train/bind.def"
};

// The machine whose code runs here; where none does, the best of the program's.
static const char *picked_cpu(const HoneTrainDesc *d) {
    RtErr err;
    const HoneModelDesc *unit = rt_model_unit(d->info, NULL, &err);
    return unit ? unit->cpu : d->info->cpu;
}

static void print_input(const HonePreprocess *p) {
    char text[256];
    if (rt_takes_pictures(p))
        printf("images: %d x %d, shorter side resized to %d\n", p->width, p->height, p->resize);
    else
        printf("arrays: %s each, as they are\n", rt_input_text(p, 1, text, sizeof text));
}

static void print_info_json(const RtFine *f) {
    const HoneTrainDesc *d = f->d;
    RtJson j = {.f = stdout};
    rt_json_begin(&j, NULL, '{');
    rt_json_text(&j, "model", d->info->name);
    rt_json_text(&j, "producer", d->info->producer);
    rt_json_text(&j, "hash", d->info->hash);
    rt_json_text(&j, "cpu", picked_cpu(d));
    rt_json_begin(&j, "cpus", '[');
    for (const HoneModelDesc *u = d->info; u; u = u->next)
        rt_json_text(&j, NULL, u->cpu);
    rt_json_end(&j, ']');
    rt_json_int(&j, "classes", d->classes);
    rt_json_int(&j, "batch", d->batch);
    rt_json_int(&j, "memory_limit", d->memory_limit);
    rt_json_text(&j, "loss", losses[d->loss]);
    rt_json_text(&j, "reading", rt_reading(d));
    rt_json_begin(&j, "stages", '[');
    for (int s = 0; s < d->n_stages; s++) {
        rt_json_begin(&j, NULL, '{');
        rt_json_text(&j, "spec", d->stages[s].spec);
        rt_json_int(&j, "trained", d->stages[s].n_trained);
        rt_json_int(&j, "frozen", d->stages[s].n_frozen);
        rt_json_int(&j, "memory", d->stages[s].memory);
        rt_json_int(&j, "memory_unlimited", d->stages[s].memory_unlimited);
        rt_json_number(&j, "again", (double)d->stages[s].again, 6);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_begin(&j, "parameters", '[');
    for (int i = 0; i < d->n_params; i++) {
        rt_json_begin(&j, NULL, '{');
        rt_json_text(&j, "name", d->params[i].name);
        rt_json_int(&j, "count", d->params[i].count);
        rt_json_int(&j, "trains", d->params[i].trains);
        rt_json_end(&j, '}');
    }
    rt_json_end(&j, ']');
    rt_json_end(&j, '}');
    putchar('\n');
}

int rt_fine_info(const RtFine *f, int argc, char **argv) {
    bool help = false, json = false;
    const RtCliOption options[] = {{"--json", RT_CLI_FLAG, &json, 0, 0, NULL, "one JSON object"},
                                   RT_FINE_HELP(&help)};
    RtCliList rest = {0};
    int code;
    if (rt_fine_parse(f, "info", "[OPTION...]\n\nWhat trains, and what it was made from.", options,
                      2, &help, argc, argv, &rest, 0, 0, &code)) {
        const HonePreprocess *p = &f->d->info->preprocess;
        code = RT_EXIT_FINE;
        if (json) {
            print_info_json(f);
        } else {
            printf("%s: fine-tunes '%s', %d classes; by %s for %s\n", f->program,
                   RT_SHOW(f->d->info->name), f->d->classes, f->d->info->producer,
                   picked_cpu(f->d));
            print_input(p);
            printf("reading: %s\n\n", rt_reading(f->d));
            rt_fine_print_plan(f->d, stdout);
            print_memory(f->d);
        }
    }
    free(rest.item);
    return code;
}
