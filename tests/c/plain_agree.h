// SPDX-License-Identifier: Apache-2.0
// plain_agree.h - whether the tokenisers of c/ came to the same as the plain second implementation; called by
// the fuzz targets and plain_test.c.
#ifndef MR_TESTS_PLAIN_AGREE_H
#define MR_TESTS_PLAIN_AGREE_H

#include "http_head.h"
#include "plain_http.h"

// Result and head are those of http_head_parse().
bool plain_agrees_head(const uint8_t *bytes, uint32_t size, const struct http_head_limits *limits,
                       int32_t result, const struct http_head *head);

// Result: bytes consumed when the body has ended, 0 when bytes are missing, or -mr_violation.
bool plain_agrees_body(const struct plain_body *plain, int32_t result);

#endif
