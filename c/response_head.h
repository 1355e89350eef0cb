// SPDX-License-Identifier: Apache-2.0
// response_head.h - where the head of an HTTP response ends; called by conn_response.c.
#ifndef MR_RESPONSE_HEAD_H
#define MR_RESPONSE_HEAD_H

#include <stdint.h>

// Finds the end of a head of at most max bytes. The first seen bytes were looked at before, and more have
// come since. Returns its length with the empty line, 0 when bytes are missing, or -mr_violation.
int32_t response_head_end(const uint8_t *bytes, uint32_t length, uint32_t seen, uint32_t max);

#endif
