// SPDX-License-Identifier: Apache-2.0
// conn_input_test.c - bytes of clients to records: however they are cut, the same comes out.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "arena.h"
#include "check.h"
#include "harness.h"
#include "limits.h"
#include "reactor.h"

// The kernel runs a multishot receive this often before it looks at its cancellation (io_uring).
#define BURST_BLOCKS 32

static struct t_server server;

enum { MIB = 1 << 20 };

static uint8_t *noise(size_t length) {
  static uint8_t bytes[8 * MIB];
  static bool filled;
  if (!filled) t_pattern(bytes, sizeof(bytes), 7);
  filled = true;
  return length <= sizeof(bytes) ? bytes : NULL;
}

// Delivers bytes cut at one place, or in steps, and copies the transcript out.
static bool deliver(const void *bytes, size_t length, size_t cut, size_t step, uint32_t last_kind,
                    uint32_t last_count, struct t_bytes *log) {
  struct t_server *s = &server;
  bool ok = true;
  uint32_t before = s->opened, closed = s->ended;
  uint32_t client = t_connect(s);
  T_NEED(t_until_opened(s, before + 1));
  if (cut > 0) {
    t_write(s, client, bytes, cut);
    for (int i = 0; i < 3; i++) t_turn(s);
  }
  t_write(s, client, (const uint8_t *)bytes + cut, length - cut);
  s->clients[client].out_step = step;
  T_NEED(t_until_seen(s, last_kind, last_count));
  log->length = 0;
  t_append(log, t_last(s)->log.at, t_last(s)->log.length);
  t_command(s, s->last, MR_CMD_TERMINATE, 0);
  T_NEED(t_until_closed(s, closed + 1));
end:
  // Numbers of clients are not endless.
  t_hang_up(s, client);
  free(s->clients[client].in.at);
  s->clients[client] = (struct t_client){.fd = -1};
  s->client_count = client;
  return ok;
}

static const char requests[] =
    "GET /first HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
    "POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"
    "POST /third HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\nabcde\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nTrailer: v\r\n\r\n"
    "\r\nGET /fourth HTTP/1.1\r\nHost: b\r\n\r\n";

// Whether a cut falls between two of them, or into one, says which are read in the same turn.
static const char repeated[] =
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    "GET / HTTP/1.1\r\nHOST: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n12"
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n34"
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n"
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

static bool same_records(uint32_t backend, const char *bytes, size_t length, uint32_t heads) {
  struct mr_options o = t_options(backend);
  struct t_bytes whole = {0}, log = {0};
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  T_NEED(deliver(bytes, length, 0, 0, MR_HEAD, heads, &whole));
  for (size_t cut = 1; cut < length; cut++) {
    T_NEED(deliver(bytes, length, cut, 0, MR_HEAD, heads, &log));
    if (!t_same(&log, whole.at, whole.length)) fprintf(stderr, "cut at %zu\n", cut);
    T_NEED(t_same(&log, whole.at, whole.length));
  }
  for (size_t step = 1; step < 40; step += 3) {
    T_NEED(deliver(bytes, length, 0, step, MR_HEAD, heads, &log));
    T_NEED(t_same(&log, whole.at, whole.length));
  }
end:
  free(whole.at);
  free(log.at);
  return t_close(&server) && ok;
}

static bool run_cuts(uint32_t backend) {
  return same_records(backend, requests, sizeof(requests) - 1, 4);
}

static bool run_repeated(uint32_t backend) {
  return same_records(backend, repeated, sizeof(repeated) - 1, 11);
}

// Upgrades as soon as the head is there.
static void switch_protocol(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind == MR_HEAD && (record->flags & MR_UPGRADE) != 0) {
    t_command(s, record->handle, MR_CMD_WEBSOCKET, 1 << 30);
  }
}

static size_t ws_script(uint8_t *out) {
  size_t at = sizeof(T_UPGRADE) - 1;
  memcpy(out, T_UPGRADE, at);
  at += t_frame(out + at, 0x81,
                "Gr\xc3\xbc\xc3\x9f"
                "e",
                8);
  at += t_frame(out + at, 0x02, "part one ", 9);
  at += t_frame(out + at, 0x89, "ping!", 5);
  at += t_frame(out + at, 0x80, noise(300), 300);
  at += t_frame(out + at, 0x8a, noise(125), 125);
  at += t_frame(out + at, 0x82, "", 0);
  at += t_frame(out + at, 0x88,
                "\x03\xe8"
                "bye",
                5);
  return at;
}

static bool run_ws_cuts(uint32_t backend) {
  struct mr_options o = t_options(backend);
  struct t_bytes whole = {0}, log = {0};
  static uint8_t script[2048];
  size_t length = ws_script(script);
  bool ok = true;
  T_NEED(t_open(&server, &o, false) == 0);
  server.handler = switch_protocol;
  T_NEED(deliver(script, length, 0, 0, MR_CLOSE, 1, &whole));
  for (size_t cut = 1; cut < length; cut++) {
    T_NEED(deliver(script, length, cut, 0, MR_CLOSE, 1, &log));
    T_NEED(t_same(&log, whole.at, whole.length));
  }
  for (size_t step = 1; step < 30; step += 4) {
    T_NEED(deliver(script, length, 0, step, MR_CLOSE, 1, &log));
    T_NEED(t_same(&log, whole.at, whole.length));
  }
end:
  free(whole.at);
  free(log.at);
  return t_close(&server) && ok;
}

// Bodies longer than many blocks arrive byte for byte, of known length and chunked.
static bool run_bodies(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static uint8_t bytes[3 * MIB];
  const size_t body = 2 * MIB + 17;
  int at = snprintf((char *)bytes, 128, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", body);
  memcpy(bytes + at, noise(body), body);
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, bytes, (size_t)at + body);
  T_NEED(t_until_opened(&server, 1));
  struct t_conn *c = t_last(&server);
  T_NEED(t_until_seen(&server, MR_BODY, 1));
  while (c->body.length < body) T_NEED(t_until_seen(&server, MR_BODY, c->seen[MR_BODY] + 1));
  T_NEED(t_same(&c->body, noise(body), body));
  c->body.length = 0;
  at = snprintf((char *)bytes, 128, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  size_t done = 0;
  for (size_t size = 1; done < body; size = size * 3 % 70001 + 1) {
    if (size > body - done) size = body - done;
    at += snprintf((char *)bytes + at, 32, "%zx\r\n", size);
    memcpy(bytes + at, noise(body) + done, size);
    at += (int)size;
    done += size;
    memcpy(bytes + at, "\r\n", 2);
    at += 2;
  }
  memcpy(bytes + at, "0\r\n\r\n", 5);
  t_write(&server, client, bytes, (size_t)at + 5);
  while (c->body.length < body) T_NEED(t_until_seen(&server, MR_BODY, c->seen[MR_BODY] + 1));
  T_NEED(t_same(&c->body, noise(body), body));
end:
  return t_close(&server) && ok;
}

// Heads that straddle the ends of blocks: long ones of changing length, many behind each other.
static bool run_long_heads(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static char bytes[MIB];
  struct t_bytes expected = {0};
  size_t at = 0;
  uint32_t count = 0;
  for (size_t pad = 3000; pad < 15000; pad += 733, count++) {
    size_t start = at;
    at += (size_t)snprintf(bytes + at, 64, "GET / HTTP/1.1\r\nhost: a\r\n");
    while (at - start < pad) at += (size_t)snprintf(bytes + at, 200, "x-%zu: %0150zu\r\n", at, at);
    at += (size_t)snprintf(bytes + at, 8, "\r\n");
  }
  o.max_fields = 256;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, bytes, at);
  T_NEED(t_until_seen(&server, MR_HEAD, count));
  const struct t_conn *c = t_last(&server);
  T_NEED(c->seen[MR_VIOLATION] == 0);
  // The transcript without its marks is what was sent.
  for (size_t i = 0; i < c->log.length; i++) {
    if (c->log.at[i] == '<') {
      while (c->log.at[i] != '>') i++;
      continue;
    }
    t_append(&expected, c->log.at + i, 1);
  }
  T_NEED(t_same(&expected, bytes, at));
end:
  free(expected.at);
  return t_close(&server) && ok;
}

static uint32_t input_blocks(const struct t_server *s) {
  return s->reactor->conns[s->last & MR_SLOT_MASK].in_blocks;
}

static bool filled(struct t_server *s, const void *context) {
  return s->opened > 0 && (input_blocks(s) >= INPUT_BLOCKS_MAX || s->ended > 0 || context != NULL);
}

// One WebSocket message much longer than what a paused connection may hold.
static bool run_pause(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static uint8_t bytes[9 * MIB];
  const size_t size = 8 * MIB;
  size_t at = sizeof(T_UPGRADE) - 1;
  memcpy(bytes, T_UPGRADE, at);
  at += t_frame(bytes + at, 0x82, noise(size), size);
  T_NEED(t_open(&server, &o, true) == 0);
  server.handler = switch_protocol;
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_write(&server, client, bytes, at);
  T_NEED(t_until_seen(&server, MR_MESSAGE, 1));
  for (int round = 0; round < 3; round++) {
    t_command(&server, server.last, MR_CMD_PAUSE, 0);
    t_flush(&server, 0);
    T_NEED(t_until(&server, filled, NULL));
    // Whatever the kernel had under way is in; from here on nothing more may come.
    t_turn_for(&server, 30);
    const uint32_t pieces = t_last(&server)->seen[MR_MESSAGE];
    const uint64_t received = server.control->received_bytes;
    T_NEED(server.ended == 0);
    t_turn_for(&server, 100);
    T_NEED(t_last(&server)->seen[MR_MESSAGE] == pieces && server.control->received_bytes == received);
    T_NEED(input_blocks(&server) <= BURST_BLOCKS + INPUT_BLOCKS_MAX);
    t_command(&server, server.last, MR_CMD_RESUME, 0);
    T_NEED(t_until_seen(&server, MR_MESSAGE, pieces + 1));
  }
  struct t_conn *c = t_last(&server);
  while (c->body.length < size) T_NEED(t_until_seen(&server, MR_MESSAGE, c->seen[MR_MESSAGE] + 1));
  T_NEED(t_same(&c->body, noise(size), size));
end:
  return t_close(&server) && ok;
}

// A peer whose bytes nobody wants may still reset.
static bool run_reset_while_full(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static uint8_t bytes[9 * MIB];
  const size_t size = 8 * MIB;
  const size_t head =
      (size_t)sprintf((char *)bytes, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", size);
  memcpy(bytes + head, noise(size), size);
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_write(&server, client, bytes, head + size);
  T_NEED(t_until_seen(&server, MR_BODY, 1));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_flush(&server, 0);
  T_NEED(t_until(&server, filled, NULL));
  t_turn_for(&server, 30);
  T_NEED(server.ended == 0);
  t_reset(&server, client);
  T_NEED(t_until_closed(&server, 1));
  T_NEED(t_last(&server)->closed == ECONNRESET);
end:
  return t_close(&server) && ok;
}

// After MR_UPGRADE nothing is parsed until JavaScript decides; then what waited is all there.
static bool run_hold(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static uint8_t bytes[2 * MIB];
  const size_t size = MIB;
  size_t at = sizeof(T_UPGRADE) - 1;
  memcpy(bytes, T_UPGRADE, at);
  at += t_frame(bytes + at, 0x82, noise(size), size);
  T_NEED(t_open(&server, &o, true) == 0);
  t_write(&server, t_connect(&server), bytes, at);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_turn_for(&server, 50);
  struct t_conn *c = t_last(&server);
  T_NEED(c->seen[MR_MESSAGE] == 0 && c->seen[MR_VIOLATION] == 0);
  t_command(&server, server.last, MR_CMD_WEBSOCKET, 1 << 30);
  while (c->body.length < size) T_NEED(t_until_seen(&server, MR_MESSAGE, c->seen[MR_MESSAGE] + 1));
  T_NEED(t_same(&c->body, noise(size), size));
end:
  return t_close(&server) && ok;
}

// A refused upgrade goes on as HTTP.
static bool run_hold_refused(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static char bytes[1024];
  snprintf(bytes, sizeof(bytes), "%sGET /next HTTP/1.1\r\nHost: a\r\n\r\n", T_UPGRADE);
  T_NEED(t_open(&server, &o, false) == 0);
  t_write(&server, t_connect(&server), bytes, strlen(bytes));
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_turn_for(&server, 20);
  T_NEED(t_last(&server)->seen[MR_HEAD] == 1);
  t_command(&server, server.last, MR_CMD_DECLINE, 0);
  T_NEED(t_until_seen(&server, MR_HEAD, 2));
end:
  return t_close(&server) && ok;
}

// FIN behind data: MR_END comes after every byte, and waits while a paused connection has some.
static bool run_end(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  T_NEED(t_until_opened(&server, 1));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_write(&server, client, requests, sizeof(requests) - 1);
  t_turn(&server);
  t_turn(&server);
  t_hang_up(&server, client);
  t_turn_for(&server, 30);
  T_NEED(t_last(&server)->seen[MR_HEAD] == 0 && t_last(&server)->seen[MR_END] == 0);
  t_command(&server, server.last, MR_CMD_RESUME, 0);
  T_NEED(t_until_seen(&server, MR_END, 1));
  T_NEED(t_last(&server)->seen[MR_HEAD] == 4);
  t_turn_for(&server, 20);
  T_NEED(t_last(&server)->seen[MR_END] == 1);
  t_command(&server, server.last, MR_CMD_FINISH, 0);
  T_NEED(t_until_closed(&server, 1));
end:
  return t_close(&server) && ok;
}

// FIN behind all that there is to parse is told whatever is paused or held, and to a socket once more.
static bool run_end_at_once(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(t_open(&server, &o, true) == 0);
  uint32_t client = t_connect(&server);
  t_write(&server, client, requests, sizeof(requests) - 1 - 4);  // the last head lacks its end
  T_NEED(t_until_seen(&server, MR_HEAD, 3));
  t_command(&server, server.last, MR_CMD_PAUSE, 0);
  t_flush(&server, 0);
  t_hang_up(&server, client);
  T_NEED(t_until_seen(&server, MR_END, 1));
  client = t_connect(&server);
  t_write(&server, client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
  T_NEED(t_until_opened(&server, 2) && t_until_seen(&server, MR_HEAD, 1));
  t_hang_up(&server, client);
  T_NEED(t_until_seen(&server, MR_END, 1));
  t_command(&server, server.last, MR_CMD_WEBSOCKET, 1000);
  T_NEED(t_until_seen(&server, MR_END, 2));
end:
  return t_close(&server) && ok;
}

// What follows a request that ends the connection is not parsed.
static bool run_no_keep_alive(uint32_t backend) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  static const char bytes[] =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
  T_NEED(t_open(&server, &o, false) == 0);
  t_write(&server, t_connect(&server), bytes, sizeof(bytes) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_turn_for(&server, 30);
  T_NEED(t_last(&server)->seen[MR_HEAD] == 1);
end:
  return t_close(&server) && ok;
}

int main(void) {
  T_BOTH("requests cut at every byte give the same records", run_cuts);
  T_BOTH("requests that repeat, cut at every byte, give the same records", run_repeated);
  T_BOTH("an upgrade and its frames cut at every byte give the same records", run_ws_cuts);
  T_BOTH("bodies over many blocks, of known length and chunked, are byte exact", run_bodies);
  T_BOTH("heads across the ends of blocks are whole", run_long_heads);
  T_BOTH("a paused connection stops receiving and loses nothing", run_pause);
  T_BOTH("a reset is noticed while nothing is received", run_reset_while_full);
  T_BOTH("nothing is parsed between MR_UPGRADE and the decision", run_hold);
  T_BOTH("a refused upgrade goes on as HTTP", run_hold_refused);
  T_BOTH("MR_END comes once, after all bytes, and not while paused", run_end);
  T_BOTH("MR_END waits for nothing when there is nothing to parse", run_end_at_once);
  T_BOTH("nothing behind a request without keep-alive is parsed", run_no_keep_alive);
  return t_done();
}
