// See test_data.h.
#include "tools/test_data.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static TestTensor *load_tensors(Tool *t, const char *dir, const char *what, int *n) {
    int cap = 0;
    TestTensor *v = NULL;
    for (*n = 0;;) {
        TestTensor x = {ir_sprintf(t->arena, "%s/%s_%d.pb", dir, what, *n), {0}};
        if (access(x.path, F_OK) != 0)
            return v;
        if (!fe_load_tensor(t->arena, x.path, &x.tensor, NULL))
            return NULL;
        IR_PUSH(t->arena, v, *n, cap, x);
    }
}

static bool load_set(Tool *t, const char *dir, TestData *d) {
    int errors = t->diag.errors;
    d->dir = dir;
    d->in = load_tensors(t, dir, "input", &d->n_in);
    if (t->diag.errors == errors)
        d->out = load_tensors(t, dir, "output", &d->n_out);
    return t->diag.errors == errors;
}

static int is_data_set(const struct dirent *e) {
    return strncmp(e->d_name, "test_data_set_", 14) == 0;
}

bool test_data_load(Tool *t, const char *dir, TestFolder *out) {
    struct dirent **list;
    int n = scandir(dir, &list, is_data_set, alphasort);
    if (n < 0) {
        t->diag.file = dir;
        ir_error(&t->diag, IR_NOWHERE, "cannot read this folder of test data");
        return false;
    }
    bool ok = true;
    out->n = n ? n : 1;
    out->v = ir_alloc_array(t->arena, (size_t)out->n, sizeof *out->v);
    for (int i = 0; i < n; i++) {
        ok = ok && load_set(t, ir_sprintf(t->arena, "%s/%s", dir, list[i]->d_name), &out->v[i]);
        free(list[i]);
    }
    free(list);
    return n ? ok : load_set(t, dir, &out->v[0]);
}

// A number or a list of them, short where it is of floats.
static bool is_parameter(const IrTensor *x) {
    return x->rank == 0 || (x->rank == 1 && (!ir_dtype_is_float(x->dtype) ||
                                             ir_tensor_elems(x) <= 2 * IR_MAX_RANK));
}

FeBound *test_data_bound(Tool *t, const TestData *d, const IrGraph *all, int *n_bound) {
    FeBound *bound = ir_alloc_array(t->arena, (size_t)all->n_inputs + 1, sizeof *bound);
    *n_bound = 0;
    for (int i = 0; i < all->n_inputs && i < d->n_in; i++)
        if (is_parameter(&d->in[i].tensor))
            bound[(*n_bound)++] = (FeBound){all->inputs[i]->name, d->in[i].tensor};
    return bound;
}

static int find_input(const IrGraph *g, const char *name) {
    int i = 0;
    while (i < g->n_inputs && strcmp(g->inputs[i]->name, name) != 0)
        i++;
    return i;
}

// The batch size at which the declared shape gives the tensor's; false when none does.
static bool match_batch(const IrValue *v, const IrTensor *x, int64_t *N) {
    if (v->type.shape.rank != x->rank || v->type.dtype != x->dtype)
        return false;
    for (int i = 0; i < x->rank; i++) {
        IrDim d = v->type.shape.dim[i];
        if (d.n && *N < 0 && (x->dim[i] - d.c) % d.n == 0)
            *N = (x->dim[i] - d.c) / d.n;
        if (ir_dim_at(d, *N) != x->dim[i])
            return false;
    }
    return true;
}

// Tensor number k of the n that are there, as the value v.
static bool match(Tool *t, const char *dir, const char *what, const TestTensor *from, int n, int k,
                  const IrValue *v, IrTensor *to, int64_t *N) {
    char type[256];
    t->diag.file = dir;
    if (k >= n) {
        ir_error(&t->diag, IR_NOWHERE, "there is no %s_%d.pb, for '%s'", what, k, v->name);
        return false;
    }
    *to = from[k].tensor;
    t->diag.file = from[k].path;
    bool fits = match_batch(v, to, N);
    if (!fits)
        ir_error(&t->diag, IR_NOWHERE, "does not fit %s '%s', which is %s", what, v->name,
                 ir_type_print(&v->type, type, sizeof type));
    return fits;
}

// Output v, whose size data decides, as large as its bound: zeros behind what is stored. *count:
// how much that is.
static void fill_to_bound(Tool *t, const IrValue *v, IrTensor *x, int64_t *count) {
    const IrShape *s = &v->type.shape;
    int axis = (int)ir_int(v->def, IR_ATTR_AXIS, 0);
    int64_t bound = s->dim[axis].c, rows = 1, each = 1;
    *count = x->rank == s->rank ? x->dim[axis] : -1;
    for (int i = 0; i < s->rank; i++)
        *(i < axis ? &rows : &each) *= i == axis ? 1 : s->dim[i].c;
    if (*count < 0 || *count >= bound || ir_tensor_elems(x) != rows * each * *count)
        return; // match() finds out
    size_t run = (size_t)each * (size_t)ir_dtype_bytes(x->dtype);
    IrTensor whole = *x;
    whole.dim[axis] = bound;
    whole.data = ir_alloc(t->arena, (size_t)(rows * bound) * run + 1);
    for (int64_t i = 0; i < rows; i++)
        memcpy((char *)whole.data + (size_t)(i * bound) * run,
               (const char *)x->data + (size_t)(i * *count) * run, (size_t)*count * run);
    *x = whole;
}

static bool match_output(Tool *t, const TestData *d, const IrGraph *g, int i, IrTensor *out,
                         int64_t *N) {
    const IrValue *v = g->outputs[i];
    int64_t count = -1;
    if (i >= d->n_out || v->def->op != IR_OP_BOUNDED)
        return match(t, d->dir, "output", d->out, d->n_out, i, v, &out[i], N);
    TestTensor stored = d->out[i];
    fill_to_bound(t, v, &stored.tensor, &count);
    for (int k = ir_own_outputs(g); k < g->n_outputs; k++) {
        if (g->outputs[k] == v->def->out[1]) {
            out[k] = ir_tensor_new(t->arena, &g->outputs[k]->type, 1);
            *(int64_t *)out[k].data = count;
        }
    }
    return match(t, d->dir, "output", &stored, 1, 0, v, &out[i], N);
}

bool test_data_match(Tool *t, const TestData *d, const IrGraph *all, const IrGraph *g, IrTensor *in,
                     IrTensor *out, int64_t *N) {
    bool ok = true;
    *N = -1;
    for (int i = 0; i < g->n_inputs && ok; i++)
        ok = match(t, d->dir, "input", d->in, d->n_in, find_input(all, g->inputs[i]->name),
                   g->inputs[i], &in[i], N);
    for (int i = 0; i < ir_own_outputs(g) && ok; i++)
        ok = match_output(t, d, g, i, out, N);
    return ok;
}

static uint64_t next_random(uint64_t *s) {
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

// Operand i of n says where something is, or how many are meant.
static bool is_place(const IrNode *n, int i) {
    static const int from[IR_OP_COUNT] = {
        [IR_OP_RESIZE] = 1,     [IR_OP_GATHER] = 1,           [IR_OP_GATHER_ELEMENTS] = 1,
        [IR_OP_GATHER_ND] = 1,  [IR_OP_SCATTER_ELEMENTS] = 1, [IR_OP_SCATTER_ND] = 1,
        [IR_OP_NMS] = 2,        [IR_OP_BOUNDED] = 1,          [IR_OP_ROI_ALIGN] = 2,
        [IR_OP_SOFTMAX_CE] = 1,
    };
    return n->op == IR_OP_CHECK || (from[n->op] && i >= from[n->op]);
}

static bool is_whole(IrDtype t) {
    return !ir_dtype_is_float(t) && t != IR_BOOL;
}

// Numbers of `input` come to such an operand, whatever is done with them as integers.
static bool names_places(IrArena *a, const IrGraph *g, const IrValue *input) {
    bool *of = ir_alloc_array(a, (size_t)g->next_id + 1, sizeof *of);
    of[input->id] = true;
    for (const IrNode *n = g->first; n; n = n->next)
        for (int i = 0; i < n->n_in; i++) {
            if (!ir_in(n, i) || !of[ir_in(n, i)->id])
                continue;
            if (is_place(n, i))
                return true;
            for (int k = 0; k < n->n_out; k++)
                of[n->out[k]->id] |= is_whole(n->out[k]->type.dtype);
        }
    return false;
}

static double draw_normal(uint64_t *seed) {
    double sum = 0;
    for (int k = 0; k < 4; k++)
        sum += (double)next_random(seed) / 2147483648.0 - 0.5;
    return sum * 1.7320508;
}

IrTensor test_data_random(IrArena *a, const IrGraph *g, int i, int64_t N, uint64_t seed) {
    const IrValue *input = g->inputs[i];
    IrDtype t = input->type.dtype;
    IrTensor x = ir_tensor_new(a, &input->type, N);
    bool picture = is_whole(t) && ir_dtype_bytes(t) <= 2 && !names_places(a, g, input);
    double low = ir_dtype_lowest(t);
    uint64_t many = picture ? (uint64_t)(ir_dtype_highest(t) - low) + 1 : 1;
    for (int64_t k = 0, n = ir_tensor_elems(&x); k < n; k++)
        ir_tensor_set(&x, k,
                      picture ? low + (double)(next_random(&seed) % many) : draw_normal(&seed));
    return x;
}
