// SPDX-License-Identifier: Apache-2.0
// load_ws.c - the WebSocket traffic: a ring of masked frames, the frames that a server echoes or publishes,
// and the handshake.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define HEAD_BYTES 4096
// Without context takeover, so that what a message is compressed to does not depend on those before it.
#define OFFER                                      \
  "Sec-WebSocket-Extensions: permessage-deflate; " \
  "server_no_context_takeover; client_no_context_takeover\r\n"

// Writes the head of a frame in its shortest form without the mask; returns its length.
size_t ws_head(uint8_t *out, uint8_t first, bool masked, uint64_t payload) {
  uint8_t mask_bit = masked ? 0x80 : 0;
  out[0] = first;
  if (payload < 126) {
    out[1] = (uint8_t)(mask_bit | payload);
    return 2;
  }
  size_t length_bytes = payload <= 0xffff ? 2 : 8;
  out[1] = (uint8_t)(mask_bit | (length_bytes == 2 ? 126 : 127));
  for (size_t i = 0; i < length_bytes; i++) out[2 + i] = (uint8_t)(payload >> 8 * (length_bytes - 1 - i));
  return 2 + length_bytes;
}

// Writes the mask behind the head of a frame, and the masked payload behind that.
void ws_mask(uint8_t *frame, size_t head_bytes, const uint8_t *payload, size_t length, uint32_t mask) {
  uint8_t *mask_at = frame + head_bytes;
  memcpy(mask_at, &mask, 4);
  for (size_t i = 0; i < length; i++) mask_at[4 + i] = payload[i] ^ mask_at[i % 4];
}

void ws_prepare(struct load *load) {
  const struct options *options = load->options;
  struct traffic *traffic = &load->traffic;
  uint8_t head[WS_HEAD_MAX];
  uint32_t random = 88172645;
  uint8_t first = WS_FIN | (options->text ? WS_TEXT : WS_BINARY);
  size_t head_bytes = ws_head(head, first, false, options->payload);
  traffic->answer_bytes = head_bytes + options->payload;
  size_t request_bytes = traffic->answer_bytes + 4;
  traffic->units = payload_units(options->payload + WS_HEAD_MAX, options->in_flight);
  traffic->request_at = payload_places(traffic->units + options->in_flight, request_bytes);
  traffic->start_end = 1;
  traffic->head_end = head_bytes;
  traffic->answers = malloc(traffic->units * traffic->answer_bytes);
  traffic->requests = malloc((traffic->units + options->in_flight) * request_bytes);
  if (traffic->answers == NULL || traffic->requests == NULL) die("cannot allocate");
  for (size_t i = 0; i < traffic->units; i++) {
    uint8_t *answer = traffic->answers + i * traffic->answer_bytes;
    uint8_t *request = traffic->requests + traffic->request_at[i];
    memcpy(answer, head, head_bytes);
    payload_fill(answer + head_bytes, options->payload, i, options->text);
    ws_head(request, first, true, options->payload);
    ws_mask(request, head_bytes, answer + head_bytes, options->payload, payload_random(&random));
  }
  memcpy(traffic->requests + traffic->units * request_bytes, traffic->requests,
         options->in_flight * request_bytes);
}

void ws_handshake(const struct options *options, const char *path, int fd) {
  char head[HEAD_BYTES];
  int length = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: %s:%u\r\n" WS_FIELDS "%s\r\n", path,
                        options->host, options->port, options->deflate ? OFFER : "");
  socket_send(fd, head, (size_t)length);
  socket_receive_head(fd, head, sizeof head);
  if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) die("the handshake was not answered with 101");
  if (strstr(head, WS_ACCEPT "\r\n") == NULL) die("the handshake has a wrong Sec-WebSocket-Accept");
  if (options->deflate && strcasestr(head, "permessage-deflate") == NULL)
    die("the server does not compress: it did not accept permessage-deflate");
}
