// SPDX-License-Identifier: Apache-2.0
// ws_outcome.h - what came of the bytes of a WebSocket, and the tokeniser of c/ fed with them in pieces;
// called by ws_corpus_test.c, plain_ws.c and the fuzz target.
#ifndef MR_TESTS_WS_OUTCOME_H
#define MR_TESTS_WS_OUTCOME_H

#include "ws_frame.h"

enum { WS_OUTCOME_MAX = 1 << 20 };

// Whole messages and control frames in their order, at last a violation: kind, code and length of each as
// words of 32 bits, and its payload.
struct ws_outcome {
  uint32_t length;
  uint8_t bytes[WS_OUTCOME_MAX];
};

// Kinds beside MR_PING, MR_PONG and MR_CLOSE, whose code is that of a close frame.
enum { WS_TEXT = 1, WS_BINARY = 2, WS_COMPRESSED = 0x80, WS_VIOLATION = 0xff };

void ws_outcome_add(struct ws_outcome *outcome, uint32_t kind, uint32_t code, const void *payload,
                    uint32_t length);
bool ws_outcome_same(const struct ws_outcome *a, const struct ws_outcome *b);

// What was agreed on, and whose frames the bytes are.
struct ws_mode {
  bool deflate;
  bool of_server;
};

// How bytes are cut: `first` of them, none for 0, then `most` at a time, or at random up to as many.
struct ws_cuts {
  uint32_t first;
  uint32_t most;
  uint64_t *random;  // NULL: always `most`
};

// What ws_frame_next() makes of them. Ends the program when a piece is not as ws_frame.h says.
void ws_feed(const uint8_t *bytes, uint32_t length, struct ws_cuts cuts, const struct ws_limits *limits,
             struct ws_mode mode, struct ws_outcome *outcome);

#endif
