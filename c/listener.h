// SPDX-License-Identifier: Apache-2.0
// listener.h - listening sockets and their addresses; called by reactor.c, conn.c and the backends.
#ifndef MR_LISTENER_H
#define MR_LISTENER_H

#include <sys/socket.h>

#include "reactor.h"

// A backend accepted fd from a listener.
void listener_accepted(struct mr_reactor *r, uint32_t listener, int fd);

// Accepting failed with code; EMFILE and its like make the listener rest for a while.
void listener_failed(struct mr_reactor *r, uint32_t listener, int code);

// A socket that listens on what the options name; or -errno.
int listener_socket(const struct mr_listen_options *options, const struct mr_socket_options *tuning);

// Another one, on the same address as one that was opened with MR_SHARED.
int listener_sibling(const struct sockaddr_storage *address, socklen_t length,
                     const struct mr_listen_options *options, const struct mr_socket_options *tuning);

// Whether accepting failed for a reason that is of that connection alone.
bool listener_harmless(int code);

// Wakes listeners that rest, finishes those that close.
void listener_tend(struct mr_reactor *r);

// A connection was freed: accept again where the limit had stopped it.
void listener_resume_all(struct mr_reactor *r);

// Closes all listening sockets at once.
void listener_close_all(struct mr_reactor *r);

#endif
