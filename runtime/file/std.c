// Descriptors 0 to 2 at the beginning and end of a program. See std.h.
#include "runtime/file/std.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void rt_std_open(void) {
    for (int fd = 0; fd <= 2; fd++) {
        // The wrong way round: what is read or written there is an error, as of a closed one. On
        // exec it closes again, by which rt_place_open() knows it: a descriptor that was given to
        // us cannot have that flag.
        int how = (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC;
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", how) != fd)
            _exit(1);
    }
    signal(SIGXFSZ, SIG_IGN);
}

static bool reader_is_gone(void) {
    struct pollfd p = {.fd = 1, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

int rt_std_close(int code) {
    bool failed = ferror(stdout); // of what, nobody remembers
    errno = 0;
    failed |= fflush(stdout) != 0;
    int why = errno;
    if (failed && !why)
        why = write(1, "\n", 1) < 0 ? errno : EIO;
    if (failed && reader_is_gone()) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    if (fclose(stdout) != 0 && !failed) {
        failed = true;
        why = errno;
    }
    if (!failed)
        return code;
    fprintf(stderr, "standard output: cannot be written: %s\n", strerror(why));
    return code ? code : 1;
}
