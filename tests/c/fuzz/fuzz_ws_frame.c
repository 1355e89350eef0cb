// SPDX-License-Identifier: Apache-2.0
// fuzz_ws_frame.c - any bytes as frames, of a client and of a server, with and without compression: the same
// comes of them however they are cut, and it is what the plain second implementation makes of them.
#include <stdlib.h>

#include "plain_ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
  if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct ws_outcome whole, part, plain;
  static const struct ws_limits limits[] = {{1000, 5}, {UINT64_MAX, 1000}, {10, 2}};
  static const uint32_t steps[] = {1, 3, 40, 300};
  uint64_t random = 0x9e3779b97f4a7c15;
  if (size > 65536) return 0;
  const uint32_t length = (uint32_t)size;
  for (size_t i = 0; i < size; i++) random = (random ^ data[i]) * 0x100000001b3 + 1;
  if (random == 0) random = 1;
  for (size_t i = 0; i < 4 * sizeof limits / sizeof limits[0]; i++) {
    const struct ws_limits *most = &limits[i / 4];
    const struct ws_mode mode = {.deflate = i % 2 != 0, .of_server = i / 2 % 2 != 0};
    ws_feed(data, length, (struct ws_cuts){length, 1, NULL}, most, mode, &whole);
    for (size_t step = 0; step < sizeof steps / sizeof steps[0]; step++) {
      ws_feed(data, length, (struct ws_cuts){0, steps[step], &random}, most, mode, &part);
      require(ws_outcome_same(&part, &whole));
    }
    plain_ws(data, length, most, mode, &plain);
    require(ws_outcome_same(&plain, &whole));
  }
  return 0;
}
