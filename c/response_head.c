// SPDX-License-Identifier: Apache-2.0
// response_head.c - where the head of an HTTP response ends; called by conn_response.c.
//
// What a head says is JavaScript's to read. Here is decided only what cannot wait for its end: that the peer
// speaks HTTP/1 at all, and that its lines end as they should (RFC 9112 section 2.2).
#include "response_head.h"

#include <string.h>

#include "layout.h"

static const char START[] = "HTTP/1.";

int32_t response_head_end(const uint8_t *bytes, uint32_t length, uint32_t seen, uint32_t max) {
  const uint32_t start_length = sizeof(START) - 1;
  if (memcmp(bytes, START, length < start_length ? length : start_length) != 0) return -MR_BAD_STATUS_LINE;
  for (uint32_t at = seen; at < length;) {
    const uint8_t *found = memchr(bytes + at, '\n', length - at);
    if (found == NULL) break;
    at = (uint32_t)(found - bytes) + 1;
    if (bytes[at - 2] != '\r') return -MR_BARE_LF;
    if (at >= 3 && bytes[at - 3] == '\n') return at <= max ? (int32_t)at : -MR_RESPONSE_TOO_LARGE;
  }
  return length < max ? 0 : -MR_RESPONSE_TOO_LARGE;
}
