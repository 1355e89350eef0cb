// SPDX-License-Identifier: Apache-2.0
// pages.c - hugetlb, then transparent hugepages, then 4 KiB pages; called by arena.c.
#include "pages.h"

#include <string.h>

#include "sys.h"

#define HUGE_BYTES ((size_t)2 << 20)

size_t pages_round(size_t bytes) {
  return (bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
}

// The pool may be promised and still be short under a cgroup or on another node; touching it would then be
// SIGBUS. MADV_POPULATE_WRITE finds out with an errno instead.
static void *map_hugetlb(size_t bytes) {
  void *base = sys_mmap(bytes, MAP_HUGETLB);
  if (base == MAP_FAILED) return NULL;
  if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0) return base;
  munmap(base, bytes);
  return NULL;
}

// Maps more than asked and cuts both ends off, since the kernel aligns to 4 KiB only.
static void *map_aligned(size_t bytes) {
  uint8_t *base = sys_mmap(bytes + HUGE_BYTES, MAP_NORESERVE);
  if (base == MAP_FAILED) return NULL;
  size_t skip = pages_round((size_t)(uintptr_t)base) - (size_t)(uintptr_t)base;
  if (skip > 0) munmap(base, skip);
  if (HUGE_BYTES > skip) munmap(base + skip + bytes, HUGE_BYTES - skip);
  return base + skip;
}

void *pages_map(size_t bytes, enum pages *kind) {
  bytes = pages_round(bytes);
  *kind = PAGES_HUGETLB;
  void *base = map_hugetlb(bytes);
  if (base != NULL) {
    madvise(base, bytes, MADV_DONTFORK);
    return base;
  }
  base = map_aligned(bytes);
  if (base == NULL) return NULL;
  *kind = madvise(base, bytes, MADV_HUGEPAGE) == 0 ? PAGES_TRANSPARENT : PAGES_SMALL;
  madvise(base, bytes, MADV_DONTFORK);
  return base;
}

void *pages_map_sparse(size_t bytes) {
  void *base = sys_mmap(pages_round(bytes), MAP_NORESERVE);
  if (base == MAP_FAILED) return NULL;
  madvise(base, pages_round(bytes), MADV_DONTFORK);
  return base;
}

// A page given back to the hugetlb pool may be gone when it is wanted again, and that would be SIGBUS.
void pages_clear(void *base, size_t bytes, enum pages kind) {
  if (kind == PAGES_HUGETLB) {
    memset(base, 0, bytes);
  } else {
    madvise(base, pages_round(bytes), MADV_DONTNEED);
  }
}

void pages_unmap(void *base, size_t bytes) {
  munmap(base, pages_round(bytes));
}
