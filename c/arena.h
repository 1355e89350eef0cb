// SPDX-License-Identifier: Apache-2.0
// arena.h - all memory of one reactor: what JavaScript sees, what only C sees, and the blocks in between.
#ifndef MR_ARENA_H
#define MR_ARENA_H

#include <stdbool.h>

#include "layout.h"
#include "limits.h"
#include "millrace.h"
#include "pages.h"

#define NO_BLOCK MR_NO_BLOCK

// What is known of a block. Its bytes lie in the shared part, this in the private one.
struct block {
  uint32_t next;      // in a connection's input or output queue
  uint32_t start;     // first byte in use
  uint32_t end;       // behind the last byte in use
  uint32_t turn;      // turn whose records name bytes of this block
  uint32_t dirty;     // no byte from here on was ever written
  uint32_t refs;      // 1 for a queue or the kernel, 1 for the turn, 1 for the application
  uint32_t retained;  // times that the application has asked to keep it
};

struct mr_arena {
  struct pages shared;  // control, records, commands, rows, outbox, heads, replies, blocks
  uint64_t bytes;       // of those
  struct mr_control *control;
  struct mr_row *rows;
  struct mr_record *records;
  struct mr_command *commands;
  uint8_t *outbox;
  uint8_t *heads;
  uint8_t *replies;  // JavaScript has no use for them
  uint8_t *block_bytes;
  struct block *blocks;   // private from here on
  uint32_t *free_blocks;  // a stack: the block used last is still in the cache
  uint32_t free_count;
  uint32_t *borrowed;  // blocks that the current turn's records name
  uint32_t borrowed_count;
  uint32_t retained;  // blocks that the application keeps, whether or not a reactor is open
  struct conn *conns;
  uint8_t *carries;  // see reactor.h
  uint32_t *slots;   // the queues of slots, see reactor.h
  struct pages private;
  struct mr_options options;
  struct mr_arena *next;       // of those of its thread, or of those that nobody has
  struct mr_reactor *reactor;  // that is open on it
  bool lost;                   // the kernel or the application holds a part of it for good
};

// Whether a reactor with these options fits. Its memory may have to be moved to another node.
bool arena_fits(const struct mr_arena *arena, const struct mr_options *options);

// Puts everything as it was when the arena was new; its pages go back to the system.
void arena_reset(struct mr_arena *arena);

// The same for good, where the application keeps blocks and its isolate is gone: another one may have been
// given their buffers, so that nobody else may have their addresses.
void arena_give_up(struct mr_arena *arena);

// Prepares the arena for a reactor whose options may differ in all that does not decide on how it was mapped.
int arena_adopt(struct mr_arena *arena, const struct mr_options *options);

// Takes as much memory from the system as the options ask for, and finds out what pages it is made of. 0 or
// -errno.
int arena_populate(struct mr_arena *arena);

// Takes a free block for one owner, or NO_BLOCK. start = end = 0.
uint32_t block_get(struct mr_arena *arena);

// Clears what is left in a block of an earlier use: all but the bytes from start to end.
void block_clean(struct mr_arena *arena, uint32_t index);

// Bytes of a block up to end were written to, though they are no longer in use.
static inline void block_dirtied(const struct mr_arena *arena, uint32_t index, uint32_t end) {
  if (end > arena->blocks[index].dirty) arena->blocks[index].dirty = end;
}

// Drops one reference; the last one frees the block.
void block_put(struct mr_arena *arena, uint32_t index);

// Keeps a block alive until the next turn because a record names bytes of it.
void block_borrow(struct mr_arena *arena, uint32_t index, uint32_t turn);

// Ends the turn: what it borrowed is dropped.
void block_return(struct mr_arena *arena);

// Free blocks below which none is given to the kernel for receiving.
static inline uint32_t arena_reserve(const struct mr_arena *arena) {
  return arena->options.block_count / RESERVED_PART;
}

static inline uint8_t *block_at(const struct mr_arena *arena, uint32_t index) {
  return arena->block_bytes + (uint64_t)index * MR_BLOCK_BYTES;
}

#endif
