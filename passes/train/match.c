// Names of parameters and nodes as users give them: globs, beginnings, and near ones where a name
// matches nothing.
#include "passes/train/match.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

const char *pass_bare_name(const char *name) {
    return *name == '/' ? name + 1 : name;
}

bool pass_glob(const char *glob, const PassParam *p) {
    const char *names[] = {p->konst->origin, p->reader->name, pass_bare_name(p->reader->name)};
    for (int i = 0; i < 3; i++) {
        if (fnmatch(glob, names[i], 0) == 0) {
            return true;
        }
    }
    return false;
}

PassMatch pass_match_prefix(const char *name, const char *what, size_t n) {
    name = pass_bare_name(name);
    if (n == 0 || strncmp(name, what, n) != 0) {
        return PASS_NO_MATCH;
    }
    return isalnum((unsigned char)name[n]) ? PASS_BEGINS : PASS_BEGINS_WORD;
}

static int edit_distance(PassContext *ctx, const char *a, const char *b) {
    int n = (int)strnlen(a, 200), m = (int)strnlen(b, 200);
    int *row = ir_alloc_array(ctx->scratch, (size_t)m + 1, sizeof *row);
    for (int j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int change =
                diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            int step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < step ? change : step;
        }
    }
    return row[m];
}

enum { NEAR = 5 };
typedef struct Near {
    int n, distance[NEAR];
    const char *name[NEAR];
} Near;

static void offer(PassContext *ctx, Near *near, const char *what, const char *name, size_t len) {
    const char *s = ir_strndup(ctx->scratch, name, len);
    int d = edit_distance(ctx, what, s), at = near->n;
    for (int i = 0; i < near->n; i++) {
        if (strcmp(near->name[i], s) == 0) {
            return;
        }
    }
    while (at > 0 && near->distance[at - 1] > d) {
        at--;
    }
    if (at == NEAR) {
        return;
    }
    near->n += near->n < NEAR;
    for (int i = near->n - 1; i > at; i--) {
        near->distance[i] = near->distance[i - 1];
        near->name[i] = near->name[i - 1];
    }
    near->distance[at] = d;
    near->name[at] = s;
}

// Names and their beginnings, up to each '/' and '.'.
static void offer_prefixes(PassContext *ctx, Near *near, const char *what, const char *name) {
    name = pass_bare_name(name);
    for (const char *s = name; *s; s++) {
        if ((*s == '/' || *s == '.') && s > name) {
            offer(ctx, near, what, name, (size_t)(s - name));
        }
    }
    offer(ctx, near, what, name, strlen(name));
}

void pass_report_unknown(PassContext *ctx, const char *flag, const char *what,
                         const PassParam *params, int n) {
    Near near = {0};
    for (int i = 0; i < n; i++) {
        offer_prefixes(ctx, &near, what, params[i].konst->origin);
        offer_prefixes(ctx, &near, what, params[i].reader->name);
    }
    const char *list = "";
    for (int i = 0; i < near.n; i++) {
        list = ir_sprintf(ctx->scratch, "%s%s'%s'", list, i ? ", " : "", near.name[i]);
    }
    ir_error(ctx->prog->diag, IR_NOWHERE, "%s '%s' is the name of no parameter or node; near: %s",
             flag, what, near.n ? list : "there are none");
}
