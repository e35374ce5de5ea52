// Names of parameters and nodes as users give them. Private to passes/train/.
#ifndef PASSES_TRAIN_MATCH_H
#define PASSES_TRAIN_MATCH_H

#include "passes/passes.h"

const char *pass_bare_name(const char *name); // without the '/' in front

typedef enum PassMatch { PASS_NO_MATCH, PASS_BEGINS, PASS_BEGINS_WORD } PassMatch;
// Does `name` begin with `what`, n bytes; at the end of a word, so that layer1 is not layer10?
PassMatch pass_match_prefix(const char *name, const char *what, size_t n);

// An error: `what`, given with `flag`, is no name of these or of their readers; near ones are
// listed.
void pass_report_unknown(PassContext *ctx, const char *flag, const char *what,
                         const PassParam *params, int n);

#endif
