// SPDX-License-Identifier: Apache-2.0
// plain_test.c - every request of tests/corpus with one byte changed, or one more, at every place: the
// tokenisers and the plain second implementation come to the same.
#include "check.h"
#include "corpus.h"
#include "http_body.h"
#include "plain_agree.h"

// Longer entries are long by repetition, which shows nothing new here.
enum { SIZE_MAX_HERE = 220 };

// One for each class that any rule tells apart, and the ends of the ranges.
static const uint8_t suspects[] = {0x00, 0x1f, '\t', '\n', '\r', ' ', '"', ',',  ':',  ';',
                                   '=',  '\\', '#',  '%',  '0',  'a', 'Z', 0x7f, 0x80, 0xff};

static struct corpus_entry entries[CORPUS_MAX];
static uint32_t entry_count;

typedef bool agreement(const uint8_t *bytes, uint32_t size);

static bool heads_agree(const uint8_t *bytes, uint32_t size) {
  static const struct http_head_limits limits = {16384, 8192, 100, 64 << 20};
  static struct http_head head;
  uint8_t *copy = t_guarded(bytes, size);
  const int32_t result = http_head_parse(copy, size, 0, &limits, &head);
  return plain_agrees_head(bytes, size, &limits, result, &head);
}

static bool bodies_agree(const uint8_t *bytes, uint32_t size) {
  static struct plain_body plain;
  const uint64_t limit = 64 << 20;
  struct http_chunked chunked = {0};
  struct http_piece piece = {0};
  int32_t result = 0;
  const uint8_t *copy = t_guarded(bytes, size);
  uint32_t at = 0, length = 0;
  plain_chunked(bytes, size, limit, &plain);
  while (at < size && result >= 0 && !piece.last) {
    result = http_chunked_next(&chunked, copy + at, size - at, limit, &piece);
    if (result < 0) break;
    const uint8_t *data = copy + at + piece.start;
    at += (uint32_t)result;
    if (piece.trailer) continue;
    if (length + piece.length > plain.length) return false;
    if (memcmp(plain.data + length, data, piece.length) != 0) return false;
    length += piece.length;
  }
  if (result >= 0) result = piece.last ? (int32_t)at : 0;
  return length == plain.length && plain_agrees_body(&plain, result);
}

static bool agree_or_say(agreement *agree, const char *id, const uint8_t *bytes, uint32_t size) {
  if (agree(bytes, size)) return true;
  printf("# %s: %.*s\n", id, (int)size, (const char *)bytes);
  return false;
}

static bool agree_around(agreement *agree, const char *id, const uint8_t *bytes, uint32_t size) {
  uint8_t changed[SIZE_MAX_HERE + 1];
  if (size > SIZE_MAX_HERE) return true;
  for (uint32_t at = 0; at <= size; at++) {
    for (uint32_t i = 0; i < sizeof(suspects); i++) {
      memcpy(changed, bytes, at);
      changed[at] = suspects[i];
      memcpy(changed + at + 1, bytes + at, size - at);
      if (!agree_or_say(agree, id, changed, size + 1)) return false;
      if (at == size) continue;
      memcpy(changed + at + 1, bytes + at + 1, size - at - 1);
      if (!agree_or_say(agree, id, changed, size)) return false;
    }
    memcpy(changed, bytes, at);
    if (at == size) continue;
    memcpy(changed + at, bytes + at + 1, size - at - 1);
    if (!agree_or_say(agree, id, changed, size - 1)) return false;
  }
  return true;
}

static bool heads(void) {
  bool ok = entry_count > 0;
  for (uint32_t i = 0; i < entry_count; i++) {
    const struct t_bytes *sent = &entries[i].sent;
    ok = agree_around(heads_agree, entries[i].id, sent->at, (uint32_t)sent->length) && ok;
  }
  return ok;
}

static bool bodies(void) {
  uint32_t count = 0;
  bool ok = true;
  for (uint32_t i = 0; i < entry_count; i++) {
    size_t length = 0;
    const uint8_t *bytes = corpus_chunked(&entries[i], &length);
    if (bytes == NULL) continue;
    ok = agree_around(bodies_agree, entries[i].id, bytes, (uint32_t)length) && ok;
    count++;
  }
  return ok && count > 0;
}

int main(void) {
  entry_count = corpus_read(entries);
  t_case("heads of which one byte is changed, added or missing", heads());
  t_case("chunked bodies of which one byte is changed, added or missing", bodies());
  corpus_free(entries, entry_count);
  return t_done();
}
