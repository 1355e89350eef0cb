// SPDX-License-Identifier: Apache-2.0
// conn_output_test.c - bytes of the outbox to clients: all of them, in order, once, whatever the socket
// takes.
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "reactor.h"

enum { MIB = 1 << 20 };

static struct t_server server;
static uint8_t noise[4 * MIB];

// A client whose socket holds little, and the server's end likewise.
static bool open_narrow(const struct mr_options *o, uint32_t *client) {
  bool ok = true;
  T_NEED(t_open(&server, o, true) == 0);
  *client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  int fd = server.reactor->conns[server.last & MR_SLOT_MASK].fd, small = 4096;
  T_NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
end:
  return ok;
}

static struct mr_row *row(void) {
  return &server.rows[server.last & MR_SLOT_MASK];
}

static bool run_coalesced(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_faults_clear();
  const uint64_t before = server.control->sent_bytes;
  for (uint32_t i = 0; i < 100; i++) t_send(&server, server.last, noise + i * 50, 50, 0);
  T_NEED(row()->staged == 5000);
  t_flush(&server, 0);
  T_NEED(row()->staged == 0 && row()->queued == 5000);
  t_turn(&server);
  T_NEED(row()->queued == 0 && server.control->sent_bytes == before + 5000);
  T_NEED(t_until_read(&server, client, 5000));
  T_NEED(t_same(&server.clients[client].in, noise, 5000));
  // io_uring sends by its ring; a system call of its own would mean that there was more than one send.
  T_NEED(t_fault_calls(SYS_SEND) == (backend == MR_EPOLL ? 1 : 0) && t_fault_calls(SYS_SENDMSG) == 0);
end:
  return t_close(&server) && ok;
}

static bool run_slow_reader(uint32_t backend) {
  static const uint32_t sizes[] = {1, 2, 4095, 16383, 16384, 16385, 131072, 131073, 500001, MIB, 4 * MIB};
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    server.clients[client].in.length = 0;
    for (uint32_t done = 0; done < sizes[i];) {
      uint32_t count = sizes[i] - done < 300007 ? sizes[i] - done : 300007;
      t_send(&server, server.last, noise + done, count, 0);
      done += count;
    }
    T_NEED(t_until_read(&server, client, sizes[i]));
    T_NEED(t_same(&server.clients[client].in, noise, sizes[i]));
    t_turn(&server);
    T_NEED(row()->queued == 0);
  }
end:
  return t_close(&server) && ok;
}

// Many small sends of two connections by turns, so that ranges are never contiguous.
static bool run_interleaved(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  struct t_bytes sent[2] = {0};
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t handles[2], clients[2];
  for (uint32_t i = 0; i < 2; i++) {
    clients[i] = t_connect_sized(&server, 4096);
    T_NEED(t_until_opened(&server, i + 1));
    handles[i] = server.last;
  }
  uint64_t state = 99;
  for (int round = 0; round < 300; round++) {
    for (int i = 0; i < 20; i++) {
      uint32_t which = t_random(&state) & 1, at = (uint32_t)(t_random(&state) % MIB);
      uint32_t length = (uint32_t)(t_random(&state) % 600);
      t_send(&server, handles[which], noise + at, length, 0);
      t_append(&sent[which], noise + at, length);
    }
    if (t_random(&state) % 4 == 0) t_flush(&server, 1);
    t_turn(&server);
  }
  for (int i = 0; i < 2; i++) {
    T_NEED(t_until_read(&server, clients[i], sent[i].length));
    T_NEED(t_same(&server.clients[clients[i]].in, sent[i].at, sent[i].length));
  }
end:
  free(sent[0].at);
  free(sent[1].at);
  return t_close(&server) && ok;
}

// mr_flush(now) gives the outbox back: what is written over it at once must not reach the peer.
static bool run_flush_now(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  server.paused_clients = true;
  for (uint32_t at = 0; at < 2 * MIB; at += 65536) {
    t_send(&server, server.last, noise + at, 65536, 0);
    t_flush(&server, 1);  // the harness fills the outbox with 0xdb then
  }
  t_turn(&server);
  t_turn(&server);
  T_NEED(row()->queued > MIB && row()->queued + server.control->sent_bytes == 2 * MIB);
  server.paused_clients = false;
  T_NEED(t_until_read(&server, client, 2 * MIB));
  T_NEED(t_same(&server.clients[client].in, noise, 2 * MIB));
end:
  return t_close(&server) && ok;
}

// Everything that mr_poll has sent from the outbox is free again when it returns.
static bool run_flush_later(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  server.paused_clients = true;
  for (uint32_t at = 0; at < MIB; at += 131072) {
    t_send(&server, server.last, noise + at, 131072, 0);
    t_turn(&server);
    memset(server.outbox, 0xdb, 131072);
  }
  server.paused_clients = false;
  T_NEED(t_until_read(&server, client, MIB));
  T_NEED(t_same(&server.clients[client].in, noise, MIB));
end:
  return t_close(&server) && ok;
}

static bool run_drain(uint32_t backend) {
  struct mr_options o = t_options(backend);
  const uint32_t low = 65536;
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  server.paused_clients = true;
  for (uint32_t at = 0; at < MIB; at += 262144) t_send(&server, server.last, noise + at, 262144, 0);
  row()->drain_below = low + 1;
  for (int i = 0; i < 5; i++) t_turn(&server);
  T_NEED(t_last(&server)->seen[MR_DRAIN] == 0 && row()->queued > low);
  server.paused_clients = false;
  T_NEED(t_until_seen(&server, MR_DRAIN, 1));
  T_NEED(row()->queued <= low && row()->drain_below == 0);
  T_NEED(t_until_read(&server, client, MIB));
  t_turn_for(&server, 20);
  T_NEED(t_last(&server)->seen[MR_DRAIN] == 1);
  // Nobody asked for this one.
  t_send(&server, server.last, noise, 262144, 0);
  T_NEED(t_until_read(&server, client, MIB + 262144));
  t_turn_for(&server, 20);
  T_NEED(t_last(&server)->seen[MR_DRAIN] == 1);
end:
  return t_close(&server) && ok;
}

static bool run_overflow(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_queue_bytes = 300000;
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  server.paused_clients = true;
  t_send(&server, server.last, noise, 300000, 0);
  t_turn(&server);
  T_NEED(server.ended == 0 && row()->queued > 200000);
  t_send(&server, server.last, noise, 300000, 0);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ENOBUFS && server.control->overflows == 1);
  server.paused_clients = false;
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.clients[client].error == ECONNRESET);
end:
  return t_close(&server) && ok;
}

// FINISH: everything queued, then FIN, then the peer's FIN, then MR_CLOSED.
static bool run_finish(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  t_send(&server, server.last, noise, MIB, 0);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.clients[client].error == 0 && t_same(&server.clients[client].in, noise, MIB));
  t_turn_for(&server, 30);
  T_NEED(server.ended == 0);
  t_hang_up(&server, client);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == 0);
end:
  return t_close(&server) && ok;
}

// Packets that a client has got.
static uint32_t segments(uint32_t client) {
  struct tcp_info info = {0};
  socklen_t length = sizeof(info);
  getsockopt(server.clients[client].fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  return info.tcpi_segs_in;
}

// The last bytes of a connection and its FIN are one packet.
static bool run_finish_in_one(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  uint32_t before = segments(client);
  t_send(&server, server.last, "bye", 3, 0);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.clients[client].error == 0 && t_same(&server.clients[client].in, "bye", 3));
  T_NEED(segments(client) - before == 1);
end:
  return t_close(&server) && ok;
}

// Whatever the peer still sends while we linger is dropped and does not become a reset.
static bool run_finish_while_sending(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_write(&server, client, noise, sizeof(noise));
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  t_send(&server, server.last, "bye", 3, 0);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.clients[client].error == 0 && t_same(&server.clients[client].in, "bye", 3));
  while (server.clients[client].out_done < sizeof(noise)) T_NEED(t_turn(&server) || true);
  T_NEED(server.clients[client].error == 0);
  t_hang_up(&server, client);
  T_NEED(t_until_closed(&server, 1));
end:
  return t_close(&server) && ok;
}

static bool run_terminate(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  server.paused_clients = true;
  t_send(&server, server.last, noise, MIB, 0);
  t_turn(&server);
  t_command(&server, server.last, MR_CMD_TERMINATE, 0);
  T_NEED(t_until_closed(&server, 1));
  server.paused_clients = false;
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.clients[client].error == ECONNRESET && server.clients[client].in.length < MIB);
end:
  return t_close(&server) && ok;
}

// A connection that is flushing to a peer that does not read can still be ended by force.
static bool run_terminate_finishing(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_narrow(&o, &client));
  server.paused_clients = true;
  t_send(&server, server.last, noise, MIB, 0);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  t_turn(&server);
  t_command(&server, server.last, MR_CMD_TERMINATE, 0);
  for (int i = 0; i < 10; i++) t_turn(&server);
  T_NEED(server.ended == 1);
end:
  return t_close(&server) && ok;
}

// Sends cut short by the kernel, refused for a while, or interrupted.
static bool run_short(uint32_t backend) {
  static const int results[] = {-1, -7, -4096, EINTR, EAGAIN};
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
    server.clients[client].in.length = 0;
    t_faults_clear();
    t_fault(SYS_SEND, 0, 3, results[i]);
    t_fault(SYS_SENDMSG, 1, 2, results[i] < 0 ? EINTR : results[i]);
    for (uint32_t at = 0; at < 500000; at += 50000) {
      t_send(&server, server.last, noise + at, 50000, 0);
      t_flush(&server, 1);
    }
    T_NEED(t_until_read(&server, client, 500000));
    T_NEED(t_same(&server.clients[client].in, noise, 500000));
    T_NEED(t_faults_fired() > 0);
  }
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// Hands over what is staged and then length bytes from outside the outbox; stages those that are not taken.
static uint32_t send_direct(uint32_t at, uint32_t length) {
  int32_t taken = mr_send(server.reactor, server.command_count, server.last, noise + at, length);
  server.command_count = 0;
  if (taken < 0 || (uint32_t)taken > length) return UINT32_MAX;
  for (uint32_t done = (uint32_t)taken; done < length; done += 65536)
    t_send(&server, server.last, noise + at + done, length - done < 65536 ? length - done : 65536, 0);
  return (uint32_t)taken;
}

static bool run_direct(uint32_t backend) {
  static const int results[] = {0, -3, -10, -4095, EINTR, EAGAIN};  // 0: as much as the socket takes
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
    T_NEED(open_narrow(&o, &client));
    for (uint32_t at = 0; at < MIB; at += 100000) {
      t_faults_clear();
      if (results[i] != 0) t_fault(SYS_SENDMSG, 0, 1, results[i]);
      t_send(&server, server.last, noise + at, 10, 0);
      T_NEED(send_direct(at + 10, 99990) != UINT32_MAX);
      if (at % 300000 == 0) t_turn(&server);
    }
    t_faults_clear();
    T_NEED(t_until_read(&server, client, 1100000));
    T_NEED(t_same(&server.clients[client].in, noise, 1100000));
    t_turn(&server);
    T_NEED(row()->queued == 0 && server.control->sent_bytes == 1100000);
    // Nothing is queued now: bytes go out at once, with what is staged before them, and use no block.
    uint32_t free_blocks = server.reactor->arena->free_count;
    t_send(&server, server.last, noise, 10, 0);
    T_NEED(send_direct(10, 1000) == 1000 && row()->queued == 0);
    T_NEED(server.reactor->arena->free_count == free_blocks);
    T_NEED(t_until_read(&server, client, 1101010));
    T_NEED(t_close(&server));
  }
  return ok;
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

static bool run_direct_broken(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_faults_clear();
  t_fault(SYS_SENDMSG, 0, 1, EPIPE);
  T_NEED(send_direct(0, 1000) == 0);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == EPIPE);
  T_NEED(send_direct(0, 1000) == 0);  // the handle is stale now
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

static bool run_broken(uint32_t backend) {
  static const int results[] = {EPIPE, ECONNRESET, ETIMEDOUT};
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  for (uint32_t i = 0; i < 3; i++) {
    t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    t_faults_clear();
    t_fault(SYS_SEND, 0, 1, results[i]);
    t_send(&server, server.last, noise, 1000, 0);
    t_send(&server, server.last, noise, 1000, 0);
    t_flush(&server, 1);
    T_NEED(t_until_closed(&server, i + 1));
    T_NEED(t_last(&server)->closed == results[i]);
  }
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// Stages bytes of the outbox for a connection, which others may be sent as well. A full list is only taken
// over.
static void share(uint32_t handle, uint32_t offset, uint32_t length) {
  if (server.command_count == server.control->commands_capacity) t_flush(&server, 0);
  server.commands[server.command_count++] =
      (struct mr_command){.handle = handle, .op = MR_CMD_SEND, .offset = offset, .length = length};
}

// More connections than the lists of commands, submissions and completions hold, which send meanwhile.
static bool run_shared(uint32_t backend) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  enum { COUNT = 200, GONE = 7 };
  struct mr_options o = t_options(backend);
  o.ring_entries = 8;
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  for (uint32_t i = 0; i < COUNT; i++) {
    t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
  }
  for (uint32_t i = 0; i < COUNT; i++) t_write(&server, i, request, sizeof(request) - 1);
  t_hang_up(&server, GONE);
  t_faults_clear();
  memcpy(server.outbox, noise, 1000);
  for (uint32_t i = 0; i < COUNT; i++) share(server.conns[i].handle, 0, 400);
  for (uint32_t i = 0; i < COUNT; i++) share(server.conns[i].handle, 400, 600);
  t_turn(&server);
  // Both pieces in one send; nothing is left to be read from the outbox.
  T_NEED(backend == MR_IO_URING || t_fault_calls(SYS_SEND) == COUNT);
  memset(server.outbox, 0xdb, 1000);
  for (uint32_t i = 0; i < COUNT; i++) {
    if (i == GONE) continue;
    T_NEED(t_until_read(&server, i, 1000) && t_same(&server.clients[i].in, noise, 1000));
    server.last = server.conns[i].handle;
    T_NEED(t_until_seen(&server, MR_HEAD, 1));
  }
  T_NEED(server.errors == 0);
end:
  return t_close(&server) && ok;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 3);
  T_BOTH("contiguous ranges become one send", run_coalesced);
  T_BOTH("a slow reader gets every byte in order, 1 byte to 4 MiB", run_slow_reader);
  T_BOTH("interleaved sends of two connections stay in order", run_interleaved);
  T_BOTH("mr_flush(now) frees the outbox at once", run_flush_now);
  T_BOTH("mr_poll frees the outbox", run_flush_later);
  T_BOTH("MR_DRAIN comes once for each drain_below, with less than that queued", run_drain);
  T_BOTH("a queue over its cap resets the connection", run_overflow);
  T_BOTH("FINISH flushes, sends FIN and waits for the peer's", run_finish);
  T_BOTH("FIN goes out with the last bytes", run_finish_in_one);
  T_BOTH("FINISH while the peer still sends does not reset it", run_finish_while_sending);
  T_BOTH("TERMINATE resets", run_terminate);
  T_BOTH("TERMINATE ends a connection that is finishing", run_terminate_finishing);
  T_BOTH("short, refused and interrupted sends lose nothing", run_short);
  T_BOTH("a failed send closes the connection with its errno", run_broken);
  T_BOTH("direct bytes come behind what is staged, whatever the socket takes", run_direct);
  T_BOTH("a failed direct send closes the connection with its errno", run_direct_broken);
  T_BOTH("what many share leaves in one send each, with the smallest ring", run_shared);
  return t_done();
}
