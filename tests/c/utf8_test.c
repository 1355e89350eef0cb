// SPDX-License-Identifier: Apache-2.0
// utf8_test.c - the validator against a plain decoder: all short sequences, all characters, noise, every cut.
#include "utf8.h"

#include "check.h"

// What RFC 3629 says, with no thought for speed: 0 valid, 1 invalid, 2 valid so far but cut inside a
// character.
static uint32_t plain(const uint8_t *bytes, uint32_t length) {
  uint32_t at = 0;
  while (at < length) {
    const uint8_t lead = bytes[at++];
    uint32_t more = 0;
    uint32_t least = 0;
    uint32_t value = lead;
    if (lead >= 0x80) {
      if (lead < 0xc0 || lead > 0xf7) return 1;
      more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
      least = lead < 0xe0 ? 0x80 : lead < 0xf0 ? 0x800 : 0x10000;
      value = lead & (0x3fu >> more);
    }
    for (uint32_t left = more; left > 0; left--) {
      // What the missing bytes can still make of it decides whether it is hopeless already.
      const uint32_t lowest = value << (6 * left);
      const uint32_t highest = lowest | ((1u << (6 * left)) - 1);
      if (highest < least || lowest > 0x10ffff || (lowest >= 0xd800 && highest <= 0xdfff)) return 1;
      if (at == length) return 2;
      if ((bytes[at] & 0xc0) != 0x80) return 1;
      value = value << 6 | (bytes[at++] & 0x3f);
    }
    if (value < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 1;
  }
  return 0;
}

static uint32_t verdict(uint32_t state) {
  return state == UTF8_ACCEPT ? 0 : state == UTF8_REJECT ? 1 : 2;
}

static bool agrees(const uint8_t *bytes, uint32_t length) {
  return verdict(utf8_check(UTF8_ACCEPT, bytes, length)) == plain(bytes, length);
}

static bool agrees_for_every_cut(const uint8_t *bytes, uint32_t length) {
  const uint32_t whole = utf8_check(UTF8_ACCEPT, bytes, length);
  if (verdict(whole) != plain(bytes, length)) return false;
  for (uint32_t cut = 0; cut <= length; cut++) {
    const uint32_t first = utf8_check(UTF8_ACCEPT, bytes, cut);
    if (verdict(first) != plain(bytes, cut)) return false;
    if (utf8_check(first, bytes + cut, length - cut) != whole) return false;
  }
  uint32_t state = UTF8_ACCEPT;
  for (uint32_t i = 0; i < length; i++) state = utf8_check(state, bytes + i, 1);
  return state == whole;
}

static void short_sequences(void) {
  bool whole = true;
  bool padded = true;
  for (uint32_t value = 0; value < 1 << 24; value++) {
    uint8_t bytes[35];
    bytes[0] = (uint8_t)(value >> 16);
    bytes[1] = (uint8_t)(value >> 8);
    bytes[2] = (uint8_t)value;
    for (uint32_t length = value < 1 << 8 ? 1 : 3; length <= 3; length++) {
      whole = whole && agrees(value < 1 << 8 ? bytes + 2 : bytes, length == 1 ? 1 : length);
      if (value < 1 << 8) break;
    }
    if ((value & 0xff) == 0x80) whole = whole && agrees(bytes, 2);
    bytes[3] = 'x';  // the fast path wants four bytes
    padded = padded && agrees(bytes, 4);
  }
  t_case("all sequences of one to three bytes", whole);
  t_case("all sequences of three bytes before ASCII", padded);
}

static void four_bytes(void) {
  bool ok = true;
  for (uint32_t lead = 0xe0; lead < 0x100; lead++) {
    for (uint32_t second = 0; second < 0x100; second++) {
      for (uint32_t third = 0x7f; third <= 0xc0; third++) {
        static const uint8_t last[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
        for (uint32_t i = 0; i < sizeof last; i++) {
          const uint8_t bytes[4] = {(uint8_t)lead, (uint8_t)second, (uint8_t)third, last[i]};
          ok = ok && agrees(bytes, 4);
        }
      }
    }
  }
  t_case("four bytes: all first and second, the edges of the rest", ok);
}

static uint32_t encode(uint32_t value, uint8_t *out) {
  if (value < 0x80) {
    out[0] = (uint8_t)value;
    return 1;
  }
  const uint32_t more = value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
  for (uint32_t i = more; i > 0; i--, value >>= 6) out[i] = (uint8_t)(0x80 | (value & 0x3f));
  out[0] = (uint8_t)(value | (more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0));
  return more + 1;
}

static void all_characters(void) {
  bool ok = true;
  for (uint32_t value = 0; value < 0x110000; value++) {
    uint8_t bytes[4];
    const uint32_t length = encode(value, bytes);
    const bool surrogate = value >= 0xd800 && value <= 0xdfff;
    ok = ok && utf8_check(UTF8_ACCEPT, bytes, length) == (surrogate ? UTF8_REJECT : UTF8_ACCEPT);
    uint32_t state = UTF8_ACCEPT;
    for (uint32_t i = 0; i < length; i++) state = utf8_check(state, bytes + i, 1);
    ok = ok && state == (surrogate ? UTF8_REJECT : UTF8_ACCEPT);
  }
  t_case("all characters, whole and byte by byte", ok);
}

// Valid text of every length up to 200 with every mixture, then the same with one byte spoilt.
static void noise(void) {
  uint64_t random = 0x9e3779b97f4a7c15;
  bool valid = true;
  bool spoilt = true;
  for (uint32_t round = 0; round < 4000; round++) {
    uint8_t text[256];
    const uint32_t want = (uint32_t)(t_random(&random) % 200);
    const uint32_t mixture = (uint32_t)(t_random(&random) % 101);
    uint32_t length = 0;
    while (length < want) {
      uint32_t value = (uint32_t)(t_random(&random) % 0x80);
      if (t_random(&random) % 100 < mixture) {
        value = (uint32_t)(t_random(&random) % (0x110000u >> (t_random(&random) % 12)));
        if (value >= 0xd800 && value <= 0xdfff) value = 0xd7ff;
      }
      length += encode(value, text + length);
    }
    uint8_t *copy = t_guarded(text, length);
    valid = valid && agrees_for_every_cut(copy, length);
    if (length == 0) continue;
    copy[t_random(&random) % length] = (uint8_t)t_random(&random);
    spoilt = spoilt && agrees_for_every_cut(copy, length);
  }
  t_case("random text at a guard page, every cut", valid);
  t_case("random text with one byte changed, every cut", spoilt);
}

// One byte above ASCII at every offset of every length: no block may hide it.
static void one_high_byte(void) {
  bool ok = true;
  for (uint32_t length = 1; length <= 100; length++) {
    for (uint32_t at = 0; at < length; at++) {
      uint8_t text[100];
      memset(text, 'a', sizeof text);
      uint8_t *copy = t_guarded(text, length);
      ok = ok && utf8_check(UTF8_ACCEPT, copy, length) == UTF8_ACCEPT;
      copy[at] = 0x80;
      ok = ok && utf8_check(UTF8_ACCEPT, copy, length) == UTF8_REJECT;
      copy[at] = 0xe4;
      ok = ok && agrees(copy, length);
    }
  }
  t_case("one high byte at every offset of every length up to 100", ok);
}

int main(void) {
  const uint8_t *const none = t_guarded(NULL, 0);
  t_case("nothing is valid and changes no state", utf8_check(UTF8_ACCEPT, none, 0) == UTF8_ACCEPT &&
                                                      utf8_check(UTF8_REJECT, none, 0) == UTF8_REJECT &&
                                                      utf8_check(5, none, 0) == 5);
  t_case("rejected stays rejected", utf8_check(UTF8_REJECT, (const uint8_t *)"abc", 3) == UTF8_REJECT);
  short_sequences();
  four_bytes();
  all_characters();
  noise();
  one_high_byte();
  return t_done();
}
