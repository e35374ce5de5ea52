// What systemd and its kin agree on with a service: sockets that it inherits, and telling its
// state. Private header.
#ifndef RUNTIME_SERVE_SYSTEMD_H
#define RUNTIME_SERVE_SYSTEMD_H

// Number of sockets that this process was given (LISTEN_PID, LISTEN_FDS); the first is
// RT_SYSTEMD_FIRST_SOCKET.
enum { RT_SYSTEMD_FIRST_SOCKET = 3, RT_SYSTEMD_MAX_SOCKETS = 16 };
int rt_systemd_sockets(void);
// "READY=1" to whom NOTIFY_SOCKET names; nothing where it names nobody.
void rt_systemd_notify(const char *state);

#endif
