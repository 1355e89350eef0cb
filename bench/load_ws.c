// SPDX-License-Identifier: Apache-2.0
// load_ws.c - the WebSocket traffic: a ring of masked frames, the frames that a server echoes, and the
// handshake.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define HEAD_BYTES 4096
#define FRAME_HEAD_MAX 14

// The key and the accept value of the example in RFC 6455 section 1.3.
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// Writes the head of a frame in its shortest form without the mask; returns its length.
static size_t frame_head(uint8_t *out, bool text, bool masked, uint64_t payload) {
  uint8_t mask_bit = masked ? 0x80 : 0;
  out[0] = text ? 0x81 : 0x82;
  if (payload < 126) {
    out[1] = (uint8_t)(mask_bit | payload);
    return 2;
  }
  size_t length_bytes = payload <= 0xffff ? 2 : 8;
  out[1] = (uint8_t)(mask_bit | (length_bytes == 2 ? 126 : 127));
  for (size_t i = 0; i < length_bytes; i++) out[2 + i] = (uint8_t)(payload >> 8 * (length_bytes - 1 - i));
  return 2 + length_bytes;
}

static void mask_frame(uint8_t *frame, size_t head_bytes, const uint8_t *payload, size_t length,
                       uint32_t mask) {
  uint8_t *mask_at = frame + head_bytes;
  memcpy(mask_at, &mask, 4);
  for (size_t i = 0; i < length; i++) mask_at[4 + i] = payload[i] ^ mask_at[i % 4];
}

void ws_prepare(struct load *load) {
  const struct options *options = load->options;
  struct traffic *traffic = &load->traffic;
  uint8_t head[FRAME_HEAD_MAX];
  uint32_t random = 88172645;
  size_t head_bytes = frame_head(head, options->text, false, options->payload);
  traffic->units = payload_units(options->payload + FRAME_HEAD_MAX, options->in_flight);
  traffic->answer_bytes = head_bytes + options->payload;
  traffic->request_bytes = traffic->answer_bytes + 4;
  traffic->start_end = 1;
  traffic->head_end = head_bytes;
  traffic->answers = malloc(traffic->units * traffic->answer_bytes);
  traffic->requests = malloc((traffic->units + options->in_flight) * traffic->request_bytes);
  if (traffic->answers == NULL || traffic->requests == NULL) die("cannot allocate");
  for (size_t i = 0; i < traffic->units; i++) {
    uint8_t *answer = traffic->answers + i * traffic->answer_bytes;
    uint8_t *request = traffic->requests + i * traffic->request_bytes;
    memcpy(answer, head, head_bytes);
    payload_fill(answer + head_bytes, options->payload, i, options->text);
    frame_head(request, options->text, true, options->payload);
    mask_frame(request, head_bytes, answer + head_bytes, options->payload, payload_random(&random));
  }
  memcpy(traffic->requests + traffic->units * traffic->request_bytes, traffic->requests,
         options->in_flight * traffic->request_bytes);
}

void ws_handshake(const struct options *options, int fd) {
  char head[HEAD_BYTES];
  int length = snprintf(head, sizeof head,
                        "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        options->path, options->host, options->port);
  socket_send(fd, head, (size_t)length);
  socket_receive_head(fd, head, sizeof head);
  if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) die("the handshake was not answered with 101");
  if (strstr(head, ACCEPT "\r\n") == NULL) die("the handshake has a wrong Sec-WebSocket-Accept");
}
