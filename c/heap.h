// SPDX-License-Identifier: Apache-2.0
// heap.h - what the process's allocator keeps of the memory that is freed; called by reactor.c.
#ifndef MR_HEAP_H
#define MR_HEAP_H

// Has the allocator keep as much as the bodies and messages of a few turns need, unless the environment says
// otherwise.
void heap_keep(void);

#endif
