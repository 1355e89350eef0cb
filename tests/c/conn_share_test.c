// SPDX-License-Identifier: Apache-2.0
// conn_share_test.c - connections beside each other: fair turns, full inboxes, and memory that runs out.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "arena.h"
#include "check.h"
#include "harness.h"
#include "limits.h"
#include "reactor.h"

enum { MIB = 1 << 20, FLOOD = 40000, TINY = 7 };

static struct t_server server;
static uint8_t flood[sizeof(T_UPGRADE) + FLOOD * TINY];
static uint8_t noise[MIB];

static void switch_protocol(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_HEAD && (record->flags & MR_UPGRADE) != 0) {
    t_command(s, record->handle, MR_CMD_WEBSOCKET, 1 << 30);
  }
}

// An upgrade and FLOOD messages of one byte; returns the length.
static size_t make_flood(void) {
  size_t at = sizeof(T_UPGRADE) - 1;
  memcpy(flood, T_UPGRADE, at);
  for (uint32_t i = 0; i < FLOOD; i++) {
    uint8_t byte = noise[i];
    at += t_frame(flood + at, 0x82, &byte, 1);
  }
  return at;
}

static bool all_flooded(struct t_server *s, const void *context) {
  for (uint32_t i = 0; i < *(const uint32_t *)context; i++) {
    if (s->conns[i].body.length < FLOOD) return s->ended > 0;
  }
  return true;
}

// Two connections with more messages than a turn holds: neither has more than its share, both advance.
static bool run_fair(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  const size_t length = make_flood();
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = switch_protocol;
  for (uint32_t i = 0; i < 2; i++) t_write(&server, t_connect(&server), flood, length);
  T_NEED(t_until_seen(&server, MR_MESSAGE, 1));
  for (int turn = 0; turn < 20; turn++) {
    size_t before[2] = {server.conns[0].body.length, server.conns[1].body.length};
    t_turn(&server);
    for (int i = 0; i < 2 && turn > 4; i++) T_NEED(server.conns[i].body.length > before[i]);
  }
  const uint32_t count = 2;
  T_NEED(t_until(&server, all_flooded, &count));
  for (int i = 0; i < 2; i++) {
    T_NEED(t_same(&server.conns[i].body, noise, FLOOD));
    T_NEED(server.conns[i].most_records <= SHARE_RECORDS);
  }
end:
  return t_close(&server) && ok;
}

enum { LARGE = MIB / 4, LARGES = 64 };

static bool all_large(struct t_server *s, const void *context) {
  (void)context;
  for (uint32_t i = 0; i < LARGES; i++) {
    if (s->conns[i].body.length < LARGE) return s->ended > 0;
  }
  return true;
}

// Connections that bring more than a turn receives: none is forgotten, and what a turn leaves over is not
// slept on.
static bool run_large(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.block_count = 2048;  // so many that it is not they who bound a turn
  bool ok = true;
  static uint8_t bytes[LARGE + 128];
  const int head =
      snprintf((char *)bytes, 128, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", LARGE);
  const size_t length = (size_t)head + LARGE;
  memcpy(bytes + head, noise, LARGE);
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < LARGES; i++) t_write(&server, t_connect(&server), bytes, length);
  uint64_t most = 0;
  for (int turn = 0; turn < 1000 && !all_large(&server, NULL); turn++) {
    const uint64_t before = server.control->received_bytes;
    t_turn(&server);
    const uint64_t grown = server.control->received_bytes - before;
    if (grown > most) most = grown;
  }
  T_NEED(t_until(&server, all_large, NULL) && server.ended == 0);
  // io_uring delivers what its completions hold.
  T_NEED(backend != MR_EPOLL || (most >= TURN_BYTES && most < TURN_BYTES + length));
  for (uint32_t i = 0; i < LARGES; i++) T_NEED(t_same(&server.conns[i].body, noise, LARGE));
end:
  return t_close(&server) && ok;
}

// Eight of them with an inbox of 128 records and one connection a turn: slower, but nothing is lost.
static bool run_full_inbox(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.ring_entries = 32;
  o.batch = 3;
  bool ok = true;
  const size_t length = make_flood();
  const uint32_t count = 4;
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = switch_protocol;
  for (uint32_t i = 0; i < count; i++) t_write(&server, t_connect(&server), flood, length);
  T_NEED(t_until(&server, all_flooded, &count));
  T_NEED(server.ended == 0);
  for (uint32_t i = 0; i < count; i++) T_NEED(t_same(&server.conns[i].body, noise, FLOOD));
end:
  return t_close(&server) && ok;
}

static uint32_t deepest;

static bool flooded_shallow(struct t_server *s, const void *context) {
  if (s->opened > 0 && s->reactor->conns[0].in_blocks > deepest) deepest = s->reactor->conns[0].in_blocks;
  return all_flooded(s, context);
}

// A peer that sends more messages than its share lets through fills its socket, not the arena.
static bool run_bounded(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  const size_t length = make_flood();
  const uint32_t count = 1;
  deepest = 0;
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = switch_protocol;
  t_write(&server, t_connect(&server), flood, length);
  T_NEED(t_until(&server, flooded_shallow, &count));
  if (deepest > 32 + INPUT_BLOCKS_MAX) fprintf(stderr, "%u blocks waited\n", deepest);
  // One run of a multishot receive takes up to 32 buffers before anyone can stop it.
  T_NEED(server.ended == 0 && deepest <= 32 + INPUT_BLOCKS_MAX);
end:
  return t_close(&server) && ok;
}

// The same with the smallest arena that the options allow: the peer must not be punished for our slowness.
static bool run_bounded_small(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.receive_buffers = 16;
  o.block_count = 32;
  bool ok = true;
  const size_t length = make_flood();
  const uint32_t count = 1;
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = switch_protocol;
  t_write(&server, t_connect(&server), flood, length);
  T_NEED(t_until(&server, all_flooded, &count));
  T_NEED(server.ended == 0 && server.control->exhausted == 0);
end:
  return t_close(&server) && ok;
}

// The turns after the last records take those blocks back and give the kernel its full number.
static bool blocks_home(struct t_server *s) {
  const struct mr_arena *a = s->arena;
  for (int i = 0; i < 3; i++) t_turn(s);
  uint32_t kernel = s->backend == MR_EPOLL ? 0 : s->options.receive_buffers;
  return a->free_count + kernel == s->options.block_count;
}

static bool bodies_done(struct t_server *s, const void *context) {
  for (uint32_t i = 0; i < *(const uint32_t *)context; i++) {
    if (s->conns[i].body.length < 200000) return s->ended > 0;
  }
  return true;
}

// Forty uploads through 8 receive buffers: receives starve, try again, and every byte arrives.
static bool run_starved(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.receive_buffers = 8;
  o.block_count = 64;
  bool ok = true;
  const uint32_t count = 40;
  static uint8_t request[210000];
  int at = snprintf((char *)request, 100, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
  memcpy(request + at, noise, 200000);
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < count; i++) t_write(&server, t_connect(&server), request, (size_t)at + 200000);
  T_NEED(t_until(&server, bodies_done, &count));
  T_NEED(server.ended == 0 && server.control->exhausted == 0);
  T_NEED(backend == MR_EPOLL || server.control->starved > 0);
  for (uint32_t i = 0; i < count; i++) T_NEED(t_same(&server.conns[i].body, noise, 200000));
  T_NEED(blocks_home(&server));
end:
  return t_close(&server) && ok;
}

static bool all_asked(struct t_server *s, const void *context) {
  for (uint32_t i = 0; i < *(const uint32_t *)context; i++) {
    if (s->conns[i].seen[MR_HEAD] == 0) return s->ended > 0;
  }
  return true;
}

// Before 6.13 an enter runs every completion that waits, however few the buffers are.
static bool enters_are_bounded(void) {
  struct utsname kernel;
  unsigned major = 0, minor = 0;
  uname(&kernel);
  sscanf(kernel.release, "%u.%u", &major, &minor);
  return major > 6 || (major == 6 && minor >= 13);
}

static bool all_answered(struct t_server *s, const void *context) {
  for (uint32_t i = 0; i < *(const uint32_t *)context; i++) {
    if (s->clients[i].in.length == 0) return s->ended > 0;
  }
  return true;
}

// More peers than receive buffers send little at once: the kernel is left buffers for all of them.
static bool many(uint32_t backend, const char *request, t_condition *done) {
  struct mr_options o = t_options(backend);
  o.receive_buffers = 256;
  o.ring_entries = 1024;
  o.max_connections = 512;
  o.batch = 512;
  bool ok = true;
  const uint32_t count = 400;
  static const struct mr_route_options route = {.path_length = 2, .head_length = 27};
  static const uint8_t routed[] = "/sHTTP/1.1 204 No Content\r\n\r\n";
  T_NEED(t_open(&server, &o, false) == 0);
  T_NEED(mr_route(server.reactor, &route, routed, sizeof(routed) - 1) == 1);
  for (uint32_t i = 0; i < count; i++) {
    t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
  }
  for (uint32_t i = 0; i < count; i++) t_write(&server, i, request, strlen(request));
  T_NEED(t_until(&server, done, &count));
  T_NEED(server.ended == 0);
  T_NEED(server.control->starved == 0 || !enters_are_bounded());
end:
  return t_close(&server) && ok;
}

static bool run_many(uint32_t backend) {
  return many(backend, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", all_asked);
}

// Nor does it go on because their answers are sent.
static bool run_many_routed(uint32_t backend) {
  return many(backend, "GET /s HTTP/1.1\r\nHost: a\r\n\r\n", all_answered);
}

// All blocks taken by queues to a peer that does not read: the one who has too much goes, the others live.
static bool run_exhausted(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.receive_buffers = 8;
  o.block_count = 64;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  const uint32_t slow = server.last;
  server.clients[0].reading = false;
  for (int i = 0; i < 16 && server.ended == 0; i++) {
    t_send(&server, slow, noise, MIB, 0);
    t_turn(&server);
  }
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ENOMEM && server.control->exhausted == 1);
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  t_write(&server, t_connect(&server), request, sizeof(request) - 1);
  T_NEED(t_until_opened(&server, 2));
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  T_NEED(blocks_home(&server));
end:
  return t_close(&server) && ok;
}

static uint32_t taken[64];
static uint32_t taken_count;

static void take_block(struct t_server *s) {
  taken[taken_count++] = block_get(s->arena);
}

// Output that takes as many blocks as have just been received.
static void take_for_each_body(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_BODY && s->ended == 0) take_block(s);
}

static bool upload_done(struct t_server *s, const void *context) {
  return t_last(s)->body.length == *(const uint32_t *)context;
}

// When a receive found no block, some were about to come back, but other output took them first: who waits
// for one must not wait for the peer that has them all.
static bool run_starved_by_output(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.receive_buffers = 8;
  o.block_count = 64;
  bool ok = true;
  static uint8_t request[MIB + 100];
  const uint32_t length = MIB;
  taken_count = 0;
  int at = snprintf((char *)request, 100, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", length);
  memcpy(request + at, noise, length);
  T_NEED(t_open(&server, &o, true) == 0);
  t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  const uint32_t slow = server.last;
  server.clients[0].reading = false;
  while (server.reactor->conns[0].out_head == NO_BLOCK) {
    t_send(&server, slow, noise, 8 * MR_BLOCK_BYTES, 0);
    t_turn(&server);
  }
  const uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 2));
  server.handler = take_for_each_body;
  const uint32_t spare = backend == MR_EPOLL ? 1 : 0;  // io_uring has its buffers already
  while (server.arena->free_count > arena_reserve(server.arena) + spare) take_block(&server);
  t_write(&server, client, request, (size_t)at + length);
  T_NEED(t_until(&server, upload_done, &length));
  T_NEED(server.control->starved > 0 && server.control->exhausted == 1);
  T_NEED(t_same(&t_last(&server)->body, noise, length));
end:
  while (taken_count > 0) block_put(server.arena, taken[--taken_count]);
  return t_close(&server) && ok;
}

// Everything at once: heads, floods and resets, and afterwards no block is missing.
static bool run_home(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  const size_t length = make_flood();
  uint64_t state = 5;
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = switch_protocol;
  for (uint32_t i = 0; i < 150; i++) {
    uint32_t client = t_connect(&server);
    t_write(&server, client, flood, t_random(&state) % length);
    t_turn(&server);
    uint32_t victim = (uint32_t)(t_random(&state) % (client + 1));
    if (server.clients[victim].fd >= 0) t_reset(&server, victim);
    if (t_random(&state) % 3 == 0) t_command(&server, server.last, MR_CMD_PAUSE, 0);
    if (t_random(&state) % 3 == 0) t_send(&server, server.last, noise, MIB / 2, 0);
  }
  for (uint32_t i = 0; i < 150; i++) {
    if (server.clients[i].fd >= 0) t_reset(&server, i);
  }
  // A reset is not seen on a connection that is not read from: JavaScript ends those.
  t_turn_for(&server, 20);
  for (uint32_t i = 0; i < T_CONNS_MAX; i++) {
    if (server.conns[i].live) t_command(&server, server.conns[i].handle, MR_CMD_TERMINATE, 0);
  }
  T_NEED(t_until_closed(&server, 150));
  T_NEED(server.control->connections == 0);
  T_NEED(blocks_home(&server));
end:
  return t_close(&server) && ok;
}

static bool head_seen(struct t_server *s, const void *context) {
  return s->conns[0].seen[MR_HEAD] == 1 && context == NULL;
}

static bool all_met(struct t_server *s, const void *context) {
  return s->opened + s->control->refused >= 201 && context == NULL;
}

// More connections at once than the inbox of the smallest ring holds, beside data and a send from the outbox.
static bool run_crowd(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.ring_entries = 8;
  bool ok = true;
  const size_t length = make_flood();
  T_NEED(t_open(&server, &o, false) == 0);
  t_write(&server, t_connect(&server), flood, length);
  T_NEED(t_until(&server, head_seen, NULL));
  t_turn_for(&server, 20);
  uint32_t handle = server.conns[0].handle;
  char name[64];
  snprintf(name, sizeof(name), "@millrace-crowd-%u", backend);
  T_NEED(t_listen(&server, name, 0, MR_UNIX) >= 0);
  for (int i = 0; i < 200; i++) t_connect(&server);
  t_command(&server, handle, MR_CMD_WEBSOCKET, 1 << 30);
  t_send(&server, handle, noise, 100, 0);
  // Who does not fit is refused; nobody is forgotten.
  T_NEED(t_until(&server, all_met, NULL));
  T_NEED(server.errors == 0);
end:
  return t_close(&server) && ok;
}

static bool long_heads_done(struct t_server *s, const void *context) {
  const uint32_t *want = context;
  for (uint32_t i = 0; i < want[0]; i++) {
    if (s->conns[i].seen[MR_HEAD] < want[1]) return s->ended > 0 || s->errors > 0;
  }
  return true;
}

// More bytes of heads in one turn than HEADS_BYTES: the rest waits, and nobody's bytes are written over.
static bool run_many_heads(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.batch = 256;
  o.receive_buffers = 256;
  o.ring_entries = 1024;  // io_uring takes in no more of them in one turn
  bool ok = true;
  static char head[16384];
  const uint32_t want[2] = {200, 1};
  int at = snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nhost: a\r\nx-long: ");
  memset(head + at, 'y', 15000);
  memcpy(head + at + 15000, "\r\n\r\n", 4);
  const size_t length = (size_t)at + 15004;
  T_NEED(t_open(&server, &o, false) == 0);
  for (uint32_t i = 0; i < want[0]; i++) {
    t_connect(&server);
    if (i % 50 == 0) t_turn(&server);
  }
  T_NEED(t_until_opened(&server, want[0]));
  for (uint32_t i = 0; i < want[0]; i++) t_write(&server, i, head, length);
  T_NEED(t_until(&server, long_heads_done, want));
  T_NEED(server.ended == 0 && server.errors == 0);
  for (uint32_t i = 0; i < want[0]; i++) {
    const struct t_bytes *log = &server.conns[i].log;
    T_NEED(log->length > length && memcmp(log->at + log->length - length, head, length) == 0);
  }
end:
  return t_close(&server) && ok;
}

// Who floods hears of what was sent to it all the same.
static bool run_told(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = switch_protocol;
  t_write(&server, t_connect(&server), flood, make_flood());
  T_NEED(t_until_seen(&server, MR_MESSAGE, 1));
  t_send(&server, server.last, noise, 65537, 0);
  server.rows[server.last & MR_SLOT_MASK].drain_below = 65537;
  t_command(&server, server.last, MR_CMD_NOTIFY, 0);
  T_NEED(t_until_seen(&server, MR_DRAIN, 1) && t_until_seen(&server, MR_SENT, 1));
  T_NEED(t_last(&server)->body.length < FLOOD);
end:
  return t_close(&server) && ok;
}

// A peer whose bytes nobody wants does not keep the turn by sending them as fast as they are dropped.
static bool run_deaf(uint32_t backend) {
  static const char last[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, last, sizeof(last) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  while (send(server.clients[client].fd, noise, sizeof(noise), MSG_DONTWAIT) > 0) {
  }
  uint64_t before = server.control->received_bytes;
  t_turn(&server);
  // On io_uring, what the kernel has buffers for.
  uint64_t most = (backend == MR_EPOLL ? 1 : o.receive_buffers) * (uint64_t)MR_BLOCK_BYTES;
  T_NEED(server.control->received_bytes - before <= most);
end:
  return t_close(&server) && ok;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 11);
  T_BOTH("two floods share every turn", run_fair);
  T_BOTH("bytes beyond those of a turn come in the next ones", run_large);
  T_BOTH("a full inbox loses nothing", run_full_inbox);
  T_BOTH("a flood of small messages keeps few blocks waiting", run_bounded);
  T_BOTH("a flood of small messages is not reset in a small arena", run_bounded_small);
  T_BOTH("receives that find no buffer try again", run_starved);
  T_BOTH("receives of more peers than buffers find one", run_many);
  T_BOTH("so do those of peers that are answered at once", run_many_routed);
  T_BOTH("an arena without a free block closes who asks for one", run_exhausted);
  T_BOTH("nobody waits for blocks of a peer that does not read", run_starved_by_output);
  T_BOTH("all blocks are home when all connections are gone", run_home);
  T_BOTH("more heads than the heads area holds wait for the next turn", run_many_heads);
  T_BOTH("a crowd does not overrun the inbox", run_crowd);
  T_BOTH("a flood does not keep back what is told of the output", run_told);
  T_BOTH("a flood that nobody wants does not keep a turn", run_deaf);
  return t_done();
}
