// Declares the structures of HONE_TABLES, a file of rows as abi.def. Included by abi.h's only.
#define HONE_STRUCT(S)                                                                             \
    typedef struct S S;                                                                            \
    struct S {
#define HONE_FIELD(S, type, name) type name;
#define HONE_ARRAY(S, type, name, n) type name[n];
#define HONE_TEXT(S, name) const char *name;
#define HONE_TEXTS(S, name, count) const char *const *name;
#define HONE_TABLE(S, type, name, count) const type *name;
#define HONE_SYMBOL(S, type, name) const type *name;
#define HONE_END(S, bytes)                                                                         \
    }                                                                                              \
    ;                                                                                              \
    _Static_assert(sizeof(S) == (bytes), "another layout: HONE_ABI + 1");
#include HONE_TABLES
#undef HONE_STRUCT
#undef HONE_FIELD
#undef HONE_ARRAY
#undef HONE_TEXT
#undef HONE_TEXTS
#undef HONE_TABLE
#undef HONE_SYMBOL
#undef HONE_END
#undef HONE_TABLES
