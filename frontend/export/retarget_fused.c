// A classifier with its sigmoid in one node (com.microsoft), as ONNX Runtime's optimizers write it:
// taken apart, since the trained file may end in another activation.
#include "frontend/export/retarget_edit.h"

static bool is_sigmoid(const Onnx__AttributeProto *a) {
    static const char sigmoid[] = "Sigmoid";
    return strcmp(fe_text(a->name), "activation") == 0 && a->s.len == strlen(sigmoid) &&
           memcmp(a->s.data, sigmoid, a->s.len) == 0;
}

// The same product without "activation", "activation_alpha" and so on.
static void drop_activation(FeEdit *r, Onnx__NodeProto *n) {
    static const char prefix[] = "activation";
    Onnx__AttributeProto **old = n->attribute;
    size_t count = n->n_attribute;
    n->attribute = ir_alloc_array(r->arena, count + 1, sizeof *n->attribute);
    n->n_attribute = 0;
    for (size_t k = 0; k < count; k++) {
        if (strncmp(fe_text(old[k]->name), prefix, strlen(prefix)) != 0) {
            n->attribute[n->n_attribute++] = old[k];
        }
    }
    if (fe_is_op(n, "FusedMatMulActivation")) {
        n->op_type = ir_strdup(r->arena, "FusedMatMul");
    } else if (fe_is_op(n, "FusedGemm") && r->opset >= 11) { // from which on C may be left out
        n->op_type = ir_strdup(r->arena, "Gemm");
        n->domain = ir_strdup(r->arena, "");
    }
}

static void insert_sigmoid(FeEdit *r, size_t at, char *input, char *output) {
    Onnx__GraphProto *g = r->g;
    Onnx__NodeProto init = ONNX__NODE_PROTO__INIT, *n = FE_COPY_OF(r->arena, &init);
    n->op_type = ir_strdup(r->arena, "Sigmoid");
    n->name = ir_sprintf(r->arena, "%s.sigmoid", output);
    n->n_input = n->n_output = 1;
    n->input = fe_copy_array(r->arena, &input, 1, 0, sizeof input);
    n->output = fe_copy_array(r->arena, &output, 1, 0, sizeof output);
    g->node = fe_copy_array(r->arena, g->node, g->n_node, g->n_output + 1, sizeof *g->node);
    memmove(&g->node[at + 1], &g->node[at], (g->n_node - at) * sizeof *g->node);
    g->node[at] = n;
    g->n_node++;
}

void fe_edit_split_sigmoid(FeEdit *r, size_t i) {
    const Onnx__NodeProto *old = r->g->node[i];
    bool found = false;
    for (size_t k = 0; k < old->n_attribute; k++) {
        found = found || is_sigmoid(old->attribute[k]);
    }
    if (!found || strcmp(fe_text(old->domain), FE_MS_DOMAIN) != 0) {
        return;
    }
    Onnx__NodeProto *n = fe_edit_own_node(r, i);
    char *output = n->output[0];
    char *logits = (char *)fe_edit_new_name(r, ir_sprintf(r->arena, "%s.logits", output));
    n->output = fe_copy_array(r->arena, &logits, 1, 0, sizeof logits);
    drop_activation(r, n);
    insert_sigmoid(r, i + 1, logits, output);
    *ir_map_put(&r->on_path, logits) = r;
}
