// See spills.h.
#include "tests/codegen/conv/spills.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINES = 1 << 21 };

typedef struct Line {
    long at, jump;       // address; target of a jump, or -1
    bool stack, product; // a vector access through rsp; products
} Line;

typedef struct Listing {
    Line *line;
    int n;
} Listing;

static bool has_vector(const char *s) {
    return strstr(s, "%xmm") || strstr(s, "%ymm") || strstr(s, "%zmm");
}

static Line parse_line(const char *s) {
    Line l = {.at = strtol(s, NULL, 16), .jump = -1};
    const char *op = strchr(s, '\t');
    if (!op)
        return l;
    op++;
    if (*op == 'j')
        l.jump = strtol(op + strcspn(op, " "), NULL, 16);
    l.stack = strstr(op, "(%rsp") && has_vector(op);
    const char *fma = strstr(op, "fmadd");
    l.product = (fma && strstr(fma, "ps ")) || strstr(op, "mulps") || strstr(op, "pdpbusd") ||
                strstr(op, "pmaddwd");
    return l;
}

static void read_listing(const char *object, Listing *out) {
    char cmd[512], text[1024];
    snprintf(cmd, sizeof cmd, "objdump -d --no-show-raw-insn %s", object);
    FILE *f = popen(cmd, "r");
    while (f && fgets(text, sizeof text, f) && out->n < MAX_LINES)
        if (text[0] == ' ')
            out->line[out->n++] = parse_line(text);
    if (f)
        pclose(f);
}

// Accesses to the stack in the loop that the backward jump at line `end` closes, if it is
// innermost and multiplies.
static int count_loop(const Listing *l, int end, bool *hot) {
    int spills = 0;
    *hot = false;
    for (int i = end - 1; i >= 0 && l->line[i].at >= l->line[end].jump; i--) {
        if (l->line[i].at >= l->line[end].at)
            break;
        if (l->line[i].jump >= 0 && l->line[i].jump < l->line[i].at)
            return 0;
        spills += l->line[i].stack;
        *hot |= l->line[i].product;
    }
    return *hot ? spills : 0;
}

int spills_count(const char *object, int *loops) {
    Listing l = {.line = malloc(MAX_LINES * sizeof(Line))};
    int bad = 0;
    if (!l.line)
        return 1;
    read_listing(object, &l);
    for (int n = 0; n < l.n; n++) {
        bool hot = false;
        if (l.line[n].jump < 0 || l.line[n].jump >= l.line[n].at)
            continue;
        if (count_loop(&l, n, &hot) > 0) {
            fprintf(stderr, "%s: spills in the loop at %lx\n", object, l.line[n].jump);
            bad++;
        }
        *loops += hot;
    }
    free(l.line);
    return bad;
}
