// SPDX-License-Identifier: Apache-2.0
// conn_much_test.c - connections that bring much: in line for the turns, cut by errors, ended on the way, and
// quiet again.
#include <errno.h>
#include <stdio.h>

#include "arena.h"
#include "check.h"
#include "faults.h"
#include "harness.h"
#include "limits.h"
#include "reactor.h"

enum { PEERS = 8, BODY = 1 << 20, HEAD_MAX = 100 };

static struct t_server server;
static uint8_t upload[HEAD_MAX + BODY];
static const uint8_t *body;
static size_t upload_length;

static void make_upload(void) {
  int head =
      snprintf((char *)upload, HEAD_MAX, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
  body = upload + head;
  upload_length = (size_t)head + BODY;
  t_pattern(upload + head, BODY, 17);
}

static bool all_uploaded(struct t_server *s, const void *context) {
  (void)context;
  for (uint32_t i = 0; i < PEERS; i++) {
    if (s->conns[i].body.length < BODY) return s->ended > 0;
  }
  return true;
}

static bool all_same(void) {
  for (uint32_t i = 0; i < PEERS; i++) {
    if (!t_same(&server.conns[i].body, body, BODY)) return false;
  }
  return true;
}

static bool start_uploads(uint32_t backend) {
  struct mr_options o = t_options(backend);
  o.receive_buffers = 64;
  o.block_count = 1024;
  if (t_open(&server, &o, true) != 0) return false;
  for (uint32_t i = 0; i < PEERS; i++) t_write(&server, t_connect(&server), upload, upload_length);
  return true;
}

static const struct slot_queue *line(void) {
  return &server.reactor->queues[QUEUE_READABLE];
}

static bool someone_waits(struct t_server *s, const void *context) {
  (void)s;
  (void)context;
  return line()->count > 0;
}

// Who was left out in one turn is the first of the next; each turn has its bound.
static bool run_line(uint32_t backend) {
  bool ok = true;
  uint32_t waited = 0;
  const uint64_t most = TURN_BYTES + SHARE_RECORDS * SHARE_BYTES + 64 * MR_BLOCK_BYTES;
  T_NEED(start_uploads(backend));
  for (int turn = 0; turn < 2000 && !all_uploaded(&server, NULL); turn++) {
    const struct t_conn *first = line()->count == 0 ? NULL : &server.conns[line()->slots[line()->head]];
    const size_t had = first == NULL ? 0 : first->body.length;
    const uint64_t before = server.control->received_bytes;
    t_turn(&server);
    T_NEED(first == NULL || first->body.length > had);
    T_NEED(server.control->received_bytes - before <= most);
    if (first != NULL) waited++;
  }
  T_NEED(t_until(&server, all_uploaded, NULL) && server.ended == 0);
  T_NEED(all_same());
  T_NEED(backend == MR_EPOLL ? waited == 0 : waited > 0);
end:
  return t_close(&server) && ok;
}

// Reads that bring one byte or a few, or nothing for now: all arrives, in order.
static bool run_cut(uint32_t backend) {
  static const int cuts[] = {-1, -255, -MR_BLOCK_BYTES, EAGAIN, EINTR};
  bool ok = true;
  T_NEED(start_uploads(backend));
  for (uint32_t i = 0; i < 5; i++) t_fault(SYS_RECVMSG, 2 * i, 12, cuts[i]);
  T_NEED(t_until(&server, all_uploaded, NULL) && server.ended == 0);
  T_NEED(t_faults_fired() == 60);
  T_NEED(all_same());
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// A read that fails ends its connection, and no other.
static bool run_failed(uint32_t backend) {
  bool ok = true;
  T_NEED(start_uploads(backend));
  T_NEED(t_until_opened(&server, PEERS));
  t_fault(SYS_RECVMSG, 20, 1, ECONNRESET);
  T_NEED(t_until_closed(&server, 1));
  t_faults_clear();
  uint32_t whole = 0, cut = 0;
  for (int turn = 0; turn < 20000 && whole < PEERS - 1; turn++) {
    t_turn(&server);
    whole = cut = 0;
    for (uint32_t i = 0; i < PEERS; i++) {
      if (server.conns[i].live && server.conns[i].body.length == BODY) whole++;
      if (!server.conns[i].live && server.conns[i].closed == ECONNRESET) cut++;
    }
  }
  T_NEED(whole == PEERS - 1 && cut == 1);
end:
  t_faults_clear();
  return t_close(&server) && ok;
}

// Ended by either side while they wait in line: none is read after that, and all blocks come back.
static bool run_ended(uint32_t backend) {
  bool ok = true;
  T_NEED(start_uploads(backend));
  T_NEED(t_until_opened(&server, PEERS));
  if (backend != MR_EPOLL) T_NEED(t_until(&server, someone_waits, NULL));
  for (uint32_t i = 0; i < PEERS; i++) {
    if (i % 2 == 0) {
      t_command(&server, server.conns[i].handle, MR_CMD_TERMINATE, 0);
    } else {
      t_reset(&server, i);
    }
  }
  T_NEED(t_until_closed(&server, PEERS));
  t_turn(&server);
  const uint32_t held = backend == MR_EPOLL ? 0 : server.options.receive_buffers;
  T_NEED(server.arena->free_count + held == server.options.block_count);
end:
  return t_close(&server) && ok;
}

// The reactor is closed in the midst of it.
static bool run_closed(uint32_t backend) {
  bool ok = true;
  T_NEED(start_uploads(backend));
  T_NEED(t_until_opened(&server, PEERS));
  if (backend != MR_EPOLL) T_NEED(t_until(&server, someone_waits, NULL));
end:
  return t_close(&server) && ok;
}

static void pause_at_body(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_BODY) t_command(s, record->handle, MR_CMD_PAUSE, 0);
}

// Handlers that take their bodies bit by bit: what waits for them is bounded, and nothing is lost.
static bool run_slow(uint32_t backend) {
  bool ok = true;
  T_NEED(start_uploads(backend));
  server.handler = pause_at_body;
  for (int turn = 0; turn < 20000 && !all_uploaded(&server, NULL); turn++) {
    t_turn(&server);
    for (uint32_t i = 0; i < PEERS; i++) {
      // The kernel goes on with a multishot receive until it looks at its cancellation.
      T_NEED(server.reactor->conns[i].in_blocks <= (backend == MR_EPOLL ? INPUT_BLOCKS_MAX : 64));
      if (turn % 3 == 0 && server.conns[i].live) {
        t_command(&server, server.conns[i].handle, MR_CMD_RESUME, 0);
      }
    }
  }
  T_NEED(all_uploaded(&server, NULL) && server.ended == 0);
  T_NEED(all_same());
end:
  return t_close(&server) && ok;
}

static bool body_grown(struct t_server *s, const void *context) {
  return t_last(s)->body.length == *(const size_t *)context;
}

// A connection whose messages have become short is received by the ring again, and by reads when they grow.
static bool run_quiet(uint32_t backend) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  const uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  const struct conn *c = &server.reactor->conns[0];
  for (uint32_t round = 0; round < 2; round++) {
    const uint32_t heads = round * (POLLS_AFTER_MUCH + 2);
    t_write(&server, client, upload, upload_length);
    const size_t length = (size_t)(round + 1) * BODY;
    T_NEED(t_until(&server, body_grown, &length));
    T_NEED(t_send(&server, server.last, "x", 1, 1));
    T_NEED(backend == MR_EPOLL || c->polls_left > 0);
    for (uint32_t i = 0; i <= POLLS_AFTER_MUCH; i++) {
      t_write(&server, client, request, sizeof(request) - 1);
      T_NEED(t_until_seen(&server, MR_HEAD, heads + i + 2));
      T_NEED(t_send(&server, server.last, "x", 1, 1));
    }
    T_NEED(backend == MR_EPOLL || (c->polls_left == 0 && c->recv_armed && c->recv_multishot));
  }
end:
  return t_close(&server) && ok;
}

int main(void) {
  make_upload();
  T_BOTH("who was left out in a turn is the first of the next", run_line);
  T_BOTH("reads that are cut lose nothing", run_cut);
  T_BOTH("a read that fails ends one connection", run_failed);
  T_BOTH("connections that end in line give their blocks back", run_ended);
  T_BOTH("a reactor closes while connections are in line", run_closed);
  T_BOTH("what waits for a slow handler is bounded", run_slow);
  T_BOTH("a connection that is quiet again is received by the ring", run_quiet);
  return t_done();
}
