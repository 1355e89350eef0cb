// SPDX-License-Identifier: Apache-2.0
// conn_ws.c - WebSocket frames of a connection to records; called by conn_input.c.
#include <errno.h>

#include "conn.h"
#include "inbox.h"

uint32_t ws_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length) {
  const struct ws_limits limits = {c->ws.max_message_bytes, c->ws.max_fragments};
  struct ws_event event;
  int32_t used = ws_frame_next(&c->ws.frames, block_at(r->arena, block) + start, length, &limits, &event);
  if (used < 0) {
    enum mr_violation violation = (enum mr_violation) - used;
    conn_violation(r, c, violation, ws_violation_code(violation));
    return 0;
  }
  if (used == 0) return 0;
  // The application can see all of the block through `.buffer` of a message.
  if (r->arena->blocks[block].turn != r->turn) block_clean(r->arena, block);
  struct mr_record *record = inbox_push_bytes(r, c, event.kind, block, start + event.start, event.length);
  record->flags = event.flags;
  record->code = event.code;
  record->total_low = (uint32_t)event.total;
  record->total_high = (uint32_t)(event.total >> 32);
  // After a close frame the peer has nothing more to say (RFC 6455 section 5.5.1).
  if (event.kind == MR_CLOSE) c->deaf = true;
  return (uint32_t)used;
}

void ws_expired(struct mr_reactor *r, struct conn *c) {
  if (c->idle_ms == 0 || c->quiet_told) {
    conn_count_timeout(r, &r->control->socket_timeouts);
    conn_close(r, c, ETIMEDOUT);
    return;
  }
  // Half of the time is left for the peer to answer a ping.
  c->quiet_told = true;
  inbox_push(r, c, MR_QUIET);
  conn_deadline(r, c, conn_patience(c));
}
