// SPDX-License-Identifier: Apache-2.0
// topology.h - the machine as topology.c writes it down and as its two readers fill it in.
#ifndef MR_TOPOLOGY_H
#define MR_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

// A set of CPUs, or of nodes, in the form in which the kernel takes one.
struct bits {
  uint64_t words[CPUS_MAX / 64];
};

static inline bool bits_has(const struct bits *set, uint32_t index) {
  return index < CPUS_MAX && (set->words[index / 64] >> index % 64 & 1) != 0;
}

static inline void bits_add(struct bits *set, uint32_t index) {
  if (index < CPUS_MAX) set->words[index / 64] |= (uint64_t)1 << index % 64;
}

// The lowest of a set, or none.
static inline uint32_t bits_first(const struct bits *set, uint32_t none) {
  for (uint32_t i = 0; i < CPUS_MAX / 64; i++) {
    if (set->words[i] != 0) return 64 * i + (uint32_t)__builtin_ctzll(set->words[i]);
  }
  return none;
}

// A cache of data as one CPU sees it; no bytes: there is none of this level.
struct topology_cache {
  uint64_t bytes;
  uint32_t line;
  uint32_t first;  // the lowest of the CPUs that share it, which names it
};

struct topology_cpu {
  bool present;
  bool allowed;
  uint32_t package;
  uint32_t core;  // the lowest of the core's CPUs, which names it
  uint32_t node;
  struct topology_cache caches[CACHE_LEVELS];
};

struct topology_node {
  bool present;
  bool allowed;  // memory may be taken from it
  uint64_t memory;
  uint16_t distances[NODES_MAX];
};

// CPUs that are online and nodes, at the place of their number.
struct topology {
  struct topology_cpu cpus[CPUS_MAX];
  struct topology_node nodes[NODES_MAX];
};

// An empty one, in which nodes are as far from each other as Linux says when the machine does not tell; NULL
// without memory. To be freed.
struct topology *topology_new(void);

// Fill in a new one. `mask` has the CPUs that the process was started with; false: not to be had.
bool topology_from_hwloc(struct topology *t, const struct bits *mask);
bool topology_from_sys(struct topology *t, const struct bits *mask);

// What the control groups leave of the CPUs' time, in thousandths of a CPU; 0: all.
uint32_t topology_quota(void);

// A small text file of /sys or /proc, or "" when there is none; false then.
bool topology_read(char *out, uint32_t capacity, const char *pattern, ...)
    __attribute__((format(printf, 3, 4)));

// A number of such a file, or `none`.
uint64_t topology_number(uint64_t none, const char *pattern, ...) __attribute__((format(printf, 2, 3)));

// The numbers of a list like "0-3,8" into a set.
void topology_list(const char *text, struct bits *out);

#endif
