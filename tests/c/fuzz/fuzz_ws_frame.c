// SPDX-License-Identifier: Apache-2.0
// fuzz_ws_frame.c - any bytes as frames: same messages however cut, and the same as a plain model's.
#include <stdlib.h>
#include <string.h>

#include "ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LOG_MAX = 1 << 20 };

struct log {  // per event: kind, 16 bits of code, 32 bits of length, payload
  uint32_t length;
  uint8_t bytes[LOG_MAX];
};

struct message {
  int open;
  int text;
  uint32_t length;
  uint8_t bytes[LOG_MAX];
};

static int of_server;  // whose frames the bytes are taken for

static void require(int condition) {
  if (!condition) abort();
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void write_log(struct log *log, uint32_t kind, uint32_t code, const uint8_t *payload,
                      uint32_t length) {
  const uint32_t words[3] = {kind, code, length};
  require(log->length + sizeof words + length <= LOG_MAX);
  memcpy(log->bytes + log->length, words, sizeof words);
  log->length += (uint32_t)sizeof words;
  if (length > 0) memcpy(log->bytes + log->length, payload, length);
  log->length += length;
}

static void take_event(struct log *log, struct message *message, const uint8_t *bytes,
                       const struct ws_event *event) {
  if (event->kind != MR_MESSAGE) {
    require(event->flags == 0 && event->length <= 125);
    write_log(log, event->kind, event->code, bytes + event->start, event->length);
    return;
  }
  const int text = (event->flags & MR_TEXT) != 0;
  require(((event->flags & MR_FIRST) != 0) == !message->open && event->length <= event->total);
  if (message->open) require(text == message->text);
  if (!message->open) message->length = 0;
  message->open = 1;
  message->text = text;
  memcpy(message->bytes + message->length, bytes + event->start, event->length);
  message->length += event->length;
  if (event->flags & MR_LAST) {
    write_log(log, MR_MESSAGE, (uint32_t)text, message->bytes, message->length);
    message->open = 0;
  }
}

static void feed(const uint8_t *data, uint32_t size, uint32_t most, uint64_t *random,
                 const struct ws_limits *limits, struct log *log) {
  static struct message message;
  struct ws_frames frames = {.of_server = of_server != 0};
  uint32_t done = 0;
  uint32_t cut = 0;
  log->length = 0;
  message.open = 0;
  for (;;) {
    struct ws_event event;
    uint8_t *bytes = malloc(cut - done + 1);
    require(bytes != NULL);
    bytes = realloc(bytes, cut > done ? cut - done : 1);
    if (cut > done) memcpy(bytes, data + done, cut - done);
    const int32_t taken = ws_frame_next(&frames, bytes, cut - done, limits, &event);
    if (taken > 0) {
      require((uint32_t)taken <= cut - done && event.start + event.length == (uint32_t)taken);
      take_event(log, &message, bytes, &event);
      done += (uint32_t)taken;
    }
    free(bytes);
    if (taken < 0) {
      write_log(log, 255, (uint32_t)-taken, NULL, 0);
      return;
    }
    if (taken > 0) continue;
    require(cut - done < 14 + 125);
    if (cut == size) return;
    const uint32_t more = most == 0 ? size : 1 + (uint32_t)(next_random(random) % most);
    cut = more < size - cut ? cut + more : size;
  }
}

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
  uint32_t fin;
  uint64_t length;   // declared
  uint32_t present;  // of it
  uint32_t bytes;    // of header and what is present
  uint8_t payload[LOG_MAX];
};

// Reads one frame. Returns 0 or a violation, and 255 when the header is not whole.
static uint32_t read_frame(const uint8_t *data, uint32_t size, int in_message, struct frame *frame) {
  if (size < 2) return 255;
  frame->fin = data[0] >> 7;
  frame->opcode = data[0] & 15;
  if ((data[0] >> 4) & 7) return MR_WS_RESERVED_BITS;
  const int control = frame->opcode == 8 || frame->opcode == 9 || frame->opcode == 10;
  if (!control && frame->opcode > 2) return MR_WS_BAD_OPCODE;
  if (frame->opcode == 0 && !in_message) return MR_WS_BAD_CONTINUATION;
  if ((frame->opcode == 1 || frame->opcode == 2) && in_message) return MR_WS_INTERLEAVED;
  if (data[1] < 128 && !of_server) return MR_WS_NOT_MASKED;
  if (data[1] >= 128 && of_server) return MR_WS_MASKED;
  if (control && !frame->fin) return MR_WS_CONTROL_FRAGMENTED;
  frame->length = data[1] & 127u;
  if (control && frame->length > 125) return MR_WS_CONTROL_TOO_LONG;
  uint32_t at = 2;
  if (frame->length >= 126) {
    const uint32_t count = frame->length == 126 ? 2 : 8;
    const uint64_t least = frame->length == 126 ? 126 : 65536;
    if (size < 2 + count) return 255;
    for (frame->length = 0; at < 2 + count; at++) frame->length = frame->length * 256 + data[at];
    if (frame->length < least || frame->length > INT64_MAX) return MR_WS_BAD_LENGTH;
  }
  const uint32_t mask = of_server ? 0 : 4;
  frame->bytes = at + mask;
  if (size < frame->bytes) {  // the length counts before the mask is there
    frame->present = 0;
    frame->bytes = size;
    return 0;
  }
  const uint8_t *payload = data + at + mask;
  frame->present = frame->length < size - frame->bytes ? (uint32_t)frame->length : size - frame->bytes;
  for (uint32_t i = 0; i < frame->present; i++) {
    frame->payload[i] = of_server ? payload[i] : payload[i] ^ data[at + i % 4];
  }
  frame->bytes += frame->present;
  return 0;
}

static uint32_t model_control(const struct frame *frame, struct log *log) {
  uint32_t code = 0;
  uint32_t skip = 0;
  if (frame->opcode == 8) {
    const uint32_t violation = violation_of_close(frame->payload, frame->present, &code);
    if (violation != 0) return violation;
    skip = frame->present > 0 ? 2 : 0;
  }
  const uint32_t kind = frame->opcode == 8 ? MR_CLOSE : frame->opcode == 9 ? MR_PING : MR_PONG;
  write_log(log, kind, code, frame->payload + skip, frame->present - skip);
  return 0;
}

static uint32_t model(const uint8_t *data, uint32_t size, const struct ws_limits *limits, struct log *log) {
  static struct frame frame;
  static struct message message;
  uint64_t declared = 0;
  uint32_t fragments = 0;
  log->length = 0;
  message.open = 0;
  for (;;) {
    uint32_t violation = read_frame(data, size, message.open, &frame);
    if (violation != 0) return violation == 255 ? 0 : violation;
    const uint32_t least = of_server ? 2 : 6;
    const int whole = frame.bytes < size || (size >= least && frame.present == frame.length);
    if (frame.opcode >= 8) {
      if (!whole) return 0;
      violation = model_control(&frame, log);
      if (violation != 0) return violation;
    } else {
      if (!message.open) {
        message.text = frame.opcode == 1;
        message.length = 0;
        declared = 0;
        fragments = 0;
      }
      if (frame.length > limits->max_message_bytes - declared) return MR_WS_TOO_LARGE;
      if (++fragments > limits->max_fragments) return MR_WS_TOO_MANY_FRAGMENTS;
      declared += frame.length;
      memcpy(message.bytes + message.length, frame.payload, frame.present);
      message.length += frame.present;
      const uint32_t utf8 = message.text ? plain_utf8(message.bytes, message.length) : 0;
      if (utf8 == 1) return MR_WS_BAD_UTF8;
      if (frame.present < frame.length) return 0;
      if (!whole) return 0;
      message.open = !frame.fin;
      if (frame.fin && utf8 != 0) return MR_WS_BAD_UTF8;
      if (frame.fin) write_log(log, MR_MESSAGE, (uint32_t)message.text, message.bytes, message.length);
    }
    data += frame.bytes;
    size -= frame.bytes;
  }
}

static void agree(const uint8_t *data, size_t size) {
  static struct log whole;
  static struct log part;
  static struct log plain;
  static const struct ws_limits limits[] = {{1000, 5}, {UINT64_MAX, 1000}, {10, 2}};
  static const uint32_t steps[] = {1, 3, 40, 300};
  uint64_t random = 0x9e3779b97f4a7c15;
  for (size_t i = 0; i < size; i++) random = (random ^ data[i]) * 0x100000001b3 + 1;
  if (random == 0) random = 1;
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    feed(data, (uint32_t)size, 0, &random, &limits[i], &whole);
    for (size_t step = 0; step < 4; step++) {
      feed(data, (uint32_t)size, steps[step], &random, &limits[i], &part);
      require(part.length == whole.length && memcmp(part.bytes, whole.bytes, whole.length) == 0);
    }
    const uint32_t violation = model(data, (uint32_t)size, &limits[i], &plain);
    if (violation != 0) write_log(&plain, 255, violation, NULL, 0);
    require(plain.length == whole.length && memcmp(plain.bytes, whole.bytes, whole.length) == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 65536) return 0;
  for (of_server = 0; of_server <= 1; of_server++) agree(data, size);
  return 0;
}
