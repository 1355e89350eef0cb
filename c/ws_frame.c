// SPDX-License-Identifier: Apache-2.0
// ws_frame.c - tokenises and unmasks WebSocket frames; called by conn_ws.c.
//
// Everything that a header can break is judged before a byte of its payload is taken, the size of a message
// by what its frames declare (RFC 6455 section 5.2), so nothing too large is ever buffered.
#include "ws_frame.h"

#include <string.h>

#include "utf8.h"

enum {
  CONTINUATION = 0,  // RFC 6455 section 5.2
  TEXT = 1,
  BINARY = 2,
  CLOSE = 8,
  PING = 9,
  PONG = 10,
  FIN = 0x80,
  RESERVED = 0x70,
  COMPRESSED = 0x40,  // RSV1, RFC 7692 section 6
  OPCODE = 0x0f,
  CONTROL = 0x08,
  MASKED = 0x80,
  CONTROL_MAX = 125,
  LENGTH_16 = 126,
  LENGTH_64 = 127,
  NO_CODE = 1005,
};

typedef uint8_t lanes __attribute__((vector_size(16)));

void ws_mask(uint8_t *bytes, uint32_t length, const uint8_t mask[4]) {
  uint32_t four;
  memcpy(&four, mask, 4);
  const uint64_t eight = (uint64_t)four << 32 | four;
  const uint64_t sixteen[2] = {eight, eight};
  lanes key;
  memcpy(&key, sixteen, 16);
  // Every step but the last is a multiple of four bytes, so the mask stays in phase.
  for (; length >= 16; length -= 16, bytes += 16) {
    lanes data;
    memcpy(&data, bytes, 16);
    data ^= key;
    memcpy(bytes, &data, 16);
  }
  for (; length >= 4; length -= 4, bytes += 4) {
    uint32_t data;
    memcpy(&data, bytes, 4);
    data ^= four;
    memcpy(bytes, &data, 4);
  }
  for (uint32_t i = 0; i < length; i++) bytes[i] ^= mask[i];
}

void ws_unmask(uint8_t *bytes, uint32_t length, uint8_t mask[4]) {
  ws_mask(bytes, length, mask);
  if (length % 4 == 0) return;
  const uint8_t old[4] = {mask[0], mask[1], mask[2], mask[3]};
  for (uint32_t i = 0; i < 4; i++) mask[i] = old[(i + length) % 4];
}

// RFC 6455 section 7.4 and the registry it opened: 1004 to 1006 and 1015 never travel.
static bool valid_close_code(uint32_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static int32_t on_close(const uint8_t *payload, uint32_t length, struct ws_event *event) {
  event->kind = MR_CLOSE;
  event->code = NO_CODE;
  if (length == 0) return 0;
  if (length == 1) return -MR_WS_BAD_CLOSE_LENGTH;
  event->code = (uint16_t)(payload[0] << 8 | payload[1]);
  event->start += 2;
  event->length -= 2;
  if (!valid_close_code(event->code)) return -MR_WS_BAD_CLOSE_CODE;
  return utf8_check(UTF8_ACCEPT, payload + 2, length - 2) == UTF8_ACCEPT ? 0 : -MR_WS_BAD_UTF8;
}

static uint32_t mask_bytes(const struct ws_frames *frames) {
  return frames->of_server ? 0 : 4;
}

// RFC 6455 section 5.5: whole, short, and allowed between the fragments of a message.
static int32_t control_frame(const struct ws_frames *frames, uint8_t *bytes, uint32_t length,
                             struct ws_event *event) {
  const uint32_t payload_length = bytes[1] & 0x7f;
  if (!(bytes[0] & FIN)) return -MR_WS_CONTROL_FRAGMENTED;
  if (payload_length > CONTROL_MAX) return -MR_WS_CONTROL_TOO_LONG;
  const uint32_t header_length = 2 + mask_bytes(frames);
  const uint32_t frame_length = header_length + payload_length;
  if (length < frame_length) return 0;
  if (!frames->of_server) ws_mask(bytes + header_length, payload_length, bytes + 2);
  event->flags = 0;
  event->code = 0;
  event->start = header_length;
  event->length = payload_length;
  event->total = payload_length;
  int32_t verdict = 0;
  if ((bytes[0] & OPCODE) == CLOSE) {
    verdict = on_close(bytes + header_length, payload_length, event);
  } else {
    event->kind = (bytes[0] & OPCODE) == PING ? MR_PING : MR_PONG;
  }
  return verdict < 0 ? verdict : (int32_t)frame_length;
}

// Gives out the payload that is at hand behind header_length bytes.
static int32_t data_piece(struct ws_frames *frames, uint8_t *bytes, uint32_t length, uint32_t header_length,
                          struct ws_event *event) {
  const uint32_t room = length - header_length;
  const uint32_t taken = frames->left < room ? (uint32_t)frames->left : room;
  uint8_t *const payload = bytes + header_length;
  frames->left -= taken;
  frames->in_frame = frames->left > 0;
  if (!frames->of_server) {
    if (frames->in_frame) {
      ws_unmask(payload, taken, frames->mask);
    } else {
      ws_mask(payload, taken, frames->mask);  // the next frame brings its own
    }
  }
  const bool last = frames->fin && !frames->in_frame;
  const bool whole = last && frames->first;
  event->kind = MR_MESSAGE;
  event->flags =
      (uint8_t)((frames->first ? MR_FIRST : 0) | (last ? MR_LAST : 0) | (frames->text ? MR_TEXT : 0));
  event->code = 0;
  event->start = header_length;
  event->length = taken;
  event->total = frames->frame_bytes;
  frames->first = false;
  frames->in_message = !last;
  if (!frames->text || frames->compressed) return (int32_t)(header_length + taken);
  if (whole && utf8_is_ascii(payload, taken)) {
    event->flags |= MR_ASCII;
    memset(bytes, 0, header_length);
  } else {
    frames->utf8 = utf8_check(frames->utf8, payload, taken);
    if (frames->utf8 == UTF8_REJECT || (last && frames->utf8 != UTF8_ACCEPT)) return -MR_WS_BAD_UTF8;
  }
  return (int32_t)(header_length + taken);
}

static int32_t first_bytes_verdict(const struct ws_frames *frames, const uint8_t *bytes) {
  const uint32_t opcode = bytes[0] & OPCODE;
  const bool may_mark = frames->deflate && (opcode == TEXT || opcode == BINARY);
  if (bytes[0] & RESERVED & ~(may_mark ? COMPRESSED : 0)) return -MR_WS_RESERVED_BITS;
  if (opcode > PONG || (opcode > BINARY && opcode < CLOSE)) return -MR_WS_BAD_OPCODE;
  if (opcode == CONTINUATION && !frames->in_message) return -MR_WS_BAD_CONTINUATION;
  if (opcode != CONTINUATION && opcode < CLOSE && frames->in_message) return -MR_WS_INTERLEAVED;
  const bool masked = (bytes[1] & MASKED) != 0;
  if (masked != frames->of_server) return 0;
  return masked ? -MR_WS_MASKED : -MR_WS_NOT_MASKED;
}

// Reads the payload length of a data frame. Returns the length of the header before the mask, 0 or
// -mr_violation.
static int32_t payload_length(const uint8_t *bytes, uint32_t length, uint64_t *out) {
  const uint32_t code = bytes[1] & 0x7f;
  if (code < LENGTH_16) {
    *out = code;
    return 2;
  }
  const uint32_t count = code == LENGTH_16 ? 2 : 8;
  if (length < 2 + count) return 0;
  uint64_t value = 0;
  for (uint32_t i = 0; i < count; i++) value = value << 8 | bytes[2 + i];
  // The shortest form is the only one, and the top bit is 0 (RFC 6455 section 5.2).
  if (value < LENGTH_16 || (count == 8 && (value <= UINT16_MAX || value >> 63 != 0)))
    return -MR_WS_BAD_LENGTH;
  *out = value;
  return (int32_t)(2 + count);
}

// A message that does not compress may grow by it: by an eighth at worst, with fixed codes of nine bits.
static uint64_t deflated_max(uint64_t bytes) {
  const uint64_t more = bytes / 8 + 256;
  return bytes > UINT64_MAX - more ? UINT64_MAX : bytes + more;
}

int32_t ws_frame_next(struct ws_frames *frames, uint8_t *bytes, uint32_t length,
                      const struct ws_limits *limits, struct ws_event *event) {
  if (frames->in_frame) return length > 0 ? data_piece(frames, bytes, length, 0, event) : 0;
  if (length < 2) return 0;
  const int32_t verdict = first_bytes_verdict(frames, bytes);
  if (verdict < 0) return verdict;
  if (bytes[0] & CONTROL) return control_frame(frames, bytes, length, event);

  uint64_t frame_bytes = 0;
  const int32_t header = payload_length(bytes, length, &frame_bytes);
  if (header <= 0) return header;
  const bool begins = (bytes[0] & OPCODE) != CONTINUATION;
  const bool compressed = begins ? (bytes[0] & COMPRESSED) != 0 : frames->compressed;
  const uint64_t most = compressed ? deflated_max(limits->max_message_bytes) : limits->max_message_bytes;
  const uint64_t before = begins ? 0 : frames->message_bytes;
  const uint32_t fragments = begins ? 0 : frames->fragments;
  if (before > most || frame_bytes > most - before) return -MR_WS_TOO_LARGE;
  if (fragments >= limits->max_fragments) return -MR_WS_TOO_MANY_FRAGMENTS;
  const uint32_t header_length = (uint32_t)header + mask_bytes(frames);
  // A frame with a payload begins with its first byte, so that no piece but that of an empty frame is empty.
  if (length < header_length + (frame_bytes > 0)) return 0;

  if (begins) {
    frames->text = (bytes[0] & OPCODE) == TEXT;
    frames->compressed = compressed;
    frames->utf8 = UTF8_ACCEPT;
    frames->first = true;
  }
  frames->fragments = fragments + 1;
  frames->message_bytes = before + frame_bytes;
  frames->frame_bytes = frame_bytes;
  frames->left = frame_bytes;
  frames->fin = (bytes[0] & FIN) != 0;
  if (!frames->of_server) memcpy(frames->mask, bytes + header_length - 4, 4);
  return data_piece(frames, bytes, length, header_length, event);
}

uint16_t ws_violation_code(enum mr_violation violation) {
  switch ((uint32_t)violation) {
    case MR_WS_BAD_UTF8:
    case MR_WS_BAD_DEFLATE:
      return 1007;
    case MR_WS_TOO_MANY_FRAGMENTS:
      return 1008;
    case MR_WS_TOO_LARGE:
    case MR_WS_EXPANDS:
      return 1009;
    default:
      return 1002;
  }
}
