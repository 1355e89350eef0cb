// SPDX-License-Identifier: Apache-2.0
// ws_frame_test.c - rules W1 to W11, W18 and W19 of WebSocket frames by bytes, cut in every way.
#include "ws_frame.h"

#include "check.h"

#define M0 "\0\0\0\0"  // a mask that changes nothing, so that payloads can be read

struct log {  // what came of all bytes: whole messages, control frames, at last a violation
  uint32_t length;
  bool pieces_ok;
  char text[4096];
};

struct ws_case {
  const char *name;
  const uint8_t *bytes;
  size_t length;
  const char *want;
};

static const struct ws_limits limits = {1000, 4};
static bool of_server;  // whose frames are fed

static void append(struct log *log, const char *bytes, uint32_t length) {
  if (log->length + length >= sizeof log->text) length = (uint32_t)sizeof log->text - 1 - log->length;
  memcpy(log->text + log->length, bytes, length);
  log->length += length;
  log->text[log->length] = 0;
}

static void append_word(struct log *log, const char *format, int number) {
  char word[32];
  append(log, word, (uint32_t)snprintf(word, sizeof word, format, number));
}

struct message {
  struct log bytes;
  bool begun;
  bool text;
};

// Notes an event, and whether the flags of the pieces of a message fit together.
static void note(struct log *log, struct message *message, const uint8_t *bytes,
                 const struct ws_event *event) {
  const char *payload = (const char *)bytes + event->start;
  switch (event->kind) {
    case MR_MESSAGE:
      if (((event->flags & MR_FIRST) != 0) == message->begun) log->pieces_ok = false;
      if (message->begun && ((event->flags & MR_TEXT) != 0) != message->text) log->pieces_ok = false;
      if (event->length > event->total) log->pieces_ok = false;
      message->begun = true;
      message->text = (event->flags & MR_TEXT) != 0;
      append(&message->bytes, payload, event->length);
      if (event->flags & MR_LAST) {
        append(log, message->text ? "text(" : "binary(", message->text ? 5 : 7);
        append(log, message->bytes.text, message->bytes.length);
        append(log, ")", 1);
        message->begun = false;
        message->bytes.length = 0;
      }
      return;
    case MR_CLOSE:
      append_word(log, "close(%d ", event->code);
      break;
    default:
      append(log, event->kind == MR_PING ? "ping(" : event->kind == MR_PONG ? "pong(" : "?????", 5);
  }
  if (event->flags != 0 ||
      event->total != event->length + (event->kind == MR_CLOSE && event->code != 1005 ? 2 : 0)) {
    log->pieces_ok = false;
  }
  append(log, payload, event->length);
  append(log, ")", 1);
}

// Gives the tokeniser the first first_cut bytes, then step more each time.
static void feed(const uint8_t *bytes, uint32_t length, uint32_t first_cut, uint32_t step, struct log *log) {
  static struct message message;
  struct ws_frames frames = {.of_server = of_server};
  uint32_t done = 0;
  memset(&message, 0, sizeof message);
  log->length = 0;
  log->text[0] = 0;
  log->pieces_ok = true;
  for (uint32_t cut = first_cut;; cut = length - cut > step ? cut + step : length) {
    for (;;) {
      struct ws_event event;
      uint8_t *copy = t_guarded(bytes + done, cut - done);
      const int32_t taken = ws_frame_next(&frames, copy, cut - done, &limits, &event);
      if (taken < 0) {
        append_word(log, "!%d", -taken);
        return;
      }
      if (taken == 0) {
        if (cut - done >= 14 + 125) log->pieces_ok = false;
        break;
      }
      note(log, &message, copy, &event);
      done += (uint32_t)taken;
    }
    if (cut == length) return;
  }
}

static bool same(const struct log *a, const struct log *b) {
  return a->pieces_ok && b->pieces_ok && a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

static bool invariant(const uint8_t *bytes, uint32_t length, const struct log *whole) {
  static struct log part;
  for (uint32_t cut = 0; cut < length; cut++) {
    feed(bytes, length, cut, length, &part);
    if (!same(&part, whole)) return false;
    feed(bytes, cut, cut, 1, &part);
    if (!part.pieces_ok || part.length > whole->length || memcmp(part.text, whole->text, part.length) != 0) {
      return false;
    }
  }
  for (uint32_t step = 1; step <= 5; step++) {
    feed(bytes, length, 0, step, &part);
    if (!same(&part, whole)) return false;
  }
  return true;
}

// clang-format off
static const struct ws_case cases[] = {
  {"RFC 6455 section 5.7 masked Hello", T_BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "text(Hello)"},
  {"text", T_BYTES("\x81\x85" M0 "hello"), "text(hello)"},
  {"binary may be anything", T_BYTES("\x82\x82" M0 "\xff\xfe"), "binary(\xff\xfe)"},
  {"an empty message", T_BYTES("\x81\x80" M0), "text()"},
  {"two messages and a mask each", T_BYTES("\x81\x81\x01\x02\x03\x04`\x82\x81" "AAAA\x03"), "text(a)binary(B)"},
  {"W7 fragments", T_BYTES("\x01\x81" M0 "a\x00\x81" M0 "b\x80\x81" M0 "c"), "text(abc)"},
  {"W7 an empty last fragment", T_BYTES("\x02\x81" M0 "a\x80\x80" M0), "binary(a)"},
  {"W7 only empty fragments", T_BYTES("\x01\x80" M0 "\x00\x80" M0 "\x80\x80" M0), "text()"},
  {"W7 control frames between fragments", T_BYTES("\x01\x81" M0 "a\x89\x81" M0 "p\x8a\x80" M0 "\x80\x81" M0 "b"), "ping(p)pong()text(ab)"},
  {"W10 close between fragments", T_BYTES("\x01\x81" M0 "a\x88\x80" M0), "close(1005 )"},
  {"a message of 125 bytes", T_BYTES("\x82\xfd" M0 "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234"), "binary(01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234)"},
  {"a message of 126 bytes", T_BYTES("\x82\xfe\x00\x7e" M0 "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"), "binary(012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345)"},
  {"a ping of 125 bytes", T_BYTES("\x89\xfd" M0 "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234"), "ping(01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234)"},
  {"W1 not masked", T_BYTES("\x81\x05hello"), "!29"},
  {"W1 a control frame that is not masked", T_BYTES("\x88\x00"), "!29"},
  {"W1 not masked counts before a bad length", T_BYTES("\x81\x7e\x00\x01"), "!29"},
  {"W3 RSV1", T_BYTES("\xc1\x80" M0), "!27"},
  {"W3 RSV2", T_BYTES("\xa1\x80" M0), "!27"},
  {"W3 RSV3", T_BYTES("\x91\x80" M0), "!27"},
  {"W3 RSV1 on a control frame", T_BYTES("\xc9\x80" M0), "!27"},
  {"W3 behind a good message", T_BYTES("\x81\x81" M0 "a\xf0\x80" M0), "text(a)!27"},
  {"W4 opcode 3", T_BYTES("\x83\x80" M0), "!28"},
  {"W4 opcode 4", T_BYTES("\x84\x80" M0), "!28"},
  {"W4 opcode 5", T_BYTES("\x85\x80" M0), "!28"},
  {"W4 opcode 6", T_BYTES("\x86\x80" M0), "!28"},
  {"W4 opcode 7", T_BYTES("\x87\x80" M0), "!28"},
  {"W4 opcode 11", T_BYTES("\x8b\x80" M0), "!28"},
  {"W4 opcode 12", T_BYTES("\x8c\x80" M0), "!28"},
  {"W4 opcode 13", T_BYTES("\x8d\x80" M0), "!28"},
  {"W4 opcode 14", T_BYTES("\x8e\x80" M0), "!28"},
  {"W4 opcode 15", T_BYTES("\x8f\x80" M0), "!28"},
  {"W5 125 in 16 bits", T_BYTES("\x82\xfe\x00\x7d" M0), "!30"},
  {"W5 0 in 16 bits", T_BYTES("\x82\xfe\x00\x00" M0), "!30"},
  {"W5 65535 in 64 bits", T_BYTES("\x82\xff\0\0\0\0\0\0\xff\xff" M0), "!30"},
  {"W5 1 in 64 bits", T_BYTES("\x82\xff\0\0\0\0\0\0\0\x01" M0), "!30"},
  {"W5 the top bit", T_BYTES("\x82\xff\x80\0\0\0\0\0\0\0" M0), "!30"},
  {"W5 all bits", T_BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" M0), "!30"},
  {"W6 a ping of 126 bytes", T_BYTES("\x89\xfe\x00\x7e" M0), "!31"},
  {"W6 a ping of 64 bits", T_BYTES("\x89\xff"), "!31"},
  {"W6 a ping without FIN", T_BYTES("\x09\x80" M0), "!32"},
  {"W6 a close without FIN", T_BYTES("\x08\x80" M0), "!32"},
  {"W8 a continuation of nothing", T_BYTES("\x80\x80" M0), "!33"},
  {"W8 a continuation of a message that ended", T_BYTES("\x81\x80" M0 "\x80\x80" M0), "text()!33"},
  {"W7 a message inside a message", T_BYTES("\x01\x81" M0 "a\x81\x81" M0 "b"), "!34"},
  {"W7 a binary message inside a text", T_BYTES("\x01\x81" M0 "a\x02\x81" M0 "b"), "!34"},
  {"W9 all sizes of characters", T_BYTES("\x81\x8a" M0 "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xa9"), "text(a\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xa9)"},
  {"W9 a character over fragments", T_BYTES("\x01\x81" M0 "\xf0\x00\x81" M0 "\x9f\x00\x80" M0 "\x80\x82" M0 "\x92\xa9"), "text(\xf0\x9f\x92\xa9)"},
  {"W9 a ping inside a character", T_BYTES("\x01\x81" M0 "\xc3\x89\x81" M0 "\xff\x80\x81" M0 "\xa4"), "ping(\xff)text(\xc3\xa4)"},
  {"W9 cut at the end of the frame", T_BYTES("\x81\x81" M0 "\xc3"), "!36"},
  {"W9 cut at the end of the message", T_BYTES("\x01\x81" M0 "\xe2\x80\x81" M0 "\x82"), "!36"},
  {"W9 cut before an empty last fragment", T_BYTES("\x01\x81" M0 "\xe2\x80\x80" M0), "!36"},
  {"W9 overlong", T_BYTES("\x81\x82" M0 "\xc0\x80"), "!36"},
  {"W9 surrogate", T_BYTES("\x81\x83" M0 "\xed\xa0\x80"), "!36"},
  {"W9 beyond U+10FFFF", T_BYTES("\x81\x84" M0 "\xf4\x90\x80\x80"), "!36"},
  {"W9 fails before the frame is whole", T_BYTES("\x81\xfd" M0 "abc\xff"), "!36"},
  {"W9 fails before the message is whole", T_BYTES("\x01\x81" M0 "\xff"), "!36"},
  {"W10 a close frame with nothing", T_BYTES("\x88\x80" M0), "close(1005 )"},
  {"W10 a close frame with a code", T_BYTES("\x88\x82" M0 "\x03\xe8"), "close(1000 )"},
  {"W10 a close frame with a reason", T_BYTES("\x88\x85\x01\x02\x03\x04\x02\xea\x61\x7d\x64"), "close(1000 bye)"},
  {"W10 one byte", T_BYTES("\x88\x81" M0 "\x03"), "!38"},
  {"W10 the reason is not UTF-8", T_BYTES("\x88\x83" M0 "\x03\xe8\xff"), "!36"},
  {"W10 the reason is cut", T_BYTES("\x88\x84" M0 "\x03\xe8\xe2\x82"), "!36"},
  {"W18 a message of the most bytes", T_BYTES("\x02\xfe\x03\xe7" M0), ""},
  {"W18 a frame of one byte more", T_BYTES("\x82\xfe\x03\xe9"), "!35"},
  {"W18 one byte more over two frames", T_BYTES("\x02\x81" M0 "a\x80\xfe\x03\xe8"), "!35"},
  {"W18 a huge frame", T_BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"), "!35"},
  {"W18 the sum starts anew with each message", T_BYTES("\x82\x81" M0 "a\x82\xfe\x03\xe8" M0), "binary(a)"},
  {"W19 the most fragments", T_BYTES("\x01\x80" M0 "\x00\x80" M0 "\x00\x80" M0 "\x80\x80" M0), "text()"},
  {"W19 one fragment more", T_BYTES("\x01\x80" M0 "\x00\x80" M0 "\x00\x80" M0 "\x00\x80" M0 "\x80\x80" M0), "!39"},
  {"W19 control frames are no fragments", T_BYTES("\x01\x80" M0 "\x89\x80" M0 "\x89\x80" M0 "\x89\x80" M0 "\x89\x80" M0 "\x80\x80" M0), "ping()ping()ping()ping()text()"},
};
// clang-format on

static void run(const struct ws_case *want) {
  static struct log whole;
  const uint32_t length = (uint32_t)want->length;
  feed(want->bytes, length, length, 1, &whole);
  const bool ok = whole.pieces_ok && whole.length == strlen(want->want) &&
                  memcmp(whole.text, want->want, whole.length) == 0;
  if (!ok) printf("# got %s\n", whole.text);
  t_case(want->name, ok && invariant(want->bytes, length, &whole));
}

// Takes masks off frames; returns how many bytes are left. What is cut or malformed goes as far as it goes.
static uint32_t without_masks(const uint8_t *bytes, uint32_t length, uint8_t *out) {
  uint32_t done = 0;
  for (uint32_t at = 0; at < length;) {
    const uint8_t *frame = bytes + at;
    const uint32_t left = length - at;
    out[done++] = frame[0];
    if (left == 1) break;
    out[done++] = frame[1] & 0x7f;
    const uint32_t code = frame[1] & 0x7f, count = code < 126 ? 0 : code == 126 ? 2 : 8;
    uint64_t payload = count == 0 ? code : 0;
    for (uint32_t i = 0; i < count && 2 + i < left; i++) {
      payload = payload << 8 | frame[2 + i];
      out[done++] = frame[2 + i];
    }
    const uint32_t header = 6 + count;
    if (left <= header) break;
    if (payload > left - header) payload = left - header;
    for (uint32_t i = 0; i < payload; i++) out[done++] = frame[header + i] ^ frame[header - 4 + i % 4];
    at += header + (uint32_t)payload;
  }
  return done;
}

// The same frames, as a server sends them.
static void run_of_server(const struct ws_case *client) {
  static uint8_t bytes[4096];
  char name[160];
  snprintf(name, sizeof(name), "%s, of a server", client->name);
  const uint32_t length = without_masks(client->bytes, (uint32_t)client->length, bytes);
  const struct ws_case server = {name, bytes, length, client->want};
  run(&server);
}

// clang-format off
static const struct ws_case server_cases[] = {
  {"RFC 6455 section 5.7 Hello", T_BYTES("\x81\x05\x48\x65\x6c\x6c\x6f"), "text(Hello)"},
  {"RFC 6455 section 5.7 a fragmented Hello", T_BYTES("\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f"), "text(Hello)"},
  {"RFC 6455 section 5.7 a ping", T_BYTES("\x89\x05\x48\x65\x6c\x6c\x6f"), "ping(Hello)"},
  {"a server masks a text", T_BYTES("\x81\x81" M0 "a"), "!42"},
  {"a server masks an empty text", T_BYTES("\x81\x80" M0), "!42"},
  {"a server masks a control frame", T_BYTES("\x81\x01" "a\x88\x80" M0), "text(a)!42"},
  {"a server masks a continuation", T_BYTES("\x01\x01" "a\x80\x81" M0 "b"), "!42"},
  {"masked counts before a bad length", T_BYTES("\x81\xfe\x00\x01"), "!42"},
};
// clang-format on

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
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) run(&cases[i]);
  of_server = true;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (strncmp(cases[i].name, "W1 ", 3) != 0) run_of_server(&cases[i]);
  }
  for (size_t i = 0; i < sizeof server_cases / sizeof server_cases[0]; i++) run(&server_cases[i]);
  close_codes();
  lengths_at_boundaries();
  sums_do_not_overflow();
  unmask_is_xor();
  long_message();
  answers();
  return t_done();
}
