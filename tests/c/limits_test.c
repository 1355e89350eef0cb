// SPDX-License-Identifier: Apache-2.0
// limits_test.c - minimum rates, what may be pipelined, drained or lingered, and timeouts of one request.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "check.h"
#include "harness.h"
#include "reactor.h"

enum { DUE = 300 };

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"

static struct t_server server;
static uint8_t noise[1 << 20];

static void write_text(uint32_t client, const char *text) {
  t_write(&server, client, text, strlen(text));
}

static bool open_post(const struct mr_options *o, const char *head) {
  bool ok = true;
  T_NEED(t_open(&server, o, true) == 0);
  write_text(t_connect(&server), head);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
end:
  return ok;
}

// A client whose sockets hold little, so that it takes what it reads and no more.
static bool open_narrow(const struct mr_options *o) {
  int small = 4096;
  bool ok = true;
  T_NEED(t_open(&server, o, true) == 0);
  uint32_t client = t_connect_sized(&server, small);
  T_NEED(t_until_opened(&server, 1));
  server.clients[client].reading = false;
  int fd = server.reactor->conns[server.last & MR_SLOT_MASK].fd;
  T_NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
end:
  return ok;
}

static bool set_timeouts(uint32_t handle, const struct mr_timeouts *timeouts) {
  struct mr_command *command = &server.commands[server.command_count++];
  *command = (struct mr_command){.handle = handle, .op = MR_CMD_TIMEOUTS};
  if (timeouts == NULL) return true;
  memcpy(server.outbox + server.outbox_used, timeouts, sizeof(*timeouts));
  command->offset = server.outbox_used;
  command->length = sizeof(*timeouts);
  server.outbox_used += sizeof(*timeouts);
  return true;
}

// A body that comes byte by byte is never quiet, but slow.
static bool run_slow_body(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = 3 * DUE;
  o.rate_grace = DUE;
  o.min_body_rate = 1000;
  bool ok = true;
  T_NEED(open_post(&o, POST "\r\n"));
  uint64_t until = t_now_ms() + T_DEADLINE_MS;
  while (t_last(&server)->seen[MR_VIOLATION] == 0 && t_now_ms() < until) {
    write_text(0, "x");
    t_turn_for(&server, DUE / 10);
  }
  T_NEED(t_last(&server)->violation == MR_BODY_TOO_SLOW && t_last(&server)->code == 408);
  T_NEED(server.control->slow_bodies == 1 && server.control->timeouts == 1);
end:
  return t_close(&server) && ok;
}

// The same bytes are fast enough for another rate; chunked bodies are counted alike.
static bool run_steady_body(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.rate_grace = DUE;
  o.min_body_rate = 1;
  bool ok = true;
  T_NEED(open_post(&o, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
  for (uint64_t until = t_now_ms() + 4 * DUE; t_now_ms() < until;) {
    write_text(0, "1\r\nx\r\n");
    t_turn_for(&server, DUE / 5);
  }
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0 && server.control->timeouts == 0);
end:
  return t_close(&server) && ok;
}

// The rate is that of the time in which we read.
static bool run_paused_rate(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.rate_grace = DUE;
  o.min_body_rate = 1 << 20;
  bool ok = true;
  T_NEED(open_post(&o, POST "\r\n"));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_turn(&server);
  t_turn_for(&server, 4 * DUE);
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  t_turn(&server);
  t_write(&server, 0, noise, 100000);
  struct t_conn *c = t_last(&server);
  while (c->body.length < 100000) T_NEED(t_until_seen(&server, MR_BODY, c->seen[MR_BODY] + 1));
  T_NEED(c->seen[MR_VIOLATION] == 0);
end:
  return t_close(&server) && ok;
}

// A peer that waits for 100 Continue is not late; from then on it may be.
static bool run_expect(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = o.rate_grace = DUE;
  o.min_body_rate = 1000;
  bool ok = true;
  T_NEED(open_post(&o, POST "Expect: 100-continue\r\n\r\n"));
  t_turn_for(&server, 3 * DUE);
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0);
  t_send(&server, server.last, "HTTP/1.1 100 Continue\r\n\r\n", 25, 0);
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  T_NEED(server.control->timeouts == 1);
end:
  return t_close(&server) && ok;
}

// Nor is one whose request has waited for its turn: nobody has told it to go on yet.
static bool run_expect_behind(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = DUE;
  bool ok = true;
  T_NEED(open_post(&o, GET POST "Expect: 100-continue\r\n\r\n"));
  T_NEED(t_until_seen(&server, MR_HEAD, 2));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_turn(&server);
  t_send(&server, server.last, "answer", 6, 1);
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  t_turn_for(&server, 3 * DUE);
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0);
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
end:
  return t_close(&server) && ok;
}

// A peer that reads a little now and then makes progress, and not enough of it.
static bool run_slow_reader(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.rate_grace = DUE;
  o.min_send_rate = 10 << 20;
  bool ok = true;
  uint8_t bytes[8192];
  T_NEED(open_narrow(&o));
  t_send(&server, server.last, noise, 400000, 0);
  for (uint64_t until = t_now_ms() + T_DEADLINE_MS; server.ended == 0 && t_now_ms() < until;) {
    t_turn_for(&server, DUE / 10);
    (void)!recv(server.clients[0].fd, bytes, sizeof(bytes), MSG_DONTWAIT);
  }
  T_NEED(server.ended == 1 && t_last(&server)->closed == ETIMEDOUT);
  T_NEED(server.control->slow_readers == 1 && server.control->timeouts == 1);
end:
  return t_close(&server) && ok;
}

// A peer that reads slowly from a large socket buffer is seen to do so, long before the buffer takes more.
static bool run_fair_reader(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.rate_grace = o.stall_timeout = DUE;
  o.min_send_rate = 1000;
  int large = 2 << 20;
  uint8_t bytes[8192];
  bool ok = true;
  T_NEED(open_narrow(&o));
  int fd = server.reactor->conns[server.last & MR_SLOT_MASK].fd;
  T_NEED(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large)) == 0);
  for (int i = 0; i < 6; i++) t_send(&server, server.last, noise, sizeof(noise), 0);
  for (uint64_t until = t_now_ms() + 5 * DUE; t_now_ms() < until;) {
    t_turn_for(&server, DUE / 10);
    (void)!recv(server.clients[0].fd, bytes, sizeof(bytes), MSG_DONTWAIT);
  }
  T_NEED(server.ended == 0 && server.control->sent_bytes < 6 * sizeof(noise));
  T_NEED(t_until_closed(&server, 1));
  T_NEED(server.control->stall_timeouts + server.control->slow_readers == 1);
end:
  return t_close(&server) && ok;
}

// Whoever is owed nothing is not slow, however little there is to send.
static bool run_quiet_stream(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.rate_grace = 1;
  o.min_send_rate = 10 << 20;
  bool ok = true;
  T_NEED(open_post(&o, GET));
  for (uint32_t i = 1; i <= 4; i++) {
    t_send(&server, server.last, "event", 5, 0);
    T_NEED(t_until_read(&server, 0, 5 * i));
    t_turn_for(&server, DUE);
  }
  T_NEED(server.ended == 0 && server.control->timeouts == 0);
end:
  return t_close(&server) && ok;
}

static bool run_linger_bytes(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.linger_bytes = 300000;
  bool ok = true;
  T_NEED(open_post(&o, GET));
  t_send(&server, server.last, "bye", 3, 1);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_ended(&server, 0));
  t_write(&server, 0, noise, 200000);
  t_turn_for(&server, DUE);
  T_NEED(server.ended == 0);
  t_write(&server, 0, noise, 200000);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(server.control->linger_overflows == 1 && t_same(&server.clients[0].in, "bye", 3));
end:
  return t_close(&server) && ok;
}

// What is left of a body after its answer has one deadline, which no byte moves, and ends without a refusal.
static bool run_drain(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = o.drain_timeout = DUE;
  bool ok = true;
  T_NEED(open_post(&o, POST "\r\nsome"));
  t_send(&server, server.last, "answer", 6, 1);
  for (uint64_t until = t_now_ms() + T_DEADLINE_MS; !server.clients[0].ended && t_now_ms() < until;) {
    write_text(0, "x");
    t_turn_for(&server, DUE / 10);
  }
  T_NEED(server.clients[0].ended && t_same(&server.clients[0].in, "answer", 6));
  T_NEED(server.control->drain_timeouts == 1 && server.control->timeouts == 0);
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0);
end:
  return t_close(&server) && ok;
}

// No more heads than allowed are ahead of their responses, and none is lost or overtaken by the peer's end.
static bool run_pipelined(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_pipelined = 4;
  bool ok = true;
  T_NEED(open_post(&o, GET GET GET GET GET GET GET GET GET GET));
  struct t_conn *c = t_last(&server);
  T_NEED(t_until_seen(&server, MR_HEAD, 4));
  T_NEED(shutdown(server.clients[0].fd, SHUT_WR) == 0);
  t_turn_for(&server, 50);
  T_NEED(c->seen[MR_HEAD] == 4 && c->seen[MR_END] == 0);
  t_send(&server, server.last, "12", 2, 2);
  T_NEED(t_until_seen(&server, MR_HEAD, 6));
  t_turn_for(&server, 50);
  T_NEED(c->seen[MR_HEAD] == 6 && c->seen[MR_END] == 0 && server.control->pipeline_waits == 1);
  for (uint32_t i = 3; i <= 10; i++) {
    t_send(&server, server.last, "r", 1, 1);
    t_turn(&server);
    t_turn(&server);
  }
  T_NEED(t_until_read(&server, 0, 10) && t_until_seen(&server, MR_END, 1));
  T_NEED(c->seen[MR_HEAD] == 10 && server.reactor->conns[0].requests == 0);
end:
  return t_close(&server) && ok;
}

// The body of the last request that fits is delivered: its handler may need it to answer.
static bool run_pipelined_body(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.max_pipelined = 2;
  bool ok = true;
  T_NEED(open_post(&o, GET "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET));
  T_NEED(t_until_seen(&server, MR_BODY, 1));
  T_NEED(t_same(&t_last(&server)->body, "hello", 5) && t_last(&server)->seen[MR_HEAD] == 2);
  t_send(&server, server.last, "a", 1, 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 3));
end:
  return t_close(&server) && ok;
}

// A request's own timeouts hold for its body, and not for that of the next request.
static bool run_own_timeouts(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = DUE;
  const struct mr_timeouts none = {0};
  bool ok = true;
  T_NEED(open_post(&o, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1"));
  set_timeouts(server.last, &none);
  t_turn_for(&server, 3 * DUE);
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0);
  write_text(0, "2" POST "\r\n");
  T_NEED(t_until_seen(&server, MR_HEAD, 2));
  t_send(&server, server.last, "answer", 6, 1);
  set_timeouts(server.last, NULL);
  T_NEED(t_until_read(&server, 0, 6));
  write_text(0, "x");
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  T_NEED(t_last(&server)->violation == MR_BODY_TIMEOUT && server.control->body_timeouts == 1);
end:
  return t_close(&server) && ok;
}

// The end of a response is still under the timeouts of its request.
static bool run_own_stall(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.stall_timeout = DUE;
  const struct mr_timeouts none = {0};
  bool ok = true;
  T_NEED(open_narrow(&o));
  set_timeouts(server.last, &none);
  t_send(&server, server.last, noise, 400000, 1);
  set_timeouts(server.last, NULL);
  t_turn_for(&server, 3 * DUE);
  T_NEED(server.ended == 0);
  server.clients[0].reading = true;
  T_NEED(t_until_read(&server, 0, 400000));
  t_turn(&server);
  server.clients[0].reading = false;
  t_send(&server, server.last, noise, 400000, 1);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ETIMEDOUT && server.control->stall_timeouts == 1);
end:
  return t_close(&server) && ok;
}

// The body of a pipelined request does not keep the patience that was meant for the request before it.
static bool run_next_body(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.body_timeout = DUE;
  const struct mr_timeouts none = {0};
  bool ok = true;
  T_NEED(open_narrow(&o));
  set_timeouts(server.last, &none);
  t_turn(&server);
  write_text(0, GET POST "\r\nx");
  T_NEED(t_until_seen(&server, MR_HEAD, 2));
  t_send(&server, server.last, noise, 400000, 1);
  set_timeouts(server.last, NULL);
  t_turn_for(&server, 3 * DUE);
  T_NEED(t_last(&server)->seen[MR_VIOLATION] == 0);
  server.clients[0].reading = true;
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  T_NEED(t_last(&server)->violation == MR_BODY_TIMEOUT && server.clients[0].in.length == 400000);
end:
  return t_close(&server) && ok;
}

// An upgrade ends the request, and with it what was set for it alone.
static bool run_upgrade(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.stall_timeout = 7;
  const struct mr_timeouts none = {0};
  bool ok = true;
  T_NEED(open_post(&o, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"));
  set_timeouts(server.last, &none);
  t_turn(&server);
  const struct conn *c = &server.reactor->conns[server.last & MR_SLOT_MASK];
  T_NEED(c->timeouts.stall_timeout == 0);
  t_send(&server, server.last, "yes", 3, 0);
  t_command(&server, server.last, MR_CMD_STREAM, 0);
  T_NEED(t_until_read(&server, 0, 3));
  T_NEED(c->timeouts.stall_timeout == 7);
end:
  return t_close(&server) && ok;
}

// Nothing in the command is trusted.
static bool run_bad_timeouts(uint32_t backend) {
  static const uint32_t ranges[][2] = {{0, 15},          {0, 17},         {1 << 20, 16}, {(1 << 20) - 15, 16},
                                       {0xfffffff8, 16}, {0, 0xffffffff}, {8, 1},        {0xffffffff, 16}};
  struct mr_options o = t_options(backend);
  o.body_timeout = 7;
  bool ok = true;
  T_NEED(open_post(&o, GET));
  memset(server.outbox, 0xff, 64);
  for (uint32_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
    server.commands[server.command_count++] = (struct mr_command){
        .handle = server.last, .op = MR_CMD_TIMEOUTS, .offset = ranges[i][0], .length = ranges[i][1]};
    t_turn(&server);
    T_NEED(server.reactor->conns[server.last & MR_SLOT_MASK].timeouts.body_timeout == 7);
  }
end:
  return t_close(&server) && ok;
}

int main(void) {
  t_pattern(noise, sizeof(noise), 5);
  T_BOTH("a body below the minimum rate is refused, quiet or not", run_slow_body);
  T_BOTH("a body at the minimum rate may take its time", run_steady_body);
  T_BOTH("time in which a body is not read does not count", run_paused_rate);
  T_BOTH("a body's time begins with 100 Continue", run_expect);
  T_BOTH("100 Continue is not due before a request's turn", run_expect_behind);
  T_BOTH("a peer that reads below the minimum rate is reset", run_slow_reader);
  T_BOTH("a peer that reads slowly from a large buffer is spared", run_fair_reader);
  T_BOTH("a stream with nothing to send is not slow", run_quiet_stream);
  T_BOTH("what comes after our end is bounded", run_linger_bytes);
  T_BOTH("the rest of an answered body has one deadline", run_drain);
  T_BOTH("requests beyond max_pipelined wait for responses", run_pipelined);
  T_BOTH("the last request within max_pipelined gets its body", run_pipelined_body);
  T_BOTH("a request's own timeouts end with it", run_own_timeouts);
  T_BOTH("a response's own timeouts hold until it is sent", run_own_stall);
  T_BOTH("the next request's body has the server's timeouts", run_next_body);
  T_BOTH("a request's own timeouts end with an upgrade", run_upgrade);
  T_BOTH("malformed MR_CMD_TIMEOUTS change nothing", run_bad_timeouts);
  return t_done();
}
