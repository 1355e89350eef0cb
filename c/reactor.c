// SPDX-License-Identifier: Apache-2.0
// reactor.c - opens, turns and closes a reactor: the entry points of millrace.h; calls everything else.
#include "reactor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address_limit.h"
#include "backend.h"
#include "conn.h"
#include "crew.h"
#include "listener.h"
#include "mailbox.h"
#include "millrace.h"
#include "outbox.h"
#include "sys.h"
#include "timer.h"
#include "wake.h"

uint32_t mr_abi(void) {
  return MR_ABI_HASH;
}

static void init(struct mr_reactor *r, struct mr_arena *arena) {
  r->arena = arena;
  r->control = arena->control;
  r->options = &arena->options;
  r->conns = arena->conns;
  r->carries = arena->carries;
  r->rows = arena->rows;
  r->records_data = arena->control->records_capacity / 2;
  r->timer_fd = r->wake_here = r->wake_there = r->wake_given = -1;
  for (int i = 0; i < SLOT_QUEUES; i++) {
    r->queues[i].slots = arena->slots + (size_t)i * r->options->max_connections;
  }
}

static int open_wake_socket(struct mr_reactor *r) {
  int pair[2];
  if (sys_socketpair(pair) != 0) return -errno;
  r->wake_here = pair[0];
  r->wake_there = pair[1];
  return 0;
}

// Undoes a half-opened backend, which its close accepts in every state.
static int try_backend(struct mr_reactor *r, const struct backend *backend) {
  r->backend = backend;
  int rc = backend->open(r);
  if (rc == 0) return 0;
  // When the kernel keeps its operations, nothing else may use the arena.
  if (r->state != NULL && backend->close(r) == -EBUSY) return -EBUSY;
  arena_reset(r->arena);
  r->backend = NULL;
  return rc;
}

static int choose_backend(struct mr_reactor *r, uint32_t choice) {
  if (choice == MR_EPOLL) {
    int rc = try_backend(r, &backend_epoll);
    if (rc == 0) snprintf(r->reason, sizeof(r->reason), "asked for");
    return rc;
  }
  int rc = try_backend(r, &backend_uring);
  if (rc == 0) {
    snprintf(r->reason, sizeof(r->reason), "%s",
             choice == MR_IO_URING ? "asked for" : "the kernel has all that it needs");
  }
  if (rc == 0 || rc == -EBUSY || choice == MR_IO_URING) return rc;
  char why[MR_TEXT_BYTES];
  memcpy(why, r->reason, sizeof(why));
  rc = try_backend(r, &backend_epoll);
  if (rc == 0) snprintf(r->reason, sizeof(r->reason), "io_uring is not to be had: %.200s", why);
  return rc;
}

// After the backend, since one that is not to be had has the arena cleared.
static int populate(struct mr_reactor *r) {
  int rc = arena_populate(r->arena);
  if (rc == 0) return 0;
  snprintf(r->reason, sizeof(r->reason), "taking all memory at once failed: %s", strerrorname_np(-rc));
  if (r->backend->close(r) == -EBUSY) return -EBUSY;
  arena_reset(r->arena);
  return rc;
}

static void close_fds(struct mr_reactor *r) {
  timer_close(r);
  if (r->wake_here >= 0) close(r->wake_here);
  if (r->wake_there >= 0) close(r->wake_there);
}

int32_t mr_open(mr_arena *arena, const struct mr_options *options, mr_reactor **out, char *reason) {
  if (arena == NULL || options == NULL || out == NULL || reason == NULL) return -EINVAL;
  int rc = arena_adopt(arena, options);
  if (rc != 0) return rc;
  struct mr_reactor *r = calloc(1, sizeof(*r));
  if (r == NULL) return -ENOMEM;
  init(r, arena);
  rc = open_wake_socket(r);
  if (rc != 0)
    snprintf(r->reason, sizeof(r->reason), "opening the wake socket failed: %s", strerrorname_np(-rc));
  if (rc == 0 && (rc = timer_open(r)) != 0) {
    snprintf(r->reason, sizeof(r->reason), "timerfd_create failed: %s", strerrorname_np(-rc));
  }
  if (rc == 0) rc = choose_backend(r, options->backend);
  if (rc == 0) rc = populate(r);
  snprintf(reason, MR_TEXT_BYTES, "%s", r->reason);
  if (rc != 0) {
    arena->lost = rc == -EBUSY;
    close_fds(r);
    free(r);
    return rc;
  }
  r->turn = 1;
  arena->reactor = r;
  *out = r;
  return 0;
}

static void reset_connections(struct mr_reactor *r) {
  for (uint32_t slot = 0; slot < r->slots_used; slot++) {
    struct conn *c = &r->conns[slot];
    if (c->life == LIFE_OPEN || c->life == LIFE_FINISHING) conn_reset(r, c, 0);
  }
}

// Connections of which the kernel still holds operations are not buried; for other workers they are gone.
static void uncount_addresses(const struct mr_reactor *r) {
  for (uint32_t slot = 0; slot < r->slots_used; slot++) {
    const struct conn *c = &r->conns[slot];
    if (c->life != LIFE_FREE && c->addressed) address_limit_release(r->addresses, r->address_keys[slot]);
  }
}

int32_t mr_close(mr_reactor *r) {
  r->closing = true;
  reset_connections(r);
  int rc = r->backend->close(r);
  while (r->queues[QUEUE_DEAD].count > 0) {
    r->records = 0;
    conn_bury(r);
  }
  uncount_addresses(r);
  listener_close_all(r);
  mailbox_leave(r);
  if (r->member == NULL) address_limit_close(r->addresses);
  crew_leave(r);
  free(r->address_keys);
  ws_contexts_close(r);
  routes_close(&r->routes);
  close_fds(r);
  // A retired block belongs to whoever the application has given it to, for good.
  if (rc == 0 && r->control->blocks_lost > 0) rc = -EBUSY;
  r->arena->reactor = NULL;
  r->arena->lost = rc != 0;
  if (rc == 0 && r->arena->retained > 0) {
    rc = 1;
  } else if (rc == 0) {
    arena_reset(r->arena);
  }
  free(r);
  return rc;
}

int32_t mr_backend(mr_reactor *r, char *name, char *reason) {
  snprintf(name, MR_TEXT_BYTES, "%s", r->backend->name);
  snprintf(reason, MR_TEXT_BYTES, "%s", r->reason);
  return 0;
}

int32_t mr_poll(mr_reactor *r) {
  block_return(r->arena);
  if (++r->turn == 0) r->turn = 1;
  r->records = 0;
  r->heads_used = 0;
  r->replies_used = 0;
  r->slots_buried = 0;
  r->batch_left = r->options->batch;
  r->now = timer_now();
  if (r->member != NULL) crew_beat(r->member, r->now);
  counter_add(&r->control->polls, 1);
  bool away = r->now - r->polled_at >= AWAY_MS;
  r->polled_at = r->now;
  if (!away) timer_advance(r);
  r->files_left = FILES_TURN_BYTES;
  r->bytes_left = TURN_BYTES;
  mailbox_turn(r);
  conn_send_dirty(r, false);
  conn_send_files(r);
  conn_parse_ready(r);
  listener_tend(r);
  int rc = r->backend->poll(r);
  if (away) timer_advance(r);
  conn_bury(r);
  counter_set(&r->control->blocks_free, r->arena->free_count);
  return rc < 0 ? rc : (int32_t)r->records;
}

int32_t mr_flush(mr_reactor *r, uint32_t count, uint32_t now) {
  r->now = timer_now();  // the last turn may be long ago
  outbox_run(r, count);
  if (now != 0) conn_send_dirty(r, true);
  return 0;
}

int32_t mr_send(mr_reactor *r, uint32_t count, uint32_t handle, const uint8_t *bytes, uint32_t length) {
  mr_flush(r, count, 0);
  struct conn *c = conn_find(r, handle);
  return c == NULL || length > INT32_MAX ? 0 : (int32_t)conn_send_direct(r, c, bytes, length);
}

int32_t mr_mask(mr_reactor *r, uint32_t offset, uint32_t length, uint32_t key) {
  uint32_t capacity = r->control->outbox_bytes;
  if (offset > capacity || length > capacity - offset) return -EINVAL;
  const uint8_t mask[4] = {(uint8_t)key, (uint8_t)(key >> 8), (uint8_t)(key >> 16), (uint8_t)(key >> 24)};
  ws_mask(r->arena->outbox + offset, length, mask);
  return 0;
}

int32_t mr_wake_socket(mr_reactor *r) {
  int fd = r->wake_there;
  struct stat about;
  r->wake_there = -1;
  if (fd >= 0 && fstat(fd, &about) == 0) {
    r->wake_given = fd;
    r->wake_device = about.st_dev;
    r->wake_inode = about.st_ino;
  }
  return fd < 0 ? -EBADF : fd;
}

int32_t reactor_abandoned(struct mr_reactor *r) {
  // The runtime does not close it when it ends an isolate. By now it may have another meaning.
  struct stat about;
  int fd = r->wake_given;
  bool open = fd >= 0 && fstat(fd, &about) == 0;
  if (open && about.st_dev == r->wake_device && about.st_ino == r->wake_inode) close(fd);
  return mr_close(r);
}

static bool idle(const struct mr_reactor *r) {
  // The starved are fed in the next turn if there will be blocks then, and else when some are given back.
  const struct mr_arena *arena = r->arena;
  bool food = arena->free_count + arena->borrowed_count > arena_reserve(arena);
  return r->queues[QUEUE_READY].count == 0 && r->queues[QUEUE_DIRTY].count == 0 &&
         r->queues[QUEUE_FILES].count == 0 && r->queues[QUEUE_READABLE].count == 0 &&
         r->queues[QUEUE_DEAD].count == 0 && (r->queues[QUEUE_STARVED].count == 0 || !food);
}

// Whether sockets were accepted for us that there is room for; the others wait for connections to be closed.
static bool is_handed(const struct mr_reactor *r) {
  return r->member != NULL && r->listeners[0].waiting < WAITING_MAX && crew_has_handed(r->member);
}

int32_t mr_arm(mr_reactor *r) {
  if (!idle(r) || is_handed(r)) return 1;
  for (uint32_t id = 0; id < r->listeners_used; id++) {
    if (r->listeners[id].closing) return 1;
  }
  if (!mailbox_sleep(r)) return 1;
  timer_arm(r);
  int rc = r->backend->arm(r);
  if (rc == 0) {
    counter_add(&r->control->wakes, 1);
  } else {
    mailbox_stay_awake(r);
  }
  return rc;
}

int32_t mr_wake(mr_reactor *r) {
  wake_send(r->wake_here);
  return 0;
}
