// SPDX-License-Identifier: Apache-2.0
// topology_tree.c - writes the files of a machine that is not here, in the formats of the kernel.
#include "topology_tree.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sys.h"

#define TEXT_BYTES 4096

static char root[64];

static void fail(const char *what) {
  perror(what);
  exit(EXIT_FAILURE);
}

void tree_file(const char *path, const char *contents) {
  char whole[PROC_PATH_BYTES];
  snprintf(whole, sizeof(whole), "%s%s", root, path);
  for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
    *at = '\0';
    mkdir(whole, 0700);
    *at = '/';
  }
  FILE *file = fopen(whole, "w");
  if (file == NULL || fputs(contents, file) < 0 || fclose(file) != 0) fail(whole);
}

__attribute__((format(printf, 2, 3))) static void put(const char *contents, const char *pattern, ...) {
  char path[PROC_PATH_BYTES];
  va_list values;
  va_start(values, pattern);
  vsnprintf(path, sizeof(path), pattern, values);
  va_end(values);
  tree_file(path, contents);
}

static void put_number(uint64_t number, const char *path, uint32_t index) {
  char text[32], whole[PROC_PATH_BYTES];
  snprintf(text, sizeof(text), "%llu\n", (unsigned long long)number);
  snprintf(whole, sizeof(whole), path, index);
  tree_file(whole, text);
}

// "0,2,5", which the kernel would write shorter and which means the same.
static void list_of(const struct bits *set, char *out) {
  char *at = out;
  *at = '\0';
  for (uint32_t i = 0; i < CPUS_MAX; i++) {
    if (bits_has(set, i)) at += sprintf(at, "%s%u", at == out ? "" : ",", i);
  }
  sprintf(at, "\n");
}

// "00000000,0000000f": hexadecimal words, the highest first.
static void mask_of(const struct bits *set, char *out) {
  for (int word = 7; word >= 0; word--) {
    uint32_t half = (uint32_t)(set->words[word / 2] >> word % 2 * 32);
    out += sprintf(out, "%08x%s", half, word == 0 ? "\n" : ",");
  }
}

static void put_set(const struct bits *set, const char *directory, const char *mask, const char *list) {
  char text[TEXT_BYTES];
  mask_of(set, text);
  put(text, "%s/%s", directory, mask);
  list_of(set, text);
  put(text, "%s/%s", directory, list);
}

static uint32_t cores_of(const struct machine *m) {
  return m->packages * m->nodes_per_package * m->cores_per_node;
}

// CPUs of which one number in so many is the same as that of this one.
static struct bits sharing(const struct machine *m, uint32_t core, uint32_t cores_each) {
  struct bits set = {0};
  for (uint32_t cpu = 0; cpu < cores_of(m) * m->threads; cpu++) {
    bool same = cpu % cores_of(m) / cores_each == core / cores_each;
    if (same && !bits_has(&m->offline, cpu)) bits_add(&set, cpu);
  }
  return set;
}

static void put_cache(const struct bits *set, uint32_t cpu, uint32_t index, uint32_t level,
                      const char *type) {
  char directory[PROC_PATH_BYTES];
  snprintf(directory, sizeof(directory), "/sys/devices/system/cpu/cpu%u/cache/index%u", cpu, index);
  put(level == 1 ? "32K\n" : level == 2 ? "1024K\n" : "16384K\n", "%s/size", directory);
  put(type, "%s/type", directory);
  put(level == 1 ? "1\n" : level == 2 ? "2\n" : "3\n", "%s/level", directory);
  put("64\n", "%s/coherency_line_size", directory);
  put_set(set, directory, "shared_cpu_map", "shared_cpu_list");
}

static void put_cpu(const struct machine *m, uint32_t cpu) {
  uint32_t core = cpu % cores_of(m);
  struct bits siblings = sharing(m, core, 1);
  struct bits node = sharing(m, core, m->cores_per_node);
  struct bits package = sharing(m, core, m->cores_per_node * m->nodes_per_package);
  char directory[PROC_PATH_BYTES];
  snprintf(directory, sizeof(directory), "/sys/devices/system/cpu/cpu%u/topology", cpu);
  put_number(core / m->cores_per_node / m->nodes_per_package,
             "/sys/devices/system/cpu/cpu%u/topology/physical_package_id", cpu);
  put_number(core, "/sys/devices/system/cpu/cpu%u/topology/core_id", cpu);
  put_set(&siblings, directory, "thread_siblings", "thread_siblings_list");
  put_set(&package, directory, "core_siblings", "core_siblings_list");
  put_cache(&siblings, cpu, 0, 1, "Data\n");
  put_cache(&siblings, cpu, 1, 1, "Instruction\n");
  put_cache(&siblings, cpu, 2, 2, "Unified\n");
  put_cache(&node, cpu, 3, 3, "Unified\n");
}

static void put_nodes(const struct machine *m) {
  uint32_t with_cpus = m->packages * m->nodes_per_package;
  uint32_t count = with_cpus + m->memory_only;
  struct bits all = {0};
  for (uint32_t node = 0; node < count; node++) {
    char text[TEXT_BYTES], directory[PROC_PATH_BYTES], *at = text;
    bits_add(&all, node);
    struct bits cpus = {0};
    if (node < with_cpus) cpus = sharing(m, node * m->cores_per_node, m->cores_per_node);
    snprintf(directory, sizeof(directory), "/sys/devices/system/node/node%u", node);
    put_set(&cpus, directory, "cpumap", "cpulist");
    uint32_t memory = node >= m->memoryless && node < with_cpus ? 0 : 8u << 20;
    snprintf(text, sizeof(text), "Node %u MemTotal:       %u kB\nNode %u MemFree: 1 kB\n", node, memory,
             node);
    put(text, "%s/meminfo", directory);
    for (uint32_t to = 0; to < count; to++) at += sprintf(at, "%u ", to == node ? 10 : 20 + to + node);
    put(text, "%s/distance", directory);
  }
  char text[TEXT_BYTES];
  list_of(&all, text);
  tree_file("/sys/devices/system/node/online", text);
}

void tree_make(const struct machine *m) {
  strcpy(root, "/tmp/millrace-tree-XXXXXX");
  if (mkdtemp(root) == NULL) fail(root);
  sys_root = root;
  struct bits online = sharing(m, 0, cores_of(m));
  char text[TEXT_BYTES];
  list_of(&online, text);
  tree_file("/sys/devices/system/cpu/online", text);
  tree_file("/proc/meminfo", "MemTotal:       4096 kB\nMemFree: 1 kB\n");
  tree_file("/proc/cpuinfo", "");
  tree_file("/proc/mounts", "");
  for (uint32_t cpu = 0; cpu < cores_of(m) * m->threads; cpu++) {
    // One that is offline has a directory with little in it.
    if (bits_has(&m->offline, cpu)) {
      put_number(0, "/sys/devices/system/cpu/cpu%u/online", cpu);
    } else {
      put_cpu(m, cpu);
    }
  }
  if (!m->no_nodes) put_nodes(m);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk) {
  (void)status, (void)type, (void)walk;
  return remove(path);
}

void tree_remove(void) {
  nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  sys_root = "";
}
