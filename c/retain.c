// SPDX-License-Identifier: Apache-2.0
// retain.c - blocks that the application keeps beyond their turn, or for good; called by JavaScript.
#include "arena.h"
#include "counter.h"
#include "reactor.h"
#include "sys.h"
#include "wake.h"

static bool is_block(const struct mr_arena *arena, uint32_t index) {
  return index < arena->options.block_count && arena->blocks[index].refs > 0;
}

static int32_t retain_first(struct mr_arena *arena, uint32_t index) {
  struct block *block = &arena->blocks[index];
  if (arena->reactor == NULL || block->turn != arena->reactor->turn) return -ESTALE;
  if (arena->retained >= arena->options.block_count / RETAINED_PART) {
    counter_add(&arena->control->retain_overflows, 1);
    return -ENOBUFS;
  }
  block->refs++;
  counter_set(&arena->control->blocks_retained, ++arena->retained);
  return 0;
}

int32_t mr_block_retain(mr_arena *arena, uint32_t index) {
  if (!is_block(arena, index)) return -ESTALE;
  struct block *block = &arena->blocks[index];
  int32_t rc = block->retained > 0 ? 0 : retain_first(arena, index);
  if (rc == 0) block->retained++;
  return rc;
}

int32_t mr_block_release(mr_arena *arena, uint32_t index) {
  if (!is_block(arena, index) || arena->blocks[index].retained == 0) return -EINVAL;
  if (--arena->blocks[index].retained > 0) return 0;
  counter_set(&arena->control->blocks_retained, --arena->retained);
  block_put(arena, index);
  struct mr_reactor *r = arena->reactor;
  if (r != NULL) {
    // One that sleeps does not look for blocks by itself.
    if (r->queues[QUEUE_STARVED].count > 0) wake_send(r->wake_here);
    return 0;
  }
  if (arena->retained > 0 || arena->lost) return 0;
  arena_reset(arena);
  return 1;
}

int32_t mr_block_lost(mr_arena *arena, uint32_t index) {
  if (!is_block(arena, index)) return -EINVAL;
  arena->blocks[index].refs++;
  counter_add(&arena->control->blocks_lost, 1);
  if (arena->reactor == NULL) arena->lost = true;
  return 0;
}
