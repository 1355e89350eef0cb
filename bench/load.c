// SPDX-License-Identifier: Apache-2.0
// load.c - the load client: prepares the traffic, runs the loop of load_loop.c, prints one line of JSON.
//
//   load http|ws|tcp HOST PORT PATH [--connections 64] [--in-flight 1] [--seconds 3] [--warmup 1] [--pid
//   SERVER]
//     http: [--method GET] [--body BYTES] [--expect TEXT | --expect-payload BYTES]
//           [--expect-field 'NAME: VALUE']...
//     ws:   [--payload 64] [--text | --binary | --deflate] [--publish PATH]
//     tcp:  [--payload 64]
//     ws and tcp: [--packets json|protobuf]
//     http and ws: [--churn]
//     all:  [--rate REQUESTS-A-SECOND] [--answers AT-MOST] [--distribution] [--trace FILE] [--sleep]
//           [--probe PATH --probe-expect TEXT --probes 200 [--upstream]]
//   load idle ...: load_idle.c says what
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include "load_idle.h"

uint64_t clock_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

void die(const char *what) {
  fprintf(stderr, "load: %s\n", what);
  exit(1);
}

void die_errno(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void raise_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static void prepare(struct load *load) {
  const struct options *options = load->options;
  if (options->packets != NULL)
    packets_prepare(load);
  else if (options->plain)
    tcp_prepare(load);
  else if (!options->websocket)
    http_prepare(load);
  else if (options->deflate)
    deflated_prepare(load);
  else
    ws_prepare(load);
}

int main(int count, char **values) {
  static struct load load;
  struct usage before;
  struct usage after;
  struct options options = {.method = "GET",
                            .connections = 64,
                            .in_flight = 1,
                            .payload = 64,
                            .seconds = 3,
                            .warmup = 1,
                            .probes = 200,
                            .probe_expect = ""};
  raise_file_limit();
  if (count > 1 && strcmp(values[1], "idle") == 0) return idle_main(count - 1, values + 1);
  options_read(&options, count, values);
  load.options = &options;
  load.rest_bytes = usage_resident_bytes(options.pid);
  load.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (load.epoll < 0) die_errno("cannot open epoll");
  prepare(&load);
  loop_open(&load);
  if (options.probe != NULL) probe_open(&load);
  double seconds = loop_run(&load, &before, &after);
  result_print(&load, seconds, &before, &after);
  return 0;
}
