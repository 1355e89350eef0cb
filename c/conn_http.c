// SPDX-License-Identifier: Apache-2.0
// conn_http.c - the phases of an HTTP connection: head, body, next head; called by conn_input.c.
#include "conn.h"
#include "conn_queue.h"
#include "inbox.h"
#include "timer.h"

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

static uint64_t slow_due(const struct mr_reactor *r, const struct conn *c) {
  return conn_rate_due(r, c->http.since, c->http.received, c->timeouts.min_body_rate);
}

// A body is in time as long as some of it comes within body_timeout and, on the whole, as fast as
// min_body_rate.
static void body_deadline(struct mr_reactor *r, struct conn *c) {
  // Answered already: what is left of the body has drain_timeout, however it comes. Not begun: a peer that
  // waits for 100 Continue has all the time that the handler takes.
  if (c->requests == 0 || c->http.since == 0) return;
  uint64_t quiet = c->timeouts.body_timeout == 0 ? 0 : r->now + c->timeouts.body_timeout;
  c->phase_deadline = timer_earlier(quiet, slow_due(r, c));
  timer_schedule(r, c);
}

static void body_received(struct mr_reactor *r, struct conn *c, uint32_t count) {
  if (c->http.since == 0) c->http.since = r->now;
  c->http.received += count;
  body_deadline(r, c);
}

static void body_begin(struct mr_reactor *r, struct conn *c, const struct http_head *head) {
  bool chunked = (head->flags & MR_CHUNKED) != 0;
  c->phase = chunked ? PHASE_CHUNKED : PHASE_BODY;
  c->http.left = head->content_length;
  c->http.chunked = (struct http_chunked){0};
  c->http.received = 0;
  bool waits = (head->flags & (MR_EXPECT | MR_HTTP_1_0)) == MR_EXPECT;
  c->http.since = waits ? 0 : r->now;
  c->phase_deadline = 0;
  body_deadline(r, c);
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
  c->heads++;
  uint16_t route = 0;
  if (r->routes.count > 0 && conn_routed(r, c, bytes, &head, &route)) {
    if (c->life != LIFE_OPEN) return 0;  // its queue was too short, and its input is gone
    c->keep_alive = true;
    request_ended(r, c);
    return (uint32_t)used;
  }
  struct mr_record *record = inbox_push_head(r, c, bytes + head.start, (uint32_t)used - head.start);
  record->code = route;
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
  } else {
    body_received(r, c, count);
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
    const uint8_t kind = piece.trailer ? MR_TRAILER : MR_BODY;
    struct mr_record *record = inbox_push_bytes(r, c, kind, block, start + piece.start, piece.length);
    if (piece.last) record->flags = MR_LAST;
  }
  if (piece.last) {
    request_ended(r, c);
  } else if (used > 0) {
    body_received(r, c, (uint32_t)used);
  }
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

static void body_expired(struct mr_reactor *r, struct conn *c) {
  uint64_t slow = slow_due(r, c);
  if (c->requests == 0) {
    counter_add(&r->control->drain_timeouts, 1);
    conn_finish(r, c);
  } else if (slow != 0 && slow <= r->now) {
    conn_count_timeout(r, &r->control->slow_bodies);
    violation(r, c, MR_BODY_TOO_SLOW);
  } else {
    conn_count_timeout(r, &r->control->body_timeouts);
    violation(r, c, MR_BODY_TIMEOUT);
  }
}

void http_expired(struct mr_reactor *r, struct conn *c) {
  c->phase_deadline = 0;
  switch (c->phase) {
    case PHASE_IDLE:
      conn_count_timeout(r, c->heads > 0 ? &r->control->idle_timeouts : &r->control->silent_timeouts);
      conn_finish(r, c);
      break;
    case PHASE_HEAD:
      conn_count_timeout(r, &r->control->head_timeouts);
      violation(r, c, MR_HEAD_TIMEOUT);
      break;
    default:
      body_expired(r, c);
  }
}

void http_paused(struct mr_reactor *r, struct conn *c) {
  if (!c->paused) c->http.paused_at = r->now;
}

void http_resumed(struct mr_reactor *r, struct conn *c) {
  if (c->phase < PHASE_BODY || c->deaf) return;
  if (c->paused && c->http.since != 0) c->http.since += r->now - c->http.paused_at;
  if (!c->paused && c->http.since == 0) c->http.since = r->now;
  body_deadline(r, c);
}

void http_retimed(struct mr_reactor *r, struct conn *c) {
  if (c->phase >= PHASE_BODY && !c->deaf) body_deadline(r, c);
}

void http_responded(struct mr_reactor *r, struct conn *c, uint32_t count) {
  if (conn_pipeline_full(r, c)) {
    // Requests may have waited, or the peer's end.
    if (c->in_head != NO_BLOCK || c->carry_length > 0) counter_add(&r->control->pipeline_waits, 1);
    ready_push(r, c);
  }
  c->requests = count < c->requests ? c->requests - count : 0;
  if (c->requests > 0 || c->life != LIFE_OPEN || c->protocol != PROTOCOL_HTTP) return;
  if (c->phase == PHASE_IDLE) {
    conn_deadline(r, c, r->options->idle_timeout);
  } else if (c->phase >= PHASE_BODY) {
    conn_deadline(r, c, r->options->drain_timeout);
  }
}
