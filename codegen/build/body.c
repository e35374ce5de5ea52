// Elementwise bodies: from IR attributes to plain data for specs, and from there to instructions on
// a vector (or scalar) that is already in a register.
//
// A cast is a step; a step computes in the type of its arguments. What quantises,
//   s0 = round(x), s1 = add(s0, zero), s2 = clip(s1, low, high), s3 = cast(s2, u8)
// with or without the zero point and the clip, is one conversion (narrow.c). x * sigmoid(x) is one
// division.
#include "codegen/build/eltwise.h"
#include "codegen/build/lower.h"

#include <math.h>
#include <string.h>

// Result dims right-aligned against the operand's: operand dim i of the result's rank, 1 in front.
static IrDim aligned_dim(const IrShape *s, int rank, int i) {
    int k = i - (rank - s->rank);
    return k < 0 ? ir_dim(1) : s->dim[k];
}

static bool one_element(const IrShape *s) {
    for (int i = 0; i < s->rank; i++)
        if (!ir_dim_is(s->dim[i], 1))
            return false;
    return true;
}

// One per channel: axis 1 of a 4-D result, the last axis of a matmul's.
static bool per_channel(const IrType *v, const IrType *r, IrOp op) {
    int rank = r->shape.rank;
    bool blocked = r->block > 0 && rank == 4;
    if ((!blocked && op != IR_OP_MATMUL) || v->shape.rank > rank)
        return false;
    int axis = blocked ? 1 : rank - 1;
    for (int i = 0; i < rank; i++) {
        IrDim d = aligned_dim(&v->shape, rank, i);
        bool batch = blocked && i == 0 && ir_dim_eq(d, r->shape.dim[0]);
        bool fits = i == axis ? ir_dim_eq(d, r->shape.dim[i]) : ir_dim_is(d, 1) || batch;
        if (!fits)
            return false;
    }
    return true;
}

// any_block: a kernel goes by the operand's own, whole pixels or blocks.
static CgOperandKind classify(const IrValue *v, const IrValue *r, IrOp op, bool any_block) {
    bool fits = ir_dtype_is_float(v->type.dtype) || ir_dtype_bytes(v->type.dtype) < 8;
    if (ir_const_is_scalar(v) && fits) // a double holds it
        return CG_OPERAND_IMM;
    if (one_element(&v->type.shape))
        return CG_OPERAND_SCALAR;
    bool alike = v->type.block == r->type.block || (any_block && v->type.block && r->type.block);
    if (alike && ir_shape_eq(&v->type.shape, &r->type.shape))
        return CG_OPERAND_FULL;
    return per_channel(&v->type, &r->type, op) ? CG_OPERAND_CHANNEL : CG_OPERAND_GENERAL;
}

// As a rank-4 tensor for a blocked result, whatever the rank it is written with; image 0 when
// all images share it.
static CgTensor channel_tensor(const IrValue *v, const IrValue *r) {
    CgTensor t = cg_tensor(v);
    IrDim first = aligned_dim(&v->type.shape, r->type.shape.rank, 0);
    if (r->type.block && ir_dim_is(first, 1) && !ir_dim_is(r->type.shape.dim[0], 1))
        t.image = 0;
    return t;
}

static bool body_fits(CgProgram *p, const IrNode *n, const IrBody *steps, int n_in) {
    if (steps->n > CG_MAX_STEPS)
        cg_nyi(p, n, "%d elementwise steps in one kernel", steps->n);
    else if (n_in > CG_MAX_OPERANDS)
        cg_nyi(p, n, "%d operands in one elementwise body", n_in);
    else
        return true;
    return false;
}

// The node's operands [*first, *end) that body `key` may name; returns the tensor that they
// broadcast to.
static const IrValue *find_operands(const IrNode *n, IrAttrKey key, int *first, int *end) {
    *first = key == IR_ATTR_PRE    ? ir_prologue(n)
             : key == IR_ATTR_THEN ? ir_op_info(n->op)->max_in
                                   : 0;
    *end = key == IR_ATTR_THEN ? ir_prologue(n) : n->n_in;
    return key == IR_ATTR_PRE ? ir_in(n, 0) : n->out[0];
}

// The type of argument `arg` of a step.
static IrDtype arg_dtype(const CgBody *b, int arg) {
    if (arg == IR_ACC)
        return (IrDtype)b->acc;
    if (arg >= 0)
        return (IrDtype)b->in[arg].dtype;
    return ir_step_dtype(&b->step[-1 - arg], (IrDtype)b->dtype[-1 - arg]);
}

IrDtype cg_body_dtype(const CgBody *b) {
    return arg_dtype(b, b->n ? IR_STEP(b->n - 1) : IR_ACC);
}

// The types that steps compute in. False after reporting NYI.
static bool find_dtypes(CgProgram *p, const IrNode *n, CgBody *b) {
    for (int i = 0; i < b->n; i++) {
        const IrStep *s = &b->step[i];
        IrDtype t = arg_dtype(b, s->arg[s->op == IR_OP_WHERE ? 1 : 0]);
        b->dtype[i] = (int32_t)t;
        if (s->op != IR_OP_CAST && !cg_eltwise_defined(t, s->op)) {
            cg_nyi(p, n, "%s on %s", ir_op_info(s->op)->text, ir_dtype_name(t));
            return false;
        }
    }
    return true;
}

static bool is_step(const CgBody *b, int arg, IrOp op) {
    return arg < 0 && b->step[-1 - arg].op == op;
}

// The argument of an addition that is a small integer known now, as *zero; false: neither is.
static bool find_zero(const CgBody *b, const IrStep *add, int *other, int32_t *zero) {
    for (int k = 0; k < 2; k++) {
        int a = add->arg[k];
        if (a < 0 || a == IR_ACC || b->in[a].kind != CG_OPERAND_IMM)
            continue;
        double x = b->in[a].imm;
        if (!(fabs(x) <= UINT16_MAX) || x != rint(x))
            continue;
        *zero = (int32_t)x;
        *other = add->arg[1 - k];
        return true;
    }
    return false;
}

// Clip's bounds as those of the type; false: not integers, or nothing is between them.
static bool narrow_range(const IrStep *clip, CgNarrow *how) {
    double low = fmax(clip->p[0], how->low), high = fmin(clip->p[1], how->high);
    if (!(low <= high) || low != rint(low) || high != rint(high))
        return false;
    how->low = (int32_t)low;
    how->high = (int32_t)high;
    return true;
}

// Where step i is a cast of f32 to a small integer: how, and of what argument, steps before it
// taken in.
static bool find_narrow(const CgBody *b, int i, CgNarrow *how, int *arg) {
    const IrStep *s = &b->step[i];
    IrDtype to = s->op == IR_OP_CAST ? (IrDtype)s->p[0] : IR_F32;
    if (b->dtype[i] != IR_F32 || to == IR_BOOL || ir_dtype_is_float(to) || ir_dtype_bytes(to) > 2)
        return false;
    *how = cg_elem_range(to);
    *arg = s->arg[0];
    if (is_step(b, *arg, IR_OP_CLIP) && narrow_range(&b->step[-1 - *arg], how))
        *arg = b->step[-1 - *arg].arg[0];
    int x = *arg;
    int32_t zero = 0;
    if (is_step(b, x, IR_OP_ADD) && !find_zero(b, &b->step[-1 - x], &x, &zero))
        return true;
    if (is_step(b, x, IR_OP_ROUND)) {
        how->nearest = true;
        how->zero = zero;
        *arg = b->step[-1 - x].arg[0];
    }
    return true;
}

bool cg_body_packs(const CgBody *b, CgNarrow *how) {
    int arg;
    return b->packs && find_narrow(b, b->n - 1, how, &arg);
}

// Whose operands are n's from `first` on
static bool find_packs(CgProgram *p, const IrNode *n, int first, const CgBody *b) {
    double most[CG_MAX_OPERANDS];
    CgNarrow how;
    int arg, last = b->n - 1;
    if (!b->n || !find_narrow(b, last, &how, &arg) || !how.nearest || b->step[last].p[0] != IR_U8 ||
        how.zero < 0 || how.zero > UINT8_MAX)
        return false;
    for (int k = 0; k < b->n_in; k++)
        most[k] = cg_operand_most(cg_ir(p), ir_in(n, first + k));
    return cg_body_most(b, most, arg) < CG_PACK_LIMIT;
}

bool cg_body_init(CgProgram *p, const IrNode *n, IrAttrKey key, CgBody *body, CgArg *args,
                  int *n_args) {
    memset(body, 0, sizeof *body);
    IrBody steps = ir_body(n, key);
    int first, end;
    const IrValue *r = find_operands(n, key, &first, &end);
    int n_in = end > first ? end - first : 0;
    bool any_block = n->op == IR_OP_CONV && key == IR_ATTR_THEN;
    body->first_arg = *n_args;
    if (!body_fits(p, n, &steps, n_in))
        return false;
    body->n = steps.n;
    body->n_in = n_in;
    body->acc = (int32_t)(key == IR_ATTR_THEN ? ir_own_dtype(n) : r->type.dtype);
    for (int k = 0; k < n_in; k++) {
        const IrValue *v = ir_in(n, first + k);
        body->in[k].kind = (int32_t)classify(v, r, n->op, any_block);
        body->in[k].dtype = (int32_t)v->type.dtype;
        if (body->in[k].kind == CG_OPERAND_IMM)
            body->in[k].imm = ir_const_scalar(cg_ir(p), v->konst, 0);
        else
            body->in[k].t = channel_tensor(v, r);
        args[(*n_args)++] = cg_read(v);
    }
    for (int i = 0; i < steps.n; i++) {
        body->step[i] = steps.step[i];
        for (int k = 0; k < 3; k++)
            if (body->step[i].arg[k] >= 0 && body->step[i].arg[k] != IR_ACC)
                body->step[i].arg[k] -= first;
        for (int k = ir_op_info(steps.step[i].op)->max_in; k < 3; k++)
            body->step[i].arg[k] = 0;
    }
    if (!find_dtypes(p, n, body))
        return false;
    body->packs = find_packs(p, n, first, body);
    return true;
}

// ---------------------------------------------------------------- emitting

// Where step i is x * sigmoid(x): x.
static bool find_silu(const CgBody *b, int i, int *x) {
    const IrStep *s = &b->step[i];
    for (int k = 0; k < 2 && s->op == IR_OP_MUL; k++) {
        *x = s->arg[k];
        int gate = s->arg[1 - k];
        if (is_step(b, gate, IR_OP_SIGMOID) && b->step[-1 - gate].arg[0] == *x)
            return true;
    }
    return false;
}

// The steps that the result needs.
static void find_live(const CgBody *b, bool *live) {
    memset(live, 0, (size_t)b->n);
    for (int i = b->n - 1; i >= 0; i--) {
        CgNarrow how;
        int x;
        live[i] |= i == b->n - 1;
        if (!live[i])
            continue;
        if (find_narrow(b, i, &how, &x) || find_silu(b, i, &x)) {
            if (x < 0)
                live[-1 - x] = true;
            continue;
        }
        for (int k = 0; k < ir_op_info(b->step[i].op)->max_in; k++)
            if (b->step[i].arg[k] < 0)
                live[-1 - b->step[i].arg[k]] = true;
    }
}

typedef struct Emission {
    const CgBody *body;
    CgVal acc, like; // like: of the shape of all values
    CgVal operand[CG_MAX_OPERANDS], result[CG_MAX_STEPS];
    CgVal (*load)(void *ctx, CgFn *f, int k);
    void *ctx;
} Emission;

static CgVal find_arg(Emission *e, CgFn *f, int arg) {
    if (arg == IR_ACC)
        return e->acc;
    if (arg < 0)
        return e->result[-1 - arg];
    const CgOperand *in = &e->body->in[arg];
    if (!e->operand[arg])
        e->operand[arg] = in->kind == CG_OPERAND_IMM
                              ? cg_elem_like(f, (IrDtype)in->dtype, e->like, in->imm)
                              : e->load(e->ctx, f, arg);
    return e->operand[arg];
}

// The value keeps what one rounding to a type of 16 bits needs: storing does that rounding.
static CgVal emit_cast(Emission *e, CgFn *f, int i) {
    IrDtype from = (IrDtype)e->body->dtype[i], to = (IrDtype)e->body->step[i].p[0];
    CgVal y = cg_elem_convert(f, from, to, find_arg(e, f, e->body->step[i].arg[0]));
    bool stored = i == e->body->n - 1;
    return cg_elem_is_exact(to) || stored ? y : cg_elem_round(f, to, y);
}

static CgVal emit_step(Emission *e, CgFn *f, int i) {
    const CgBody *b = e->body;
    const IrStep *s = &b->step[i];
    CgNarrow how;
    CgVal x[3] = {0};
    int arg;
    if (find_narrow(b, i, &how, &arg))
        return cg_elem_narrow(f, (IrDtype)s->p[0], &how, find_arg(e, f, arg));
    if (find_silu(b, i, &arg))
        return cg_silu(f, find_arg(e, f, arg));
    if (s->op == IR_OP_CAST)
        return emit_cast(e, f, i);
    for (int k = 0; k < ir_op_info(s->op)->max_in; k++)
        x[k] = find_arg(e, f, s->arg[k]);
    return cg_eltwise(f, (IrDtype)b->dtype[i], s->op, x, s->p);
}

// The first n steps, as far as the result needs them
static void emit_steps(Emission *e, CgFn *f, int n) {
    bool live[CG_MAX_STEPS];
    e->like = LLVMConstNull(e->acc ? LLVMTypeOf(e->acc) : f->vec);
    find_live(e->body, live);
    for (int i = 0; i < n; i++)
        if (live[i])
            e->result[i] = emit_step(e, f, i);
}

CgVal cg_body_emit(CgFn *f, const CgBody *body, CgVal acc, CgVal (*load)(void *ctx, CgFn *f, int k),
                   void *ctx) {
    Emission e = {.body = body, .acc = acc, .load = load, .ctx = ctx};
    emit_steps(&e, f, body->n);
    return body->n ? e.result[body->n - 1] : acc;
}

CgVal cg_body_emit_float(CgFn *f, const CgBody *body, CgVal acc,
                         CgVal (*load)(void *ctx, CgFn *f, int k), void *ctx) {
    Emission e = {.body = body, .acc = acc, .load = load, .ctx = ctx};
    CgNarrow how;
    int arg = IR_ACC;
    emit_steps(&e, f, body->n - 1);
    find_narrow(body, body->n - 1, &how, &arg);
    return find_arg(&e, f, arg);
}

bool cg_body_is_long(const CgBody *body) {
    static const IrOp polynomials[] = {IR_OP_GELU, IR_OP_ERF, IR_OP_EXP,  IR_OP_SIGMOID,
                                       IR_OP_TANH, IR_OP_LOG, IR_OP_POW,  IR_OP_SIN,
                                       IR_OP_COS,  IR_OP_ELU, IR_OP_SINH, IR_OP_COSH};
    for (int i = 0; i < body->n; i++)
        for (size_t k = 0; k < sizeof polynomials / sizeof *polynomials; k++)
            if (body->step[i].op == polynomials[k])
                return true;
    return false;
}
