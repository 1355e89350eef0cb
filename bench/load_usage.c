// SPDX-License-Identifier: Apache-2.0
// load_usage.c - what the server and the machine used: read by the client, at the very edges of its window.
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

static double clock_seconds(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) != 0) return 0;
  return (double)time.tv_sec + (double)time.tv_nsec / (double)SECOND;
}

// The clock of a process counts user and system time of all its threads, those that ended included, in
// nanoseconds; /proc/PID/stat has the same sum in ticks of 10 ms and alone knows how it divides.
static double process_seconds(pid_t pid) {
  clockid_t clock;
  return clock_getcpuclockid(pid, &clock) == 0 ? clock_seconds(clock) : 0;
}

static void read_division(pid_t pid, struct usage *usage) {
  char path[64];
  char line[1024];
  unsigned long user = 0;
  unsigned long system = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) return;
  if (fgets(line, sizeof line, file) != NULL) {
    const char *after_name = strrchr(line, ')');
    if (after_name != NULL)
      sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  }
  fclose(file);
  usage->server_user = (double)user / (double)sysconf(_SC_CLK_TCK);
  usage->server_system = (double)system / (double)sysconf(_SC_CLK_TCK);
}

// What all cores together did, and what the hypervisor gave to others: a run with much of it is worth less.
static void read_machine(struct usage *usage) {
  unsigned long user = 0, nice = 0, system = 0, irq = 0, softirq = 0, stolen = 0;
  double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
  FILE *file = fopen("/proc/stat", "r");
  if (file == NULL) return;
  if (fscanf(file, "cpu %lu %lu %lu %*u %*u %lu %lu %lu", &user, &nice, &system, &irq, &softirq, &stolen) ==
      6) {
    usage->machine_busy = (double)(user + nice + system + irq + softirq) * tick;
    usage->stolen = (double)stolen * tick;
  }
  fclose(file);
}

void usage_read(pid_t pid, struct usage *usage) {
  memset(usage, 0, sizeof *usage);
  usage->client_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
  read_machine(usage);
  if (pid == 0) return;
  usage->server_cpu = process_seconds(pid);
  read_division(pid, usage);
}

uint64_t usage_resident_bytes(pid_t pid) {
  char path[64];
  char line[256];
  unsigned long kilobytes = 0;
  if (pid == 0) return 0;
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "VmRSS: %lu kB", &kilobytes) == 1) break;
  }
  fclose(file);
  return (uint64_t)kilobytes * 1024;
}
