// SPDX-License-Identifier: Apache-2.0
// plain_ws.h - the rules for frames a second time, in the plainest code; called by the fuzz
// target and ws_corpus_test.c, which compare the tokeniser of c/ with it.
//
// Nothing is shared with c/ws_frame.c and c/utf8.c: no state between calls, no regard for speed. Whoever
// changes a rule there changes it here too, from the text of the rule.
#ifndef MR_TESTS_PLAIN_WS_H
#define MR_TESTS_PLAIN_WS_H

#include "ws_outcome.h"

void plain_ws(const uint8_t *data, uint32_t size, const struct ws_limits *limits, struct ws_mode mode,
              struct ws_outcome *outcome);

#endif
