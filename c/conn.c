// SPDX-License-Identifier: Apache-2.0
// conn.c - the life of a connection: slot, finish, close, burial; called by the backends and outbox.c.
#include "conn.h"

#include <string.h>

#include "address_limit.h"
#include "backend.h"
#include "conn_queue.h"
#include "crew.h"
#include "inbox.h"
#include "listener.h"
#include "socket.h"
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

// Without opens, MR_CLOSED of the slot's last connection must have been read, as no MR_OPEN follows it.
static bool slot_take(struct mr_reactor *r, bool opens, uint32_t *slot) {
  const struct slot_queue *queue = &r->queues[QUEUE_FREE];
  bool fresh = r->slots_used < r->options->max_connections;
  uint32_t freed = opens ? queue->count : queue->count - r->slots_buried;
  if (freed > 0 && (!fresh || freed >= SLOTS_RESTING)) {
    *slot = slot_pop(r, QUEUE_FREE);
    if (r->slots_buried > queue->count) r->slots_buried = queue->count;
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

static struct mr_timeouts server_timeouts(const struct mr_reactor *r) {
  const struct mr_options *o = r->options;
  return (struct mr_timeouts){o->body_timeout, o->stall_timeout, o->min_body_rate, o->min_send_rate};
}

struct conn *conn_new(struct mr_reactor *r, int fd, bool opens) {
  uint32_t slot;
  if (!slot_take(r, opens, &slot)) return NULL;
  struct conn *c = &r->conns[slot];
  uint32_t handle = handle_after(c->handle, slot);
  memset(c, 0, sizeof(*c));
  c->handle = handle;
  c->fd = fd;
  c->life = LIFE_OPEN;
  c->polls_left = POLLS_AT_FIRST;
  c->in_head = c->in_tail = c->out_head = c->out_tail = NO_BLOCK;
  c->idle_ms = r->options->idle_timeout;
  c->timeouts = server_timeouts(r);
  r->rows[slot] = (struct mr_row){.handle = handle};
  gauge_set(&r->control->connections, r->control->connections + 1);
  return c;
}

static bool refuse(struct mr_reactor *r, int fd, uint64_t *counter) {
  close(fd);
  counter_add(counter, 1);
  if (r->member != NULL) crew_release(r->member, 1);
  return false;
}

bool conn_open(struct mr_reactor *r, int fd, uint32_t listener) {
  uint64_t key = 0;
  bool addressed = r->addresses != NULL && address_limit_key(fd, &key);
  if (addressed && !address_limit_admit(r->addresses, key)) {
    counter_add(&r->control->accepted, 1);
    return refuse(r, fd, &r->control->address_refusals);
  }
  struct conn *c = conn_new(r, fd, true);
  if (c == NULL) {
    if (addressed) address_limit_release(r->addresses, key);
    return refuse(r, fd, &r->control->refused);
  }
  c->addressed = addressed;
  if (addressed) r->address_keys[slot_of(c->handle)] = key;
  c->protocol = r->listeners[listener].protocol;
  counter_add(&r->control->accepted, 1);
  inbox_push(r, c, MR_OPEN)->code = (uint16_t)listener;
  conn_deadline(r, c, c->protocol == PROTOCOL_HTTP ? r->options->head_timeout : conn_patience(c));
  r->backend->receive(r, c);
  return true;
}

void conn_deadline(struct mr_reactor *r, struct conn *c, uint32_t ms) {
  c->phase_deadline = ms == 0 ? 0 : r->now + ms;
  timer_schedule(r, c);
}

void conn_timeouts(struct mr_reactor *r, struct conn *c, const struct mr_timeouts *timeouts) {
  // The end of a response is still on its way to a peer that was allowed to be slow.
  c->timeouts_end = timeouts == NULL && (c->out_head != NO_BLOCK || c->staged_length > 0 || c->filing);
  if (c->timeouts_end) return;
  c->timeouts = timeouts != NULL ? *timeouts : server_timeouts(r);
  output_deadline(r, c);
  if (c->protocol == PROTOCOL_HTTP) http_retimed(r, c);
}

uint64_t conn_rate_due(const struct mr_reactor *r, uint64_t since, uint64_t bytes, uint32_t rate) {
  return rate == 0 || since == 0 ? 0 : since + r->options->rate_grace + bytes * 1000 / rate;
}

// All is sent and FIN is: what is the peer still given time for?
static void fin_done(struct mr_reactor *r, struct conn *c) {
  bool finishing = c->life == LIFE_FINISHING;
  if (finishing ? c->ended : c->end_told) {
    conn_close(r, c, 0);
  } else if (finishing) {
    conn_deadline(r, c, r->options->linger_timeout);
  }
}

void conn_finish_flushed(struct mr_reactor *r, struct conn *c) {
  bool flushed = c->out_head == NO_BLOCK && c->staged_length == 0 && !c->filing;
  if (!flushed || c->connecting || c->fin_sent || !(c->life == LIFE_FINISHING || c->ending)) return;
  c->fin_sent = true;
  shutdown(c->fd, SHUT_WR);
  fin_done(r, c);
}

void conn_end(struct mr_reactor *r, struct conn *c) {
  if (c->protocol != PROTOCOL_STREAM || c->life != LIFE_OPEN) return;
  c->ending = true;
  conn_finish_flushed(r, c);
}

void conn_finish(struct mr_reactor *r, struct conn *c) {
  if (c->life != LIFE_OPEN) return;
  c->life = LIFE_FINISHING;
  c->lingered = 0;
  c->deaf = true;
  if (!c->connecting) c->phase_deadline = 0;
  input_clear(r, c);
  r->backend->receive(r, c);
  if (c->fin_sent) {
    fin_done(r, c);
  } else {
    conn_finish_flushed(r, c);
  }
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

uint16_t conn_socket_error(const struct conn *c) {
  return (uint16_t)sys_socket_error(c->fd);
}

void conn_exhausted(struct mr_reactor *r, struct conn *c) {
  counter_add(&r->control->exhausted, 1);
  conn_reset(r, c, ENOMEM);
}

void conn_released(struct mr_reactor *r, struct conn *c) {
  if (c->in_dead) return;
  c->in_dead = true;
  slot_push(r, QUEUE_DEAD, slot_of(c->handle));
}

static void bury(struct mr_reactor *r, struct conn *c) {
  uint32_t slot = slot_of(c->handle);
  struct mr_record *record = inbox_push(r, c, MR_CLOSED);
  record->code = c->close_code;
  record->aux = r->rows[slot].queued + r->rows[slot].staged;
  output_clear(r, c);
  if (c->adopted) socket_cut(c->fd, c->reset);
  close(c->fd);
  if (c->addressed) address_limit_release(r->addresses, r->address_keys[slot]);
  c->fd = -1;
  c->life = LIFE_FREE;
  r->rows[slot] = (struct mr_row){0};
  gauge_set(&r->control->connections, r->control->connections - 1);
  if (r->member != NULL) crew_release(r->member, 1);
  slot_push(r, QUEUE_FREE, slot);
  r->slots_buried++;
  listener_resume_all(r);
}

void conn_bury(struct mr_reactor *r) {
  for (uint32_t count = r->queues[QUEUE_DEAD].count; count > 0; count--) {
    uint32_t slot = slot_pop(r, QUEUE_DEAD);
    struct conn *c = &r->conns[slot];
    // Another queue may still name the slot, which must then not be given out anew; nor is it, at the end.
    bool named = c->in_ready || c->in_dirty || c->in_starved || c->in_files || c->in_readable;
    if (inbox_is_full(r) || (named && !r->closing)) {
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
  if (c->stall_deadline != 0 && c->stall_deadline <= r->now && output_expired(r, c)) return;
  if (c->phase_deadline == 0 || c->phase_deadline > r->now) return;
  if (c->paused && c->life == LIFE_OPEN && !c->connecting) {
    // The peer may have sent all we wait for: it is us who do not read it.
    conn_deadline(r, c, PAUSED_RECHECK_MS);
    return;
  }
  if (c->life == LIFE_FINISHING && !c->connecting) {
    counter_add(&r->control->linger_timeouts, 1);
    conn_close(r, c, 0);
  } else if (c->protocol == PROTOCOL_HTTP) {
    http_expired(r, c);
  } else if (c->protocol == PROTOCOL_WEBSOCKET) {
    ws_expired(r, c);
  } else {
    stream_expired(r, c);
  }
}
