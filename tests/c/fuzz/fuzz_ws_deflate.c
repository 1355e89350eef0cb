// SPDX-License-Identifier: Apache-2.0
// fuzz_ws_deflate.c - any bytes as two compressed messages that follow one another: the same comes out
// however they are cut and however little room there is, and it is what zlib makes of them at one blow.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "reactor.h"
#include "ws_deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20, MESSAGES = 2 };

struct outcome {
  uint32_t length;
  uint32_t ends[MESSAGES];
  int bad;   // not deflate
  int full;  // more than OUT_MAX
  uint8_t bytes[OUT_MAX];
};

static struct mr_control control;
static struct mr_reactor reactor = {.control = &control};

static void require(int condition) {
  if (!condition) abort();
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

// Inflates one piece with at most so much room at a time. False when nothing may follow.
static int inflate_piece(struct ws_deflate *d, const uint8_t *bytes, uint32_t room, struct outcome *out) {
  for (;;) {
    uint32_t length;
    const uint32_t left = OUT_MAX - out->length < room ? OUT_MAX - out->length : room;
    if (left == 0) {
      out->full = 1;
      return 0;
    }
    const enum inflate_verdict verdict = ws_inflate(d, bytes, out->bytes + out->length, left, &length);
    require(length <= left && d->piece.fed <= d->piece.length);
    require(verdict != INFLATE_MORE || length == left);
    out->length += length;
    d->inflated += length;
    if (verdict == INFLATE_BAD) out->bad = 1;
    if (verdict != INFLATE_MORE) return verdict == INFLATE_DONE;
  }
}

static void run(const uint8_t *data, uint32_t size, uint32_t first, uint32_t piece, uint32_t room,
                struct outcome *out) {
  const struct mr_deflate_options options = {.flags = MR_RECEIVE_TAKEOVER, .receive_bits = 15};
  struct conn c = {.deflate = calloc(1, sizeof(struct ws_deflate))};
  require(c.deflate != NULL);
  c.deflate->options = options;
  require(ws_inflate_begin(&reactor, c.deflate));
  out->length = 0;
  out->bad = out->full = 0;
  uint64_t random = 0x9e3779b97f4a7c15u;
  const uint32_t lengths[MESSAGES] = {first, size - first};
  int goes_on = 1;
  for (int message = 0; message < MESSAGES && goes_on; message++) {
    uint32_t left = lengths[message];
    do {
      uint32_t part = piece == 0 ? left : 1 + (uint32_t)(next_random(&random) % piece);
      if (part > left) part = left;
      uint8_t *bytes = malloc(part > 0 ? part : 1);
      require(bytes != NULL);
      if (part > 0) memcpy(bytes, data, part);
      c.deflate->piece = (struct ws_piece){.bytes = part + 1, .length = part, .last = part == left};
      goes_on = inflate_piece(c.deflate, bytes, room, out);
      free(bytes);
      data += part;
      left -= part;
    } while (left > 0 && goes_on);
    out->ends[message] = out->length;
    ws_inflate_end(&reactor, c.deflate);
  }
  ws_deflate_drop(&reactor, &c);
}

// What zlib makes of a message with its tail; a final block has to be the end of it here.
static int plain(const uint8_t *data, uint32_t size, struct outcome *out) {
  static const uint8_t tail[4] = {0, 0, 0xff, 0xff};
  z_stream stream = {0};
  require(inflateInit2(&stream, -15) == Z_OK);
  stream.next_out = out->bytes;
  stream.avail_out = OUT_MAX;
  stream.next_in = (uint8_t *)data;
  stream.avail_in = size;
  int rc = inflate(&stream, Z_SYNC_FLUSH);
  if (rc == Z_OK || rc == Z_BUF_ERROR) {
    stream.next_in = (uint8_t *)tail;
    stream.avail_in = sizeof(tail);
    rc = inflate(&stream, Z_SYNC_FLUSH);
  }
  out->length = OUT_MAX - stream.avail_out;
  const int usable = rc != Z_STREAM_END && stream.avail_out > 0 && size > 0;
  out->bad = (rc != Z_OK && rc != Z_BUF_ERROR) || stream.data_type != 128;
  inflateEnd(&stream);
  return usable;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct outcome whole, part, reference;
  if (size < 1 || size > 65536) return 0;
  const uint32_t length = (uint32_t)size - 1;
  const uint32_t first = length * data[0] / 255;
  data++;
  run(data, length, first, 0, OUT_MAX, &whole);
  static const uint32_t pieces[] = {1, 5, 300};
  static const uint32_t rooms[] = {16384, 7, 256};
  for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
    run(data, length, first, pieces[i], rooms[i], &part);
    // zlib may refuse a code before or after it has written what comes earlier, but never writes anything
    // else.
    require(part.bad == whole.bad && part.full == whole.full);
    const uint32_t same = part.length < whole.length ? part.length : whole.length;
    require(memcmp(part.bytes, whole.bytes, same) == 0);
    require(whole.bad || part.length == whole.length);
  }
  if (plain(data, first, &reference) && !whole.full) {
    if (reference.bad) {
      require(whole.bad);
    } else {
      require(whole.ends[0] == reference.length);
      require(memcmp(whole.bytes, reference.bytes, reference.length) == 0);
    }
  }
  return 0;
}
