// SPDX-License-Identifier: Apache-2.0
// pages.c - hugetlb, then transparent hugepages, then 4 KiB pages; called by arena.c and slab.c.
#include "pages.h"

#include <linux/mempolicy.h>
#include <string.h>

#include "sys.h"
#include "topology.h"

#define HUGE_2_MIB (21 << MAP_HUGE_SHIFT)  // whatever size the system has for default

// A wish in either case: where the node has none left, memory comes from another one.
static void prefer_node(struct pages *p, unsigned flags) {
  uint64_t nodes[MR_NODES_MAX / 64] = {0};
  if (p->node > 0) nodes[(p->node - 1) / 64] = 1ull << (p->node - 1) % 64;
  // The kernel takes one off the number of bits. Without a wish it takes no set at all, not even an empty
  // one.
  long rc = p->node > 0 ? sys_mbind(p->base, p->bytes, MPOL_PREFERRED, nodes, MR_NODES_MAX + 1, flags)
                        : sys_mbind(p->base, p->bytes, MPOL_DEFAULT, NULL, 0, flags);
  p->bind_error = rc == 0 ? 0 : errno;
}

// What both kinds of mappings need before a page is there. A child of fork() that shared them would have us
// take a second page on the next write, which the pool may not have.
static void prepare(struct pages *p) {
  sys_madvise(p->base, p->bytes, MADV_DONTFORK);
  if (p->node > 0) prefer_node(p, 0);
}

// The pool may be promised and still be short under a cgroup or on another node; touching it would then be
// SIGBUS. MADV_POPULATE_WRITE finds out with an errno instead.
static bool map_hugetlb(struct pages *p) {
  void *base = sys_mmap(p->bytes, MAP_HUGETLB | HUGE_2_MIB);
  if (base == MAP_FAILED) return false;
  p->base = base;
  p->asked = MR_PAGES_HUGETLB;
  prepare(p);
  if (pages_populate(p) == 0) return true;
  pages_unmap(p);
  return false;
}

// Maps more than asked and cuts both ends off, since the kernel aligns to 4 KiB only.
static bool map_aligned(struct pages *p) {
  uint8_t *base = sys_mmap(p->bytes + HUGE_BYTES, MAP_NORESERVE);
  if (base == MAP_FAILED) return false;
  size_t skip = pages_round((size_t)(uintptr_t)base) - (size_t)(uintptr_t)base;
  if (skip > 0) munmap(base, skip);
  if (HUGE_BYTES > skip) munmap(base + skip + p->bytes, HUGE_BYTES - skip);
  p->base = base + skip;
  return true;
}

// With "never" the kernel takes the advice and does nothing; MADV_COLLAPSE would not even heed it.
static bool transparent_allowed(void) {
  char modes[64];
  topology_read(modes, sizeof(modes), "/sys/kernel/mm/transparent_hugepage/enabled");
  return strstr(modes, "[never]") == NULL;
}

int pages_map(struct pages *p, size_t bytes, enum mr_pages best, uint32_t node) {
  *p = (struct pages){.bytes = pages_round(bytes), .node = node};
  if (best == MR_PAGES_HUGETLB && map_hugetlb(p)) return 0;
  if (!map_aligned(p)) return -ENOMEM;
  prepare(p);
  bool huge =
      best < MR_PAGES_SMALL && transparent_allowed() && sys_madvise(p->base, p->bytes, MADV_HUGEPAGE) == 0;
  if (best == MR_PAGES_SMALL) sys_madvise(p->base, p->bytes, MADV_NOHUGEPAGE);
  p->asked = p->kind = huge ? MR_PAGES_TRANSPARENT : MR_PAGES_SMALL;
  return 0;
}

void pages_rebind(struct pages *p, uint32_t node) {
  if (p->node == node) return;
  p->node = node;
  prefer_node(p, MPOL_MF_MOVE);
}

int pages_populate(const struct pages *p) {
  return sys_madvise(p->base, p->bytes, MADV_POPULATE_WRITE) == 0 ? 0 : -errno;
}

// The kernel waits for all CPUs before it collapses anything, so that it is not asked without need. It takes
// pages that it finds or makes room for now, where a fault might have been content with less.
void pages_settle(struct pages *p, size_t bytes) {
  p->kind = p->asked;
  if (p->asked != MR_PAGES_TRANSPARENT) return;
  const struct pages first = {.base = p->base, .bytes = pages_round(bytes)};
  struct mr_memory found = {0};
  pages_count(&first, &found);
  if (found.huge_bytes == first.bytes || sys_madvise(first.base, first.bytes, MADV_COLLAPSE) == 0) return;
  // A kernel that knows neither call has only said that it is willing.
  if (errno != EINVAL || found.counted != 0) p->kind = MR_PAGES_SMALL;
}

// A page given back to the hugetlb pool may be gone when it is wanted again, and that would be SIGBUS.
void pages_clear(const struct pages *p) {
  if (p->asked == MR_PAGES_HUGETLB) {
    memset(p->base, 0, p->bytes);
  } else {
    sys_madvise(p->base, p->bytes, MADV_DONTNEED);
  }
}

void pages_unmap(struct pages *p) {
  munmap(p->base, p->bytes);
  p->base = NULL;
}
