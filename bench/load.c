// SPDX-License-Identifier: Apache-2.0
// load.c - the load client: reads the options, runs the loop of load_loop.c, prints one line of JSON.
//
//   load http|ws|tcp HOST PORT PATH [--connections 64] [--in-flight 1] [--seconds 3] [--warmup 1] [--pid
//   SERVER]
//     http: [--method GET] [--body BYTES] [--expect TEXT | --expect-payload BYTES]
//           [--expect-field 'NAME: VALUE']...
//     ws:   [--payload 64] [--text | --binary | --deflate] [--publish PATH]
//     tcp:  [--payload 64]
//     ws and tcp: [--packets json|protobuf]
//     all:  [--probe PATH --probe-expect TEXT --probes 200 [--upstream]] [--sleep]
//   load idle ...: load_idle.c says what
#include "load_idle.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

enum option_id {
  OPTION_CONNECTIONS = 1,
  OPTION_IN_FLIGHT,
  OPTION_SECONDS,
  OPTION_WARMUP,
  OPTION_PAYLOAD,
  OPTION_METHOD,
  OPTION_BODY,
  OPTION_EXPECT,
  OPTION_EXPECT_PAYLOAD,
  OPTION_EXPECT_FIELD,
  OPTION_TEXT,
  OPTION_BINARY,
  OPTION_DEFLATE,
  OPTION_PUBLISH,
  OPTION_PACKETS,
  OPTION_SLEEP,
  OPTION_PID,
  OPTION_PROBE,
  OPTION_PROBE_EXPECT,
  OPTION_PROBES,
  OPTION_UPSTREAM,
};

static const struct option LONG_OPTIONS[] = {
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"in-flight", required_argument, NULL, OPTION_IN_FLIGHT},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"payload", required_argument, NULL, OPTION_PAYLOAD},
    {"method", required_argument, NULL, OPTION_METHOD},
    {"body", required_argument, NULL, OPTION_BODY},
    {"expect", required_argument, NULL, OPTION_EXPECT},
    {"expect-payload", required_argument, NULL, OPTION_EXPECT_PAYLOAD},
    {"expect-field", required_argument, NULL, OPTION_EXPECT_FIELD},
    {"text", no_argument, NULL, OPTION_TEXT},
    {"binary", no_argument, NULL, OPTION_BINARY},
    {"deflate", no_argument, NULL, OPTION_DEFLATE},
    {"publish", required_argument, NULL, OPTION_PUBLISH},
    {"packets", required_argument, NULL, OPTION_PACKETS},
    {"sleep", no_argument, NULL, OPTION_SLEEP},
    {"pid", required_argument, NULL, OPTION_PID},
    {"probe", required_argument, NULL, OPTION_PROBE},
    {"probe-expect", required_argument, NULL, OPTION_PROBE_EXPECT},
    {"probes", required_argument, NULL, OPTION_PROBES},
    {"upstream", no_argument, NULL, OPTION_UPSTREAM},
    {NULL, 0, NULL, 0},
};

static const char *const ERROR_NAMES[ERROR_KINDS] = {"read", "write", "closed", "surplus",
                                                     "lost", "start", "head",   "body"};

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

static uint32_t whole_number(const char *text, uint32_t low, uint32_t high) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (*end != '\0' || value < low || value > high) die("an option is out of its range");
  return (uint32_t)value;
}

static void read_option(struct options *options, int id, const char *value) {
  switch (id) {
    case OPTION_CONNECTIONS:
      options->connections = whole_number(value, 1, 1000000);
      break;
    case OPTION_IN_FLIGHT:
      options->in_flight = whole_number(value, 1, 65536);
      break;
    case OPTION_SECONDS:
      options->seconds = strtod(value, NULL);
      break;
    case OPTION_WARMUP:
      options->warmup = strtod(value, NULL);
      break;
    case OPTION_PAYLOAD:
      options->payload = whole_number(value, 1, 64u << 20);
      break;
    case OPTION_METHOD:
      options->method = value;
      break;
    case OPTION_BODY:
      options->body = whole_number(value, 0, 64u << 20);
      break;
    case OPTION_EXPECT:
      options->expect = value;
      break;
    case OPTION_EXPECT_PAYLOAD:
      options->expect_payload = whole_number(value, 1, 64u << 20);
      break;
    case OPTION_EXPECT_FIELD:
      if (options->expect_fields_count == EXPECTED_FIELDS_MAX) die("too many expected fields");
      options->expect_fields[options->expect_fields_count++] = value;
      break;
    case OPTION_TEXT:
      options->text = true;
      break;
    case OPTION_BINARY:
      options->text = false;
      break;
    case OPTION_DEFLATE:
      options->deflate = true;
      break;
    case OPTION_PUBLISH:
      options->publish = value;
      break;
    case OPTION_PACKETS:
      options->packets = value;
      break;
    case OPTION_SLEEP:
      options->sleep = true;
      break;
    case OPTION_PID:
      options->pid = (pid_t)whole_number(value, 1, 0x7fffffff);
      break;
    case OPTION_PROBE:
      options->probe = value;
      break;
    case OPTION_PROBE_EXPECT:
      options->probe_expect = value;
      break;
    case OPTION_PROBES:
      options->probes = whole_number(value, 1, 1000000);
      break;
    case OPTION_UPSTREAM:
      options->upstream = true;
      break;
    default:
      exit(2);
  }
}

static void read_options(struct options *options, int count, char **values) {
  int id;
  while ((id = getopt_long(count, values, "", LONG_OPTIONS, NULL)) != -1) read_option(options, id, optarg);
  if (count - optind != 4) die("usage: load http|ws|tcp HOST PORT PATH [options]");
  options->websocket = strcmp(values[optind], "ws") == 0;
  options->plain = strcmp(values[optind], "tcp") == 0;
  if (!options->websocket && !options->plain && strcmp(values[optind], "http") != 0)
    die("the protocol is not http, ws or tcp");
  options->host = values[optind + 1];
  options->port = whole_number(values[optind + 2], 1, 65535);
  options->path = values[optind + 3];
  const char *packets = options->packets;
  if (packets == NULL) return;
  if (!options->websocket && !options->plain) die("packets go over ws and tcp");
  if (strcmp(packets, "json") != 0 && strcmp(packets, "protobuf") != 0)
    die("packets are neither json nor protobuf");
}

static void raise_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static double microseconds(uint64_t nanoseconds) {
  return (double)nanoseconds / 1000.0;
}

static void print_latencies(const struct histogram *histogram) {
  printf("\"count\":%llu,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f",
         (unsigned long long)histogram->count, microseconds(histogram_share(histogram, 0.5)),
         microseconds(histogram_share(histogram, 0.99)), microseconds(histogram_share(histogram, 0.999)),
         microseconds(histogram->highest));
}

static void print_errors(const struct load *load) {
  unsigned long long total = 0;
  for (int i = 0; i < ERROR_KINDS; i++) total += load->errors[i];
  printf(",\"errors\":%llu,\"error_kinds\":{", total);
  const char *comma = "";
  for (int i = 0; i < ERROR_KINDS; i++) {
    if (load->errors[i] == 0) continue;
    printf("%s\"%s\":%llu", comma, ERROR_NAMES[i], (unsigned long long)load->errors[i]);
    comma = ",";
  }
  printf("}");
}

static void print_result(const struct load *load, double seconds, const struct usage *before,
                         const struct usage *after) {
  printf("{");
  print_latencies(&load->latencies);
  printf(",\"seconds\":%.6f,\"rate\":%.1f", seconds, (double)load->answers / seconds);
  print_errors(load);
  printf(",\"client_cpu_seconds\":%.6f,\"client_busy\":%.4f", after->client_cpu - before->client_cpu,
         1.0 - (double)load->idle / (double)SECOND / seconds);
  printf(",\"server_cpu_seconds\":%.6f,\"server_user_seconds\":%.2f,\"server_system_seconds\":%.2f",
         after->server_cpu - before->server_cpu, after->server_user - before->server_user,
         after->server_system - before->server_system);
  double pair = after->server_cpu - before->server_cpu + after->client_cpu - before->client_cpu;
  double other = after->machine_busy - before->machine_busy - pair;
  printf(",\"other_cpu_seconds\":%.2f", load->options->pid == 0 || other < 0 ? 0 : other);
  printf(",\"server_resident_bytes\":%llu,\"stolen_seconds\":%.2f",
         (unsigned long long)usage_resident_bytes(load->options->pid), after->stolen - before->stolen);
  printf(",\"connections\":%u,\"in_flight\":%u", load->options->connections, load->options->in_flight);
  if (load->probe != NULL) {
    printf(",\"probe\":{");
    print_latencies(&load->probe->latencies);
    printf(",\"unanswered\":%u,\"failed\":%u}", load->probe->left, load->probe->failed);
  }
  printf("}\n");
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
  read_options(&options, count, values);
  load.options = &options;
  load.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (load.epoll < 0) die_errno("cannot open epoll");
  if (options.packets != NULL)
    packets_prepare(&load);
  else if (options.plain)
    tcp_prepare(&load);
  else if (!options.websocket)
    http_prepare(&load);
  else if (options.deflate)
    deflated_prepare(&load);
  else
    ws_prepare(&load);
  loop_open(&load);
  if (options.probe != NULL) probe_open(&load);
  double seconds = loop_run(&load, &before, &after);
  print_result(&load, seconds, &before, &after);
  return 0;
}
