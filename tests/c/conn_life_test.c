// SPDX-License-Identifier: Apache-2.0
// conn_life_test.c - handles, slots, commands that nobody should send, and every way in which a connection
// ends.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "reactor.h"

static struct t_server server;
static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

// A handle names one connection for ever; its slot is used again under another generation.
static bool run_generations(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_connections = 2;
  bool ok = true;
  char text[MR_TEXT_BYTES];
  uint32_t old[20];
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < 20; i++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    old[i] = server.last;
    T_NEED((old[i] >> MR_SLOT_BITS) != 0 && mr_peer_address(server.reactor, old[i], text) == 0);
    for (uint32_t j = 0; j < i; j++) {
      T_NEED(old[j] != old[i] && mr_peer_address(server.reactor, old[j], text) == -ESTALE);
      // Addressed to someone who is gone; the one who has the slot now must not notice.
      t_command(&server, old[j], MR_CMD_TERMINATE, 0);
      t_send(&server, old[j], "stale", 5, 0);
    }
    t_send(&server, old[i], "x", 1, 0);
    T_NEED(t_until_read(&server, client, 1));
    t_turn(&server);
    T_NEED(server.ended == i && server.clients[client].in.length == 1);
    t_command(&server, old[i], MR_CMD_TERMINATE, 0);
    T_NEED(t_until_closed(&server, i + 1));
    T_NEED(mr_peer_address(server.reactor, old[i], text) == -ESTALE);
  }
  T_NEED(mr_peer_address(server.reactor, 0, text) == -ESTALE);
  T_NEED(mr_peer_address(server.reactor, 0xffffffff, text) == -ESTALE);
end:
  return t_close(&server) && ok;
}

static bool run_reset_by_peer(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < 50; i++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    if (i % 2 == 0) {
      t_write(&server, client, request, 5 + i % 20);
      t_turn(&server);
    }
    t_reset(&server, client);
    T_NEED(t_until_closed(&server, i + 1));
    T_NEED(t_last(&server)->closed == ECONNRESET);
  }
end:
  return t_close(&server) && ok;
}

// The peer's end, then ours.
static bool run_half_close(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, request, sizeof(request) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  T_NEED(shutdown(server.clients[client].fd, SHUT_WR) == 0);
  T_NEED(t_until_seen(&server, MR_END, 1));
  t_turn_for(&server, 30);
  T_NEED(server.ended == 0);
  t_send(&server, server.last, "answer", 6, 1);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_ended(&server, client));
  T_NEED(t_same(&server.clients[client].in, "answer", 6) && server.clients[client].error == 0);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == 0);
end:
  return t_close(&server) && ok;
}

// A peer that is gone altogether is reported alike by both backends, also over a Unix socket.
static bool run_unix_hang_up(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_flush(&server, 0);
  t_write(&server, client, request, sizeof(request) - 1);
  T_NEED(t_turn(&server) || true);
  t_hang_up(&server, client);
  t_turn_for(&server, 30);
  // What it sent before it left is still heard.
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  t_turn(&server);
  t_turn(&server);
  T_NEED(t_last(&server)->seen[MR_HEAD] == 1);
end:
  return t_close(&server) && ok;
}

static bool run_garbage(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint64_t state = 20261120;
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < 100; i++) {
    if (server.client_count < T_CLIENTS_MAX - 8) {
      uint32_t client = t_connect(&server);
      t_write(&server, client, i % 2 == 0 ? request : T_UPGRADE,
              i % 2 == 0 ? sizeof(request) - 1 : sizeof(T_UPGRADE) - 1);
    }
    t_turn(&server);
    for (uint32_t j = 0; j < 200; j++) {
      uint64_t noise = t_random(&state);
      struct mr_command *command = &server.commands[server.command_count++];
      command->handle = noise % 3 == 0 ? (uint32_t)t_random(&state) : server.last - (uint32_t)(noise % 7);
      command->op = (uint16_t)(noise % 5 == 0 ? t_random(&state) : t_random(&state) % (MR_CMD_END + 1));
      command->count = (uint16_t)t_random(&state);
      command->offset = (uint32_t)(t_random(&state) >> (noise % 33));
      command->length = (uint32_t)(t_random(&state) >> (32 + noise % 29));
    }
    // More commands than there are.
    mr_flush(server.reactor, i % 10 == 0 ? UINT32_MAX : server.command_count, i % 2);
    server.command_count = 0;
    t_turn(&server);
  }
end:
  return t_close(&server) && ok;
}

// Rows say which handles are live and forget everything about those that are not.
static bool run_rows(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  struct mr_row *row = &server.rows[server.last & MR_SLOT_MASK];
  T_NEED(row->handle == server.last && row->queued == 0 && server.control->connections == 1);
  row->drain_below = 1;
  t_command(&server, server.last, MR_CMD_TERMINATE, 0);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(row->handle == 0 && row->drain_below == 0 && server.control->connections == 0);
end:
  return t_close(&server) && ok;
}

// Errors that epoll's calls report, and those that mean nothing.
static bool run_receive_faults(uint32_t backend) {
  static const int harmless[] = {EAGAIN, EINTR}, fatal[] = {ECONNRESET, ETIMEDOUT, EPIPE};
  if (backend != MR_EPOLL) return true;  // its receives are not system calls
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t opened = 0, closed = 0;
  for (int i = 0; i < 2; i++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, ++opened));
    t_faults_clear();
    t_fault(SYS_RECV, 0, 3, harmless[i]);
    t_fault(SYS_RECV, 0, 10, -1);
    t_fault(SYS_EPOLL_WAIT, 2, 2, EINTR);
    t_write(&server, client, request, sizeof(request) - 1);
    T_NEED(t_until_seen(&server, MR_HEAD, 1));
    T_NEED(t_faults_fired() == 15);
  }
  for (int i = 0; i < 3; i++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, ++opened));
    t_faults_clear();
    t_fault(SYS_RECV, 0, 1, fatal[i]);
    t_write(&server, client, request, sizeof(request) - 1);
    T_NEED(t_until_closed(&server, ++closed));
    T_NEED(t_last(&server)->closed == fatal[i]);
  }
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

int main(void) {
  T_BOTH("a handle is never used again, and a stale one does nothing", run_generations);
  T_BOTH("a reset by the peer closes with ECONNRESET", run_reset_by_peer);
  T_BOTH("a peer that ends first still gets its answer", run_half_close);
  T_BOTH("what a Unix peer sent before it closed is heard", run_unix_hang_up);
  T_BOTH("random commands do no harm", run_garbage);
  T_BOTH("rows are true while a handle lives and empty afterwards", run_rows);
  T_BOTH("failed receives close, interrupted ones do not", run_receive_faults);
  return t_done();
}
