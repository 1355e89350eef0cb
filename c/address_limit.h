// SPDX-License-Identifier: Apache-2.0
// address_limit.h - how many connections one address may have; called by listener.c, conn.c, crew.c and
// reactor.c.
//
// The reactors of a service share one, so that the limit is that of all. Its lock is held for a few
// instructions with each connection that begins or ends.
#ifndef MR_ADDRESS_LIMIT_H
#define MR_ADDRESS_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct address_limit;

// For at most so many connections in all, of which an address may have `most`. NULL for want of memory.
struct address_limit *address_limit_open(uint32_t connections, uint32_t most);
void address_limit_close(struct address_limit *limit);

// What counts as one address: that of IPv4, or the 64 bits of IPv6 that a site is given. False for a peer
// that has none, or is gone already.
bool address_limit_key(int fd, uint64_t *key);

// Counts a connection in, unless its address has as many as it may.
bool address_limit_admit(struct address_limit *limit, uint64_t key);

// Counts out one that was counted in.
void address_limit_release(struct address_limit *limit, uint64_t key);

#endif
