// SPDX-License-Identifier: Apache-2.0
// fuzz_http_head.c - any bytes as a request head: same answer however cut, the same as the plain second
// implementation's, and what it accepts is well formed.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_head.h"
#include "plain_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
  int32_t result;
  uint8_t *bytes;  // the head as the tokeniser left it, to be freed
  struct http_head head;
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

// Gives the tokeniser ever more bytes, each time in memory of exactly that size; most: how many more at most.
static void feed(const uint8_t *data, uint32_t size, uint32_t most, uint64_t *random,
                 const struct http_head_limits *limits, struct outcome *out) {
  uint8_t *kept = NULL;
  uint32_t seen = 0;
  for (;;) {
    uint32_t cut = most == 0 ? size : seen + 1 + (uint32_t)(next_random(random) % most);
    if (cut > size) cut = size;
    uint8_t *bytes = malloc(cut + 1);
    require(bytes != NULL);
    bytes = realloc(bytes, cut > 0 ? cut : 1);
    if (seen > 0) memcpy(bytes, kept, seen);
    if (cut > seen) memcpy(bytes + seen, data + seen, cut - seen);
    free(kept);
    kept = bytes;
    out->result = http_head_parse(bytes, cut, seen, limits, &out->head);
    seen = cut;
    if (out->result != 0 || cut == size) break;
  }
  require(out->result >= -39 && out->result <= (int32_t)size);
  out->bytes = kept;
}

static void require_same(const struct outcome *a, const struct outcome *b) {
  require(a->result == b->result);
  if (a->result <= 0) return;
  require(a->head.flags == b->head.flags && a->head.content_length == b->head.content_length);
  require(a->head.start == b->head.start && a->head.method_length == b->head.method_length);
  require(a->head.target == b->head.target && a->head.target_length == b->head.target_length);
  require(a->head.field_count == b->head.field_count);
  require(memcmp(a->head.fields, b->head.fields, a->head.field_count * sizeof a->head.fields[0]) == 0);
  require(memcmp(a->bytes, b->bytes, (size_t)a->result) == 0);
}

static int is_space(uint8_t byte) {
  return byte == ' ' || byte == '\t';
}

// What an accepted head looks like, in the plainest words.
static void require_well_formed(const struct outcome *out, const struct http_head_limits *limits) {
  const uint8_t *bytes = out->bytes;
  const struct http_head *head = &out->head;
  const uint32_t length = (uint32_t)out->result;
  require(length <= limits->max_head_bytes && memcmp(bytes + length - 4, "\r\n\r\n", 4) == 0);
  require(head->field_count <= limits->max_fields && head->target_length <= limits->max_target_bytes);
  require(limits->max_body_bytes == 0 || head->content_length <= limits->max_body_bytes);
  require(head->method_length > 0 && head->method_length <= 32 && head->target_length > 0);
  require(head->target == head->start + head->method_length + 1);
  uint32_t feeds = 0;
  int high = 0;
  for (uint32_t i = 0; i < length; i++) {
    const int ends = bytes[i] == '\r' && bytes[i + 1] == '\n';
    require(bytes[i] >= ' ' || ends || bytes[i] == '\t' || (bytes[i] == '\n' && bytes[i - 1] == '\r'));
    require(bytes[i] != 0x7f);
    if (bytes[i] == '\n') feeds++;
    if (bytes[i] >= 0x80) high = 1;
  }
  require(head->start <= 16 && feeds == head->field_count + 2 + head->start / 2);
  require(high == ((head->flags & MR_NON_ASCII) != 0));
  uint32_t end = head->target + head->target_length + 11;
  for (uint32_t i = 0; i < head->field_count; i++) {
    const struct http_field *field = &head->fields[i];
    require(field->name == end && field->name_length > 0 && bytes[field->name + field->name_length] == ':');
    require(field->value > field->name + field->name_length);
    for (uint32_t at = 0; at < field->name_length; at++) {
      const uint8_t byte = bytes[field->name + at];
      require(byte > ' ' && byte < 0x7f && byte != ':' && !(byte >= 'A' && byte <= 'Z'));
    }
    if (field->value_length > 0) {
      require(!is_space(bytes[field->value]) && !is_space(bytes[field->value + field->value_length - 1]));
    }
    end = field->value + field->value_length;
    while (is_space(bytes[end])) end++;
    require(bytes[end] == '\r' && bytes[end + 1] == '\n');
    end += 2;
  }
  require(end + 2 == length);
}

static int is(const uint8_t *bytes, uint32_t length, const char *word) {
  return length == strlen(word) && strncasecmp((const char *)bytes, word, length) == 0;
}

// Where the request ends and whom it is for leaves no room for two opinions.
static void require_clear(const struct outcome *out) {
  const struct http_head *head = &out->head;
  const int http_1_0 = (head->flags & MR_HTTP_1_0) != 0;
  uint32_t hosts = 0;
  uint32_t lengths = 0;
  uint32_t codings = 0;
  uint64_t length = 0;
  for (uint32_t i = 0; i < head->field_count; i++) {
    const uint8_t *name = out->bytes + head->fields[i].name;
    const uint8_t *value = out->bytes + head->fields[i].value;
    const uint32_t value_length = head->fields[i].value_length;
    hosts += (uint32_t)is(name, head->fields[i].name_length, "host");
    if (is(name, head->fields[i].name_length, "transfer-encoding")) {
      require(is(value, value_length, "chunked"));
      codings++;
    }
    if (is(name, head->fields[i].name_length, "content-length")) {
      char digits[65536] = {0};
      memcpy(digits, value, value_length);
      require(value_length > 0 && strspn(digits, "0123456789") == value_length);
      length = strtoull(digits, NULL, 10);
      require(length < UINT64_C(1) << 53);
      lengths++;
    }
  }
  require(http_1_0 ? hosts <= 1 : hosts == 1);
  require(lengths + codings <= 1 && (codings == 0 || !http_1_0));
  require(head->content_length == length && codings == ((head->flags & MR_CHUNKED) != 0));
  require((codings > 0 || length > 0) == ((head->flags & MR_HAS_BODY) != 0));
}

// An accepted head that is written anew from its parts is accepted with the same parts.
static void require_stable(const struct outcome *out, const struct http_head_limits *limits) {
  static uint8_t bytes[65536];
  static struct outcome again;
  const struct http_head *head = &out->head;
  uint64_t random = 1;
  uint32_t at = head->target + head->target_length + 11 - head->start;
  memcpy(bytes, out->bytes + head->start, at);
  for (uint32_t i = 0; i < head->field_count; i++) {
    const struct http_field *field = &head->fields[i];
    memcpy(bytes + at, out->bytes + field->name, field->name_length);
    at += field->name_length;
    bytes[at++] = ':';
    memcpy(bytes + at, out->bytes + field->value, field->value_length);
    at += field->value_length;
    bytes[at++] = '\r';
    bytes[at++] = '\n';
  }
  bytes[at++] = '\r';
  bytes[at++] = '\n';
  feed(bytes, at, 0, &random, limits, &again);
  require(again.result == (int32_t)at && again.head.flags == head->flags);
  require(again.head.content_length == head->content_length && again.head.field_count == head->field_count);
  for (uint32_t i = 0; i < head->field_count; i++) {
    const struct http_field *a = &head->fields[i];
    const struct http_field *b = &again.head.fields[i];
    require(a->name_length == b->name_length && a->value_length == b->value_length);
    require(memcmp(out->bytes + a->name, again.bytes + b->name, a->name_length) == 0);
    require(memcmp(out->bytes + a->value, again.bytes + b->value, a->value_length) == 0);
  }
  free(again.bytes);
}

// A head that is refused but has no end may also be waited for; once it has one, every cut answers the same.
static void check(const uint8_t *data, uint32_t size, int has_end, uint64_t *random,
                  const struct http_head_limits *limits) {
  static const uint32_t steps[] = {1, 3, 40, 300};
  static struct outcome whole;
  static struct outcome part;
  feed(data, size, 0, random, limits, &whole);
  if (has_end) require(whole.result != 0);
  require(plain_agrees_head(data, size, limits, whole.result, &whole.head));
  if (whole.result > 0) {
    require_well_formed(&whole, limits);
    require_clear(&whole);
    require_stable(&whole, limits);
  }
  for (size_t step = 0; step < 4; step++) {
    if (steps[step] < 40 && size > 600) continue;
    feed(data, size, steps[step], random, limits, &part);
    if (part.result != 0 || whole.result >= 0 || has_end) require_same(&whole, &part);
    free(part.bytes);
  }
  free(whole.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct http_head_limits limits[] = {
      {16384, 8192, 100, 1000000}, {65535, 65535, 256, 0}, {128, 40, 4, 20}, {24, 60, 1, 1}};
  static uint8_t ended[65536];
  uint64_t random = 0x9e3779b97f4a7c15;
  if (size > sizeof ended - 4) return 0;
  for (size_t i = 0; i < size; i++) random = (random ^ data[i]) * 0x100000001b3 + 1;
  if (random == 0) random = 1;
  size_t blank = 0;  // an end behind nothing but empty lines is one more of them
  while (blank + 1 < size && data[blank] == '\r' && data[blank + 1] == '\n') blank += 2;
  if (size > 0) memcpy(ended, data, size);
  memcpy(ended + size, "\r\n\r\n", 4);
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    check(data, (uint32_t)size, 0, &random, &limits[i]);
    check(ended, (uint32_t)size + 4, size > blank, &random, &limits[i]);
  }
  return 0;
}
