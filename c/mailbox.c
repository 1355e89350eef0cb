// SPDX-License-Identifier: Apache-2.0
// mailbox.c - messages between the threads of a process: mailboxes, each with its queue, and the wake-up of
// their reactors; called by reactor.c and, from any thread, by JavaScript.
//
// Waking. A reactor that goes to sleep says so, and then looks into its queue once more. Who posts fills the
// queue, and then looks whether its reader sleeps. Between the two steps of each lies a full fence, so that
// at least one of them sees what the other has done. Of those who see a sleeper one takes the word back, and
// that one sends the wake byte. tests/c/model/wake.pml is this as a model, all of whose states are looked at.
//
// Life. The epoch of a mailbox is odd while a reactor reads it. Each post carries the epoch that it was meant
// for, so that a reactor never sees what was posted to the one before it.
#include "mailbox.h"

#include <string.h>
#include <sys/eventfd.h>

#include "inbox.h"
#include "message.h"
#include "queue.h"
#include "sys.h"
#include "wake.h"

struct mailbox {
  struct queue queue;
  _Alignas(QUEUE_APART) _Atomic uint64_t bytes;  // of messages in the queue or in the reader's turn
  // The reader's next wake-up is owed to whoever posts.
  _Alignas(QUEUE_APART) _Atomic uint32_t asleep;
  _Atomic uint64_t epoch;
  _Atomic bool taken;  // a reactor has it, or is leaving it
  // Leads to the reader's wake socket, and nowhere while there is no reader. It is never closed before all
  // are, since somebody may be about to send to it: its number then might be that of a connection.
  int wake;
  _Atomic uint64_t full;  // counters of mr_mailbox_stats
  _Atomic uint64_t lost;
  _Atomic uint64_t wakes;
  // The reader's own from here on.
  _Alignas(QUEUE_APART) struct message *held[POSTED_MAX];  // those of this turn's records
  uint32_t held_count;
};

struct mr_mailboxes {
  _Atomic uint32_t refs;  // one of who has opened them, one for each reactor that reads
  uint32_t count;
  uint64_t max_bytes;
  int nowhere;  // where wake leads without a reader
  struct mailbox boxes[];
};

static void free_all(struct mr_mailboxes *all);

static void release_all(struct mr_mailboxes *all) {
  if (atomic_fetch_sub_explicit(&all->refs, 1, memory_order_acq_rel) == 1) free_all(all);
}

static void count_up(_Atomic uint64_t *counter) {
  atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool is_open(uint64_t epoch) {
  return (epoch & 1) != 0;
}

// A reader is done with a message.
static void let_go(struct mailbox *box, struct message *message) {
  atomic_fetch_sub_explicit(&box->bytes, message_size(message), memory_order_relaxed);
  message_release(message, 1);
}

static void release_held(struct mailbox *box) {
  for (uint32_t i = 0; i < box->held_count; i++) let_go(box, box->held[i]);
  box->held_count = 0;
}

static void empty(struct mailbox *box) {
  struct queue_item item;
  while (queue_pop(&box->queue, &item)) {
    count_up(&box->lost);
    let_go(box, item.pointer);
  }
}

static void free_all(struct mr_mailboxes *all) {
  for (uint32_t i = 0; i < all->count; i++) {
    struct mailbox *box = &all->boxes[i];
    if (box->queue.slots != NULL) empty(box);
    queue_close(&box->queue);
    if (box->wake >= 0) close(box->wake);
  }
  if (all->nowhere >= 0) close(all->nowhere);
  free(all);
}

static int open_box(const struct mr_mailboxes *all, struct mailbox *box, uint32_t capacity) {
  box->wake = -1;
  int rc = queue_open(&box->queue, capacity);
  if (rc != 0) return rc;
  box->wake = sys_dup(all->nowhere);
  return box->wake < 0 ? -errno : 0;
}

static bool options_valid(const struct mr_mailboxes_options *o) {
  return o->count > 0 && o->count <= MAILBOXES_MAX && o->capacity >= 2 &&
         o->capacity <= MAILBOX_SLOTS_MAX / o->count && (o->capacity & (o->capacity - 1)) == 0 &&
         o->max_bytes > 0 && o->max_bytes <= INT32_MAX;
}

int32_t mr_mailboxes_open(const struct mr_mailboxes_options *options, mr_mailboxes **out) {
  if (options == NULL || out == NULL || !options_valid(options)) return -EINVAL;
  size_t size = sizeof(struct mr_mailboxes) + options->count * sizeof(struct mailbox);
  struct mr_mailboxes *all = sys_allocate_aligned(QUEUE_APART, size);
  if (all == NULL) return -ENOMEM;
  memset(all, 0, size);
  all->refs = 1;
  all->max_bytes = options->max_bytes;
  all->nowhere = sys_failed(SYS_EVENTFD) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int rc = all->nowhere < 0 ? -errno : 0;
  while (rc == 0 && all->count < options->count) {
    rc = open_box(all, &all->boxes[all->count], options->capacity);
    all->count++;
  }
  if (rc != 0) {
    free_all(all);
    return rc;
  }
  *out = all;
  return 0;
}

int32_t mr_mailboxes_close(mr_mailboxes *all) {
  release_all(all);
  return 0;
}

int32_t mr_mailbox_open(mr_mailboxes *all, uint32_t index, mr_reactor *r) {
  if (index >= all->count) return -EINVAL;
  struct mailbox *box = &all->boxes[index];
  if (r->mailbox != NULL || atomic_exchange_explicit(&box->taken, true, memory_order_acquire)) return -EBUSY;
  if (sys_dup_over(r->wake_here, box->wake) < 0) {
    int error = errno;
    atomic_store_explicit(&box->taken, false, memory_order_release);
    return -error;
  }
  empty(box);  // what was on its way to the last reader
  atomic_store_explicit(&box->asleep, 0, memory_order_relaxed);
  r->mailboxes = all;
  r->mailbox = box;
  r->mailbox_epoch = atomic_fetch_add_explicit(&box->epoch, 1, memory_order_release) + 1;
  atomic_fetch_add_explicit(&all->refs, 1, memory_order_relaxed);
  return 0;
}

void mailbox_leave(struct mr_reactor *r) {
  struct mailbox *box = r->mailbox;
  if (box == NULL) return;
  atomic_fetch_add_explicit(&box->epoch, 1, memory_order_release);
  // Cannot fail: both are open.
  dup3(r->mailboxes->nowhere, box->wake, O_CLOEXEC);
  release_held(box);
  empty(box);
  atomic_store_explicit(&box->taken, false, memory_order_release);
  release_all(r->mailboxes);
  r->mailbox = NULL;
}

// False when nobody reads there, or there is no room.
static bool deliver(const struct mr_mailboxes *all, struct mailbox *box, struct message *message) {
  uint64_t epoch = atomic_load_explicit(&box->epoch, memory_order_acquire);
  if (!is_open(epoch)) {
    count_up(&box->lost);
    return false;
  }
  uint64_t size = message_size(message);
  uint64_t bytes = atomic_fetch_add_explicit(&box->bytes, size, memory_order_relaxed);
  const struct queue_item item = {.pointer = message, .tag = epoch};
  if (bytes + size <= all->max_bytes && queue_push(&box->queue, item)) return true;
  atomic_fetch_sub_explicit(&box->bytes, size, memory_order_relaxed);
  count_up(&box->full);
  return false;
}

static void wake(struct mailbox *box) {
  if (atomic_load_explicit(&box->asleep, memory_order_relaxed) == 0) return;
  if (atomic_exchange_explicit(&box->asleep, 0, memory_order_relaxed) == 0) return;
  count_up(&box->wakes);
  wake_send(box->wake);
}

// Takes the lowest mailbox out of one word of a mask.
static uint32_t next_box(uint32_t word, uint32_t *bits) {
  uint32_t index = 32 * word + (uint32_t)__builtin_ctz(*bits);
  *bits &= *bits - 1;
  return index;
}

// How many mailboxes a mask names, or -EINVAL when one of them does not exist.
static int32_t count_named(const struct mr_mailboxes *all, const uint32_t *mask, uint32_t words) {
  uint32_t named = 0;
  for (uint32_t word = 0; word < words; word++) {
    if (mask[word] == 0) continue;
    uint32_t highest = 32 * word + 31 - (uint32_t)__builtin_clz(mask[word]);
    if (highest >= all->count) return -EINVAL;
    named += (uint32_t)__builtin_popcount(mask[word]);
  }
  return (int32_t)named;
}

int32_t mr_mailbox_wake(mr_mailboxes *all, const uint32_t *mask, uint32_t words) {
  int32_t named = words > MAILBOXES_MAX / 32 ? -EINVAL : count_named(all, mask, words);
  if (named <= 0) return named;
  atomic_thread_fence(memory_order_seq_cst);  // filled, then looked
  for (uint32_t word = 0; word < words; word++) {
    for (uint32_t bits = mask[word]; bits != 0;) wake(&all->boxes[next_box(word, &bits)]);
  }
  return 0;
}

int32_t mr_mailbox_fill(mr_mailboxes *all, uint32_t *mask, uint32_t words, uint32_t from, uint32_t tag,
                        const uint8_t *bytes, uint32_t length) {
  if (words > MAILBOXES_MAX / 32) return -EINVAL;
  int32_t named = count_named(all, mask, words);
  if (named <= 0) return named;
  if (length + sizeof(struct message) > all->max_bytes) return -EMSGSIZE;
  struct message *message = message_new(bytes, length, (uint32_t)named + 1);
  if (message == NULL) return -ENOMEM;
  message->from = from;
  message->tag = tag;
  uint32_t delivered = 0;
  for (uint32_t word = 0; word < words; word++) {
    for (uint32_t bits = mask[word]; bits != 0;) {
      uint32_t index = next_box(word, &bits);
      if (deliver(all, &all->boxes[index], message)) {
        delivered++;
      } else {
        mask[word] &= ~(1u << index % 32);
      }
    }
  }
  message_release(message, (uint32_t)named + 1 - delivered);
  return (int32_t)delivered;
}

int32_t mr_mailbox_post(mr_mailboxes *all, uint32_t *mask, uint32_t words, uint32_t from, uint32_t tag,
                        const uint8_t *bytes, uint32_t length) {
  int32_t delivered = mr_mailbox_fill(all, mask, words, from, tag, bytes, length);
  if (delivered > 0) mr_mailbox_wake(all, mask, words);
  return delivered;
}

void mailbox_stay_awake(struct mr_reactor *r) {
  // Most often it was awake, and the line is not taken away from those who post.
  if (r->mailbox != NULL && atomic_load_explicit(&r->mailbox->asleep, memory_order_relaxed) != 0) {
    atomic_store_explicit(&r->mailbox->asleep, 0, memory_order_relaxed);
  }
}

bool mailbox_sleep(struct mr_reactor *r) {
  struct mailbox *box = r->mailbox;
  if (box == NULL) return true;
  atomic_store_explicit(&box->asleep, 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_seq_cst);  // said, then looked
  if (!queue_ready(&box->queue)) return true;
  mailbox_stay_awake(r);
  return false;
}

static void show(struct mr_reactor *r, struct mailbox *box, struct message *message) {
  r->arena->records[r->records++] = (struct mr_record){.kind = MR_POSTED,
                                                       .block = NO_BLOCK,
                                                       .start = box->held_count,
                                                       .length = message->length,
                                                       .aux = message->tag,
                                                       .total_low = message->from};
  box->held[box->held_count++] = message;
}

void mailbox_turn(struct mr_reactor *r) {
  struct mailbox *box = r->mailbox;
  if (box == NULL) return;
  mailbox_stay_awake(r);
  release_held(box);
  struct queue_item item;
  while (box->held_count < POSTED_MAX && inbox_has_room(r) && queue_pop(&box->queue, &item)) {
    if (item.tag == r->mailbox_epoch) {
      show(r, box, item.pointer);
    } else {
      count_up(&box->lost);
      let_go(box, item.pointer);
    }
  }
}

int32_t mr_mailbox_read(mr_reactor *r, uint32_t index, uint8_t *out, uint32_t capacity) {
  const struct mailbox *box = r->mailbox;
  if (box == NULL || index >= box->held_count) return -EINVAL;
  const struct message *message = box->held[index];
  if (message->length > capacity) return -EMSGSIZE;
  if (message->length > 0) memcpy(out, message->bytes, message->length);
  return (int32_t)message->length;
}

static uint64_t relaxed(const _Atomic uint64_t *value) {
  return atomic_load_explicit(value, memory_order_relaxed);
}

int32_t mr_mailbox_stats(mr_mailboxes *all, uint32_t index, struct mr_mailbox_stats *out) {
  if (index >= all->count) return -EINVAL;
  const struct mailbox *box = &all->boxes[index];
  // The head first: the other way round more might seem to be taken than was ever there.
  uint64_t taken = relaxed(&box->queue.head), posted = relaxed(&box->queue.tail);
  *out = (struct mr_mailbox_stats){
      .open = is_open(relaxed(&box->epoch)),
      .posted = posted,
      .waiting = posted - taken,
      .held_bytes = relaxed(&box->bytes),
      .full = relaxed(&box->full),
      .lost = relaxed(&box->lost),
      .wakes = relaxed(&box->wakes),
  };
  return 0;
}
