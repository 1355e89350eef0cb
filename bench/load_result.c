// SPDX-License-Identifier: Apache-2.0
// load_result.c - what a run found, as one line of JSON.
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

static const char *const ERROR_NAMES[ERROR_KINDS] = {"read",  "write", "closed", "surplus", "lost",
                                                     "start", "head",  "body",   "connect"};

// Percentiles of a distribution: dense where the tail is.
static const double PERCENTILES[] = {
    0,  5,  10, 15, 20, 25, 30,   35, 40,   45,   50,   55,   60,   65,    70,    75,    80,    85,   90,
    92, 94, 95, 96, 97, 98, 98.5, 99, 99.3, 99.5, 99.7, 99.8, 99.9, 99.93, 99.95, 99.97, 99.98, 99.99};

static double microseconds(uint64_t nanoseconds) {
  return (double)nanoseconds / 1000.0;
}

static void print_latencies(const struct histogram *histogram) {
  printf("\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f",
         microseconds(histogram_share(histogram, 0.5)), microseconds(histogram_share(histogram, 0.99)),
         microseconds(histogram_share(histogram, 0.999)), microseconds(histogram->highest));
}

// Pairs of a percentile and what it is, in microseconds.
static void print_distribution(const struct histogram *histogram) {
  printf(",\"distribution_us\":[");
  for (size_t i = 0; i < sizeof PERCENTILES / sizeof PERCENTILES[0]; i++)
    printf("[%g,%.2f],", PERCENTILES[i], microseconds(histogram_share(histogram, PERCENTILES[i] / 100)));
  printf("[100,%.2f]]", microseconds(histogram->highest));
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

static void print_usage(const struct load *load, const struct usage *before, const struct usage *after) {
  printf(",\"server_cpu_seconds\":%.6f,\"server_user_seconds\":%.2f,\"server_system_seconds\":%.2f",
         after->server_cpu - before->server_cpu, after->server_user - before->server_user,
         after->server_system - before->server_system);
  double pair = after->server_cpu - before->server_cpu + after->client_cpu - before->client_cpu;
  double other = after->machine_busy - before->machine_busy - pair;
  printf(",\"other_cpu_seconds\":%.2f", load->options->pid == 0 || other < 0 ? 0 : other);
  printf(",\"server_rest_bytes\":%llu,\"server_resident_bytes\":%llu,\"stolen_seconds\":%.2f",
         (unsigned long long)load->rest_bytes, (unsigned long long)usage_resident_bytes(load->options->pid),
         after->stolen - before->stolen);
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a;
  uint64_t y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

// How many answers each connection had, and Jain's index of them: 1 when all had the same, 1 / n when one had
// all.
static void print_evenness(const struct load *load) {
  uint32_t count = load->options->connections;
  double sum = 0;
  double squares = 0;
  if (load->connections == NULL || load->broadcast != NULL || count == 1) return;
  uint64_t *answers = malloc(count * sizeof *answers);
  if (answers == NULL) die("cannot allocate");
  for (uint32_t i = 0; i < count; i++) {
    double own = (double)(answers[i] = load->connections[i].answered);
    sum += own;
    squares += own * own;
  }
  qsort(answers, count, sizeof *answers, compare);
  printf(",\"evenness\":{\"least\":%llu,\"median\":%llu,\"most\":%llu,\"jain\":%.4f}",
         (unsigned long long)answers[0], (unsigned long long)answers[count / 2],
         (unsigned long long)answers[count - 1], squares > 0 ? sum * sum / count / squares : 0);
  free(answers);
}

static void print_probe(const struct probe *probe) {
  printf(",\"probe\":{\"count\":%llu,", (unsigned long long)probe->latencies.count);
  print_latencies(&probe->latencies);
  printf(",\"unanswered\":%u,\"failed\":%u}", probe->unanswered, probe->failed);
}

// Strace speaks in lines; what is in the way of a JSON string is replaced.
static void print_trace(struct trace *trace) {
  printf(",\"traced\":%s", trace->attached ? "true" : "false");
  if (trace->attached) return;
  for (char *at = trace->said; *at != '\0'; at++)
    if (*at < ' ' || *at == '"' || *at == '\\') *at = ' ';
  printf(",\"untraced_because\":\"%s\"", trace->length > 0 ? trace->said : "strace said nothing");
}

void result_print(struct load *load, double seconds, const struct usage *before, const struct usage *after) {
  const struct options *options = load->options;
  printf("{\"count\":%llu,", (unsigned long long)load->answers);
  print_latencies(&load->latencies);
  printf(",\"seconds\":%.6f,\"rate\":%.1f", seconds, (double)load->answers / seconds);
  print_errors(load);
  printf(",\"client_cpu_seconds\":%.6f,\"client_busy\":%.4f", after->client_cpu - before->client_cpu,
         1.0 - (double)load->idle / (double)SECOND / seconds);
  print_usage(load, before, after);
  printf(",\"connections\":%u,\"in_flight\":%u", options->connections, options->in_flight);
  if (load->schedule != NULL)
    printf(",\"asked_rate\":%u,\"backlog\":%llu", options->rate, (unsigned long long)rate_backlog(load));
  print_evenness(load);
  if (options->distribution) print_distribution(&load->latencies);
  if (load->probe != NULL) print_probe(load->probe);
  if (load->trace != NULL) print_trace(load->trace);
  printf("}\n");
}
