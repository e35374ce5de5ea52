// Elementwise bodies: from IR attributes to plain data for specs, and from there to instructions on
// a vector (or scalar) that is already in a register.
#include "codegen/build/eltwise.h"
#include "codegen/build/lower.h"

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
    if (v->dtype != IR_F32 || (!blocked && op != IR_OP_MATMUL) || v->shape.rank > rank)
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

static CgOperandKind classify(const IrValue *v, const IrValue *r, IrOp op) {
    bool fits = ir_dtype_is_float(v->type.dtype) || ir_dtype_bytes(v->type.dtype) < 8;
    if (ir_const_is_scalar(v) && fits) // a double holds it
        return CG_OPERAND_IMM;
    if (one_element(&v->type.shape))
        return CG_OPERAND_SCALAR;
    if (v->type.block == r->type.block && ir_shape_eq(&v->type.shape, &r->type.shape))
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
    const IrStep *s = &b->step[-1 - arg];
    return ir_op_info(s->op)->flags & IR_FLAG_B ? IR_BOOL : (IrDtype)b->dtype[-1 - arg];
}

// The types that steps compute in. False after reporting NYI.
static bool find_dtypes(CgProgram *p, const IrNode *n, CgBody *b) {
    for (int i = 0; i < b->n; i++) {
        const IrStep *s = &b->step[i];
        IrDtype t = arg_dtype(b, s->arg[s->op == IR_OP_WHERE ? 1 : 0]);
        b->dtype[i] = (int32_t)t;
        if (!cg_eltwise_defined(t, s->op)) {
            cg_nyi(p, n, "%s on %s", ir_op_info(s->op)->text, ir_dtype_name(t));
            return false;
        }
    }
    return true;
}

bool cg_body_init(CgProgram *p, const IrNode *n, IrAttrKey key, CgBody *body, CgArg *args,
                  int *n_args) {
    memset(body, 0, sizeof *body);
    IrBody steps = ir_body(n, key);
    int first, end;
    const IrValue *r = find_operands(n, key, &first, &end);
    int n_in = end > first ? end - first : 0;
    body->first_arg = *n_args;
    if (!body_fits(p, n, &steps, n_in))
        return false;
    body->n = steps.n;
    body->n_in = n_in;
    body->acc = (int32_t)r->type.dtype;
    for (int k = 0; k < n_in; k++) {
        const IrValue *v = ir_in(n, first + k);
        body->in[k].kind = (int32_t)classify(v, r, n->op);
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
    return find_dtypes(p, n, body);
}

CgVal cg_body_emit(CgFn *f, const CgBody *body, CgVal acc, CgVal (*load)(void *ctx, CgFn *f, int k),
                   void *ctx) {
    CgVal operand[CG_MAX_OPERANDS] = {0}, result[CG_MAX_STEPS];
    LLVMTypeRef like = acc ? LLVMTypeOf(acc) : f->vec;
    for (int i = 0; i < body->n; i++) {
        CgVal x[3] = {0};
        for (int k = 0; k < ir_op_info(body->step[i].op)->max_in; k++) {
            int a = body->step[i].arg[k];
            if (a == IR_ACC) {
                x[k] = acc;
            } else if (a < 0) {
                x[k] = result[-1 - a];
            } else {
                if (!operand[a])
                    operand[a] = body->in[a].kind == CG_OPERAND_IMM
                                     ? cg_elem_like(f, (IrDtype)body->in[a].dtype, LLVMConstNull(like),
                                                    body->in[a].imm)
                                     : load(ctx, f, a);
                x[k] = operand[a];
            }
        }
        result[i] = cg_eltwise(f, (IrDtype)body->dtype[i], body->step[i].op, x, body->step[i].p);
    }
    return body->n ? result[body->n - 1] : acc;
}
