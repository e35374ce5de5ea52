// Einsum-12 as transposes, reshapes, reductions and products. The equation's letters, and the axes
// that an ellipsis stands for, are labels; a term is an operand with a label per axis:
//
//   bij,bjk->bik    a product of matrices per b
//   ii->i           a diagonal: a slice of the flattened square
//   ij->j           a sum over i
//   ij,ij->i        an elementwise product, then a sum
//
// Operands are joined from left to right; what nobody needs any more is summed as early as it can
// be. Axes of size 1 broadcast.
#include "frontend/import.h"

#include <ctype.h>
#include <string.h>

enum { LETTERS = 52, LABELS = LETTERS + IR_MAX_RANK }; // those behind the letters: the ellipsis'

typedef uint64_t Labels; // a set

typedef struct Term {
    IrValue *v;
    int n; // axes
    int label[IR_MAX_RANK];
} Term;

typedef struct Equation {
    int n;       // terms
    Term *term;  // the operands
    Term result; // no value yet
} Equation;

static Labels bit(int label) {
    return (Labels)1 << label;
}

static Labels labels_of(const Term *t) {
    Labels s = 0;
    for (int i = 0; i < t->n; i++) {
        s |= bit(t->label[i]);
    }
    return s;
}

// ---------------------------------------------------------------- the equation

// Capitals first, as ASCII has them: the order of labels in an implicit result.
static int label_of(char c) {
    return c >= 'a' ? c - 'a' + 26 : c - 'A';
}

// Letters and at most one ellipsis at *text, up to the end, a comma or an arrow. The ellipsis
// stands for the last `dots` of its labels, or with dots -1 for the axes that rank `rank` leaves.
static bool parse_term(FeNode *n, const char **text, int rank, int dots, Term *t, int *n_dots) {
    char label[IR_MAX_RANK + 1];
    int at = -1, count = 0;
    const char *s = *text;
    for (; *s && *s != ',' && *s != '-' && !n->refused; s++) {
        if (*s == ' ') {
            continue;
        }
        if (strncmp(s, "...", 3) == 0 && at < 0) {
            at = count;
            s += 2;
        } else if (!isascii(*s) || !isalpha((unsigned char)*s) || count == IR_MAX_RANK) {
            fe_refuse(n, "its equation has '%.20s' where up to %d letters and one ... may stand", s,
                      IR_MAX_RANK);
        } else {
            label[count++] = *s;
        }
    }
    int free = dots >= 0 ? (at >= 0 ? dots : 0) : rank - count;
    if (!n->refused && (free < 0 || (at < 0 && free > 0) || count + free > IR_MAX_RANK)) {
        fe_refuse(n, "a term of its equation names %d axes of an operand of rank %d", count, rank);
    }
    if (n->refused) {
        return false;
    }
    for (int i = 0; i <= count; i++) {
        for (int k = 0; i == at && k < free; k++) {
            t->label[t->n++] = LABELS - free + k;
        }
        if (i < count) {
            t->label[t->n++] = label_of(label[i]);
        }
    }
    *n_dots = free > *n_dots ? free : *n_dots;
    *text = s;
    return true;
}

// Without an arrow: the ellipsis, then the letters that stand once, in order.
static void make_result(FeNode *n, Equation *e, int n_dots) {
    int times[LABELS] = {0};
    for (int k = 0; k < e->n; k++) {
        for (int i = 0; i < e->term[k].n; i++) {
            times[e->term[k].label[i]]++;
        }
    }
    Term *r = &e->result;
    for (int l = LABELS - n_dots; l < LABELS + LETTERS; l++) {
        int label = l < LABELS ? l : l - LABELS;
        if (l >= LABELS && times[label] != 1) {
            continue;
        }
        if (r->n == IR_MAX_RANK) {
            fe_refuse(n, "its result has more than %d axes", IR_MAX_RANK);
            return;
        }
        r->label[r->n++] = label;
    }
}

static void check_result(FeNode *n, const Equation *e) {
    Labels known = 0, seen = 0;
    for (int k = 0; k < e->n; k++) {
        known |= labels_of(&e->term[k]);
    }
    for (int i = 0; i < e->result.n; i++) {
        Labels l = bit(e->result.label[i]);
        if (!(known & l) || (seen & l)) {
            fe_refuse(n, "axis %d of its result is in no operand, or stands twice", i);
        }
        seen |= l;
    }
}

static bool parse_equation(FeNode *n, const char *text, Equation *e) {
    int n_dots = 0;
    e->n = n->n_in;
    e->term = ir_alloc_array(n->fe->arena, (size_t)e->n + 1, sizeof *e->term);
    for (int k = 0; k < e->n && !n->refused; k++) {
        Term *t = &e->term[k];
        t->v = fe_operand(n, k);
        if (k > 0 && *text++ != ',') {
            fe_refuse(n, "its equation has fewer terms than operands");
        }
        if (n->refused || !parse_term(n, &text, t->v->type.shape.rank, -1, t, &n_dots)) {
            return false;
        }
    }
    if (n->refused || e->n == 0 || *text == ',') {
        fe_refuse(n, "its equation has another number of terms than operands");
        return false;
    }
    if (!*text) {
        make_result(n, e, n_dots);
    } else if (strncmp(text, "->", 2) != 0) {
        fe_refuse(n, "its equation has '%.20s' where '->' is expected", text);
    } else {
        text += 2;
        if (!parse_term(n, &text, 0, n_dots, &e->result, &n_dots)) {
            return false;
        }
        if (*text) {
            fe_refuse(n, "its equation goes on behind the result");
        }
    }
    check_result(n, e);
    return !n->refused;
}

// ---------------------------------------------------------------- one term

static int find_label(const Term *t, int label) {
    for (int i = 0; i < t->n; i++) {
        if (t->label[i] == label) {
            return i;
        }
    }
    return -1;
}

static void drop_axis(Term *t, int axis) {
    memmove(&t->label[axis], &t->label[axis + 1], (size_t)(t->n - axis - 1) * sizeof *t->label);
    t->n--;
}

static void sum_axis(FeNode *n, Term *t, int axis) {
    int64_t v = axis;
    t->v = fe_reduce(n, IR_OP_REDUCE_SUM, t->v, (IrInts){1, &v}, false);
    drop_axis(t, axis);
}

static IrValue *permute(FeNode *n, IrValue *v, int rank, const int64_t *perm) {
    bool same = true;
    for (int i = 0; i < rank; i++) {
        same &= perm[i] == i;
    }
    return same ? v : fe_transpose(n, v, rank, perm);
}

// Axes a < b have one label: the elements where both have one index, along axis b's place, which
// becomes the last.
static void take_diagonal(FeNode *n, Term *t, int a, int b) {
    IrShape s = t->v->type.shape, flat = {.rank = t->n - 1}, part;
    int64_t perm[IR_MAX_RANK], start[IR_MAX_RANK] = {0}, step[IR_MAX_RANK];
    IrDim d = s.dim[a];
    int label = t->label[a], k = 0;
    if (d.n || !ir_dim_eq(d, s.dim[b])) {
        fe_refuse(n, "axes %d and %d of an operand have one label and not one fixed size", a, b);
        return;
    }
    for (int i = 0; i < t->n; i++) {
        if (i != a && i != b) {
            step[k] = 1;
            flat.dim[k] = s.dim[i];
            perm[k++] = i;
        }
    }
    perm[k] = a;
    perm[k + 1] = b;
    if (!ir_dim_mul(d, d, &flat.dim[k])) {
        fe_refuse(n, "axis %d of an operand is too large", a);
        return;
    }
    step[k] = d.c + 1;
    part = flat;
    part.dim[k] = d;
    IrValue *square = fe_reshape(n, permute(n, t->v, t->n, perm), &flat);
    t->v = fe_build(n, IR_OP_SLICE, FE_IN(square),
                    FE_WITH(fe_ints_attr(n, IR_ATTR_START, flat.rank, start),
                            fe_ints_attr(n, IR_ATTR_STEP, flat.rank, step),
                            ir_attr_dims(IR_ATTR_SHAPE, &part)));
    drop_axis(t, b);
    drop_axis(t, a);
    t->label[t->n++] = label;
}

// Each label once, and none that nobody else needs.
static void simplify(FeNode *n, Term *t, Labels needed) {
    for (int a = 0; a < t->n && !n->refused; a++) {
        for (int b = a + 1; b < t->n && !n->refused; b++) {
            if (t->label[a] == t->label[b]) {
                take_diagonal(n, t, a, b);
                a = b = -1; // from the start: the axes have moved
                break;
            }
        }
    }
    for (int i = t->n - 1; i >= 0 && !n->refused; i--) {
        if (!(bit(t->label[i]) & needed)) {
            sum_axis(n, t, i);
        }
    }
}

// t with the axes of each group as one, in order of their labels; every label of t is in a group.
static IrValue *arrange(FeNode *n, const Term *t, int n_groups, const Labels *group) {
    int64_t perm[IR_MAX_RANK];
    IrShape s = {.rank = n_groups};
    int k = 0;
    for (int g = 0; g < n_groups; g++) {
        s.dim[g] = ir_dim(1);
        for (int l = 0; l < LABELS && !n->refused; l++) {
            int axis = group[g] & bit(l) ? find_label(t, l) : -1;
            if (axis >= 0) {
                perm[k++] = axis;
                if (!ir_dim_mul(s.dim[g], t->v->type.shape.dim[axis], &s.dim[g])) {
                    fe_refuse(n, "NYI: a product over two axes that depend on the batch size");
                }
            }
        }
    }
    return n->refused ? NULL : fe_reshape(n, permute(n, t->v, t->n, perm), &s);
}

// ---------------------------------------------------------------- two terms

// Makes the axes that a and b share equal where one is of size 1.
static void match_axes(FeNode *n, Term *a, Term *b, Labels needed) {
    for (int i = a->n - 1; i >= 0 && !n->refused; i--) {
        int label = a->label[i], k = find_label(b, label);
        if (k < 0 || ir_dim_eq(a->v->type.shape.dim[i], b->v->type.shape.dim[k])) {
            continue;
        }
        bool a_is_one = ir_dim_is(a->v->type.shape.dim[i], 1);
        Term *one = a_is_one ? a : b, *full = a_is_one ? b : a;
        int at_one = a_is_one ? i : k, at_full = a_is_one ? k : i;
        if (!ir_dim_is(one->v->type.shape.dim[at_one], 1)) {
            fe_refuse(n, "one label has two sizes, %lld and %lld",
                      (long long)a->v->type.shape.dim[i].c, (long long)b->v->type.shape.dim[k].c);
        } else if (bit(label) & needed) {
            IrShape s = one->v->type.shape;
            s.dim[at_one] = full->v->type.shape.dim[at_full];
            one->v =
                fe_build(n, IR_OP_EXPAND, FE_IN(one->v), FE_WITH(ir_attr_dims(IR_ATTR_SHAPE, &s)));
        } else {
            sum_axis(n, one, at_one);
            sum_axis(n, full, at_full);
        }
    }
}

// The labels of a set, each with its size, appended to a shape; `from` has them.
static void append(FeNode *n, Term *t, IrShape *s, Labels set, const Term *from) {
    for (int l = 0; l < LABELS && !n->refused; l++) {
        if (!(set & bit(l))) {
            continue;
        }
        if (t->n == IR_MAX_RANK) {
            fe_refuse(n, "NYI: a product of more than %d axes", IR_MAX_RANK);
            return;
        }
        s->dim[t->n] = from->v->type.shape.dim[find_label(from, l)];
        t->label[t->n++] = l;
        s->rank = t->n;
    }
}

// a * b, summed over the labels that both have and nobody needs.
static Term join(FeNode *n, Term *a, Term *b, Labels needed) {
    Term y = {0};
    IrShape s = {0};
    match_axes(n, a, b, needed);
    if (n->refused) {
        return y;
    }
    Labels la = labels_of(a), lb = labels_of(b), both = la & lb;
    Labels each = both & needed, summed = both & ~needed, left = la & ~lb, right = lb & ~la;
    append(n, &y, &s, each, a);
    append(n, &y, &s, left, a);
    append(n, &y, &s, right, b);
    if (!left && !right) {
        const Labels group[] = {each, summed};
        y.v = fe_bin(n, IR_OP_MUL, arrange(n, a, 2, group), arrange(n, b, 2, group));
        y.v = summed ? fe_reduce(n, IR_OP_REDUCE_SUM, y.v, (IrInts){1, &(int64_t){1}}, false) : y.v;
    } else {
        const Labels rows[] = {each, left, summed}, columns[] = {each, summed, right};
        int skip = each ? 0 : 1; // a plain product of matrices
        y.v = fe_bin(n, summed ? IR_OP_MATMUL : IR_OP_MUL, arrange(n, a, 3 - skip, rows + skip),
                     arrange(n, b, 3 - skip, columns + skip));
    }
    y.v = n->refused ? NULL
                     : fe_cast(n, fe_reshape(n, y.v, &s), a->v->type.dtype); // i8: sums are i32
    return y;
}

void fe_import_einsum(FeNode *n) {
    const char *text = fe_attr_str(n, "equation", NULL);
    Equation e = {0};
    if (!text) {
        fe_refuse(n, "it has no equation");
    }
    if (n->refused || !parse_equation(n, text, &e)) {
        return;
    }
    Labels result = labels_of(&e.result);
    for (int k = 0; k < e.n; k++) {
        Labels others = result;
        for (int i = 0; i < e.n; i++) {
            others |= i != k ? labels_of(&e.term[i]) : 0;
        }
        simplify(n, &e.term[k], others);
    }
    Term y = e.term[0];
    for (int k = 1; k < e.n && !n->refused; k++) {
        Labels needed = result;
        for (int i = k + 1; i < e.n; i++) {
            needed |= labels_of(&e.term[i]);
        }
        y = join(n, &y, &e.term[k], needed);
    }
    int64_t perm[IR_MAX_RANK] = {0};
    for (int i = 0; i < e.result.n && !n->refused; i++) {
        perm[i] = find_label(&y, e.result.label[i]);
    }
    IrValue *v = n->refused ? NULL : permute(n, y.v, y.n, perm);
    if (v && v == fe_operand(n, 0)) {
        fe_out_alias(n, 0, 0);
    } else {
        fe_out(n, 0, v);
    }
}
