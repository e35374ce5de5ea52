// What differs between the options of two runs: their texts are words KEY=VALUE in the same order
// (run_key.c), a value of several parts has colons between. Which option a part is of, this table
// says; a word that it does not know is told as it stands.
#include "runtime/train/options_diff.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 4, ROOM = 192 }; // of a value; bytes of a word

typedef struct Row {
    const char *key;
    const char *option[PARTS]; // of each part
    unsigned coded;            // bits of the parts whose numbers mean nothing to a user
} Row;

static const Row rows[] = {
    {"seed", {"--seed"}, 0},
    {"batch", {"--batch"}, 0},
    {"accumulate", {"--accumulate"}, 0},
    {"head", {"--head-solver"}, 1},
    {"sched", {"--lr-schedule"}, 0},
    {"step", {"--decay-epochs"}, 0},
    {"gamma", {"--decay-rate"}, 0},
    {"momentum", {"--momentum"}, 0},
    {"beta2", {"--beta2"}, 0},
    {"eps", {"--eps"}, 0},
    {"decay", {"--weight-decay"}, 0},
    {"smoothing", {"--label-smoothing"}, 0},
    {"clip", {"--clip-grad"}, 0},
    {"augment", {"--augment"}, 0},
    {"variants", {"--cache-variants"}, 0},
    {"balanced", {"--balanced"}, 0},
    {"average", {"--model-ema-decay"}, 0},
    {"mix", {"--mixup", "--cutmix", "--mixup-prob", "--mixup-switch-prob"}, 0},
    {"folds", {"--k-fold"}, 0},
    {"values", {"--mask-values"}, 0},
    {"stage", {"--epochs", "--lr", "--opt", "--warmup-epochs"}, 4},
};

typedef struct Text {
    char *at;
    size_t n, size;
} Text;

static void __attribute__((format(printf, 2, 3))) say(Text *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (t->n < t->size)
        t->n += (size_t)vsnprintf(t->at + t->n, t->size - t->n, fmt, args);
    va_end(args);
}

// Copies the text's next piece, which `end` ends, and goes behind it.
static void cut(const char **text, char end, char piece[ROOM]) {
    size_t n = strcspn(*text, (char[]){end, 0});
    snprintf(piece, ROOM, "%.*s", (int)n, *text);
    *text += n + ((*text)[n] != 0);
}

// The row of "batch=16", and of "stage0=..." with *stage 1; NULL: there is none.
static const Row *find_row(const char *word, unsigned long *stage) {
    *stage = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].key);
        if (strncmp(word, rows[i].key, n) != 0)
            continue;
        if (isdigit((unsigned char)word[n]))
            *stage = strtoul(word + n, NULL, 10) + 1;
        if (word[n] == '=' || *stage)
            return &rows[i];
    }
    return NULL;
}

static void say_part(Text *t, const Row *row, int part, unsigned long stage, const char *had,
                     const char *now) {
    say(t, "%s%s", t->n ? "; " : "", row->option[part]);
    if (stage)
        say(t, " of stage %lu", stage);
    if (row->coded >> part & 1)
        say(t, " is another");
    else
        say(t, " %s, now %s", had, now);
    if (strcmp(row->option[part], "--epochs") == 0)
        say(t, " (+N goes on with a finished run)");
}

// The word of an option that is there with it alone.
static const char *or_none(const char *word, const char *other) {
    static const char *const none[] = {"folds=none", "values=none"};
    for (size_t i = 0; !*word && i < sizeof none / sizeof *none; i++)
        if (strncmp(other, none[i], strcspn(none[i], "=") + 1) == 0)
            return none[i];
    return word;
}

static void say_word(Text *t, const char *had, const char *now) {
    unsigned long stage, other;
    had = or_none(had, now);
    now = or_none(now, had);
    const Row *row = find_row(had, &stage);
    const char *a = strchr(had, '='), *b = strchr(now, '=');
    if (!row || !a || !b || row != find_row(now, &other) || stage != other) {
        say(t, "%s'%s', now '%s'", t->n ? "; " : "", had, now);
        return;
    }
    char part[2][ROOM], end = row->option[1] ? ':' : 0;
    a++, b++;
    for (int k = 0; k < PARTS && row->option[k]; k++) {
        cut(&a, end, part[0]);
        cut(&b, end, part[1]);
        if (strcmp(part[0], part[1]) != 0)
            say_part(t, row, k, stage, part[0], part[1]);
    }
}

const char *rt_options_diff(const char *had, const char *now, char *text, size_t size) {
    Text t = {text, 0, size};
    char a[ROOM], b[ROOM];
    *text = 0;
    while (*had || *now) {
        cut(&had, ' ', a);
        cut(&now, ' ', b);
        if (strcmp(a, b) != 0)
            say_word(&t, a, b);
    }
    return text;
}
