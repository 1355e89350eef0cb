// SPDX-License-Identifier: Apache-2.0
// address.h - addresses of sockets by what users call them; called by listener.c and connect.c.
#ifndef MR_ADDRESS_H
#define MR_ADDRESS_H

#include <sys/socket.h>
#include <sys/un.h>

// The address of a Unix socket at a path; a leading '@' names an abstract one. -ENAMETOOLONG when there can
// be none.
int address_unix(const char *path, struct sockaddr_un *out, socklen_t *length);

#endif
