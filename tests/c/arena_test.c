// SPDX-License-Identifier: Apache-2.0
// arena_test.c - the arena's layout, its blocks, its page sizes, and what it refuses.
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "faults.h"
#include "harness.h"

static struct mr_options small(void) {
  struct mr_options o = t_options(MR_AUTO);
  o.ring_entries = 64;
  o.block_count = 64;
  o.receive_buffers = 16;
  return o;
}

// One arena for the tests of blocks, since none is ever unmapped.
static struct mr_arena *the_arena(void) {
  static mr_arena *arena;
  struct mr_options o = small();
  if (arena == NULL && mr_arena_open(&o, &arena) != 0) exit(EXIT_FAILURE);
  return arena;
}

static bool parts_apart(void) {
  struct mr_arena *a = the_arena();
  const struct mr_control *c = a->control;
  const struct {
    uint64_t offset, bytes;
  } parts[] = {
      {0, sizeof(*c)},
      {c->records_offset, c->records_capacity * sizeof(struct mr_record)},
      {c->commands_offset, c->commands_capacity * sizeof(struct mr_command)},
      {c->rows_offset, c->rows_capacity * sizeof(struct mr_row)},
      {c->outbox_offset, c->outbox_bytes},
      {c->heads_offset, c->heads_bytes},
      {c->blocks_offset, (uint64_t)c->blocks_capacity * MR_BLOCK_BYTES},
  };
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    if (parts[i].offset % 64 != 0 || parts[i].offset + parts[i].bytes > mr_arena_bytes(a)) return false;
    for (size_t j = 0; j < i; j++) {
      bool before = parts[j].offset + parts[j].bytes <= parts[i].offset;
      bool after = parts[i].offset + parts[i].bytes <= parts[j].offset;
      if (!before && !after) return false;
    }
  }
  return c->abi == mr_abi() && mr_arena_base(a) == (void *)c;
}

static bool blocks_counted(void) {
  struct mr_arena *a = the_arena();
  uint32_t taken[64];
  bool seen[64] = {false};
  for (uint32_t i = 0; i < 64; i++) {
    taken[i] = block_get(a);
    if (taken[i] >= 64 || seen[taken[i]]) return false;
    seen[taken[i]] = true;
    memset(block_at(a, taken[i]), (int)i, MR_BLOCK_BYTES);
  }
  if (block_get(a) != NO_BLOCK) return false;
  for (uint32_t i = 0; i < 64; i++) {
    if (block_at(a, taken[i])[0] != i || block_at(a, taken[i])[MR_BLOCK_BYTES - 1] != i) return false;
    block_put(a, taken[i]);
  }
  return a->free_count == 64;
}

// A block that a record names outlives its owner until the turn is over, however often it is named.
static bool blocks_borrowed(void) {
  struct mr_arena *a = the_arena();
  uint32_t block = block_get(a);
  for (int i = 0; i < 5; i++) block_borrow(a, block, 7);
  block_put(a, block);
  if (a->free_count != 63) return false;
  block_return(a);
  if (a->free_count != 64) return false;
  block = block_get(a);
  block_borrow(a, block, 7);  // the turn's number is not remembered from the last owner
  block_return(a);
  if (a->free_count != 63) return false;
  block_put(a, block);
  return a->free_count == 64;
}

static bool refused(size_t offset, uint32_t value) {
  struct mr_options o = small();
  mr_arena *arena = NULL;
  memcpy((uint8_t *)&o + offset, &value, sizeof(value));
  return mr_arena_open(&o, &arena) == -EINVAL && arena == NULL;
}

#define REFUSED(field, value) refused(offsetof(struct mr_options, field), (uint32_t)(value))

static bool options_refused(void) {
  return REFUSED(backend, 3) && REFUSED(ring_entries, 0) && REFUSED(ring_entries, 100) &&
         REFUSED(ring_entries, 65536) && REFUSED(batch, 0) && REFUSED(max_connections, 0) &&
         REFUSED(max_connections, (1 << 20) + 1) && REFUSED(block_count, 31) && REFUSED(block_count, 65536) &&
         REFUSED(receive_buffers, 4) && REFUSED(receive_buffers, 24) && REFUSED(receive_buffers, 64) &&
         REFUSED(outbox_bytes, 65535) && REFUSED(outbox_bytes, (1u << 30) + 1) &&
         REFUSED(max_head_bytes, 255) && REFUSED(max_head_bytes, 16385) && REFUSED(max_target_bytes, 16385) &&
         REFUSED(max_fields, 0) && REFUSED(max_queue_bytes, 0) && REFUSED(pages, 3) && REFUSED(prefault, 2) &&
         REFUSED(memory_node, MR_NODES_MAX + 1) && mr_arena_open(NULL, NULL) == -EINVAL;
}

// All offsets of the layout have 32 bits.
static mr_arena *largest;

static bool largest_fits(void) {
  // The largest of everything is 2.1 GiB: no options that are valid by themselves come near.
  struct mr_options o = small();
  o.block_count = 65535;
  o.max_connections = 1 << 20;
  o.outbox_bytes = 1 << 30;
  o.ring_entries = 32768;
  return mr_arena_open(&o, &largest) == 0 && mr_arena_bytes(largest) <= UINT32_MAX;
}

static bool memory_refused(void) {
  struct mr_options o = small();
  mr_arena *arena = NULL;
  bool ok = true;
  // hugetlb, aligned, private: the first is a wish, the others are not.
  for (uint32_t i = 1; i <= 2; i++) {
    t_faults_clear();
    t_fault(SYS_MMAP, 0, 1, ENOMEM);
    t_fault(SYS_MMAP, i - 1, 1, ENOMEM);
    ok = ok && mr_arena_open(&o, &arena) == -ENOMEM && arena == NULL && t_faults_fired() == 2;
  }
  t_faults_clear();
  return ok;
}

// A thread that opens an arena and ends without having used it.
struct visit {
  pthread_t thread;
  struct mr_options options;
  mr_arena *arena;
  sem_t opened, over;
};

static void *open_and_end(void *context) {
  struct visit *v = context;
  if (mr_arena_open(&v->options, &v->arena) != 0) v->arena = NULL;
  sem_post(&v->opened);
  sem_wait(&v->over);
  return NULL;
}

static void visit(struct visit *v, const struct mr_options *options) {
  v->options = *options;
  sem_init(&v->opened, 0, 0);
  sem_init(&v->over, 0, 0);
  pthread_create(&v->thread, NULL, open_and_end, v);
  sem_wait(&v->opened);
}

static mr_arena *leave(struct visit *v) {
  sem_post(&v->over);
  pthread_join(v->thread, NULL);
  return v->arena;
}

// Opens a reactor on the arena and tells from which node its memory is wanted.
static uint32_t node_of(mr_arena *arena, const struct mr_options *options) {
  mr_reactor *reactor;
  char reason[MR_TEXT_BYTES];
  struct mr_memory memory;
  if (arena == NULL || mr_open(arena, options, &reactor, reason) != 0) return UINT32_MAX;
  bool known = mr_arena_memory(arena, &memory) == 0;
  return mr_close(reactor) == 0 && known ? memory.node : UINT32_MAX;
}

static bool other_node(void) {
  struct mr_options o = small(), other = small();
  o.block_count = other.block_count = 72;  // as no other test has it
  o.memory_node = 1;
  other.memory_node = 2;
  struct visit v;
  visit(&v, &o);
  mr_arena *left = leave(&v), *arena = NULL, *small_pages = NULL;
  t_faults_clear();
  bool ok = left != NULL && mr_arena_open(&other, &arena) == 0 && arena == left;
  ok = t_fault_calls(SYS_MBIND) == 0 && node_of(arena, &other) == 2 && t_fault_calls(SYS_MBIND) == 2 && ok;
  ok = node_of(arena, &other) == 2 && t_fault_calls(SYS_MBIND) == 2 && ok;
  other.memory_node = 0;
  ok = node_of(arena, &other) == 0 && t_fault_calls(SYS_MBIND) == 4 && ok;
  // Of other pages it would have to be mapped anew.
  other.pages = MR_PAGES_SMALL;
  ok = node_of(arena, &other) == UINT32_MAX && ok;
  return mr_arena_open(&other, &small_pages) == 0 && small_pages != arena && ok;
}

static bool same_node(void) {
  struct mr_options o = small();
  struct visit visits[2];
  mr_arena *left[2], *arena;
  bool ok = true;
  o.block_count = 80;
  for (uint32_t i = 0; i < 2; i++) {
    o.memory_node = i + 1;
    visit(&visits[i], &o);
  }
  for (uint32_t i = 0; i < 2; i++) left[i] = leave(&visits[i]);
  // The second one is first in line.
  for (uint32_t i = 0; i < 2; i++) {
    o.memory_node = i + 1;
    ok = mr_arena_open(&o, &arena) == 0 && arena == left[i] && ok;
  }
  return ok && left[0] != left[1];
}

static bool prefaulted(void) {
  struct mr_options o = small();
  struct mr_memory before = {0}, memory = {0};
  mr_arena *arena;
  mr_reactor *reactor;
  char reason[MR_TEXT_BYTES];
  o.block_count = 88;
  o.pages = MR_PAGES_SMALL;
  bool ok = mr_arena_open(&o, &arena) == 0 && mr_arena_memory(arena, &before) == 0;
  o.prefault = 1;
  ok = ok && mr_open(arena, &o, &reactor, reason) == 0;
  if (!ok) return false;
  ok = mr_arena_memory(arena, &memory) == 0 && memory.mapped_bytes == before.mapped_bytes;
  if (memory.counted != 0) {
    ok = before.resident_bytes < 100000 && memory.resident_bytes == memory.mapped_bytes && ok;
  }
  return mr_close(reactor) == 0 && ok;
}

int main(void) {
  t_case("the parts of the arena do not overlap", parts_apart());
  t_case("block_get() gives out every block once", blocks_counted());
  t_case("block_borrow() keeps a block until the end of the turn", blocks_borrowed());
  t_case("mr_arena_open() refuses options that do not fit", options_refused());
  t_case("the largest arena fits 32-bit offsets", largest_fits());
  t_case("mr_arena_open() is told that there is no memory", memory_refused());
  t_case("memory of a thread that has ended is moved to another node", other_node());
  t_case("of several such, one is taken that is there already", same_node());
  t_case("a reactor that prefaults has all its memory from the beginning", prefaulted());
  return t_done();
}
