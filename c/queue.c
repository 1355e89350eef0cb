// SPDX-License-Identifier: Apache-2.0
// queue.c - the memory of queue.h; called by mailbox.c.
#include "queue.h"

#include "sys.h"

int queue_open(struct queue *queue, uint32_t capacity) {
  *queue = (struct queue){.mask = capacity - 1};
  queue->slots = sys_allocate_aligned(QUEUE_APART, capacity * sizeof(*queue->slots));
  if (queue->slots == NULL) return -ENOMEM;
  for (uint32_t i = 0; i < capacity; i++) atomic_init(&queue->slots[i].sequence, i);
  return 0;
}

void queue_close(struct queue *queue) {
  free(queue->slots);
  queue->slots = NULL;
}
