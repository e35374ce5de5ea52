// Guard pages trap what they should, at either end, and say where.
#include "tests/check.h"
#include "tests/codegen/rig/guard.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Touch {
    bool at_end, sealed, write;
    long at; // byte of a buffer of 100
    const char *says;
} Touch;

static const Touch touches[] = {
    {true, false, false, 99, NULL},
    {true, false, false, 100, "guard: case: access 0 bytes past the end of input x (100 bytes)"},
    {true, false, true, 103, "access 3 bytes past the end of input x"},
    {false, false, false, -1, "access 1 bytes before input x"},
    {false, false, true, 0, NULL},
    {true, true, false, 7, NULL},
    {true, true, true, 7, "write into input x, byte 7"},
};

static void touch(const Touch *t) {
    Guard *g = guard_new(t->at_end, "case");
    volatile char *p = guard_alloc(g, 100, 1, "input %s", "x");
    if (t->sealed)
        guard_seal(g);
    guard_watch(g);
    if (t->write)
        p[t->at] = 1;
    else
        (void)p[t->at];
    guard_free(g);
    _exit(0);
}

static void traps(void) {
    for (size_t i = 0; i < sizeof touches / sizeof *touches; i++) {
        int ends[2], status;
        char said[512] = "";
        if (!CHECK(pipe(ends) == 0))
            return;
        fflush(NULL);
        if (fork() == 0) {
            dup2(ends[1], 2);
            touch(&touches[i]);
        }
        close(ends[1]);
        long n = read(ends[0], said, sizeof said - 1);
        close(ends[0]);
        wait(&status);
        const char *want = touches[i].says;
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (want != NULL));
        if (!CHECK(want ? strstr(said, want) != NULL : n == 0))
            fprintf(stderr, "touch %zu: %s\n", i, said);
    }
}

int main(void) {
    CHECK_RUN(traps);
    return check_done();
}
