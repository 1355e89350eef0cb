// SPDX-License-Identifier: Apache-2.0
// load_idle.c - the load client's mode `idle`: opens many connections to server processes, holds them, and
// prints what they cost in memory as one line of JSON; called by load.c.
//
//   load idle ws|http|tcp HOST PATH --connections 10000 --server PORT:PID [--server ...]
//     [--hold 3] [--interval 0] [--in-flight 64]
//
// --connections go to each of the servers, of which each has a child of its own here: no process needs more
// descriptors than a server does. With an interval each connection sends a message that often while it is
// held; without one each sends one behind the hold, which shows that it was alive.
#include "load_idle.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum option_id { OPTION_CONNECTIONS = 1, OPTION_SERVER, OPTION_HOLD, OPTION_INTERVAL, OPTION_IN_FLIGHT };

static const struct option LONG_OPTIONS[] = {
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"server", required_argument, NULL, OPTION_SERVER},
    {"hold", required_argument, NULL, OPTION_HOLD},
    {"interval", required_argument, NULL, OPTION_INTERVAL},
    {"in-flight", required_argument, NULL, OPTION_IN_FLIGHT},
    {NULL, 0, NULL, 0},
};

static const char *const ERROR_NAMES[IDLE_ERRORS] = {"refused", "closed", "wrong", "late"};

struct memory {  // of all server processes, and of the machine
  uint64_t resident;
  uint64_t proportional;
  uint64_t private;
  uint64_t slab;     // what the kernel has for its own objects
  uint64_t sockets;  // what it holds for the peers of TCP connections
};

struct child_process {
  pid_t pid;
  int orders;
  struct idle_report *report;
};

static void read_server(struct idle_options *options, const char *value) {
  unsigned port;
  int pid;
  if (options->targets_count == IDLE_TARGETS_MAX) die("too many servers");
  if (sscanf(value, "%u:%d", &port, &pid) != 2 || port > 65535) die("a server is not PORT:PID");
  options->targets[options->targets_count++] = (struct idle_target){port, pid};
}

static void read_option(struct idle_options *options, int id, const char *value) {
  switch (id) {
    case OPTION_CONNECTIONS:
      options->connections = (uint32_t)strtoul(value, NULL, 10);
      break;
    case OPTION_SERVER:
      read_server(options, value);
      break;
    case OPTION_HOLD:
      options->hold = strtod(value, NULL);
      break;
    case OPTION_INTERVAL:
      options->interval = strtod(value, NULL);
      break;
    case OPTION_IN_FLIGHT:
      options->in_flight = (uint32_t)strtoul(value, NULL, 10);
      break;
    default:
      exit(2);
  }
}

static void read_options(struct idle_options *options, int count, char **values) {
  int id;
  while ((id = getopt_long(count, values, "", LONG_OPTIONS, NULL)) != -1) read_option(options, id, optarg);
  if (count - optind != 3 || options->targets_count == 0 || options->connections == 0 ||
      options->in_flight == 0)
    die("usage: load idle ws|http|tcp HOST PATH --connections N --server PORT:PID");
  const char *protocol = values[optind];
  options->protocol = strcmp(protocol, "ws") == 0    ? IDLE_WS
                      : strcmp(protocol, "tcp") == 0 ? IDLE_TCP
                                                     : IDLE_HTTP;
  options->host = values[optind + 1];
  options->path = values[optind + 2];
}

// The sum of all lines "NAME:  123 kB" of a file of /proc whose names begin so, in bytes.
static uint64_t proc_bytes(const char *path, const char *name) {
  char line[256];
  uint64_t total = 0;
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    const char *colon = strchr(line, ':');
    if (colon != NULL && strncmp(line, name, strlen(name)) == 0)
      total += strtoull(colon + 1, NULL, 10) * 1024;
  }
  fclose(file);
  return total;
}

static uint64_t socket_bytes(void) {
  char line[256];
  uint64_t pages = 0;
  FILE *file = fopen("/proc/net/sockstat", "r");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    const char *mem = strncmp(line, "TCP:", 4) == 0 ? strstr(line, " mem ") : NULL;
    if (mem != NULL) pages = strtoull(mem + 5, NULL, 10);
  }
  fclose(file);
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct memory memory_read(const struct idle_options *options) {
  struct memory memory = {.slab = proc_bytes("/proc/meminfo", "Slab:"), .sockets = socket_bytes()};
  for (uint32_t i = 0; i < options->targets_count; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)options->targets[i].pid);
    memory.resident += proc_bytes(path, "Rss:");
    memory.proportional += proc_bytes(path, "Pss:");
    memory.private += proc_bytes(path, "Private_");
  }
  return memory;
}

static double server_seconds(const struct idle_options *options) {
  double total = 0;
  for (uint32_t i = 0; i < options->targets_count; i++) {
    struct usage usage;
    usage_read(options->targets[i].pid, &usage);
    total += usage.server_cpu;
  }
  return total;
}

static void spawn(const struct idle_options *options, uint32_t target, struct child_process *child) {
  int pair[2];
  child->report =
      mmap(NULL, sizeof *child->report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (child->report == MAP_FAILED) die("cannot allocate");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) die_errno("cannot open a socket pair");
  child->pid = fork();
  if (child->pid < 0) die_errno("cannot fork");
  child->orders = pair[0];
  if (child->pid > 0) {
    close(pair[1]);
    return;
  }
  close(pair[0]);
  idle_child(options, target, pair[1], child->report);
  _exit(0);
}

static void order_all(struct child_process *children, uint32_t count, enum idle_order order) {
  char byte = (char)order;
  for (uint32_t i = 0; i < count; i++) {
    if (write(children[i].orders, &byte, 1) != 1) exit(1);
  }
  for (uint32_t i = 0; i < count; i++) {
    if (read(children[i].orders, &byte, 1) != 1) exit(1);  // it has said why
  }
}

static void print_memory(const char *name, const struct memory *memory) {
  printf(",\"%s\":{\"resident_bytes\":%llu,\"proportional_bytes\":%llu,\"private_bytes\":%llu", name,
         (unsigned long long)memory->resident, (unsigned long long)memory->proportional,
         (unsigned long long)memory->private);
  printf(",\"slab_bytes\":%llu,\"socket_bytes\":%llu}", (unsigned long long)memory->slab,
         (unsigned long long)memory->sockets);
}

static void print_reports(const struct child_process *children, uint32_t count) {
  static struct idle_report total;
  unsigned long long errors = 0;
  for (uint32_t i = 0; i < count; i++) {
    const struct idle_report *report = children[i].report;
    total.open += report->open;
    total.answers += report->answers;
    total.pings += report->pings;
    for (int kind = 0; kind < IDLE_ERRORS; kind++) total.errors[kind] += report->errors[kind];
    histogram_merge(&total.latencies, &report->latencies);
  }
  printf(",\"open\":%u,\"answers\":%llu,\"pings\":%llu", total.open, (unsigned long long)total.answers,
         (unsigned long long)total.pings);
  printf(",\"p50_us\":%.2f,\"p99_us\":%.2f", (double)histogram_share(&total.latencies, 0.5) / 1000.0,
         (double)histogram_share(&total.latencies, 0.99) / 1000.0);
  printf(",\"error_kinds\":{");
  for (int kind = 0; kind < IDLE_ERRORS; kind++) {
    if (total.errors[kind] == 0) continue;
    printf("%s\"%s\":%llu", errors == 0 ? "" : ",", ERROR_NAMES[kind],
           (unsigned long long)total.errors[kind]);
    errors += total.errors[kind];
  }
  printf("},\"errors\":%llu", errors);
}

static double seconds_since(uint64_t start) {
  return (double)(clock_now() - start) / (double)SECOND;
}

int idle_main(int count, char **values) {
  static struct child_process children[IDLE_TARGETS_MAX];
  static struct idle_options options = {.hold = 3, .in_flight = 64};
  read_options(&options, count, values);
  uint32_t targets = options.targets_count;
  for (uint32_t i = 0; i < targets; i++) spawn(&options, i, &children[i]);

  struct memory rest = memory_read(&options);
  double cpu = server_seconds(&options);
  uint64_t start = clock_now();
  order_all(children, targets, IDLE_OPEN);
  double open_seconds = seconds_since(start);
  double open_cpu = server_seconds(&options) - cpu;

  cpu = server_seconds(&options);
  order_all(children, targets, IDLE_HOLD);
  double hold_cpu = server_seconds(&options) - cpu;
  struct memory held = memory_read(&options);
  if (options.interval == 0) order_all(children, targets, IDLE_ECHO);
  struct memory asked = memory_read(&options);

  printf("{\"connections\":%u,\"servers\":%u", options.connections * targets, targets);
  printf(",\"open_seconds\":%.3f,\"open_cpu_seconds\":%.3f", open_seconds, open_cpu);
  printf(",\"hold_seconds\":%.3f,\"hold_cpu_seconds\":%.3f,\"interval_seconds\":%.3f", options.hold, hold_cpu,
         options.interval);
  print_memory("rest", &rest);
  print_memory("held", &held);
  print_memory("asked", &asked);
  print_reports(children, targets);
  printf("}\n");
  return 0;
}
