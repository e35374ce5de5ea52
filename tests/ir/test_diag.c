// Diagnostics: one line each, whatever is in them; how many; and how a fatal one unwinds.
#include "tests/check.h"
#include "tests/ir/ir_text.h"
#include <sys/wait.h>
#include <unistd.h>

static void lines_name_file_node_and_operator(void) {
    TextCase t;
    text_open(&t);
    ir_error(&t.diag, (IrWhere){"conv1", "Conv"}, "group is %d", 0);
    ir_error(&t.diag, (IrWhere){"conv1", NULL}, "no");
    ir_error(&t.diag, (IrWhere){NULL, "Conv"}, "no");
    ir_error(&t.diag, IR_NOWHERE, "no");
    ir_warn(&t.diag, (IrWhere){"d", "Dropout"}, "is switched to inference");
    t.diag.file = NULL;
    ir_error(&t.diag, IR_NOWHERE, "no");
    CHECK_STR_EQ(text_log(&t), "t.ir: node 'conv1' (Conv): group is 0\n"
                               "t.ir: node 'conv1': no\n"
                               "t.ir: operator Conv: no\n"
                               "t.ir: no\n"
                               "t.ir: warning: node 'd' (Dropout): is switched to inference\n"
                               "no");
    CHECK_INT_EQ(t.diag.errors, 5);
    CHECK_INT_EQ(t.diag.warnings, 1);
    text_close(&t);
}

static void one_line_stays_one_line(void) {
    TextCase t;
    text_open(&t);
    ir_error(&t.diag, (IrWhere){"a\nb\x1b[31m\x7f", "\xff\xc3\xa9\xc2\x85\xe2\x80\xa8\xed\xa0\x80"},
             "x\ty%s", "\r");
    CHECK_STR_EQ(text_log(&t),
                 "t.ir: node 'a\\x0ab\\x1b[31m\\x7f' (\\xff\xc3\xa9\\xc2\\x85\\xe2\\x80\\xa8"
                 "\\xed\\xa0\\x80): x\\x09y\\x0d");
    text_close(&t);
}

static void long_names_are_cut(void) {
    TextCase t;
    text_open(&t);
    char name[5000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    ir_error(&t.diag, (IrWhere){name, name}, "%s", name);
    const char *log = text_log(&t);
    CHECK(strlen(log) < 2600 && strstr(log, "nnn...' (nnn") && strstr(log, "nnn..."));
    for (int n = 195; n < 210; n++) { // a character is never cut in two
        memset(name, 'n', (size_t)n);
        memcpy(name + n - 3, "\xe2\x82\xac", 4);
        ir_error(&t.diag, (IrWhere){name, NULL}, "no");
    }
    CHECK(!strstr(text_log(&t), "\\x"));
    text_close(&t);
}

static void the_rest_is_counted(void) {
    TextCase t;
    text_open(&t);
    t.diag.max_errors = 2;
    for (int i = 0; i < 5; i++) {
        ir_error(&t.diag, IR_NOWHERE, "e%d", i);
    }
    ir_diag_finish(&t.diag);
    CHECK_STR_EQ(text_log(&t), "t.ir: e0\nt.ir: e1\n... and 3 more");
    text_close(&t);
    text_open(&t);
    ir_error(&t.diag, IR_NOWHERE, "e");
    ir_diag_finish(&t.diag);
    CHECK_STR_EQ(text_log(&t), "t.ir: e");
    text_close(&t);
}

static void fatal_errors_unwind(void) {
    TextCase t;
    text_open(&t);
    jmp_buf guard;
    t.diag.guard = &guard;
    int got = setjmp(guard);
    if (!got) {
        ir_fatal(&t.diag, (IrWhere){"n", "Op"}, "no %s", "disk");
    }
    CHECK_INT_EQ(got, 1);
    CHECK_STR_EQ(text_log(&t), "t.ir: node 'n' (Op): no disk");
    CHECK_INT_EQ(t.diag.errors, 1);
    text_close(&t);
}

// The exit code of fn, and what it wrote to stderr.
static int run_apart(void (*fn)(void), char *text, size_t size) {
    int pipe_fd[2], status = 0;
    if (pipe(pipe_fd)) {
        return -1;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fd[1], 2);
        close(pipe_fd[0]);
        fn();
        _exit(99);
    }
    close(pipe_fd[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(pipe_fd[0], text + n, size - 1 - n)) > 0; n += (size_t)got) {
    }
    text[n] = 0;
    close(pipe_fd[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void hit_bug(void) {
    ir_bug("fuse_bn", "conv\n1", "%d channels", 7);
}

static void hit_fatal(void) {
    IrDiag d;
    ir_diag_init(&d, "m.onnx");
    ir_fatal(&d, IR_NOWHERE, "out of memory");
}

static void exit_codes_tell_whose_fault(void) {
    char text[1000];
    CHECK_INT_EQ(run_apart(hit_bug, text, sizeof text), 3);
    CHECK_STR_EQ(text, "hone: a bug in hone, in fuse_bn at node 'conv\\x0a1': 7 channels\n"
                       "Please report it, with the command and the model.\n");
    CHECK_INT_EQ(run_apart(hit_fatal, text, sizeof text), 1);
    CHECK_STR_EQ(text, "m.onnx: out of memory\n");
}

int main(void) {
    CHECK_RUN(lines_name_file_node_and_operator);
    CHECK_RUN(one_line_stays_one_line);
    CHECK_RUN(long_names_are_cut);
    CHECK_RUN(the_rest_is_counted);
    CHECK_RUN(fatal_errors_unwind);
    CHECK_RUN(exit_codes_tell_whose_fault);
    return check_done();
}
