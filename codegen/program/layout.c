// See layout.h. What a structure holds is read off the rows of the .def files: the same rows that
// declare it in C.
#include "codegen/program/layout.h"
#include "codegen/program/program.h"

#include <llvm-c/Target.h>
#include <string.h>

enum {
    T_int32_t,
    T_uint32_t,
    T_int64_t,
    T_float,
#define HONE_STRUCT(S) T_##S,
#include "codegen/program/abi_rows.def"
    N_TYPES
};

typedef enum Kind { FIELD, ARRAY, TEXT, TEXTS, TABLE, SYMBOL } Kind;

typedef struct Row { // a field
    int owner;       // T_*
    Kind kind;
    int type;        // T_*, of a FIELD, or of elements
    size_t at;       // offset
    size_t n;        // of an ARRAY
    size_t count_at; // of TEXTS and TABLE: offset of the int32_t that says how many
    const char *name;
} Row;

static const Row rows[] = {
#define HONE_FIELD(S, type, name) {T_##S, FIELD, T_##type, offsetof(S, name), 1, 0, #S "." #name},
#define HONE_ARRAY(S, type, name, n)                                                               \
    {T_##S, ARRAY, T_##type, offsetof(S, name), n, 0, #S "." #name},
#define HONE_TEXT(S, name) {T_##S, TEXT, 0, offsetof(S, name), 1, 0, #S "." #name},
#define HONE_TEXTS(S, name, count)                                                                 \
    {T_##S, TEXTS, 0, offsetof(S, name), 1, offsetof(S, count), #S "." #name},
#define HONE_TABLE(S, type, name, count)                                                           \
    {T_##S, TABLE, T_##type, offsetof(S, name), 1, offsetof(S, count), #S "." #name},
#define HONE_SYMBOL(S, type, name) {T_##S, SYMBOL, 0, offsetof(S, name), 1, 0, #S "." #name},
#include "codegen/program/abi_rows.def"
};

static const size_t sizes[N_TYPES] = {
    [T_int32_t] = 4,
    [T_uint32_t] = 4,
    [T_int64_t] = 8,
    [T_float] = 4,
#define HONE_END(S, bytes) [T_##S] = sizeof(S),
#include "codegen/program/abi_rows.def"
};

enum { N_ROWS = sizeof rows / sizeof *rows, MAX_FIELDS = 40 };

typedef struct Text {
    const char *text;
    LLVMValueRef global;
} Text;

typedef struct Table { // of a structure, or several
    const void *from;  // in this process
    LLVMValueRef global;
} Table;

struct CgLayout {
    IrArena *arena;
    LLVMModuleRef m;
    LLVMContextRef ctx;
    LLVMTypeRef i8, i64, ptr, type[N_TYPES];
    const Row *first[N_TYPES]; // of a structure's fields
    int n_rows[N_TYPES];
    CgTable text_table; // equal texts stand once
    int n_texts, cap_texts;
    Text *texts;
    CgTable table_table; // tables that several structures have stand once: labels, steps of init
    int n_tables, cap_tables;
    Table *tables;
};

// ---------------------------------------------------------------- types

static LLVMTypeRef row_type(const CgLayout *l, const Row *r) {
    return r->kind == FIELD   ? l->type[r->type]
           : r->kind == ARRAY ? LLVMArrayType2(l->type[r->type], r->n)
                              : l->ptr;
}

// Of rows [first, end), which are one structure's
static void add_struct(CgLayout *l, LLVMTargetDataRef data, int first, int end) {
    int t = rows[first].owner, n = end - first;
    LLVMTypeRef field[MAX_FIELDS];
    if (n > MAX_FIELDS)
        ir_bug("codegen", rows[first].name, "%d fields", n);
    for (int i = 0; i < n; i++)
        field[i] = row_type(l, &rows[first + i]);
    l->type[t] = LLVMStructTypeInContext(l->ctx, field, (unsigned)n, 0);
    l->first[t] = &rows[first];
    l->n_rows[t] = n;
    for (int i = 0; i < n; i++)
        if (LLVMOffsetOfElement(data, l->type[t], (unsigned)i) != rows[first + i].at)
            ir_bug("codegen", rows[first + i].name, "LLVM puts it elsewhere than C");
    if (LLVMABISizeOfType(data, l->type[t]) != sizes[t])
        ir_bug("codegen", rows[first].name, "LLVM's structure has another size than C's");
}

CgLayout *cg_layout_new(IrArena *a, LLVMModuleRef m) {
    CgLayout *l = ir_alloc(a, sizeof *l);
    l->arena = a;
    l->m = m;
    l->ctx = LLVMGetModuleContext(m);
    l->i8 = LLVMInt8TypeInContext(l->ctx);
    l->i64 = l->type[T_int64_t] = LLVMInt64TypeInContext(l->ctx);
    l->type[T_int32_t] = l->type[T_uint32_t] = LLVMInt32TypeInContext(l->ctx);
    l->type[T_float] = LLVMFloatTypeInContext(l->ctx);
    l->ptr = LLVMPointerTypeInContext(l->ctx, 0);
    LLVMTargetDataRef data = LLVMGetModuleDataLayout(m);
    for (int i = 0, first = 0; i <= N_ROWS; i++)
        if (i == N_ROWS || rows[i].owner != rows[first].owner) {
            add_struct(l, data, first, i);
            first = i;
        }
    return l;
}

// ---------------------------------------------------------------- values

static LLVMValueRef private_data(CgLayout *l, LLVMValueRef init) {
    LLVMValueRef g = LLVMAddGlobal(l->m, LLVMTypeOf(init), "");
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    return g;
}

static LLVMValueRef text_value(CgLayout *l, const char *s) {
    if (!s)
        return LLVMConstNull(l->ptr);
    uint64_t h = cg_hash(s, strlen(s));
    size_t probe = 0;
    for (int i; (i = cg_table_find(&l->text_table, h, &probe)) >= 0;)
        if (strcmp(l->texts[i].text, s) == 0)
            return l->texts[i].global;
    LLVMValueRef g = private_data(l, LLVMConstStringInContext(l->ctx, s, (unsigned)strlen(s), 0));
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    cg_table_add(&l->text_table, l->arena, h, l->n_texts);
    Text text = {s, g};
    IR_PUSH(l->arena, l->texts, l->n_texts, l->cap_texts, text);
    return g;
}

void *cg_symbol(IrArena *a, const char *name, int64_t offset) {
    CgSymbol *s = ir_alloc(a, sizeof *s);
    *s = (CgSymbol){name, offset};
    return s;
}

static LLVMValueRef find_symbol(CgLayout *l, const char *name) {
    LLVMValueRef g = LLVMGetNamedFunction(l->m, name);
    g = g ? g : LLVMGetNamedGlobal(l->m, name);
    if (!g) {
        g = LLVMAddGlobal(l->m, l->i8, name);
        LLVMSetVisibility(g, LLVMHiddenVisibility);
    }
    return g;
}

static LLVMValueRef symbol_value(CgLayout *l, const CgSymbol *s) {
    if (!s)
        return LLVMConstNull(l->ptr);
    LLVMValueRef at = LLVMConstInt(l->i64, (uint64_t)s->offset, 1), g = find_symbol(l, s->name);
    return s->offset ? LLVMConstInBoundsGEP2(l->i8, g, &at, 1) : g;
}

static LLVMValueRef scalar_value(const CgLayout *l, int type, const char *at) {
    float f;
    int32_t x;
    int64_t y;
    switch (type) {
    case T_float:
        memcpy(&f, at, sizeof f);
        return LLVMConstReal(l->type[type], f);
    case T_int64_t:
        memcpy(&y, at, sizeof y);
        return LLVMConstInt(l->type[type], (uint64_t)y, 1);
    default:
        memcpy(&x, at, sizeof x);
        return LLVMConstInt(l->type[type], (uint64_t)x, 1);
    }
}

static LLVMValueRef type_value(CgLayout *l, int type, const char *at);

static LLVMValueRef array_value(CgLayout *l, int type, size_t n, const char *at) {
    LLVMValueRef *v = ir_alloc_array(l->arena, n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = type_value(l, type, at + i * sizes[type]);
    return LLVMConstArray2(l->type[type], v, n);
}

static LLVMValueRef texts_value(CgLayout *l, size_t n, const char *const *text) {
    LLVMValueRef *v = ir_alloc_array(l->arena, n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = text_value(l, text[i]);
    return LLVMConstArray2(l->ptr, v, n);
}

// Of n texts or structures at `from`
static LLVMValueRef table_value(CgLayout *l, const Row *r, size_t n, const void *from) {
    uint64_t h = cg_hash(&from, sizeof from);
    size_t probe = 0;
    for (int i; (i = cg_table_find(&l->table_table, h, &probe)) >= 0;)
        if (l->tables[i].from == from)
            return l->tables[i].global;
    Table table = {from, private_data(l, r->kind == TEXTS ? texts_value(l, n, from)
                                                          : array_value(l, r->type, n, from))};
    cg_table_add(&l->table_table, l->arena, h, l->n_tables);
    IR_PUSH(l->arena, l->tables, l->n_tables, l->cap_tables, table);
    return table.global;
}

static LLVMValueRef row_value(CgLayout *l, const Row *r, const char *x) {
    const char *at = x + r->at;
    const void *to = NULL;
    int32_t n = 0;
    if (r->kind == FIELD)
        return type_value(l, r->type, at);
    if (r->kind == ARRAY)
        return array_value(l, r->type, r->n, at);
    memcpy(&to, at, sizeof to);
    if (r->kind == TEXT)
        return text_value(l, to);
    if (r->kind == SYMBOL)
        return symbol_value(l, to);
    memcpy(&n, x + r->count_at, sizeof n);
    if (n == 0 || !to)
        return LLVMConstNull(l->ptr);
    return table_value(l, r, (size_t)n, to);
}

static LLVMValueRef type_value(CgLayout *l, int type, const char *at) {
    if (!l->n_rows[type])
        return scalar_value(l, type, at);
    LLVMValueRef v[MAX_FIELDS];
    for (int i = 0; i < l->n_rows[type]; i++)
        v[i] = row_value(l, &l->first[type][i], at);
    return LLVMConstStructInContext(l->ctx, v, (unsigned)l->n_rows[type], 0);
}

// ---------------------------------------------------------------- globals

// A global may be declared already, by a symbol that named it: it stays hidden then.
static LLVMValueRef define(CgLayout *l, const char *symbol, LLVMValueRef init) {
    LLVMValueRef declared = LLVMGetNamedGlobal(l->m, symbol);
    LLVMValueRef g = LLVMAddGlobal(l->m, LLVMTypeOf(init), declared ? "" : symbol);
    if (declared) {
        LLVMSetVisibility(g, LLVMGetVisibility(declared));
        LLVMReplaceAllUsesWith(declared, g);
        LLVMDeleteGlobal(declared);
        LLVMSetValueName2(g, symbol, strlen(symbol));
    }
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetAlignment(g, 16);
    return g;
}

void cg_layout_model(CgLayout *l, const char *symbol, const HoneModelDesc *x) {
    define(l, symbol, type_value(l, T_HoneModelDesc, (const char *)x));
}

void cg_layout_train(CgLayout *l, const char *symbol, const HoneTrainDesc *x) {
    define(l, symbol, type_value(l, T_HoneTrainDesc, (const char *)x));
}

void cg_layout_functions(CgLayout *l, const char *symbol, int n, const char *const *names) {
    LLVMValueRef *v = ir_alloc_array(l->arena, (size_t)n + 1, sizeof *v);
    for (int i = 0; i < n; i++)
        v[i] = find_symbol(l, names[i]);
    LLVMSetVisibility(define(l, symbol, LLVMConstArray2(l->ptr, v, (uint64_t)n)),
                      LLVMHiddenVisibility);
}
