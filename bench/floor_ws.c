// SPDX-License-Identifier: Apache-2.0
// floor_ws.c - the WebSocket side of the C floor: handshake, echo of messages, control frames.
#include <stdlib.h>
#include <string.h>

#include "floor.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_BYTES 24
#define MESSAGE_BYTES_MAX (64u << 20)
#define FRAME_HEAD_MAX 10

static uint32_t rotate(uint32_t value, int bits) {
  return value << bits | value >> (32 - bits);
}

// One round of SHA-1 (FIPS 180-4 section 6.1.2).
static void sha1_step(uint32_t state[5], uint32_t word, int round) {
  uint32_t b = state[1], c = state[2], d = state[3];
  uint32_t mix, constant;
  if (round < 20)
    mix = (b & c) | (~b & d), constant = 0x5a827999;
  else if (round < 40)
    mix = b ^ c ^ d, constant = 0x6ed9eba1;
  else if (round < 60)
    mix = (b & c) | (b & d) | (c & d), constant = 0x8f1bbcdc;
  else
    mix = b ^ c ^ d, constant = 0xca62c1d6;
  uint32_t next = rotate(state[0], 5) + mix + state[4] + constant + word;
  state[4] = d;
  state[3] = c;
  state[2] = rotate(b, 30);
  state[1] = state[0];
  state[0] = next;
}

static void sha1_block(uint32_t hash[5], const uint8_t block[64]) {
  uint32_t words[80];
  uint32_t state[5];
  for (int i = 0; i < 16; i++) {
    words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
  }
  for (int i = 16; i < 80; i++)
    words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
  memcpy(state, hash, sizeof state);
  for (int i = 0; i < 80; i++) sha1_step(state, words[i], i);
  for (int i = 0; i < 5; i++) hash[i] += state[i];
}

// Hash of the key and the GUID: 60 bytes, padded to two blocks.
static void sha1_key(const char *key, uint8_t out[20]) {
  uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  uint8_t blocks[128] = {0};
  memcpy(blocks, key, KEY_BYTES);
  memcpy(blocks + KEY_BYTES, GUID, sizeof GUID - 1);
  blocks[60] = 0x80;
  blocks[126] = 60 * 8 >> 8;
  blocks[127] = (60 * 8) & 0xff;
  sha1_block(hash, blocks);
  sha1_block(hash, blocks + 64);
  for (int i = 0; i < 20; i++) out[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_20(const uint8_t bytes[20], char out[29]) {
  static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  uint8_t padded[21] = {0};
  memcpy(padded, bytes, 20);
  for (int i = 0; i < 28; i++) {
    uint32_t group =
        (uint32_t)padded[i / 4 * 3] << 16 | (uint32_t)padded[i / 4 * 3 + 1] << 8 | padded[i / 4 * 3 + 2];
    out[i] = DIGITS[group >> (18 - 6 * (i % 4)) & 63];
  }
  out[27] = '=';
  out[28] = '\0';
}

// Field names arrive in lower case.
static const char *find_key(const char *head, uint32_t length) {
  static const char NAME[] = "\r\nsec-websocket-key:";
  const char *found = memmem(head, length, NAME, sizeof NAME - 1);
  if (found == NULL) return NULL;
  found += sizeof NAME - 1;
  while (*found == ' ') found++;
  return found + KEY_BYTES <= head + length ? found : NULL;
}

void floor_upgrade(struct floor *floor, uint32_t handle, const char *head, uint32_t length) {
  static const char REPLY[] =
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: "
      "Upgrade\r\nsec-websocket-accept: ";
  const char *key = find_key(head, length);
  uint8_t hash[20];
  char accept[29];
  if (key == NULL) {
    floor_command(floor, handle, MR_CMD_TERMINATE, 0);
    return;
  }
  sha1_key(key, hash);
  base64_20(hash, accept);
  uint32_t reply_bytes = sizeof REPLY - 1 + 28 + 4;
  uint8_t *out = floor_reserve(floor, reply_bytes);
  memcpy(out, REPLY, sizeof REPLY - 1);
  memcpy(out + sizeof REPLY - 1, accept, 28);
  memcpy(out + sizeof REPLY - 1 + 28, "\r\n\r\n", 4);
  floor_stage(floor, handle, reply_bytes, 1);
  floor_command(floor, handle, MR_CMD_WEBSOCKET, MESSAGE_BYTES_MAX);
}

static uint32_t frame_head(uint8_t *out, uint8_t first, uint64_t payload) {
  out[0] = first;
  if (payload < 126) {
    out[1] = (uint8_t)payload;
    return 2;
  }
  uint32_t length_bytes = payload <= 0xffff ? 2 : 8;
  out[1] = length_bytes == 2 ? 126 : 127;
  for (uint32_t i = 0; i < length_bytes; i++) out[2 + i] = (uint8_t)(payload >> 8 * (length_bytes - 1 - i));
  return 2 + length_bytes;
}

// A frame may be larger than the outbox: it then goes out in parts.
static void send_frame(struct floor *floor, uint32_t handle, uint8_t first, const uint8_t *bytes,
                       size_t length) {
  uint32_t part_max = floor->control->outbox_bytes / 4;
  uint8_t *out = floor_reserve(floor, FRAME_HEAD_MAX + (length < part_max ? (uint32_t)length : part_max));
  uint32_t head_bytes = frame_head(out, first, length);
  uint32_t part = length < part_max ? (uint32_t)length : part_max;
  memcpy(out + head_bytes, bytes, part);
  floor_stage(floor, handle, head_bytes + part, 0);
  for (size_t done = part; done < length; done += part) {
    part = length - done < part_max ? (uint32_t)(length - done) : part_max;
    memcpy(floor_reserve(floor, part), bytes + done, part);
    floor_stage(floor, handle, part, 0);
  }
}

static void append(struct message *message, const uint8_t *bytes, uint32_t length, size_t expected) {
  size_t needed = message->length + length;
  if (needed < expected) needed = expected;
  if (needed > message->capacity) {
    message->bytes = realloc(message->bytes, needed);
    message->capacity = needed;
    if (message->bytes == NULL) abort();
  }
  memcpy(message->bytes + message->length, bytes, length);
  message->length += length;
}

void floor_message(struct floor *floor, const struct mr_record *record, const uint8_t *bytes) {
  uint8_t first = record->flags & MR_TEXT ? 0x81 : 0x82;
  if ((record->flags & (MR_FIRST | MR_LAST)) == (MR_FIRST | MR_LAST)) {
    send_frame(floor, record->handle, first, bytes, record->length);
    return;
  }
  struct message *message = &floor->messages[record->handle & MR_SLOT_MASK];
  append(message, bytes, record->length, record->total_low);
  if (!(record->flags & MR_LAST)) return;
  send_frame(floor, record->handle, first, message->bytes, message->length);
  message->length = 0;
}

void floor_control(struct floor *floor, uint32_t handle, uint8_t opcode, const uint8_t *bytes,
                   uint32_t length) {
  send_frame(floor, handle, opcode, bytes, length);
}

void floor_forget(struct floor *floor, uint32_t handle) {
  struct message *message = &floor->messages[handle & MR_SLOT_MASK];
  free(message->bytes);
  memset(message, 0, sizeof *message);
}
