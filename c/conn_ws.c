// SPDX-License-Identifier: Apache-2.0
// conn_ws.c - WebSocket frames of a connection to records; called by conn_input.c.
#include <errno.h>

#include "conn.h"
#include "conn_queue.h"
#include "inbox.h"
#include "utf8.h"

static void violate(struct mr_reactor *r, struct conn *c, enum mr_violation violation) {
  conn_violation(r, c, violation, ws_violation_code(violation));
}

// A block of this turn with room for what a connection's messages inflate to, never another's: the
// application can see all of it. NO_BLOCK: the next turn has to do.
static uint32_t inflate_block(struct mr_reactor *r, const struct conn *c) {
  struct ws_contexts *shared = &r->contexts;
  const bool goes_on = shared->turn == r->turn && shared->handle == c->handle &&
                       r->arena->blocks[shared->block].end <= MR_BLOCK_BYTES - INFLATE_ROOM_MIN;
  if (goes_on) return shared->block;
  const uint32_t block = r->arena->free_count > arena_reserve(r->arena) ? block_get(r->arena) : NO_BLOCK;
  if (block == NO_BLOCK) return NO_BLOCK;
  block_clean(r->arena, block);
  block_borrow(r->arena, block, r->turn);
  block_put(r->arena, block);
  shared->block = block;
  shared->turn = r->turn;
  shared->handle = c->handle;
  return block;
}

// Whether a message may go on as it has inflated so far.
static int32_t inflated_verdict(const struct conn *c, const uint8_t *bytes, uint32_t length, uint32_t *utf8) {
  const struct ws_deflate *d = c->deflate;
  if (d->inflated > c->ws.max_message_bytes) return -MR_WS_TOO_LARGE;
  const uint64_t ratio = d->options.max_ratio;
  if (ratio != 0 && d->inflated > RATIO_GRACE_BYTES && d->inflated / ratio > d->received)
    return -MR_WS_EXPANDS;
  if (c->ws.frames.text) *utf8 = utf8_check(*utf8, bytes, length);
  return *utf8 == UTF8_REJECT ? -MR_WS_BAD_UTF8 : 0;
}

// Delivers what a piece has inflated to. An empty one says only that the message has ended.
static void deliver_inflated(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t length,
                             bool last) {
  struct ws_piece *piece = &c->deflate->piece;
  if (length == 0 && !last) return;
  struct block *out = &r->arena->blocks[block];
  struct mr_record *record = inbox_push_bytes(r, c, MR_MESSAGE, block, out->end, length);
  out->end += length;
  record->flags =
      (uint8_t)((piece->first ? MR_FIRST : 0) | (last ? MR_LAST : 0) | (c->ws.frames.text ? MR_TEXT : 0));
  // Nobody knows how much is to come: as much again is a fair guess.
  record->total_low = (uint32_t)c->deflate->inflated;
  record->total_high = (uint32_t)(c->deflate->inflated >> 32);
  piece->first = false;
}

// Inflates what one block has room for. The piece is taken off the input once there is nothing more in it.
static uint32_t inflate_step(struct mr_reactor *r, struct conn *c, const uint8_t *bytes) {
  struct ws_deflate *d = c->deflate;
  struct ws_piece *piece = &d->piece;
  const uint32_t block = inflate_block(r, c);
  if (block == NO_BLOCK) {
    input_shortage(r);
    c->share = 0;
    return STEP_AGAIN;
  }
  if (!ws_inflate_begin(r, d)) {
    conn_exhausted(r, c);
    return 0;
  }
  const uint32_t end = r->arena->blocks[block].end;
  const uint64_t most = c->ws.max_message_bytes - d->inflated + 1;
  const uint32_t room = MR_BLOCK_BYTES - end < most ? MR_BLOCK_BYTES - end : (uint32_t)most;
  uint8_t *const out = block_at(r->arena, block) + end;
  uint32_t length = 0;
  const enum inflate_verdict verdict = ws_inflate(d, bytes + piece->start, out, room, &length);
  d->inflated += length;
  const bool last = verdict == INFLATE_DONE && piece->last;
  int32_t violation = verdict == INFLATE_BAD ? -MR_WS_BAD_DEFLATE : 0;
  if (violation == 0) violation = inflated_verdict(c, out, length, &c->ws.frames.utf8);
  if (violation == 0 && last && c->ws.frames.utf8 != UTF8_ACCEPT) violation = -MR_WS_BAD_UTF8;
  if (violation < 0) {
    block_dirtied(r->arena, block, end + length);
    violate(r, c, (enum mr_violation) - violation);
    return 0;
  }
  deliver_inflated(r, c, block, length, last);
  conn_spend(c, length);
  if (verdict == INFLATE_MORE) return STEP_AGAIN;
  const uint32_t taken = piece->bytes;
  *piece = (struct ws_piece){.first = piece->first && !last};
  if (last) ws_inflate_end(r, d);
  return taken;
}

static uint32_t inflate_piece(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, uint32_t taken,
                              const struct ws_event *event) {
  struct ws_piece *piece = &c->deflate->piece;
  const bool first = (event->flags & MR_FIRST) != 0 || piece->first;
  *piece = (struct ws_piece){.bytes = taken,
                             .start = event->start,
                             .length = event->length,
                             .first = first,
                             .last = (event->flags & MR_LAST) != 0};
  return inflate_step(r, c, bytes);
}

uint32_t ws_step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length) {
  uint8_t *const bytes = block_at(r->arena, block) + start;
  if (c->deflate != NULL && c->deflate->piece.bytes > 0) return inflate_step(r, c, bytes);
  const struct ws_limits limits = {c->ws.max_message_bytes, c->ws.max_fragments};
  struct ws_event event;
  int32_t used = ws_frame_next(&c->ws.frames, bytes, length, &limits, &event);
  if (used < 0) {
    violate(r, c, (enum mr_violation) - used);
    return 0;
  }
  if (used == 0) return 0;
  if (event.kind == MR_MESSAGE && c->ws.frames.compressed) {
    return inflate_piece(r, c, bytes, (uint32_t)used, &event);
  }
  struct mr_record *record = inbox_push_shown(r, c, event.kind, block, start + event.start, event.length);
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
