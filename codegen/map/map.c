// Elementwise kernels: chains of elementwise steps (map) and single elementwise ops, in one form.
// The result is walked in its own layout, operands broadcast to it by stride 0, in vectors over the
// innermost dimension (channels of a block, or the last run of a plain tensor), whatever the types
// of operands, steps and result are.
#include "codegen/build/nd.h"
#include "codegen/map/map.h"
#include <math.h>
#include <string.h>

typedef struct MapSpec {
    CgNd nd;
    CgBody body;
    int32_t dtype, pad_; // of the result; without a body, of operand 1 too
} MapSpec;

// ---------------------------------------------------------------- kernel

typedef struct MapRun {
    const MapSpec *spec;
    int walk;                      // the dimension that the loop around one vector walks
    CgVal at[CG_ND_OPERANDS];      // of the run's first element
    CgVal hoisted[CG_ND_OPERANDS]; // the same for the whole run
    CgVal i, n;                    // of the vector being emitted
} MapRun;

static IrDtype dtype_of(const MapSpec *s, int k) {
    return (IrDtype)(k > 0 && s->body.n ? s->body.in[k - 1].dtype : s->dtype);
}

static CgVal load_vector(MapRun *r, CgFn *f, int k) {
    const CgNd *nd = &r->spec->nd;
    IrDtype t = dtype_of(r->spec, k);
    IrDim lane = nd->dim[nd->rank - 1].stride[k];
    CgVal p = r->at[k];
    if (r->i) {
        p = cg_elem_at(f, t, p, cg_stride(f, r->i, nd->dim[r->walk].stride[k]));
    }
    return cg_elem_load_strided(f, t, p, cg_dim(f, lane), r->n);
}

static CgVal load_operand(void *ctx, CgFn *f, int k) {
    MapRun *r = ctx;
    return r->hoisted[k + 1] ? r->hoisted[k + 1] : load_vector(r, f, k + 1);
}

static void emit_vector(void *ctx, CgFn *f, CgVal i, CgVal n) {
    MapRun *r = ctx;
    const CgBody *body = &r->spec->body;
    r->i = i;
    if (n) {
        r->n = n;
    }
    CgVal keep = r->n;
    CgVal y = body->n ? cg_body_emit(f, body, NULL, load_operand, r) : load_operand(r, f, 0);
    IrDtype t = dtype_of(r->spec, 0);
    CgVal to = cg_elem_at(f, t, r->at[0], cg_stride(f, i, r->spec->nd.dim[r->walk].stride[0]));
    cg_elem_store_n(f, t, y, to, keep);
    if (n) {
        r->n = NULL;
    }
}

static bool is_immediate(const CgBody *b, int k) {
    return b->n && k < b->n_in && b->in[k].kind == CG_OPERAND_IMM;
}

static void start_run(MapRun *r, CgFn *f, const CgVal *off) {
    const CgNd *nd = &r->spec->nd;
    r->i = NULL;
    for (int k = 0; k < nd->n; k++) {
        r->at[k] = cg_elem_at(f, dtype_of(r->spec, k), f->arg[k], off[k]);
        r->hoisted[k] = NULL;
        if (k > 0 && !is_immediate(&r->spec->body, k - 1) &&
            ir_dim_is(nd->dim[r->walk].stride[k], 0)) {
            r->hoisted[k] = load_vector(r, f, k);
        }
    }
}

static int choose_unroll(const CgBody *b) {
    return b->n <= 2 ? 4 : b->n <= 6 ? 2 : 1;
}

static void emit_row(void *ctx, CgFn *f, const CgVal *off, CgVal len) {
    MapRun *r = ctx;
    start_run(r, f, off);
    int unroll = choose_unroll(&r->spec->body);
    if (r->walk == r->spec->nd.rank - 1) {
        cg_nd_vectors(f, len, unroll, emit_vector, r);
    } else {
        cg_nd_steps(f, len, unroll, emit_vector, r);
    }
}

// Does one vector hold the last dimension whole?
static bool is_narrow(const CgNd *nd, int lanes) {
    const CgNdDim *d = &nd->dim[nd->rank - 1];
    return nd->rank > 1 && d->size.n == 0 && d->size.c <= lanes;
}

static void emit_map(CgFn *f, const void *spec) {
    MapRun r = {.spec = spec};
    const CgNd *nd = &r.spec->nd;
    if (is_narrow(nd, f->lanes)) {
        int64_t size = nd->dim[nd->rank - 1].size.c;
        r.walk = nd->rank - 2;
        r.n = size < f->lanes ? cg_i64(f, size) : NULL;
        cg_nd_for(f, nd, 2, 1, emit_row, &r);
    } else {
        r.walk = nd->rank - 1;
        cg_nd_for(f, nd, 1, f->lanes, emit_row, &r);
    }
}

void cg_map_nd(CgProgram *p, const IrNode *n, const char *algo, CgNd *nd, IrDtype t,
               const CgBody *body, int n_args, const CgArg *args) {
    if (cg_nd_empty(nd)) {
        return;
    }
    cg_nd_collapse(nd, 1);
    MapSpec spec;
    memset(&spec, 0, sizeof spec);
    spec.nd = *nd;
    spec.dtype = (int32_t)t;
    if (body) {
        spec.body = *body;
    }
    int k = cg_kernel(p, algo, emit_map, &spec, sizeof spec, n_args, 60 + 20 * spec.body.n);
    cg_call(p, n, k, n_args, args, algo, (IrDim){0, 0});
}

// ---------------------------------------------------------------- lowering

// A map node's body, or the one step that an elementwise node is.
static bool read_body(CgProgram *p, const IrNode *n, CgBody *body, CgArg *args, int *n_args) {
    if (n->op == IR_OP_MAP) {
        return cg_body_init(p, n, IR_ATTR_BODY, body, args, n_args);
    }
    IrStep step = {.op = n->op, .arg = {0, 1, 2}};
    ir_step_params(n, step.p);
    IrAttr attr = {.key = IR_ATTR_BODY, .body = {1, &step}};
    IrNode map = *n;
    map.op = IR_OP_MAP;
    map.n_attrs = 1;
    map.attrs = &attr;
    return cg_body_init(p, &map, IR_ATTR_BODY, body, args, n_args);
}

void cg_lower_map(CgProgram *p, const IrNode *n) {
    CgArg args[CG_MAX_ARGS] = {cg_write(n->out[0])};
    int n_args = 1;
    CgBody body;
    if (!read_body(p, n, &body, args, &n_args)) {
        return;
    }
    CgTensor r = cg_tensor(n->out[0]);
    IrDim size[CG_ND_RANK], stride[CG_ND_RANK];
    CgNd nd;
    cg_nd_init(&nd, cg_nd_sizes(&r, size), size);
    cg_nd_strides(&r, stride);
    cg_nd_add(&nd, stride, ir_dim(0));
    if (!cg_operands_join(p, n, &r, 0, &body, &nd, args)) {
        return;
    }
    const char *algo = n->op == IR_OP_MAP ? "map" : ir_op_info(n->op)->text;
    cg_map_nd(p, n, algo, &nd, n->out[0]->type.dtype, &body, n_args, args);
}
