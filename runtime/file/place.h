// Where an output's path leads: what is replaced there, or what is written through. Private header.
#ifndef RUNTIME_FILE_PLACE_H
#define RUNTIME_FILE_PLACE_H

#include <stdbool.h>
#include <sys/stat.h>

typedef enum RtPlaceKind {
    RT_PLACE_FILE,       // a regular file, or none yet: may be replaced
    RT_PLACE_DEVICE,     // a device or FIFO, or what another process has open: opened
    RT_PLACE_SOCKET,     // connected to
    RT_PLACE_DESCRIPTOR, // open in this process (/dev/stdout, /proc/self/fd/3): duplicated
} RtPlaceKind;

typedef struct RtPlace {
    RtPlaceKind kind;
    char *path;     // absolute, without a link on the way; free() releases
    int descriptor; // -1: none
    bool exists;
    struct stat st; // where it exists
} RtPlace;

// Follows links to their end, also where nothing is there yet. False and errno: no such folder, a
// circle of links, a folder (EISDIR).
bool rt_place_find(const char *path, RtPlace *p);
// A descriptor to write through to what is no file. -1 and errno.
int rt_place_open(const RtPlace *p);

#endif
