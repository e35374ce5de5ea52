// What happens when LLVM runs out of memory, or meets an error that it cannot report: it would
// abort with a stack trace, or throw where nothing catches. Here it is one line and the end of the
// process.
//
// LLVM's C interface has no hook for either allocation failure, operator new's and its own; both
// functions are looked up where they are, in libstdc++ and in LLVM.
#define _GNU_SOURCE
#include "codegen/build/lower.h"

#include <dlfcn.h>
#include <llvm-c/ErrorHandling.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

// No allocation, no lock. Who removes temporary files on SIGTERM (tools/temporaries.c) sees by the
// value that the exit code is 1.
_Noreturn static void end_process(const char *text) {
    if (write(2, text, strlen(text)) < 0)
        _exit(1);
    sigqueue(getpid(), SIGTERM, (union sigval){.sival_int = CG_EXIT_CODE});
    for (;;)
        pause();
}

static void report_no_memory(void) {
    end_process("hone: out of memory in LLVM\n");
}

static void report_bad_alloc(void *ctx, const char *reason, bool crash) {
    (void)ctx, (void)reason, (void)crash;
    report_no_memory();
}

static void report_fatal(const char *reason) {
    char text[300] = "hone: LLVM: ";
    strncat(text, reason, sizeof text - strlen(text) - 2);
    text[strcspn(text, "\n")] = 0;
    strcat(text, "\n");
    end_process(text);
}

void cg_catch_llvm_errors(void) {
    typedef void (*NewHandler)(void);
    typedef void BadAlloc(void *, const char *, bool);
    NewHandler (*set_new)(NewHandler);
    void (*set_bad)(BadAlloc *, void *), (*reset_bad)(void);
    *(void **)&set_new = dlsym(RTLD_DEFAULT, "_ZSt15set_new_handlerPFvvE");
    *(void **)&reset_bad = dlsym(RTLD_DEFAULT, "_ZN4llvm30remove_bad_alloc_error_handlerEv");
    *(void **)&set_bad =
        dlsym(RTLD_DEFAULT, "_ZN4llvm31install_bad_alloc_error_handlerEPFvPvPKcbES0_");
    LLVMResetFatalErrorHandler(); // the one of an earlier call
    LLVMInstallFatalErrorHandler(report_fatal);
    if (set_new)
        set_new(report_no_memory);
    if (set_bad && reset_bad) {
        reset_bad();
        set_bad(report_bad_alloc, NULL);
    }
}
