// SPDX-License-Identifier: Apache-2.0
// pages.h - memory straight from the kernel, on the largest pages to be had; called by arena.c.
#ifndef MR_PAGES_H
#define MR_PAGES_H

#include <stddef.h>
#include <stdint.h>

enum pages { PAGES_HUGETLB, PAGES_TRANSPARENT, PAGES_SMALL };

// Maps bytes (rounded up to 2 MiB) of zeroed memory and says in *kind what it is made of: 2 MiB from the
// hugetlb pool, else 2 MiB transparent, else 4 KiB. NULL when memory is refused.
void *pages_map(size_t bytes, enum pages *kind);

// Maps ordinary pages, which cost nothing until they are touched.
void *pages_map_sparse(size_t bytes);

// Makes the memory read as zero, and gives its pages back where they can surely be had again.
void pages_clear(void *base, size_t bytes, enum pages kind);

void pages_unmap(void *base, size_t bytes);

size_t pages_round(size_t bytes);

#endif
