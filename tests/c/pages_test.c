// SPDX-License-Identifier: Apache-2.0
// pages_test.c - memory from the kernel: which pages, on which node, what is there of it, and what happens
// when the kernel refuses.
#include "pages.h"

#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "check.h"
#include "faults.h"

#define POOL "/proc/sys/vm/nr_hugepages"
enum { BYTES = 4 << 20 };

// --- a system that says what it does with transparent pages

static char root[] = "/tmp/millrace-pages-XXXXXX";

static bool write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "we");
  if (file == NULL) return false;
  bool done = fputs(text, file) >= 0;
  return fclose(file) == 0 && done;
}

static bool system_says(const char *modes) {
  static const char *const parts[] = {"/sys", "/kernel", "/mm", "/transparent_hugepage", "/enabled"};
  char path[PATH_MAX];
  snprintf(path, sizeof(path), "%s", root);
  for (int i = 0; i < 5; i++) {
    strcat(path, parts[i]);
    if (i < 4) mkdir(path, 0700);
  }
  sys_root = root;
  return write_file(path, modes);
}

// --- helpers

static struct mr_memory count_of(const struct pages *p) {
  struct mr_memory memory = {0};
  pages_count(p, &memory);
  return memory;
}

// Before Linux 6.7 nobody knows.
static bool is_there(const struct pages *p, uint64_t resident, uint64_t huge) {
  struct mr_memory memory = count_of(p);
  return memory.counted == 0 || (memory.resident_bytes == resident && memory.huge_bytes == huge);
}

static bool all_zero(const struct pages *p) {
  for (size_t i = 0; i < p->bytes; i++) {
    if (p->base[i] != 0) return false;
  }
  return true;
}

static int policy_of(const struct pages *p, uint64_t *nodes) {
  int mode = -1;
  memset(nodes, 0, MR_NODES_MAX / 8);
  long rc = syscall(SYS_get_mempolicy, &mode, nodes, MR_NODES_MAX + 1ul, p->base, (long)MPOL_F_ADDR);
  return rc == 0 ? mode : -1;
}

// --- cases

static bool never(void) {
  struct pages p;
  t_faults_clear();
  bool ok = pages_map(&p, BYTES, MR_PAGES_SMALL, 0) == 0 && t_fault_calls(SYS_MMAP) == 1;
  ok = p.kind == MR_PAGES_SMALL && is_there(&p, 0, 0) && ok;
  p.base[0] = p.base[BYTES - 1] = 1;
  pages_settle(&p, BYTES);
  ok = p.kind == MR_PAGES_SMALL && is_there(&p, 8192, 0) && all_zero(&p) == false && ok;
  pages_clear(&p);
  ok = is_there(&p, 0, 0) && all_zero(&p) && ok;
  pages_unmap(&p);
  return ok;
}

static bool transparent(void) {
  struct pages p;
  t_faults_clear();
  bool ok = system_says("always [madvise] never\n");
  ok = pages_map(&p, BYTES, MR_PAGES_TRANSPARENT, 0) == 0 && t_fault_calls(SYS_MMAP) == 1 && ok;
  ok = p.asked == MR_PAGES_TRANSPARENT && (uintptr_t)p.base % HUGE_BYTES == 0 && is_there(&p, 0, 0) && ok;
  p.base[0] = 1;
  pages_settle(&p, 1);
  // Which one it is depends on the machine; that it is the truth does not.
  bool huge = p.kind == MR_PAGES_TRANSPARENT;
  ok = is_there(&p, huge ? HUGE_BYTES : 4096, huge ? HUGE_BYTES : 0) && ok;
  pages_unmap(&p);
  return ok;
}

static bool transparent_refused(void) {
  struct pages p;
  bool ok = system_says("always madvise [never]\n");
  t_faults_clear();
  ok = pages_map(&p, BYTES, MR_PAGES_TRANSPARENT, 0) == 0 && p.asked == MR_PAGES_SMALL && ok;
  ok = t_fault_calls(SYS_MADVISE) == 1 && ok;
  pages_unmap(&p);
  ok = system_says("always [madvise] never\n") && ok;
  t_faults_clear();
  t_fault(SYS_MADVISE, 1, 1, EINVAL);  // a kernel without them
  ok = pages_map(&p, BYTES, MR_PAGES_TRANSPARENT, 0) == 0 && p.asked == MR_PAGES_SMALL && ok;
  ok = t_faults_fired() == 1 && ok;
  pages_unmap(&p);
  t_faults_clear();
  return ok;
}

// Small pages that are there, of a mapping that is to have huge ones.
static struct pages scattered(void) {
  struct pages p;
  if (pages_map(&p, BYTES, MR_PAGES_SMALL, 0) != 0) exit(EXIT_FAILURE);
  for (size_t i = 0; i < p.bytes; i += 4096) p.base[i] = 1;
  madvise(p.base, p.bytes, MADV_HUGEPAGE);
  p.asked = MR_PAGES_TRANSPARENT;
  t_faults_clear();
  return p;
}

static bool collapsed(void) {
  struct pages p = scattered();
  bool ok = is_there(&p, BYTES, 0);
  t_faults_clear();
  pages_settle(&p, BYTES);
  ok = t_fault_calls(SYS_MADVISE) == 1 && ok;
  if (p.kind == MR_PAGES_TRANSPARENT && count_of(&p).counted != 0) {
    ok = is_there(&p, BYTES, BYTES) && ok;
    // There is nothing left to be done, and the kernel is not asked to.
    t_faults_clear();
    pages_settle(&p, BYTES);
    ok = t_fault_calls(SYS_MADVISE) == 0 && p.kind == MR_PAGES_TRANSPARENT && ok;
  }
  for (size_t i = 0; i < p.bytes; i += 4096) ok = p.base[i] == 1 && ok;
  pages_unmap(&p);
  return ok;
}

static enum mr_pages collapse_fails(int error, int scan_error) {
  struct pages p = scattered();
  t_fault(SYS_MADVISE, 0, 1, error);
  if (scan_error != 0) t_fault(SYS_PAGEMAP_SCAN, 0, 1, scan_error);
  pages_settle(&p, BYTES);
  t_faults_clear();
  pages_unmap(&p);
  return p.kind;
}

// Only who knows neither call is taken at its word.
static bool not_collapsed(void) {
  return collapse_fails(ENOMEM, 0) == MR_PAGES_SMALL && collapse_fails(ENOMEM, ENOTTY) == MR_PAGES_SMALL &&
         collapse_fails(EINVAL, ENOTTY) == MR_PAGES_TRANSPARENT;
}

static bool populated(void) {
  struct pages p;
  bool ok = pages_map(&p, BYTES, MR_PAGES_SMALL, 0) == 0;
  t_faults_clear();
  t_fault(SYS_MADVISE, 0, 1, EHWPOISON);
  ok = pages_populate(&p) == -EHWPOISON && is_there(&p, 0, 0) && ok;
  ok = pages_populate(&p) == 0 && is_there(&p, BYTES, 0) && all_zero(&p) && ok;
  t_faults_clear();
  pages_unmap(&p);
  return ok;
}

// The pool may be short although it has promised the pages.
static bool pool_short(void) {
  struct pages p;
  t_faults_clear();
  t_fault(SYS_MADVISE, 1, 1, EFAULT);
  bool ok = pages_map(&p, BYTES, MR_PAGES_HUGETLB, 0) == 0;
  // Where there is no pool, the second advice was another one.
  ok = p.asked != MR_PAGES_HUGETLB && p.base != NULL && ok;
  memset(p.base, 1, p.bytes);
  pages_unmap(&p);
  t_faults_clear();
  return ok;
}

static long pool_pages(void) {
  long pages = -1;
  FILE *file = fopen(POOL, "re");
  if (file == NULL) return -1;
  if (fscanf(file, "%ld", &pages) != 1) pages = -1;
  fclose(file);
  return pages;
}

static bool set_pool(long pages) {
  char text[32];
  snprintf(text, sizeof(text), "%ld\n", pages);
  return write_file(POOL, text);
}

// With a pool where this process may make one, and otherwise with what there is.
static bool hugetlb(void) {
  long before = pool_pages();
  bool made = before >= 0 && set_pool(before + BYTES / (long)HUGE_BYTES);
  struct pages p;
  bool ok = pages_map(&p, BYTES, MR_PAGES_HUGETLB, 0) == 0;
  if (p.asked == MR_PAGES_HUGETLB) {
    pages_settle(&p, BYTES);
    ok = p.kind == MR_PAGES_HUGETLB && is_there(&p, BYTES, BYTES) && all_zero(&p) && ok;
    memset(p.base, 7, p.bytes);
    pages_clear(&p);
    // Kept: they might not be had again.
    ok = is_there(&p, BYTES, BYTES) && all_zero(&p) && ok;
  } else {
    printf("# no page was to be had from the pool\n");
    ok = p.asked != MR_PAGES_HUGETLB && ok;
  }
  pages_unmap(&p);
  if (made) ok = set_pool(before) && ok;
  return ok;
}

static bool bound(void) {
  struct pages p;
  uint64_t nodes[MR_NODES_MAX / 64];
  t_faults_clear();
  bool ok = pages_map(&p, BYTES, MR_PAGES_SMALL, 1) == 0 && t_fault_calls(SYS_MBIND) == 1 && p.node == 1;
  // In a container the question may be forbidden as well.
  int mode = policy_of(&p, nodes), refused = p.bind_error;
  if (refused == 0 && mode >= 0) ok = mode == MPOL_PREFERRED && nodes[0] == 1 && ok;
  pages_rebind(&p, 1);
  ok = t_fault_calls(SYS_MBIND) == 1 && ok;
  pages_rebind(&p, 0);
  ok = t_fault_calls(SYS_MBIND) == 2 && p.node == 0 && p.bind_error == refused && ok;
  mode = policy_of(&p, nodes);
  if (refused == 0 && mode >= 0) ok = mode == MPOL_DEFAULT && ok;
  pages_rebind(&p, MR_NODES_MAX);  // no machine has as many
  ok = p.bind_error != 0 && p.node == MR_NODES_MAX && ok;
  pages_unmap(&p);
  t_faults_clear();
  ok = pages_map(&p, BYTES, MR_PAGES_SMALL, 0) == 0 && t_fault_calls(SYS_MBIND) == 0 && ok;
  pages_unmap(&p);
  return ok;
}

static bool bind_refused(void) {
  static const int errors[] = {EPERM, ENOSYS, EINVAL};
  struct pages p;
  bool ok = true;
  for (int i = 0; i < 3; i++) {
    t_faults_clear();
    t_fault(SYS_MBIND, 0, 1, errors[i]);
    ok = pages_map(&p, BYTES, MR_PAGES_SMALL, 1) == 0 && p.bind_error == errors[i] && ok;
    memset(p.base, 1, p.bytes);
    pages_unmap(&p);
  }
  t_faults_clear();
  return ok;
}

static bool sampled(void) {
  struct pages p;
  struct mr_memory memory;
  bool ok = pages_map(&p, (size_t)3 * MR_MEMORY_SAMPLE * HUGE_BYTES, MR_PAGES_SMALL, 0) == 0;
  p.base[0] = p.base[6 * HUGE_BYTES] = 1;
  // One page of six MiB each: the second of them was not touched.
  t_faults_clear();
  t_fault(SYS_MOVE_PAGES, 0, 1, -3);
  pages_sample(&p, &memory);
  for (int i = 0; i < MR_MEMORY_SAMPLE; i++) {
    ok = memory.nodes[i] == (i == 0 || i == 2 ? 3 : MR_NO_NODE) && ok;
  }
  t_fault(SYS_MOVE_PAGES, 0, 1, EPERM);
  pages_sample(&p, &memory);
  for (int i = 0; i < MR_MEMORY_SAMPLE; i++) ok = memory.nodes[i] == MR_NO_NODE && ok;
  t_faults_clear();
  pages_unmap(&p);
  return ok;
}

static bool not_counted(void) {
  struct pages p;
  bool ok = pages_map(&p, BYTES, MR_PAGES_SMALL, 0) == 0;
  t_faults_clear();
  t_fault(SYS_OPENAT, 0, 1, EACCES);
  ok = count_of(&p).counted == 0 && ok;
  t_fault(SYS_PAGEMAP_SCAN, 0, 1, ENOTTY);
  ok = count_of(&p).counted == 0 && t_faults_fired() == 2 && ok;
  t_faults_clear();
  pages_unmap(&p);
  return ok;
}

// More pieces than fit one answer of the kernel.
static bool many_regions(void) {
  struct pages p;
  bool ok = pages_map(&p, 16 << 20, MR_PAGES_SMALL, 0) == 0;
  for (size_t i = 0; i < p.bytes; i += 8192) p.base[i] = 1;
  ok = is_there(&p, 8 << 20, 0) && ok;
  pages_unmap(&p);
  return ok;
}

int main(void) {
  if (mkdtemp(root) == NULL) return EXIT_FAILURE;
  t_case("small pages come and go as they are touched", never());
  t_case("transparent pages are what the kernel says they are", transparent());
  t_case("transparent pages are not asked for where the system has none", transparent_refused());
  t_case("small pages are moved into huge ones", collapsed());
  t_case("a kernel that does not do so is not believed to have", not_collapsed());
  t_case("pages_populate() has all pages be there, or says why not", populated());
  t_case("a pool that is short leads to other pages", pool_short());
  t_case("pages of the pool are all there, and stay", hugetlb());
  t_case("memory is asked from a node, and from any again", bound());
  t_case("a node that is refused is told", bind_refused());
  t_case("pages_sample() tells the nodes of pages that are there", sampled());
  t_case("pages_count() tells when it does not know", not_counted());
  t_case("pages_count() counts many pieces", many_regions());
  char command[PATH_MAX];
  snprintf(command, sizeof(command), "rm -r %s", root);
  if (system(command) != 0) return EXIT_FAILURE;
  return t_done();
}
