// SPDX-License-Identifier: Apache-2.0
// topology_tree.h - directories that look like /sys and /proc of machines that are not here.
#ifndef MR_TESTS_TOPOLOGY_TREE_H
#define MR_TESTS_TOPOLOGY_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "topology.h"

// A machine of equal packages. CPUs are numbered as on x86: first one of each core, then their siblings.
struct machine {
  uint32_t packages, nodes_per_package, cores_per_node, threads;
  struct bits offline;   // CPUs
  uint32_t memoryless;   // nodes from this one on have no memory
  uint32_t memory_only;  // nodes without CPUs, behind the others
  bool no_nodes;         // a kernel without NUMA
};

// Makes the tree and points sys_root to it.
void tree_make(const struct machine *m);

// Puts one more file into it, or other contents into one.
void tree_file(const char *path, const char *contents);

// Removes it; sys_root is the machine's own again.
void tree_remove(void);

#endif
