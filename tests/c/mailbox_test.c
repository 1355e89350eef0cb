// SPDX-License-Identifier: Apache-2.0
// mailbox_test.c - mailboxes as one thread sees them: records, bounds, life, waking, failures.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "limits.h"

static struct t_server server, other;
static mr_mailboxes *boxes;

// Records of MR_POSTED, in the order in which they came.
enum { SEEN_MAX = 4096 };
static struct {
  uint32_t tag;
  uint32_t from;
  uint32_t length;
} seen[SEEN_MAX];
static uint32_t seen_count;
static struct t_bytes last;

static void note(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind != MR_POSTED || seen_count == SEEN_MAX) return;
  seen[seen_count].tag = record->aux;
  seen[seen_count].from = record->total_low;
  seen[seen_count++].length = record->length;
  uint8_t *copy = malloc(record->length + 1);
  last.length = 0;
  int32_t length = mr_mailbox_read(s->reactor, record->start, copy, record->length);
  if (length == (int32_t)record->length) t_append(&last, copy, record->length);
  free(copy);
}

static int32_t open_boxes(uint32_t count, uint32_t capacity, uint32_t max_bytes) {
  const struct mr_mailboxes_options o = {.count = count, .capacity = capacity, .max_bytes = max_bytes};
  seen_count = 0;
  return mr_mailboxes_open(&o, &boxes);
}

static int32_t open_reactor(struct t_server *s, uint32_t backend) {
  const struct mr_options o = t_options(backend);
  int32_t rc = t_open_reactor(s, &o);
  s->handler = note;
  return rc;
}

static int32_t post(uint32_t mailbox, uint32_t tag, const void *bytes, uint32_t length) {
  uint32_t mask[MAILBOXES_MAX / 32] = {0};
  mask[mailbox / 32] = 1u << mailbox % 32;
  return mr_mailbox_post(boxes, mask, mailbox / 32 + 1, 9, tag, bytes, length);
}

static struct mr_mailbox_stats stats(uint32_t mailbox) {
  struct mr_mailbox_stats out = {0};
  mr_mailbox_stats(boxes, mailbox, &out);
  return out;
}

static bool readable(int ms) {
  struct pollfd fd = {.fd = server.wake, .events = POLLIN};
  return poll(&fd, 1, ms) == 1;
}

static void swallow(void) {
  uint8_t bytes[64];
  while (read(server.wake, bytes, sizeof(bytes)) > 0) continue;
}

static bool armed(void) {
  for (int i = 0; i < 1000; i++) {
    t_turn(&server);
    int32_t rc = mr_arm(server.reactor);
    if (rc <= 0) return rc == 0;
  }
  return false;
}

static bool run_post(uint32_t backend) {
  bool ok = true;
  static uint8_t big[100000];
  t_pattern(big, sizeof(big), 1);
  T_NEED(open_boxes(40, 16, 1 << 20) == 0);
  T_NEED(open_reactor(&server, backend) == 0);
  T_NEED(mr_mailbox_open(boxes, 35, server.reactor) == 0);
  T_NEED(post(35, 7, "hello", 5) == 1 && post(35, 8, NULL, 0) == 1 && post(35, 9, big, sizeof(big)) == 1);
  t_turn(&server);
  T_NEED(seen_count == 3 && seen[0].tag == 7 && seen[1].tag == 8 && seen[2].tag == 9);
  T_NEED(seen[0].from == 9 && seen[0].length == 5 && seen[1].length == 0);
  T_NEED(t_same(&last, big, sizeof(big)));
  // They are there until the next turn.
  uint8_t text[5];
  T_NEED(mr_mailbox_read(server.reactor, 0, text, 5) == 5 && memcmp(text, "hello", 5) == 0);
  T_NEED(mr_mailbox_read(server.reactor, 0, text, 4) == -EMSGSIZE);
  T_NEED(mr_mailbox_read(server.reactor, 3, text, 5) == -EINVAL);
  T_NEED(stats(35).held_bytes > sizeof(big) && stats(35).waiting == 0 && stats(35).posted == 3);
  t_turn(&server);
  T_NEED(mr_mailbox_read(server.reactor, 0, text, 5) == -EINVAL);
  T_NEED(stats(35).held_bytes == 0 && seen_count == 3);
end:
  ok = t_close(&server) && ok;
  return mr_mailboxes_close(boxes) == 0 && ok;
}

static bool run_many(uint32_t backend) {
  bool ok = true;
  T_NEED(open_boxes(64, 16, 1 << 20) == 0);
  T_NEED(open_reactor(&server, backend) == 0 && open_reactor(&other, backend) == 0);
  T_NEED(mr_mailbox_open(boxes, 0, server.reactor) == 0 && mr_mailbox_open(boxes, 63, other.reactor) == 0);
  uint32_t both[2] = {1, 1u << 31}, more[2] = {3, 1u << 31}, none[2] = {0, 0};
  T_NEED(mr_mailbox_post(boxes, both, 2, 0, 1, (const uint8_t *)"x", 1) == 2);
  T_NEED(mr_mailbox_post(boxes, more, 2, 0, 2, (const uint8_t *)"y", 1) == 2);
  T_NEED(both[0] == 1 && more[0] == 1 && more[1] == 1u << 31);  // who has taken it in
  T_NEED(stats(1).lost == 1 && stats(1).posted == 0 && stats(1).held_bytes == 0);
  T_NEED(mr_mailbox_post(boxes, none, 2, 0, 3, (const uint8_t *)"z", 1) == 0);
  t_turn(&server);
  t_turn(&other);
  T_NEED(seen_count == 4 && seen[1].tag == 2 && seen[2].tag == 1 && seen[3].tag == 2);
end:
  ok = t_close(&server) && ok;
  ok = t_close(&other) && ok;
  return mr_mailboxes_close(boxes) == 0 && ok;
}

static bool run_full(uint32_t backend) {
  bool ok = true;
  T_NEED(open_boxes(1, 4, 1000) == 0);
  T_NEED(open_reactor(&server, backend) == 0 && mr_mailbox_open(boxes, 0, server.reactor) == 0);
  for (uint32_t i = 0; i < 4; i++) T_NEED(post(0, i, "x", 1) == 1);
  T_NEED(post(0, 4, "x", 1) == 0 && stats(0).full == 1 && stats(0).waiting == 4);
  t_turn(&server);
  t_turn(&server);
  T_NEED(seen_count == 4 && seen[3].tag == 3);
  static const uint8_t bytes[1000];
  T_NEED(post(0, 5, bytes, 985) == -EMSGSIZE);
  T_NEED(post(0, 5, bytes, 984) == 1 && post(0, 6, NULL, 0) == 0 && stats(0).full == 2);
  t_turn(&server);
  // What a turn shows counts until it is over.
  T_NEED(seen_count == 5 && post(0, 7, NULL, 0) == 0);
  t_turn(&server);
  T_NEED(post(0, 8, NULL, 0) == 1);
end:
  ok = t_close(&server) && ok;
  return mr_mailboxes_close(boxes) == 0 && ok;
}

// More than a turn takes: the reactor does not sleep before the last one is shown.
static bool run_backlog(uint32_t backend) {
  bool ok = true;
  T_NEED(open_boxes(1, 2048, 1 << 20) == 0);
  T_NEED(open_reactor(&server, backend) == 0 && mr_mailbox_open(boxes, 0, server.reactor) == 0);
  for (uint32_t i = 0; i < 2048; i++) T_NEED(post(0, i, "x", 1) == 1);
  uint32_t turns = 0;
  do {
    t_turn(&server);
    turns++;
  } while (mr_arm(server.reactor) == 1);
  T_NEED(seen_count == 2048 && turns >= 2048 / POSTED_MAX);
  for (uint32_t i = 0; i < 2048; i++) T_NEED(seen[i].tag == i);
end:
  ok = t_close(&server) && ok;
  return mr_mailboxes_close(boxes) == 0 && ok;
}

static bool run_waking(uint32_t backend) {
  bool ok = true;
  T_NEED(open_boxes(1, 16, 1 << 20) == 0);
  T_NEED(open_reactor(&server, backend) == 0 && mr_mailbox_open(boxes, 0, server.reactor) == 0);
  T_NEED(armed());
  swallow();
  for (uint32_t i = 0; i < 100; i++) {
    T_NEED(post(0, i, "x", 1) == 1 && readable(T_DEADLINE_MS));
    T_NEED(post(0, i, "x", 1) == 1 && stats(0).wakes == i + 1);
    swallow();
    T_NEED(mr_arm(server.reactor) == 1);
    T_NEED(armed() && seen_count == 2 * (i + 1));
  }
  // Nobody wakes a reactor that is awake, nor one that could not be armed.
  t_turn(&server);
  T_NEED(post(0, 0, "x", 1) == 1 && mr_arm(server.reactor) == 1 && post(0, 0, "x", 1) == 1);
  T_NEED(!readable(0) && stats(0).wakes == 100);
  t_turn(&server);
  t_fault(backend == MR_EPOLL ? SYS_EPOLL_CTL : SYS_URING_ENTER, 0, 1, EAGAIN);
  if (mr_arm(server.reactor) < 0) T_NEED(post(0, 0, "x", 1) == 1 && !readable(0));
end:
  t_faults_clear();
  ok = t_close(&server) && ok;
  return mr_mailboxes_close(boxes) == 0 && ok;
}

// Many messages, and one byte for all of them when their sender says so.
static bool run_filling(uint32_t backend) {
  bool ok = true;
  T_NEED(open_boxes(2, 4, 1 << 20) == 0);
  T_NEED(open_reactor(&server, backend) == 0 && mr_mailbox_open(boxes, 1, server.reactor) == 0);
  T_NEED(armed());
  swallow();
  for (uint32_t i = 0; i < 6; i++) {
    uint32_t mask = 3;
    int32_t filled = mr_mailbox_fill(boxes, &mask, 1, 7, i, (const uint8_t *)"x", 1);
    T_NEED(filled == (i < 4 ? 1 : 0) && mask == (i < 4 ? 2 : 0));
  }
  T_NEED(!readable(0) && stats(1).wakes == 0 && stats(1).full == 2 && stats(0).lost == 6);
  const uint32_t all = 3, none = 0, too_many = 4;
  T_NEED(mr_mailbox_wake(boxes, &none, 1) == 0 && !readable(0));
  T_NEED(mr_mailbox_wake(boxes, &all, 1) == 0 && readable(T_DEADLINE_MS) && stats(1).wakes == 1);
  T_NEED(mr_mailbox_wake(boxes, &all, 1) == 0 && stats(1).wakes == 1);
  T_NEED(mr_mailbox_wake(boxes, &too_many, 1) == -EINVAL);
  T_NEED(mr_mailbox_wake(boxes, NULL, MAILBOXES_MAX / 32 + 1) == -EINVAL);
  t_turn(&server);
  T_NEED(seen_count == 4 && seen[3].tag == 3);
end:
  ok = t_close(&server) && ok;
  return mr_mailboxes_close(boxes) == 0 && ok;
}

// A mailbox changes hands: nothing of the last reader's reaches the next one.
static bool run_life(uint32_t backend) {
  bool ok = true;
  uint32_t fds = t_open_fds();
  T_NEED(open_boxes(2, 16, 1 << 20) == 0);
  T_NEED(open_reactor(&server, backend) == 0 && open_reactor(&other, backend) == 0);
  T_NEED(post(0, 1, "x", 1) == 0);
  T_NEED(mr_mailbox_open(boxes, 2, server.reactor) == -EINVAL);
  T_NEED(mr_mailbox_open(boxes, 0, server.reactor) == 0);
  T_NEED(mr_mailbox_open(boxes, 0, other.reactor) == -EBUSY);
  T_NEED(mr_mailbox_open(boxes, 1, server.reactor) == -EBUSY);
  T_NEED(post(0, 2, "x", 1) == 1);
  t_turn(&server);
  T_NEED(post(0, 3, "x", 1) == 1);
  T_NEED(t_close(&server) && stats(0).open == 0 && stats(0).held_bytes == 0 && stats(0).lost == 2);
  T_NEED(mr_mailbox_open(boxes, 0, other.reactor) == 0 && stats(0).open == 1);
  t_turn(&other);
  T_NEED(seen_count == 1 && post(0, 4, "x", 1) == 1);
  t_turn(&other);
  T_NEED(seen_count == 2 && seen[1].tag == 4);
  // Who reads goes on when the mailboxes are closed; the last one out frees them.
  T_NEED(mr_mailboxes_close(boxes) == 0);
  t_turn(&other);
  T_NEED(t_close(&other) && t_open_fds() == fds);
end:
  return ok;
}

static bool run_failures(uint32_t backend) {
  bool ok = true;
  uint32_t fds = t_open_fds();
  static const struct mr_mailboxes_options wrong[] = {
      {0, 16, 1000},      {MAILBOXES_MAX + 1, 16, 1000}, {1, 0, 1000}, {1, 1, 1000},     {1, 3, 1000},
      {1, 1u << 25, 100}, {1024, 1u << 15, 100},         {1, 16, 0},   {1, 16, 1u << 31}};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
    T_NEED(mr_mailboxes_open(&wrong[i], &boxes) == -EINVAL);
  }
  static const struct {
    enum sys_call call;
    uint32_t skip;
  } steps[] = {{SYS_ALLOCATE, 0}, {SYS_EVENTFD, 0}, {SYS_ALLOCATE, 1},
               {SYS_ALLOCATE, 3}, {SYS_DUP, 0},     {SYS_DUP, 2}};
  for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
    t_faults_clear();
    t_fault(steps[i].call, steps[i].skip, 1, ENOMEM);
    T_NEED(open_boxes(3, 16, 1000) == -ENOMEM && t_faults_fired() == 1);
  }
  t_faults_clear();
  T_NEED(t_open_fds() == fds);
  T_NEED(open_boxes(3, 16, 1000) == 0 && open_reactor(&server, backend) == 0);
  t_fault(SYS_DUP, 0, 1, EINTR);
  T_NEED(mr_mailbox_open(boxes, 0, server.reactor) == -EINTR && stats(0).open == 0);
  T_NEED(mr_mailbox_open(boxes, 0, server.reactor) == 0);
  t_fault(SYS_ALLOCATE, 0, 1, ENOMEM);
  T_NEED(post(0, 1, "x", 1) == -ENOMEM && stats(0).posted == 0);
  T_NEED(post(3, 1, "x", 1) == -EINVAL && post(40, 1, "x", 1) == -EINVAL);
  T_NEED(mr_mailbox_post(boxes, NULL, MAILBOXES_MAX / 32 + 1, 0, 0, NULL, 0) == -EINVAL);
  T_NEED(mr_mailbox_stats(boxes, 3, &(struct mr_mailbox_stats){0}) == -EINVAL);
  T_NEED(t_close(&server) && mr_mailboxes_close(boxes) == 0 && t_open_fds() == fds);
end:
  t_faults_clear();
  return ok;
}

int main(void) {
  T_BOTH("a message becomes a record of the next turn", run_post);
  T_BOTH("one message for many, and for those who read", run_many);
  T_BOTH("a full mailbox refuses and counts, by messages and by bytes", run_full);
  T_BOTH("what a turn does not take keeps the reactor awake", run_backlog);
  T_BOTH("only a sleeping reactor is woken, and once", run_waking);
  T_BOTH("what fills mailboxes wakes when it is told to", run_filling);
  T_BOTH("a mailbox changes hands, its messages do not", run_life);
  T_BOTH("failures leave nothing behind", run_failures);
  free(last.at);
  return t_done();
}
