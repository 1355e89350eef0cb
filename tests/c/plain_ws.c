// SPDX-License-Identifier: Apache-2.0
// plain_ws.c - see plain_ws.h.
#include "plain_ws.h"

#include <string.h>

enum { MISSING = 255 };  // in place of a violation: the header is not whole

// 0: UTF-8, 1: not UTF-8 whatever follows, 2: UTF-8 so far. By RFC 3629's definition of what bytes mean.
static uint32_t plain_utf8(const uint8_t *bytes, uint32_t length) {
  for (uint32_t at = 0; at < length;) {
    const uint8_t lead = bytes[at++];
    const uint32_t more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    uint8_t least = 0x80;
    uint8_t most = 0xbf;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4) return 1;
    if (lead == 0xe0) least = 0xa0;
    if (lead == 0xed) most = 0x9f;
    if (lead == 0xf0) least = 0x90;
    if (lead == 0xf4) most = 0x8f;
    for (uint32_t i = 0; i < more; i++, at++) {
      if (at == length) return 2;
      if (bytes[at] < least || bytes[at] > most) return 1;
      least = 0x80;
      most = 0xbf;
    }
  }
  return 0;
}

static uint32_t violation_of_close(const uint8_t *payload, uint32_t length, uint32_t *code) {
  *code = 1005;
  if (length == 0) return 0;
  if (length == 1) return MR_WS_BAD_CLOSE_LENGTH;
  *code = (uint32_t)payload[0] * 256 + payload[1];
  if (*code < 1000 || *code > 4999 || (*code > 1014 && *code < 3000)) return MR_WS_BAD_CLOSE_CODE;
  if (*code == 1004 || *code == 1005 || *code == 1006) return MR_WS_BAD_CLOSE_CODE;
  return plain_utf8(payload + 2, length - 2) == 0 ? 0 : MR_WS_BAD_UTF8;
}

struct frame {
  uint32_t opcode;
  bool rsv1;
  uint32_t fin;
  uint64_t length;   // declared
  uint32_t present;  // of it
  uint32_t bytes;    // of header and what is present
  uint8_t payload[WS_OUTCOME_MAX];
};

// Reads one frame. Returns 0 or a violation, and MISSING when the header is not whole.
static uint32_t read_frame(const uint8_t *data, uint32_t size, bool in_message, struct ws_mode mode,
                           struct frame *frame) {
  if (size < 2) return MISSING;
  frame->fin = data[0] >> 7;
  frame->rsv1 = (data[0] >> 6) & 1;
  frame->opcode = data[0] & 15;
  if ((data[0] >> 4) & 3) return MR_WS_RESERVED_BITS;
  // It means "compressed" on the first frame of a message, and nothing anywhere else.
  if (frame->rsv1 && !(mode.deflate && (frame->opcode == 1 || frame->opcode == 2)))
    return MR_WS_RESERVED_BITS;
  const int control = frame->opcode == 8 || frame->opcode == 9 || frame->opcode == 10;
  if (!control && frame->opcode > 2) return MR_WS_BAD_OPCODE;
  if (frame->opcode == 0 && !in_message) return MR_WS_BAD_CONTINUATION;
  if ((frame->opcode == 1 || frame->opcode == 2) && in_message) return MR_WS_INTERLEAVED;
  if (data[1] < 128 && !mode.of_server) return MR_WS_NOT_MASKED;
  if (data[1] >= 128 && mode.of_server) return MR_WS_MASKED;
  if (control && !frame->fin) return MR_WS_CONTROL_FRAGMENTED;
  frame->length = data[1] & 127u;
  if (control && frame->length > 125) return MR_WS_CONTROL_TOO_LONG;
  uint32_t at = 2;
  if (frame->length >= 126) {
    const uint32_t count = frame->length == 126 ? 2 : 8;
    const uint64_t least = frame->length == 126 ? 126 : 65536;
    if (size < 2 + count) return MISSING;
    for (frame->length = 0; at < 2 + count; at++) frame->length = frame->length * 256 + data[at];
    if (frame->length < least || frame->length > INT64_MAX) return MR_WS_BAD_LENGTH;
  }
  const uint32_t mask = mode.of_server ? 0 : 4;
  frame->bytes = at + mask;
  if (size < frame->bytes) {  // the length counts before the mask is there
    frame->present = 0;
    frame->bytes = size;
    return 0;
  }
  const uint8_t *payload = data + at + mask;
  frame->present = frame->length < size - frame->bytes ? (uint32_t)frame->length : size - frame->bytes;
  for (uint32_t i = 0; i < frame->present; i++) {
    frame->payload[i] = mode.of_server ? payload[i] : payload[i] ^ data[at + i % 4];
  }
  frame->bytes += frame->present;
  return 0;
}

static uint32_t take_control(const struct frame *frame, struct ws_outcome *outcome) {
  uint32_t code = 0;
  uint32_t skip = 0;
  if (frame->opcode == 8) {
    const uint32_t violation = violation_of_close(frame->payload, frame->present, &code);
    if (violation != 0) return violation;
    skip = frame->present > 0 ? 2 : 0;
  }
  const uint32_t kind = frame->opcode == 8 ? MR_CLOSE : frame->opcode == 9 ? MR_PING : MR_PONG;
  ws_outcome_add(outcome, kind, code, frame->payload + skip, frame->present - skip);
  return 0;
}

struct message {
  bool open;
  bool text;
  bool compressed;
  uint64_t declared;
  uint32_t fragments;
  uint32_t length;
  uint8_t bytes[WS_OUTCOME_MAX];
};

// What a compressed message may have on the wire: an eighth more, and 256 bytes.
static uint64_t most_of(const struct message *message, const struct ws_limits *limits) {
  const uint64_t most = limits->max_message_bytes;
  if (!message->compressed) return most;
  return most > UINT64_MAX - most / 8 - 256 ? UINT64_MAX : most + most / 8 + 256;
}

// Sets *goes_on when another frame may follow.
static uint32_t take_data(struct message *message, const struct frame *frame, bool whole,
                          const struct ws_limits *limits, struct ws_outcome *outcome, bool *goes_on) {
  if (!message->open) {
    message->text = frame->opcode == 1;
    message->compressed = frame->rsv1;
    message->declared = message->fragments = message->length = 0;
  }
  if (frame->length > most_of(message, limits) - message->declared) return MR_WS_TOO_LARGE;
  if (++message->fragments > limits->max_fragments) return MR_WS_TOO_MANY_FRAGMENTS;
  message->declared += frame->length;
  memcpy(message->bytes + message->length, frame->payload, frame->present);
  message->length += frame->present;
  // The text of a compressed message is known once it is inflated, elsewhere.
  const bool judged = message->text && !message->compressed;
  const uint32_t utf8 = judged ? plain_utf8(message->bytes, message->length) : 0;
  if (utf8 == 1) return MR_WS_BAD_UTF8;
  if (frame->present < frame->length || !whole) return 0;
  message->open = !frame->fin;
  if (frame->fin && utf8 != 0) return MR_WS_BAD_UTF8;
  const uint32_t kind = (message->text ? WS_TEXT : WS_BINARY) | (message->compressed ? WS_COMPRESSED : 0);
  if (frame->fin) ws_outcome_add(outcome, kind, 0, message->bytes, message->length);
  *goes_on = true;
  return 0;
}

void plain_ws(const uint8_t *data, uint32_t size, const struct ws_limits *limits, struct ws_mode mode,
              struct ws_outcome *outcome) {
  static struct frame frame;
  static struct message message;
  const uint32_t least = mode.of_server ? 2 : 6;
  bool goes_on = true;
  outcome->length = 0;
  message.open = false;
  while (goes_on) {
    goes_on = false;
    uint32_t violation = read_frame(data, size, message.open, mode, &frame);
    if (violation == MISSING) return;
    const bool whole = frame.bytes < size || (size >= least && frame.present == frame.length);
    if (violation == 0 && frame.opcode >= 8) {
      if (!whole) return;
      violation = take_control(&frame, outcome);
      goes_on = true;
    } else if (violation == 0) {
      violation = take_data(&message, &frame, whole, limits, outcome, &goes_on);
    }
    if (violation != 0) {
      ws_outcome_add(outcome, WS_VIOLATION, violation, NULL, 0);
      return;
    }
    data += frame.bytes;
    size -= frame.bytes;
  }
}
