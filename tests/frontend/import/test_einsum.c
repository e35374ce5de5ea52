// Einsum against a loop over all its labels.
#include "tests/frontend/import/import_case.h"

#include <ctype.h>

// The value of element i of operand k.
static float element(int k, int64_t i) {
    return (float)((i * 37 + k * 11) % 17 - 8) / 4;
}

typedef struct Equation {
    const char *text;  // as ONNX has it
    const char *plain; // the same without ellipsis, its axes being capitals, and with a result
    CaseShape in[3];
} Equation;

static const Equation equations[] = {
    {"ij->ji", "ij->ji", {{2, {3, 4}}}},
    {"ba", "ba->ab", {{2, {3, 4}}}},
    {"ii->i", "ii->i", {{2, {4, 4}}}},
    {"ii", "ii->", {{2, {4, 4}}}},
    {"ij->", "ij->", {{2, {3, 4}}}},
    {"ij->j", "ij->j", {{2, {3, 4}}}},
    {"iji->ij", "iji->ij", {{3, {3, 4, 3}}}},
    {"iji->ji", "iji->ji", {{3, {3, 4, 3}}}},
    {"iii->i", "iii->i", {{3, {3, 3, 3}}}},
    {"iijj->ij", "iijj->ij", {{4, {2, 2, 3, 3}}}},
    {"iij", "iij->j", {{3, {2, 2, 3}}}},
    {" i j , j k -> i k ", "ij,jk->ik", {{2, {3, 4}}, {2, {4, 5}}}},
    {"ij,jk", "ij,jk->ik", {{2, {3, 4}}, {2, {4, 5}}}},
    {"bj,ja", "bj,ja->ab", {{2, {3, 4}}, {2, {4, 5}}}},
    {"ij,jk->ki", "ij,jk->ki", {{2, {3, 4}}, {2, {4, 5}}}},
    {"bij,bjk->bik", "bij,bjk->bik", {{3, {2, 3, 4}}, {3, {2, 4, 5}}}},
    {"bhwi,bhwj->bij", "bhwi,bhwj->bij", {{4, {2, 3, 4, 5}}, {4, {2, 3, 4, 2}}}},
    {"i,j->ij", "i,j->ij", {{1, {3}}, {1, {4}}}},
    {"i,j->ji", "i,j->ji", {{1, {3}}, {1, {4}}}},
    {"ij,ij->", "ij,ij->", {{2, {3, 4}}, {2, {3, 4}}}},
    {"ij,ij->i", "ij,ij->i", {{2, {3, 4}}, {2, {3, 4}}}},
    {"ij,ji->ij", "ij,ji->ij", {{2, {3, 4}}, {2, {4, 3}}}},
    {"ij,k->k", "ij,k->k", {{2, {3, 4}}, {1, {5}}}},
    {"ij,kj,k->i", "ij,kj,k->i", {{2, {3, 4}}, {2, {5, 4}}, {1, {5}}}},
    {"a,ab,abc->cba", "a,ab,abc->cba", {{1, {2}}, {2, {2, 3}}, {3, {2, 3, 4}}}},
    {"ij,jk,kl->il", "ij,jk,kl->il", {{2, {2, 3}}, {2, {3, 4}}, {2, {4, 5}}}},
    {"iij,jkk->ik", "iij,jkk->ik", {{3, {2, 2, 3}}, {3, {3, 4, 4}}}},
    {",ij->ij", ",ij->ij", {{0}, {2, {2, 3}}}},
    {"ij,jk->ik", "ij,jk->ik", {{2, {3, 1}}, {2, {4, 5}}}}, // 1 broadcasts, summed
    {"bi,bi->bi", "bi,bi->bi", {{2, {1, 3}}, {2, {4, 3}}}}, // and kept
    {"Ba,Bc->aB", "Ba,Bc->aB", {{2, {2, 3}}, {2, {2, 4}}}},
    {"...->...", "XY->XY", {{2, {3, 4}}}},
    {"i...->...", "iX->X", {{2, {3, 4}}}},
    {"...i", "XYi->XYi", {{3, {2, 3, 4}}}},
    {"i...i->...i", "iXi->Xi", {{3, {2, 3, 2}}}},
    {"...ij,...jk->...ik", "Xij,Xjk->Xik", {{3, {2, 3, 4}}, {3, {2, 4, 5}}}},
    {"...ij,...jk", "XYij,Yjk->XYik", {{4, {2, 3, 2, 4}}, {3, {3, 4, 2}}}},
    {"...ij,...jk->ki...", "XYij,Yjk->kiXY", {{4, {2, 1, 2, 4}}, {3, {3, 4, 2}}}},
    {"...,...->...", "XY,Y->XY", {{2, {2, 3}}, {1, {3}}}},
    {"...i,...i->", "XYi,Yi->", {{3, {2, 3, 4}}, {2, {3, 4}}}},
    {"abcdefgh->hgfedcba", "abcdefgh->hgfedcba", {{8, {2, 1, 2, 1, 3, 1, 2, 1}}}},
    {"ij,kj->ik", "ij,kj->ik", {{2, {3, 0}}, {2, {2, 0}}}},
};

static int count_terms(const Equation *e) {
    int n = 1;
    for (const char *s = e->plain; *s != '-'; s++) {
        n += *s == ',';
    }
    return n;
}

// Where `at[]` points in an operand with these labels; axes of size 1 repeat.
static int64_t offset_of(const char *labels, const CaseShape *s, const int64_t *at) {
    int64_t offset = 0;
    for (int i = 0; i < s->rank; i++) {
        offset = offset * s->dim[i] + (s->dim[i] == 1 ? 0 : at[(unsigned char)labels[i]]);
    }
    return offset;
}

// The sum of products over all labels, into y[].
static int64_t sum_products(const Equation *e, double *y, CaseShape *out) {
    int64_t size[128] = {0}, at[128] = {0}, elems = 1;
    char used[128];
    int n_used = 0, n = count_terms(e), k = 0;
    const char *term[3] = {e->plain}, *result = strstr(e->plain, "->") + 2;
    for (const char *s = e->plain; *s != '-'; s++) {
        if (*s == ',') {
            term[++k] = s + 1;
        } else {
            int64_t d = e->in[k].dim[s - term[k]];
            if (!memchr(used, *s, (size_t)n_used)) {
                used[n_used++] = *s;
                size[(unsigned char)*s] = d;
            } else if (d != 1) {
                size[(unsigned char)*s] = d;
            }
        }
    }
    out->rank = (int)strlen(result);
    for (int i = 0; i < out->rank; i++) {
        out->dim[i] = size[(unsigned char)result[i]];
        elems *= out->dim[i];
    }
    memset(y, 0, (size_t)elems * sizeof *y);
    for (int i = 0; i < n_used; i++) {
        if (size[(unsigned char)used[i]] == 0) {
            return elems;
        }
    }
    for (bool more = true; more;) {
        double product = 1;
        for (int i = 0; i < n; i++) {
            product *= (double)element(i, offset_of(term[i], &e->in[i], at));
        }
        CaseShape whole = *out; // a result's axis of size 1 is at 0 anyway
        y[offset_of(result, &whole, at)] += product;
        more = false;
        for (int i = 0; i < n_used && !more; i++) {
            int64_t *a = &at[(unsigned char)used[i]];
            *a = *a + 1 < size[(unsigned char)used[i]] ? *a + 1 : 0;
            more = *a != 0;
        }
    }
    return elems;
}

static void check_equation(const Equation *e) {
    Import im;
    Pb g = {0}, node;
    int n = count_terms(e);
    node = make_node("Einsum", "e", n == 1 ? "a" : n == 2 ? "a b" : "a b c", "y");
    case_attr_str(&node, "equation", e->text);
    pb_msg(&g, 1, &node);
    for (int i = 0; i < n; i++) {
        put_input(&g, i == 0 ? "a" : i == 1 ? "b" : "c", e->in[i].rank, e->in[i].dim);
    }
    put_output(&g, "y");
    import_graph(&im, &g, 12, NULL);
    CHECK_STR_EQ(im.text, "");
    if (CHECK(im.prog != NULL)) {
        IrTensor in[3], out;
        double want[1024];
        CaseShape s;
        for (int i = 0; i < n; i++) {
            IrType t = {IR_F32, ir_shape_of(e->in[i].rank, e->in[i].dim), 0};
            in[i] = ir_tensor_new(im.arena, &t, 1);
            for (int64_t k = 0; k < ir_tensor_elems(&in[i]); k++) {
                ((float *)in[i].data)[k] = element(i, k);
            }
        }
        int64_t elems = sum_products(e, want, &s);
        CHECK_STR_EQ(ir_eval(im.prog->graphs[0], 1, in, &out, im.arena, NULL, NULL), NULL);
        bool same = out.rank == s.rank;
        for (int i = 0; i < s.rank && same; i++) {
            same = out.dim[i] == s.dim[i];
        }
        for (int64_t i = 0; i < elems && same; i++) {
            same = fabs(ir_tensor_get(&out, i) - want[i]) < 1e-4;
        }
        if (!CHECK(same)) {
            fprintf(stderr, "  in: %s\n", e->text);
        }
    }
    import_end(&im);
}

static void einsum(void) {
    for (size_t i = 0; i < sizeof equations / sizeof *equations; i++) {
        check_equation(&equations[i]);
    }
}

int main(void) {
    case_start();
    CHECK_RUN(einsum);
    case_end();
    return check_done();
}
