// SPDX-License-Identifier: Apache-2.0
// response_head_test.c - where the head of a response ends: by bytes, cut in every way.
#include "response_head.h"

#include "check.h"
#include "layout.h"

enum { MAX = 200 };

struct head_case {
  const char *name;
  const uint8_t *bytes;
  size_t length;
  int32_t want;
};

// clang-format off
static const struct head_case cases[] = {
  {"a head", T_BYTES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"), 56},
  {"a head without fields", T_BYTES("HTTP/1.1 200 OK\r\n\r\n"), 19},
  {"what follows is not looked at", T_BYTES("HTTP/1.0 200 OK\r\n\r\n\n\n\r\n\r\n"), 19},
  {"nothing", T_BYTES(""), 0},
  {"the beginning", T_BYTES("HTTP/1"), 0},
  {"without its end", T_BYTES("HTTP/1.1 200 OK\r\na: b\r\n\r"), 0},
  {"CR alone ends no line", T_BYTES("HTTP/1.1 200 OK\r\r\n\r\n"), 20},
  {"another protocol", T_BYTES("SSH-2.0-x\r\n"), -MR_BAD_STATUS_LINE},
  {"one wrong letter", T_BYTES("HTTp"), -MR_BAD_STATUS_LINE},
  {"HTTP/2", T_BYTES("HTTP/2 200\r\n\r\n"), -MR_BAD_STATUS_LINE},
  {"an empty line first", T_BYTES("\r\nHTTP/1.1 200 OK\r\n\r\n"), -MR_BAD_STATUS_LINE},
  {"LF first", T_BYTES("\n"), -MR_BAD_STATUS_LINE},
  {"a line that ends in LF", T_BYTES("HTTP/1.1 200 OK\na: b\r\n\r\n"), -MR_BARE_LF},
  {"an empty line of LF", T_BYTES("HTTP/1.1 200 OK\r\n\n"), -MR_BARE_LF},
};
// clang-format on

// As a connection that gets the bytes in two pieces, or one by one.
static int32_t fed(const uint8_t *bytes, uint32_t length, uint32_t cut, uint32_t step) {
  uint32_t seen = 0;
  for (uint32_t have = cut; have<length; have = length - have> step ? have + step : length) {
    const int32_t end = have == 0 ? 0 : response_head_end(t_guarded(bytes, have), have, seen, MAX);
    if (end != 0) return end;
    seen = have;
  }
  return response_head_end(t_guarded(bytes, length), length, seen, MAX);
}

static void run(const struct head_case *want) {
  const uint32_t length = (uint32_t)want->length;
  bool ok = true;
  for (uint32_t cut = 0; cut <= length; cut++) ok = ok && fed(want->bytes, length, cut, length) == want->want;
  for (uint32_t step = 1; step <= 5; step++) ok = ok && fed(want->bytes, length, 0, step) == want->want;
  t_case(want->name, ok);
}

static void most(void) {
  uint8_t bytes[MAX + 4];
  bool ok = true;
  for (uint32_t length = MAX - 4; length <= MAX + 4; length++) {
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, "HTTP/1.1 200 ", 13);
    // Without an end it is too long once there is no room for one.
    ok = ok && response_head_end(bytes, length, 0, MAX) == (length < MAX ? 0 : -MR_RESPONSE_TOO_LARGE);
    memcpy(bytes + length - 4, "\r\n\r\n", 4);
    const int32_t want = length <= MAX ? (int32_t)length : -MR_RESPONSE_TOO_LARGE;
    ok = ok && response_head_end(bytes, length, 0, MAX) == want;
  }
  t_case("a head of the most bytes, and of more", ok);
}

int main(void) {
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) run(&cases[i]);
  most();
  return t_done();
}
