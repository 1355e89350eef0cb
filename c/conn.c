// SPDX-License-Identifier: Apache-2.0
// conn.c - the life of a connection: slot, finish, close, burial; called by the backends and outbox.c.
#include "conn.h"

#include <string.h>

#include "backend.h"
#include "conn_queue.h"
#include "inbox.h"
#include "listener.h"
#include "sys.h"
#include "timer.h"

#define GENERATION_MAX ((1u << (32 - MR_SLOT_BITS)) - 1)

// A freed slot rests until this many others are free too: with 4095 generations, a handle comes back only
// after four million connections, long after JavaScript has seen MR_CLOSED.
#define SLOTS_RESTING 1024

struct conn *conn_find(struct mr_reactor *r, uint32_t handle) {
  uint32_t slot = slot_of(handle);
  if (handle == 0 || slot >= r->slots_used) return NULL;
  struct conn *c = &r->conns[slot];
  return c->handle == handle && c->life != LIFE_FREE ? c : NULL;
}

static bool slot_take(struct mr_reactor *r, uint32_t *slot) {
  bool fresh = r->slots_used < r->options->max_connections;
  uint32_t freed = r->queues[QUEUE_FREE].count;
  if (freed > 0 && (!fresh || freed >= SLOTS_RESTING)) {
    *slot = slot_pop(r, QUEUE_FREE);
    return true;
  }
  if (!fresh) return false;
  *slot = r->slots_used++;
  return true;
}

static uint32_t handle_after(uint32_t handle, uint32_t slot) {
  uint32_t generation = handle >> MR_SLOT_BITS;
  generation = generation == GENERATION_MAX ? 1 : generation + 1;
  return generation << MR_SLOT_BITS | slot;
}

bool conn_open(struct mr_reactor *r, int fd, uint32_t listener) {
  uint32_t slot;
  if (!slot_take(r, &slot)) {
    close(fd);
    r->control->refused++;
    return false;
  }
  struct conn *c = &r->conns[slot];
  uint32_t handle = handle_after(c->handle, slot);
  memset(c, 0, offsetof(struct conn, carry));
  c->handle = handle;
  c->fd = fd;
  c->life = LIFE_OPEN;
  c->in_head = c->in_tail = c->out_head = c->out_tail = NO_BLOCK;
  c->idle_ms = r->options->idle_timeout;
  r->rows[slot] = (struct mr_row){.handle = handle};
  r->control->connections++;
  r->control->accepted++;
  inbox_push(r, c, MR_OPEN)->code = (uint16_t)listener;
  conn_deadline(r, c, r->options->head_timeout);
  r->backend->receive(r, c);
  return true;
}

void conn_deadline(struct mr_reactor *r, struct conn *c, uint32_t ms) {
  c->phase_deadline = ms == 0 ? 0 : r->now + ms;
  timer_schedule(r, c);
}

static void send_fin(struct mr_reactor *r, struct conn *c) {
  c->fin_sent = true;
  shutdown(c->fd, SHUT_WR);
  if (c->ended) {
    conn_close(r, c, 0);
  } else {
    conn_deadline(r, c, r->options->linger_timeout);
  }
}

void conn_finish_flushed(struct mr_reactor *r, struct conn *c) {
  bool flushed = c->out_head == NO_BLOCK && c->staged_length == 0;
  if (c->life == LIFE_FINISHING && !c->fin_sent && flushed) send_fin(r, c);
}

void conn_finish(struct mr_reactor *r, struct conn *c) {
  if (c->life != LIFE_OPEN) return;
  c->life = LIFE_FINISHING;
  c->deaf = true;
  c->phase_deadline = 0;
  input_clear(r, c);
  r->backend->receive(r, c);
  conn_finish_flushed(r, c);
}

void conn_close(struct mr_reactor *r, struct conn *c, uint16_t code) {
  if (c->life != LIFE_OPEN && c->life != LIFE_FINISHING) return;
  c->life = LIFE_CLOSING;
  c->close_code = code;
  c->phase_deadline = c->stall_deadline = 0;
  timer_cancel(r, c);
  input_clear(r, c);
  if (c->reset) {
    struct linger drop = {.l_onoff = 1};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &drop, sizeof(drop));
  }
  r->backend->stop(r, c);
}

void conn_reset(struct mr_reactor *r, struct conn *c, uint16_t code) {
  c->reset = true;
  conn_close(r, c, code);
}

void conn_exhausted(struct mr_reactor *r, struct conn *c) {
  r->control->exhausted++;
  conn_reset(r, c, ENOMEM);
}

void conn_released(struct mr_reactor *r, struct conn *c) {
  if (c->in_dead) return;
  c->in_dead = true;
  slot_push(r, QUEUE_DEAD, slot_of(c->handle));
}

static void bury(struct mr_reactor *r, struct conn *c) {
  uint32_t slot = slot_of(c->handle);
  inbox_push(r, c, MR_CLOSED)->code = c->close_code;
  output_clear(r, c);
  close(c->fd);
  c->fd = -1;
  c->life = LIFE_FREE;
  r->rows[slot] = (struct mr_row){0};
  r->control->connections--;
  slot_push(r, QUEUE_FREE, slot);
  listener_resume_all(r);
}

void conn_bury(struct mr_reactor *r) {
  for (uint32_t count = r->queues[QUEUE_DEAD].count; count > 0; count--) {
    uint32_t slot = slot_pop(r, QUEUE_DEAD);
    struct conn *c = &r->conns[slot];
    // Another queue may still name the slot, which must then not be given out anew.
    bool wait = inbox_is_full(r) || c->in_ready || c->in_dirty || c->in_starved;
    if (wait) {
      slot_push(r, QUEUE_DEAD, slot);
    } else {
      bury(r, c);
    }
  }
}

void conn_expired(struct mr_reactor *r, struct conn *c) {
  if (!inbox_has_room(r)) {
    // Nobody could be told now: look again in the next tick.
    if (c->phase_deadline != 0) c->phase_deadline = r->now + 1;
    if (c->stall_deadline != 0) c->stall_deadline = r->now + 1;
    return;
  }
  bool stalled = c->stall_deadline != 0 && c->stall_deadline <= r->now;
  if (c->paused && !stalled && c->life == LIFE_OPEN) {
    // The peer may have sent all we wait for: it is us who do not read it.
    conn_deadline(r, c, PAUSED_RECHECK_MS);
    return;
  }
  if (stalled) {
    r->control->timeouts++;
    conn_reset(r, c, ETIMEDOUT);
  } else if (c->life == LIFE_FINISHING) {
    conn_close(r, c, 0);
  } else if (c->protocol == PROTOCOL_HTTP) {
    http_expired(r, c);
  } else {
    ws_expired(r, c);
  }
}
