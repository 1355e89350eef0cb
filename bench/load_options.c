// SPDX-License-Identifier: Apache-2.0
// load_options.c - reads the options of the load client; one row of the table each.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define BYTES_MAX (64u << 20)
#define RATE_MAX 100000000
#define SECONDS_MAX 86400

enum kind { NUMBER, SECONDS, TEXT, SWITCH, FIELD };

struct row {
  const char *name;
  enum kind kind;
  size_t place;  // in struct options
  uint32_t low;
  uint32_t high;
};

#define PLACE(member) offsetof(struct options, member)

static const struct row ROWS[] = {
    {"connections", NUMBER, PLACE(connections), 1, 1000000},
    {"in-flight", NUMBER, PLACE(in_flight), 1, 65536},
    {"rate", NUMBER, PLACE(rate), 1, RATE_MAX},
    {"answers", NUMBER, PLACE(answers), 1, UINT32_MAX},
    {"seconds", SECONDS, PLACE(seconds), 0, 0},
    {"warmup", SECONDS, PLACE(warmup), 0, 0},
    {"pid", NUMBER, PLACE(pid), 1, 0x7fffffff},
    {"payload", NUMBER, PLACE(payload), 1, BYTES_MAX},
    {"text", SWITCH, PLACE(text), 1, 1},
    {"binary", SWITCH, PLACE(text), 0, 0},
    {"deflate", SWITCH, PLACE(deflate), 1, 1},
    {"publish", TEXT, PLACE(publish), 0, 0},
    {"packets", TEXT, PLACE(packets), 0, 0},
    {"method", TEXT, PLACE(method), 0, 0},
    {"body", NUMBER, PLACE(body), 0, BYTES_MAX},
    {"expect", TEXT, PLACE(expect), 0, 0},
    {"expect-payload", NUMBER, PLACE(expect_payload), 1, BYTES_MAX},
    {"expect-field", FIELD, 0, 0, 0},
    {"churn", SWITCH, PLACE(churn), 1, 1},
    {"distribution", SWITCH, PLACE(distribution), 1, 1},
    {"trace", TEXT, PLACE(trace), 0, 0},
    {"sleep", SWITCH, PLACE(sleep), 1, 1},
    {"probe", TEXT, PLACE(probe), 0, 0},
    {"probe-expect", TEXT, PLACE(probe_expect), 0, 0},
    {"probes", NUMBER, PLACE(probes), 1, 1000000},
    {"upstream", SWITCH, PLACE(upstream), 1, 1},
};
#define ROWS_COUNT (sizeof ROWS / sizeof ROWS[0])

static _Noreturn void refuse(const char *name, const char *value, const char *wanted) {
  fprintf(stderr, "load: --%s %s: not %s\n", name, value, wanted);
  exit(2);
}

static uint32_t whole_number(const char *name, const char *text, uint32_t low, uint32_t high) {
  char *end;
  char wanted[64];
  unsigned long value = strtoul(text, &end, 10);
  snprintf(wanted, sizeof wanted, "a whole number from %u to %u", low, high);
  if (end == text || *end != '\0' || value < low || value > high) refuse(name, text, wanted);
  return (uint32_t)value;
}

static double seconds(const char *name, const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0 && value <= SECONDS_MAX))
    refuse(name, text, "a number of seconds");
  return value;
}

static void add_field(struct options *options, const char *field) {
  if (options->expect_fields_count == EXPECTED_FIELDS_MAX) die("too many expected fields");
  options->expect_fields[options->expect_fields_count++] = field;
}

static void set(struct options *options, const struct row *row, const char *value) {
  char *at = (char *)options + row->place;
  switch (row->kind) {
    case NUMBER: {
      uint32_t number = whole_number(row->name, value, row->low, row->high);
      memcpy(at, &number, sizeof number);
      break;
    }
    case SECONDS:
      *(double *)at = seconds(row->name, value);
      break;
    case TEXT:
      *(const char **)at = value;
      break;
    case SWITCH:
      *(bool *)at = row->low != 0;
      break;
    case FIELD:
      add_field(options, value);
      break;
  }
}

// Options that exclude one another.
static void check(const struct options *options) {
  const char *packets = options->packets;
  bool plain_http = !options->websocket && !options->plain;
  if (packets != NULL && plain_http) die("packets go over ws and tcp");
  if (packets != NULL && strcmp(packets, "json") != 0 && strcmp(packets, "protobuf") != 0)
    die("packets are neither json nor protobuf");
  if (options->rate > 0 && (options->publish != NULL || options->churn))
    die("a rate goes with neither --publish nor --churn");
  if (options->churn && (options->plain || options->deflate || options->publish != NULL || options->body > 0))
    die("--churn is for GET over http, and for ws without --deflate and --publish");
  if (options->trace != NULL && options->pid == 0) die("--trace needs --pid");
}

void options_read(struct options *options, int count, char **values) {
  struct option longs[ROWS_COUNT + 1] = {{0}};
  int id;
  for (size_t i = 0; i < ROWS_COUNT; i++) {
    int argument = ROWS[i].kind == SWITCH ? no_argument : required_argument;
    longs[i] = (struct option){ROWS[i].name, argument, NULL, (int)i + 1};
  }
  while ((id = getopt_long(count, values, "", longs, NULL)) != -1) {
    if (id == '?') exit(2);
    set(options, &ROWS[id - 1], optarg);
  }
  if (count - optind != 4) die("usage: load http|ws|tcp HOST PORT PATH [options]");
  options->websocket = strcmp(values[optind], "ws") == 0;
  options->plain = strcmp(values[optind], "tcp") == 0;
  if (!options->websocket && !options->plain && strcmp(values[optind], "http") != 0)
    die("the protocol is not http, ws or tcp");
  options->host = values[optind + 1];
  options->port = whole_number("PORT", values[optind + 2], 1, 65535);
  options->path = values[optind + 3];
  check(options);
}
