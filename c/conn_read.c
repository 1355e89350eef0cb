// SPDX-License-Identifier: Apache-2.0
// conn_read.c - reads from a socket as much as its connection's share of the turn allows, many blocks at a
// time where much is coming; called by the backends.
#include "backend.h"
#include "conn.h"
#include "sys.h"

// How many blocks a read may fill. Many only of a connection that has brought much and kept nothing back, and
// whose messages do not take all others to be inflated; and only while there are many, since none of these is
// left for the others until they are read into.
static uint32_t blocks_wanted(const struct mr_reactor *r, const struct conn *c) {
  const struct mr_arena *arena = r->arena;
  uint32_t spare = arena->free_count - arena_reserve(arena);
  bool keeps_up = c->life == LIFE_OPEN && !c->deaf && !c->paused && !c->held && c->in_head == NO_BLOCK;
  if (!c->bulk || !keeps_up || c->deflate != NULL || spare < 2 * READ_BLOCKS_MAX) return 1;
  uint32_t share = c->share_turn == r->turn ? c->share : SHARE_RECORDS;
  uint32_t most = share / (1 + DATA_BYTES / SHARE_BYTES);
  if (most > READ_BLOCKS_MAX) most = READ_BLOCKS_MAX;
  return most > 0 ? most : 1;
}

// Takes over what was read, and gives the other blocks back.
static void deliver(struct mr_reactor *r, struct conn *c, const uint32_t *blocks, uint32_t count,
                    uint32_t length) {
  uint32_t filled = (length + DATA_BYTES - 1) / DATA_BYTES;
  for (uint32_t i = count; i > filled; i--) block_put(r->arena, blocks[i - 1]);
  for (uint32_t i = 0; i < filled; i++) {
    uint32_t left = length - i * DATA_BYTES;
    conn_received(r, c, blocks[i], left < DATA_BYTES ? left : DATA_BYTES);
  }
}

// Returns whether all was filled, so that there is most likely more.
static bool read_blocks(struct mr_reactor *r, struct conn *c, bool *much) {
  if (r->arena->free_count <= arena_reserve(r->arena)) {
    conn_starve(r, c);
    return false;
  }
  uint32_t blocks[READ_BLOCKS_MAX];
  struct iovec parts[READ_BLOCKS_MAX];
  uint32_t count = blocks_wanted(r, c);
  for (uint32_t i = 0; i < count; i++) {
    blocks[i] = block_get(r->arena);
    parts[i] = (struct iovec){block_at(r->arena, blocks[i]) + HEADROOM, DATA_BYTES};
  }
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
  ssize_t length = count == 1 ? sys_recv(c->fd, parts[0].iov_base, DATA_BYTES, MSG_DONTWAIT)
                              : sys_recvmsg(c->fd, &message, MSG_DONTWAIT);
  int error = errno;
  if (length >= DATA_BYTES) c->bulk = *much = true;
  deliver(r, c, blocks, count, length < 0 ? 0 : (uint32_t)length);
  if (length == 0) {
    conn_ended(r, c);
  } else if (length < 0 && error != EAGAIN && error != EINTR) {
    conn_close(r, c, (uint16_t)error);
  }
  return length == (ssize_t)count * DATA_BYTES;
}

// One connection's share at a stretch, while its bytes and what they are copied into are in the cache. Those
// that are dropped cost no share: of them a block at a time.
void conn_read(struct mr_reactor *r, struct conn *c) {
  bool much = false;
  while (read_blocks(r, c, &much) && c->life == LIFE_OPEN && !c->deaf && conn_wants_input(c) &&
         c->share > 0) {
  }
  c->bulk = much;
}
