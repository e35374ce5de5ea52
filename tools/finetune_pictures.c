// How large the user's pictures are, by a few of them. Pictures smaller than what the network takes
// are enlarged anyway: to enlarge them more and cut off the margins again, as ImageNet's networks
// want it of photographs, loses what is there.
#define _GNU_SOURCE
#include "tools/finetune.h"

#include "runtime/image/image.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 8, EACH = 2 };

static int only_pictures(const struct dirent *e) {
    return rt_image_is_name(e->d_name);
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

// Shorter sides of the first pictures of a folder; returns how many. What cannot be read says
// nothing here.
static int look_at(IrArena *a, const char *folder, int side[EACH]) {
    struct dirent **list;
    int n = scandir(folder, &list, only_pictures, by_bytes), found = 0;
    for (int i = 0; i < n; i++) {
        RtImage image = {0};
        RtErr err;
        if (i < EACH &&
            rt_image_load(ir_sprintf(a, "%s/%s", folder, list[i]->d_name), 3, false, &image, &err))
            side[found++] = image.width < image.height ? image.width : image.height;
        rt_image_free(&image);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return found;
}

static int by_size(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

int tool_pictures_side(IrArena *a, const char *folder, const char *const *classes, int n) {
    int side[CLASSES * EACH], found = 0, most = n < CLASSES ? n : CLASSES;
    for (int k = 0; k < most; k++)
        found += look_at(a, ir_sprintf(a, "%s/%s", folder, classes[(int64_t)k * n / most]),
                         side + found);
    qsort(side, (size_t)found, sizeof *side, by_size);
    return found ? side[found / 2] : 0;
}
