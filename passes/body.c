// Building bodies: see body.h.

#include "passes/body.h"

// The argument that stands for v in a step; false when there is no room for one more operand.
static bool find_arg(PassBody *b, IrValue *v, int *arg) {
    for (int i = b->n - 1; i >= 0; i--) {
        if (b->result[i] == v) {
            *arg = IR_STEP(i);
            return true;
        }
    }
    if (b->acc == v) {
        *arg = IR_ACC;
        return true;
    }
    for (int i = b->first_in; i < b->n_in; i++) {
        if (b->in[i] == v) {
            *arg = i;
            return true;
        }
    }
    if (b->n_in >= b->max_in) {
        return false;
    }
    b->in[b->n_in] = v;
    *arg = b->n_in++;
    return true;
}

bool pass_body_add(PassBody *b, IrNode *n) {
    int had = b->n_in;
    if (b->n >= b->max_steps) {
        return false;
    }
    IrStep step = {.op = n->op};
    ir_step_params(n, step.p);
    for (int i = 0; i < n->n_in; i++) {
        if (!find_arg(b, ir_in(n, i), &step.arg[i])) {
            b->n_in = had;
            return false;
        }
    }
    b->step[b->n] = step;
    b->node[b->n] = n;
    b->result[b->n++] = n->out[0];
    return true;
}

bool pass_body_holds(const PassBody *b, const IrNode *n) {
    for (int i = 0; i < b->n; i++) {
        if (b->node[i] == n) {
            return true;
        }
    }
    return false;
}

bool pass_body_makes(const PassBody *b, const IrValue *v) {
    if (v == b->acc) {
        return true;
    }
    for (int i = 0; i < b->n; i++) {
        if (b->result[i] == v) {
            return true;
        }
    }
    return false;
}

static bool is_internal(const PassBody *b, const IrValue *v) {
    for (const IrUse *u = v->uses; u; u = u->next) {
        if (!pass_body_holds(b, u->node)) {
            return false;
        }
    }
    return !v->is_output;
}

bool pass_body_is_closed(const PassBody *b) {
    if (b->acc && !is_internal(b, b->acc)) {
        return false;
    }
    for (int i = 0; i < b->n - 1; i++) {
        if (b->result[i] && !is_internal(b, b->result[i])) {
            return false;
        }
    }
    return true;
}

const char *pass_body_name(const PassBody *b, IrArena *a, const char *name) {
    for (int i = 0; i < b->n; i++) {
        if (b->node[i]) {
            name = ir_join_names(a, name, b->node[i]->name);
        }
    }
    return name;
}

void pass_body_remove_nodes(PassBody *b) {
    for (int i = b->n - 1; i >= 0; i--) {
        if (b->node[i]) {
            ir_remove_node(b->node[i]);
        }
    }
}
