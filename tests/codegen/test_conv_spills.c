// The innermost loops of the convolutions of common networks keep everything in registers: no
// vector register is loaded from or stored to the stack there. Reads objdump's text of the
// emitted objects.
#include "tests/check.h"
#include "tests/codegen/conv_shapes.h"
#include "tests/codegen/rig.h"

#include <stdlib.h>

enum { MAX_LINES = 1 << 21 };

typedef struct Line {
    long at, jump;       // address; target of a jump, or -1
    bool stack, product; // a vector access through rsp; a multiply
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
    l.product = strstr(op, "fmadd") || strstr(op, "mulps");
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
static int count_spills(const Listing *l, int end, bool *hot) {
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

static void add_shape(Rig *r, int k, const ConvShape *c) {
    rig_const(r, "%%w%d: f32[%d,%d,%d,%d] = splat(1)", k, c->O, c->C / c->group, c->kh, c->kw);
    rig_const(r, "%%b%d: f32[%d] = rand(%d)", k, c->O, k);
    rig_input(r, "%%x%d: f32[N,%d,%d,%d]", k, c->C, c->H, c->W);
    rig_node(r, "%%c%d = conv %%x%d, %%w%d, %%b%d {stride=[%d,%d], pad=[%d,%d,%d,%d], group=%d}", k,
             k, k, k, c->s, c->s, c->pt, c->pl, c->pb, c->pr, c->group);
    rig_node(r, "%%y%d = relu %%c%d", k, k);
    rig_output(r, "%%y%d", k);
}

static const char *target;
static bool winograd;

// One rig a shape tells whose kernel it is; shapes that have a kernel in common repeat it.
static void keeps_registers(void) {
    Listing l = {.line = malloc(MAX_LINES * sizeof(Line))};
    int loops = 0;
    for (int k = 0; k < N_CONV_SHAPES; k += 8) {
        Rig *r = rig_new(target, 2);
        rig_winograd(r, winograd);
        for (int i = k; i < k + 8 && i < N_CONV_SHAPES; i++)
            add_shape(r, i, &conv_shapes[i]);
        CgResult cg;
        if (!CHECK(rig_compile(r, &cg) != NULL))
            break;
        for (int i = 0; i < cg.n_files; i++) {
            l.n = 0;
            if (!strstr(cg.files[i], "weights"))
                read_listing(cg.files[i], &l);
            for (int n = 0; n < l.n; n++) {
                bool hot = false;
                if (l.line[n].jump >= 0 && l.line[n].jump < l.line[n].at &&
                    !CHECK(count_spills(&l, n, &hot) == 0))
                    fprintf(stderr, "%s: shapes %d to %d, %s, loop at %lx\n", target, k, k + 7,
                            cg.files[i], l.line[n].jump);
                loops += hot;
            }
        }
        rig_free(r);
    }
    CHECK(loops > 100);
    free(l.line);
}

int main(int argc, char **argv) {
    static const char *const targets[] = {"znver4", "x86-64-v4", "x86-64-v3"};
    for (int i = 0; i < 3; i++) {
        target = argc > 1 ? argv[1] : targets[i];
        winograd = false;
        CHECK_RUN(keeps_registers);
        winograd = strcmp(target, "x86-64-v3") != 0; // 16 registers do not hold its transforms
        if (winograd)
            CHECK_RUN(keeps_registers);
        if (argc > 1)
            break;
    }
    return check_done();
}
