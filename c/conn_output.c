// SPDX-License-Identifier: Apache-2.0
// conn_output.c - bytes from the outbox to a backend, and the queue of those that must wait; called by
// outbox.c.
//
// What a turn stages goes to the kernel straight from the outbox, without waiting for room in the socket.
// Only what does not fit is copied, into blocks that live until the kernel has taken them.
#include <string.h>

#include "backend.h"
#include "conn.h"
#include "conn_queue.h"
#include "inbox.h"
#include "sys.h"
#include "timer.h"

// Fills blocks with a copy of bytes. Returns false, holding none, when the arena is full.
static bool blocks_fill(struct mr_arena *arena, const uint8_t *bytes, uint32_t length, uint32_t *first,
                        uint32_t *last) {
  *first = *last = NO_BLOCK;
  while (length > 0) {
    uint32_t block = block_get(arena);
    if (block == NO_BLOCK) break;
    uint32_t count = length < MR_BLOCK_BYTES ? length : MR_BLOCK_BYTES;
    memcpy(block_at(arena, block), bytes, count);
    arena->blocks[block].end = count;
    if (*first == NO_BLOCK) {
      *first = block;
    } else {
      arena->blocks[*last].next = block;
    }
    *last = block;
    bytes += count;
    length -= count;
  }
  if (length == 0) return true;
  while (*first != NO_BLOCK) {
    uint32_t next = arena->blocks[*first].next;
    block_put(arena, *first);
    *first = next;
  }
  return false;
}

// Uses up the room in the last block first: a trickle of small sends must not take a block each.
static uint32_t top_up(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, uint32_t length) {
  // While the kernel sends from the queue it knows the old end of the block; bytes behind it are free to use.
  if (c->out_tail == NO_BLOCK) return 0;
  struct block *tail = &r->arena->blocks[c->out_tail];
  uint32_t count = MR_BLOCK_BYTES - tail->end;
  if (length < count) count = length;
  memcpy(block_at(r->arena, c->out_tail) + tail->end, bytes, count);
  tail->end += count;
  return count;
}

static void queue_append(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, uint32_t length) {
  uint32_t count = top_up(r, c, bytes, length);
  if (count == length) return;
  uint32_t first, last;
  if (!blocks_fill(r->arena, bytes + count, length - count, &first, &last)) {
    conn_exhausted(r, c);
    return;
  }
  if (c->out_head == NO_BLOCK) {
    c->out_head = first;
  } else {
    r->arena->blocks[c->out_tail].next = first;
  }
  c->out_tail = last;
}

static void queue_prepend(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, uint32_t length) {
  uint32_t first, last;
  if (!blocks_fill(r->arena, bytes, length, &first, &last)) {
    conn_exhausted(r, c);
    return;
  }
  r->arena->blocks[last].next = c->out_head;
  if (c->out_head == NO_BLOCK) c->out_tail = last;
  c->out_head = first;
}

static void queue_advance(struct mr_reactor *r, struct conn *c, uint32_t sent) {
  while (sent > 0) {
    uint32_t block = c->out_head;
    struct block *head = &r->arena->blocks[block];
    uint32_t count = head->end - head->start;
    if (sent < count) {
      head->start += sent;
      return;
    }
    sent -= count;
    c->out_head = head->next;
    if (c->out_head == NO_BLOCK) c->out_tail = NO_BLOCK;
    block_put(r->arena, block);
  }
}

void output_clear(struct mr_reactor *r, struct conn *c) {
  while (c->out_head != NO_BLOCK) {
    uint32_t next = r->arena->blocks[c->out_head].next;
    block_put(r->arena, c->out_head);
    c->out_head = next;
  }
  c->out_tail = NO_BLOCK;
  c->staged_length = 0;
  file_clear(c);
}

void conn_stage(struct mr_reactor *r, struct conn *c, uint32_t offset, uint32_t length) {
  if (c->life != LIFE_OPEN || length == 0) return;
  if (c->filing) {  // in the midst of a response: what that would lead to nobody can tell
    conn_reset(r, c, EBUSY);
    return;
  }
  struct mr_row *row = row_of(r, c);
  const bool fits =
      row->queued <= r->options->max_queue_bytes && length <= r->options->max_queue_bytes - row->queued;
  row->queued += length;
  if (!fits) {
    counter_add(&r->control->overflows, 1);
    conn_reset(r, c, ENOBUFS);
    return;
  }
  bool first = !c->sending && c->out_head == NO_BLOCK;
  if (first && c->staged_length == 0) {
    c->staged_offset = offset;
    c->staged_length = length;
    if (c->in_dirty) return;
    c->in_dirty = true;
    slot_push(r, QUEUE_DIRTY, slot_of(c->handle));
  } else if (first && c->staged_offset + c->staged_length == offset) {
    c->staged_length += length;
  } else {
    queue_append(r, c, r->arena->outbox + offset, length);
  }
}

void output_taken(struct mr_reactor *r, struct conn *c, uint32_t bytes) {
  counter_add(&r->control->sent_bytes, bytes);
  c->taken += bytes;
  // A stream that sends is not idle. The wheel finds the later deadline by itself.
  bool busy = bytes > 0 && c->protocol == PROTOCOL_STREAM && c->life == LIFE_OPEN;
  if (busy && c->idle_ms != 0) c->phase_deadline = r->now + c->idle_ms;
}

void conn_send_now(struct mr_reactor *r, struct conn *c) {
  ssize_t sent = sys_send(c->fd, r->arena->outbox + c->staged_offset, c->staged_length,
                          MSG_NOSIGNAL | MSG_DONTWAIT | conn_more(c));
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    conn_close(r, c, (uint16_t)errno);
    return;
  }
  conn_sent(r, c, sent < 0 ? 0 : (uint32_t)sent);
}

uint32_t conn_send_direct(struct mr_reactor *r, struct conn *c, const uint8_t *bytes, uint32_t length) {
  if (c->life != LIFE_OPEN || c->sending || c->filing || c->out_head != NO_BLOCK) return 0;
  struct iovec parts[] = {{r->arena->outbox + c->staged_offset, c->staged_length}, {(void *)bytes, length}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent = sys_sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) {
    conn_close(r, c, (uint16_t)errno);
    return 0;
  }
  uint32_t taken = sent < 0 ? 0 : (uint32_t)sent;
  uint32_t staged = taken < c->staged_length ? taken : c->staged_length;
  output_taken(r, c, taken - staged);
  conn_sent(r, c, staged);
  return taken - staged;
}

uint32_t conn_output_parts(const struct mr_reactor *r, const struct conn *c, struct iovec *parts) {
  uint32_t count = 0;
  uint32_t index = c->out_head;
  for (; index != NO_BLOCK && count < SEND_BLOCKS_MAX; count++) {
    const struct block *block = &r->arena->blocks[index];
    parts[count].iov_base = block_at(r->arena, index) + block->start;
    parts[count].iov_len = block->end - block->start;
    index = block->next;
  }
  return count;
}

void conn_send_dirty(struct mr_reactor *r, bool now) {
  while (r->queues[QUEUE_DIRTY].count > 0) {
    struct conn *c = &r->conns[slot_pop(r, QUEUE_DIRTY)];
    c->in_dirty = false;
    bool live = c->life == LIFE_OPEN || c->life == LIFE_FINISHING;
    if (!live || c->staged_length == 0) continue;
    if (now) {
      conn_send_now(r, c);
    } else {
      r->backend->send(r, c);
    }
  }
}

static uint64_t slow_due(const struct mr_reactor *r, const struct conn *c) {
  uint64_t taken = c->taken - c->send_from;
  uint64_t bytes = taken > c->send_acked ? taken : c->send_acked;
  return conn_rate_due(r, c->send_since, bytes, c->timeouts.min_send_rate);
}

// When a peer whose socket is full has had its time.
static uint64_t late_at(const struct mr_reactor *r, const struct conn *c) {
  uint64_t stall = c->timeouts.stall_timeout == 0 ? 0 : c->send_moved + c->timeouts.stall_timeout;
  return timer_earlier(stall, slow_due(r, c));
}

void output_deadline(struct mr_reactor *r, struct conn *c) {
  if (c->send_since == 0) return;
  // Only a look tells what the peer has acknowledged, and then counts as its time: a few looks err less.
  uint64_t look = c->timeouts.stall_timeout == 0 ? 0 : r->now + c->timeouts.stall_timeout / STALL_LOOKS;
  c->stall_deadline = timer_earlier(late_at(r, c), look);
  timer_schedule(r, c);
}

bool output_expired(struct mr_reactor *r, struct conn *c) {
  // A large socket buffer takes more only when much of it is free: what a slow peer took shows there first.
  uint64_t sent = c->taken - c->send_from + c->send_held;
  uint64_t held = sys_unsent(c->fd);
  if (sent > held && sent - held > c->send_acked) {
    c->send_acked = sent - held;
    c->send_moved = r->now;
  }
  uint64_t late = late_at(r, c);
  if (late == 0 || late > r->now) {
    output_deadline(r, c);
    return false;
  }
  uint64_t slow = slow_due(r, c);
  bool is_slow = slow != 0 && slow <= r->now;
  conn_count_timeout(r, is_slow ? &r->control->slow_readers : &r->control->stall_timeouts);
  conn_reset(r, c, ETIMEDOUT);
  return true;
}

void output_blocked(struct mr_reactor *r, struct conn *c, uint32_t sent) {
  if (c->send_since == 0) {
    c->send_since = c->send_moved = r->now;
    c->send_from = c->taken;
    c->send_acked = 0;
    c->send_held = sys_unsent(c->fd);
  } else if (sent > 0) {
    c->send_moved = r->now;
  } else {
    return;
  }
  output_deadline(r, c);
}

static void notify_if_taken(struct mr_reactor *r, struct conn *c) {
  if (!c->notify || c->taken < c->notify_at) return;
  c->notify = false;
  c->sent = true;
  ready_push(r, c);
}

void conn_notify(struct mr_reactor *r, struct conn *c) {
  c->notify = true;
  c->notify_at = c->taken + row_of(r, c)->queued;
  notify_if_taken(r, c);
}

void conn_sent(struct mr_reactor *r, struct conn *c, uint32_t sent) {
  struct mr_row *row = row_of(r, c);
  row->queued -= sent;
  output_taken(r, c, sent);
  notify_if_taken(r, c);
  if (c->life == LIFE_CLOSING) return;
  if (c->staged_length > 0) {
    const uint8_t *rest = r->arena->outbox + c->staged_offset + sent;
    uint32_t length = c->staged_length - sent;
    c->staged_length = 0;
    if (length > 0) queue_prepend(r, c, rest, length);
  } else {
    queue_advance(r, c, sent);
  }
  if (c->life == LIFE_CLOSING) return;  // the arena was full
  if (row->queued < row->drain_below) {
    row->drain_below = 0;
    c->drained = true;
    ready_push(r, c);
  }
  if (c->out_head == NO_BLOCK) {
    c->stall_deadline = c->send_since = 0;
    if (c->timeouts_end) conn_timeouts(r, c, NULL);
    if (c->filing) conn_file_send(r, c);
    conn_finish_flushed(r, c);
    return;
  }
  output_blocked(r, c, sent);
  r->backend->send(r, c);
}
