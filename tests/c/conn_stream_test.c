// SPDX-License-Identifier: Apache-2.0
// conn_stream_test.c - connections that leave HTTP for a protocol of the application, and word of what was
// sent.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "check.h"
#include "harness.h"
#include "limits.h"
#include "reactor.h"

#define CONNECT "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"
#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"

enum { MIB = 1 << 20, DUE = 400 };

static struct t_server server;
static uint8_t noise[4 * MIB];

static void to_stream(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_HEAD) t_command(s, record->handle, MR_CMD_STREAM, 0);
}

// A connection that has left HTTP; returns the number of its client.
static bool open_stream(const struct mr_options *o, uint32_t *client) {
  if (t_open(&server, o, true) != 0) return false;
  server.handler = to_stream;
  *client = t_connect(&server);
  t_write(&server, *client, CONNECT, sizeof(CONNECT) - 1);
  return t_until_seen(&server, MR_HEAD, 1);
}

static bool until_data(struct t_conn *c, size_t length) {
  while (c->body.length < length) {
    if (!t_until_seen(&server, MR_DATA, c->seen[MR_DATA] + 1)) return false;
  }
  return true;
}

// Head and bytes cut at every place: each byte behind the head is delivered, once.
static bool run_cuts(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static uint8_t bytes[sizeof(UPGRADE) + 200];
  const size_t head = sizeof(UPGRADE) - 1, rest = 200, length = head + rest;
  memcpy(bytes, UPGRADE, head);
  memcpy(bytes + head, noise, rest);
  T_NEED(t_open(&server, &o, false) == 0);
  server.handler = to_stream;
  for (size_t cut = 1; cut <= length; cut++) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, (uint32_t)cut));
    t_write(&server, client, bytes, cut);
    for (int turn = 0; turn < 3; turn++) t_turn(&server);
    t_write(&server, client, bytes + cut, length - cut);
    struct t_conn *c = t_last(&server);
    T_NEED(until_data(c, rest) && t_same(&c->body, noise, rest));
    t_hang_up(&server, client);
    T_NEED(t_until_seen(&server, MR_END, 1));
    T_NEED(c->body.length == rest && c->seen[MR_HEAD] == 1);
    t_command(&server, server.last, MR_CMD_FINISH, 0);
    T_NEED(t_until_closed(&server, (uint32_t)cut));
  }
end:
  return t_close(&server) && ok;
}

// Megabytes in, pausing on the way: all there, in fair shares, and nothing while paused.
static bool run_pause(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  struct t_conn *c = t_last(&server);
  t_write(&server, client, noise, sizeof(noise));
  T_NEED(until_data(c, MIB));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_turn(&server);
  const size_t paused_at = c->body.length;
  t_turn_for(&server, 50);
  T_NEED(c->body.length == paused_at && paused_at < sizeof(noise));
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  T_NEED(until_data(c, sizeof(noise)) && t_same(&c->body, noise, sizeof(noise)));
  T_NEED(c->most_records <= SHARE_RECORDS * SHARE_BYTES / MR_BLOCK_BYTES);
end:
  return t_close(&server) && ok;
}

// After MR_CMD_END the peer sees FIN behind all bytes, may go on, and the connection closes with its own FIN.
static bool run_end_first(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  struct t_conn *c = t_last(&server);
  t_send(&server, server.last, noise, 200000, 0);
  t_command(&server, server.last, MR_CMD_END, 0);
  T_NEED(t_until_ended(&server, client));
  T_NEED(t_same(&server.clients[client].in, noise, 200000));
  T_NEED(server.ended == 0);
  t_write(&server, client, noise, 100000);
  T_NEED(until_data(c, 100000) && t_same(&c->body, noise, 100000));
  t_hang_up(&server, client);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(c->seen[MR_END] == 1 && c->closed == 0);
end:
  return t_close(&server) && ok;
}

// The peer's FIN comes first: bytes still go out, and MR_CMD_END closes.
static bool run_end_second(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  shutdown(server.clients[client].fd, SHUT_WR);
  T_NEED(t_until_seen(&server, MR_END, 1));
  T_NEED(t_send(&server, server.last, noise, 200000, 0));
  t_command(&server, server.last, MR_CMD_END, 0);
  T_NEED(t_until_ended(&server, client) && t_until_closed(&server, 1));
  T_NEED(t_same(&server.clients[client].in, noise, 200000));
  T_NEED(t_last(&server)->closed == 0);
end:
  return t_close(&server) && ok;
}

// MR_CMD_FINISH after MR_CMD_END lingers for the peer and no longer.
static bool run_end_and_finish(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.linger_timeout = 200;
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  t_command(&server, server.last, MR_CMD_END, 0);
  T_NEED(t_until_ended(&server, client));
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == 0);
end:
  return t_close(&server) && ok;
}

// MR_CMD_STREAM and MR_CMD_END where they have no business do nothing.
static bool run_misuse(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_command(&server, server.last, MR_CMD_STREAM, 0);
  t_command(&server, server.last, MR_CMD_END, 0);
  t_write(&server, client, request, sizeof(request) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_command(&server, server.last, MR_CMD_STREAM, 0);
  t_command(&server, server.last, MR_CMD_END, 0);
  t_write(&server, client, request, sizeof(request) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 2));
  T_NEED(t_last(&server)->seen[MR_DATA] == 0 && !server.clients[client].ended);
end:
  return t_close(&server) && ok;
}

// Idle means that no byte went either way; then the connection is closed with ETIMEDOUT.
static bool run_idle(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  t_command(&server, server.last, MR_CMD_IDLE, DUE);
  for (int i = 0; i < 6; i++) {
    t_turn_for(&server, DUE / 3);
    if (i < 3) {
      t_write(&server, client, "x", 1);
    } else {
      t_send(&server, server.last, "y", 1, 0);
    }
  }
  T_NEED(server.ended == 0);
  t_turn(&server);
  const uint64_t since = t_now_ms();
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ETIMEDOUT && server.control->timeouts == 1);
  T_NEED(t_now_ms() - since >= DUE / 2);
end:
  return t_close(&server) && ok;
}

// What mr_send hands over counts like what is staged.
static bool run_idle_direct(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  t_command(&server, server.last, MR_CMD_IDLE, DUE);
  for (int i = 0; i < 6; i++) {
    t_turn_for(&server, DUE / 3);
    T_NEED(mr_send(server.reactor, 0, server.last, noise, 1000) == 1000);
  }
  T_NEED(server.ended == 0);
end:
  return t_close(&server) && ok;
}

// Whoever is not listened to is not idle, and has all of its time again afterwards.
static bool run_idle_paused(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  uint32_t client;
  T_NEED(open_stream(&o, &client));
  t_command(&server, server.last, MR_CMD_IDLE, DUE);
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_turn_for(&server, 2 * DUE);
  T_NEED(server.ended == 0);
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  t_turn(&server);
  const uint64_t since = t_now_ms();
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ETIMEDOUT && t_now_ms() - since >= DUE / 2);
end:
  return t_close(&server) && ok;
}

// MR_SENT comes when the kernel has what was staged before, and not for what came after.
static bool run_notify(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  struct t_conn *c = t_last(&server);
  t_command(&server, server.last, MR_CMD_NOTIFY, 0);
  T_NEED(t_until_seen(&server, MR_SENT, 1));  // nothing is staged: at once

  server.clients[client].reading = false;
  int fd = server.reactor->conns[server.last & MR_SLOT_MASK].fd, small = 4096;
  T_NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
  for (uint32_t at = 0; at < MIB; at += 65536) t_send(&server, server.last, noise + at, 65536, 0);
  t_command(&server, server.last, MR_CMD_NOTIFY, 0);
  t_turn_for(&server, 50);
  T_NEED(c->seen[MR_SENT] == 1);
  for (uint32_t at = 0; at < MIB; at += 65536) t_send(&server, server.last, noise + at, 65536, 0);
  t_flush(&server, 1);
  server.clients[client].reading = true;
  T_NEED(t_until_seen(&server, MR_SENT, 2));
  T_NEED(server.rows[server.last & MR_SLOT_MASK].queued > 0);
  T_NEED(t_until_read(&server, client, 2 * MIB));
  t_turn_for(&server, 20);
  T_NEED(c->seen[MR_SENT] == 2);
end:
  return t_close(&server) && ok;
}

// The same for a connection that is closing: word comes before MR_CLOSED, also when it is asked for late.
static bool run_notify_finishing(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  struct t_conn *c = t_last(&server);
  for (uint32_t at = 0; at < MIB; at += 65536) t_send(&server, server.last, noise + at, 65536, 0);
  t_command(&server, server.last, MR_CMD_NOTIFY, 0);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_seen(&server, MR_SENT, 1) && server.ended == 0);
  T_NEED(t_until_ended(&server, client));
  t_command(&server, server.last, MR_CMD_NOTIFY, 0);
  T_NEED(t_until_seen(&server, MR_SENT, 2) && server.ended == 0);
  t_hang_up(&server, client);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(c->seen[MR_SENT] == 2);
end:
  return t_close(&server) && ok;
}

static uint32_t unsent;

static void note_unsent(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)s;
  (void)bytes;
  if (record->kind == MR_CLOSED) unsent = record->aux;
}

// Who asked gets no MR_SENT from a peer that leaves; MR_CLOSED tells how much it was owed.
static bool run_notify_lost(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  unsent = 0;
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = note_unsent;
  uint32_t client = t_connect_sized(&server, 4096);
  T_NEED(t_until_opened(&server, 1));
  server.clients[client].reading = false;
  for (uint32_t at = 0; at < sizeof(noise); at += 65536) t_send(&server, server.last, noise + at, 65536, 0);
  t_command(&server, server.last, MR_CMD_NOTIFY, 0);
  t_turn_for(&server, 20);
  t_reset(&server, client);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->seen[MR_SENT] == 0 && unsent > 0 && unsent < sizeof(noise));
end:
  return t_close(&server) && ok;
}

static const char trailed[] =
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: 1\r\nB: 2\r\n\r\n";

// The trailer section cut at every place comes between the body and its end.
static bool run_trailers(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static const char end[] = "okA: 1\r\nB: 2\r\n<last>";
  const size_t length = sizeof(trailed) - 1, tail = sizeof(end) - 1;
  T_NEED(t_open(&server, &o, false) == 0);
  for (size_t cut = length; cut > 1; cut--) {
    uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, (uint32_t)(length - cut + 1)));
    t_write(&server, client, trailed, cut);
    for (int turn = 0; turn < 3; turn++) t_turn(&server);
    t_write(&server, client, trailed + cut, length - cut);
    struct t_conn *c = t_last(&server);
    while (c->log.length < tail || memcmp(c->log.at + c->log.length - 6, "<last>", 6) != 0) {
      T_NEED(t_until_seen(&server, MR_BODY, c->seen[MR_BODY] + 1));
    }
    T_NEED(memcmp(c->log.at + c->log.length - tail, end, tail) == 0);
    T_NEED(c->seen[MR_TRAILER] > 0 && t_same(&c->body, "ok", 2));
    t_hang_up(&server, client);
    T_NEED(t_until_seen(&server, MR_END, 1));
    t_command(&server, server.last, MR_CMD_FINISH, 0);
    T_NEED(t_until_closed(&server, (uint32_t)(length - cut + 1)));
  }
end:
  return t_close(&server) && ok;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 7);
  T_BOTH("bytes behind an upgrade cut at every byte are delivered once", run_cuts);
  T_BOTH("a paused stream receives nothing and loses nothing", run_pause);
  T_BOTH("MR_CMD_END leaves the peer its direction", run_end_first);
  T_BOTH("MR_CMD_END after the peer's FIN closes", run_end_second);
  T_BOTH("MR_CMD_FINISH after MR_CMD_END waits for the linger time", run_end_and_finish);
  T_BOTH("MR_CMD_STREAM and MR_CMD_END do nothing to HTTP", run_misuse);
  T_BOTH("a stream without a byte in either direction is closed", run_idle);
  T_BOTH("a stream that is sent to directly is not idle", run_idle_direct);
  T_BOTH("a paused stream is not idle", run_idle_paused);
  T_BOTH("MR_SENT comes once the kernel has what was staged before", run_notify);
  T_BOTH("MR_SENT comes while a connection closes", run_notify_finishing);
  T_BOTH("a peer that leaves is owed what MR_CLOSED says", run_notify_lost);
  T_BOTH("trailers cut at every byte come before the end of the body", run_trailers);
  return t_done();
}
