// Building bodies: see body.h.

#include "passes/body.h"
#include <math.h>

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

// ---------------------------------------------------------------- casts to bytes and back

// Argument `arg` is whole numbers, as far as a few steps tell.
static bool is_whole(PassContext *ctx, const PassBody *b, int arg, int depth) {
    double x;
    if (arg >= 0) {
        return arg != IR_ACC && pass_scalar(ctx, b->in[arg], &x) && x == nearbyint(x);
    }
    const IrStep *s = &b->step[-1 - arg];
    bool sum = s->op == IR_OP_ADD || s->op == IR_OP_SUB;
    return s->op == IR_OP_ROUND || (sum && depth > 0 && is_whole(ctx, b, s->arg[0], depth - 1) &&
                                    is_whole(ctx, b, s->arg[1], depth - 1));
}

static const IrStep *step_of(const PassBody *b, int arg, IrOp op) {
    return arg < 0 && b->step[-1 - arg].op == op ? &b->step[-1 - arg] : NULL;
}

// The step whose result is that of s: before it became bytes, where s is a cast back; else s.
static int skip_bytes(PassContext *ctx, const PassBody *b, int s) {
    const IrStep *back = &b->step[s];
    const IrStep *to = back->op == IR_OP_CAST ? step_of(b, back->arg[0], IR_OP_CAST) : NULL;
    const IrStep *clip = to ? step_of(b, to->arg[0], IR_OP_CLIP) : NULL;
    if (!clip || back->p[0] != IR_F32 || (to->p[0] != IR_U8 && to->p[0] != IR_I8)) {
        return s;
    }
    IrDtype t = (IrDtype)to->p[0];
    bool within = clip->p[0] >= ir_dtype_lowest(t) && clip->p[1] <= ir_dtype_highest(t) &&
                  clip->p[0] == nearbyint(clip->p[0]) && clip->p[1] == nearbyint(clip->p[1]);
    return within && is_whole(ctx, b, clip->arg[0], 2) ? -1 - to->arg[0] : s;
}

// A zero point that is added, held within bytes, and taken away again:
//   add(x, z), clip(_, low, high), sub(_, z)   ->   clip(x, low - z, high - z), of whole numbers
static IrStep skip_zero(PassContext *ctx, const PassBody *b, const int *same, int s) {
    const IrStep *sub = &b->step[s];
    double z, back;
    if (sub->op != IR_OP_SUB || sub->arg[0] >= 0 || same[-1 - sub->arg[0]] == -1 - sub->arg[0] ||
        sub->arg[1] < 0 || !pass_scalar(ctx, b->in[sub->arg[1]], &back)) {
        return *sub;
    }
    const IrStep *clip = &b->step[same[-1 - sub->arg[0]]];
    const IrStep *add = step_of(b, clip->arg[0], IR_OP_ADD);
    if (!add || add->arg[1] < 0 || !pass_scalar(ctx, b->in[add->arg[1]], &z) || z != back ||
        !is_whole(ctx, b, add->arg[1], 0) || !is_whole(ctx, b, add->arg[0], 1)) {
        return *sub;
    }
    return (IrStep){.op = IR_OP_CLIP, .arg = {add->arg[0]}, .p = {clip->p[0] - z, clip->p[1] - z}};
}

// The steps that the last one needs, where same[i] has the result of step i.
static IrBody keep_read(PassContext *ctx, const IrStep *step, int n, const int *same) {
    int now[PASS_MAX_STEPS]; // a step's new place
    bool read[PASS_MAX_STEPS] = {false};
    IrBody y = {0, ir_alloc_array(ctx->scratch, (size_t)n + 1, sizeof *y.step)};
    for (int i = n - 1; i >= 0; i--) {
        read[i] = read[i] || i == n - 1;
        for (int k = 0; read[i] && k < ir_op_info(step[i].op)->max_in; k++) {
            if (step[i].arg[k] < 0) {
                read[same[-1 - step[i].arg[k]]] = true;
            }
        }
    }
    for (int i = 0; i < n; i++) {
        if (!read[i]) {
            continue;
        }
        IrStep *s = &y.step[y.n];
        *s = step[i];
        for (int k = 0; k < ir_op_info(s->op)->max_in; k++) {
            s->arg[k] = s->arg[k] < 0 ? IR_STEP(now[same[-1 - s->arg[k]]]) : s->arg[k];
        }
        now[i] = y.n++;
    }
    return y;
}

static bool is_own_or_step(const PassBody *b, int arg) {
    return arg < b->first_in || arg == IR_ACC;
}

// Operands that no step reads any more go; those of steps that were there before stay.
static void drop_unread(PassBody *b, IrBody *y) {
    int now[PASS_MAX_OPERANDS], n = b->first_in;
    bool read[PASS_MAX_OPERANDS] = {false};
    for (int i = 0; i < b->n + y->n; i++) {
        const IrStep *s = i < b->n ? &b->step[i] : &y->step[i - b->n];
        for (int k = 0; k < ir_op_info(s->op)->max_in && (i >= b->n || !b->node[i]); k++) {
            if (!is_own_or_step(b, s->arg[k])) {
                read[s->arg[k]] = true;
            }
        }
    }
    for (int i = b->first_in; i < b->n_in; i++) {
        now[i] = n;
        b->in[n] = b->in[i];
        n += read[i];
    }
    b->n_in = b->n_in > b->first_in ? n : b->n_in;
    for (int i = 0; i < y->n; i++) {
        for (int k = 0; k < ir_op_info(y->step[i].op)->max_in; k++) {
            int *arg = &y->step[i].arg[k];
            *arg = is_own_or_step(b, *arg) ? *arg : now[*arg];
        }
    }
}

IrBody pass_body_steps(PassContext *ctx, PassBody *b) {
    int same[PASS_MAX_STEPS]; // the step whose result is a step's
    IrStep step[PASS_MAX_STEPS];
    for (int i = 0; i < b->n; i++) {
        same[i] = i < b->n - 1 ? skip_bytes(ctx, b, i) : i;
        step[i] = skip_zero(ctx, b, same, i);
    }
    IrBody y = keep_read(ctx, step, b->n, same);
    drop_unread(b, &y);
    return y;
}
