// SPDX-License-Identifier: Apache-2.0
// topology_sys.c - the machine as the files of /sys tell it, for want of hwloc; called by topology.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "topology.h"

#define CPU "/sys/devices/system/cpu/cpu%u/"
#define NODE "/sys/devices/system/node/"
#define KIB 1024

static bool read_list(struct bits *out, const char *path) {
  char text[PROC_BYTES];
  *out = (struct bits){0};
  if (!topology_read(text, sizeof(text), "%s", path)) return false;
  topology_list(text, out);
  return true;
}

static uint32_t first_of(const char *text, uint32_t none) {
  struct bits set = {0};
  topology_list(text, &set);
  return bits_first(&set, none);
}

static uint32_t first_sharing(uint32_t cpu, uint32_t index) {
  char text[PROC_BYTES];
  topology_read(text, sizeof(text), CPU "cache/index%u/shared_cpu_list", cpu, index);
  return first_of(text, cpu);
}

// Instructions are left out: nobody places a worker by them.
static void read_caches(struct topology_cpu *c, uint32_t cpu) {
  char type[32];
  for (uint32_t i = 0; topology_read(type, sizeof(type), CPU "cache/index%u/type", cpu, i); i++) {
    uint64_t level = topology_number(0, CPU "cache/index%u/level", cpu, i);
    if (level < 1 || level > CACHE_LEVELS || strncmp(type, "Instruction", 11) == 0) continue;
    c->caches[level - 1] = (struct topology_cache){
        .bytes = topology_number(0, CPU "cache/index%u/size", cpu, i) * KIB,
        .line = (uint32_t)topology_number(0, CPU "cache/index%u/coherency_line_size", cpu, i),
        .first = first_sharing(cpu, i),
    };
  }
}

static void read_cpu(struct topology_cpu *c, uint32_t cpu) {
  char siblings[PROC_BYTES];
  c->present = true;
  c->package = (uint32_t)topology_number(0, CPU "topology/physical_package_id", cpu);
  topology_read(siblings, sizeof(siblings), CPU "topology/thread_siblings_list", cpu);
  c->core = first_of(siblings, cpu);
  read_caches(c, cpu);
}

// "MemTotal: 16 kB", with the node in front of it or without.
static uint64_t memory_of(const char *meminfo) {
  const char *at = strstr(meminfo, "MemTotal:");
  return at == NULL ? 0 : strtoull(at + strlen("MemTotal:"), NULL, 10) * KIB;
}

// One number for each node that is online, in their order.
static void read_distances(struct topology_node *n, const struct bits *online, const char *text) {
  for (uint32_t to = 0; to < NODES_MAX; to++) {
    if (!bits_has(online, to)) continue;
    char *end;
    uint64_t distance = strtoull(text, &end, 10);
    if (end == text) return;
    n->distances[to] = distance < UINT16_MAX ? (uint16_t)distance : UINT16_MAX;
    text = end;
  }
}

static void read_node(struct topology *t, uint32_t node, const struct bits *online) {
  struct topology_node *n = &t->nodes[node];
  char text[PROC_BYTES];
  n->present = true;
  topology_read(text, sizeof(text), NODE "node%u/meminfo", node);
  n->memory = memory_of(text);
  topology_read(text, sizeof(text), NODE "node%u/distance", node);
  read_distances(n, online, text);
  struct bits cpus = {0};
  topology_read(text, sizeof(text), NODE "node%u/cpulist", node);
  topology_list(text, &cpus);
  for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
    if (bits_has(&cpus, cpu)) t->cpus[cpu].node = node;
  }
}

// A kernel without NUMA has no directory of nodes: all memory is one.
static void read_nodes(struct topology *t) {
  char text[PROC_BYTES];
  struct bits online, allowed = {0};
  if (!read_list(&online, NODE "online")) {
    topology_read(text, sizeof(text), "/proc/meminfo");
    t->nodes[0].present = t->nodes[0].allowed = true;
    t->nodes[0].memory = memory_of(text);
    return;
  }
  topology_read(text, sizeof(text), "/proc/self/status");
  const char *list = strstr(text, "Mems_allowed_list:");
  if (list != NULL) list += strlen("Mems_allowed_list:");
  topology_list(list == NULL ? "" : list, &allowed);
  for (uint32_t node = 0; node < NODES_MAX; node++) {
    if (!bits_has(&online, node)) continue;
    read_node(t, node, &online);
    t->nodes[node].allowed = list == NULL || bits_has(&allowed, node);
  }
}

bool topology_from_sys(struct topology *t, const struct bits *mask) {
  struct bits online;
  // Without /sys there is still what the process was given to run on.
  if (!read_list(&online, "/sys/devices/system/cpu/online")) online = *mask;
  for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++) {
    if (!bits_has(&online, cpu)) continue;
    read_cpu(&t->cpus[cpu], cpu);
    t->cpus[cpu].allowed = bits_has(mask, cpu);
  }
  read_nodes(t);
  return true;
}
