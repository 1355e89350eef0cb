// SPDX-License-Identifier: Apache-2.0
// conn_input.c - bytes from a backend to the protocols, in fair shares; called by the backends and reactor.c.
//
// Unparsed bytes wait in the blocks in which they came. Between turns a rest of at most HEADROOM bytes moves
// into the connection's carry, so that an idle connection holds no block.
#include <string.h>

#include "backend.h"
#include "conn.h"
#include "conn_queue.h"
#include "inbox.h"
#include "sys.h"

bool conn_wants_input(const struct conn *c) {
  return (c->life == LIFE_OPEN || c->life == LIFE_FINISHING) && !c->connecting && !c->ended &&
         !c->in_starved && c->in_blocks < INPUT_BLOCKS_MAX;
}

// The peer that takes least of what it is owed gives its memory back. Once a turn: that takes effect in the
// next.
static void evict_slowest(struct mr_reactor *r) {
  if (r->evicted_turn == r->turn) return;
  r->evicted_turn = r->turn;
  uint32_t slowest = 0;
  for (uint32_t slot = 1; slot < r->slots_used; slot++) {
    if (r->rows[slot].queued > r->rows[slowest].queued) slowest = slot;
  }
  if (r->rows[slowest].queued > 0) conn_exhausted(r, &r->conns[slowest]);
}

void input_shortage(struct mr_reactor *r) {
  if (r->arena->free_count + r->arena->borrowed_count <= arena_reserve(r->arena)) evict_slowest(r);
}

void conn_starve(struct mr_reactor *r, struct conn *c) {
  counter_add(&r->control->starved, 1);
  if (c->in_starved) return;
  c->in_starved = true;
  slot_push(r, QUEUE_STARVED, slot_of(c->handle));
  r->backend->receive(r, c);
  input_shortage(r);
}

void conn_feed(struct mr_reactor *r, uint32_t buffers) {
  // What was to come back when they found none may have gone to somebody's output since.
  if (buffers == 0 && r->queues[QUEUE_STARVED].count > 0) input_shortage(r);
  for (uint32_t count = r->queues[QUEUE_STARVED].count; count > 0; count--) {
    struct conn *c = &r->conns[slot_pop(r, QUEUE_STARVED)];
    bool live = c->life == LIFE_OPEN || c->life == LIFE_FINISHING;
    if (live && buffers == 0) {
      slot_push(r, QUEUE_STARVED, slot_of(c->handle));
      continue;
    }
    c->in_starved = false;
    if (!live) continue;
    buffers--;
    r->backend->receive(r, c);
  }
}

static void input_append(struct mr_reactor *r, struct conn *c, uint32_t block) {
  if (c->in_head == NO_BLOCK) {
    c->in_head = block;
  } else {
    r->arena->blocks[c->in_tail].next = block;
  }
  c->in_tail = block;
  c->in_blocks++;
}

static void input_shift(struct mr_reactor *r, struct conn *c) {
  uint32_t block = c->in_head;
  c->in_head = r->arena->blocks[block].next;
  if (c->in_head == NO_BLOCK) c->in_tail = NO_BLOCK;
  c->in_blocks--;
  block_put(r->arena, block);
}

void input_clear(struct mr_reactor *r, struct conn *c) {
  while (c->in_head != NO_BLOCK) input_shift(r, c);
  ws_deflate_drop(r, c);
  c->carry_length = 0;
  c->seen = 0;
}

// Puts the first block's bytes at the start of a block. Bytes that a record of this turn names stay where
// they are, so then a fresh block takes the first one's place.
static bool front_move_down(struct mr_reactor *r, struct conn *c) {
  struct block *front = &r->arena->blocks[c->in_head];
  uint32_t length = front->end - front->start;
  const uint8_t *bytes = block_at(r->arena, c->in_head) + front->start;
  if (front->turn != r->turn) {
    if (front->end > front->dirty) front->dirty = front->end;
    memmove(block_at(r->arena, c->in_head), bytes, length);
    front->start = 0;
    front->end = length;
    return true;
  }
  uint32_t fresh = block_get(r->arena);
  if (fresh == NO_BLOCK) return false;
  memcpy(block_at(r->arena, fresh), bytes, length);
  struct block *block = &r->arena->blocks[fresh];
  block->end = length;
  block->next = front->next;
  if (c->in_tail == c->in_head) c->in_tail = fresh;
  block_put(r->arena, c->in_head);
  c->in_head = fresh;
  return true;
}

// Makes the first block longer with bytes of the second. False when there is no second one. Without a free
// block the next turn does it, in place: its share of this one is used up.
static bool front_pull(struct mr_reactor *r, struct conn *c) {
  uint32_t second = r->arena->blocks[c->in_head].next;
  if (second == NO_BLOCK) return false;
  if (!front_move_down(r, c)) {
    c->share = 0;
    return true;
  }
  struct block *front = &r->arena->blocks[c->in_head];
  struct block *from = &r->arena->blocks[second];
  uint32_t count = MR_BLOCK_BYTES - front->end;
  if (from->end - from->start < count) count = from->end - from->start;
  if (count == 0) return false;
  memcpy(block_at(r->arena, c->in_head) + front->end, block_at(r->arena, second) + from->start, count);
  front->end += count;
  from->start += count;
  if (from->start == from->end) {
    front->next = from->next;
    if (c->in_tail == second) c->in_tail = c->in_head;
    c->in_blocks--;
    block_put(r->arena, second);
  }
  return true;
}

static bool parsable(const struct mr_reactor *r, const struct conn *c) {
  return c->life == LIFE_OPEN && !c->paused && !c->held && !c->deaf && c->in_head != NO_BLOCK &&
         !conn_pipeline_full(r, c);
}

// A connection's first parse of a turn takes one place of the batch.
static bool share_open(struct mr_reactor *r, struct conn *c) {
  if (c->share_turn != r->turn) {
    if (r->batch_left == 0) return false;
    r->batch_left--;
    c->share_turn = r->turn;
    c->share = SHARE_RECORDS;
  }
  return c->share > 0 && inbox_has_room(r);
}

static uint32_t step(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t start, uint32_t length) {
  switch (c->protocol) {
    case PROTOCOL_HTTP:
      return http_step(r, c, block, start, length);
    case PROTOCOL_RESPONSE:
      return response_step(r, c, block, start, length);
    case PROTOCOL_WEBSOCKET:
      return ws_step(r, c, block, start, length);
    default:
      return stream_step(r, c, block, start, length);
  }
}

// Returns false when the connection has to wait for the next turn.
static bool parse_input(struct mr_reactor *r, struct conn *c) {
  while (parsable(r, c)) {
    if (!share_open(r, c)) return false;
    struct block *front = &r->arena->blocks[c->in_head];
    uint32_t length = front->end - front->start;
    uint32_t used = step(r, c, c->in_head, front->start, length);
    if (used == STEP_AGAIN) continue;
    conn_spend(c, used);
    if (used > 0) {
      c->seen = 0;
      front->start += used;
      if (front->start == front->end) input_shift(r, c);
    } else if (parsable(r, c) && !front_pull(r, c)) {
      break;
    }
  }
  return true;
}

static void stash_rest(struct mr_reactor *r, struct conn *c) {
  if (c->in_head == NO_BLOCK) return;
  const struct block *front = &r->arena->blocks[c->in_head];
  uint32_t length = front->end - front->start;
  if (front->next != NO_BLOCK || length > HEADROOM) return;
  memcpy(carry_of(r, c), block_at(r->arena, c->in_head) + front->start, length);
  c->carry_length = (uint16_t)length;
  input_shift(r, c);
}

// Brings a stashed rest back into a block, for a connection that is to be parsed without new bytes.
static bool unstash(struct mr_reactor *r, struct conn *c) {
  if (c->carry_length == 0) return true;
  uint32_t block = block_get(r->arena);
  if (block == NO_BLOCK) return false;
  memcpy(block_at(r->arena, block), carry_of(r, c), c->carry_length);
  r->arena->blocks[block].end = c->carry_length;
  c->carry_length = 0;
  input_append(r, c, block);
  return true;
}

// Emits MR_SENT when it is due, in whatever life the connection is.
static void tell_sent(struct mr_reactor *r, struct conn *c) {
  if (!c->sent) return;
  if (inbox_is_full(r)) {
    ready_push(r, c);
    return;
  }
  inbox_push(r, c, MR_SENT);
  c->sent = false;
}

// Bytes wait that were not looked at; what lacks its rest has been.
static bool unparsed(const struct mr_reactor *r, const struct conn *c) {
  if (c->in_head == NO_BLOCK) return c->carry_length > c->seen;
  const struct block *front = &r->arena->blocks[c->in_head];
  return front->next != NO_BLOCK || front->end - front->start > c->seen;
}

// Emits what JavaScript has to hear of the output, and of the end once the bytes before it are parsed. The
// end comes in a pause too when there are none: it may be what JavaScript waits for.
static void tell(struct mr_reactor *r, struct conn *c) {
  bool waits = c->in_ready || ((c->paused || c->held || conn_pipeline_full(r, c)) && unparsed(r, c));
  bool end = c->ended && !c->end_told && !waits && c->life == LIFE_OPEN;
  if (!c->drained && !c->file_sent && !end) return;
  if (r->records + 3 > r->control->records_capacity) {
    ready_push(r, c);
    return;
  }
  if (c->drained) inbox_push(r, c, MR_DRAIN);
  c->drained = false;
  if (c->file_sent) inbox_push(r, c, MR_FILE_SENT);
  c->file_sent = false;
  if (end) inbox_push(r, c, MR_END);
  if (!end) return;
  c->end_told = true;
  if (c->fin_sent) conn_close(r, c, 0);
}

void conn_parse(struct mr_reactor *r, struct conn *c) {
  if (c->life != LIFE_OPEN) return;
  if (parse_input(r, c)) {
    if (c->deaf) input_clear(r, c);
    stash_rest(r, c);
  } else {
    ready_push(r, c);
  }
  // Requests were answered by their routes: nobody else would send that before the next turn.
  if (c->in_dirty) conn_send_dirty(r, false);
  tell_sent(r, c);
  tell(r, c);
  r->backend->receive(r, c);
}

void conn_parse_ready(struct mr_reactor *r) {
  for (uint32_t count = r->queues[QUEUE_READY].count; count > 0; count--) {
    struct conn *c = &r->conns[slot_pop(r, QUEUE_READY)];
    c->in_ready = false;
    if (c->life != LIFE_OPEN) {
      tell_sent(r, c);
      continue;
    }
    if (c->paused || c->held || unstash(r, c)) {
      conn_parse(r, c);
    } else {
      ready_push(r, c);
    }
  }
}

// A connection may hold many blocks only while there are many.
static bool overloaded(const struct mr_reactor *r, const struct conn *c) {
  return c->in_blocks > INPUT_BLOCKS_MAX && r->arena->free_count <= arena_reserve(r->arena);
}

// Bytes have come: a WebSocket or a stream may be quiet anew. The wheel finds the later deadline by itself.
static void touch(const struct mr_reactor *r, struct conn *c) {
  c->quiet_told = false;
  uint32_t ms = conn_in_http(c) ? 0 : conn_patience(c);
  if (ms != 0) c->phase_deadline = r->now + ms;
}

// What a peer sends after our end is dropped, but not for ever.
static void lingered(struct mr_reactor *r, struct conn *c, uint32_t length) {
  uint32_t most = r->options->linger_bytes;
  if (most == 0 || c->life != LIFE_FINISHING) return;
  c->lingered = length < most - c->lingered ? c->lingered + length : most;
  if (c->lingered < most) return;
  counter_add(&r->control->linger_overflows, 1);
  conn_close(r, c, 0);
}

void conn_received(struct mr_reactor *r, struct conn *c, uint32_t block, uint32_t length) {
  counter_add(&r->control->received_bytes, length);
  r->bytes_left -= length < r->bytes_left ? length : r->bytes_left;
  struct block *b = &r->arena->blocks[block];
  b->end = HEADROOM + length;  // written, even when nobody looks at it
  if (c->life != LIFE_OPEN || c->deaf) {
    block_put(r->arena, block);
    lingered(r, c, length);
    return;
  }
  b->start = HEADROOM - c->carry_length;
  if (c->carry_length > 0) memcpy(block_at(r->arena, block) + b->start, carry_of(r, c), c->carry_length);
  c->carry_length = 0;
  input_append(r, c, block);
  if (overloaded(r, c)) {
    conn_exhausted(r, c);
    return;
  }
  touch(r, c);
  if (c->in_ready) {
    r->backend->receive(r, c);
  } else {
    conn_parse(r, c);
  }
}

void conn_ended(struct mr_reactor *r, struct conn *c) {
  c->ended = true;
  if (c->life == LIFE_FINISHING && c->fin_sent) {
    conn_close(r, c, 0);
    return;
  }
  r->backend->receive(r, c);
  if (c->life != LIFE_FINISHING) tell(r, c);
}

void conn_violation(struct mr_reactor *r, struct conn *c, enum mr_violation violation, uint16_t code) {
  struct mr_record *record = inbox_push(r, c, MR_VIOLATION);
  record->code = code;
  record->aux = (uint32_t)violation;
  c->deaf = true;
  c->phase_deadline = 0;
}
