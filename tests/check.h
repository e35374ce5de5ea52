// The test harness: one executable per tests/*/test_*.c. A failed check prints file, line and what
// was seen, and the test goes on; main() ends with `return check_done();`, which is 1 after any
// failure.
//
//   static void adds_numbers(void) { CHECK(1 + 1 == 2); }
//   int main(void) { CHECK_RUN(adds_numbers); return check_done(); }
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct {
    const char *test; // that is running
    long checks, failures;
    int tests;
} check_state;

__attribute__((unused)) static bool check_fail(const char *file, int line) {
    check_state.failures++;
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s: ", file, line, check_state.test ? check_state.test : "main");
    return false;
}

__attribute__((unused)) static bool check_true(const char *file, int line, bool ok,
                                               const char *text) {
    check_state.checks++;
    if (!ok) {
        check_fail(file, line);
        fprintf(stderr, "%s does not hold\n", text);
    }
    return ok;
}

__attribute__((unused)) static bool check_str_eq(const char *file, int line, const char *got,
                                                 const char *want) {
    check_state.checks++;
    bool ok = got == want || (got && want && !strcmp(got, want));
    if (!ok) {
        check_fail(file, line);
        fprintf(stderr, "got\n  %s\nexpected\n  %s\n", got ? got : "(null)",
                want ? want : "(null)");
    }
    return ok;
}

__attribute__((unused)) static bool check_int_eq(const char *file, int line, long long got,
                                                 long long want) {
    check_state.checks++;
    if (got != want) {
        check_fail(file, line);
        fprintf(stderr, "got %lld, expected %lld\n", got, want);
    }
    return got == want;
}

__attribute__((unused)) static bool check_near(const char *file, int line, double got, double want,
                                               double tolerance) {
    check_state.checks++;
    bool ok = got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= tolerance;
    if (!ok) {
        check_fail(file, line);
        fprintf(stderr, "got %.9g, expected %.9g within %g\n", got, want, tolerance);
    }
    return ok;
}

__attribute__((unused)) static int check_done(void) {
    printf("%d tests, %ld checks, %ld failures\n", check_state.tests, check_state.checks,
           check_state.failures);
    return check_state.failures != 0;
}

// Each is an expression: true when it holds.
#define CHECK(cond) check_true(__FILE__, __LINE__, (cond), #cond)
#define CHECK_STR_EQ(got, want) check_str_eq(__FILE__, __LINE__, (got), (want))
#define CHECK_INT_EQ(got, want)                                                                    \
    check_int_eq(__FILE__, __LINE__, (long long)(got), (long long)(want))
#define CHECK_NEAR(got, want, tolerance) check_near(__FILE__, __LINE__, (got), (want), (tolerance))
#define CHECK_RUN(fn) (check_state.test = #fn, check_state.tests++, fn())

#endif
