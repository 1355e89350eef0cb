// SPDX-License-Identifier: Apache-2.0
// pages.h - memory straight from the kernel, on the largest pages to be had; called by arena.c.
#ifndef MR_PAGES_H
#define MR_PAGES_H

#include <stddef.h>
#include <stdint.h>

// Maps bytes (rounded up to 2 MiB) of zeroed memory and says in *page_bytes which page size it asked for with
// success: 2 MiB from the hugetlb pool, else 2 MiB transparent, else 4 KiB. NULL when memory is refused.
void *pages_map(size_t bytes, uint32_t *page_bytes);

// Maps ordinary pages, which cost nothing until they are touched.
void *pages_map_sparse(size_t bytes);

// Gives the pages back and keeps the mapping: it reads as zero from now on.
void pages_clear(void *base, size_t bytes);

void pages_unmap(void *base, size_t bytes);

size_t pages_round(size_t bytes);

#endif
