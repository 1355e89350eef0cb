// SPDX-License-Identifier: Apache-2.0
// load_idle.h - what the two files of the load client's mode `idle` share: load_idle.c, which asks and
// prints, and load_idle_child.c, which holds the connections.
#ifndef BENCH_LOAD_IDLE_H
#define BENCH_LOAD_IDLE_H

#include "load.h"

#define IDLE_TARGETS_MAX 256
#define IDLE_MESSAGE_BYTES 64

enum idle_protocol { IDLE_WS, IDLE_HTTP, IDLE_TCP };

struct idle_target {  // one server process
  uint32_t port;
  pid_t pid;
};

struct idle_options {
  enum idle_protocol protocol;
  const char *host;
  const char *path;
  uint32_t connections;  // to each target
  uint32_t in_flight;    // connections of a child that are being opened, or asked, at a time
  double hold;           // seconds for which they are held
  double interval;       // seconds between two messages of a connection meanwhile, 0: none
  uint32_t targets_count;
  struct idle_target targets[IDLE_TARGETS_MAX];
};

// What a child is told to do, a byte each; it answers with the same byte when that is done.
enum idle_order {
  IDLE_OPEN = 'o',  // open all connections
  IDLE_HOLD = 'h',  // hold them, and let them send at the interval
  IDLE_ECHO = 'e',  // have each ask once, and wait for the answers
};

enum idle_error {
  IDLE_REFUSED,  // the opening was not answered as it should be
  IDLE_CLOSED,   // by the server
  IDLE_WRONG,    // an answer differs from what was asked for, or nothing was asked for
  IDLE_LATE,     // an answer did not come
  IDLE_ERRORS,
};

struct idle_report {  // in memory that parent and child share; the child writes
  uint32_t open;
  uint64_t answers;
  uint64_t pings;
  uint64_t errors[IDLE_ERRORS];
  struct histogram latencies;  // of messages, from the send to the read of the answer
};

// load_idle.c
int idle_main(int count, char **values);

// load_idle_child.c: does what it is told over the socket until that is closed.
void idle_child(const struct idle_options *options, uint32_t target, int orders, struct idle_report *report);

#endif
