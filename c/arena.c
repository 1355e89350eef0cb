// SPDX-License-Identifier: Apache-2.0
// arena.c - lays the shared memory out and keeps count of its blocks; called by reactor.c and conn.c.
#include "arena.h"

#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "reactor.h"
#include "sys.h"
#include "thread.h"

#define PAGE_BYTES 4096
#define CONNECTIONS_MAX (1u << MR_SLOT_BITS)
#define BLOCKS_MAX 65535  // a block's index is its io_uring buffer id, 16 bits

static bool options_valid(const struct mr_options *o) {
  bool counts = o->ring_entries >= 8 && o->ring_entries <= 32768 && o->batch >= 1 && o->batch <= 65536 &&
                o->max_connections >= 1 && o->max_connections <= CONNECTIONS_MAX && o->receive_buffers >= 8 &&
                o->receive_buffers <= 32768 && o->block_count >= 2 * o->receive_buffers &&
                o->block_count <= BLOCKS_MAX;
  bool powers =
      (o->ring_entries & (o->ring_entries - 1)) == 0 && (o->receive_buffers & (o->receive_buffers - 1)) == 0;
  bool sizes = o->outbox_bytes >= 65536 && o->outbox_bytes <= 1u << 30 && o->max_head_bytes >= 256 &&
               o->max_head_bytes <= MR_BLOCK_BYTES && o->max_target_bytes <= o->max_head_bytes &&
               o->max_fields >= 1 && o->max_pipelined >= 1 && o->max_queue_bytes >= 1;
  bool memory = o->pages <= MR_PAGES_SMALL && o->prefault <= 1 && o->memory_node <= MR_NODES_MAX;
  return o->backend <= MR_EPOLL && counts && powers && sizes && memory;
}

// Gives out the next part of a region, page-aligned so that parts do not share cache lines.
static uint64_t part(uint64_t *used, uint64_t bytes) {
  uint64_t offset = *used;
  *used += (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
  return offset;
}

static void control_fill(struct mr_control *control, const struct mr_options *o, uint64_t *used) {
  // Four records for each ring entry carry data; as many again are kept for the records of connections'
  // lives, of which one completion makes at most one.
  control->records_capacity = 8 * o->ring_entries;
  control->commands_capacity = 4 * o->ring_entries;
  control->rows_capacity = o->max_connections;
  control->blocks_capacity = o->block_count;
  control->outbox_bytes = o->outbox_bytes;
  part(used, sizeof(struct mr_control));
  control->records_offset = (uint32_t)part(used, control->records_capacity * sizeof(struct mr_record));
  control->commands_offset = (uint32_t)part(used, control->commands_capacity * sizeof(struct mr_command));
  control->rows_offset = (uint32_t)part(used, (uint64_t)control->rows_capacity * sizeof(struct mr_row));
  control->outbox_offset = (uint32_t)part(used, control->outbox_bytes);
  control->heads_bytes = HEADS_BYTES;
  control->heads_offset = (uint32_t)part(used, control->heads_bytes);
  part(used, REPLIES_BYTES);
  control->blocks_offset = (uint32_t)part(used, (uint64_t)control->blocks_capacity * MR_BLOCK_BYTES);
  control->abi = mr_abi();
}

static int map_shared(struct mr_arena *arena) {
  struct mr_control plan = {0};
  uint64_t used = 0;
  const struct mr_options *o = &arena->options;
  control_fill(&plan, o, &used);
  if (used > UINT32_MAX) return -EINVAL;
  int rc = pages_map(&arena->shared, used, o->pages, o->memory_node);
  if (rc != 0) return rc;
  uint8_t *base = arena->shared.base;
  arena->bytes = used;
  arena->control = (struct mr_control *)base;
  *arena->control = plan;
  arena->records = (struct mr_record *)(base + plan.records_offset);
  arena->commands = (struct mr_command *)(base + plan.commands_offset);
  arena->rows = (struct mr_row *)(base + plan.rows_offset);
  arena->outbox = base + plan.outbox_offset;
  arena->heads = base + plan.heads_offset;
  arena->replies = arena->heads + plan.heads_bytes;
  arena->block_bytes = base + plan.blocks_offset;
  return 0;
}

static int map_private(struct mr_arena *arena) {
  const struct mr_options *o = &arena->options;
  uint64_t used = 0;
  uint64_t conns = part(&used, o->max_connections * (uint64_t)sizeof(struct conn));
  uint64_t carries = part(&used, o->max_connections * (uint64_t)HEADROOM);
  uint64_t blocks = part(&used, o->block_count * sizeof(struct block));
  uint64_t stack = part(&used, o->block_count * sizeof(uint32_t));
  uint64_t borrowed = part(&used, o->block_count * sizeof(uint32_t));
  uint64_t slots = part(&used, (uint64_t)SLOT_QUEUES * o->max_connections * sizeof(uint32_t));
  // Small ones, of which those that few connections touch are few.
  int rc = pages_map(&arena->private, used, MR_PAGES_SMALL, o->memory_node);
  if (rc != 0) return rc;
  uint8_t *base = arena->private.base;
  arena->conns = (struct conn *)(base + conns);
  arena->carries = base + carries;
  arena->blocks = (struct block *)(base + blocks);
  arena->free_blocks = (uint32_t *)(base + stack);
  arena->borrowed = (uint32_t *)(base + borrowed);
  arena->slots = (uint32_t *)(base + slots);
  return 0;
}

static void blocks_free_all(struct mr_arena *arena) {
  uint32_t count = arena->options.block_count;
  for (uint32_t i = 0; i < count; i++) arena->free_blocks[i] = count - 1 - i;
  arena->free_count = count;
  arena->borrowed_count = 0;
}

int32_t mr_arena_open(const struct mr_options *options, mr_arena **out) {
  if (options == NULL || out == NULL || !options_valid(options)) return -EINVAL;
  struct mr_arena *arena = thread_spare(options);
  if (arena != NULL) {
    *out = arena;
    return 0;
  }
  arena = calloc(1, sizeof(*arena));
  if (arena == NULL) return -ENOMEM;
  arena->options = *options;
  int rc = map_shared(arena);
  if (rc == 0) rc = map_private(arena);
  if (rc != 0) {
    if (arena->shared.base != NULL) pages_unmap(&arena->shared);
    free(arena);
    return rc;
  }
  blocks_free_all(arena);
  thread_keep(arena);
  *out = arena;
  return 0;
}

void *mr_arena_base(mr_arena *arena) {
  return arena->shared.base;
}

uint64_t mr_arena_bytes(mr_arena *arena) {
  return arena->bytes;
}

int32_t mr_arena_memory(mr_arena *arena, struct mr_memory *out) {
  if (arena == NULL || out == NULL) return -EINVAL;
  const struct pages *shared = &arena->shared, *private = &arena->private;
  *out = (struct mr_memory){.mapped_bytes = shared->bytes + private->bytes,
                            .pages = shared->kind,
                            .node = shared->node,
                            .bind_error = (uint32_t)shared->bind_error};
  pages_count(shared, out);
  if (out->counted != 0) pages_count(private, out);
  pages_sample(shared, out);
  return 0;
}

int arena_populate(struct mr_arena *arena) {
  bool all = arena->options.prefault != 0;
  int rc = all ? pages_populate(&arena->shared) : 0;
  if (rc == 0 && all) rc = pages_populate(&arena->private);
  // Otherwise the page that has the control words is the only one that is surely there.
  if (rc == 0) pages_settle(&arena->shared, all ? arena->shared.bytes : sizeof(struct mr_control));
  return rc;
}

void arena_reset(struct mr_arena *arena) {
  struct mr_control plan = {0};
  uint64_t used = 0;
  control_fill(&plan, &arena->options, &used);
  pages_clear(&arena->shared);
  pages_clear(&arena->private);
  *arena->control = plan;
  blocks_free_all(arena);
}

void arena_give_up(struct mr_arena *arena) {
  sys_map_over(arena->shared.base, arena->shared.bytes);
  pages_unmap(&arena->private);
  free(arena);
}

bool arena_fits(const struct mr_arena *arena, const struct mr_options *options) {
  const struct mr_options *had = &arena->options;
  return options->ring_entries == had->ring_entries && options->block_count == had->block_count &&
         options->max_connections == had->max_connections && options->outbox_bytes == had->outbox_bytes &&
         options->pages == had->pages;
}

int arena_adopt(struct mr_arena *arena, const struct mr_options *options) {
  if (!arena_fits(arena, options) || !options_valid(options)) return -EINVAL;
  if (arena->retained > 0) return -EBUSY;
  arena->options = *options;
  pages_rebind(&arena->shared, options->memory_node);
  pages_rebind(&arena->private, options->memory_node);
  return 0;
}

uint32_t block_get(struct mr_arena *arena) {
  if (arena->free_count == 0) return NO_BLOCK;
  uint32_t index = arena->free_blocks[--arena->free_count];
  arena->blocks[index] = (struct block){.next = NO_BLOCK, .dirty = arena->blocks[index].dirty, .refs = 1};
  return index;
}

void block_clean(struct mr_arena *arena, uint32_t index) {
  const struct block *block = &arena->blocks[index];
  uint8_t *bytes = block_at(arena, index);
  memset(bytes, 0, block->start);
  if (block->dirty > block->end) memset(bytes + block->end, 0, block->dirty - block->end);
}

void block_put(struct mr_arena *arena, uint32_t index) {
  struct block *block = &arena->blocks[index];
  if (block->end > block->dirty) block->dirty = block->end;
  if (--block->refs == 0) arena->free_blocks[arena->free_count++] = index;
}

void block_borrow(struct mr_arena *arena, uint32_t index, uint32_t turn) {
  struct block *block = &arena->blocks[index];
  if (block->turn == turn) return;
  block->turn = turn;
  block->refs++;
  arena->borrowed[arena->borrowed_count++] = index;
}

void block_return(struct mr_arena *arena) {
  // Backwards, so that the stack of free blocks is refilled in the order in which they were taken.
  for (uint32_t i = arena->borrowed_count; i > 0; i--) block_put(arena, arena->borrowed[i - 1]);
  arena->borrowed_count = 0;
}
