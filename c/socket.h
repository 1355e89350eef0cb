// SPDX-License-Identifier: Apache-2.0
// socket.h - options of sockets, and sockets that another process has opened; called by listener.c,
// connect.c and conn.c.
#ifndef MR_SOCKET_H
#define MR_SOCKET_H

#include <stdbool.h>

#include "layout.h"

// Sets the options that are to be set, NULL for none. Returns 0 or -errno.
int socket_tune(int fd, const struct mr_socket_options *options);

// Whether fd is a stream socket of a family that we know: 0, -EBADF, -ENOTSOCK, -ESOCKTNOSUPPORT for other
// types, -EAFNOSUPPORT for other families.
int socket_check(int fd);

// 0 when it listens, else -EOPNOTSUPP.
int socket_listens(int fd);

// Has what is sent leave at once: a turn has made one packet of it already. Does nothing for a Unix socket.
void socket_no_delay(int fd);

// Ends a connection for its peer, with a reset where it can have one, whoever else holds a descriptor of it.
void socket_cut(int fd, bool reset);

#endif
