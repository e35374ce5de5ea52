// What differs between the options of two runs, and texts that no program wrote: they come from
// files.
#include "runtime/train/options_diff.h"

#include "tests/check.h"

#include <string.h>

static void test_names(void) {
    char text[600];
    CHECK_STR_EQ(rt_options_diff("seed=1 batch=16", "seed=1 batch=16", text, sizeof text), "");
    CHECK_STR_EQ(rt_options_diff("seed=1 batch=16 augment=imagenet,scale:0.1-1",
                                 "seed=2 batch=16 augment=none", text, sizeof text),
                 "--seed 1, now 2; --augment imagenet,scale:0.1-1, now none");
    CHECK_STR_EQ(rt_options_diff("mix=0:0:1:0.5 stage0=3:0.1:0:0 stage12=4:0.1:0:1",
                                 "mix=0.2:0:1:0.5 stage0=3:0.1:2:0 stage12=4:0.2:0:1", text,
                                 sizeof text),
                 "--mixup 0, now 0.2; --opt of stage 1 is another; --lr of stage 13 0.1, now 0.2");
    CHECK_STR_EQ(rt_options_diff("stage0=1:1:1:1", "stage0=2:1:1:1", text, sizeof text),
                 "--epochs of stage 1 1, now 2 (+N goes on with a finished run)");
    CHECK_STR_EQ(rt_options_diff("seed=1", "seed=1 folds=5", text, sizeof text),
                 "--k-fold none, now 5");
    CHECK_STR_EQ(rt_options_diff("seed=1 folds=5", "seed=1 folds=4", text, sizeof text),
                 "--k-fold 5, now 4");
    CHECK_STR_EQ(rt_options_diff("seed=1 scaled", "seed=1", text, sizeof text), "'scaled', now ''");
}

static void test_foreign_texts(void) {
    static const char *const had[] = {"",       "stage0", "stage99999999999999999999=1",
                                      "seed",   "=",      "seed= stage1=:::::::: mix=",
                                      "batch=", "   ",    "stage18446744073709551615=1:2"};
    char text[600], small[8], wide[2000];
    for (size_t i = 0; i < sizeof had / sizeof *had; i++) {
        CHECK(*rt_options_diff(had[i], "seed=1 stage1=1:2:3:4", text, sizeof text));
        CHECK(*rt_options_diff("seed=1 stage1=1:2:3:4", had[i], small, sizeof small));
        CHECK(strlen(small) < sizeof small);
    }
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = 0;
    CHECK(strlen(rt_options_diff(wide, "seed=1", text, sizeof text)) < sizeof text);
}

int main(void) {
    CHECK_RUN(test_names);
    CHECK_RUN(test_foreign_texts);
    return check_done();
}
