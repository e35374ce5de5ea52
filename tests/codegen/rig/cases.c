// Textual cases for the rig; see cases.h.
#define _GNU_SOURCE // vasprintf
#include "tests/codegen/rig/cases.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const CaseTarget case_targets[CASE_TARGETS] = {
    {"native", 2}, {"native", 0}, {"x86-64-v3", 2}, {"generic", 2}};

static bool is_name(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

// One statement with %name made %name_k.
static char *rename_values(const char *line, int k) {
    char *out = NULL;
    size_t bytes;
    FILE *f = open_memstream(&out, &bytes);
    while (*line) {
        bool value = *line == '%';
        fputc(*line++, f);
        if (value) {
            while (is_name(*line)) {
                fputc(*line++, f);
            }
            fprintf(f, "_%d", k);
        }
    }
    fclose(f);
    return out;
}

static void add_statement(Rig *r, const char *line, int k) {
    while (*line == ' ') {
        line++;
    }
    char *text = rename_values(line, k);
    if (strncmp(text, "in ", 3) == 0) {
        rig_input(r, "%s", text + 3);
    } else if (strncmp(text, "const ", 6) == 0) {
        rig_const(r, "%s", text + 6);
    } else if (strncmp(text, "out ", 4) == 0) {
        rig_output(r, "%s", text + 4);
    } else if (*text) {
        rig_node(r, "%s", text);
    }
    free(text);
}

void case_add(Rig *r, int k, const char *text, ...) {
    char *all = NULL, *rest = NULL;
    va_list args;
    va_start(args, text);
    if (vasprintf(&all, text, args) < 0) {
        abort();
    }
    va_end(args);
    for (char *line = strtok_r(all, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        add_statement(r, line, k);
    }
    free(all);
}

int case_check(Rig *r, double tolerance, bool empty) {
    RigRuns runs = {.N = {1, 2, 5, 0},
                    .n = empty ? 4 : 3,
                    .threads = {1, 2, 3},
                    .n_threads = 3,
                    .tolerance = tolerance};
    int wrong = rig_check(r, &runs);
    rig_free(r);
    return wrong;
}

int case_check_all(const char *const *texts, double tolerance, bool empty) {
    int wrong = 0;
    for (int t = 0; t < CASE_TARGETS; t++) {
        Rig *r = rig_new(case_targets[t].mcpu, case_targets[t].opt_level);
        for (int k = 0; texts[k]; k++) {
            case_add(r, k, "%s", texts[k]);
        }
        wrong += case_check(r, tolerance, empty);
    }
    return wrong;
}
