// SPDX-License-Identifier: Apache-2.0
// ws_frame_test.c - lengths, sums, close codes and masks of WebSocket frames; their grammar is
// ws_corpus_test.c's.
#include "ws_frame.h"

#include "check.h"

static const struct ws_limits limits = {1000, 4};

static void close_codes(void) {
  bool ok = true;
  for (uint32_t code = 0; code < 65536; code++) {
    uint8_t bytes[8] = {0x88, 0x82, 0, 0, 0, 0, (uint8_t)(code >> 8), (uint8_t)code};
    struct ws_frames frames = {0};
    struct ws_event event;
    const bool valid = (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
                       (code >= 3000 && code <= 4999);
    const int32_t taken = ws_frame_next(&frames, bytes, 8, &limits, &event);
    ok = ok && (valid ? taken == 8 && event.code == code : taken == -MR_WS_BAD_CLOSE_CODE);
  }
  t_case("W11 all 65536 close codes", ok);
}

static uint32_t header(uint8_t *out, uint8_t first, uint64_t length) {
  const uint32_t count = length < 126 ? 0 : length < 65536 ? 2 : 8;
  out[0] = first;
  out[1] = (uint8_t)(0x80 | (count == 0 ? length : count == 2 ? 126 : 127));
  for (uint32_t i = 0; i < count; i++) out[2 + i] = (uint8_t)(length >> (8 * (count - 1 - i)));
  memset(out + 2 + count, 0, 4);
  return 6 + count;
}

static void lengths_at_boundaries(void) {
  static const uint64_t lengths[] = {1,
                                     125,
                                     126,
                                     127,
                                     65535,
                                     65536,
                                     0x7fffffff,
                                     0x80000000,
                                     0xfffffffb,
                                     0xffffffff,
                                     0x100000000,
                                     0x100000005,
                                     0x1fffffffffffff,
                                     0x20000000000000,
                                     0x7fffffffffffffff};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    uint8_t bytes[16];
    char name[64];
    struct ws_event event;
    const uint32_t before = header(bytes, 0x82, lengths[i]);
    const struct ws_limits most = {lengths[i], 1};
    const struct ws_limits less = {lengths[i] - 1, 1};
    struct ws_frames frames = {0};
    bool ok = ws_frame_next(&frames, bytes, before - 4, &less, &event) == -MR_WS_TOO_LARGE;
    ok = ok && ws_frame_next(&frames, bytes, before, &most, &event) == 0;
    bytes[before] = 'x';
    ok = ok && ws_frame_next(&frames, bytes, before + 1, &most, &event) == (int32_t)before + 1;
    ok = ok && event.total == lengths[i] && event.length == 1 && frames.left == lengths[i] - 1;
    snprintf(name, sizeof name, "a frame of 0x%llx bytes", (unsigned long long)lengths[i]);
    t_case(name, ok);
  }
}

static void sums_do_not_overflow(void) {
  static const struct {
    uint64_t before;
    uint64_t most;
    bool fits;
  } sums[] = {
      {0x8000000000000000, UINT64_MAX, true},
      {0x8000000000000001, UINT64_MAX, false},
      {UINT64_MAX, UINT64_MAX, false},
      {0x8000000000000000, 0x8000000000000005, false},
      {10, 5, false},  // the limit was lowered meanwhile
  };
  bool ok = true;
  for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
    uint8_t bytes[16];
    struct ws_frames frames = {.in_message = true, .fragments = 1, .message_bytes = sums[i].before};
    struct ws_event event;
    const struct ws_limits most = {sums[i].most, 2};
    const uint32_t length = header(bytes, 0x80, 0x7fffffffffffffff);
    ok = ok && ws_frame_next(&frames, bytes, length, &most, &event) == (sums[i].fits ? 0 : -MR_WS_TOO_LARGE);
  }
  uint8_t empty[] = {0x80, 0x80, 0, 0, 0, 0};
  struct ws_frames full = {.in_message = true, .fragments = 1, .message_bytes = 1000};
  struct ws_event event;
  ok = ok && ws_frame_next(&full, empty, 6, &limits, &event) == 6 && event.flags == MR_LAST;
  t_case("W18 sums around 2^64", ok);
}

// Only of whole text, and then its header is as ASCII as itself.
static void ascii_is_told(void) {
  static const struct {
    uint8_t bytes[2];
    char payload[4];
    bool open;
    bool ascii;
  } frames[] = {
      {{0x81, 0x83}, "abc", false, true},           {{0x82, 0x83}, "abc", false, false},
      {{0x01, 0x83}, "abc", false, false},          {{0x80, 0x83}, "abc", true, false},
      {{0x81, 0x83}, "\xe2\x82\xac", false, false}, {{0x81, 0x80}, "", false, true},
  };
  bool ok = true;
  for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
    const uint32_t length = 6 + (frames[i].bytes[1] & 0x7f);
    uint8_t bytes[16] = {frames[i].bytes[0], frames[i].bytes[1], 0xf1, 0xf2, 0xf3, 0xf4};
    for (uint32_t k = 6; k < length; k++)
      bytes[k] = (uint8_t)frames[i].payload[k - 6] ^ bytes[2 + (k - 6) % 4];
    struct ws_frames state = {.in_message = frames[i].open, .fragments = frames[i].open, .text = true};
    const struct ws_limits most = {1000, 10};
    struct ws_event event;
    ok = ok && ws_frame_next(&state, bytes, length, &most, &event) == (int32_t)length;
    ok = ok && ((event.flags & MR_ASCII) != 0) == frames[i].ascii;
    ok = ok && memcmp(bytes + 6, frames[i].payload, length - 6) == 0;
    for (uint32_t k = 0; k < 6; k++) ok = ok && (!frames[i].ascii || bytes[k] < 0x80);
  }
  t_case("ASCII is told of whole text", ok);
}

// At every address, with every length and every phase of the mask; the neighbours may not be touched.
static void unmask_is_xor(void) {
  bool ok = true;
  uint64_t random = 42;
  uint8_t *memory = t_guarded_memory();
  for (uint32_t offset = 0; offset <= 100; offset++) {
    for (uint32_t length = 0; length <= 100; length++) {
      uint8_t before[202];
      const uint8_t phase = (uint8_t)((offset + length) % 4);
      uint8_t mask[4] = {0x12, 0x9a, 0xff, 0x01};
      const uint8_t key[4] = {mask[0], mask[1], mask[2], mask[3]};
      for (uint32_t i = 0; i < sizeof before; i++) before[i] = (uint8_t)t_random(&random);
      memcpy(memory, before, sizeof before);
      ws_unmask(memory + offset, length, mask);
      for (uint32_t i = 0; i < sizeof before; i++) {
        const bool inside = i >= offset && i < offset + length;
        ok = ok && memory[i] == (uint8_t)(before[i] ^ (inside ? key[(i - offset) % 4] : 0));
      }
      for (uint32_t i = 0; i < 4; i++) ok = ok && mask[i] == key[(i + length) % 4];
      uint8_t *last = memory + T_GUARDED_MAX - length;
      uint8_t turned[4] = {key[phase], key[(phase + 1) % 4], key[(phase + 2) % 4], key[(phase + 3) % 4]};
      memcpy(last, before, length);
      ws_unmask(last, length, turned);
      for (uint32_t i = 0; i < length; i++) ok = ok && last[i] == (uint8_t)(before[i] ^ key[(i + phase) % 4]);
    }
  }
  t_case("unmask equals byte-wise XOR at every offset and length up to 100", ok);
}

// A long message in every mask phase, split into pieces of every size up to 40.
static void long_message(void) {
  static uint8_t bytes[1100];
  bool ok = true;
  const uint8_t key[4] = {0xa1, 0x05, 0x7e, 0xc3};
  for (uint32_t step = 1; step <= 40; step++) {
    const uint32_t start = header(bytes, 0x81, 999);
    struct ws_frames frames = {0};
    struct ws_event event;
    uint32_t done = 0;
    memcpy(bytes + start - 4, key, 4);
    for (uint32_t i = 0; i < 999; i++) bytes[start + i] = (uint8_t)(('a' + i % 26) ^ key[i % 4]);
    for (uint32_t cut = 0; cut < start + 999;) {
      cut = cut + step < start + 999 ? cut + step : start + 999;
      const int32_t taken = ws_frame_next(&frames, bytes + done, cut - done, &limits, &event);
      ok = ok && taken >= 0;
      done += taken > 0 ? (uint32_t)taken : 0;
    }
    ok = ok && done == start + 999 && (event.flags & MR_LAST);
    for (uint32_t i = 0; i < 999; i++) ok = ok && bytes[start + i] == 'a' + i % 26;
  }
  t_case("a message of 999 bytes in pieces of 1 to 40", ok);
}

static void answers(void) {
  t_case("every violation has its close code", ws_violation_code(MR_WS_RESERVED_BITS) == 1002 &&
                                                   ws_violation_code(MR_WS_BAD_CLOSE_CODE) == 1002 &&
                                                   ws_violation_code(MR_WS_BAD_UTF8) == 1007 &&
                                                   ws_violation_code(MR_WS_TOO_MANY_FRAGMENTS) == 1008 &&
                                                   ws_violation_code(MR_WS_TOO_LARGE) == 1009);
}

int main(void) {
  close_codes();
  lengths_at_boundaries();
  sums_do_not_overflow();
  ascii_is_told();
  unmask_is_xor();
  long_message();
  answers();
  return t_done();
}
