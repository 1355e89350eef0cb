// SPDX-License-Identifier: Apache-2.0
// conn_http.c - the phases of an HTTP connection: head, body, next head; called by conn_input.c.
#include "conn.h"
#include "inbox.h"

static void violation(struct mr_reactor *r, struct conn *c, enum mr_violation violation) {
  conn_violation(r, c, violation, http_violation_status(violation));
}

// The last byte of a request is in. Without keep-alive nothing that follows may be taken for a request
// (RFC 9112 section 9.6).
static void request_ended(struct mr_reactor *r, struct conn *c) {
  c->phase = PHASE_IDLE;
  if (!c->keep_alive && !c->held) c->deaf = true;
  conn_deadline(r, c, c->requests == 0 ? r->options->idle_timeout : 0);
}

static void body_begin(struct mr_reactor *r, struct conn *c, const struct http_head *head) {
  bool chunked = (head->flags & MR_CHUNKED) != 0;
  c->phase = chunked ? PHASE_CHUNKED : PHASE_BODY;
  c->http.left = head->content_length;
  c->http.chunked = (struct http_chunked){0};
  conn_deadline(r, c, r->options->body_timeout);
}

static uint32_t head_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start,
                          uint32_t length) {
  const struct mr_options *o = r->options;
  const struct http_head_limits limits = {o->max_head_bytes, o->max_target_bytes, o->max_fields,
                                          o->max_body_bytes};
  struct http_head head;
  uint8_t *bytes = block_at(r->arena, block) + start;
  int32_t used = http_head_parse(bytes, length, c->seen, &limits, &head);
  if (used < 0) {
    violation(r, c, (enum mr_violation) - used);
    return 0;
  }
  if (used == 0) {
    // The deadline of a head is absolute: a byte now and then does not move it.
    if (c->phase == PHASE_IDLE) conn_deadline(r, c, o->head_timeout);
    c->phase = PHASE_HEAD;
    c->seen = length;
    return 0;
  }
  struct mr_record *record = inbox_push_head(r, c, bytes + head.start, (uint32_t)used - head.start);
  // A body would come before the other protocol, and its handler needs it to answer: nothing to hold for.
  if ((head.flags & MR_HAS_BODY) != 0) head.flags &= (uint8_t)~MR_UPGRADE;
  record->flags = head.flags;
  record->aux = head.target_length << 8 | head.method_length;
  record->total_low = (uint32_t)head.content_length;
  record->total_high = (uint32_t)(head.content_length >> 32);
  c->requests++;
  c->keep_alive = (head.flags & MR_KEEP_ALIVE) != 0;
  c->held = (head.flags & MR_UPGRADE) != 0;
  if ((head.flags & MR_HAS_BODY) != 0) {
    body_begin(r, c, &head);
  } else {
    request_ended(r, c);
  }
  return (uint32_t)used;
}

static uint32_t body_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start,
                          uint32_t length) {
  uint32_t count = length < c->http.left ? length : (uint32_t)c->http.left;
  c->http.left -= count;
  struct mr_record *record = inbox_push_bytes(r, c, MR_BODY, block, start, count);
  if (c->http.left == 0) {
    record->flags = MR_LAST;
    request_ended(r, c);
  }
  return count;
}

static uint32_t chunked_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start,
                             uint32_t length) {
  struct http_piece piece;
  int32_t used = http_chunked_next(&c->http.chunked, block_at(r->arena, block) + start, length,
                                   r->options->max_body_bytes, &piece);
  if (used < 0) {
    violation(r, c, (enum mr_violation) - used);
    return 0;
  }
  if (piece.length > 0 || piece.last) {
    struct mr_record *record = inbox_push_bytes(r, c, MR_BODY, block, start + piece.start, piece.length);
    if (piece.last) record->flags = MR_LAST;
  }
  if (piece.last) request_ended(r, c);
  return (uint32_t)used;
}

uint32_t http_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length) {
  switch (c->phase) {
    case PHASE_BODY:
      return body_step(r, c, block, start, length);
    case PHASE_CHUNKED:
      return chunked_step(r, c, block, start, length);
    default:
      return head_step(r, c, block, start, length);
  }
}

void http_expired(struct mr_reactor *r, struct conn *c) {
  r->control->timeouts++;
  c->phase_deadline = 0;
  switch (c->phase) {
    case PHASE_IDLE:
      conn_finish(r, c);
      break;
    case PHASE_HEAD:
      violation(r, c, MR_HEAD_TIMEOUT);
      break;
    default:
      violation(r, c, MR_BODY_TIMEOUT);
  }
}

void http_responded(struct mr_reactor *r, struct conn *c, uint32_t count) {
  c->requests = count < c->requests ? c->requests - count : 0;
  if (c->requests == 0 && c->phase == PHASE_IDLE && c->life == LIFE_OPEN && c->protocol == PROTOCOL_HTTP) {
    conn_deadline(r, c, r->options->idle_timeout);
  }
}
