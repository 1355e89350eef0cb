// SPDX-License-Identifier: Apache-2.0
// affinity.h - which CPUs the process was started with; called by topology.c.
#ifndef MR_AFFINITY_H
#define MR_AFFINITY_H

#include "topology.h"

// Those of the thread that asked first, which is before any thread was pinned; all when the kernel does not
// say.
const struct bits *affinity_at_start(void);

#endif
