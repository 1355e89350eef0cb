// SPDX-License-Identifier: Apache-2.0
// topology_test.c - the JSON of this machine with hwloc and without; trees of other machines, read by both.
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "affinity.h"
#include "check.h"
#include "faults.h"
#include "millrace.h"
#include "topology_tree.h"

enum { JSON_BYTES = 1 << 20 };

static struct bits every_cpu(void) {
  struct bits all;
  memset(&all, 0xff, sizeof(all));
  return all;
}

static bool short_buffer(void) {
  char json[64];
  memset(json, 'x', sizeof(json));
  bool ok = mr_topology(json, 20) == -ENOSPC && json[20] == 'x';
  return ok && mr_topology(json, 0) == -ENOSPC && mr_topology(json, 1) == -ENOSPC;
}

static bool exact_buffer(void) {
  static char json[JSON_BYTES], again[JSON_BYTES];
  int32_t length = mr_topology(json, sizeof(json));
  if (length <= 0 || json[length] != '\0') return false;
  return mr_topology(again, (uint32_t)length) == -ENOSPC &&
         mr_topology(again, (uint32_t)length + 1) == length && strcmp(json, again) == 0;
}

static bool out_of_memory(void) {
  char json[64];
  t_faults_clear();
  t_fault(SYS_ALLOCATE, 0, 1, ENOMEM);
  bool ok = mr_topology(json, sizeof(json)) == -ENOMEM;
  t_faults_clear();
  return ok;
}

// dlopen() looks into the directories of LD_LIBRARY_PATH first: a file there that is no library hides hwloc.
static bool without_hwloc(const char *self, char *json) {
  char directory[] = "/tmp/millrace-topology-XXXXXX", path[64];
  int pair[2];
  if (mkdtemp(directory) == NULL || pipe(pair) != 0) return false;
  snprintf(path, sizeof(path), "%s/libhwloc.so.15", directory);
  FILE *file = fopen(path, "w");
  if (file == NULL) return false;
  fputs("not a library", file);
  fclose(file);
  pid_t child = fork();
  if (child == 0) {
    setenv("LD_LIBRARY_PATH", directory, 1);
    dup2(pair[1], STDOUT_FILENO);
    execl(self, self, "print", (char *)NULL);
    _exit(127);
  }
  close(pair[1]);
  FILE *out = fdopen(pair[0], "r");
  json[fread(json, 1, JSON_BYTES - 1, out)] = '\0';
  fclose(out);
  int status = -1;
  waitpid(child, &status, 0);
  unlink(path);
  rmdir(directory);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool both_agree_here(const char *self) {
  static char hwloc[JSON_BYTES], sys[JSON_BYTES];
  if (mr_topology(hwloc, sizeof(hwloc)) <= 0 || !without_hwloc(self, sys)) return false;
  bool ok =
      strncmp(hwloc, "{\"source\":\"hwloc\",", 18) == 0 && strncmp(sys, "{\"source\":\"/sys\",", 17) == 0;
  if (ok && strcmp(hwloc + 18, sys + 17) == 0) return true;
  printf("hwloc: %s\n/sys: %s\n", hwloc, sys);
  return false;
}

static bool same_cpu(const struct topology_cpu *a, const struct topology_cpu *b) {
  bool same = a->present == b->present && a->allowed == b->allowed && a->package == b->package &&
              a->core == b->core && a->node == b->node;
  for (int i = 0; i < CACHE_LEVELS; i++) {
    const struct topology_cache *x = &a->caches[i], *y = &b->caches[i];
    same = same && x->bytes == y->bytes && x->line == y->line && x->first == y->first;
  }
  return same;
}

static bool same_node(const struct topology_node *a, const struct topology_node *b) {
  return a->present == b->present && a->allowed == b->allowed && a->memory == b->memory &&
         memcmp(a->distances, b->distances, sizeof(a->distances)) == 0;
}

static bool same(const struct topology *a, const struct topology *b) {
  for (uint32_t i = 0; i < CPUS_MAX; i++) {
    if (same_cpu(&a->cpus[i], &b->cpus[i])) continue;
    const struct topology_cpu *x = &a->cpus[i], *y = &b->cpus[i];
    printf("CPU %u: present %d %d, allowed %d %d, package %u %u, core %u %u, node %u %u\n", i, x->present,
           y->present, x->allowed, y->allowed, x->package, y->package, x->core, y->core, x->node, y->node);
    return false;
  }
  for (uint32_t i = 0; i < NODES_MAX; i++) {
    if (same_node(&a->nodes[i], &b->nodes[i])) continue;
    const struct topology_node *x = &a->nodes[i], *y = &b->nodes[i];
    printf("node %u: present %d %d, allowed %d %d, memory %llu %llu, distance to 0 %u %u\n", i, x->present,
           y->present, x->allowed, y->allowed, (unsigned long long)x->memory, (unsigned long long)y->memory,
           x->distances[0], y->distances[0]);
    return false;
  }
  return true;
}

// hwloc reads such a tree too, and has nothing in common with our own reader.
static bool both_agree_on(const struct machine *m) {
  struct topology *sys = topology_new(), *hwloc = topology_new();
  struct bits mask = every_cpu();
  tree_make(m);
  setenv("HWLOC_FSROOT", sys_root, 1);
  bool ok = topology_from_sys(sys, &mask) && topology_from_hwloc(hwloc, &mask);
  unsetenv("HWLOC_FSROOT");
  tree_remove();
  ok = ok && same(hwloc, sys);
  free(sys);
  free(hwloc);
  return ok;
}

static void both_agree_on_trees(void) {
  const uint32_t none = UINT32_MAX;
  t_case("both readers agree on 1 package of 4 cores",
         both_agree_on(&(struct machine){1, 1, 4, 1, {{0}}, none, 0, false}));
  t_case("both readers agree on SMT and two packages",
         both_agree_on(&(struct machine){2, 1, 4, 2, {{0}}, none, 0, false}));
  t_case("both readers agree on 2 × 64 cores of 8 nodes",
         both_agree_on(&(struct machine){2, 4, 16, 2, {{0}}, none, 0, false}));
  t_case("both readers agree on CPUs that are offline",
         both_agree_on(&(struct machine){2, 1, 4, 2, {{0x0a04}}, none, 0, false}));
  t_case("both readers agree on a node without memory",
         both_agree_on(&(struct machine){2, 2, 2, 1, {{0}}, 3, 0, false}));
}

// A node of memory alone is put near some CPUs by hwloc, so that only its own row is compared.
static bool memory_only(void) {
  struct topology *t = topology_new();
  struct bits mask = every_cpu();
  tree_make(&(struct machine){2, 1, 2, 1, {{0}}, UINT32_MAX, 1, false});
  topology_from_sys(t, &mask);
  tree_remove();
  bool ok = t->nodes[2].present && t->nodes[2].memory == 8ull << 30 && t->cpus[3].node == 1;
  free(t);
  return ok;
}

static bool restricted(void) {
  struct topology *t = topology_new();
  struct bits mask = {{0x24}};
  tree_make(&(struct machine){2, 1, 4, 1, {{0}}, UINT32_MAX, 0, false});
  tree_file("/proc/self/status", "Name:\tx\nMems_allowed:\t2\nMems_allowed_list:\t1\n");
  topology_from_sys(t, &mask);
  tree_remove();
  bool ok = !t->nodes[0].allowed && t->nodes[1].allowed;
  for (uint32_t i = 0; i < 8; i++) ok = ok && t->cpus[i].allowed == (i == 2 || i == 5);
  free(t);
  return ok;
}

static bool without_nodes(void) {
  struct topology *t = topology_new();
  struct bits mask = every_cpu();
  tree_make(&(struct machine){1, 1, 2, 1, {{0}}, UINT32_MAX, 0, true});
  topology_from_sys(t, &mask);
  tree_remove();
  bool ok = t->nodes[0].present && t->nodes[0].allowed && t->nodes[0].memory == 4 << 20 &&
            !t->nodes[1].present && t->nodes[0].distances[0] == 10;
  free(t);
  return ok;
}

// Whatever cannot be read, there is an answer: at least the CPUs of the mask.
static bool unreadable(void) {
  struct topology *t = topology_new();
  struct bits mask = {{3}};
  bool ok = true;
  const enum sys_call calls[] = {SYS_OPENAT, SYS_PREAD};
  tree_make(&(struct machine){1, 1, 4, 2, {{0}}, UINT32_MAX, 0, false});
  for (uint32_t i = 0; i < 2; i++) {
    for (uint32_t skip = 0; skip < 40; skip++) {
      memset(t, 0, sizeof(*t));
      t_faults_clear();
      t_fault(calls[i], skip, 1, EIO);
      ok = ok && topology_from_sys(t, &mask) && t_faults_fired() == 1;
      ok = ok && t->cpus[0].present && t->cpus[1].allowed && t->nodes[0].present;
    }
  }
  t_faults_clear();
  tree_remove();
  free(t);
  return ok;
}

static bool quota_is(uint32_t expected, const char *groups, const char *path, const char *contents) {
  tree_make(&(struct machine){1, 1, 1, 1, {{0}}, UINT32_MAX, 0, true});
  tree_file("/proc/self/cgroup", groups);
  tree_file(path, contents);
  // Above it there is one that leaves more, which does not matter.
  tree_file("/sys/fs/cgroup/cpu.max", "800000 100000\n");
  uint32_t quota = topology_quota();
  tree_remove();
  if (quota != expected) printf("quota %u instead of %u\n", quota, expected);
  return quota == expected;
}

static void quotas(void) {
  const char *const own = "/sys/fs/cgroup/a/b/cpu.max";
  t_case("the quota is that of the group", quota_is(1500, "0::/a/b\n", own, "150000 100000\n"));
  t_case("the quota is that of a group above", quota_is(250, "0::/a/b/c/d\n", own, "25000 100000\n"));
  t_case("a group without a limit has that of those above", quota_is(8000, "0::/a/b\n", own, "max 100000\n"));
  t_case("a name that is the host's stands for the root",
         quota_is(8000, "0::/no/such\n", own, "1000 1000\n"));
  t_case("the quota of less than a thousandth is not none", quota_is(1, "0::/a/b\n", own, "1 100000000\n"));
  t_case("nonsense is no quota", quota_is(8000, "x\n::\n0::/a/b\n", own, "-5 0\n"));
  t_case("neither is what no machine has",
         quota_is(8000, "0::/a/b\n", own, "9223372036854775807 9223372036854775807\n"));
  t_case("without groups there is no quota", quota_is(0, "", own, "150000 100000\n"));
  tree_make(&(struct machine){1, 1, 1, 1, {{0}}, UINT32_MAX, 0, true});
  tree_file("/proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/a\n3:cpuset:/\n");
  tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
  tree_file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "20000\n");
  tree_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  tree_file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "20000\n");
  t_case("the quota of version 1 is found", topology_quota() == 2500);
  tree_remove();
}

static bool lists(void) {
  struct bits set = {0};
  topology_list("0-2,5,70-71\n", &set);
  bool ok = set.words[0] == 0x27 && set.words[1] == 0xc0;
  topology_list("", &set);
  topology_list("9999999,4000-99999999999999999999,-3,x", &set);
  return ok && set.words[0] == 0x27 && bits_has(&set, CPUS_MAX - 1) && !bits_has(&set, CPUS_MAX);
}

static bool pinned_to(uint32_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set);
}

static bool pins(void) {
  uint8_t one[CPUS_MAX / 8] = {0};
  uint32_t last = 0;
  for (uint32_t i = 0; i < CPUS_MAX; i++) {
    if (bits_has(affinity_at_start(), i)) last = i;
  }
  one[last / 8] = (uint8_t)(1u << last % 8);
  bool ok = mr_pin(one, last / 8 + 1) == 0 && pinned_to(last);
  struct bits now = {0};
  ok = ok && mr_unpin() == 0 && sys_getaffinity(sizeof(now), now.words) > 0;
  return ok && memcmp(&now, affinity_at_start(), sizeof(now)) == 0;
}

static bool pin_failures(void) {
  uint8_t none[CPUS_MAX / 8 + 1] = {0}, one = 1;
  bool ok = mr_pin(none, sizeof(none)) == -EINVAL && mr_pin(none, 8) == -EINVAL && mr_pin(none, 0) == -EINVAL;
  t_faults_clear();
  t_fault(SYS_SETAFFINITY, 0, 2, EPERM);
  ok = ok && mr_pin(&one, 1) == -EPERM && mr_unpin() == -EPERM;
  t_faults_clear();
  return ok;
}

// In a process that has not asked yet.
static bool unknown_mask(void) {
  pid_t child = fork();
  if (child == 0) {
    t_fault(SYS_GETAFFINITY, 0, 1, EINVAL);
    const struct bits *all = affinity_at_start();
    bool ok = bits_has(all, 0) && bits_has(all, CPUS_MAX - 1) && mr_unpin() == 0;
    _exit(ok ? EXIT_SUCCESS : EXIT_FAILURE);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}

int main(int count, char **arguments) {
  static char json[JSON_BYTES];
  if (count == 2)
    return mr_topology(json, sizeof(json)) > 0 && printf("%s", json) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  t_case("a mask that is not to be had is one of all CPUs", unknown_mask());
  t_case("mr_topology() refuses a buffer that is too short", short_buffer());
  t_case("mr_topology() fills a buffer that just suffices", exact_buffer());
  t_case("mr_topology() reports want of memory", out_of_memory());
  t_case("/sys and hwloc tell the same of this machine", both_agree_here(arguments[0]));
  both_agree_on_trees();
  t_case("a node of memory alone has no CPUs", memory_only());
  t_case("mask and cpuset say what may be used", restricted());
  t_case("a kernel without NUMA is one node", without_nodes());
  t_case("files that cannot be read leave the rest", unreadable());
  quotas();
  t_case("lists of CPUs are read and bounded", lists());
  t_case("mr_pin() pins and mr_unpin() gives back", pins());
  t_case("mr_pin() reports failures", pin_failures());
  return t_done();
}
