// SPDX-License-Identifier: Apache-2.0
// fuzz_http_body.c - any bytes as a chunked body: same answer however cut, and the same as the plain second
// implementation's.
#include <stdlib.h>
#include <string.h>

#include "http_body.h"
#include "plain_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
  int32_t result;  // bytes consumed when the body ended, 0 when bytes are missing, negative when refused
  uint32_t length;
  uint32_t trailer_length;
  uint8_t data[PLAIN_BODY_MAX];
  uint8_t trailers[PLAIN_BODY_MAX];
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
  out->trailer_length = 0;
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
      uint8_t *to = piece.trailer ? out->trailers + out->trailer_length : out->data + out->length;
      memcpy(to, bytes + piece.start, piece.length);
      *(piece.trailer ? &out->trailer_length : &out->length) += piece.length;
      done += (uint32_t)taken;
    }
    free(bytes);
    if (taken < 0) out->result = taken;
    if (taken >= 0 && piece.last) out->result = (int32_t)done;
    if (out->result != 0) return;
  }
}

static int same_trailers(const struct outcome *a, const struct outcome *b) {
  return a->trailer_length == b->trailer_length && memcmp(a->trailers, b->trailers, a->trailer_length) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct outcome whole;
  static struct outcome part;
  static struct plain_body plain;
  static const uint64_t limits[] = {0, 20, 1000};
  static const uint32_t steps[] = {1, 3, 40, 300};
  uint64_t random = 0x9e3779b97f4a7c15;
  if (size > PLAIN_BODY_MAX) return 0;
  for (size_t i = 0; i < size; i++) random = (random ^ data[i]) * 0x100000001b3 + 1;
  if (random == 0) random = 1;
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    feed(data, (uint32_t)size, 0, &random, limits[i], &whole);
    for (size_t step = 0; step < 4; step++) {
      feed(data, (uint32_t)size, steps[step], &random, limits[i], &part);
      require(part.result == whole.result && part.length == whole.length);
      require(memcmp(part.data, whole.data, whole.length) == 0);
      require(whole.result < 0 || same_trailers(&part, &whole));
    }
    plain_chunked(data, (uint32_t)size, limits[i], &plain);
    require(plain.length == whole.length && memcmp(plain.data, whole.data, whole.length) == 0);
    require(plain_agrees_body(&plain, whole.result));
  }
  return 0;
}
