// SPDX-License-Identifier: Apache-2.0
// fuzz_response_head.c - any bytes as the head of a response: the same end however cut, and the same as a
// plain model's.
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "response_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX = 300 };

static void require(int condition) {
  if (!condition) abort();
}

static int32_t feed(const uint8_t *data, uint32_t size, uint32_t step) {
  uint32_t seen = 0;
  for (uint32_t have = 0;;) {
    have = size - have > step ? have + step : size;
    uint8_t *bytes = malloc(have > 0 ? have : 1);
    require(bytes != NULL);
    if (have > 0) memcpy(bytes, data, have);
    const int32_t end = response_head_end(bytes, have, seen, MAX);
    free(bytes);
    require(end <= (int32_t)have && end <= MAX);
    if (end != 0 || have == size) return end;
    seen = have;
  }
}

// Byte by byte, without looking back further than the line.
static int32_t plain(const uint8_t *data, uint32_t size) {
  static const char start[] = "HTTP/1.";
  uint32_t line = 0;  // bytes of it so far
  for (uint32_t at = 0; at < size; at++) {
    if (at < 7 && data[at] != (uint8_t)start[at]) return -MR_BAD_STATUS_LINE;
    line++;
    if (data[at] == '\n') {
      if (line < 2 || data[at - 1] != '\r') return -MR_BARE_LF;
      if (line == 2) return at < MAX ? (int32_t)at + 1 : -MR_RESPONSE_TOO_LARGE;
      line = 0;
    }
    if (at + 1 == MAX) return -MR_RESPONSE_TOO_LARGE;
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 4096) return 0;
  const int32_t want = plain(data, (uint32_t)size);
  require(feed(data, (uint32_t)size, 1) == want);
  // In larger steps what is too long may be found to be malformed, or to end, first.
  for (uint32_t step = 2; step <= 4096; step *= 8) {
    const int32_t end = feed(data, (uint32_t)size, step);
    require(want == -MR_RESPONSE_TOO_LARGE ? end < 0 : end == want);
  }
  return 0;
}
