// SPDX-License-Identifier: Apache-2.0
// topology.c - how many packages, nodes, cores and threads the machine has; hwloc when installed, else /sys.
#include <dlfcn.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "millrace.h"
#include "sys.h"

// Opened at run time, so that neither building nor running needs hwloc. Numbers are those of its stable
// ABI 15.
#define HWLOC_PACKAGE 1
#define HWLOC_CORE 2
#define HWLOC_PU 3
#define HWLOC_NUMA_NODE 13

struct topology {
  int packages;
  int nodes;
  int cores;
  int threads;
};

struct hwloc {
  int (*init)(void **topology);
  int (*load)(void *topology);
  void (*destroy)(void *topology);
  int (*type_depth)(void *topology, int type);
  unsigned (*count_at)(void *topology, int depth);
};

static bool hwloc_bind(void *library, struct hwloc *h) {
  *(void **)&h->init = dlsym(library, "hwloc_topology_init");
  *(void **)&h->load = dlsym(library, "hwloc_topology_load");
  *(void **)&h->destroy = dlsym(library, "hwloc_topology_destroy");
  *(void **)&h->type_depth = dlsym(library, "hwloc_get_type_depth");
  *(void **)&h->count_at = dlsym(library, "hwloc_get_nbobjs_by_depth");
  return h->init != NULL && h->load != NULL && h->destroy != NULL && h->type_depth != NULL &&
         h->count_at != NULL;
}

static int hwloc_count(const struct hwloc *h, void *topology, int type) {
  return (int)h->count_at(topology, h->type_depth(topology, type));
}

static bool from_hwloc(struct topology *out) {
  void *library = dlopen("libhwloc.so.15", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return false;
  struct hwloc h;
  void *topology = NULL;
  bool loaded = hwloc_bind(library, &h) && h.init(&topology) == 0;
  if (loaded && h.load(topology) == 0) {
    out->packages = hwloc_count(&h, topology, HWLOC_PACKAGE);
    out->nodes = hwloc_count(&h, topology, HWLOC_NUMA_NODE);
    out->cores = hwloc_count(&h, topology, HWLOC_CORE);
    out->threads = hwloc_count(&h, topology, HWLOC_PU);
  }
  if (topology != NULL) h.destroy(topology);
  dlclose(library);
  return out->threads > 0;
}

// The first number of a file of /sys, or -1.
static int sys_number(const char *pattern, int index) {
  char path[128];
  snprintf(path, sizeof(path), pattern, index);
  FILE *file = fopen(path, "re");
  if (file == NULL) return -1;
  int number = -1;
  if (fscanf(file, "%d", &number) != 1) number = -1;
  fclose(file);
  return number;
}

static void from_sys(struct topology *out) {
  int configured = (int)sysconf(_SC_NPROCESSORS_CONF);
  uint64_t packages = 0;
  for (int cpu = 0; cpu < configured; cpu++) {
    int package = sys_number("/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    if (package < 0) continue;  // offline
    out->threads++;
    if (package < 64) packages |= (uint64_t)1 << package;
    // A core is counted at the first of its threads.
    int first = sys_number("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (first == cpu) out->cores++;
  }
  out->packages = __builtin_popcountll(packages);
  for (int node = 0; node < 1024; node++) {
    char path[64];
    snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
    if (access(path, F_OK) == 0) out->nodes++;
  }
  if (out->nodes == 0) out->nodes = 1;
}

static int allowed_threads(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : -1;
}

int32_t mr_topology(char *out, uint32_t capacity) {
  struct topology t = {0};
  bool hwloc = from_hwloc(&t);
  if (!hwloc) {
    t = (struct topology){0};
    from_sys(&t);
  }
  int length =
      snprintf(out, capacity,
               "{\"source\":\"%s\",\"packages\":%d,\"nodes\":%d,\"cores\":%d,\"threads\":%d,\"allowed\":%d}",
               hwloc ? "hwloc" : "/sys", t.packages, t.nodes, t.cores, t.threads, allowed_threads());
  return length < 0 || (uint32_t)length >= capacity ? -ENOSPC : 0;
}
