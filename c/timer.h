// SPDX-License-Identifier: Apache-2.0
// timer.h - a wheel of coarse deadlines (RFC 9112 says nothing of time; an attacker does); called by conn.c.
#ifndef MR_TIMER_H
#define MR_TIMER_H

#include "reactor.h"

int timer_open(struct mr_reactor *r);
void timer_close(struct mr_reactor *r);

// Milliseconds on the monotonic clock, as coarse as the kernel's tick.
uint64_t timer_now(void);

// The earlier of two deadlines; 0 = none.
static inline uint64_t timer_earlier(uint64_t a, uint64_t b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

// Makes sure that the wheel looks at c no later than its earlier deadline. Later deadlines cost nothing: the
// wheel finds them when it looks.
void timer_schedule(struct mr_reactor *r, struct conn *c);

void timer_cancel(struct mr_reactor *r, struct conn *c);

// Calls conn_expired for every deadline that has passed.
void timer_advance(struct mr_reactor *r);

// Sets timer_fd to the next time at which the wheel has something to look at.
void timer_arm(struct mr_reactor *r);

// timer_fd became readable.
void timer_fired(struct mr_reactor *r);

#endif
