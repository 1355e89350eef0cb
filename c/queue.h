// SPDX-License-Identifier: Apache-2.0
// queue.h - a bounded queue between threads without a lock: one consumer, one producer or many; used by
// mailbox.c.
//
// A slot's sequence says whose turn it is. It equals the position at which a producer may fill the slot, is
// one more when it is filled, and a round more when the consumer has emptied it. A producer that is stopped
// while it fills a slot hides what lies behind it, but keeps no other producer from going on.
#ifndef MR_QUEUE_H
#define MR_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// What different threads write lies so far apart: two cache lines, since processors fetch them in pairs.
#define QUEUE_APART 128

struct queue_item {
  void *pointer;
  uint64_t tag;
};

struct queue_slot {
  _Alignas(32) _Atomic uint64_t sequence;
  struct queue_item item;
};

struct queue {
  struct queue_slot *slots;
  uint64_t mask;                                // slots - 1
  _Alignas(QUEUE_APART) _Atomic uint64_t tail;  // producers: the next position to fill
  _Alignas(QUEUE_APART) _Atomic uint64_t head;  // the consumer: the next position to empty
};

// capacity is a power of two. Returns 0 or -errno.
int queue_open(struct queue *queue, uint32_t capacity);
void queue_close(struct queue *queue);

static inline struct queue_slot *queue_slot_at(const struct queue *queue, uint64_t position) {
  return &queue->slots[position & queue->mask];
}

static inline void queue_fill(struct queue_slot *slot, uint64_t position, struct queue_item item) {
  slot->item = item;
  atomic_store_explicit(&slot->sequence, position + 1, memory_order_release);
}

// False when the queue is full. For any number of producers.
static inline bool queue_push(struct queue *queue, struct queue_item item) {
  uint64_t at = atomic_load_explicit(&queue->tail, memory_order_relaxed);
  for (;;) {
    struct queue_slot *slot = queue_slot_at(queue, at);
    uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_acquire);
    if (sequence < at) return false;  // not emptied since the last round
    if (sequence > at) {              // filled by another producer
      at = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    } else if (atomic_compare_exchange_weak_explicit(&queue->tail, &at, at + 1, memory_order_relaxed,
                                                     memory_order_relaxed)) {
      queue_fill(slot, at, item);
      return true;
    }
  }
}

// The same where nobody else is a producer.
static inline bool queue_push_alone(struct queue *queue, struct queue_item item) {
  uint64_t at = atomic_load_explicit(&queue->tail, memory_order_relaxed);
  struct queue_slot *slot = queue_slot_at(queue, at);
  if (atomic_load_explicit(&slot->sequence, memory_order_acquire) != at) return false;
  atomic_store_explicit(&queue->tail, at + 1, memory_order_relaxed);
  queue_fill(slot, at, item);
  return true;
}

// For the consumer: whether the next slot is filled.
static inline bool queue_ready(const struct queue *queue) {
  uint64_t at = atomic_load_explicit(&queue->head, memory_order_relaxed);
  return atomic_load_explicit(&queue_slot_at(queue, at)->sequence, memory_order_acquire) == at + 1;
}

// For the consumer: false when there is nothing to take.
static inline bool queue_pop(struct queue *queue, struct queue_item *out) {
  if (!queue_ready(queue)) return false;
  uint64_t at = atomic_load_explicit(&queue->head, memory_order_relaxed);
  struct queue_slot *slot = queue_slot_at(queue, at);
  *out = slot->item;
  atomic_store_explicit(&queue->head, at + 1, memory_order_relaxed);
  atomic_store_explicit(&slot->sequence, at + queue->mask + 1, memory_order_release);
  return true;
}

#endif
