// Names of parameters and nodes as users give them: globs, beginnings, and near ones where a name
// matches nothing.
#include "ir/near.h"
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

// Names and their beginnings, up to each '/' and '.'.
static void offer_prefixes(IrNear *near, const char *name) {
    name = pass_bare_name(name);
    for (const char *s = name; *s; s++) {
        if ((*s == '/' || *s == '.') && s > name) {
            ir_near_offer(near, name, (size_t)(s - name));
        }
    }
    ir_near_offer(near, name, strlen(name));
}

void pass_report_unknown(PassContext *ctx, const char *flag, const char *what,
                         const PassParam *params, int n) {
    IrNear near = {.arena = ctx->scratch, .what = what};
    for (int i = 0; i < n; i++) {
        offer_prefixes(&near, params[i].konst->origin);
        offer_prefixes(&near, params[i].reader->name);
    }
    ir_error(ctx->prog->diag, IR_NOWHERE, "%s '%s' is the name of no parameter or node; near: %s",
             flag, what, ir_near_list(&near));
}
