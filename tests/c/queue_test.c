// SPDX-License-Identifier: Apache-2.0
// queue_test.c - queues between threads: every value arrives once and in its producer's order, however full
// or empty they run. Built with ThreadSanitizer too (make tsan).
#include "queue.h"

#include <pthread.h>
#include <sched.h>
#include <stddef.h>

#include "check.h"

enum { PRODUCERS = 4, VALUES = 50000 };

// What a producer puts in and what became of it.
struct producer {
  struct queue *queue;
  pthread_t thread;
  uint64_t id;
  bool alone;
  bool retries;
  uint64_t refused;
};

static struct queue_item item_of(uint64_t id, uint64_t value) {
  return (struct queue_item){.pointer = (void *)(uintptr_t)(id + 1), .tag = value};
}

static void *produce(void *context) {
  struct producer *p = context;
  for (uint64_t value = 0; value < VALUES; value++) {
    const struct queue_item item = item_of(p->id, value);
    while (!(p->alone ? queue_push_alone(p->queue, item) : queue_push(p->queue, item))) {
      p->refused++;
      if (!p->retries) break;
      sched_yield();
    }
  }
  return NULL;
}

// The consumer, until each producer's last value has come or, where some are refused, until none can come.
struct seen {
  uint64_t next[PRODUCERS];  // a value of that producer that is not lower is in order
  uint64_t count;
  bool in_order;
};

static void take(struct queue *queue, struct seen *seen, bool gapless) {
  struct queue_item item;
  while (queue_pop(queue, &item)) {
    uint64_t id = (uint64_t)(uintptr_t)item.pointer - 1;
    bool follows = id < PRODUCERS && (gapless ? item.tag == seen->next[id] : item.tag >= seen->next[id]);
    if (!follows) seen->in_order = false;
    if (id < PRODUCERS) seen->next[id] = item.tag + 1;
    seen->count++;
  }
}

static bool stress(uint32_t capacity, uint32_t producers, bool alone, bool retries) {
  struct queue queue;
  struct producer all[PRODUCERS] = {0};
  struct seen seen = {.in_order = true};
  if (queue_open(&queue, capacity) != 0) return false;
  for (uint32_t i = 0; i < producers; i++) {
    all[i] = (struct producer){.queue = &queue, .id = i, .alone = alone, .retries = retries};
    pthread_create(&all[i].thread, NULL, produce, &all[i]);
  }
  uint64_t total = (uint64_t)producers * VALUES, refused = 0;
  // Without retries nobody knows how many will come: half of them are taken while the producers run.
  for (uint64_t rounds = 0; retries ? seen.count < total : rounds < total / 2; rounds++) {
    take(&queue, &seen, retries);
    if (!queue_ready(&queue)) sched_yield();
  }
  for (uint32_t i = 0; i < producers; i++) {
    pthread_join(all[i].thread, NULL);
    if (!retries) refused += all[i].refused;
  }
  take(&queue, &seen, retries);
  bool empty = !queue_ready(&queue) && atomic_load(&queue.head) == atomic_load(&queue.tail);
  queue_close(&queue);
  return seen.in_order && empty && seen.count + refused == total;
}

static bool run_bounds(void) {
  for (uint32_t capacity = 2; capacity <= 64; capacity *= 2) {
    struct queue queue;
    struct queue_item item;
    if (queue_open(&queue, capacity) != 0 || queue_ready(&queue) || queue_pop(&queue, &item)) return false;
    uint64_t in = 0, out = 0;
    // Each round begins at another slot, so that the end of the memory is met everywhere.
    for (uint32_t round = 0; round < 3 * capacity; round++) {
      for (uint32_t i = 0; i < capacity; i++, in++) {
        bool one = i % 2 == 0;
        if (!(one ? queue_push(&queue, item_of(0, in)) : queue_push_alone(&queue, item_of(0, in))))
          return false;
      }
      if (queue_push(&queue, item_of(0, in)) || queue_push_alone(&queue, item_of(0, in))) return false;
      for (uint32_t i = 0; i < capacity; i++, out++) {
        if (!queue_ready(&queue) || !queue_pop(&queue, &item) || item.tag != out) return false;
      }
      if (queue_pop(&queue, &item)) return false;
      if (!queue_push(&queue, item_of(0, in++)) || !queue_pop(&queue, &item) || item.tag != out++)
        return false;
    }
    queue_close(&queue);
  }
  return true;
}

// What two threads write never shares a cache line.
static bool run_apart(void) {
  return offsetof(struct queue, head) - offsetof(struct queue, tail) >= QUEUE_APART &&
         offsetof(struct queue, tail) - offsetof(struct queue, mask) >= 64 && sizeof(struct queue_slot) == 32;
}

int main(void) {
  t_case("empty gives nothing, full takes nothing, at every slot", run_bounds());
  t_case("producers and consumer do not share a cache line", run_apart());
  t_case("one producer: every value in order", stress(1024, 1, true, true));
  t_case("one producer, two slots", stress(2, 1, true, true));
  t_case("four producers: every value in order", stress(1024, PRODUCERS, false, true));
  t_case("four producers, two slots", stress(2, PRODUCERS, false, true));
  t_case("four producers that do not wait: what is taken is what was not refused",
         stress(8, PRODUCERS, false, false));
  return t_done();
}
