// SPDX-License-Identifier: Apache-2.0
// conn.h - a connection's life, its input and its output; called by the backends, listener.c and outbox.c.
#ifndef MR_CONN_H
#define MR_CONN_H

#include <sys/uio.h>

#include "reactor.h"

// Gives an accepted socket a slot and tells JavaScript. False (and the socket closed) when there is none.
bool conn_open(struct mr_reactor *r, int fd, uint32_t listener);

// length bytes arrived in a block at HEADROOM; the connection takes the block over.
void conn_received(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t length);

// The peer sent FIN.
void conn_ended(struct mr_reactor *r, struct conn *c);

// Parses on after a pause, a hold, a full inbox or a used share.
void conn_parse(struct mr_reactor *r, struct conn *c);

// Parses what is left of connections that had to wait in an earlier turn.
void conn_parse_ready(struct mr_reactor *r);

// A receive found no free block: the connection waits for one.
void conn_starve(struct mr_reactor *r, struct conn *c);

// Lets as many of the starved receive again as there are buffers; those that are closing wait no longer.
void conn_feed(struct mr_reactor *r, uint32_t buffers);

// Whether bytes from the peer are wanted now.
bool conn_wants_input(const struct conn *c);

// Accepts a range of the outbox for sending; it is taken over by conn_send_dirty.
void conn_stage(struct mr_reactor *r, struct conn *c, uint32_t offset, uint32_t length);

// Sends the staged ranges of all connections. With now, no byte of the outbox is in use afterwards.
void conn_send_dirty(struct mr_reactor *r, bool now);

// Sends c's staged range with a system call of its own.
void conn_send_now(struct mr_reactor *r, struct conn *c);

// Lists the first blocks of c's queue, SEND_BLOCKS_MAX at most; returns how many.
uint32_t conn_output_parts(const struct mr_reactor *r, const struct conn *c, struct iovec *parts);

// The kernel took sent bytes of what backend.send offered, 0 when it had no room.
void conn_sent(struct mr_reactor *r, struct conn *c, uint32_t sent);

// Flushes, sends FIN, waits for the peer's, closes.
void conn_finish(struct mr_reactor *r, struct conn *c);

// Closes at once; code is the errno that MR_CLOSED reports.
void conn_close(struct mr_reactor *r, struct conn *c, uint16_t code);

// Closes and makes the kernel drop what it has not sent.
void conn_reset(struct mr_reactor *r, struct conn *c, uint16_t code);

// The kernel holds no more operations of a closing connection.
void conn_released(struct mr_reactor *r, struct conn *c);

// Reports and frees the connections that are closed.
void conn_bury(struct mr_reactor *r);

// Refuses the input so far: MR_VIOLATION, and no byte of this connection is parsed again.
void conn_violation(struct mr_reactor *r, struct conn *c, enum mr_violation violation, uint16_t code);

// Sets what the phase deadline is to be, in milliseconds from now; 0 = none.
void conn_deadline(struct mr_reactor *r, struct conn *c, uint32_t ms);

// One of the deadlines has passed; called by timer.c.
void conn_expired(struct mr_reactor *r, struct conn *c);

// One step of a protocol: takes bytes off the front of the input. Returns how many, 0 when more are needed.
uint32_t http_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length);
uint32_t ws_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length);

// What an expired deadline means to the protocol.
void http_expired(struct mr_reactor *r, struct conn *c);
void ws_expired(struct mr_reactor *r, struct conn *c);

// How long a WebSocket may be quiet before it is asked, and again before it is closed: half of its idle time.
static inline uint32_t ws_patience(uint32_t idle_ms) {
  return idle_ms / 2 + idle_ms % 2;
}

// count responses have ended in what was staged.
void http_responded(struct mr_reactor *r, struct conn *c, uint32_t count);

#endif
