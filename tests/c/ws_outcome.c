// SPDX-License-Identifier: Apache-2.0
// ws_outcome.c - see ws_outcome.h.
#include "ws_outcome.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

struct message {
  bool open;
  bool text;
  uint32_t length;
  uint8_t bytes[WS_OUTCOME_MAX];
};

static void require(bool condition) {
  if (!condition) abort();
}

void ws_outcome_add(struct ws_outcome *outcome, uint32_t kind, uint32_t code, const void *payload,
                    uint32_t length) {
  const uint32_t words[3] = {kind, code, length};
  require(outcome->length + sizeof words + length <= WS_OUTCOME_MAX);
  memcpy(outcome->bytes + outcome->length, words, sizeof words);
  outcome->length += (uint32_t)sizeof words;
  if (length > 0) memcpy(outcome->bytes + outcome->length, payload, length);
  outcome->length += length;
}

bool ws_outcome_same(const struct ws_outcome *a, const struct ws_outcome *b) {
  return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

// Notes an event. The pieces of a message have to fit together.
static void take_event(struct ws_outcome *outcome, struct message *message, const uint8_t *bytes,
                       const struct ws_event *event, bool compressed) {
  const uint8_t *payload = bytes + event->start;
  if (event->kind != MR_MESSAGE) {
    const uint32_t code = event->kind == MR_CLOSE && event->code != 1005 ? 2 : 0;
    require(event->flags == 0 && event->total == event->length + code && event->total <= 125);
    ws_outcome_add(outcome, event->kind, event->code, payload, event->length);
    return;
  }
  const bool text = (event->flags & MR_TEXT) != 0;
  require(((event->flags & MR_FIRST) != 0) == !message->open && event->length <= event->total);
  if (message->open) require(text == message->text);
  if (!message->open) message->length = 0;
  message->open = true;
  message->text = text;
  memcpy(message->bytes + message->length, payload, event->length);
  message->length += event->length;
  if ((event->flags & MR_LAST) == 0) return;
  const uint32_t kind = (text ? WS_TEXT : WS_BINARY) | (compressed ? WS_COMPRESSED : 0);
  ws_outcome_add(outcome, kind, 0, message->bytes, message->length);
  message->open = false;
}

static uint32_t next_cut(uint32_t cut, uint32_t length, const struct ws_cuts *cuts) {
  uint32_t more = cuts->most;
  if (cuts->random != NULL) more = 1 + (uint32_t)(t_random(cuts->random) % cuts->most);
  return more < length - cut ? cut + more : length;
}

void ws_feed(const uint8_t *bytes, uint32_t length, struct ws_cuts cuts, const struct ws_limits *limits,
             struct ws_mode mode, struct ws_outcome *outcome) {
  static struct message message;
  struct ws_frames frames = {.deflate = mode.deflate, .of_server = mode.of_server};
  uint32_t done = 0;
  uint32_t cut = cuts.first;
  outcome->length = 0;
  message.open = false;
  for (;;) {
    struct ws_event event;
    // Of just that size, so that a sanitizer sees what is read or written behind it.
    uint8_t *copy = malloc(cut > done ? cut - done : 1);
    require(copy != NULL);
    if (cut > done) memcpy(copy, bytes + done, cut - done);
    const int32_t taken = ws_frame_next(&frames, copy, cut - done, limits, &event);
    if (taken > 0) {
      require((uint32_t)taken <= cut - done && event.start + event.length == (uint32_t)taken);
      take_event(outcome, &message, copy, &event, frames.compressed);
      done += (uint32_t)taken;
    }
    free(copy);
    if (taken < 0) {
      ws_outcome_add(outcome, WS_VIOLATION, (uint32_t)-taken, NULL, 0);
      return;
    }
    if (taken > 0) continue;
    require(cut - done < 14 + 125);
    if (cut == length) return;
    cut = next_cut(cut, length, &cuts);
  }
}
