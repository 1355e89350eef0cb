// SPDX-License-Identifier: Apache-2.0
// harness_client.h - the clients' side of harness.h; called by harness.c.
#ifndef MR_TESTS_HARNESS_CLIENT_H
#define MR_TESTS_HARNESS_CLIENT_H

#include <poll.h>

#include "harness.h"

// One round of reading and writing; true when a byte moved or an end was seen.
bool t_clients_pump(struct t_server *s);

// Fills fds with what the clients wait for; returns how many there are.
nfds_t t_clients_interest(const struct t_server *s, struct pollfd *fds);

void t_clients_close(struct t_server *s);

#endif
