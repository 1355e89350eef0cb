// SPDX-License-Identifier: Apache-2.0
// topology_quota.c - the share of the CPUs' time that control groups leave to this process; called by
// topology.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology.h"

// Names that are longer are looked at as far as this.
#define GROUP_BYTES 400

// Where the hierarchies are on any system in use, in both versions and in the mixture of them.
static const char *const unified[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
static const char *const legacy[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};

static uint32_t share(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0 || period > INT32_MAX || quota > INT32_MAX * period / 1000) return 0;
  uint32_t thousandths = (uint32_t)(quota * 1000 / period);
  return thousandths > 0 ? thousandths : 1;
}

// "max 100000", or "150000 100000".
static uint32_t of_unified(const char *mount, const char *group) {
  char text[64], *end;
  topology_read(text, sizeof(text), "%s%s/cpu.max", mount, group);
  int64_t quota = strtoll(text, &end, 10);
  return share(quota, strtoll(end, NULL, 10));
}

static uint32_t of_legacy(const char *mount, const char *group) {
  uint64_t quota = topology_number(0, "%s%s/cpu.cfs_quota_us", mount, group);
  uint64_t period = topology_number(0, "%s%s/cpu.cfs_period_us", mount, group);
  return quota > INT32_MAX || period > INT32_MAX ? 0 : share((int64_t)quota, (int64_t)period);
}

static uint32_t least(uint32_t a, uint32_t b) {
  return a == 0 || (b != 0 && b < a) ? b : a;
}

// Each group on the way up bounds those below it. In a container the name may be that of the host, of which
// only the last part of the way, the root, is to be seen.
static uint32_t on_the_way(const char *mount, const char *name, uint32_t (*of)(const char *, const char *)) {
  char group[GROUP_BYTES];
  uint32_t found = 0;
  snprintf(group, sizeof(group), "%s", name);
  for (char *end; (end = strrchr(group, '/')) != NULL; *end = '\0') {
    if (end[1] != '\0') found = least(found, of(mount, group));
  }
  return least(found, of(mount, ""));
}

// Whether "cpu" is in a list such as "cpu,cpuacct".
static bool has_cpu(const char *controllers) {
  for (const char *at = controllers;; at++) {
    if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0')) return true;
    at = strchr(at, ',');
    if (at == NULL) return false;
  }
}

// A line of /proc/self/cgroup: "0::/group", or "4:cpu,cpuacct:/group".
static uint32_t of_line(char *line) {
  char *controllers = strchr(line, ':');
  char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
  if (group == NULL) return 0;
  *group++ = '\0';
  controllers++;
  uint32_t found = 0;
  for (int i = 0; i < 2; i++) {
    if (*controllers == '\0') found = least(found, on_the_way(unified[i], group, of_unified));
    if (has_cpu(controllers)) found = least(found, on_the_way(legacy[i], group, of_legacy));
  }
  return found;
}

uint32_t topology_quota(void) {
  char text[PROC_BYTES], *rest = text;
  uint32_t found = 0;
  topology_read(text, sizeof(text), "/proc/self/cgroup");
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) found = least(found, of_line(line));
  return found;
}
