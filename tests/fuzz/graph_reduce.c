// See graph_reduce.h. The state is textual IR; a candidate is the text parsed, edited and printed
// again, and a check of it in a child process. Edits of one kind are tried one after the other,
// from the graph's end; when a round over all kinds changes nothing, what is left is the answer.
#define _GNU_SOURCE
#include "tests/fuzz/graph_reduce.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reducer {
    CheckJob job;
    CheckStatus failure;
    char *text; // the smallest so far
    int tries;
} Reducer;

// Takes `text` (malloc) over if it fails alike, else frees it.
static bool try_text(Reducer *r, char *text) {
    if (text && r->tries > 0 && strcmp(text, r->text) != 0) {
        r->tries--;
        r->job.text = text;
        if (check_in_child(&r->job, true) == r->failure) {
            free(r->text);
            r->text = text;
            return true;
        }
    }
    free(text);
    return false;
}

// ---------------------------------------------------------------- edits of the graph

static void remove_unused(IrGraph *g) {
    for (IrNode *n = g->last, *prev; n; n = prev) {
        bool used = false;
        prev = n->prev;
        for (int i = 0; i < n->n_out; i++)
            used |= n->out[i]->n_uses || n->out[i]->is_output;
        if (!used)
            ir_remove_node(n);
    }
    int kept = 0;
    for (int i = 0; i < g->n_inputs; i++)
        if (g->inputs[i]->n_uses) {
            g->inputs[i]->input = kept;
            g->inputs[kept++] = g->inputs[i];
        }
    g->n_inputs = kept;
    for (int i = 0; i < g->prog->n_consts; i++)
        g->prog->consts[i]->trainable = false;
    ir_prune_consts(g->prog);
}

static IrNode *node_at(IrGraph *g, int index) {
    IrNode *n = g->last;
    while (n && index-- > 0)
        n = n->prev;
    return n;
}

// Edit number `index` of a kind; false past the last one; *ok: it can be made.
typedef bool Edit(IrGraph *g, int index, bool *ok);

static bool drop_output(IrGraph *g, int index, bool *ok) {
    *ok = g->n_outputs > 1;
    if (index >= g->n_outputs)
        return false;
    if (*ok) {
        g->outputs[index]->is_output = false;
        memmove(g->outputs + index, g->outputs + index + 1,
                (size_t)(g->n_outputs - index - 1) * sizeof *g->outputs);
        g->n_outputs--;
    }
    return true;
}

// An operand of a node becomes an output in place of the node's own result.
static bool move_output_up(IrGraph *g, int index, bool *ok) {
    int output = index / 4, operand = index % 4;
    if (output >= g->n_outputs)
        return false;
    IrNode *n = g->outputs[output]->def;
    IrValue *x = n ? ir_in(n, operand) : NULL;
    *ok = x && x->def && !x->is_output;
    if (*ok)
        ir_replace_output(g, output, x);
    return true;
}

static bool bypass_node(IrGraph *g, int index, bool *ok) {
    IrNode *n = node_at(g, index / 4);
    IrValue *x = n ? ir_in(n, index % 4) : NULL;
    *ok = x && n->n_out == 1 && n->op != IR_OP_COPY && ir_type_eq(&x->type, &n->out[0]->type);
    if (*ok)
        ir_replace_uses(n->out[0], x);
    return n != NULL;
}

static bool node_to_input(IrGraph *g, int index, bool *ok) {
    IrNode *n = node_at(g, index);
    *ok = false;
    for (int i = 0; n && i < n->n_out; i++)
        *ok |= n->out[i]->n_uses > 0;
    for (int i = 0; *ok && i < n->n_out; i++)
        if (n->out[i]->n_uses > 0 && !n->out[i]->is_output)
            ir_replace_uses(
                n->out[i],
                ir_input(g, ir_sprintf(g->prog->arena, "in%u_%d", n->out[i]->id, g->n_inputs),
                         n->out[i]->type));
        else
            *ok = false;
    return n != NULL;
}

static bool const_to_splat(IrGraph *g, int index, bool *ok) {
    if (index >= g->prog->n_consts)
        return false;
    IrConst *c = g->prog->consts[index];
    *ok = c->kind != IR_CONST_SPLAT;
    c->kind = IR_CONST_SPLAT;
    c->splat = 1;
    c->data = NULL;
    return true;
}

static bool drop_optional(IrGraph *g, int index, bool *ok) {
    IrNode *n = node_at(g, index);
    int last = n ? n->n_in - 1 : 0;
    *ok = n && n->n_in > ir_op_info(n->op)->min_in && ir_in(n, last);
    if (*ok) {
        ir_set_in(n, last, NULL);
        n->n_in--;
        *ok = ir_infer(n) == NULL;
    }
    return n != NULL;
}

static bool drop_attr(IrGraph *g, int index, bool *ok) {
    IrNode *n = node_at(g, index / 8);
    *ok = n && index % 8 < n->n_attrs;
    if (*ok) {
        IrShape before = n->out[0]->type.shape;
        ir_del_attr(n, n->attrs[index % 8].key);
        *ok = ir_infer(n) == NULL && ir_shape_eq(&before, &n->out[0]->type.shape);
    }
    return n != NULL;
}

// Every edit of the kind that keeps the failure. Returns whether any did.
static bool apply_edits(Reducer *r, Edit *edit) {
    bool changed = false;
    for (int i = 0; r->tries > 0;) {
        IrDiag diag;
        ir_diag_init(&diag, "reduce");
        IrArena *a = ir_arena_new(&diag);
        IrProgram *p = ir_parse(a, "reduce", r->text, strlen(r->text));
        bool ok = false, more = p && edit(p->graphs[0], i, &ok);
        char *text = NULL;
        if (more && ok) {
            remove_unused(p->graphs[0]);
            text = check_print(p);
        }
        ir_arena_free(a);
        if (!more)
            break;
        if (try_text(r, text))
            changed = true;
        else
            i++;
    }
    return changed;
}

// ---------------------------------------------------------------- edits of the text

// A copy without the types of results, which then follow from the operands'.
static char *drop_types(const char *text) {
    char *out = malloc(strlen(text) + 1), *to = out;
    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n'), *colon = memchr(line, ':', (size_t)(end - line));
        const char *equals = memmem(line, (size_t)(end - line), " = ", 3);
        bool node =
            strncmp(line, "  %", 3) == 0 && colon && equals && colon < equals &&
            !memchr(line, ',', (size_t)(equals - line - 0 < colon - line ? 0 : colon - line));
        if (node) {
            memcpy(to, line, (size_t)(colon - line));
            to += colon - line;
            line = equals;
        }
        memcpy(to, line, (size_t)(end - line));
        to += end - line;
        if (*end)
            *to++ = '\n';
        line = *end ? end + 1 : end;
    }
    *to = 0;
    return out;
}

// Dimensions `from` of all types and of attributes `shape` become `to`.
static char *replace_dims(const char *text, long from, long to) {
    char *out = malloc(3 * strlen(text) + 32), *at = out;
    bool inside = false;
    for (const char *p = text; *p;) {
        if (*p == '[')
            inside = p > text && (isalnum((unsigned char)p[-1]) ||
                                  (p - text > 5 && strncmp(p - 6, "shape=", 6) == 0));
        inside = inside && *p != ']';
        if (inside && isdigit((unsigned char)*p) && !isalnum((unsigned char)p[-1])) {
            char *end;
            long v = strtol(p, &end, 10);
            at += sprintf(at, "%ld", v == from && *end != 'N' ? to : v);
            p = end;
        } else {
            *at++ = *p++;
        }
    }
    *at = 0;
    return out;
}

static bool shrink_dims(Reducer *r) {
    bool changed = false;
    for (long from = 32; from > 1 && r->tries > 0; from--) {
        const long smaller[] = {1, 2, from / 2, from - 1};
        for (int i = 0; i < 4; i++) {
            if (smaller[i] >= from)
                continue;
            char *plain = drop_types(r->text);
            if (try_text(r, replace_dims(plain, from, smaller[i]))) {
                changed = true;
                i = 4;
            }
            free(plain);
        }
    }
    return changed;
}

// One batch size only, the least of those that fail.
static bool lower_batch(Reducer *r) {
    const CheckJob before = r->job;
    r->job.text = r->text;
    r->job.n = 1;
    for (int k = 0; k < before.n && (before.n > 1 || before.N[0] > 1); k++) {
        r->job.N[0] = before.n > 1 ? before.N[k] : 1;
        if (check_in_child(&r->job, true) == r->failure)
            return true;
    }
    r->job = before;
    return false;
}

char *reduce_graph(CheckJob *job, CheckStatus failure, int tries) {
    static Edit *const edits[] = {drop_output,    node_to_input, move_output_up, bypass_node,
                                  const_to_splat, drop_optional, drop_attr};
    Reducer r = {.job = *job, .failure = failure, .text = strdup(job->text), .tries = tries};
    for (bool changed = true; changed && r.tries > 0;) {
        changed = lower_batch(&r);
        for (size_t i = 0; i < sizeof edits / sizeof *edits; i++)
            changed |= apply_edits(&r, edits[i]);
        changed |= shrink_dims(&r);
    }
    job->n = r.job.n;
    memcpy(job->N, r.job.N, sizeof job->N);
    return r.text;
}
