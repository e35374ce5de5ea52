// See spills.h.
#include "tests/codegen/conv/spills.h"

#include <ctype.h>
#include <elf.h>
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

// How a disassembler's text is read
typedef struct Reader {
    const char *objdump;
    const char *stack, *vectors[3]; // how an operand on the stack begins; registers
    const char *product[6];         // in the names of instructions
    const char *also; // in the text of such a one, of floats of another size not; or NULL
} Reader;
static const Reader readers[] = {
    {"objdump",
     "(%rsp",
     {"%xmm", "%ymm", "%zmm"},
     {"fmadd", "mulps", "pdpbusd", "pmaddwd", "dpbf16ps"},
     "ps "},
    {"aarch64-linux-gnu-objdump",
     "[sp",
     {" q", "v", "{v"},
     {"fmla", "dot\t", "sadalp", "mmla"},
     ".4s"},
};

static bool finds_any(const char *s, const char *const *what, int n) {
    bool found = false;
    for (int i = 0; i < n && what[i]; i++)
        found |= strstr(s, what[i]) != NULL;
    return found;
}

// Of "\tb.lt\t40 <kernel+0x40>", 0x40; -1: no jump within the text
static long parse_jump(const char *op) {
    const char *name = strstr(op, " <");
    if (!name || (*op != 'j' && *op != 'b' && *op != 'c' && *op != 't'))
        return -1;
    while (name > op && isxdigit((unsigned char)name[-1]))
        name--;
    return strtol(name, NULL, 16);
}

static Line parse_line(const Reader *r, const char *s) {
    Line l = {.at = strtol(s, NULL, 16), .jump = -1};
    const char *op = strchr(s, '\t');
    if (!op)
        return l;
    op++;
    l.jump = parse_jump(op);
    l.stack = strstr(op, r->stack) && finds_any(op, r->vectors, 3);
    l.product = finds_any(op, r->product, 6) && (!strstr(op, "fm") || strstr(op, r->also));
    return l;
}

// By the machine in its header.
static const Reader *find_reader(const char *object) {
    Elf64_Ehdr h = {0};
    FILE *f = fopen(object, "rb");
    bool got = f && fread(&h, sizeof h, 1, f) == 1;
    if (f)
        fclose(f);
    return &readers[got && h.e_machine == EM_AARCH64];
}

static void read_listing(const char *object, Listing *out) {
    char cmd[512], text[1024];
    const Reader *r = find_reader(object);
    snprintf(cmd, sizeof cmd, "%s -d --no-show-raw-insn %s", r->objdump, object);
    FILE *f = popen(cmd, "r");
    while (f && fgets(text, sizeof text, f) && out->n < MAX_LINES)
        if (text[0] == ' ')
            out->line[out->n++] = parse_line(r, text);
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

bool spills_can_read(const char *mcpu) {
    char cmd[64];
    const Reader *r = &readers[strstr(mcpu, "neoverse") != NULL];
    snprintf(cmd, sizeof cmd, "command -v %s >/dev/null", r->objdump);
    return system(cmd) == 0;
}

int spills_lines_with(const char *object, const char *what) {
    char command[512], line[512];
    int n = 0;
    if (system("command -v objdump >/dev/null") != 0)
        return -1;
    snprintf(command, sizeof command, "objdump -d --no-show-raw-insn %s", object);
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, what) != NULL;
    if (f)
        pclose(f);
    return n;
}
