// SPDX-License-Identifier: Apache-2.0
// mailbox_threads_test.c - reactors in threads of their own that post to one another, sleep, die and are
// replaced: no message is lost, doubled or overtaken, and no wake-up is missed. Built with ThreadSanitizer
// too (make tsan).
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "harness.h"

enum { WORKERS = 3, SENDERS = WORKERS + 1, OUTSIDE = WORKERS, MESSAGES = 2000, LIVES = 12, LONGEST = 300 };

static mr_mailboxes *boxes;

struct worker {
  pthread_t thread;
  struct t_server *server;
  uint32_t backend;
  uint32_t index;
  uint32_t next[SENDERS];  // tags below this have come from that sender
  uint32_t got;
  uint32_t sent;
  uint32_t sleeps;
  uint32_t lives_for;  // messages; 0: until all have come
  bool leaves;         // without a word: what it has is closed when its thread has ended
  bool ok;
};

static struct worker workers[WORKERS];
static atomic_uint finished;
static atomic_bool stop;

// A message says in each byte who has sent it and which it is.
static uint8_t fill(uint32_t from, uint32_t tag) {
  return (uint8_t)(from * 61 + tag * 7 + 1);
}

static int32_t post(uint32_t from, uint32_t tag, uint32_t mask) {
  uint8_t bytes[LONGEST];
  uint32_t length = tag % LONGEST;
  memset(bytes, fill(from, tag), length);
  return mr_mailbox_post(boxes, &mask, 1, from, tag, bytes, length);
}

static void receive(struct t_server *s, const struct mr_record *record, const uint8_t *unused) {
  (void)unused;
  struct worker *w = s->context;
  uint32_t from = record->total_low, tag = record->aux;
  uint8_t bytes[LONGEST];
  int32_t length = mr_mailbox_read(s->reactor, record->start, bytes, sizeof(bytes));
  if (from >= SENDERS || length != (int32_t)(tag % LONGEST)) {
    w->ok = false;
    return;
  }
  for (int32_t i = 0; i < length; i++) {
    if (bytes[i] != fill(from, tag)) w->ok = false;
  }
  // Where readers are replaced, a sender's messages have gaps, but an order all the same.
  if (w->lives_for == 0 ? tag != w->next[from] : tag < w->next[from]) w->ok = false;
  w->next[from] = tag + 1;
  w->got++;
}

static bool open_server(struct worker *w) {
  const struct mr_options o = t_options(w->backend);
  w->server = calloc(1, sizeof(*w->server));
  int32_t rc = t_open_reactor(w->server, &o);
  w->server->handler = receive;
  w->server->context = w;
  return rc == 0 && mr_mailbox_open(boxes, w->index, w->server->reactor) == 0;
}

static bool close_server(struct worker *w) {
  bool ok = t_close(w->server);
  free(w->server);
  return ok;
}

// Sleeps as Deno does. False when nothing comes for so long that a wake-up must have been lost.
static bool rest(struct worker *w) {
  w->sleeps++;  // a try that ends in more work counts too: who posts meanwhile sees a sleeper
  int32_t rc = mr_arm(w->server->reactor);
  if (rc != 0) return rc == 1;
  struct pollfd fd = {.fd = w->server->wake, .events = POLLIN};
  uint8_t byte[16];
  return poll(&fd, 1, T_DEADLINE_MS) == 1 && read(w->server->wake, byte, sizeof(byte)) > 0;
}

// Sends to all workers, itself among them; what is refused is tried again, by those alone who refused.
static void send_one(uint32_t from, uint32_t tag) {
  for (uint32_t i = 0; i < WORKERS; i++) {
    while (post(from, tag, 1u << i) == 0) usleep(50);
  }
}

static void *outside(void *unused) {
  for (uint32_t tag = 0; tag < MESSAGES; tag++) send_one(OUTSIDE, tag);
  return unused;
}

static void *work(void *context) {
  struct worker *w = context;
  w->ok = open_server(w);
  atomic_fetch_add(&finished, 1);
  while (atomic_load(&finished) < WORKERS) usleep(50);
  while (w->ok && (w->got < SENDERS * MESSAGES || w->sent < MESSAGES)) {
    t_turn(w->server);
    // All at once or nothing, so that a worker that is full is not waited for by one that should empty its
    // own.
    if (w->sent < MESSAGES && post(w->index, w->sent, (1u << WORKERS) - 1) == WORKERS) {
      w->sent++;
    } else if (w->sent < MESSAGES) {
      w->ok = false;
    } else if (!rest(w)) {
      w->ok = w->got == SENDERS * MESSAGES;
    }
  }
  return close_server(w) ? context : NULL;
}

static bool open_boxes(uint32_t capacity) {
  const struct mr_mailboxes_options o = {.count = WORKERS, .capacity = capacity, .max_bytes = 64 << 20};
  memset(workers, 0, sizeof(workers));
  atomic_store(&finished, 0);
  atomic_store(&stop, false);
  return mr_mailboxes_open(&o, &boxes) == 0;
}

static void start(struct worker *w, uint32_t index, uint32_t backend, void *(*run)(void *)) {
  w->index = index;
  w->backend = backend;
  pthread_create(&w->thread, NULL, run, w);
}

// Everybody sends to everybody; the mailboxes hold all that can be under way.
static bool run_all(uint32_t backend) {
  if (!open_boxes(1 << 14)) return false;
  pthread_t sender;
  for (uint32_t i = 0; i < WORKERS; i++) start(&workers[i], i, backend, work);
  while (atomic_load(&finished) < WORKERS) usleep(50);
  pthread_create(&sender, NULL, outside, NULL);
  bool ok = true;
  for (uint32_t i = 0; i < WORKERS; i++) {
    void *closed;
    pthread_join(workers[i].thread, &closed);
    if (!workers[i].ok || closed == NULL) {
      fprintf(stderr, "worker %u: %u got, %u sent\n", i, workers[i].got, workers[i].sent);
      ok = false;
    }
  }
  pthread_join(sender, NULL);
  for (uint32_t i = 0; i < WORKERS; i++) {
    struct mr_mailbox_stats stats;
    mr_mailbox_stats(boxes, i, &stats);
    // One wake-up at most for each sleep.
    ok =
        ok && stats.posted == SENDERS * MESSAGES && stats.held_bytes == 0 && stats.wakes <= workers[i].sleeps;
  }
  return mr_mailboxes_close(boxes) == 0 && ok;
}

// One message, one sleep: a ping-pong in which each wake-up counts.
static void *echo(void *context) {
  struct worker *w = context;
  w->ok = open_server(w);
  atomic_fetch_add(&finished, 1);
  while (atomic_load(&finished) < 2) usleep(50);
  if (w->index == 0) post(0, 0, 2);
  for (uint32_t heard = 0; w->ok && heard < MESSAGES;) {
    t_turn(w->server);
    if (w->got > heard) {
      heard++;
      if (w->index == 1 || heard < MESSAGES)
        post(w->index, w->index == 0 ? heard : heard - 1, 2u >> w->index);
    } else if (!rest(w)) {
      w->ok = false;
    }
  }
  return close_server(w) ? context : NULL;
}

static bool run_echo(uint32_t backend) {
  if (!open_boxes(16)) return false;
  bool ok = true;
  for (uint32_t i = 0; i < 2; i++) start(&workers[i], i, backend, echo);
  for (uint32_t i = 0; i < 2; i++) {
    void *closed;
    pthread_join(workers[i].thread, &closed);
    ok = ok && workers[i].ok && closed != NULL;
  }
  return mr_mailboxes_close(boxes) == 0 && ok;
}

static void *flood(void *context) {
  uint32_t from = *(const uint32_t *)context;
  for (uint32_t tag = 0; !atomic_load(&stop); tag++) {
    post(from, tag, (1u << WORKERS) - 1);
    if (tag % 8 == 0) usleep(1);
  }
  return NULL;
}

static void *short_life(void *context) {
  struct worker *w = context;
  w->ok = open_server(w);
  // None is closed before all are open: ThreadSanitizer does not see that the kernel takes a ring's memory
  // back.
  atomic_fetch_add(&finished, 1);
  while (atomic_load(&finished) < WORKERS) usleep(50);
  while (w->ok && w->got < w->lives_for) {
    t_turn(w->server);
    if (!rest(w)) w->ok = false;
  }
  // What is in its mailbox, and what this turn has shown, is left as it is.
  if (!w->leaves && !close_server(w)) w->ok = false;
  return NULL;
}

static bool bury(struct worker *w) {
  struct mr_mailbox_stats stats;
  pthread_join(w->thread, NULL);
  if (w->leaves) free(w->server);
  return mr_mailbox_stats(boxes, w->index, &stats) == 0 && stats.open == 0 && w->ok;
}

static bool run_deaths(uint32_t backend) {
  if (!open_boxes(64)) return false;
  static const uint32_t senders[2] = {0, OUTSIDE};
  pthread_t threads[2];
  bool ok = true;
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, flood, (void *)(uintptr_t)&senders[i]);
  for (uint32_t life = 0; ok && life < LIVES; life++) {
    atomic_store(&finished, 0);
    for (uint32_t i = 0; i < WORKERS; i++) {
      memset(&workers[i], 0, sizeof(workers[i]));
      workers[i].lives_for = 20 + 37 * i;
      workers[i].leaves = (life + i) % 2 == 0;
      start(&workers[i], i, backend, short_life);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
      ok = bury(&workers[i]) && ok;
    }
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  // What came too late for the last reader is still there, and goes with the mailboxes.
  return mr_mailboxes_close(boxes) == 0 && ok;
}

int main(void) {
  uint32_t fds = t_open_fds();
  T_BOTH("all send to all: everything arrives once, in order", run_all);
  T_BOTH("a ping-pong of sleepers misses no wake-up", run_echo);
  T_BOTH("readers die and are replaced while others send", run_deaths);
  t_case("no descriptor is left", t_open_fds() == fds);
  return t_done();
}
