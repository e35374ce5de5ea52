// The names that are nearest to one that nobody knows: by the fewest insertions, deletions and
// changes of bytes, letters of either case being the same.
#include "ir/near.h"

#include <ctype.h>
#include <string.h>

enum { MOST_BYTES = 200 }; // of a name that are looked at

static int edit_distance(IrArena *arena, const char *a, const char *b) {
    int n = (int)strnlen(a, MOST_BYTES), m = (int)strnlen(b, MOST_BYTES);
    int *row = ir_alloc_array(arena, (size_t)m + 1, sizeof *row);
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

void ir_near_offer(IrNear *near, const char *name, size_t len) {
    const char *s = ir_strndup(near->arena, name, len);
    int d = edit_distance(near->arena, near->what, s), at = near->n;
    for (int i = 0; i < near->n; i++) {
        if (strcmp(near->name[i], s) == 0) {
            return;
        }
    }
    while (at > 0 && near->distance[at - 1] > d) {
        at--;
    }
    if (at == IR_NEAR) {
        return;
    }
    near->n += near->n < IR_NEAR;
    for (int i = near->n - 1; i > at; i--) {
        near->distance[i] = near->distance[i - 1];
        near->name[i] = near->name[i - 1];
    }
    near->distance[at] = d;
    near->name[at] = s;
}

const char *ir_near_list(const IrNear *near) {
    const char *list = "";
    for (int i = 0; i < near->n; i++) {
        list = ir_sprintf(near->arena, "%s%s'%s'", list, i ? ", " : "", near->name[i]);
    }
    return near->n ? list : "there are none";
}
