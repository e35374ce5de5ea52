// What is drawn of pictures: one file, or one of each picture in a folder.
#ifndef RUNTIME_INFER_PICTURE_OUT_H
#define RUNTIME_INFER_PICTURE_OUT_H

#include "runtime/file/out.h"
#include "runtime/image/inputs.h"

#include <sys/types.h>

#define RT_PICTURE_OUT_RULE                                                                        \
    "OUT.png is of one picture; in FOLDER/, which is made where it is not there, each picture "    \
    "has\n"                                                                                        \
    "NAME.png, in place of what is there; of a list in place of what such a run made before. "     \
    "Never\n"                                                                                      \
    "through a link, nor in a folder where one of the pictures is.\n"

typedef struct RtPictureOut {
    const char *option; // that asks for it
    bool wanted;
    RtOutFile file; // of one picture: of all that there is, or of the last one, in the folder
    char *folder;   // NULL: one picture's file
    bool made;      // by this run
    dev_t dev;      // of the folder
    ino_t ino;
    bool listed;   // pictures come one by one: which ones, nobody knows before
    void *written; // tsearch()'s tree of the names in it
} RtPictureOut;

// Before any work. path NULL: nothing is wanted; a folder: it is there, or ends in a slash and is
// made. False with err set: it cannot be written, several pictures would go to one file, or to the
// folder that they are in.
bool rt_picture_out_open(RtPictureOut *o, RtOuts *outs, const char *option, const char *path,
                         const RtInputs *inputs, RtErr *err);
// The file of picture `path`, ready to be written: NAME.png in the folder, where that is wanted. It
// ends by rt_out_commit(), or with the next one.
bool rt_picture_out_begin(RtPictureOut *o, RtOuts *outs, const char *path, RtErr *err);
void rt_picture_out_close(RtPictureOut *o); // any state

#endif
