// SPDX-License-Identifier: Apache-2.0
// timer.c - the timer wheel and the timerfd that wakes an idle reactor for it; called by reactor.c and
// conn.c.
#include "timer.h"

#include <sys/timerfd.h>
#include <time.h>

#include "conn.h"
#include "sys.h"

#define NO_SLOT 0xffffffff

uint64_t timer_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int timer_open(struct mr_reactor *r) {
  for (uint32_t i = 0; i < WHEEL_SLOTS; i++) r->wheel[i] = NO_SLOT;
  r->now = timer_now();
  r->wheel_tick = r->now >> TICK_SHIFT;
  r->timer_fd = sys_failed(SYS_TIMERFD) ? -1 : timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  return r->timer_fd < 0 ? -errno : 0;
}

void timer_close(struct mr_reactor *r) {
  if (r->timer_fd >= 0) close(r->timer_fd);
}

static uint64_t earliest(const struct conn *c) {
  return timer_earlier(c->phase_deadline, c->stall_deadline);
}

// A deadline is due in the tick after the one it lies in: never early, at most one tick late.
static uint32_t wheel_index(uint64_t due) {
  return (uint32_t)((due >> TICK_SHIFT) + 1) & (WHEEL_SLOTS - 1);
}

static void wheel_link(struct mr_reactor *r, struct conn *c, uint64_t due) {
  uint32_t slot = slot_of(c->handle);
  uint32_t *head = &r->wheel[wheel_index(due)];
  c->wheel_due = due;
  c->wheel_prev = NO_SLOT;
  c->wheel_next = *head;
  if (*head != NO_SLOT) r->conns[*head].wheel_prev = slot;
  *head = slot;
  r->wheel_count++;
}

void timer_cancel(struct mr_reactor *r, struct conn *c) {
  if (c->wheel_due == 0) return;
  if (c->wheel_next != NO_SLOT) r->conns[c->wheel_next].wheel_prev = c->wheel_prev;
  if (c->wheel_prev != NO_SLOT) {
    r->conns[c->wheel_prev].wheel_next = c->wheel_next;
  } else {
    r->wheel[wheel_index(c->wheel_due)] = c->wheel_next;
  }
  c->wheel_due = 0;
  r->wheel_count--;
}

void timer_schedule(struct mr_reactor *r, struct conn *c) {
  uint64_t due = earliest(c);
  if (due == 0 || (c->wheel_due != 0 && c->wheel_due <= due)) return;
  timer_cancel(r, c);
  wheel_link(r, c, due);
}

static void wheel_visit(struct mr_reactor *r, uint32_t index) {
  uint32_t slot = r->wheel[index];
  while (slot != NO_SLOT) {
    struct conn *c = &r->conns[slot];
    slot = c->wheel_next;
    uint64_t due = earliest(c);
    if (due != 0 && due <= r->now) {
      timer_cancel(r, c);
      conn_expired(r, c);
      timer_schedule(r, c);
    } else if (c->wheel_due <= r->now) {
      timer_cancel(r, c);
      timer_schedule(r, c);
    }
  }
}

void timer_advance(struct mr_reactor *r) {
  uint64_t tick = r->now >> TICK_SHIFT;
  if (tick == r->wheel_tick) return;
  // After a long sleep one rotation visits every slot; more would only repeat it.
  uint64_t first = tick - r->wheel_tick > WHEEL_SLOTS ? tick - WHEEL_SLOTS : r->wheel_tick;
  r->wheel_tick = tick;
  if (r->wheel_count == 0) return;
  for (uint64_t t = first + 1; t <= tick; t++) wheel_visit(r, (uint32_t)t & (WHEEL_SLOTS - 1));
}

static uint64_t wheel_next_due(const struct mr_reactor *r) {
  if (r->wheel_count == 0) return 0;
  for (uint64_t t = r->wheel_tick + 1; t <= r->wheel_tick + WHEEL_SLOTS; t++) {
    if (r->wheel[t & (WHEEL_SLOTS - 1)] != NO_SLOT) return t << TICK_SHIFT;
  }
  return 0;
}

static uint64_t listeners_next_due(const struct mr_reactor *r) {
  uint64_t due = 0;
  for (uint32_t i = 0; i < r->listeners_used; i++) {
    uint64_t at = r->listeners[i].resume_at;
    if (at != 0 && (due == 0 || at < due)) due = at;
  }
  return due;
}

void timer_arm(struct mr_reactor *r) {
  uint64_t due = wheel_next_due(r);
  uint64_t resume = listeners_next_due(r);
  if (resume != 0 && (due == 0 || resume < due)) due = resume;
  if (due == r->timer_set) return;
  r->timer_set = due;
  struct itimerspec when = {0};
  // The coarse clock lags by up to a kernel tick; a few milliseconds more keep it from waking too early.
  uint64_t ms = due == 0 ? 0 : due + 8;
  when.it_value.tv_sec = (time_t)(ms / 1000);
  when.it_value.tv_nsec = (long)(ms % 1000) * 1000000;
  timerfd_settime(r->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void timer_fired(struct mr_reactor *r) {
  uint64_t times;
  if (read(r->timer_fd, &times, sizeof(times)) > 0) r->timer_set = 0;
}
