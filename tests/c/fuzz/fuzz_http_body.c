// SPDX-License-Identifier: Apache-2.0
// fuzz_http_body.c - any bytes as a chunked body: same answer however cut, and the same as a plain model's.
#include <stdlib.h>
#include <string.h>

#include "http_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DATA_MAX = 1 << 20 };

struct outcome {
  int32_t result;  // bytes consumed when the body ended, 0 when bytes are missing, negative when refused
  uint32_t length;
  uint8_t data[DATA_MAX];
};

static void require(int condition) {
  if (!condition) abort();
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void feed(const uint8_t *data, uint32_t size, uint32_t most, uint64_t *random, uint64_t limit,
                 struct outcome *out) {
  struct http_chunked chunked = {0};
  uint32_t done = 0;
  out->result = 0;
  out->length = 0;
  while (done < size) {
    struct http_piece piece;
    uint32_t room = most == 0 ? size : 1 + (uint32_t)(next_random(random) % most);
    if (room > size - done) room = size - done;
    uint8_t *bytes = malloc(room);
    require(bytes != NULL);
    memcpy(bytes, data + done, room);
    const int32_t taken = http_chunked_next(&chunked, bytes, room, limit, &piece);
    if (taken >= 0) {
      require(taken > 0 && (uint32_t)taken <= room && piece.start + piece.length <= (uint32_t)taken);
      require(piece.length == 0 || piece.start + piece.length == (uint32_t)taken);
      require(piece.length > 0 || piece.last || (uint32_t)taken == room);
      memcpy(out->data + out->length, bytes + piece.start, piece.length);
      out->length += piece.length;
      done += (uint32_t)taken;
    }
    free(bytes);
    if (taken < 0) out->result = taken;
    if (taken >= 0 && piece.last) out->result = (int32_t)done;
    if (out->result != 0) return;
  }
}

// The model: looks at all bytes at once, line by line. All helpers return the offset behind what they found,
// 0 when the bytes end inside it, -1 when it is something else.
static int is_token(uint8_t byte) {
  static const char separators[] = "\"(),/:;<=>?@[\\]{}";
  return byte > ' ' && byte < 0x7f && strchr(separators, byte) == NULL;
}

static int is_text(uint8_t byte) {
  return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static int64_t token(const uint8_t *data, int64_t size, int64_t at) {
  const int64_t start = at;
  while (at < size && is_token(data[at])) at++;
  if (at == size) return 0;
  return at == start ? -1 : at;
}

static int64_t line_end(const uint8_t *data, int64_t size, int64_t at) {
  if (at == size) return 0;
  if (data[at] != '\r') return -1;
  if (at + 1 == size) return 0;
  return data[at + 1] == '\n' ? at + 2 : -1;
}

static int64_t quoted(const uint8_t *data, int64_t size, int64_t at) {
  for (at++; at < size; at++) {
    if (data[at] == '"') return at + 1;
    if (data[at] == '\\' && ++at == size) return 0;
    if (!is_text(data[at])) return -1;
  }
  return 0;
}

static int64_t extensions(const uint8_t *data, int64_t size, int64_t at) {
  while (at > 0 && at < size && data[at] == ';') {
    at = token(data, size, at + 1);
    if (at <= 0 || data[at] != '=') continue;
    if (++at == size) return 0;
    at = data[at] == '"' ? quoted(data, size, at) : token(data, size, at);
  }
  return at;
}

static int64_t size_line(const uint8_t *data, int64_t size, int64_t at, uint64_t *value, int64_t *extra) {
  const int64_t start = at;
  *value = 0;
  for (; at < size; at++) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *digit = data[at] == 0 ? NULL : strchr(digits, data[at]);
    if (digit == NULL) break;
    if (at - start == 16) return -1;
    *value = *value * 16 + (uint64_t)((digit - digits) % 16);
  }
  if (at == size) return 0;
  if (at == start) return -1;
  const int64_t end = extensions(data, size, at);
  if (end <= 0) return end;
  *extra = end - at;
  return line_end(data, size, end);
}

static int64_t trailers(const uint8_t *data, int64_t size, int64_t at) {
  const int64_t start = at;
  for (uint32_t lines = 0;; lines++) {
    if (at == size) return 0;
    if (data[at] == '\r') {
      if (at - start > 8192) return -1;
      return line_end(data, size, at);
    }
    if (lines == 64) return -1;
    at = token(data, size, at);
    if (at <= 0) return at;
    if (data[at] != ':') return -1;
    while (at < size && is_text(data[at])) at++;
    at = line_end(data, size, at);
    if (at <= 0) return at;
  }
}

static void model(const uint8_t *data, uint32_t size, uint64_t limit, struct outcome *out) {
  int64_t at = 0;
  int64_t all_extra = 0;
  out->length = 0;
  for (;;) {
    uint64_t value = 0;
    int64_t extra = 0;
    at = size_line(data, size, at, &value, &extra);
    all_extra += extra;
    if (at > 0 && (extra > 256 || all_extra > 4096)) at = -1;
    if (at > 0 && limit != 0 && (value > limit || out->length + value > limit)) at = -1;
    if (at > 0 && limit == 0 && value > (uint64_t)INT64_MAX - out->length) at = -1;
    if (at <= 0) break;
    if (value == 0) {
      at = trailers(data, size, at);
      break;
    }
    const uint64_t there = value < size - (uint64_t)at ? value : size - (uint64_t)at;
    memcpy(out->data + out->length, data + at, there);
    out->length += (uint32_t)there;
    at = line_end(data, size, at + (int64_t)there);
    if (there < value) at = 0;
    if (at <= 0) break;
  }
  out->result = (int32_t)at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct outcome whole;
  static struct outcome part;
  static struct outcome plain;
  static const uint64_t limits[] = {0, 20, 1000};
  static const uint32_t steps[] = {1, 3, 40, 300};
  uint64_t random = 0x9e3779b97f4a7c15;
  if (size > DATA_MAX) return 0;
  for (size_t i = 0; i < size; i++) random = (random ^ data[i]) * 0x100000001b3 + 1;
  if (random == 0) random = 1;
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    feed(data, (uint32_t)size, 0, &random, limits[i], &whole);
    for (size_t step = 0; step < 4; step++) {
      feed(data, (uint32_t)size, steps[step], &random, limits[i], &part);
      require(part.result == whole.result && part.length == whole.length);
      require(memcmp(part.data, whole.data, whole.length) == 0);
    }
    model(data, (uint32_t)size, limits[i], &plain);
    require(plain.length == whole.length && memcmp(plain.data, whole.data, whole.length) == 0);
    // The model waits for the end of a line that is hopeless already, so it may still ask for more bytes.
    require(plain.result > 0 ? whole.result == plain.result : whole.result <= 0);
    require(plain.result < 0 ? whole.result < 0 : 1);
  }
  return 0;
}
