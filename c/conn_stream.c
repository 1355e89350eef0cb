// SPDX-License-Identifier: Apache-2.0
// conn_stream.c - bytes of a connection whose protocol is the application's; called by conn_input.c and
// conn.c.
#include <errno.h>

#include "conn.h"
#include "inbox.h"

uint32_t stream_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length) {
  inbox_push_shown(r, c, MR_DATA, block, start, length);
  return length;
}

void stream_expired(struct mr_reactor *r, struct conn *c) {
  if (c->tell_quiet && c->idle_ms != 0) {  // which MR_CMD_DEADLINE has set to 0
    inbox_push(r, c, MR_QUIET);
    conn_deadline(r, c, c->idle_ms);
    return;
  }
  conn_count_timeout(r, &r->control->socket_timeouts);
  conn_close(r, c, ETIMEDOUT);
}
