// A unit's HoneModelDesc, filled by name; layout.c writes it into the module.
#include "codegen/program/program.h"

#include <string.h>

static HoneDim dim(IrDim x) {
    return (HoneDim){x.c, x.n};
}

static const HoneTensorDesc *tensors(CgProgram *p, IrValue **v, int n) {
    HoneTensorDesc *t = ir_alloc_array(p->arena, (size_t)n + 1, sizeof *t);
    for (int i = 0; i < n; i++) {
        const IrType *type = &v[i]->type;
        t[i] = (HoneTensorDesc){v[i]->name, (int32_t)type->dtype, type->shape.rank, {{0}}};
        for (int k = 0; k < type->shape.rank; k++)
            t[i].dim[k] = dim(type->shape.dim[k]);
    }
    return t;
}

// The value that a call writes first, where a check can walk over it: f32 in one piece.
static const IrValue *first_result(const CgCall *c) {
    for (int i = 0; i < c->n_args; i++) {
        const IrValue *v = c->args[i].write ? c->args[i].value : NULL;
        bool places = v && (v->place.kind == IR_PLACE_ARENA || v->place.kind == IR_PLACE_OUTPUT);
        if (v)
            return places && !v->view_of && v->type.dtype == IR_F32 ? v : NULL;
    }
    return NULL;
}

static HoneNodeDesc node(const CgCall *c) {
    HoneNodeDesc d = {.name = c->node->name,
                      .op = ir_op_info(c->node->op)->text,
                      .algo = c->algo,
                      .flops = dim(c->flops),
                      .bytes = dim(c->bytes),
                      .result.at = HONE_AT_NOWHERE,
                      .makes = (int32_t)c->node->out[0]->type.dtype};
    d.reads = c->node->n_in && ir_in(c->node, 0) ? (int32_t)ir_in(c->node, 0)->type.dtype : d.makes;
    const IrValue *v = first_result(c);
    IrDim size;
    if (!v || !ir_type_bytes(&v->type, &size))
        return d;
    d.result = cg_place(&v->place, ir_dim(0));
    d.size = dim(size);
    d.block = v->type.block;
    d.channels = d.block ? (int32_t)v->type.shape.dim[1].c : 0;
    return d;
}

static const HoneNodeDesc *nodes(CgProgram *p, const CgCode *c) {
    HoneNodeDesc *t = ir_alloc_array(p->arena, (size_t)c->n_calls + 1, sizeof *t);
    for (int i = 0; i < c->n_calls; i++)
        t[i] = node(&c->calls[i]);
    return t;
}

static int index_of(IrValue *const *list, int n, const IrValue *v) {
    int i = 0;
    while (i < n && list[i] != v)
        i++;
    return i < n ? i : -1;
}

// Outputs behind the model's own: counts of those, and checks.
static const HoneCountDesc *counts(CgProgram *p, const IrGraph *g, int own) {
    HoneCountDesc *t = ir_alloc_array(p->arena, (size_t)(g->n_outputs - own) + 1, sizeof *t);
    for (int i = own; i < g->n_outputs; i++) {
        const IrNode *n = g->outputs[i]->def;
        bool equal = !strcmp(ir_str(n, IR_ATTR_MODE, "most"), "equal");
        t[i - own] = n->op == IR_OP_CHECK
                         ? (HoneCountDesc){n->name, n->src_op, ir_int(n, IR_ATTR_SIZE, 0), -1,
                                           equal ? HONE_CHECK_EQUAL : HONE_CHECK_MOST}
                         : (HoneCountDesc){NULL, NULL, 0, index_of(g->outputs, own, n->out[0]),
                                           (int32_t)ir_int(n, IR_ATTR_AXIS, 0)};
    }
    return t;
}

static bool batch_is_symbolic(const IrGraph *g) {
    for (int i = 0; i < g->n_inputs; i++)
        if (!ir_shape_is_static(&g->inputs[i]->type.shape))
            return true;
    return false;
}

// The target's, and those that kernels named; 0 ended. Returns how many, with the 0.
static int list_needs(CgProgram *p, const CgCode *c, const uint32_t **out) {
    uint32_t *list = ir_alloc_array(p->arena, 2 * 64, sizeof *list);
    int n = 0;
    while (c->target->needs[n]) {
        list[n] = c->target->needs[n];
        n++;
    }
    for (uint32_t i = 1; i < 64; i++)
        if (c->needs >> i & 1)
            list[n++] = i;
    *out = list;
    return n + 1;
}

// The same table where units have the same calls: what prepared them for one prepared them for all.
static HoneSteps init_steps(CgProgram *p, CgCode *c) {
    const CgCode *k = p->codes;
    while (k < c && (k->init != c->init || !k->n_init))
        k++;
    c->init_steps = k < c ? k->init_steps : cg_steps(p, c->init, c->n_init);
    return c->init_steps;
}

HoneModelDesc cg_descriptor(CgProgram *p, CgCode *c) {
    const CgOptions *o = p->opt;
    const IrGraph *g = c->graph;
    const uint32_t *needs;
    int n_needs = list_needs(p, c, &needs), own = ir_own_outputs(g);
    return (HoneModelDesc){
        .abi = HONE_ABI,
        .scores = o->scores,
        .next = c->next ? cg_symbol(p->arena, cg_desc_symbol(p, c->next), 0) : NULL,
        .name = g->prog->name,
        .producer = o->producer,
        .cpu = c->target->cpu,
        .features = c->target->features,
        .hash = o->model_hash,
        .n_inputs = g->n_inputs,
        .n_outputs = own,
        .n_nodes = c->n_calls,
        .n_labels = o->labels ? o->n_labels : 0,
        .n_cpu_needs = n_needs,
        .batch_symbolic = batch_is_symbolic(g),
        .inputs = tensors(p, g->inputs, g->n_inputs),
        .outputs = tensors(p, g->outputs, own),
        .n_counts = g->n_outputs - own,
        .counts = counts(p, g, own),
        .nodes = nodes(p, c),
        .labels = o->labels,
        .cpu_needs = needs,
        .preprocess = *c->preprocess,
        .task = o->task,
        .classifier = o->classifier,
        .arena_bytes = {g->arena_bytes.c + 64, g->arena_bytes.n}, // vectors may read past the end
        .scratch_bytes = c->scratch_bytes,
        .weights_bytes = p->weights.bytes,
        .weights = cg_symbol(p->arena, cg_weights_symbol(p), 0),
        .kernels = cg_symbol(p->arena, cg_kernels_symbol(p), 0),
        .run = cg_steps(p, c->calls, c->n_calls),
        .prepared_bytes = c->prepared_bytes,
        .stored_bytes = c->stored_bytes,
        .init = init_steps(p, c)};
}
