/* Classes of images, from C: classify IMAGE... The library's header is the only one it takes.
 *
 * An instance serves one call at a time; threads have one each, or share a pool. */
#include "libnet.h"

#include <stdio.h>

enum { TOP = 3 };

int main(int argc, char **argv) {
    char why[256];
    HoneModel *model = hone_net_create(NULL, why, sizeof why);
    if (!model) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        HoneClass top[TOP];
        int n = hone_net_classify_file(model, argv[i], TOP, top);
        if (n < 0)
            fprintf(stderr, "%s\n", hone_net_error(model));
        for (int k = 0; k < n; k++)
            printf("%.4f %s\n", top[k].score, top[k].label ? top[k].label : "?");
        bad += n < 0;
    }
    hone_net_destroy(model);
    return bad != 0;
}
