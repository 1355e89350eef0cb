// SPDX-License-Identifier: Apache-2.0
// http_head.h - tokenises an HTTP/1.1 request head (RFC 9112 sections 2 to 3, 5 and 6); called by
// conn_http.c.
#ifndef MR_HTTP_HEAD_H
#define MR_HTTP_HEAD_H

#include "layout.h"

#define HTTP_FIELDS_MAX 256

struct http_field {  // offsets are from the first byte given to http_head_parse
  uint16_t name;
  uint16_t name_length;
  uint16_t value;
  uint16_t value_length;
};

struct http_head {
  uint32_t start;  // of the method, behind the empty lines that were skipped
  uint32_t method_length;
  uint32_t target;
  uint32_t target_length;
  uint32_t field_count;
  uint8_t flags;  // mr_head_flag
  uint64_t content_length;
  struct http_field fields[HTTP_FIELDS_MAX];
};

struct http_head_limits {
  uint32_t max_head_bytes;  // at most 65535
  uint32_t max_target_bytes;
  uint32_t max_fields;      // at most HTTP_FIELDS_MAX
  uint64_t max_body_bytes;  // 0: no limit
};

// Tokenises one head in place: field names are turned to lower case, nothing else changes. seen is how many
// of the bytes an earlier call has already looked at. Returns the length of the head including the empty line
// that ends it and any skipped before it, 0 when bytes are missing, or -mr_violation.
int32_t http_head_parse(uint8_t *bytes, uint32_t length, uint32_t seen, const struct http_head_limits *limits,
                        struct http_head *head);

// HTTP status that answers a violation: 400, 408, 413, 414, 417, 431, 501 or 505.
uint16_t http_violation_status(enum mr_violation violation);

#endif
