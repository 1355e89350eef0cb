// SPDX-License-Identifier: Apache-2.0
// conn.h - a connection's life, its input and its output; called by the backends, listener.c and outbox.c.
#ifndef MR_CONN_H
#define MR_CONN_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "counter.h"
#include "reactor.h"

// Gives an accepted socket a slot and tells JavaScript. False (and the socket closed) when there is none.
bool conn_open(struct mr_reactor *r, int fd, uint32_t listener);

// Gives a socket a slot; opens: MR_OPEN tells of it. NULL when there is none; the socket stays the caller's
// then.
struct conn *conn_new(struct mr_reactor *r, int fd, bool opens);

// The socket has room: the connection stands, or its file goes on.
void conn_room(struct mr_reactor *r, struct conn *c);

// length bytes arrived in a block at HEADROOM; the connection takes the block over.
void conn_received(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t length);

// Reads from a socket that may have bytes, without waiting for any, as much as c's share allows.
void conn_read(struct mr_reactor *r, struct conn *c);

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

// Sends c's staged range and then bytes that need not be in the outbox, as many as the socket takes at once;
// returns how many of the latter. None when others are still to go before them.
uint32_t conn_send_direct(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, uint32_t length);

// Lists the first blocks of c's queue, SEND_BLOCKS_MAX at most; returns how many.
uint32_t conn_output_parts(const struct mr_reactor *r, const struct conn *c, struct iovec *parts);

// Has MR_SENT emitted once the kernel has taken all that is staged by now.
void conn_notify(struct mr_reactor *r, struct conn *c);

// The kernel took sent bytes of what backend.send offered, 0 when it had no room.
void conn_sent(struct mr_reactor *r, struct conn *c, uint32_t sent);

// Flushes and sends FIN; closes once the peer's has come too, and what it sent before was delivered.
void conn_end(struct mr_reactor *r, struct conn *c);

// Takes over the file of range, to be sent behind what is staged and queued; responses end with it.
void conn_file(struct mr_reactor *r, struct conn *c, const struct mr_file_range *range, uint16_t responses);

// Sends of c's file what its share allows and the socket has room for.
void conn_file_send(struct mr_reactor *r, struct conn *c);

// For the backends: sendfile(2) of at most count bytes of c's file.
ssize_t conn_sendfile(const struct conn *c, size_t count);

// Goes on with the files that had used up their share in the turn before, as far as this one reaches.
void conn_send_files(struct mr_reactor *r);

// Whether what is sent now is followed by bytes of a file at once, or by FIN: one segment then has both.
static inline int conn_more(const struct conn *c) {
  bool file = c->filing && c->file_left > 0;
  return file || c->life == LIFE_FINISHING || c->ending ? MSG_MORE : 0;
}

// Flushes, sends FIN, waits for the peer's, closes.
void conn_finish(struct mr_reactor *r, struct conn *c);

// Closes at once; code is the errno that MR_CLOSED reports.
void conn_close(struct mr_reactor *r, struct conn *c, uint16_t code);

// Closes and makes the kernel drop what it has not sent.
void conn_reset(struct mr_reactor *r, struct conn *c, uint16_t code);

// The error that the socket holds; a hang-up without one means that both sides have ended.
uint16_t conn_socket_error(const struct conn *c);

// The kernel holds no more operations of a closing connection.
void conn_released(struct mr_reactor *r, struct conn *c);

// Reports and frees the connections that are closed.
void conn_bury(struct mr_reactor *r);

// Refuses the input so far: MR_VIOLATION, and no byte of this connection is parsed again.
void conn_violation(struct mr_reactor *r, struct conn *c, enum mr_violation violation, uint16_t code);

// Whether as many requests wait for their responses as may: no further head is parsed.
static inline bool conn_pipeline_full(const struct mr_reactor *r, const struct conn *c) {
  return c->protocol == PROTOCOL_HTTP && c->phase == PHASE_IDLE && c->requests >= r->options->max_pipelined;
}

// Answers a request by its route, if it has one that is to be answered here: false where it is not. Sets its
// number, 0 for none.
bool conn_routed(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, const struct http_head *head,
                 uint16_t *number);

// When a peer that has moved bytes since then falls below a rate, in ms; 0 = never.
uint64_t conn_rate_due(const struct mr_reactor *r, uint64_t since, uint64_t bytes, uint32_t rate);

// Counts one more deadline that a peer has missed, under its kind.
static inline void conn_count_timeout(struct mr_reactor *r, uint64_t *kind) {
  counter_add(&r->control->timeouts, 1);
  counter_add(kind, 1);
}

// Other timeouts for the request at hand, or, with NULL, those of the server again.
void conn_timeouts(struct mr_reactor *r, struct conn *c, const struct mr_timeouts *timeouts);

// Sets what the phase deadline is to be, in milliseconds from now; 0 = none.
void conn_deadline(struct mr_reactor *r, struct conn *c, uint32_t ms);

// One of the deadlines has passed; called by timer.c.
void conn_expired(struct mr_reactor *r, struct conn *c);

// Answer of a step that took nothing and has to be repeated: it has spent of the share what it cost.
#define STEP_AGAIN UINT32_MAX

// Charges a step to a connection's share of the turn: one part, and one more for every SHARE_BYTES.
static inline void conn_spend(struct conn *c, uint32_t bytes) {
  uint32_t cost = 1 + bytes / SHARE_BYTES;
  c->share = cost < c->share ? (uint16_t)(c->share - cost) : 0;
}

// One step of a protocol: takes bytes off the front of the input. Returns how many, 0 when more are needed.
uint32_t http_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length);
uint32_t response_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length);
uint32_t ws_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length);
uint32_t stream_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length);

// What an expired deadline means to the protocol.
void http_expired(struct mr_reactor *r, struct conn *c);
void ws_expired(struct mr_reactor *r, struct conn *c);
void stream_expired(struct mr_reactor *r, struct conn *c);

// Whether a head is what comes next, or a body.
static inline bool conn_in_http(const struct conn *c) {
  return c->protocol <= PROTOCOL_RESPONSE;
}

// How long a connection that has left HTTP may be quiet. A WebSocket is asked after half of its idle time,
// and closed after the other half.
static inline uint32_t conn_patience(const struct conn *c) {
  return c->protocol == PROTOCOL_WEBSOCKET ? c->idle_ms / 2 + c->idle_ms % 2 : c->idle_ms;
}

// Reading stops, and goes on; the time between is not the peer's. Resumed without a pause, a body that waits
// for 100 Continue begins.
void http_paused(struct mr_reactor *r, struct conn *c);
void http_resumed(struct mr_reactor *r, struct conn *c);

// Other timeouts have been set: what waits for them begins anew.
void http_retimed(struct mr_reactor *r, struct conn *c);

// count responses have ended in what was staged.
void http_responded(struct mr_reactor *r, struct conn *c, uint32_t count);

#endif
