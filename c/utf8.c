// SPDX-License-Identifier: Apache-2.0
// utf8.c - validates UTF-8 that arrives in pieces, ASCII at memory speed; called by ws_frame.c.
#include "utf8.h"

#include <string.h>

typedef uint64_t pair __attribute__((vector_size(16)));

static const uint64_t EACH_80 = UINT64_C(0x8080808080808080);

enum {           // what has to follow
  NEED_1 = 2,    // one continuation byte
  NEED_2 = 3,    // two
  NEED_3 = 4,    // three
  AFTER_E0 = 5,  // A0..BF and one: less would be an overlong form
  AFTER_ED = 6,  // 80..9F and one: more would be a surrogate
  AFTER_F0 = 7,  // 90..BF and two: less would be an overlong form
  AFTER_F4 = 8,  // 80..8F and two: more would be beyond U+10FFFF
};

struct step {
  uint8_t first;  // range of the next byte
  uint8_t last;
  uint8_t next;  // state after it
};

static const struct step steps[] = {
    [UTF8_REJECT] = {1, 0, UTF8_REJECT}, [NEED_1] = {0x80, 0xbf, UTF8_ACCEPT},
    [NEED_2] = {0x80, 0xbf, NEED_1},     [NEED_3] = {0x80, 0xbf, NEED_2},
    [AFTER_E0] = {0xa0, 0xbf, NEED_1},   [AFTER_ED] = {0x80, 0x9f, NEED_1},
    [AFTER_F0] = {0x90, 0xbf, NEED_2},   [AFTER_F4] = {0x80, 0x8f, NEED_2},
};

// State after a first byte of 0xC0 or more (RFC 3629 section 4).
static const uint8_t leads[64] = {
    [0 ... 1] = UTF8_REJECT, [2 ... 31] = NEED_1,       [32] = AFTER_E0, [33 ... 44] = NEED_2,
    [45] = AFTER_ED,         [46 ... 47] = NEED_2,      [48] = AFTER_F0, [49 ... 51] = NEED_3,
    [52] = AFTER_F4,         [53 ... 63] = UTF8_REJECT,
};

static uint32_t step(uint32_t state, uint8_t byte) {
  if (state == UTF8_ACCEPT) {
    if (byte < 0x80) return UTF8_ACCEPT;
    return byte < 0xc0 ? UTF8_REJECT : leads[byte - 0xc0];
  }
  const struct step *const by = &steps[state];
  return byte >= by->first && byte <= by->last ? by->next : UTF8_REJECT;
}

static uint64_t load_8(const uint8_t *bytes) {
  uint64_t eight;
  memcpy(&eight, bytes, 8);
  return eight;
}

// Skips ASCII by whole blocks, and all of it when nothing else is left. start is the first readable byte: the
// last block may reach back over bytes that have been looked at, which saves a loop over single bytes.
static const uint8_t *skip_ascii(const uint8_t *start, const uint8_t *at, const uint8_t *end) {
  while (end - at >= 32) {
    pair low;
    pair high;
    memcpy(&low, at, 16);
    memcpy(&high, at + 16, 16);
    low |= high;
    if ((low[0] | low[1]) & EACH_80) return at;
    at += 32;
  }
  while (end - at >= 8) {
    if (load_8(at) & EACH_80) return at;
    at += 8;
  }
  if (end - start >= 8) return load_8(end - 8) & EACH_80 ? at : end;
  while (at < end && *at < 0x80) at++;
  return at;
}

// Length of the character at the given place, 0 when it is none. Four bytes have to be readable.
static uint32_t character_length(const uint8_t *at) {
  const uint32_t lead = at[0];
  if (lead < 0x80) return 1;
  const bool second = (at[1] & 0xc0) == 0x80;
  if (lead < 0xe0) return lead >= 0xc2 && second ? 2 : 0;
  const bool third = (at[2] & 0xc0) == 0x80;
  if (lead < 0xf0) {
    const uint32_t top = (lead << 6 & 0x3ff) | (at[1] & 0x3f);  // the upper 10 of 16 bits
    return second && third && top >= 0x800 >> 6 && top >> 5 != 0xd800 >> 11 ? 3 : 0;
  }
  const bool fourth = (at[3] & 0xc0) == 0x80;
  const uint32_t top =
      (lead & 0xf) << 6 | (at[1] & 0x3f);  // the upper 9 of 21 bits, beyond them if lead > F7
  return second && third && fourth && top >= 0x10000 >> 12 && top <= 0x10ffff >> 12 ? 4 : 0;
}

bool utf8_is_ascii(const uint8_t *bytes, uint32_t length) {
  return skip_ascii(bytes, bytes, bytes + length) == bytes + length;
}

uint32_t utf8_check(uint32_t state, const uint8_t *bytes, uint32_t length) {
  const uint8_t *at = bytes;
  const uint8_t *const end = bytes + length;
  while (state != UTF8_ACCEPT && at < end) {
    state = step(state, *at++);
    if (state == UTF8_REJECT) return state;
  }
  if (state != UTF8_ACCEPT) return state;
  do {
    at = skip_ascii(bytes, at, end);
    // So many at once that text with a little ASCII in it does not pay for a look at blocks each time.
    for (int32_t i = 0; i < 16 && end - at >= 4; i++) {
      const uint32_t taken = character_length(at);
      if (taken == 0) return UTF8_REJECT;
      at += taken;
    }
  } while (end - at >= 4);
  while (at < end && state != UTF8_REJECT) state = step(state, *at++);
  return state;
}
