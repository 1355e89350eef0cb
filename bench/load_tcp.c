// SPDX-License-Identifier: Apache-2.0
// load_tcp.c - the traffic without a protocol: what is sent has to come back.
#include <stdlib.h>
#include <string.h>

#include "load.h"

void tcp_prepare(struct load *load) {
  const struct options *options = load->options;
  struct traffic *traffic = &load->traffic;
  const size_t bytes = options->payload;
  traffic->answer_bytes = bytes;
  traffic->units = payload_units(bytes, options->in_flight);
  const size_t total = traffic->units + options->in_flight;
  traffic->request_at = payload_places(total, bytes);
  traffic->requests = malloc(total * bytes);
  if (traffic->requests == NULL) die("cannot allocate");
  for (size_t i = 0; i < total; i++) {
    payload_fill(traffic->requests + i * bytes, bytes, i % traffic->units, false);
  }
  traffic->answers = traffic->requests;
}
