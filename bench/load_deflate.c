// SPDX-License-Identifier: Apache-2.0
// load_deflate.c - compressed WebSocket traffic: JSON texts, deflated before the run, echoed by the server in
// a frame of which only it knows the bytes: each answer is inflated and its text compared.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "load.h"

#define UNITS 256
#define LEVEL 6
#define MEMORY 8
#define WINDOW_BITS (-15)  // raw, without a header
#define TEXT_MAX 16384
#define ITEM_MAX 160
#define FRAME_MAX (TEXT_MAX + WS_HEAD_MAX)
#define FIRST (WS_FIN | WS_RSV1 | WS_TEXT)

struct deflated {
  z_stream inflater;
  char *texts[UNITS];
  size_t lengths[UNITS];
  uint8_t text[TEXT_MAX + 1];
};

// What every message ends with when it is flushed, and what is not sent (RFC 7692 section 7.2.1).
static const uint8_t TAIL[] = {0x00, 0x00, 0xff, 0xff};

static size_t write_item(char *out, uint32_t *random, size_t unit, bool first) {
  static const char *const PLACES[] = {"Aachen", "Bergen", "Cádiz", "Dublin", "Évora", "Florence", "Ghent"};
  uint32_t id = payload_random(random);
  uint32_t price = payload_random(random) % 1000000;
  uint32_t count = payload_random(random) % 500;
  const char *place = PLACES[payload_random(random) % (sizeof PLACES / sizeof *PLACES)];
  const char *open = count % 2 == 0 ? "true" : "false";
  const char *format =
      "%s{\"id\":%u,\"order\":%zu,\"place\":\"%s\",\"price\":%u.%02u,\"count\":%u,\"open\":%s}";
  return (size_t)snprintf(out, ITEM_MAX, format, first ? "[" : ",", id, unit, place, price / 100, price % 100,
                          count, open);
}

// An array of objects, of at most so many bytes.
static void write_text(struct deflated *deflated, size_t unit, size_t bytes_max) {
  uint32_t random = (uint32_t)unit * 2654435761u + 1;
  char *text = malloc(bytes_max);
  size_t length = 0;
  if (text == NULL) die("cannot allocate");
  while (length + ITEM_MAX < bytes_max) length += write_item(text + length, &random, unit, length == 0);
  text[length++] = ']';
  deflated->texts[unit] = text;
  deflated->lengths[unit] = length;
}

// Writes a masked frame with a compressed text; returns its length.
static size_t write_request(uint8_t *out, const char *text, size_t length, uint32_t mask) {
  uint8_t packed[TEXT_MAX];
  z_stream stream = {.next_in = (uint8_t *)text, .avail_in = (uInt)length};
  stream.next_out = packed;
  stream.avail_out = sizeof packed;
  if (deflateInit2(&stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK ||
      deflate(&stream, Z_SYNC_FLUSH) != Z_OK || stream.avail_out == 0)
    die("cannot compress");
  size_t packed_bytes = stream.total_out - sizeof TAIL;
  deflateEnd(&stream);
  size_t head_bytes = ws_head(out, FIRST, true, packed_bytes);
  ws_mask(out, head_bytes, packed, packed_bytes, mask);
  return head_bytes + 4 + packed_bytes;
}

void deflated_prepare(struct load *load) {
  const struct options *options = load->options;
  struct traffic *traffic = &load->traffic;
  struct deflated *deflated = calloc(1, sizeof *deflated);
  uint32_t random = 88172645;
  if (options->payload <= ITEM_MAX || options->payload > TEXT_MAX || options->in_flight > UNITS)
    die("--payload or --in-flight is out of the range of --deflate");
  traffic->units = UNITS;
  traffic->requests = malloc((UNITS + options->in_flight) * FRAME_MAX);
  traffic->request_at = payload_places(UNITS + options->in_flight, 0);
  if (deflated == NULL || traffic->requests == NULL) die("cannot allocate");
  if (inflateInit2(&deflated->inflater, WINDOW_BITS) != Z_OK) die("cannot open an inflater");
  for (size_t i = 0; i < UNITS + options->in_flight; i++) {
    size_t unit = i % UNITS;
    size_t at = traffic->request_at[i];
    if (i < UNITS) write_text(deflated, i, options->payload);
    traffic->request_at[i + 1] = at + write_request(traffic->requests + at, deflated->texts[unit],
                                                    deflated->lengths[unit], payload_random(&random));
  }
  load->deflated = deflated;
}

static bool inflates_to(struct deflated *deflated, const uint8_t *bytes, size_t length, size_t unit) {
  z_stream *stream = &deflated->inflater;
  inflateReset(stream);
  stream->next_in = (uint8_t *)bytes;
  stream->avail_in = (uInt)length;
  stream->next_out = deflated->text;
  stream->avail_out = sizeof deflated->text;
  int rc = inflate(stream, Z_SYNC_FLUSH);
  if (rc == Z_OK) {
    stream->next_in = (uint8_t *)TAIL;
    stream->avail_in = sizeof TAIL;
    rc = inflate(stream, Z_SYNC_FLUSH);
  }
  return (rc == Z_OK || rc == Z_STREAM_END) && stream->total_out == deflated->lengths[unit] &&
         memcmp(deflated->text, deflated->texts[unit], stream->total_out) == 0;
}

// Length of a frame's head and payload, 0 when bytes are missing. A text of TEXT_MAX needs no longer form.
static size_t frame_bytes(const uint8_t *bytes, size_t length, size_t *head_bytes) {
  if (length < 2) return 0;
  *head_bytes = bytes[1] == 126 ? 4 : 2;
  if (length < *head_bytes) return 0;
  size_t total = *head_bytes + (bytes[1] == 126 ? (size_t)bytes[2] << 8 | bytes[3] : bytes[1]);
  return length < total ? 0 : total;
}

// Looks at the frames that are whole, and keeps the rest.
bool deflated_check(struct load *load, struct connection *connection, const uint8_t *bytes, size_t length,
                    uint64_t *count) {
  if (connection->partial == NULL) connection->partial = malloc(BUFFER_BYTES + FRAME_MAX);
  if (connection->partial == NULL) die("cannot allocate");
  memcpy(connection->partial + connection->in_answer, bytes, length);
  const uint8_t *at = connection->partial;
  size_t left = connection->in_answer + length;
  size_t head_bytes;
  size_t frame;
  for (*count = 0; (frame = frame_bytes(at, left, &head_bytes)) > 0; ++*count) {
    bool right = at[0] == FIRST &&
                 inflates_to(load->deflated, at + head_bytes, frame - head_bytes, connection->receive_at);
    if (!right) {
      loop_fail(load, connection, at[0] == FIRST ? ERROR_BODY : ERROR_START);
      return false;
    }
    at += frame;
    left -= frame;
    connection->receive_at = (connection->receive_at + 1) % UNITS;
  }
  if (left > FRAME_MAX) {
    loop_fail(load, connection, ERROR_HEAD);
    return false;
  }
  memmove(connection->partial, at, left);
  connection->in_answer = left;
  return true;
}
