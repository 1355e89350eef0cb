// SPDX-License-Identifier: Apache-2.0
// plain_http.h - the rules for request heads and chunked bodies a second time, in the plainest code; called
// by the fuzz targets and corpus_test.c, which compare the tokenisers of c/ with it.
//
// Nothing is shared with c/http_head.c and c/http_body.c but the bits of mr_head_flag: no tables, no state
// between calls, no regard for speed. Whoever changes a rule there changes it here too, from the text of the
// rule.
#ifndef MR_TESTS_PLAIN_HTTP_H
#define MR_TESTS_PLAIN_HTTP_H

#include <stdbool.h>
#include <stdint.h>

enum { PLAIN_MORE = 0, PLAIN_OK = 1 };  // in place of the status of a refusal

enum { PLAIN_FIELDS_MAX = 256, PLAIN_BODY_MAX = 1 << 20 };

struct plain_span {
  uint32_t at;
  uint32_t length;
};

struct plain_limits {
  uint32_t head;
  uint32_t target;
  uint32_t fields;
  uint64_t body;  // 0: none
};

struct plain_head {
  int status;       // PLAIN_MORE, PLAIN_OK or the HTTP status that refuses it
  uint32_t length;  // with the empty line that ends it and those before it
  struct plain_span method;
  struct plain_span target;
  uint32_t field_count;
  struct plain_span names[PLAIN_FIELDS_MAX];
  struct plain_span values[PLAIN_FIELDS_MAX];
  uint8_t flags;  // mr_head_flag
  uint64_t content_length;
};

struct plain_body {
  int status;
  uint32_t consumed;
  uint32_t length;
  uint8_t data[PLAIN_BODY_MAX];
};

void plain_head(const uint8_t *bytes, uint32_t size, const struct plain_limits *limits,
                struct plain_head *head);

// The size is at most PLAIN_BODY_MAX.
void plain_chunked(const uint8_t *bytes, uint32_t size, uint64_t limit, struct plain_body *body);

#endif
