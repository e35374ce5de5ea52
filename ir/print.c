// Programs as text; the form is described in ir.h. What is printed depends on the program alone and
// is read back to a program that prints the same.
#include "ir/conv.h"
#include "ir/eval.h"
#include "ir/ir_private.h"
#include "ir/map.h"
#include "runtime/core/text.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Printer {
    FILE *f;
    IrArena *scratch;        // the program's; NULL: a line on its own, names are taken as they are
    IrMap consts;            // constant by the name it prints under
    const char **const_name; // by IrConst.id
    IrMap values;            // value by name, of this graph
} Printer;

// ---------------------------------------------------------------- words and numbers

static bool is_bare(const char *s) {
    bool bare = isalpha((unsigned char)*s) || *s == '_';
    for (const char *p = s; *p && bare; p++) {
        bare = isalnum((unsigned char)*p) || *p == '_' || *p == '.';
    }
    return bare && strcmp(s, "_");
}

static void print_quoted(FILE *f, const char *s) {
    fputc('"', f);
    while (*s) {
        int n = rt_utf8_printable(s);
        if (n == 0) {
            fprintf(f, "\\x%02x", (unsigned char)*s);
        } else if (*s == '"' || *s == '\\') {
            fprintf(f, "\\%c", *s);
        } else {
            fwrite(s, 1, (size_t)n, f);
        }
        s += n ? n : 1;
    }
    fputc('"', f);
}

static void print_word(FILE *f, const char *s) {
    if (is_bare(s)) {
        fputs(s, f);
    } else {
        print_quoted(f, s);
    }
}

// With the fewest digits that give the same value of type t back; NaN as its bits.
static void print_float(FILE *f, IrDtype t, const void *data) {
    IrTensor from = {.dtype = t, .data = (void *)data};
    uint64_t back = 0;
    IrTensor to = {.dtype = t, .data = &back};
    double x = ir_tensor_get(&from, 0);
    size_t bytes = (size_t)ir_dtype_bytes(t);
    char text[40];
    bool whole = fabs(x) < 1e15 && x == floor(x); // 100, not 1e+02
    for (int digits = 1; digits <= 17 && !isnan(x); digits++) {
        snprintf(text, sizeof text, whole ? "%.*f" : "%.*g", whole ? 0 : digits, x);
        ir_tensor_set(&to, 0, strtod(text, NULL));
        if (!memcmp(&back, data, bytes)) {
            fputs(text, f);
            return;
        }
    }
    memcpy(&back, data, bytes);
    fprintf(f, "0x%0*llx", (int)(2 * bytes), (unsigned long long)back);
}

static void print_double(FILE *f, double x) {
    if (isnan(x)) {
        fputs("nan", f);
    } else {
        print_float(f, IR_F64, &x);
    }
}

static void print_dim(FILE *f, IrDim d) {
    char text[72];
    fputs(ir_dim_print(d, text, sizeof text), f);
}

// ---------------------------------------------------------------- names

// Constants share one name space in the program; one whose name is taken gets its id behind it.
static void name_consts(Printer *pr, IrProgram *p) {
    pr->consts = (IrMap){.arena = pr->scratch};
    pr->const_name = ir_alloc_array(pr->scratch, p->next_const_id, sizeof *pr->const_name);
    for (int i = 0; i < p->n_consts; i++) {
        IrConst *c = p->consts[i];
        const char *name = c->name;
        for (int k = 0; !*name || ir_map_get(&pr->consts, name); k++) {
            name = k ? ir_sprintf(pr->scratch, "%s.%u.%d", c->name, c->id, k)
                     : ir_sprintf(pr->scratch, "%s.%u", c->name, c->id);
        }
        *ir_map_put(&pr->consts, name) = c;
        pr->const_name[c->id] = name;
    }
}

static void claim_name(Printer *pr, IrValue *v) {
    if (v->name && *v->name && !v->konst && !ir_map_get(&pr->consts, v->name)) {
        void **owner = ir_map_put(&pr->values, v->name);
        *owner = *owner ? *owner : v;
    }
}

static void name_values(Printer *pr, IrGraph *g) {
    pr->values = (IrMap){.arena = pr->scratch};
    for (int i = 0; i < g->n_inputs; i++) {
        claim_name(pr, g->inputs[i]);
    }
    for (int i = 0; i < g->n_outputs; i++) {
        claim_name(pr, g->outputs[i]);
    }
    for (IrNode *n = g->first; n; n = n->next) {
        for (int i = 0; i < n->n_out; i++) {
            claim_name(pr, n->out[i]);
        }
    }
}

// The name v prints under; NULL: its id.
static const char *printed_name(const Printer *pr, const IrValue *v) {
    if (!pr->scratch) {
        return v->name && *v->name ? v->name : NULL;
    }
    if (v->konst) {
        const char *name = pr->const_name[v->konst->id];
        return name ? name : v->konst->name;
    }
    return v->name && ir_map_get(&pr->values, v->name) == v ? v->name : NULL;
}

static void print_ref(const Printer *pr, const IrValue *v) {
    const char *name = printed_name(pr, v);
    if (name) {
        fputc('%', pr->f);
        print_word(pr->f, name);
    } else {
        fprintf(pr->f, "%%%u", v->id);
    }
}

// A name that others know the value by is never lost.
static void print_public_ref(const Printer *pr, const IrValue *v) {
    print_ref(pr, v);
    if (!printed_name(pr, v) && v->name) {
        fputs(" as ", pr->f);
        print_quoted(pr->f, v->name);
    }
}

// ---------------------------------------------------------------- nodes

static void print_arg(FILE *f, int arg) {
    if (arg == IR_ACC) {
        fputs("acc", f);
    } else if (arg < 0) {
        fprintf(f, "s%d", -1 - arg);
    } else {
        fprintf(f, "%d", arg);
    }
}

static void print_step(FILE *f, const IrStep *s) {
    const IrOpInfo *op = ir_op_info(s->op);
    fprintf(f, "%s(", op->text);
    for (int i = 0; i < op->max_in; i++) {
        fputs(i ? ", " : "", f);
        print_arg(f, s->arg[i]);
    }
    for (int key = 0, k = 0; key < IR_ATTR_COUNT; key++) {
        if (op->attrs >> key & 1 && ir_attr_kind((IrAttrKey)key) == IR_KIND_FLOAT) {
            fprintf(f, ", %s=", ir_attr_name((IrAttrKey)key));
            print_double(f, s->p[k++]);
        }
    }
    if (s->op == IR_OP_CAST) {
        fprintf(f, ", to=%s", ir_dtype_name((IrDtype)s->p[0]));
    }
    fputc(')', f);
}

static void print_attr(FILE *f, const IrAttr *a) {
    IrAttrKind kind = ir_attr_kind(a->key);
    int n = kind == IR_KIND_INTS   ? a->ints.n
            : kind == IR_KIND_DIMS ? a->dims.rank
            : kind == IR_KIND_BODY ? a->body.n
                                   : -1;
    fprintf(f, "%s=%s", ir_attr_name(a->key), n >= 0 ? "[" : "");
    for (int i = 0; i < n; i++) {
        fputs(!i ? "" : kind == IR_KIND_BODY ? ", " : ",", f);
        if (kind == IR_KIND_INTS) {
            fprintf(f, "%lld", (long long)a->ints.v[i]);
        } else if (kind == IR_KIND_DIMS) {
            print_dim(f, a->dims.dim[i]);
        } else {
            print_step(f, &a->body.step[i]);
        }
    }
    if (n >= 0) {
        fputc(']', f);
    } else if (kind == IR_KIND_INT) {
        fprintf(f, "%lld", (long long)a->i);
    } else if (kind == IR_KIND_FLOAT) {
        print_double(f, a->f);
    } else if (kind == IR_KIND_ALGO) {
        fputs(ir_conv_algo_info(a->algo)->text, f);
    } else if (kind == IR_KIND_TILE) {
        char text[IR_CONV_TILE_TEXT];
        fprintf(f, "[%s]", ir_conv_tile_print(&a->tile, text));
    } else {
        print_word(f, a->s);
    }
}

static void print_type(FILE *f, const IrType *t) {
    char text[IR_TYPE_TEXT];
    fputs(ir_type_print(t, text, sizeof text), f);
}

// ": TYPE in %z+8 at arena 64N"
static void print_storage(const Printer *pr, const IrValue *v) {
    fputs(": ", pr->f);
    print_type(pr->f, &v->type);
    if (v->view_of) {
        fputs(" in ", pr->f);
        print_ref(pr, v->view_of);
        fprintf(pr->f, "+%lld", (long long)v->view_channel);
    }
    if (v->place.kind == IR_PLACE_ARENA) {
        fputs(" at arena ", pr->f);
        print_dim(pr->f, v->place.offset);
    } else if (v->place.kind == IR_PLACE_CONST) {
        fputs(" at const", pr->f);
    } else if (v->place.kind != IR_PLACE_NONE) {
        fprintf(pr->f, " at %s %d", v->place.kind == IR_PLACE_INPUT ? "input" : "output",
                v->place.index);
    }
}

static void print_node(const Printer *pr, const IrNode *n) {
    FILE *f = pr->f;
    for (int i = 0; i < n->n_out; i++) {
        fputs(i ? ", " : "", f);
        print_ref(pr, n->out[i]);
        print_storage(pr, n->out[i]);
    }
    fprintf(f, " = %s", ir_op_info(n->op)->text);
    for (int i = 0; i < n->n_in; i++) {
        fputs(i ? ", " : " ", f);
        if (n->in[i].value) {
            print_ref(pr, n->in[i].value);
        } else {
            fputc('_', f);
        }
    }
    for (int i = 0; i < n->n_attrs; i++) {
        fputs(i ? ", " : " {", f);
        print_attr(f, &n->attrs[i]);
    }
    fputs(n->n_attrs ? "}" : "", f);
    if (*n->name) {
        fputs(" @", f);
        print_quoted(f, n->name);
    }
}

void ir_print_node(FILE *f, const IrNode *n) {
    print_node(&(Printer){.f = f}, n);
}

// ---------------------------------------------------------------- graphs and programs

static void print_graph(Printer *pr, IrGraph *g) {
    FILE *f = pr->f;
    name_values(pr, g);
    fputs("graph ", f);
    print_word(f, g->name);
    fputc('(', f);
    for (int i = 0; i < g->n_inputs; i++) {
        fputs(i ? ", " : "", f);
        print_public_ref(pr, g->inputs[i]);
        print_storage(pr, g->inputs[i]);
    }
    fputs(") -> (", f);
    for (int i = 0; i < g->n_outputs; i++) {
        fputs(i ? ", " : "", f);
        print_public_ref(pr, g->outputs[i]);
    }
    fputc(')', f);
    if (!ir_dim_is(g->arena_bytes, 0) || !ir_dim_is(g->arena_bytes_no_reuse, 0)) {
        fputs(" arena ", f);
        print_dim(f, g->arena_bytes);
        fputs(" no_reuse ", f);
        print_dim(f, g->arena_bytes_no_reuse);
    }
    fputs(" {\n", f);
    for (IrNode *n = g->first; n; n = n->next) {
        fputs("  ", f);
        print_node(pr, n);
        fputc('\n', f);
    }
    fputs("}\n", f);
}

static void print_elems(FILE *f, const IrConst *c, int64_t n) {
    IrTensor t = {.dtype = c->type.dtype, .data = (void *)c->data};
    fputc('[', f);
    for (int64_t i = 0; i < n; i++) {
        fputs(i ? ", " : "", f);
        if (ir_dtype_is_float(t.dtype)) {
            print_float(f, t.dtype, (const char *)c->data + i * ir_dtype_bytes(t.dtype));
            continue;
        }
        IrWide x;
        ir_tensor_load_wide(&t, i, 1, 1, &x);
        if (x < 0) {
            fprintf(f, "%lld", (long long)x);
        } else {
            fprintf(f, "%llu", (unsigned long long)x);
        }
    }
    fputc(']', f);
}

static void print_const(const Printer *pr, const IrConst *c) {
    FILE *f = pr->f;
    IrDim n;
    ir_shape_elems(&c->type.shape, &n);
    fputs("const %", f);
    print_word(f, pr->const_name[c->id]);
    fputs(": ", f);
    print_type(f, &c->type);
    fputs(" = ", f);
    if (c->kind == IR_CONST_SPLAT) {
        fputs("splat(", f);
        print_double(f, c->splat);
        fputc(')', f);
    } else if (c->kind == IR_CONST_RAND) {
        fprintf(f, "rand(%llu)", (unsigned long long)c->seed);
    } else if (n.c <= IR_CONST_IN_TEXT) {
        print_elems(f, c, n.c);
    } else {
        size_t bytes = (size_t)n.c * (size_t)ir_dtype_bytes(c->type.dtype);
        fprintf(f, "ref(0x%016llx, ", (unsigned long long)ir_hash(c->data, bytes));
        print_quoted(f, c->origin ? c->origin : c->name);
        fputc(')', f);
    }
    fputs(c->trainable ? " trainable" : "", f);
    if (c->origin) {
        fputs(" origin ", f);
        print_quoted(f, c->origin);
    }
    fputc('\n', f);
}

void ir_print_graph(FILE *f, IrGraph *g) {
    Printer pr = {.f = f, .scratch = g->prog->arena};
    name_consts(&pr, g->prog);
    print_graph(&pr, g);
}

void ir_print_program(FILE *f, IrProgram *p) {
    Printer pr = {.f = f, .scratch = p->arena};
    name_consts(&pr, p);
    fputs("program ", f);
    print_quoted(f, p->name);
    fputc('\n', f);
    for (int i = 0; i < p->n_meta; i++) {
        fputs("meta ", f);
        print_quoted(f, p->meta[i].key);
        fputs(" = ", f);
        print_quoted(f, p->meta[i].value);
        fputc('\n', f);
    }
    for (int i = 0; i < p->n_consts; i++) {
        print_const(&pr, p->consts[i]);
    }
    for (int i = 0; i < p->n_graphs; i++) {
        fputc('\n', f);
        print_graph(&pr, p->graphs[i]);
    }
}
