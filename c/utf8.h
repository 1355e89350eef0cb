// SPDX-License-Identifier: Apache-2.0
// utf8.h - validates UTF-8 (RFC 3629) that arrives in pieces; called by ws_frame.c.
#ifndef MR_UTF8_H
#define MR_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#define UTF8_ACCEPT 0  // at a character boundary
#define UTF8_REJECT 1  // not UTF-8, whatever follows

// Continues from state (UTF8_ACCEPT at first) over length bytes and returns the new state. Any state but
// UTF8_ACCEPT at the end of a message means that it is cut inside a character or not UTF-8 at all.
uint32_t utf8_check(uint32_t state, const uint8_t *bytes, uint32_t length);

// Whether all bytes are below 0x80.
bool utf8_is_ascii(const uint8_t *bytes, uint32_t length);

#endif
