// SPDX-License-Identifier: Apache-2.0
// ws_deflate_test.c - compressed messages through a reactor: cut in every way, bombs, and memory that is not
// to be had.
#include "ws_deflate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "check.h"
#include "faults.h"
#include "harness.h"
#include "reactor.h"

enum { MIB = 1 << 20, SCRIPT_MAX = 1 << 20 };

static struct t_server server;
static struct mr_deflate_options agreed;
static uint32_t max_message_bytes;
static int32_t opened;  // answer of the last mr_deflate_open

static const struct mr_deflate_options shared = {
    .send_bits = 15, .receive_bits = 15, .mem_level = 8, .level = 6, .max_ratio = 128};
static const struct mr_deflate_options takeover = {.flags = MR_SEND_TAKEOVER | MR_RECEIVE_TAKEOVER,
                                                   .send_bits = 15,
                                                   .receive_bits = 15,
                                                   .mem_level = 8,
                                                   .level = 6,
                                                   .max_ratio = 0};

static void switch_protocol(struct t_server *s, const struct mr_record *record, const uint8_t *bytes) {
  (void)bytes;
  if (record->kind != MR_HEAD || (record->flags & MR_UPGRADE) == 0) return;
  opened = mr_deflate_open(s->reactor, record->handle, &agreed);
  t_command(s, record->handle, MR_CMD_WEBSOCKET, max_message_bytes);
}

// The payload of a message, by a stream that remembers the earlier ones.
static size_t deflate_next(z_stream *stream, const void *bytes, size_t length, uint8_t *out,
                           size_t capacity) {
  stream->next_in = (uint8_t *)bytes;
  stream->avail_in = (uint32_t)length;
  stream->next_out = out;
  stream->avail_out = (uint32_t)capacity;
  if (deflate(stream, Z_SYNC_FLUSH) != Z_OK || stream->avail_out == 0) abort();
  return capacity - stream->avail_out - 4;
}

static size_t deflate_once(const void *bytes, size_t length, uint8_t *out, size_t capacity) {
  z_stream stream = {0};
  deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
  size_t written = deflate_next(&stream, bytes, length, out, capacity);
  deflateEnd(&stream);
  return written;
}

// Messages with context takeover, in fragments with a ping between, empty, stored, with a final block, plain.
static size_t script(uint8_t *out) {
  static uint8_t noise[40000];
  static uint8_t payload[50000];
  z_stream stream = {0};
  deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
  size_t at = sizeof(T_UPGRADE) - 1;
  memcpy(out, T_UPGRADE, at);
  for (int i = 0; i < 3; i++) {
    const char text[] =
        "Gr\xc3\xbc\xc3\x9f"
        "e, again and again";
    size_t length = deflate_next(&stream, text, sizeof(text) - 1, payload, sizeof(payload));
    at += t_frame(out + at, 0xc1, payload, length);
  }
  size_t length = deflate_next(&stream, "in three fragments", 18, payload, sizeof(payload));
  at += t_frame(out + at, 0x42, payload, 3);
  at += t_frame(out + at, 0x89, "ping", 4);
  at += t_frame(out + at, 0x00, payload + 3, length - 3);
  at += t_frame(out + at, 0x80, "", 0);
  at += t_frame(out + at, 0xc1, "\0", 1);
  at += t_frame(out + at, 0xc1, "", 0);
  at += t_frame(out + at, 0xc1, "\x00\x05\x00\xfa\xffHello\x00", 11);
  at += t_frame(out + at, 0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8);
  at += t_frame(out + at, 0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00", 7);
  at += t_frame(out + at, 0x81, "plain", 5);
  t_pattern(noise, sizeof(noise), 3);
  deflateReset(&stream);
  length = deflate_next(&stream, noise, sizeof(noise), payload, sizeof(payload));
  at += t_frame(out + at, 0xc2, payload, length);
  deflateEnd(&stream);
  at += t_frame(out + at, 0x88, "\x03\xe8", 2);
  return at;
}

// Delivers bytes cut at one place, or in steps, and copies the transcript out.
static bool deliver(const uint8_t *bytes, size_t length, size_t cut, size_t step, struct t_bytes *log) {
  struct t_server *s = &server;
  bool ok = true;
  uint32_t before = s->opened, closed = s->ended;
  uint32_t client = t_connect(s);
  T_NEED(t_until_opened(s, before + 1));
  if (cut > 0) {
    t_write(s, client, bytes, cut);
    for (int i = 0; i < 3; i++) t_turn(s);
  }
  t_write(s, client, bytes + cut, length - cut);
  s->clients[client].out_step = step;
  T_NEED(t_until_seen(s, MR_CLOSE, 1));
  log->length = 0;
  t_append(log, t_last(s)->log.at, t_last(s)->log.length);
  t_command(s, s->last, MR_CMD_TERMINATE, 0);
  T_NEED(t_until_closed(s, closed + 1));
end:
  t_hang_up(s, client);
  free(s->clients[client].in.at);
  s->clients[client] = (struct t_client){.fd = -1};
  s->client_count = client;
  return ok;
}

static bool open_with(const struct mr_options *options, const struct mr_deflate_options *deflate) {
  agreed = *deflate;
  max_message_bytes = 64 * MIB;
  if (t_open(&server, options, false) != 0) return false;
  server.handler = switch_protocol;
  return true;
}

static bool run_cuts(uint32_t backend) {
  static uint8_t bytes[SCRIPT_MAX];
  const size_t length = script(bytes);
  struct mr_options o = t_options(backend);
  struct t_bytes whole = {0}, log = {0};
  bool ok = true;
  T_NEED(open_with(&o, &takeover));
  T_NEED(deliver(bytes, length, 0, 0, &whole));
  static const char begins[] =
      "<message 4>Gr\xc3\xbc\xc3\x9f"
      "e, again and again<last>";
  const char *at = memmem(whole.at, whole.length, begins, sizeof(begins) - 1);
  T_NEED(at != NULL);
  T_NEED(memmem(whole.at, whole.length, "fragments<last>", 15) != NULL);
  T_NEED(memmem(whole.at, whole.length, "<message 4><last><message 4><last><message 4>Hello<last>", 56) !=
         NULL);
  for (size_t cut = sizeof(T_UPGRADE); cut < length; cut += cut < 700 ? 1 : 997) {
    T_NEED(deliver(bytes, length, cut, 0, &log));
    if (!t_same(&log, whole.at, whole.length)) fprintf(stderr, "cut at %zu\n", cut);
    T_NEED(t_same(&log, whole.at, whole.length));
  }
  T_NEED(deliver(bytes, length, 0, 7, &log));
  T_NEED(t_same(&log, whole.at, whole.length));
  T_NEED(server.control->deflate_bytes == 0);
end:
  free(whole.at);
  free(log.at);
  return t_close(&server) && ok;
}

// A message that inflates to more than all blocks together: over many turns, while nobody else is robbed.
static bool run_large(uint32_t backend) {
  static uint8_t zeros[32 * MIB];
  static uint8_t payload[MIB], frame[MIB];
  struct mr_options o = t_options(backend);
  struct mr_deflate_options deflate = takeover;
  bool ok = true;
  T_NEED((uint64_t)o.block_count * MR_BLOCK_BYTES < sizeof(zeros));
  T_NEED(open_with(&o, &deflate));
  const uint32_t client = t_connect(&server);
  t_write(&server, client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  const size_t length = deflate_once(zeros, sizeof(zeros), payload, sizeof(payload));
  const size_t framed = t_frame(frame, 0xc2, payload, length);
  t_write(&server, client, frame, framed);
  struct t_conn *c = t_last(&server);
  while (c->body.length < sizeof(zeros)) {
    T_NEED(t_until_seen(&server, MR_MESSAGE, c->seen[MR_MESSAGE] + 1));
    T_NEED(server.control->blocks_free > 0);
  }
  T_NEED(t_same(&c->body, zeros, sizeof(zeros)));
  T_NEED(c->most_records <= SHARE_RECORDS);
  T_NEED(c->violation == 0 && server.control->exhausted == 0);
end:
  return t_close(&server) && ok;
}

static bool all_inflated(struct t_server *s, const void *context) {
  return s->ended > 0 || t_last(s)->body.length >= *(const size_t *)context;
}

// What is read at once behind a message that inflates to all free blocks is not held against its peer.
static bool run_short_of_blocks(uint32_t backend) {
  enum { PLAIN = 40000, NOISE = 180000 };
  static uint8_t zeros[2 * MIB], noise[NOISE];
  static uint8_t payload[MIB], script[MIB];
  const size_t all = PLAIN + sizeof(zeros) + NOISE;
  if (backend != MR_EPOLL) return true;  // what the ring delivers was asked for before
  struct mr_options o = t_options(backend);
  o.receive_buffers = 8;
  o.block_count = 64;
  bool ok = true;
  t_pattern(noise, sizeof(noise), 9);
  size_t length = t_frame(script, 0x82, noise, PLAIN);
  length +=
      t_frame(script + length, 0xc2, payload, deflate_once(zeros, sizeof(zeros), payload, sizeof(payload)));
  length += t_frame(script + length, 0xc2, payload, deflate_once(noise, NOISE, payload, sizeof(payload)));
  T_NEED(open_with(&o, &takeover));
  const uint32_t client = t_connect(&server);
  t_write(&server, client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_write(&server, client, script, length);
  T_NEED(t_until(&server, all_inflated, &all));
  T_NEED(server.ended == 0 && server.control->exhausted == 0);
  const struct t_bytes *body = &t_last(&server)->body;
  T_NEED(body->length == all && memcmp(body->at, noise, PLAIN) == 0);
  T_NEED(memcmp(body->at + PLAIN, zeros, sizeof(zeros)) == 0);
  T_NEED(memcmp(body->at + PLAIN + sizeof(zeros), noise, NOISE) == 0);
end:
  return t_close(&server) && ok;
}

static bool refused(uint32_t backend, const struct mr_deflate_options *deflate, uint32_t max,
                    const uint8_t *frame, size_t length, uint32_t violation, uint16_t code,
                    size_t delivered) {
  struct mr_options o = t_options(backend);
  bool ok = true;
  T_NEED(open_with(&o, deflate));
  max_message_bytes = max;
  const uint32_t client = t_connect(&server);
  t_write(&server, client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
  T_NEED(t_until_seen(&server, MR_HEAD, 1));
  t_write(&server, client, frame, length);
  T_NEED(t_until_seen(&server, MR_VIOLATION, 1));
  T_NEED(t_last(&server)->violation == violation && t_last(&server)->code == code);
  T_NEED(t_last(&server)->body.length <= delivered);
end:
  return t_close(&server) && ok;
}

static bool run_bombs(uint32_t backend) {
  static uint8_t zeros[32 * MIB];
  static uint8_t payload[MIB], frame[MIB];
  const size_t length =
      t_frame(frame, 0xc2, payload, deflate_once(zeros, sizeof(zeros), payload, sizeof(payload)));
  const size_t grace = RATIO_GRACE_BYTES + MR_BLOCK_BYTES;
  bool ok = refused(backend, &shared, 64 * MIB, frame, length, MR_WS_EXPANDS, 1009, 128 * 16384 + grace);
  ok = ok && refused(backend, &takeover, MIB, frame, length, MR_WS_TOO_LARGE, 1009, MIB);
  // The same over many fragments, none of which is large.
  size_t at = 0;
  const size_t whole = deflate_once(zeros, 2 * MIB, payload, sizeof(payload));
  for (size_t done = 0; done < whole; done += 10) {
    const size_t part = whole - done < 10 ? whole - done : 10;
    at += t_frame(frame + at,
                  (uint8_t)(done == 0              ? 0x42
                            : done + part == whole ? 0x80
                                                   : 0),
                  payload + done, part);
  }
  return ok && refused(backend, &takeover, MIB, frame, at, MR_WS_TOO_LARGE, 1009, MIB);
}

static bool run_rules(uint32_t backend) {
  static const struct {
    const char *payload;
    uint32_t length;
    uint8_t first;
    uint32_t violation;
    uint16_t code;
  } cases[] = {
      {"ping", 4, 0xc9, MR_WS_RESERVED_BITS, 1002},
      {"\x00", 1, 0xa1, MR_WS_RESERVED_BITS, 1002},
      {"\x00", 1, 0xc3, MR_WS_RESERVED_BITS, 1002},
      {"\x00", 1, 0xc0, MR_WS_RESERVED_BITS, 1002},
      {"\xff\xff", 2, 0xc1, MR_WS_BAD_DEFLATE, 1007},
      {"\xf2\x48", 2, 0xc1, MR_WS_BAD_DEFLATE, 1007},
      {"\xf3\x48\xcd\xc9\xc9\x07\x00\xff", 8, 0xc1, MR_WS_BAD_DEFLATE, 1007},
      {"\x00\x01\x00\xfe\xff\xc3\x00", 7, 0xc1, MR_WS_BAD_UTF8, 1007},
  };
  bool ok = true;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) && ok; i++) {
    uint8_t frame[64];
    const size_t length = t_frame(frame, cases[i].first, cases[i].payload, cases[i].length);
    ok = refused(backend, &shared, MIB, frame, length, cases[i].violation, cases[i].code, 1);
    if (!ok) fprintf(stderr, "case %zu\n", i);
  }
  return ok;
}

// Whichever allocation fails: the connection is reset or its message goes as it is, nothing leaks, others
// live.
static bool run_faults(uint32_t backend) {
  static uint8_t bytes[SCRIPT_MAX], out[4096];
  static const uint8_t text[2000];
  const size_t length = script(bytes);
  struct mr_options o = t_options(backend);
  bool ok = true;
  for (int both = 0; both < 2; both++) {
    T_NEED(open_with(&o, both ? &takeover : &shared));
    uint32_t failed = 0;
    for (uint32_t skip = 0; skip < 12; skip++) {
      t_faults_clear();
      t_fault(SYS_ALLOCATE, skip, 1, ENOMEM);
      const uint32_t before = server.opened, closed = server.ended;
      const uint32_t client = t_connect(&server);
      T_NEED(t_until_opened(&server, before + 1));
      t_write(&server, client, bytes, length);
      T_NEED(t_until_seen(&server, MR_HEAD, 1));
      const int32_t sent =
          mr_deflate(server.reactor, server.last, &agreed, text, sizeof(text), out, sizeof(out));
      T_NEED((sent >= 0 || sent == -ENOMEM) && sent < 100);
      t_turn(&server);
      t_hang_up(&server, client);
      t_command(&server, server.last, MR_CMD_TERMINATE, 0);
      T_NEED(t_until_closed(&server, closed + 1));
      failed += t_faults_fired();
    }
    T_NEED(failed > 5);
    T_NEED(t_close(&server));
  }
  t_faults_clear();
  return ok;
end:
  t_faults_clear();
  t_close(&server);
  return ok;
}

// Contexts of one's own end at three quarters of the memory, and all of them at its end.
static bool run_cap(uint32_t backend) {
  static uint8_t out[4096];
  static const uint8_t text[2000];
  struct mr_options o = t_options(backend);
  o.max_deflate_bytes = 450000;
  bool ok = true;
  T_NEED(open_with(&o, &takeover));
  for (uint32_t i = 0; i < 2; i++) {
    const uint32_t client = t_connect(&server);
    T_NEED(t_until_opened(&server, i + 1));
    t_write(&server, client, T_UPGRADE, sizeof(T_UPGRADE) - 1);
    T_NEED(t_until_seen(&server, MR_HEAD, 1));
    T_NEED(opened == (i == 0 ? 0 : -ENOMEM));
  }
  // The second has none, and gets none where its message would need it.
  T_NEED(mr_deflate(server.reactor, server.last, &shared, text, sizeof(text), out, sizeof(out)) == 0);
  T_NEED(mr_deflate(server.reactor, 0, &shared, text, sizeof(text), out, sizeof(out)) == -ENOMEM);
  T_NEED(server.control->deflate_bytes == (264u + 40) << 10);
end:
  return t_close(&server) && ok;
}

// Shapes beyond the places take turns, and what one leaves behind nobody finds.
static bool run_shapes(uint32_t backend) {
  static uint8_t out[4096], first[4096];
  static uint8_t text[1500];
  struct mr_options o = t_options(backend);
  bool ok = true;
  t_pattern(text, sizeof(text) / 2, 9);
  memcpy(text + sizeof(text) / 2, text, sizeof(text) / 2);
  T_NEED(open_with(&o, &shared));
  struct mr_deflate_options deflate = shared;
  for (uint32_t round = 0; round < 3; round++) {
    for (uint32_t level = 1; level <= 9; level++) {
      for (uint32_t bits = 11; bits <= 15; bits += 4) {
        deflate.level = level;
        deflate.send_bits = bits;
        deflate.mem_level = 1;
        int32_t length = mr_deflate(server.reactor, 0, &deflate, text, sizeof(text), first, sizeof(first));
        T_NEED(length > 0 && (size_t)length < sizeof(text) * 2 / 3);
        // Neither this message nor one that was too long for its room is remembered.
        T_NEED(mr_deflate(server.reactor, 0, &deflate, text, sizeof(text), out, 100) == 0);
        T_NEED(mr_deflate(server.reactor, 0, &deflate, text, sizeof(text), out, sizeof(out)) == length);
        T_NEED(memcmp(out, first, (size_t)length) == 0);
      }
    }
  }
  deflate.send_bits = 8;
  T_NEED(mr_deflate(server.reactor, 0, &deflate, text, sizeof(text), out, sizeof(out)) == 0);
  T_NEED(mr_deflate(server.reactor, 77, &shared, text, sizeof(text), out, sizeof(out)) == 0);
  T_NEED(mr_deflate_open(server.reactor, 77, &shared) == -ESTALE);
  T_NEED(server.control->deflate_bytes <= 8 * 140000);
end:
  return t_close(&server) && ok;
}

int main(void) {
  T_BOTH("compressed messages are the same however they are cut", run_cuts);
  T_BOTH("a message larger than the arena inflates over many turns", run_large);
  T_BOTH("what is read behind it is kept where blocks are few", run_short_of_blocks);
  T_BOTH("bombs are refused by size and by ratio", run_bombs);
  T_BOTH("RSV1, blocks and text have to be right", run_rules);
  T_BOTH("memory that is not to be had", run_faults);
  T_BOTH("the memory of contexts is bounded", run_cap);
  T_BOTH("shared deflaters remember nothing", run_shapes);
  return t_done();
}
