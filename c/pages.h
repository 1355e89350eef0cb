// SPDX-License-Identifier: Apache-2.0
// pages.h - memory straight from the kernel: of which pages, from which NUMA node; called by arena.c and
// slab.c.
#ifndef MR_PAGES_H
#define MR_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct pages {
  uint8_t *base;
  size_t bytes;         // a multiple of 2 MiB
  enum mr_pages asked;  // what the kernel was asked for
  enum mr_pages kind;   // what it gave, as far as pages_settle has found out
  uint32_t node;        // that was asked for, plus 1; 0 = any
  int bind_error;       // errno of asking for it
};

// Maps bytes (rounded up to 2 MiB) of zeroed memory, from a node where that can be, and of the best pages
// that can be had; those better than `best` are not tried. What comes from the hugetlb pool is all there at
// once, other pages are when they are touched. 0 or -ENOMEM.
int pages_map(struct pages *p, size_t bytes, enum mr_pages best, uint32_t node);

// Asks for another node, and moves there what is there already.
void pages_rebind(struct pages *p, uint32_t node);

// Has all pages be there. 0 or -errno.
int pages_populate(const struct pages *p);

// Finds out whether the first bytes, which were touched, lie in huge pages where those were asked for, and
// tries to move them into such.
void pages_settle(struct pages *p, size_t bytes);

// Makes the memory read as zero, and gives its pages back where they can surely be had again.
void pages_clear(const struct pages *p);

void pages_unmap(struct pages *p);

// Adds what of it is there, and in huge pages, to *out.
void pages_count(const struct pages *p, struct mr_memory *out);

// Writes on which nodes some of its pages lie to out->nodes.
void pages_sample(const struct pages *p, struct mr_memory *out);

#define HUGE_BYTES ((size_t)2 << 20)

static inline size_t pages_round(size_t bytes) {
  return (bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
}

#endif
