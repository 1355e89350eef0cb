// SPDX-License-Identifier: Apache-2.0
// conn_response.c - the head of a response to what we have asked for; called by conn_input.c.
//
// What comes behind it is held: whether it is another head, frames or bytes is what JavaScript reads in it.
#include "conn.h"
#include "inbox.h"
#include "response_head.h"

uint32_t response_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start,
                       uint32_t length) {
  int32_t used =
      response_head_end(block_at(r->arena, block) + start, length, c->seen, r->options->max_head_bytes);
  if (used < 0) {
    conn_violation(r, c, (enum mr_violation) - used, 0);
    return 0;
  }
  if (used == 0) {
    c->seen = length;
    return 0;
  }
  inbox_push_bytes(r, c, MR_RESPONSE, block, start, (uint32_t)used);
  c->held = true;
  return (uint32_t)used;
}
