// SPDX-License-Identifier: Apache-2.0
// conn_queue.h - what the parts of a connection (conn*.c) tell each other, and outbox.c them.
#ifndef MR_CONN_QUEUE_H
#define MR_CONN_QUEUE_H

#include "reactor.h"

// Drops all bytes that were received and not parsed, and what would be needed to inflate them.
void input_clear(struct mr_reactor *r, struct conn *c);

// Cuts the slowest peer off when next to no block is free, nor will be in the next turn.
void input_shortage(struct mr_reactor *r);

// Drops all bytes that were not sent. The kernel must hold none of them.
void output_clear(struct mr_reactor *r, struct conn *c);

// Closes the file that was not sent, or not whole.
void file_clear(struct conn *c);

// Looks at the connection again in the next mr_poll.
static inline void ready_push(struct mr_reactor *r, struct conn *c) {
  if (c->in_ready) return;
  c->in_ready = true;
  slot_push(r, QUEUE_READY, slot_of(c->handle));
}

// The arena has no block left for this connection: it is closed, the others live.
void conn_exhausted(struct mr_reactor *r, struct conn *c);

// The kernel took bytes, from wherever they came.
void output_taken(struct mr_reactor *r, struct conn *c, uint32_t bytes);

// A send of sent bytes has left some over: from here on it is the peer who is waited for.
void output_blocked(struct mr_reactor *r, struct conn *c, uint32_t sent);

// Sets when a peer whose socket is full is given up.
void output_deadline(struct mr_reactor *r, struct conn *c);

// That time has come. Resets a peer that has really taken too little, and then returns true.
bool output_expired(struct mr_reactor *r, struct conn *c);

// Sends FIN once a finishing or ending connection has nothing left to send.
void conn_finish_flushed(struct mr_reactor *r, struct conn *c);

#endif
