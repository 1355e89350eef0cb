// SPDX-License-Identifier: Apache-2.0
// load_packets.c - the traffic of the action router: packets with their sequences and bodies in JSON or
// Protocol Buffers, over plain TCP or as WebSocket messages, and the replies, which have one field more.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

// The action, the codecs and the fields are those of bench/servers/rpc_millrace.ts.
#define ACTION 1
#define LENGTH_BYTES 4
#define HEAD_BYTES 4
#define PACKET_MAX 128
#define SEQUENCE_MAX 0x7fff
// Ids of one length: six digits in JSON, three bytes as a varint.
#define FIRST_ID 100000

static void big_endian(uint8_t *out, size_t bytes, size_t value) {
  for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static size_t json_body(uint8_t *out, size_t id, bool reply) {
  const char *more = reply ? ",\"seen\":true" : "";
  return (size_t)snprintf((char *)out, PACKET_MAX,
                          "{\"id\":%zu,\"name\":\"Ada Lovelace\",\"tags\":[\"a\",\"b\"]%s}", id, more);
}

// Fields 1 (a varint), 2 (text), 3 (text, repeated); of the reply 4 (a varint, which is 1) too.
static size_t protobuf_body(uint8_t *out, size_t id, bool reply) {
  static const char rest[] =
      "\x12\x0c"
      "Ada Lovelace"
      "\x1a\x01"
      "a"
      "\x1a\x01"
      "b"
      "\x20\x01";
  const size_t rest_bytes = sizeof rest - 1 - (reply ? 0 : 2);
  out[0] = 0x08;
  for (size_t i = 0; i < 3; i++) out[1 + i] = (uint8_t)((id >> 7 * i & 0x7f) | (i < 2 ? 0x80 : 0));
  memcpy(out + 4, rest, rest_bytes);
  return 4 + rest_bytes;
}

// Writes a packet without its length; returns how many bytes that are.
static size_t packet(const struct options *options, uint8_t *out, size_t unit, bool reply) {
  big_endian(out, 2, ACTION);
  // Not 0, which is for what nobody has asked for, and not -1, which is for what is not answered.
  big_endian(out + 2, 2, unit + 1);
  uint8_t *body = out + HEAD_BYTES;
  bool json = strcmp(options->packets, "json") == 0;
  return HEAD_BYTES + (json ? json_body : protobuf_body)(body, FIRST_ID + unit, reply);
}

// Writes what carries a packet of so many bytes, in front of it; returns its length.
static size_t carrier(const struct options *options, uint8_t *out, size_t packet_bytes, bool masked) {
  if (options->websocket) return ws_head(out, WS_FIN | WS_BINARY, masked, packet_bytes);
  big_endian(out, LENGTH_BYTES, LENGTH_BYTES + packet_bytes);
  return LENGTH_BYTES;
}

static void request(const struct options *options, uint8_t *out, size_t unit, uint32_t mask) {
  uint8_t bytes[PACKET_MAX];
  size_t packet_bytes = packet(options, bytes, unit, false);
  size_t head_bytes = carrier(options, out, packet_bytes, true);
  if (options->websocket)
    ws_mask(out, head_bytes, bytes, packet_bytes, mask);
  else
    memcpy(out + head_bytes, bytes, packet_bytes);
}

static void reply(const struct options *options, uint8_t *out, size_t unit) {
  uint8_t bytes[PACKET_MAX];
  size_t packet_bytes = packet(options, bytes, unit, true);
  size_t head_bytes = carrier(options, out, packet_bytes, false);
  memcpy(out + head_bytes, bytes, packet_bytes);
}

void packets_prepare(struct load *load) {
  const struct options *options = load->options;
  struct traffic *traffic = &load->traffic;
  uint8_t bytes[PACKET_MAX];
  uint32_t random = 88172645;
  size_t asked = packet(options, bytes, 0, false);
  size_t answered = packet(options, bytes, 0, true);
  size_t request_bytes = carrier(options, bytes, asked, true) + (options->websocket ? 4 : 0) + asked;
  size_t head_bytes = carrier(options, bytes, answered, false);
  traffic->answer_bytes = head_bytes + answered;
  traffic->units = payload_units(traffic->answer_bytes, options->in_flight);
  if (traffic->units > SEQUENCE_MAX) die("packets have too few sequences for so many in flight");
  const size_t total = traffic->units + options->in_flight;
  traffic->request_at = payload_places(total, request_bytes);
  traffic->start_end = head_bytes;
  traffic->head_end = head_bytes + HEAD_BYTES;
  traffic->requests = malloc(total * request_bytes);
  traffic->answers = malloc(traffic->units * traffic->answer_bytes);
  if (traffic->requests == NULL || traffic->answers == NULL) die("cannot allocate");
  for (size_t i = 0; i < traffic->units; i++) {
    request(options, traffic->requests + i * request_bytes, i, payload_random(&random));
    reply(options, traffic->answers + i * traffic->answer_bytes, i);
  }
  memcpy(traffic->requests + traffic->units * request_bytes, traffic->requests,
         options->in_flight * request_bytes);
}
