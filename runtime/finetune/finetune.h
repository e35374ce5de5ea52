// The fine-tune program: what its subcommands share. Private header.
#ifndef RUNTIME_FINETUNE_FINETUNE_H
#define RUNTIME_FINETUNE_FINETUNE_H

#include "runtime/core/cli.h"
#include "runtime/core/text.h"
#include "runtime/file/out.h"
#include "runtime/train/train.h"

// 1: the user's input is wrong, 2: the command line is
enum { RT_EXIT_FINE, RT_EXIT_INPUT, RT_EXIT_USAGE };
enum { RT_DEFAULT_BATCH = 16, RT_MAX_BATCH = 1 << 20, RT_MAX_EPOCHS = 1000000 };

typedef struct RtFine {
    const HoneTrainDesc *d;
    const char *program; // argv[0], cleaned, for usage texts
    char folder[512];    // of checkpoints, where none is given: "PROGRAM-1a2b3c4d.ckpt", the hash
                         // telling programs of one name apart
    char out[512];       // the tuned model, where none is given
    RtOuts *outs;        // empty
} RtFine;

// Subcommands: argv after the subcommand's name. They return the exit code.
int rt_fine_train(const RtFine *f, int argc, char **argv);
int rt_fine_eval(const RtFine *f, int argc, char **argv);
int rt_fine_predict(const RtFine *f, int argc, char **argv);
int rt_fine_export(const RtFine *f, int argc, char **argv);
int rt_fine_info(const RtFine *f, int argc, char **argv);
int rt_fine_bench(const RtFine *f, int argc, char **argv);

// Parses; prints the help when asked. Returns true when the subcommand goes on, else *code.
// Words that are no options go to rest, at most `most` of them. `about` begins with a line that
// names them: "[OPTION...] DATA".
bool rt_fine_parse(const RtFine *f, const char *subcommand, const char *about,
                   const RtCliOption *options, int n, const bool *help, int argc, char **argv,
                   RtCliList *rest, int least, int most, int *code);
int rt_fine_batch(const HoneTrainDesc *d); // where no --batch is given
int rt_fine_complain(const char *text);    // prints it; RT_EXIT_INPUT
// An engine in the last stage with the best parameters of the newest checkpoint, or those of the
// pretrained file and an untrained head with folder NULL. *labels: the names of the classes, one a
// line, from the checkpoint; free() releases; NULL: none. NULL after an error was printed.
RtEngine *rt_fine_open_trained(const RtFine *f, const char *folder, int threads, char **labels);
// Names of classes: the executable's own, else `lines`, which is cut up. free() releases the table.
const char **rt_fine_names(const RtFine *f, char *lines);
// Where crops of square pictures are all the same, that is said. False: refused, and told.
bool rt_fine_take_views(const RtFine *f, RtViews views);
void rt_fine_print_plan(const HoneTrainDesc *d, FILE *f);

#define RT_FINE_THREADS(to)                                                                        \
    RT_CLI_THREADS(to, "threads that compute (default: auto, OMP_NUM_THREADS, CPU affinity and "   \
                       "cgroup quota)")
#define RT_FINE_CHECKPOINT(to)                                                                     \
    {                                                                                              \
        "--checkpoint", RT_CLI_TEXT, to, 0, 0, "FOLDER",                                           \
            "folder of checkpoints (default: the program's name, its hash and .ckpt)"              \
    }
#define RT_FINE_VIEWS(to)                                                                          \
    { "--tta", RT_CLI_CHOICE, to, 0, 0, RT_VIEWS_CHOICE, RT_VIEWS_HELP }
#define RT_FINE_HELP(to)                                                                           \
    { "--help|-h", RT_CLI_FLAG, to, 0, 0, NULL, "this text" }

#endif
