// The folder of a run's checkpoints. It belongs to one run, whose id stands in its run.json and in
// every checkpoint; and, while that run trains, to one process, which holds a lock on its file
// `lock`. What is somebody else's, files that no run put there, is no such folder. Private header.
#ifndef RUNTIME_TRAIN_FOLDER_H
#define RUNTIME_TRAIN_FOLDER_H

#include "runtime/core/rt.h"

enum { RT_RUN_ID = 17 }; // 16 hex digits and a 0 byte

typedef struct RtFolder {
    char *path;               // NULL: not open
    int lock;                 // descriptor
    bool made, made_lock;     // the folder, the file, by this process
    bool kept;                // a run goes on in it; else these two go again
    char run[RT_RUN_ID];      // "": nobody's, or run.json is gone
    char replaces[RT_RUN_ID]; // the run that this one was begun over; "": none
    char model[96], started[32];
    bool finished;
} RtFolder;

#define RT_FOLDS_FILE "folds.json"    // of a k-fold, its parts' scores
#define RT_FOLD_FOLDERS "fold-[0-9]*" // and runs

extern const char *const rt_folder_files[]; // what is kept there, for rt_outs_reserve()

// Reads what run.json tells, if there is one; whoever trains holds the lock and has it made.
bool rt_folder_read(RtFolder *f, const char *path, RtErr *err);
// The same for a training: makes the folder and takes the lock. False with err set: another one
// runs there, it holds other files and no run, or it cannot be written.
bool rt_folder_open(RtFolder *f, const char *path, RtErr *err);
// A new run begins here, over the one that is there.
bool rt_folder_claim(RtFolder *f, const char *model, RtErr *err);
// What f says now is in run.json.
bool rt_folder_write(const RtFolder *f, RtErr *err);
void rt_folder_close(RtFolder *f); // any state

#endif
