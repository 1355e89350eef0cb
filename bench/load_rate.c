// SPDX-License-Identifier: Apache-2.0
// load_rate.c - the open loop: requests are due at fixed moments, whether or not those before them are
// answered.
//
// Request k is due k / rate seconds after the start, on connection k modulo connections. Its latency is
// counted from that moment, not from when it left: a server that stops for 10 ms is charged with all that was
// due in these 10 ms, even if the requests could not be sent, because the connection had too much unanswered
// or because this client was busy. That is what is called avoiding coordinated omission.
#include <stdlib.h>

#include "load.h"

struct schedule {
  uint64_t begin;
  uint64_t due;  // requests that have been due so far, over all connections
  uint64_t backlog;
  double gap;  // nanoseconds between two of them
};

static uint64_t due_at(const struct schedule *schedule, uint64_t request) {
  return schedule->begin + (uint64_t)((double)request * schedule->gap);
}

// The next request of a connection, by its number over all connections.
static uint64_t next_request(const struct load *load, const struct connection *connection) {
  uint64_t index = (uint64_t)(connection - load->connections);
  return index + connection->asked * load->options->connections;
}

void rate_start(struct load *load) {
  struct schedule *schedule = calloc(1, sizeof *schedule);
  if (schedule == NULL) die("cannot allocate");
  schedule->begin = load->now;
  schedule->gap = (double)SECOND / load->options->rate;
  load->schedule = schedule;
}

// Sends what is due on a connection, as far as it may have more unanswered.
void rate_ask(struct load *load, struct connection *connection) {
  const struct schedule *schedule = load->schedule;
  uint64_t count = 0;
  while (connection->unanswered < load->options->in_flight) {
    uint64_t request = next_request(load, connection);
    if (request >= schedule->due) break;
    loop_note(load, connection, due_at(schedule, request), 1);
    connection->asked++;
    count++;
  }
  if (count > 0) loop_send(load, connection, count);
}

void rate_turn(struct load *load) {
  struct schedule *schedule = load->schedule;
  if (load->draining) return;
  load->now = clock_now();
  while (due_at(schedule, schedule->due) <= load->now) {
    struct connection *connection = &load->connections[schedule->due++ % load->options->connections];
    if (connection->fd >= 0) rate_ask(load, connection);
  }
}

// What was due and never left has waited at least until now.
void rate_end(struct load *load) {
  struct schedule *schedule = load->schedule;
  for (uint32_t i = 0; i < load->options->connections; i++) {
    struct connection *connection = &load->connections[i];
    uint64_t request;
    while ((request = next_request(load, connection)) < schedule->due) {
      uint64_t due = due_at(schedule, request);
      if (due >= load->counted_from) histogram_add(&load->latencies, load->now - due, 1);
      schedule->backlog++;
      connection->asked++;
    }
  }
}

uint64_t rate_backlog(const struct load *load) {
  return load->schedule->backlog;
}
