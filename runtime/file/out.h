// Outputs: every file that a process writes under a name that the user gave. Private header, of the
// compiler too.
//
// A regular file, or one that is not there yet, is written under a temporary name in its folder,
// then renamed: it is whole, or as it was. Links stay and what they point to is replaced. A device,
// a FIFO, a socket and an open descriptor (/dev/stdout, or - for short) are written through, never
// replaced. What is an input, or an output already, is refused. An error names the file as the user
// did, "-" as /dev/stdout. An output called - has standard output for itself: what the process
// prints goes to standard error from there on.
#ifndef RUNTIME_FILE_OUT_H
#define RUNTIME_FILE_OUT_H

#include "runtime/core/rt.h"

#include <pthread.h>
#include <signal.h>
#include <sys/types.h>

typedef enum RtOutKind {
    RT_OUT_WHOLE,
    RT_OUT_PROGRAM, // the same, executable
    RT_OUT_LOG,     // in place, as it is written; what was there goes when it begins
    RT_OUT_APPEND,  // in place, behind what is there
} RtOutKind;

typedef struct RtFileId { // ino 0: nothing that could be met twice
    dev_t dev;            // of the file, or of the folder where it will be
    ino_t ino;
    const char *name; // in the folder; NULL: of the file
} RtFileId;

// All fields but f and temp are private to runtime/file. It must not move while it is open.
typedef struct RtOutFile {
    FILE *f;      // to write to, from rt_out_begin() on
    char *temp;   // the file's temporary name, from rt_out_begin() on; NULL: it has none
    char *path;   // as given
    char *target; // what is written or replaced, free of links; NULL: written through
    RtOutKind kind;
    mode_t mode;   // of the file that is there; 0: none is
    int64_t bytes; // of a file, once it is finished or flushed
    bool std;      // given as -
    RtFileId id;
    struct RtOuts *outs;
    struct RtOutFile *next;
} RtOutFile;

// The outputs of a process that are open: what they may not be, and what a signal removes.
typedef struct RtOuts {
    pthread_mutex_t lock; // over the list and the temporary names in it
    RtOutFile *first;
    int (*last)(void *ctx, const siginfo_t *info); // see rt_outs_watch()
    void *ctx;
} RtOuts;

// Before any work: finds where the path leads, refuses what must not be written there, makes sure
// that it can be, opens what is written through. outs NULL: no other output or signal is heeded.
bool rt_out_open(RtOutFile *o, RtOuts *outs, const char *path, RtOutKind kind, RtErr *err);
bool rt_out_is_through(const RtOutFile *o);  // open: a device, FIFO, socket or descriptor
bool rt_out_begin(RtOutFile *o, RtErr *err); // f is open
// Of what is written in place: all that has been written is there. False with err set: what came
// since the last call is not, as far as that can be, and the output is closed.
bool rt_out_flush(RtOutFile *o, RtErr *err);
// From here on another program writes the file `temp`, or whoever is told so; not when it is NULL.
bool rt_out_hand_over(RtOutFile *o, RtErr *err);
bool rt_out_finish(RtOutFile *o, RtErr *err); // all is on the disk and closed, not yet in its place
bool rt_out_commit(RtOutFile *o, RtErr *err); // finish if need be, then rename; frees
void rt_out_abort(RtOutFile *o);              // removes what is temporary; frees; any state

void rt_outs_init(RtOuts *outs);
// False with err set: the input is one of the outputs, by whatever name, or standard output is
// appended to it. Of a folder: files that lie `depth` folders or more below it, links followed; -1:
// none of them.
bool rt_outs_allow(RtOuts *outs, const char *input, int depth, RtErr *err);
// Can any file be refused by rt_outs_allow()? Else a million need not be asked about.
bool rt_outs_may_be_input(const RtOuts *outs);
// False with err set: an output would be one of the files that the process itself keeps in a
// folder, there already or not. `names` are patterns as a shell's, up to NULL.
bool rt_outs_reserve(const RtOuts *outs, const char *folder, const char *const *names, RtErr *err);
// From here on SIGINT, SIGTERM and SIGHUP, where they are not ignored, remove temporary files
// before they end the process, and a write into a pipe that nobody reads is an error. Call it
// before threads are made. `last`, may be NULL, is called first, with the lock held; what it
// returns is the exit code, -1: the signal ends the process as ever.
void rt_outs_watch(RtOuts *outs, int (*last)(void *ctx, const siginfo_t *info), void *ctx);
// The signals that end a process and can wait: those three but what is ignored, by nohup or in a
// shell's background.
void rt_outs_signals(sigset_t *set);
// Removes what is temporary. From here on a signal waits until the process ends by itself.
void rt_outs_end(RtOuts *outs);

// For out.c: notes an output. False with err set: it is an output already, this program itself or
// where standard output goes.
bool rt_outs_add(RtOuts *outs, RtOutFile *o, RtErr *err);
void rt_outs_remove(RtOuts *outs, RtOutFile *o);
void rt_outs_lock(RtOuts *outs); // NULL is fine for both
void rt_outs_unlock(RtOuts *outs);

#endif
