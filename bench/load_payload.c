// SPDX-License-Identifier: Apache-2.0
// load_payload.c - payloads that differ from one another: of WebSocket messages, of posted bodies, of
// downloads.
#include "load.h"

#include <stdlib.h>

#define RING_BYTES (4 * 1024 * 1024)
#define UNITS_MAX 1024

// How many different messages a ring holds: a power of two, as connections go round it.
size_t payload_units(size_t message_bytes, uint32_t in_flight) {
  size_t units = 2;
  while (units < UNITS_MAX && units * 2 * message_bytes <= RING_BYTES) units *= 2;
  while (units < 2 * (size_t)in_flight) units *= 2;
  return units;
}

// Where each of so many pieces of one length begins, and where the last one ends; allocated.
size_t *payload_places(size_t count, size_t bytes) {
  size_t *places = malloc((count + 1) * sizeof *places);
  if (places == NULL) die("cannot allocate");
  for (size_t i = 0; i <= count; i++) places[i] = i * bytes;
  return places;
}

uint32_t payload_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

// A payload tells its number in its last digits and fills up with letters (text) or with any bytes (binary).
// bench/servers/routes.ts makes payload 0 too, for downloads.
void payload_fill(uint8_t *out, size_t length, size_t unit, bool text) {
  uint32_t random = (uint32_t)unit * 2654435761u + 1;
  for (size_t i = 0; i < length; i++) {
    uint32_t value = payload_random(&random);
    out[i] = (uint8_t)(text ? 'a' + value % 26 : value >> 7);
  }
  for (size_t i = 0; i < 4 && i < length; i++) {
    out[length - 1 - i] = (uint8_t)('0' + unit % 10);
    unit /= 10;
  }
}
