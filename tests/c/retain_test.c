// SPDX-License-Identifier: Apache-2.0
// retain_test.c - blocks that the application keeps: nobody writes to them, they are bounded, and they
// outlive their reactor.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arena.h"
#include "check.h"
#include "harness.h"
#include "reactor.h"

enum { KEEP_MAX = 64, LONG = 12000, DATA = MR_BLOCK_BYTES - HEADROOM };

static struct t_server server;

// Blocks of the first records of messages, as many as wanted.
static struct {
  uint32_t wanted, count;
  uint32_t blocks[KEEP_MAX];
  const uint8_t *bytes[KEEP_MAX];
  int32_t answer;  // of the last mr_block_retain
} kept;

static void keep(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  if (record->kind == MR_HEAD) t_command(s, record->handle, MR_CMD_WEBSOCKET, 1 << 20);
  if (record->kind != MR_MESSAGE || kept.wanted == 0) return;
  kept.wanted--;
  kept.answer = mr_block_retain(s->arena, record->block);
  if (kept.answer != 0) return;
  kept.bytes[kept.count] = bytes;
  kept.blocks[kept.count++] = record->block;
}

static bool open_websocket(uint32_t backend, uint32_t *client) {
  const struct mr_options o = t_options(backend);
  memset(&kept, 0, sizeof(kept));
  if (t_open(&server, &o, true) != 0) return false;
  server.handler = keep;
  *client = t_connect(&server);
  t_write(&server, *client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
  return t_until_seen(&server, MR_HEAD, 1);
}

static bool until_messages(size_t bytes) {
  while (t_last(&server)->body.length < bytes) {
    if (!t_until_seen(&server, MR_MESSAGE, t_last(&server)->seen[MR_MESSAGE] + 1)) return false;
  }
  return true;
}

static bool send_message(uint32_t client, size_t length) {
  static uint8_t payload[LONG], frame[LONG + 16];
  t_pattern(payload, length, t_last(&server)->body.length + 1);
  size_t before = t_last(&server)->body.length;
  t_write(&server, client, frame, t_frame(frame, 0x82, payload, length));
  return until_messages(before + length);
}

static void release_all(void) {
  while (kept.count > 0) mr_block_release(server.arena, kept.blocks[--kept.count]);
}

// Writes over all blocks that are free, after a turn that has dropped what it borrowed.
static bool use_all_blocks(void) {
  static uint32_t taken[1024];
  uint32_t count = 0;
  t_turn(&server);
  while ((taken[count] = block_get(server.arena)) != NO_BLOCK) count++;
  for (uint32_t i = 0; i < count; i++) {
    memset(block_at(server.arena, taken[i]), 0xee, MR_BLOCK_BYTES);
    block_put(server.arena, taken[i]);
  }
  return count > 0;
}

static bool run_stays(uint32_t backend) {
  bool ok = true;
  uint32_t client;
  uint8_t then[2][200];
  T_NEED(open_websocket(backend, &client));
  kept.wanted = 1;
  T_NEED(send_message(client, 200) && kept.count == 1);
  memcpy(then[0], kept.bytes[0], 200);
  T_NEED(server.arena->retained == 1);
  T_NEED(use_all_blocks() && memcmp(then[0], kept.bytes[0], 200) == 0);
  T_NEED(server.control->blocks_retained == 1);
  // A second time, and it takes two releases.
  T_NEED(mr_block_retain(server.arena, kept.blocks[0]) == 0);
  T_NEED(mr_block_release(server.arena, kept.blocks[0]) == 0);
  T_NEED(use_all_blocks() && memcmp(then[0], kept.bytes[0], 200) == 0);
  uint32_t block = kept.blocks[0];
  release_all();
  T_NEED(server.control->blocks_retained == 0);
  T_NEED(mr_block_release(server.arena, block) == -EINVAL);
  T_NEED(mr_block_retain(server.arena, block) == -ESTALE);
  T_NEED(mr_block_retain(server.arena, server.options.block_count) == -ESTALE);
  T_NEED(use_all_blocks() && memcmp(then[0], kept.bytes[0], 200) != 0);
end:
  release_all();
  return t_close(&server) && ok;
}

// Sends frames of which one turn shows a share, keeps the first, and turns until length bytes have come.
static bool first_stays(uint32_t client, const uint8_t *frames, size_t bytes, size_t length) {
  uint8_t then[20];
  size_t before = t_last(&server)->body.length;
  kept.wanted = 1;
  t_write(&server, client, frames, bytes);
  if (!until_messages(before + 1) || kept.count != 1) return false;
  memcpy(then, kept.bytes[0], sizeof(then));
  return until_messages(before + length) && memcmp(then, kept.bytes[0], sizeof(then)) == 0;
}

static bool run_goes_on(uint32_t backend) {
  static uint8_t frames[DATA];
  uint8_t payload[25];
  bool ok = true;
  uint32_t client;
  size_t length = 0;
  const int count = SHARE_RECORDS + 8;
  T_NEED(open_websocket(backend, &client));
  for (int i = 0; i < count; i++) {
    memset(payload, i + 1, 25);
    length += t_frame(frames + length, 0x82, payload, 25);
  }
  T_NEED(first_stays(client, frames, length, (size_t)count * 25));
end:
  release_all();
  return t_close(&server) && ok;
}

// What is left of a block once its connection has had its share of a turn is moved to the front when a frame
// goes on in the next block: not over bytes that are kept.
static bool run_not_moved_over(uint32_t backend) {
  static uint8_t payload[DATA], frames[3 * DATA];
  bool ok = true;
  uint32_t client;
  T_NEED(open_websocket(backend, &client));
  // A read that fills a block: the next one is given many.
  t_write(&server, client, frames, t_frame(frames, 0x82, payload, DATA - 8));
  T_NEED(until_messages(DATA - 8));
  // A share of messages, a ping that the block's end cuts, and a message that is moved together with it.
  const size_t first = 25 + DATA - 31 * SHARE_RECORDS - 50 - 2;
  size_t length = 0;
  for (int i = 0; i < SHARE_RECORDS; i++) {
    memset(payload, i + 1, first);
    length += t_frame(frames + length, 0x82, payload, i == 0 ? first : 25);
  }
  length += t_frame(frames + length, 0x89, payload, 100);
  length += t_frame(frames + length, 0x82, payload, LONG);
  T_NEED(first_stays(client, frames, length, first + (SHARE_RECORDS - 1) * 25 + LONG));
  T_NEED(t_last(&server)->seen[MR_PING] == 1);
end:
  release_all();
  return t_close(&server) && ok;
}

static bool run_bound(uint32_t backend) {
  bool ok = true;
  uint32_t client;
  T_NEED(open_websocket(backend, &client));
  const uint32_t most = server.options.block_count / RETAINED_PART;
  kept.wanted = most;
  for (uint32_t i = 0; i < most; i++) T_NEED(send_message(client, LONG));
  T_NEED(kept.count == most && kept.answer == 0 && server.control->retain_overflows == 0);
  kept.wanted = 1;
  T_NEED(send_message(client, LONG) && kept.answer == -ENOBUFS && server.control->retain_overflows == 1);
  T_NEED(mr_block_retain(server.arena, kept.blocks[0]) == 0);
  T_NEED(mr_block_release(server.arena, kept.blocks[0]) == 0);
  mr_block_release(server.arena, kept.blocks[--kept.count]);
  kept.wanted = 1;
  T_NEED(send_message(client, LONG) && kept.answer == 0);
end:
  release_all();
  return t_close(&server) && ok;
}

static bool starved(struct t_server *s, const void *context) {
  (void)context;
  return s->control->starved > 0;
}

static bool armed(struct t_server *s, const void *context) {
  (void)context;
  return mr_arm(s->reactor) == 0;
}

// A connection that finds no block is fed with the one that is released, also while the reactor sleeps.
static bool run_wakes(uint32_t backend) {
  bool ok = true;
  uint32_t client;
  uint8_t bytes[64];
  T_NEED(open_websocket(backend, &client));
  kept.wanted = 1;
  T_NEED(send_message(client, 200) && kept.count == 1);
  t_turn(&server);
  while (server.arena->free_count > arena_reserve(server.arena)) block_get(server.arena);
  client = t_connect(&server);
  t_write(&server, client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
  T_NEED(t_until(&server, starved, NULL));
  struct pollfd wake = {.fd = server.wake, .events = POLLIN};
  T_NEED(t_until(&server, armed, NULL));
  while (recv(server.wake, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) continue;
  T_NEED(t_last(&server)->seen[MR_HEAD] == 0);
  release_all();
  T_NEED(poll(&wake, 1, T_DEADLINE_MS) == 1 && t_until_seen(&server, MR_HEAD, 1));
end:
  release_all();
  return t_close(&server) && ok;
}

static int32_t close_reactor(void) {
  int32_t rc = mr_close(server.reactor);
  server.reactor = NULL;
  return rc;
}

static bool run_outlives(uint32_t backend) {
  bool ok = true;
  uint32_t client;
  uint8_t then[200];
  mr_reactor *next;
  char reason[MR_TEXT_BYTES];
  T_NEED(open_websocket(backend, &client));
  kept.wanted = 2;
  T_NEED(send_message(client, 200) && send_message(client, LONG) && kept.count == 2);
  memcpy(then, kept.bytes[0], 200);
  T_NEED(close_reactor() == 1);
  T_NEED(mr_open(server.arena, &server.options, &next, reason) == -EBUSY);
  T_NEED(memcmp(then, kept.bytes[0], 200) == 0);
  T_NEED(mr_block_retain(server.arena, kept.blocks[0]) == 0);
  T_NEED(mr_block_release(server.arena, kept.blocks[1]) == 0);
  T_NEED(mr_block_release(server.arena, kept.blocks[0]) == 0);
  T_NEED(memcmp(then, kept.bytes[0], 200) == 0);
  T_NEED(mr_block_release(server.arena, kept.blocks[0]) == 1);
  kept.count = 0;
  static const uint8_t zeros[200];
  T_NEED(memcmp(zeros, kept.bytes[0], 200) == 0);
  T_NEED(mr_open(server.arena, &server.options, &next, reason) == 0 && mr_close(next) == 0);
end:
  return t_close(&server) && ok;
}

// The arena is nobody's then.
static bool run_lost(uint32_t backend) {
  bool ok = true;
  uint32_t client;
  T_NEED(open_websocket(backend, &client));
  kept.wanted = 1;
  T_NEED(send_message(client, 200) && close_reactor() == 1);
  T_NEED(mr_block_lost(server.arena, kept.blocks[0]) == 0);
  T_NEED(mr_block_release(server.arena, kept.blocks[0]) == 0);
  T_NEED(server.arena->lost && kept.bytes[0][0] != 0);
end:
  return t_close(&server) && ok;
}

// A thread that keeps a block, and ends with all of it open.
struct holder {
  struct mr_options options;
  uint8_t *base;
  uint8_t *bytes;
  bool ok;
};

static void *hold(void *context) {
  struct holder *h = context;
  mr_arena *arena = NULL;
  mr_reactor *reactor;
  char reason[MR_TEXT_BYTES];
  if (mr_arena_open(&h->options, &arena) != 0) return NULL;
  if (mr_open(arena, &h->options, &reactor, reason) != 0) return NULL;
  h->base = mr_arena_base(arena);
  uint32_t block = block_get(arena);
  block_borrow(arena, block, reactor->turn);
  block_put(arena, block);
  h->bytes = block_at(arena, block);
  h->bytes[0] = 1;
  h->ok = mr_block_retain(arena, block) == 0;
  return NULL;
}

static bool run_thread_ends(uint32_t backend) {
  struct holder holders[2] = {0};
  bool ok = true;
  for (int i = 0; i < 2; i++) {
    pthread_t thread;
    holders[i].options = t_options(backend);
    holders[i].options.block_count = 192;
    pthread_create(&thread, NULL, hold, &holders[i]);
    pthread_join(thread, NULL);
    // Whoever still has a view sees nothing, and nobody else writes there.
    ok = ok && holders[i].ok && holders[i].bytes[0] == 0;
  }
  return ok && holders[0].base != holders[1].base;
}

int main(void) {
  T_BOTH("kept blocks stay as they are while others are used", run_stays);
  T_BOTH("kept bytes are not cleared when their block is shown again", run_goes_on);
  T_BOTH("a connection's rest is not moved over kept bytes", run_not_moved_over);
  T_BOTH("one part of the blocks may be kept and no more", run_bound);
  // The kernel has blocks of its own on io_uring, and lacks none here.
  t_case("a block that is released wakes a reactor that lacks one (epoll)", run_wakes(MR_EPOLL));
  T_BOTH("kept blocks outlive their reactor, and then give the arena back", run_outlives);
  T_BOTH("an arena of which a kept block was lost is not used again", run_lost);
  T_BOTH("a thread that ends leaves addresses behind, and no bytes", run_thread_ends);
  return t_done();
}
