// SPDX-License-Identifier: Apache-2.0
// timer_test.c - every deadline fires when it is due, not before, and wakes an idle reactor.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "harness.h"
#include "reactor.h"

// The wheel's tick is 128 ms and a deadline may be a tick late; LATE adds what a busy machine takes.
enum { DUE = 300, EARLY = DUE - 20, LATE = DUE + 1200 };

static struct t_server server;
static uint8_t noise[1 << 20];

static bool in_time(uint64_t since) {
  uint64_t took = t_now_ms() - since;
  if (took < EARLY || took > LATE) fprintf(stderr, "after %lu ms\n", (unsigned long)took);
  return took >= EARLY && took <= LATE;
}

static bool run_silent(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.head_timeout = DUE;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint64_t since = t_now_ms();
  uint32_t client = t_connect(&server);
  T_NEED(t_until_ended(&server, client));
  T_NEED(in_time(since) && server.clients[client].in.length == 0 && server.clients[client].error == 0);
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0 && server.control->timeouts == 1);
end:
  return t_close(&server) && ok;
}

static void answer(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_HEAD) t_send(s, record->handle, "HTTP/1.1 204 \r\n\r\n", 17, 1);
}

// A byte every few milliseconds does not move the deadline of a head.
static bool run_trickle(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.head_timeout = DUE;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  uint64_t since = t_now_ms();
  static const char head[] =
      "GET / HTTP/1.1\r\nhost: a\r\nx-trickle: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
  for (size_t i = 0; t_last(&server)->seen[MR_VIOLATION] == 0 && i < sizeof(head) - 1; i++) {
    t_write(&server, client, head + i, 1);
    t_turn_for(&server, 10);
  }
  T_NEED(t_last(&server)->violation == MR_HEAD_TIMEOUT && t_last(&server)->code == 408 && in_time(since));
end:
  return t_close(&server) && ok;
}

// What came in time counts, although the application has kept the reactor from looking until after the
// deadline.
static bool run_away(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.head_timeout = DUE;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t early = t_connect(&server), late = t_connect(&server);
  T_NEED(t_until_opened(&server, 2));
  t_write(&server, early, "GET / HTTP/1.1\r\n", 16);
  t_write(&server, late, "GET / HTTP/1.1\r\n", 16);
  t_turn_for(&server, DUE / 3);
  T_NEED(send(server.clients[early].fd, "Host: a\r\n\r\n", 11, 0) == 11);
  poll(NULL, 0, AWAY_MS + DUE);
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  T_NEED(server.conns[0].seen[MR_HEAD] == 1 && server.conns[0].seen[MR_VIOLATION] == 0);
  T_NEED(server.conns[1].seen[MR_HEAD] == 0 && server.conns[1].seen[MR_VIOLATION] == 1);
end:
  return t_close(&server) && ok;
}

// An application that never lets the reactor look in time does not keep late peers for ever.
static bool run_always_away(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.head_timeout = DUE;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_write(&server, client, "GET / HTTP/1.1\r\n", 16);
  t_turn_for(&server, DUE / 3);
  for (int i = 0; i < 2; i++) {
    poll(NULL, 0, AWAY_MS + DUE);
    t_turn(&server);
  }
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 1);
end:
  return t_close(&server) && ok;
}

static bool run_keep_alive(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.idle_timeout = DUE;
  bool ok = true;
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = answer;
  uint32_t client = t_connect(&server);
  for (uint32_t i = 1; i <= 3; i++) {
    t_write(&server, client, request, sizeof(request) - 1);
    T_NEED(t_until_read(&server, client, 17 * i));
    t_turn_for(&server, DUE / 3);
  }
  uint64_t since = t_now_ms() - DUE / 3;
  T_NEED(t_until_ended(&server, client));
  T_NEED(in_time(since) && t_last(&server)->seen[MR_VIOLATION] == 0);
end:
  return t_close(&server) && ok;
}

// The time before a response is the application's, not the peer's.
static bool run_slow_handler(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.idle_timeout = o.head_timeout = o.body_timeout = DUE;
  bool ok = true;
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, request, sizeof(request) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_turn_for(&server, 2 * DUE);
  T_NEED(server.ended == 0 && !server.clients[client].ended);
  // Asleep in poll(2), as a server without other work is, until the handler answers.
  poll(NULL, 0, 2 * DUE);
  uint64_t since = t_now_ms();
  t_send(&server, server.last, "HTTP/1.1 204 \r\n\r\n", 17, 1);
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.clients[client].in.length == 17 && in_time(since));
end:
  return t_close(&server) && ok;
}

static bool run_body(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = DUE;
  bool ok = true;
  static const char request[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, request, sizeof(request) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  for (int i = 0; i < 4; i++) {
    t_turn_for(&server, DUE / 3);
    t_write(&server, client, "x", 1);
  }
  t_turn(&server);
  t_turn(&server);
  uint64_t since = t_now_ms();
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  T_NEED(t_last(&server)->violation == MR_BODY_TIMEOUT && t_last(&server)->code == 408 && in_time(since));
end:
  return t_close(&server) && ok;
}

// A peer whose bytes we do not take is not slow.
static bool run_paused_body(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = DUE;
  bool ok = true;
  static uint8_t request[600000];
  int at = snprintf((char *)request, 100, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, request, (size_t)at);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_turn(&server);
  t_write(&server, client, noise, 500000);
  t_turn_for(&server, 3 * DUE);
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0);
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  struct t_conn *c = t_last(&server);
  while (c->body.length < 500000) T_NEED(t_until_seen(&server, MR_BODY, c->seen[MR_BODY] + 1));
  T_NEED(t_same(&c->body, noise, 500000) && c->seen[MR_VIOLATION] == 0);
end:
  return t_close(&server) && ok;
}

static bool run_stall(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.stall_timeout = DUE;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  server.clients[client].reading = false;
  int fd = server.reactor->conns[server.last & MR_SLOT_MASK].fd, small = 4096;
  T_NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
  // The clock stood still for the reactor while it slept; that time is not a stall.
  poll(NULL, 0, 2 * DUE);
  t_send(&server, server.last, noise, sizeof(noise), 0);
  t_flush(&server, 1);
  uint64_t since = t_now_ms();
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ETIMEDOUT && in_time(since));
end:
  return t_close(&server) && ok;
}

// A slow reader that makes progress is not stalled.
static bool run_progress(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.stall_timeout = 4 * DUE;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  server.clients[client].reading = false;
  int fd = server.reactor->conns[server.last & MR_SLOT_MASK].fd, small = 4096;
  T_NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
  t_send(&server, server.last, noise, 400000, 0);
  uint8_t bytes[8192];
  for (uint64_t until = t_now_ms() + 6 * DUE; t_now_ms() < until;) {
    t_turn_for(&server, DUE / 3);
    (void)!recv(server.clients[client].fd, bytes, sizeof(bytes), MSG_DONTWAIT);
  }
  T_NEED(server.ended == 0);
end:
  return t_close(&server) && ok;
}

static bool run_linger(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.linger_timeout = DUE;
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  poll(NULL, 0, 2 * DUE);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  uint64_t since = t_now_ms();
  T_NEED(t_until_ended(&server, client));
  T_NEED(server.ended == 0 && t_now_ms() - since < EARLY);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(in_time(since) && t_last(&server)->closed == 0);
end:
  return t_close(&server) && ok;
}

static bool open_ws(const struct mr_options *o) {
  bool ok = true;
  T_NEED(t_open(&server, o, true) == 0);
  t_write(&server, t_connect(&server), T_UPGRADE, sizeof(T_UPGRADE) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_command(&server, server.last, MR_CMD_WEBSOCKET, 1 << 20);
  t_turn(&server);
end:
  return ok;
}

// MR_CMD_IDLE counts from the last byte received.
static bool run_command_idle(uint32_t backend) {
  struct mr_options o = t_options(backend);
  uint8_t frame[16];
  size_t length = t_frame(frame, 0x89, "p", 1);
  bool ok = true;
  T_NEED(open_ws(&o));
  t_command(&server, server.last, MR_CMD_IDLE, DUE);
  for (int i = 0; i < 5; i++) {
    t_turn_for(&server, DUE / 3);
    t_write(&server, 0, frame, length);
  }
  T_NEED(t_until_seen(&server, MR_PING, 5));
  uint64_t since = t_now_ms();
  T_NEED(t_until_closed(&server, 1));
  T_NEED(in_time(since) && t_last(&server)->closed == ETIMEDOUT);
  T_NEED(t_last(&server)->seen[MR_QUIET] == 1);
end:
  return t_close(&server) && ok;
}

// MR_CMD_DEADLINE counts from the command, also when the reactor has slept before, and nothing moves it.
static bool run_command_deadline(uint32_t backend) {
  struct mr_options o = t_options(backend);
  uint8_t frame[16];
  size_t length = t_frame(frame, 0x89, "p", 1);
  bool ok = true;
  T_NEED(open_ws(&o));
  poll(NULL, 0, 2 * DUE);
  uint64_t since = t_now_ms();
  t_command(&server, server.last, MR_CMD_DEADLINE, DUE);
  while (server.ended == 0 && t_now_ms() < since + LATE) {
    t_turn_for(&server, DUE / 6);
    t_write(&server, 0, frame, length);
  }
  T_NEED(server.ended == 1 && in_time(since));
end:
  return t_close(&server) && ok;
}

// A deadline beyond one rotation of the wheel, and a thousand short ones that are moved before they are due.
static bool run_wheel(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_ws(&o));
  t_command(&server, server.last, MR_CMD_IDLE, 200000);
  t_turn(&server);
  T_NEED(server.reactor->wheel_count == 1);
  for (uint32_t i = 0; i < 1000; i++) t_command(&server, server.last, MR_CMD_IDLE, 1 + i * 77 % 2000);
  t_command(&server, server.last, MR_CMD_IDLE, 0);
  t_turn_for(&server, 2 * DUE);
  T_NEED(server.ended == 0 && server.reactor->wheel_count <= 1);
end:
  return t_close(&server) && ok;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 3);
  T_BOTH("a connection that never speaks is closed without a word", run_silent);
  T_BOTH("a head's deadline is not moved by trickled bytes", run_trickle);
  T_BOTH("nobody is late because the application was", run_away);
  T_BOTH("deadlines count although the application is always late", run_always_away);
  T_BOTH("a connection between requests is closed after idle_timeout", run_keep_alive);
  T_BOTH("a slow handler is not the peer's fault", run_slow_handler);
  T_BOTH("a body's deadline counts from its last byte", run_body);
  T_BOTH("a paused body does not time out", run_paused_body);
  T_BOTH("a peer that does not read is reset after stall_timeout", run_stall);
  T_BOTH("a peer that reads slowly is not stalled", run_progress);
  T_BOTH("a lingering connection is closed after linger_timeout", run_linger);
  T_BOTH("MR_CMD_IDLE counts from the last byte", run_command_idle);
  T_BOTH("MR_CMD_DEADLINE counts from the command", run_command_deadline);
  T_BOTH("far and moved deadlines do not fire", run_wheel);
  return t_done();
}
