// SPDX-License-Identifier: Apache-2.0
// pages_look.c - how many pages of a mapping are there, of which size, and on which nodes; called by arena.c
// and pages.c.
#include "pages.h"
#include "sys.h"

#define REGIONS 128

// Adds up the regions of one answer.
static void add(struct mr_memory *out, const struct page_region *regions, int count) {
  for (int i = 0; i < count; i++) {
    uint64_t bytes = regions[i].end - regions[i].start;
    out->resident_bytes += bytes;
    if ((regions[i].categories & PAGE_IS_HUGE) != 0) out->huge_bytes += bytes;
  }
}

static bool scan(int pagemap, const struct pages *p, struct mr_memory *out) {
  struct page_region regions[REGIONS];
  struct pm_scan_arg scan = {.size = sizeof(scan),
                             .start = (uint64_t)(uintptr_t)p->base,
                             .end = (uint64_t)(uintptr_t)p->base + p->bytes,
                             .vec = (uint64_t)(uintptr_t)regions,
                             .vec_len = REGIONS,
                             .category_mask = PAGE_IS_PRESENT,
                             .return_mask = PAGE_IS_PRESENT | PAGE_IS_HUGE};
  for (; scan.start < scan.end; scan.start = scan.walk_end) {
    int count = sys_pagemap_scan(pagemap, &scan);
    if (count < 0) return false;
    add(out, regions, count);
  }
  return true;
}

void pages_count(const struct pages *p, struct mr_memory *out) {
  int pagemap = sys_openat(AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  out->counted = pagemap >= 0 && scan(pagemap, p, out);
  if (pagemap >= 0) close(pagemap);
}

// The first page of every 2 MiB, or of every few of them: of huge pages that is all there are, and of small
// ones the very first, at least, is there.
void pages_sample(const struct pages *p, struct mr_memory *out) {
  void *pages[MR_MEMORY_SAMPLE];
  int nodes[MR_MEMORY_SAMPLE];
  size_t step = pages_round(p->bytes / MR_MEMORY_SAMPLE);
  size_t count = 0;
  for (size_t at = 0; at < p->bytes && count < MR_MEMORY_SAMPLE; at += step) pages[count++] = p->base + at;
  bool known = sys_page_nodes(count, pages, nodes) == 0;
  for (size_t i = 0; i < MR_MEMORY_SAMPLE; i++) {
    bool there = known && i < count && nodes[i] >= 0;
    out->nodes[i] = there ? (uint16_t)nodes[i] : MR_NO_NODE;
  }
}
